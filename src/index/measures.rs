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
        }
    }

    /// How long the present snapshot has been served.
    pub fn snapshot_age(&self) -> Duration {
        let shown = Duration::from_millis(self.shown_millis.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(shown)
    }

    /// Another snapshot is served from now on.
    pub(super) fn note_shown(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shown_millis.store(millis, Ordering::Relaxed);
    }
}
