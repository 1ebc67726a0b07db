//! Who may read a registry whose index is on a forge: whom the forge shows the index repository.
//!
//! The forge is asked now and then, as somebody without a token. What was public once is on other machines already, so
//! a registry is closed at the first word, and opened only when the forge has said so twice, with a minute between.
//! While it cannot be asked, what was known last holds: what the index says, unless the commit that closes the registry
//! has not come about; that is written down ([`Mark`]), so that it holds at the next start too. A forge that is there
//! and does not tell has not hidden the repository at once, but after a minute of that nobody knows that all may read.
//!
//! Where the configuration says that the registry is private, nobody is asked, and it is seen to that the index says so.

mod mark;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::domain::{RepositoryPath, Visibility};
use crate::forge::{Forge, ForgeFault};
use crate::index::{self, Index, Operation, WriteFault};

pub use mark::Mark;

/// How long the forge must say something that is not believed at once.
const SURE: Duration = Duration::from_secs(60);
/// How long the commit that says so may take; it is tried again at the next look.
const COMMIT_TIME: Duration = Duration::from_secs(20);
/// How long a registry that is to be closed waits for that to be written down.
const MARK_TIME: Duration = Duration::from_secs(1);

/// Looks who may read, and lets the index say it.
#[derive(Debug)]
pub struct Watch {
    /// Whose word it is; without a forge, the configuration's, which says private.
    at_forge: Option<AtForge>,
    poll: Duration,
    /// Whether a registry that becomes private gets a secret for downloads.
    capability_downloads: bool,
    /// Whether nobody reads without a token, whatever the index says: the commit that says it may take a while.
    is_closed: AtomicBool,
    hearing: Mutex<Hearing>,
    /// Why the index does not say it yet, as it was told last.
    hindered: Mutex<Option<String>>,
    hastened: Notify,
}

/// The repository whose visibility is the registry's.
#[derive(Debug)]
pub struct AtForge {
    /// Who is asked.
    pub forge: Arc<Forge>,
    /// The index repository.
    pub index: RepositoryPath,
    /// Says that the registry is closed, as long as the index does not.
    pub mark: Arc<Mark>,
}

/// What the forge says when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Public,
    Private,
    /// Nothing that tells who may read.
    Odd,
}

impl Word {
    /// None if the forge is away.
    fn of(answer: &Result<Visibility, ForgeFault>) -> Option<Self> {
        match answer {
            Ok(Visibility::Public) => Some(Self::Public),
            Ok(Visibility::Private) => Some(Self::Private),
            Err(fault) if fault.is_away() => None,
            Err(_) => Some(Self::Odd),
        }
    }
}

/// What the forge says without a break, and since when, if that is not believed at once.
#[derive(Debug, Default)]
struct Hearing(Option<(Word, Instant)>);

impl Hearing {
    /// What the registry must become after this word, if it `is` something else.
    fn hear(&mut self, word: Option<Word>, is: Visibility, now: Instant) -> Option<Visibility> {
        let (word, to) = match (word, is) {
            (Some(Word::Public), Visibility::Private) => (Word::Public, Visibility::Public),
            (Some(Word::Odd), Visibility::Public) => (Word::Odd, Visibility::Private),
            (word, is) => {
                self.0 = None;
                let is_hidden = word == Some(Word::Private) && is == Visibility::Public;
                return is_hidden.then_some(Visibility::Private);
            }
        };
        let since = match self.0 {
            Some((same, since)) if same == word => since,
            _ => now,
        };
        self.0 = Some((word, since));
        (now.duration_since(since) >= SURE).then_some(to)
    }

    /// How long until a word could be believed.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let (_, since) = self.0?;
        let wait = (since + SURE).saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

impl Watch {
    /// A watch over a registry that the configuration closes: it sees to it that the index says so.
    pub fn of_configuration(poll: Duration, capability_downloads: bool) -> Self {
        Self::new(None, poll, capability_downloads, true)
    }

    /// A watch that was told by a first answer.
    pub fn of_forge(
        at_forge: AtForge,
        poll: Duration,
        capability_downloads: bool,
        first: &Result<Visibility, ForgeFault>,
    ) -> Self {
        let first = Word::of(first);
        // A mark that may be there is one.
        let is_closed = first == Some(Word::Private) || at_forge.mark.is_there() != Some(false);
        let watch = Self::new(Some(at_forge), poll, capability_downloads, is_closed);
        *watch.lock() = Hearing(first.map(|word| (word, Instant::now())));
        watch
    }

