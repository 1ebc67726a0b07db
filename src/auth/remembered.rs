//! What the forge answered lately about the tokens that it was shown.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus::IntCounterVec;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::timeout;

use super::GateFault;
use crate::domain::Secret;
use crate::measure;

/// How many tokens that may read are remembered, and how many that may not: a storm of the latter costs none of the
/// former.
const GOOD_MAX: usize = 10_000;
const BAD_MAX: usize = 10_000;
/// How many tokens are remembered that the forge knew when somebody came to change something, and how long.
const SEEN_MAX: usize = 10_000;
const SEEN_TIME: Duration = Duration::from_secs(3600);

/// The SHA-256 of a token: the text itself is not kept.
pub(super) type TokenHash = [u8; 32];

/// How long answers hold.
#[derive(Debug, Clone, Copy)]
pub struct Holds {
    /// That a token may read.
    pub good: Duration,
    /// That it may not.
    pub bad: Duration,
    /// That it may read, while the forge cannot be asked.
    pub unreachable: Duration,
    /// How long a forge that could not be asked is left alone about tokens that were good.
    pub pause: Duration,
    /// How long it is waited for the forge's word on a token that was good.
    pub patience: Duration,
    /// For how long it is not waited for at all, once it was late.
    pub late: Duration,
}

impl Holds {
    /// The ordinary ones.
    pub fn with_unreachable(unreachable: Duration) -> Self {
        Self {
            good: Duration::from_secs(60),
            bad: Duration::from_secs(10),
            unreachable,
            pause: Duration::from_secs(5),
            patience: Duration::from_secs(1),
            late: Duration::from_secs(60),
        }
    }
}

/// The memories, and who is being asked about.
pub(super) struct Remembered {
    holds: Holds,
    good: Cache<TokenHash, Good>,
    bad: Cache<TokenHash, Bad>,
    /// When the forge knew them last. That says no more than that they are not made up.
    seen: Cache<TokenHash, Instant>,
    flights: Mutex<HashMap<TokenHash, Arc<tokio::sync::Mutex<()>>>>,
    beside: Mutex<HashMap<TokenHash, Told>>,
    failed: Last,
    late: Last,
    looked: IntCounterVec,
}

/// What a question comes to, for all who wait for it.
pub(super) type Told = watch::Receiver<Option<Result<(), GateFault>>>;

/// When something was so for the last time.
#[derive(Default)]
struct Last(Mutex<Option<Instant>>);

/// What came of a look at a token.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// It was known.
    Remembered,
    /// The forge was asked, or the token is of its hand.
    Asked,
    /// It could read once, and the forge cannot be asked or does not answer in time.
    Outlasted,
    /// Too many unknown ones came from its address.
    HeldOff,
}

#[derive(Clone)]
struct Good {
    asked: Instant,
    /// When the token itself ends, if it says so.
    expires: Option<Timestamp>,
    /// Whether the forge was there when it was asked last, and said neither yes nor no.
    is_doubted: bool,
}

#[derive(Clone)]
struct Bad {
    asked: Instant,
    fault: GateFault,
}

/// What is known of a token.
pub(super) enum Known {
    /// It may read.
    Good,
    /// It could read some time ago, and that holds if the forge cannot be asked.
    Stale,
    /// It is refused.
    Bad(GateFault),
    Nothing,
}

