//! Pull requests of which the forge was told a moment ago that they are good.
//!
//! It merges one by itself then, where somebody asked it to, and of two that touch the same each may be good alone. So
//! the second waits until the first may be merged and it was looked whether it is.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::index::{Basis, Index};

/// How long a forge may take to merge by itself, and then to say where the branch is.
const MERGE_TIME: Duration = Duration::from_secs(3);
const LOOK_TIME: Duration = Duration::from_secs(10);

/// What each of them touches, and when the forge was told.
#[derive(Default)]
pub(super) struct JustGood(Vec<(Instant, Basis)>);

impl JustGood {
    /// The forge was told that one is good which stands on this.
    pub(super) fn add(&mut self, basis: Basis) {
        self.0.push((Instant::now(), basis));
    }

    /// Lets the forge merge those that touch the same.
    pub(super) async fn let_merge(&mut self, index: &Index, basis: &Basis) {
        self.0.retain(|(told, _)| told.elapsed() < MERGE_TIME);
        let same = self.0.iter().filter(|(_, other)| basis.shares(other));
        let Some(told) = same.map(|(told, _)| *told).max() else {
            return;
        };
        sleep_until(told + MERGE_TIME).await;
        if let Err(reason) = index.look(Instant::now() + LOOK_TIME).await {
            warn!(%reason, "it is not known whether a pull request that is good was merged");
        }
    }
}
