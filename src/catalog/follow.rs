//! The task that brings the catalog up and keeps it up, beside all that the server does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::Catalog;

/// The most files that are read between two looks at the index.
const READ_AT_ONCE_MAX: usize = 512;
/// How long it then rests: changes that come one after the other cost little more than one, and who searches meanwhile
/// looks at the index themselves.
const REST: Duration = Duration::from_secs(1);
/// The cache is written again after so many files were read,
const SAVE_AFTER: usize = 1000;
/// and not before that is this share of all that were read: else a large registry would write it again and again.
const SAVE_SHARE: usize = 8;
/// How often the log tells how far the catalog is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A running task; it ends when this is stopped or dropped, or with the index.
#[derive(Debug)]
pub struct Follower {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Starts to make the catalog.
    pub fn start(catalog: Arc<Catalog>) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self {
            stop,
            task: tokio::spawn(follow(catalog, stopped, Catalog::make)),
        }
    }

    /// Ends it after the file that is being read, and keeps what was read.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.ended().await;
    }

    /// Waits for its end, which comes with that of the index.
    pub(super) async fn ended(self) {
        if let Err(fault) = self.task.await {
            error!(%fault, "the catalog was not followed to the end");
        }
    }
}

/// What is done at a time.
type Work = fn(&Catalog, &watch::Receiver<bool>);

/// Does `work` at first, and then what each move of the index asks for.
async fn follow(catalog: Arc<Catalog>, mut stop: watch::Receiver<bool>, mut work: Work) {
    let mut moves = catalog.moves.clone();
    loop {
        let (catalog, stop_now) = (Arc::clone(&catalog), stop.clone());
        if let Err(fault) = spawn_blocking(move || work(&catalog, &stop_now)).await {
            error!(%fault, "the catalog was not brought up to date; the next change tries again");
        }
        work = Catalog::catch_up;
        let moved = async {
            sleep(REST).await;
            moves.changed().await
        };
        tokio::select! {
            moved = moved => if moved.is_err() { break },
            _ = stop.changed() => break,
        }
    }
    let _ = spawn_blocking(move || catalog.keep()).await;
}

/// Whether somebody said so, or nobody is left who could.
fn is_stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Whether the cache is to be written, if `unsaved` of the files that were read are not in it.
fn is_due(unsaved: usize, read_count: usize) -> bool {
    unsaved >= SAVE_AFTER.max(read_count / SAVE_SHARE)
}

impl Catalog {
    /// Makes the whole catalog, from the cache as far as that goes.
    fn make(&self, stop: &watch::Receiver<bool>) {
        let started = Instant::now();
        self.remember();
        self.catch_up(stop);
        if !is_stopped(stop) {
            let crates = self.shown.load().crate_count();
            let duration_ms = started.elapsed().as_millis();
            info!(crates, duration_ms, "the catalog is made");
        }
    }

    /// Reads all files that are to be read; names follow the index meanwhile.
    fn catch_up(&self, stop: &watch::Receiver<bool>) {
        let mut told = Instant::now();
        self.take_names();
        while self.shown.load().unread_count() > 0 && !is_stopped(stop) {
            self.read_some(READ_AT_ONCE_MAX, || !is_stopped(stop));
            self.take_names();
            self.keep_if_due();
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                let unread = self.shown.load().unread_count();
                info!(unread, "the catalog is being made");
            }
        }
        self.keep_if_due();
    }

    fn keep_if_due(&self) {
        let shown = self.shown.load();
        let read_count = shown.crate_count() - shown.unread_count();
        if is_due(self.unsaved.load(Ordering::Relaxed), read_count) {
            self.keep();
        }
    }

    /// Writes the cache; what cannot be written costs the next start some time.
    fn keep(&self) {
        if let Err(cause) = self.save() {
            warn!(%cause, "the catalog's cache was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::Fixture;

    #[tokio::test]
    async fn a_catalog_that_met_a_fault_is_brought_up_to_date_by_the_next_change() {
        let fixture = Fixture::new();
        let catalog = fixture.catalog();
        let (stop, stopped) = watch::channel(false);
        let meets_a_fault: Work = |_, _| panic!("a fault");
        let following = tokio::spawn(follow(Arc::clone(&catalog), stopped, meets_a_fault));
        fixture.publish("a", "1.0.0", "it is found").await;
        while catalog.crate_count() == 0 || catalog.unread_count() > 0 {
            assert!(!following.is_finished());
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
        following.await.unwrap();
    }

    #[test]
    fn a_large_catalog_is_written_seldom_and_never_late() {
        let (mut saved, mut writes, mut lines) = (0, 0, 0);
        for read in 1..=1_000_000 {
            if is_due(read - saved, read) {
                (saved, writes, lines) = (read, writes + 1, lines + read);
            }
            assert!(read - saved < SAVE_AFTER.max(read / SAVE_SHARE), "{read}");
        }
        assert!((10..100).contains(&writes), "{writes}");
        assert!(lines < 10 * saved, "each line is written a few times");
    }
}
