//! Pull requests of which the forge was told that they are good.
//!
//! It merges one by itself then, where somebody asked it to, and of two that touch the same each may be good alone. So
//! the second waits until the first may be merged and it was looked whether it is.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::app::App;
use crate::index::Basis;

/// How long a forge may take to merge by itself, and then to say where the branch is.
const MERGE_TIME: Duration = Duration::from_secs(3);
const LOOK_TIME: Duration = Duration::from_secs(10);
/// Of how many it is known, and for how long at most: what heals a branch may not wait for a good one for ever.
const KNOWN_MAX: usize = 256;
const KNOWN_TIME: Duration = Duration::from_secs(600);

/// Those of which the forge was told, the newest last.
///
/// One stays until the branch was looked at, and was good, after its time to be merged.
#[derive(Default)]
pub(super) struct JustGood(VecDeque<Told>);

struct Told {
    number: u64,
    at: Instant,
    /// What it touches.
    basis: Basis,
}

impl JustGood {
    /// The forge was told that this one is good, which stands on this.
    pub(super) fn add(&mut self, number: u64, basis: Basis) {
        if self.0.len() == KNOWN_MAX {
            self.0.pop_front();
        }
        let at = Instant::now();
        self.0.push_back(Told { number, at, basis });
    }

    /// Lets the forge merge others that touch the same as the pull request `number`, and then takes a `look` at the branch;
    /// whether nothing of them is unknown any more.
    pub(super) async fn let_merge(
        &mut self,
        number: u64,
        basis: &Basis,
        look: impl Future<Output = bool>,
    ) -> bool {
        self.0.retain(|told| told.at.elapsed() < KNOWN_TIME);
        let is_same = |told: &&Told| told.number != number && basis.shares(&told.basis);
        let Some(told) = { self.0.iter() }.filter(is_same).map(|it| it.at).max() else {
            return true;
        };
        sleep_until(told + MERGE_TIME).await;
        let is_known = look.await;
        if is_known {
            self.0.retain(|other| other.at > told);
        }
        is_known
    }
}

/// Looks where the branch is; whether that is known, and it is good.
pub(super) async fn look(app: &App) -> bool {
    let looked = app.index.look(Instant::now() + LOOK_TIME).await;
    if let Err(reason) = &looked {
        warn!(%reason, "it is not known whether a pull request that is good was merged");
    }
    looked.is_ok()
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

    /// One that touches the policy, and was good so long ago.
    fn told(number: u64, ago: Duration) -> Told {
        Told {
            number,
            at: Instant::now() - ago,
            basis: basis(true),
        }
    }

    #[tokio::test]
    async fn one_that_touches_the_same_waits_for_a_look_however_late_it_comes() {
        let mut just_good = JustGood([told(1, 2 * MERGE_TIME), told(2, KNOWN_TIME)].into());
        assert!(just_good.let_merge(3, &basis(false), ready(false)).await);
        // Another head of the very same takes its place.
        assert!(just_good.let_merge(1, &basis(true), ready(false)).await);
        assert_eq!(just_good.0.len(), 1, "it is not waited for longer");
        // What is not known then is looked for again.
        for is_known in [false, false, true] {
            let looked = just_good.let_merge(3, &basis(true), ready(is_known)).await;
            assert_eq!(looked, is_known);
        }
        assert!(just_good.let_merge(3, &basis(true), ready(false)).await);
        assert!(just_good.0.is_empty());
    }

    #[tokio::test]
    async fn a_look_tells_nothing_of_one_that_was_good_later() {
        let mut just_good = JustGood([told(1, 2 * MERGE_TIME)].into());
        just_good.add(2, basis(false));
        assert!(just_good.let_merge(3, &basis(true), ready(true)).await);
        assert_eq!(just_good.0.len(), 1);
        for number in 3..2 * KNOWN_MAX as u64 {
            just_good.add(number, basis(true));
        }
        assert_eq!(just_good.0.len(), KNOWN_MAX);
        assert!(just_good.0.iter().all(|told| told.number > 2));
    }
}