    fn new(
        at_forge: Option<AtForge>,
        poll: Duration,
        capability_downloads: bool,
        is_closed: bool,
    ) -> Self {
        Self {
            at_forge,
            poll,
            capability_downloads,
            is_closed: AtomicBool::new(is_closed),
            hearing: Mutex::default(),
            hindered: Mutex::default(),
            hastened: Notify::new(),
        }
    }

    /// Whether nobody reads without a token, whatever the index says.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Closes the registry until the forge has said twice that everybody may read.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Looks soon.
    pub fn hasten(&self) {
        self.hastened.notify_one();
    }

    /// Looks for ever; or, if it is the configuration's word, until the index says the same.
    pub async fn follow(&self, index: &Index) {
        while self.at_forge.is_some() || !says_private(index) {
            let wait = self.lock().wait(Instant::now());
            let pause = wait.map_or(self.poll, |wait| wait.min(self.poll));
            // Either will do.
            let _ = timeout(pause, self.hastened.notified()).await;
            self.look(index, Instant::now()).await;
        }
    }

    /// Asks the forge once, and does what follows.
    pub async fn look(&self, index: &Index, now: Instant) {
        let word = self.ask().await;
        let heard = self.lock().hear(word, self.now(index), now);
        if word == Some(Word::Odd) && heard.is_some() {
            warn!(
                "for a minute the forge has not told who may read the index repository, so nobody reads without a token"
            );
        }
        // Again, as long as the commit that closes it has not come about.
        let is_private = match word {
            Some(Word::Private) => true,
            Some(Word::Odd) => self.is_closed(),
            Some(Word::Public) | None => false,
        };
        let Some(to) = heard.or(is_private.then_some(Visibility::Private)) else {
            return self.write_down(self.is_closed(), index).await;
        };
        let is_closed = to == Visibility::Private;
        // Closed before the commit, and opened with it; and nobody is refused who might be let in after a start.
        self.write_down(is_closed, index).await;
        if self.is_closed.swap(is_closed, Ordering::AcqRel) != is_closed {
            info!(visibility = %to, "who may read is otherwise now");
        }
        if to == index.snapshot().registry().identity.visibility {
            return;
        }
        match self.commit(index, to).await {
            Ok(()) => {
                info!(visibility = %to, "the index says who may read");
                *lock(&self.hindered) = None;
                self.write_down(is_closed, index).await;
            }
            Err(reason) => self.tell(to, reason.to_string()),
        }
    }

    /// Says why the index does not say it yet, unless that is what was said last.
    fn tell(&self, to: Visibility, reason: String) {
        let mut hindered = lock(&self.hindered);
        if hindered.as_ref() != Some(&reason) {
            warn!(reason, visibility = %to, "the index does not say yet who may read");
            *hindered = Some(reason);
        }
    }

    async fn ask(&self) -> Option<Word> {
        let Some(AtForge { forge, index, .. }) = &self.at_forge else {
            return Some(Word::Private);
        };
        let answer = forge.visibility(index).await;
        let word = Word::of(&answer);
        if let (Some(Word::Odd), Err(reason)) = (word, answer) {
            warn!(%reason, "it is not known who may read the index repository on the forge");
        }
        word
    }

    /// Writes down that the registry is closed, if it is; waits for the disk.
    pub fn mark(&self) {
        self.mark_unless(false);
    }

    /// The same, unless this index says it.
    pub fn mark_beside(&self, index: &Index) {
        self.mark_unless(says_for_good(index));
    }

    fn mark_unless(&self, is_said: bool) {
        if let Some(AtForge { mark, .. }) = &self.at_forge {
            put(mark, self.is_closed() && !is_said);
        }
    }

    async fn write_down(&self, is_closed: bool, index: &Index) {
        let Some(AtForge { mark, .. }) = &self.at_forge else {
            return;
        };
        let is_needed = is_closed && !says_for_good(index);
        if mark.is_there() != Some(is_needed) {
            let mark = Arc::clone(mark);
            // A disk that hangs keeps no registry open.
            let _ = timeout(MARK_TIME, spawn_blocking(move || put(&mark, is_needed))).await;
        }
    }

    /// Who may read at this moment.
    fn now(&self, index: &Index) -> Visibility {
        match self.is_closed() {
            true => Visibility::Private,
            false => index.snapshot().registry().identity.visibility,
        }
    }

