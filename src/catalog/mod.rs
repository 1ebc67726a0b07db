//! What people look crates up by: names, keywords and descriptions.
//!
//! The catalog is a projection: names and versions are those of the index at one commit, the rest is read from the
//! manifests inside the `.crate` files. It can be thrown away at any time and is made again in the background.
//! Names are always complete; keywords and descriptions come in as the files are read.

mod cache;
mod entries;
mod extract;
mod follow;
mod pages;
mod search;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{Span, warn};

use crate::blobs::Blobs;
use crate::domain::CommitId;
use crate::index::{Crate, Snapshot};
use crate::places::Places;

pub use entries::Entry;
pub use extract::Extract;
pub use follow::Follower;
pub use search::{FOUND_MAX, Found};

use cache::CacheFile;
use entries::{Entries, Known, Read};
use search::Query;

/// The most files that a search reads itself: what was published a moment ago is found at once.
const READ_BY_SEARCH_MAX: usize = 16;
/// How long a search waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// All crates of the registry as people look for them.
pub struct Catalog {
    blobs: Arc<Blobs>,
    cache: CacheFile,
    moves: watch::Receiver<Arc<Snapshot>>,
    shown: ArcSwap<Entries>,
    /// Held by whoever makes the next entries; never while a file is read.
    changing: Mutex<()>,
    /// Held by whoever reads files, so that none is read twice.
    reading: Mutex<()>,
    /// Files that were read since the cache was written.
    unsaved: AtomicUsize,
    /// Searches at one time: each keeps a core busy. Of one address as many again wait for their turn, and more for these.
    searches: Places,
    /// How long one waits for its turn.
    turn_wait: Duration,
}

/// A search has no answer.
#[derive(Debug, Error)]
pub enum SearchFault {
    /// Its turn did not come in time, or before others wanted its place.
    #[error("too many searches are running, try again in a moment")]
    Busy,
    /// It was not finished.
    #[error("the search was not finished: an internal fault, which the log names")]
    Unfinished,
}