/// The one question about a token; others about the same one wait for its end.
pub(super) struct Flight<'a> {
    remembered: &'a Remembered,
    hash: TokenHash,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Remembered {
    pub(super) fn new(holds: Holds) -> Self {
        Self {
            holds,
            good: Cache::new(GOOD_MAX),
            bad: Cache::new(BAD_MAX),
            seen: Cache::new(SEEN_MAX),
            flights: Mutex::default(),
            beside: Mutex::default(),
            failed: Last::default(),
            late: Last::default(),
            looked: measure::counts_from_zero(
                "sidecargo_forge_tokens_total",
                "Tokens of the forge that came, by what came of a look at them.",
                "look",
                &["remembered", "asked", "outlasted", "held_off"],
            ),
        }
    }

    /// Counts a look at a token.
    pub(super) fn count(&self, look: Look) {
        let look = match look {
            Look::Remembered => "remembered",
            Look::Asked => "asked",
            Look::Outlasted => "outlasted",
            Look::HeldOff => "held_off",
        };
        self.looked.with_label_values(&[look]).inc();
    }

    /// The looks that were counted.
    pub(super) fn looked(&self) -> &IntCounterVec {
        &self.looked
    }

    /// How many tokens are remembered that may read.
    pub(super) fn len(&self) -> usize {
        self.good.len()
    }

    /// The answer, if it is known or if nobody can be asked.
    pub(super) fn answer(&self, hash: &TokenHash, now: Timestamp) -> Option<Result<(), GateFault>> {
        let (look, answer) = match self.known(hash, now) {
            Known::Good => (Look::Remembered, Ok(())),
            Known::Bad(fault) => (Look::Remembered, Err(fault)),
            Known::Stale if self.failed.is_within(self.holds.pause) => (Look::Outlasted, Ok(())),
            Known::Stale | Known::Nothing => return None,
        };
        self.count(look);
        Some(answer)
    }

    /// Whether it may read, or could some time ago.
    pub(super) fn is_known(&self, hash: &TokenHash, now: Timestamp) -> bool {
        matches!(self.known(hash, now), Known::Good | Known::Stale)
    }

    /// The forge knows the token.
    pub(super) fn seen(&self, hash: TokenHash) {
        self.seen.insert(hash, Instant::now());
    }

    /// Whether the forge knew the token lately.
    pub(super) fn is_seen(&self, hash: &TokenHash) -> bool {
        let seen = self.seen.get(hash);
        seen.is_some_and(|seen| seen.elapsed() < SEEN_TIME)
    }

    pub(super) fn hash(token: &Secret) -> TokenHash {
        Sha256::digest(token.expose().as_bytes()).into()
    }

    /// The place of all tokens of ours that speak for one person. No token is taken for it: none holds that byte.
    pub(super) fn of_person(id: u64) -> TokenHash {
        Sha256::digest(format!("\0person {id}")).into()
    }

    pub(super) fn known(&self, hash: &TokenHash, now: Timestamp) -> Known {
        if let Some(good) = self.good.get(hash) {
            let is_over = good.expires.is_some_and(|expires| now >= expires);
            let age = good.asked.elapsed();
            if !is_over && age < self.holds.good {
                return Known::Good;
            }
            if !is_over && age < self.holds.unreachable {
                return Known::Stale;
            }
        }
        match self.bad.get(hash) {
            Some(bad) if bad.asked.elapsed() < self.holds.bad => Known::Bad(bad.fault),
            _ => Known::Nothing,
        }
    }

    pub(super) fn good(&self, hash: TokenHash, expires: Option<Timestamp>) {
        let asked = Instant::now();
        self.bad.remove(&hash);
        let good = Good {
            asked,
            expires,
            is_doubted: false,
        };
        self.good.insert(hash, good);
    }

    /// The forge is there, and says neither yes nor no: until it does, or is away, nobody reads on who does not wait for
    /// its answer.
    pub(super) fn doubt(&self, hash: &TokenHash) {
        self.set_doubted(hash, true);
    }

    /// The forge is away, so the last yes holds.
    pub(super) fn trust(&self, hash: &TokenHash) {
        self.set_doubted(hash, false);
    }

    fn set_doubted(&self, hash: &TokenHash, is_doubted: bool) {
        if let Some(good) = self.good.get(hash)
            && good.is_doubted != is_doubted
        {
            self.good.insert(*hash, Good { is_doubted, ..good });
        }
    }

    pub(super) fn bad(&self, hash: TokenHash, fault: GateFault) {
        let asked = Instant::now();
        self.good.remove(&hash);
        self.seen.remove(&hash);
        self.bad.insert(hash, Bad { asked, fault });
    }

    /// The forge could not be asked.
    pub(super) fn failed(&self) {
        self.failed.note();
        self.late.note();
    }

    /// The forge answered a question, which took so long.
    pub(super) fn answered(&self, took: Duration) {
        if took < self.holds.patience {
            self.late.forget();
        }
    }

    /// The questions that nobody has to wait for.
    pub(super) fn beside(&self) -> MutexGuard<'_, HashMap<TokenHash, Told>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a question about a token that was good comes to, if that is told in time. Who has waited for nothing spares
    /// the others it, until the forge answers in time, and for as long only as a good answer holds in any case.
    pub(super) async fn in_time(
        &self,
        hash: &TokenHash,
        mut told: Told,
    ) -> Option<Result<(), GateFault>> {
        if self.good.get(hash).is_some_and(|good| good.is_doubted) {
            // The limits of the question end this.
            return told.wait_for(Option::is_some).await.ok()?.clone();
        }
        if self.late.is_within(self.holds.late) {
            return None;
        }
        match timeout(self.holds.patience, told.wait_for(Option::is_some)).await {
            Ok(told) => told.ok()?.clone(),
            Err(_) => {
                self.late.note();
                None
            }
        }
    }

    /// Waits until nobody else asks about the token.
    pub(super) async fn flight(&self, hash: TokenHash) -> Flight<'_> {
        let turn = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(flights.entry(hash).or_default())
        };
        // Made before the wait, so that one who leaves while waiting tidies up too.
        let mut flight = Flight {
            remembered: self,
            hash,
            turn: None,
        };
        flight.turn = Some(turn.lock_owned().await);
        flight
    }
}