    async fn commit(&self, index: &Index, to: Visibility) -> Result<(), WriteFault> {
        let capability = match (to, self.capability_downloads) {
            (Visibility::Private, true) => index::random_capability().ok(),
            _ => None,
        };
        let shown = Operation::Show { to, capability };
        let deadline = tokio::time::Instant::now() + COMMIT_TIME;
        index
            .operate(shown, Timestamp::now(), deadline)
            .await
            .map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Hearing> {
        lock(&self.hearing)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn says_private(index: &Index) -> bool {
    index.snapshot().registry().identity.visibility == Visibility::Private
}

/// What a power cut may still take from the index it does not say.
fn says_for_good(index: &Index) -> bool {
    says_private(index) && index.is_proven()
}

/// Puts the mark there or takes it away; a registry that is closed stays so meanwhile, and it is tried again at the next
/// look.
fn put(mark: &Mark, is_needed: bool) {
    if is_needed {
        if let Err(cause) = mark.put() {
            error!(%cause, "it is not written down that nobody reads without a token");
        }
    } else if let Err(cause) = mark.take_away() {
        warn!(%cause, "a mark that is no longer needed was not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forge::{ForgeLimits, Robot};
    use Visibility::{Private, Public};

    #[test]
    fn it_is_closed_at_the_first_word_and_opened_at_the_second_of_two_a_minute_apart() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut hearing = Hearing::default();
        let private = Some(Word::Private);
        let public = Some(Word::Public);
        assert_eq!(hearing.hear(private, Public, at(0)), Some(Private));
        assert_eq!(hearing.hear(public, Public, at(0)), None);
        assert_eq!(hearing.hear(public, Private, at(1)), None);
        assert_eq!(hearing.wait(at(1)), Some(SURE));
        assert_eq!(hearing.hear(public, Private, at(60)), None);
        assert_eq!(hearing.hear(public, Private, at(61)), Some(Public));
        assert_eq!(hearing.wait(at(61)), None, "it is not asked all the time");
        // As long as it did not come about.
        assert_eq!(hearing.hear(public, Private, at(62)), Some(Public));
        assert_eq!(hearing.hear(public, Public, at(63)), None);
        assert_eq!(hearing.hear(public, Private, at(64)), None);
    }

    #[test]
    fn the_mark_goes_only_if_the_index_is_known_to_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("closed");
        let url = "http://localhost:1".parse().unwrap();
        let at_forge = AtForge {
            forge: Arc::new(Forge::new(&url, Robot::None, ForgeLimits::default())),
            index: "acme/crates".parse().unwrap(),
            mark: Arc::new(Mark::at(path.clone())),
        };
        let watch = Watch::of_forge(at_forge, Duration::from_secs(30), false, &Ok(Private));
        for is_said in [true, false, false, true, false] {
            watch.mark_unless(is_said);
            assert_eq!(path.exists(), !is_said);
        }
        watch.mark();
        assert!(path.exists());
    }

    #[test]
    fn another_answer_or_none_between_the_two_begins_anew() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        for (word, is, to) in [
            (Word::Public, Private, Public),
            (Word::Odd, Public, Private),
        ] {
            let others = [Word::Public, Word::Private, Word::Odd].map(Some);
            for between in others.into_iter().chain([None]) {
                if between == Some(word) {
                    continue;
                }
                let mut hearing = Hearing::default();
                assert_eq!(hearing.hear(Some(word), is, at(0)), None);
                // A word that it is hidden closes what is open.
                let closes = (is == Public && between == Some(Word::Private)).then_some(Private);
                assert_eq!(hearing.hear(between, is, at(30)), closes);
                assert_eq!(hearing.hear(Some(word), is, at(60)), None);
                assert_eq!(hearing.hear(Some(word), is, at(119)), None);
                assert_eq!(hearing.hear(Some(word), is, at(120)), Some(to));
            }
        }
        // While it is away nothing changes.
        assert_eq!(Hearing::default().hear(None, Public, at(0)), None);
    }

    #[test]
    fn what_was_odd_and_is_told_again_opens_no_sooner_than_what_was_hidden() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut hearing = Hearing::default();
        assert_eq!(hearing.hear(Some(Word::Odd), Public, at(0)), None);
        assert_eq!(hearing.wait(at(20)), Some(Duration::from_secs(40)));
        assert_eq!(hearing.hear(Some(Word::Odd), Public, at(60)), Some(Private));
        assert_eq!(hearing.hear(Some(Word::Odd), Private, at(90)), None);
        assert_eq!(hearing.hear(Some(Word::Public), Private, at(100)), None);
        assert_eq!(hearing.hear(Some(Word::Public), Private, at(159)), None);
        let opened = hearing.hear(Some(Word::Public), Private, at(160));
        assert_eq!(opened, Some(Public));
    }
}
