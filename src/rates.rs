//! How often each person has published, yanked and changed owners lately: one bucket of tokens for each, in memory.
//!
//! A bucket is one moment, that at which it is full again, so one that is full needs no memory. A restart fills all.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::domain::{PlainText, Rate, RateLimits};

/// The most buckets that are kept.
const BUCKETS_MAX: usize = 100_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// A crate under a name that did not exist.
    NewCrate,
    /// Another version of a crate.
    NewVersion,
    /// A yank, or one that is taken back.
    Yank,
    /// Owners that a crate gets or loses.
    Owners,
}

/// Somebody did something too often.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{who}` has {counted} too often for this registry; the next is allowed in {} seconds",
    .wait_secs
)]
pub struct TooOften {
    /// Who.
    pub who: PlainText,
    /// What.
    pub counted: Counted,
    /// How long to wait, in whole seconds and at least one.
    pub wait_secs: u64,
}

/// The buckets of all people.
#[derive(Debug, Default)]
pub struct Rates {
    /// The moment at which each bucket is full again.
    full_at: Mutex<HashMap<(Counted, String), Instant>>,
}

impl Rates {
    /// Takes one token of somebody's, if the policy counts this at all.
    pub fn take(
        &self,
        limits: &RateLimits,
        counted: Counted,
        who: &PlainText,
        now: Instant,
    ) -> Result<(), TooOften> {
        let Some(rate) = rate_of(limits, counted) else {
            return Ok(());
        };
        let whole = rate.interval() * rate.burst.get();
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (counted, who.as_str().to_ascii_lowercase());
        // A policy that has become milder counts for what was taken before it, too.
        let missing = buckets
            .get(&key)
            .map_or(Duration::ZERO, |full_at| {
                full_at.saturating_duration_since(now)
            })
            .min(whole);
        let missing_then = missing + rate.interval();
        if let Some(wait) = missing_then
            .checked_sub(whole)
            .filter(|wait| !wait.is_zero())
        {
            return Err(TooOften {
                who: who.clone(),
                counted,
                wait_secs: wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
            });
        }
        make_room(&mut buckets, now);
        buckets.insert(key, now + missing_then);
        Ok(())
    }
}

impl Rates {
    /// Gives a token back for something that was not done, and not for anything that was wrong with it.
    pub fn give_back(&self, limits: &RateLimits, counted: Counted, who: &PlainText) {
        let Some(rate) = rate_of(limits, counted) else {
            return;
        };
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (counted, who.as_str().to_ascii_lowercase());
        if let Some(full_at) = buckets.get_mut(&key) {
            *full_at = full_at.checked_sub(rate.interval()).unwrap_or(*full_at);
        }
    }
}

fn rate_of(limits: &RateLimits, counted: Counted) -> Option<Rate> {
    match counted {
        Counted::NewCrate => limits.new_crates,
        Counted::NewVersion => limits.new_versions,
        Counted::Yank => limits.yanks,
        Counted::Owners => limits.owners,
    }
}

/// Forgets the buckets that are full; if there are none, all: so many people at once are no one person's haste.
fn make_room(buckets: &mut HashMap<(Counted, String), Instant>, now: Instant) {
    if buckets.len() < BUCKETS_MAX {
        return;
    }
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() >= BUCKETS_MAX {
        buckets.clear();
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewCrate => "created crates",
            Self::NewVersion => "published versions",
            Self::Yank => "yanked",
            Self::Owners => "changed owners",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(burst: u32, per_hour: u32) -> RateLimits {
        let text = format!("new_crates = {{ burst = {burst}, per_hour = {per_hour} }}");
        toml::from_str(&text).unwrap()
    }

    fn login(text: &str) -> PlainText {
        text.parse().unwrap()
    }

    #[test]
    fn so_many_at_once_then_so_many_an_hour() {
        let (rates, limits, alice) = (Rates::default(), limits(3, 6), login("alice"));
        let start = Instant::now();
        let at = |secs: u64| {
            let now = start + Duration::from_secs(secs);
            rates
                .take(&limits, Counted::NewCrate, &alice, now)
                .map_err(|fault| fault.wait_secs)
        };
        assert_eq!([at(0), at(0), at(0)], [Ok(()); 3]);
        assert_eq!(at(0), Err(600));
        // What is refused takes nothing.
        assert_eq!(at(599), Err(1));
        assert_eq!(at(600), Ok(()));
        assert_eq!(at(601), Err(599));
        // The bucket has no more than its size after a long time.
        assert_eq!([at(100_000), at(100_000), at(100_000)], [Ok(()); 3]);
        assert_eq!(at(100_000), Err(600));
    }

    #[test]
    fn each_person_and_each_deed_has_its_own_bucket() {
        let (rates, limits, now) = (Rates::default(), limits(1, 1), Instant::now());
        let take = |counted, name| rates.take(&limits, counted, &login(name), now);
        take(Counted::NewCrate, "alice").unwrap();
        take(Counted::NewCrate, "bob").unwrap();
        assert_eq!(
            take(Counted::NewCrate, "alice").unwrap_err().to_string(),
            "`alice` has created crates too often for this registry; the next is allowed in 3600 seconds"
        );
        // Without a rate nothing is counted.
        for _ in 0..1000 {
            take(Counted::NewVersion, "alice").unwrap();
            take(Counted::Yank, "alice").unwrap();
        }
    }

    #[test]
    fn what_was_not_done_is_given_back_once() {
        let (rates, limits, now) = (Rates::default(), limits(2, 1), Instant::now());
        let take = |name| rates.take(&limits, Counted::NewCrate, &login(name), now);
        take("alice").unwrap();
        take("alice").unwrap();
        rates.give_back(&limits, Counted::NewCrate, &login("Alice"));
        rates.give_back(&limits, Counted::NewVersion, &login("alice"));
        rates.give_back(&limits, Counted::NewCrate, &login("bob"));
        take("alice").unwrap();
        take("alice").unwrap_err();
        // Nobody has more than all.
        rates.give_back(&limits, Counted::NewCrate, &login("alice"));
        rates.give_back(&limits, Counted::NewCrate, &login("alice"));
        rates.give_back(&limits, Counted::NewCrate, &login("alice"));
        take("alice").unwrap();
        take("alice").unwrap();
        take("alice").unwrap_err();
    }

    #[test]
    fn a_milder_policy_counts_at_once() {
        let (rates, alice, now) = (Rates::default(), login("alice"), Instant::now());
        let take = |limits| rates.take(&limits, Counted::NewCrate, &alice, now);
        take(limits(1, 1)).unwrap();
        assert_eq!(take(limits(1, 3600)).unwrap_err().wait_secs, 1);
    }

    #[test]
    fn memory_is_bounded_and_the_full_buckets_go_first() {
        let (rates, limits, start) = (Rates::default(), limits(1, 3600), Instant::now());
        let take = |name: &str, now| rates.take(&limits, Counted::NewCrate, &login(name), now);
        for number in 0..BUCKETS_MAX - 1 {
            take(&format!("u{number}"), start).unwrap();
        }
        let later = start + Duration::from_secs(1);
        take("alice", later).unwrap();
        take("bob", later).unwrap();
        assert_eq!(rates.full_at.lock().unwrap().len(), 2);
        assert!(take("alice", later).is_err(), "she is not forgotten");
    }
}
