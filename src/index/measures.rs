//! What the index measures of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Since when the writer is at its present piece of work, likewise; 0 if it waits for one.
    work_millis: Arc<AtomicU64>,
}

/// The writer is at work until this is dropped.
pub(super) struct Work {
    begun: Instant,
    /// What it was at before: work can be a part of other work.
    before: u64,
    millis: Arc<AtomicU64>,
}

impl Work {
    /// How long it takes so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.millis.store(self.before, Ordering::Relaxed);
    }
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
            work_millis: Arc::default(),
        }
    }

    /// How long the present snapshot has been served.
    pub fn snapshot_age(&self) -> Duration {
        self.since(self.shown_millis.load(Ordering::Relaxed))
    }

    /// How long the writer is at its present piece of work; nothing if it waits for one.
    pub fn work_age(&self) -> Duration {
        match self.work_millis.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            begun => self.since(begun),
        }
    }

    /// The writer begins to work.
    pub(super) fn at_work(&self) -> Work {
        let before = self.work_millis.load(Ordering::Relaxed);
        if before == 0 {
            self.work_millis.store(self.now().max(1), Ordering::Relaxed);
        }
        Work {
            begun: Instant::now(),
            before,
            millis: Arc::clone(&self.work_millis),
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
    fn what_is_served_and_the_piece_of_work_have_an_age() {
        let minute = Duration::from_secs(60);
        let earlier = Instant::now() - minute;
        let measures = Measures {
            opened: earlier,
            ..Measures::new()
        };
        let is_now = |millis: &AtomicU64| millis.load(Ordering::Relaxed) >= 60_000;
        assert!(measures.snapshot_age() >= minute);
        measures.note_shown();
        assert!(is_now(&measures.shown_millis));
        assert_eq!(measures.work_age(), Duration::ZERO);
        let mut work = measures.at_work();
        assert!(is_now(&measures.work_millis));
        measures.work_millis.store(1, Ordering::Relaxed);
        // A part of it.
        drop(measures.at_work());
        assert!(measures.work_age() >= minute / 2);
        work.begun = earlier;
        assert!(work.elapsed() >= minute);
        drop(work);
        assert_eq!(measures.work_age(), Duration::ZERO);
    }
}
