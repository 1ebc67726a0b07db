//! Pull requests of which the forge was told that they are good.
//!
//! It merges one by itself then, where somebody asked it to, and of two that touch the same each may be good alone. So
//! the second waits until the first may be merged and it was looked whether it is.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::is_branch_bad;
use crate::app::App;
use crate::index::Basis;

/// How long a forge may take to merge by itself, and then to say where the branch is.
const MERGE_TIME: Duration = Duration::from_secs(3);
const LOOK_TIME: Duration = Duration::from_secs(10);
/// Of how many it is known; an older one has had its time.
const KNOWN_MAX: usize = 64;

/// What each of them touches, and when the forge was told; the newest is the last.
///
/// One stays until the branch was looked at after its time to be merged, however late that is.
#[derive(Default)]
pub(super) struct JustGood(VecDeque<(Instant, Basis)>);

impl JustGood {
    /// The forge was told that one is good which stands on this.
    pub(super) fn add(&mut self, basis: Basis) {
        if self.0.len() == KNOWN_MAX {
            self.0.pop_front();
        }
        self.0.push_back((Instant::now(), basis));
    }

    /// Lets the forge merge those that touch the same, and then takes a `look` at the branch; whether nothing of them is
    /// unknown any more.
    pub(super) async fn let_merge(
        &mut self,
        basis: &Basis,
        look: impl Future<Output = bool>,
    ) -> bool {
        let same = self.0.iter().filter(|(_, other)| basis.shares(other));
        let Some(told) = same.map(|(told, _)| *told).max() else {
            return true;
        };
        sleep_until(told + MERGE_TIME).await;
        let is_known = look.await;
        if is_known {
            self.0.retain(|(other, _)| *other > told);
        }
        is_known
    }
}

/// Looks where the branch is; whether that is known.
pub(super) async fn look(app: &App) -> bool {
    let Err(reason) = app.index.look(Instant::now() + LOOK_TIME).await else {
        return true;
    };
    // Of one that is not good it is: what heals it waits for nothing.
    let is_known = is_branch_bad(app);
    if !is_known {
        warn!(%reason, "it is not known whether a pull request that is good was merged");
    }
    is_known
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn basis(policy: bool) -> Basis {
        Basis::Part {
            by_people: [0; 20].into(),
            owners: Vec::new(),
            policy,
        }
    }

    #[tokio::test]
    async fn one_that_touches_the_same_waits_for_a_look_however_late_it_comes() {
        let long_ago = Instant::now() - 2 * MERGE_TIME;
        let told = [(long_ago, basis(true)), (long_ago, basis(false))];
        let mut just_good = JustGood(told.into());
        assert!(just_good.let_merge(&basis(false), ready(false)).await);
        // What is not known then is looked for again.
        for is_known in [false, false, true] {
            let looked = just_good.let_merge(&basis(true), ready(is_known)).await;
            assert_eq!(looked, is_known);
        }
        assert!(just_good.let_merge(&basis(true), ready(false)).await);
        assert!(just_good.0.is_empty());
    }

    #[tokio::test]
    async fn a_look_tells_nothing_of_one_that_was_good_later() {
        let long_ago = Instant::now() - 2 * MERGE_TIME;
        let mut just_good = JustGood([(long_ago, basis(true))].into());
        just_good.add(basis(false));
        assert!(just_good.let_merge(&basis(true), ready(true)).await);
        assert_eq!(just_good.0.len(), 1);
        for _ in 0..2 * KNOWN_MAX {
            just_good.add(basis(true));
        }
        assert_eq!(just_good.0.len(), KNOWN_MAX);
        assert!(
            just_good
                .0
                .iter()
                .all(|(_, basis)| basis.shares(&self::basis(true)))
        );
    }
}