impl Catalog {
    /// A catalog of the index that `moves` shows; `folder` is where it may keep what it has read.
    ///
    /// It is empty until the first search, or until a [`Follower`] is started.
    pub fn new(blobs: Arc<Blobs>, moves: watch::Receiver<Arc<Snapshot>>, folder: PathBuf) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            blobs,
            cache: CacheFile::new(folder),
            moves,
            shown: ArcSwap::default(),
            changing: Mutex::default(),
            reading: Mutex::default(),
            unsaved: AtomicUsize::new(0),
            searches: Places::new(cores, 2 * cores),
            turn_wait: TURN_WAIT,
        }
    }

    /// Crates that fit `query`, the best first, at most `count_max` and [`FOUND_MAX`] of them.
    ///
    /// Every change that was answered before is seen. If `peer`, who searches, still waits for a turn when `hurry`
    /// resolves, there is none.
    pub async fn search(
        self: &Arc<Self>,
        query: &str,
        count_max: usize,
        peer: IpAddr,
        hurry: impl Future<Output = ()>,
    ) -> Result<Found, SearchFault> {
        let query = Query::new(query);
        let look = move |entries: &Entries| query.search(entries.pages(), count_max);
        self.look_through(look, peer, hurry).await
    }

    /// Crates that belong to the repository of the forge with this number, in the order of their names.
    ///
    /// As [`Catalog::search`] otherwise.
    pub async fn of_repository(
        self: &Arc<Self>,
        id: u64,
        count_max: usize,
        peer: IpAddr,
        hurry: impl Future<Output = ()>,
    ) -> Result<Found, SearchFault> {
        let look = move |entries: &Entries| {
            let is_its = |entry: &&Entry| entry.repository_id() == Some(id);
            let mut found = entries.iter().filter(is_its);
            let crates: Vec<Entry> = found.by_ref().take(count_max).cloned().collect();
            let total = crates.len() + found.count();
            Found { crates, total }
        };
        self.look_through(look, peer, hurry).await
    }

    async fn look_through(
        self: &Arc<Self>,
        look: impl FnOnce(&Entries) -> Found + Send + 'static,
        peer: IpAddr,
        hurry: impl Future<Output = ()>,
    ) -> Result<Found, SearchFault> {
        let deadline = Instant::now() + self.turn_wait;
        let turn = async {
            let place = self.searches.of_address(peer, deadline).await?;
            place.in_pool(deadline).await
        };
        let turn = tokio::select! {
            biased;
            turn = turn => turn,
            () = hurry => None,
        };
        let turn = turn.ok_or(SearchFault::Busy)?;
        let catalog = Arc::clone(self);
        let span = Span::current();
        let found = spawn_blocking(move || {
            // Held until the work is done, also when nobody waits for it any more.
            let _turn = turn;
            let _entered = span.enter();
            look(&catalog.now())
        });
        found.await.map_err(|_| SearchFault::Unfinished)
    }

    /// The commit whose crates are shown; none before the first look at the index.
    pub fn commit(&self) -> Option<CommitId> {
        self.shown.load().commit()
    }

    /// How many crates can be found.
    pub fn crate_count(&self) -> usize {
        self.shown.load().crate_count()
    }

    /// How many of them are found by their name alone, because their file was not read yet.
    pub fn unread_count(&self) -> usize {
        self.shown.load().unread_count()
    }

    /// The entries at the index's present commit.
    fn now(&self) -> Arc<Entries> {
        self.take_names();
        if (1..=READ_BY_SEARCH_MAX).contains(&self.shown.load().unread_count()) {
            self.read_some(READ_BY_SEARCH_MAX, || true);
        }
        self.shown.load_full()
    }

    /// Takes names and versions over from the index.
    fn take_names(&self) {
        if self.commit() != Some(self.moves.borrow().commit()) {
            // The snapshot is looked up when nobody else makes entries: they never go back.
            self.change(|entries| {
                let snapshot = Arc::clone(&self.moves.borrow());
                entries.at(&snapshot)
            });
        }
    }

    /// Reads some of the files that were not read yet, as long as `go_on` says so.
    fn read_some(&self, count_max: usize, go_on: impl Fn() -> bool) {
        let _turn = lock(&self.reading);
        let unread = self.shown.load().unread(count_max);
        let read: Vec<Read> = unread
            .into_iter()
            .take_while(|_| go_on())
            .map(|krate| self.read(krate))
            .collect();
        self.unsaved.fetch_add(read.len(), Ordering::Relaxed);
        self.change(|entries| entries.with(read));
    }

    fn read(&self, krate: Arc<Crate>) -> Read {
        let cksum = krate.newest().cksum;
        let extract = self
            .blobs
            .read(&cksum)
            .map_err(Into::into)
            .and_then(Extract::read);
        let known = match extract {
            Ok(extract) => Known::Extract(extract),
            Err(fault) => {
                let name = krate.name.as_str();
                warn!(krate.name = name, blob.cksum = %cksum, %fault, "a crate has no description in the catalog");
                Known::Nothing
            }
        };
        Read { krate, known }
    }

    /// Takes over what an earlier process has read.
    fn remember(&self) {
        let kept = match self.cache.load() {
            Ok(kept) => kept,
            Err(fault) => {
                warn!(%fault, "the catalog's cache is not used");
                return;
            }
        };
        self.change(|entries| {
            let snapshot = Arc::clone(&self.moves.borrow());
            entries.all_of(&snapshot, &kept)
        });
    }

    /// Keeps what was read for the next process.
    fn save(&self) -> io::Result<()> {
        let unsaved = self.unsaved.swap(0, Ordering::Relaxed);
        if unsaved == 0 {
            return Ok(());
        }
        self.cache.save(&self.shown.load())
    }

    fn change(&self, next: impl FnOnce(&Entries) -> Entries) {
        let _turn = lock(&self.changing);
        let entries = next(&self.shown.load());
        self.shown.store(Arc::new(entries));
    }
}

/// Nothing is behind these locks that a panic could leave half-done.
fn lock(turn: &Mutex<()>) -> MutexGuard<'_, ()> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests;