impl Last {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_within(&self, time: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < time)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        drop(self.turn.take());
        let flights = &self.remembered.flights;
        let mut flights = flights.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits holds a count of its own.
        if let Some(turn) = flights.get(&self.hash)
            && Arc::strong_count(turn) == 1
        {
            flights.remove(&self.hash);
        }
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered")
            .field("holds", &self.holds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_asked_leaves_nothing_behind_once_nobody_waits() {
        let remembered = Remembered::new(Holds::with_unreachable(Duration::ZERO));
        let count = || remembered.flights.lock().unwrap().len();
        let first = remembered.flight([1; 32]).await;
        let other = remembered.flight([2; 32]).await;
        let mut second = Box::pin(remembered.flight([1; 32]));
        let mut third = Box::pin(remembered.flight([1; 32]));
        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut third).is_pending());
        assert_eq!(count(), 2);
        drop(other);
        drop(first);
        assert_eq!(count(), 1, "one waits");
        let second = second.await;
        assert!(poll!(&mut third).is_pending());
        // One that leaves while it waits takes nothing from the others.
        drop(third);
        assert_eq!(count(), 1);
        drop(second);
        assert_eq!(count(), 0);
    }

    #[tokio::test]
    async fn who_has_waited_for_nothing_spares_the_others_it() {
        let mut remembered = Remembered::new(Holds {
            patience: Duration::from_millis(1),
            ..Holds::with_unreachable(Duration::ZERO)
        });
        let (tell, told) = watch::channel(None);
        assert_eq!(remembered.in_time(&[1; 32], told.clone()).await, None);
        remembered.holds.patience = Duration::from_secs(3600);
        let spared = poll!(pin!(remembered.in_time(&[1; 32], told.clone())));
        assert_eq!(spared, Poll::Ready(None));
        // Once that is some time ago, it is waited for again.
        remembered.holds.late = Duration::ZERO;
        let mut waits = pin!(remembered.in_time(&[1; 32], told.clone()));
        assert!(poll!(&mut waits).is_pending());
        tell.send_replace(Some(Err(GateFault::MayNotRead)));
        assert_eq!(waits.await, Some(Err(GateFault::MayNotRead)));
        let (_, broken_off) = watch::channel(None);
        assert_eq!(remembered.in_time(&[1; 32], broken_off).await, None);
    }
}
