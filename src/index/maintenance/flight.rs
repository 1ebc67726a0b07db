//! What the writer tells of the packs that it is writing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::crowd::Crowd;
use super::packs::left_by_git;

/// After so many packs it is looked whether there are too many.
const CALL_AFTER: u64 = 16;

/// Counts beginnings and ends, so it is odd in between. The writer never waits for whoever reads it.
type Laps = AtomicU64;

/// The writer's side and the reader's of one count.
#[derive(Debug, Clone)]
pub(in crate::index) struct Flights {
    /// Packs that the writer writes itself: each may be taken back until its flight is over.
    written: Arc<Laps>,
    /// Packs that it lets git write.
    copied: Arc<Laps>,
    left: Arc<Mutex<Left>>,
    call: SyncSender<()>,
    /// How many packs there are.
    pub(in crate::index) crowd: Crowd,
}

/// What programs left that failed.
#[derive(Debug, Default)]
struct Left {
    /// How many run at this moment: their files look the same, so some of these may be theirs.
    running: usize,
    /// Those that go when none does.
    files: BTreeSet<PathBuf>,
}

/// Lasts as long as a pack is in flight.
#[derive(Debug)]
pub(in crate::index) struct Flight {
    laps: Arc<Laps>,
    call: SyncSender<()>,
}

/// A moment between beginnings and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

impl Flights {
    pub(in crate::index) fn new(call: SyncSender<()>) -> Self {
        Self {
            written: Arc::default(),
            copied: Arc::default(),
            left: Arc::default(),
            call,
            crowd: Crowd::default(),
        }
    }

    /// A pack is written; when this ends, the tip stands on it or it is gone.
    pub(in crate::index) fn write(&self) -> Flight {
        self.begin(&self.written)
    }

    fn begin(&self, laps: &Arc<Laps>) -> Flight {
        laps.fetch_add(1, Ordering::SeqCst);
        Flight {
            laps: Arc::clone(laps),
            call: self.call.clone(),
        }
    }

    /// Lets git copy objects into packs of this folder; what it leaves there when it fails goes.
    pub(in crate::index) fn copy<T, E>(
        &self,
        folder: &Path,
        copy: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _flight = self.begin(&self.copied);
        self.clean_after(folder, copy)
    }

    /// Lets git work in this folder of packs; what it leaves there when it fails goes once no other git is at work.
    pub(super) fn clean_after<T, E>(
        &self,
        folder: &Path,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.lock_left().running += 1;
        let before = left_by_git(folder);
        let outcome = work();
        let mut left = self.lock_left();
        if outcome.is_err()
            && let (Ok(before), Ok(after)) = (before, left_by_git(folder))
        {
            left.files.extend(after.difference(&before).cloned());
        }
        left.running -= 1;
        if left.running == 0 {
            for path in std::mem::take(&mut left.files) {
                // One that stays goes at the next start.
                let _ = fs::remove_file(path);
            }
        }
        outcome
    }

    fn lock_left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn in_flight(&self) -> Moment {
        Moment(self.written.load(Ordering::SeqCst))
    }

    /// Whether a pack was in flight at that moment and still is.
    pub(super) fn is_still(&self, moment: Moment) -> bool {
        is_odd(moment.0) && self.in_flight().0 == moment.0
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let flights = self.laps.fetch_add(1, Ordering::SeqCst) / 2 + 1;
        if flights.is_multiple_of(CALL_AFTER) {
            // If there is a call already, it is enough.
            let _ = self.call.try_send(());
        }
    }
}

fn is_odd(laps: u64) -> bool {
    !laps.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_pack_is_in_flight_from_its_beginning_to_its_end() {
        let flights = Flights::new(sync_channel(1).0);
        let before = flights.in_flight();
        assert!(!flights.is_still(before));
        let flight = flights.write();
        let during = flights.in_flight();
        assert!(flights.is_still(during) && !flights.is_still(before));
        drop(flight);
        assert!(!flights.is_still(during));
        let _other = flights.write();
        assert!(!flights.is_still(during), "another one is no matter");
    }

    #[test]
    fn what_a_git_leaves_when_it_fails_goes_once_it_cannot_be_that_of_another() {
        let flights = Flights::new(sync_channel(1).0);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let leave = |name: &str, outcome: Result<(), ()>| {
            let work = || {
                fs::write(path(name), "").unwrap();
                outcome
            };
            assert_eq!(flights.copy(folder.path(), work), outcome);
        };
        // That of somebody else stays, and so does all of one that succeeds.
        fs::write(path("tmp_pack_before"), "").unwrap();
        leave("tmp_pack_alone", Err(()));
        assert!(!path("tmp_pack_alone").exists());
        leave("tmp_pack_well", Ok(()));
        let merge = |outcome: Result<(), ()>| {
            let work = || {
                fs::write(path("tmp_pack_merge"), "").unwrap();
                leave("tmp_pack_beside", Err(()));
                assert!(path("tmp_pack_beside").exists() && path("tmp_pack_merge").exists());
                outcome
            };
            assert_eq!(flights.clean_after(folder.path(), work), outcome);
            assert!(!path("tmp_pack_beside").exists());
        };
        merge(Err(()));
        assert!(!path("tmp_pack_merge").exists());
        merge(Ok(()));
        let left = left_by_git(folder.path()).unwrap();
        let expected = ["tmp_pack_before", "tmp_pack_merge", "tmp_pack_well"].map(path);
        assert_eq!(left, expected.into_iter().collect());
    }

    #[test]
    fn after_every_sixteen_packs_it_is_called() {
        let (call, called) = sync_channel(1);
        let flights = Flights::new(call);
        for number in 1..=48 {
            drop(flights.write());
            assert_eq!(called.try_recv().is_ok(), number % 16 == 0, "{number}");
        }
    }
}
