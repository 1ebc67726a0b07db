//! Who may read a registry whose index is on a forge: whom the forge shows the index repository.
//!
//! The forge is asked now and then, as somebody without a token. What was public once is on other machines already, so
//! a registry is closed at the first word, and opened only when the forge has said so twice, with a minute between.
//! While it cannot be asked, what was known last holds: what the index says, unless the commit that closes the registry
//! has not come about; that is written down ([`Mark`]), so that it holds at the next start too.
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
use crate::forge::Forge;
use crate::index::{self, Index, Operation, WriteFault};

pub use mark::Mark;

/// How far two answers lie apart before the registry is opened.
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
    opening: Mutex<Opening>,
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

/// Since when the forge says that everybody may read, while the registry is private.
#[derive(Debug, Default)]
struct Opening(Option<Instant>);

impl Opening {
    /// What the registry must become after this answer, if it `is` something else.
    fn hear(
        &mut self,
        answer: Option<Visibility>,
        is: Visibility,
        now: Instant,
    ) -> Option<Visibility> {
        match (answer, is) {
            (Some(Visibility::Public), Visibility::Private) => {
                let since = *self.0.get_or_insert(now);
                (now.duration_since(since) >= SURE).then_some(Visibility::Public)
            }
            (Some(Visibility::Private), Visibility::Public) => Some(Visibility::Private),
            _ => {
                self.0 = None;
                None
            }
        }
    }

    /// How long until an answer could open the registry.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let since = self.0?;
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
        first: Option<Visibility>,
    ) -> Self {
        // A mark that may be there is one.
        let is_closed =
            first == Some(Visibility::Private) || at_forge.mark.is_there() != Some(false);
        let watch = Self::new(Some(at_forge), poll, capability_downloads, is_closed);
        if first == Some(Visibility::Public) {
            *watch.lock() = Opening(Some(Instant::now()));
        }
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
            opening: Mutex::default(),
            hindered: Mutex::default(),
            hastened: Notify::new(),
        }
    }

    /// Whether nobody reads without a token, whatever the index says.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
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
        let answer = self.ask().await;
        let heard = self.lock().hear(answer, self.now(index), now);
        // Again, as long as the commit that closes it has not come about.
        let private = answer.filter(|answer| *answer == Visibility::Private);
        let Some(to) = heard.or(private) else {
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

    async fn ask(&self) -> Option<Visibility> {
        let Some(AtForge { forge, index, .. }) = &self.at_forge else {
            return Some(Visibility::Private);
        };
        match forge.visibility(index).await {
            Ok(answer) => Some(answer),
            Err(fault) if fault.is_away() => None,
            Err(reason) => {
                warn!(%reason, "it is not known who may read the index repository on the forge");
                None
            }
        }
    }

    /// Writes down that the registry is closed, if it is and the index does not say so; waits for the disk.
    pub fn mark(&self, index_says: Option<Visibility>) {
        let is_needed = self.is_closed() && index_says != Some(Visibility::Private);
        if let Some(AtForge { mark, .. }) = &self.at_forge {
            put(mark, is_needed);
        }
    }

    async fn write_down(&self, is_closed: bool, index: &Index) {
        let Some(AtForge { mark, .. }) = &self.at_forge else {
            return;
        };
        // What a power cut may still take from the index it does not say.
        let is_needed = is_closed && !(says_private(index) && index.is_proven());
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

    fn lock(&self) -> MutexGuard<'_, Opening> {
        lock(&self.opening)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn says_private(index: &Index) -> bool {
    index.snapshot().registry().identity.visibility == Visibility::Private
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
    use Visibility::{Private, Public};

    #[test]
    fn it_is_closed_at_the_first_word_and_opened_at_the_second_of_two_a_minute_apart() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut opening = Opening::default();
        assert_eq!(opening.hear(Some(Private), Public, at(0)), Some(Private));
        assert_eq!(opening.hear(Some(Public), Public, at(0)), None);
        assert_eq!(opening.hear(Some(Public), Private, at(1)), None);
        assert_eq!(opening.wait(at(1)), Some(SURE));
        assert_eq!(opening.hear(Some(Public), Private, at(60)), None);
        assert_eq!(opening.hear(Some(Public), Private, at(61)), Some(Public));
        assert_eq!(opening.wait(at(61)), None, "it is not asked all the time");
        // As long as it did not come about.
        assert_eq!(opening.hear(Some(Public), Private, at(62)), Some(Public));
        assert_eq!(opening.hear(Some(Public), Public, at(63)), None);
        assert_eq!(opening.hear(Some(Public), Private, at(64)), None);
    }

    #[test]
    fn another_answer_or_none_between_the_two_begins_anew() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        for between in [Some(Private), None] {
            let mut opening = Opening::default();
            assert_eq!(opening.hear(Some(Public), Private, at(0)), None);
            assert_eq!(opening.hear(between, Private, at(30)), None);
            assert_eq!(opening.hear(Some(Public), Private, at(60)), None);
            assert_eq!(opening.hear(Some(Public), Private, at(119)), None);
            assert_eq!(opening.hear(Some(Public), Private, at(120)), Some(Public));
        }
        // What is not known changes nothing.
        assert_eq!(Opening::default().hear(None, Public, at(0)), None);
    }
}
