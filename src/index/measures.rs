//! What the index measures of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::measure;

/// The measures of one index; a clone counts on the same.
#[derive(Debug, Clone)]
pub struct Measures {
    /// Changes whose answer is waited for.
    pub waiting: IntGauge,
    /// Changes of one group.
    pub group_changes: Histogram,
    /// A group from the first look at its changes until all see it.
    pub group_seconds: Histogram,
    /// Writing a pack until it is durable.
    pub pack_seconds: Histogram,
    /// Moving the tip until that is durable.
    pub tip_seconds: Histogram,
    /// Pushing to the forge until it answers.
    pub push_seconds: Histogram,
    /// How often the branch was found where it must not be.
    pub violations: IntCounter,
    opened: Instant,
    /// When the snapshot was shown, in milliseconds after `opened`.
    shown_millis: Arc<AtomicU64>,
    /// What the writer is at.
    piece: Arc<Mutex<Option<Piece>>>,
}

/// A piece of work of the writer.
#[derive(Debug, Clone, Copy)]
struct Piece {
    begun: Instant,
    waits_for: WaitsFor,
}

/// What the writer waits for if it does not come on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// The disk, or git, of this machine.
    Disk,
    /// The forge's answer.
    Forge,
}

/// The writer is at work until this is dropped.
pub(super) struct Work {
    begun: Instant,
    /// What it is at then: work can be a part of other work.
    then: Option<WaitsFor>,
    piece: Arc<Mutex<Option<Piece>>>,
}

impl Work {
    /// How long it takes so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        go_to(&mut lock(&self.piece), self.then);
    }
}

/// What is gone on with as before is the same piece.
fn go_to(piece: &mut Option<Piece>, next: Option<WaitsFor>) {
    if piece.map(|piece| piece.waits_for) != next {
        let begun = Instant::now();
        *piece = next.map(|waits_for| Piece { begun, waits_for });
    }
}

fn lock(piece: &Mutex<Option<Piece>>) -> MutexGuard<'_, Option<Piece>> {
    piece.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Measures {
    pub(super) fn new() -> Self {
        Self {
            waiting: measure::level(
                "sidecargo_index_changes_waiting",
                "Changes whose answer is waited for.",
            ),
            group_changes: measure::numbers(
                "sidecargo_index_group_changes",
                "Changes that were written together.",
            ),
            group_seconds: measure::durations(
                "sidecargo_index_group_seconds",
                "Time to judge the changes of a group, to write them and to show them.",
            ),
            pack_seconds: measure::durations(
                "sidecargo_index_pack_seconds",
                "Time to write the pack of a group, until it is durable.",
            ),
            tip_seconds: measure::durations(
                "sidecargo_index_tip_seconds",
                "Time to move the tip of the branch, until that is durable.",
            ),
            push_seconds: measure::durations(
                "sidecargo_index_push_seconds",
                "Time to push to the forge, until it answers.",
            ),
            violations: measure::count(
                "sidecargo_index_violations_total",
                "How often the branch was found at a commit to which no rule leads.",
            ),
            opened: Instant::now(),
            shown_millis: Arc::default(),
            piece: Arc::default(),
        }
    }

    /// How long the present snapshot has been served.
    pub fn snapshot_age(&self) -> Duration {
        self.since(self.shown_millis.load(Ordering::Relaxed))
    }

    /// What the writer is at, and how long; nothing if it waits for work.
    pub fn work(&self) -> Option<(WaitsFor, Duration)> {
        let piece = lock(&self.piece);
        piece.map(|piece| (piece.waits_for, piece.begun.elapsed()))
    }

    /// The writer begins to work, or goes on.
    pub(super) fn at_work(&self) -> Work {
        self.at(WaitsFor::Disk)
    }

    /// The writer asks the forge: a piece of work of its own, and what follows is another.
    pub(super) fn at_forge(&self) -> Work {
        self.at(WaitsFor::Forge)
    }

    fn at(&self, waits_for: WaitsFor) -> Work {
        let mut piece = lock(&self.piece);
        let then = piece.map(|piece| piece.waits_for);
        go_to(&mut piece, Some(waits_for));
        Work {
            begun: Instant::now(),
            then,
            piece: Arc::clone(&self.piece),
        }
    }

    /// Another snapshot is served from now on.
    pub(super) fn note_shown(&self) {
        self.shown_millis.store(self.now(), Ordering::Relaxed);
    }

    /// This moment, in milliseconds after `opened`.
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, millis: u64) -> Duration {
        let then = Duration::from_millis(millis);
        self.opened.elapsed().saturating_sub(then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_writer_waits_for_is_told_and_each_question_to_the_forge_is_a_piece_of_its_own() {
        let measures = Measures::new();
        let waits_for = || measures.work().map(|(waits_for, _)| waits_for);
        let begun = || lock(&measures.piece).unwrap().begun;
        assert_eq!(waits_for(), None);
        let group = measures.at_work();
        let first = begun();
        drop(measures.at_work());
        assert_eq!((waits_for(), begun()), (Some(WaitsFor::Disk), first));
        let push = measures.at_forge();
        assert_eq!(waits_for(), Some(WaitsFor::Forge));
        let asked = begun();
        assert!(asked > first);
        drop(push);
        assert_eq!(waits_for(), Some(WaitsFor::Disk));
        assert!(begun() > asked);
        drop(group);
        assert_eq!(waits_for(), None);
    }

    #[test]
    fn what_is_served_has_an_age() {
        let minute = Duration::from_secs(60);
        let measures = Measures {
            opened: Instant::now() - minute,
            ..Measures::new()
        };
        assert!(measures.snapshot_age() >= minute);
        measures.note_shown();
        assert!(measures.shown_millis.load(Ordering::Relaxed) >= 60_000);
    }
}
