//! Pull requests of which the forge was told that they are good, and those that wait for them.
//!
//! It merges one by itself then, where somebody asked it to, and of two that touch the same each may be good alone. So
//! the second waits until the first may be merged and it was looked whether it is.

use std::time::Duration;

use tokio::time::Instant;

use super::Judged;
use crate::domain::CommitId;
use crate::index::Ground;

/// How long a forge may take to merge by itself.
pub(super) const MERGE_TIME: Duration = Duration::from_secs(3);
/// How many wait; more are judged later.
const WAITING_MAX: usize = 256;

/// Those that are good.
#[derive(Default)]
pub(super) struct JustGood {
    /// What the forge was told, and when, until the branch was looked at after its time to be merged. As it is looked at
    /// before each, they are few.
    told: Vec<(Instant, Judged)>,
    /// Those of which it was not told for the sake of others, in the order in which they came.
    pub(super) waiting: Vec<Judged>,
}

impl JustGood {
    /// The forge was told of one.
    pub(super) fn add(&mut self, judged: Judged) {
        self.told.push((Instant::now(), judged));
    }

    /// It is known where the branch is, by a look that began at this moment.
    pub(super) fn looked(&mut self, began: Instant) {
        self.told.retain(|(told, _)| *told + MERGE_TIME > began);
    }

    /// Whether another that touches the same may be merged without being seen, or came before and waits itself.
    pub(super) fn must_wait(&self, judged: &Judged) -> bool {
        let told = self.told.iter().map(|(_, told)| told);
        let mut before = told.chain(&self.waiting);
        before.any(|it| it.number != judged.number && it.basis.shares(&judged.basis))
    }

    /// Lets one wait; whether there is room for it.
    pub(super) fn wait(&mut self, judged: Judged) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push(judged);
        }
        has_room
    }

    /// Whether this head of a pull request waits, and was judged for this state of the index; if not, none of its heads
    /// waits any longer.
    pub(super) fn waits(&mut self, number: u64, head: CommitId, on: &Ground) -> bool {
        self.waiting
            .retain(|it| it.number != number || it.head == head && it.basis.holds(on));
        self.waiting.iter().any(|it| it.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::told::told;
    use super::*;
    use crate::index::{Basis, Scope};

    /// A good pull request that touches the policy, or nothing that another may touch.
    fn judged(number: u64, policy: bool) -> Judged {
        Judged {
            number,
            head: [0; 20].into(),
            told: told(Ok(()), false),
            basis: Basis {
                strayed: None,
                scope: Scope::Part {
                    by_people: [0; 20].into(),
                    owners: Vec::new(),
                    policy,
                },
            },
        }
    }

    /// What was told so long ago.
    fn told_before(ago: Duration, judged: Judged) -> (Instant, Judged) {
        (Instant::now() - ago, judged)
    }

    #[test]
    fn one_that_touches_the_same_waits_for_a_look_however_late_it_comes() {
        let mut just_good = JustGood {
            told: vec![told_before(1000 * MERGE_TIME, judged(1, true))],
            waiting: Vec::new(),
        };
        assert!(!just_good.must_wait(&judged(2, false)));
        // Another head of the very same takes its place.
        assert!(!just_good.must_wait(&judged(1, true)));
        assert!(just_good.must_wait(&judged(2, true)));
        just_good.looked(Instant::now());
        assert!(!just_good.must_wait(&judged(2, true)));
    }

    #[test]
    fn a_look_tells_nothing_of_one_that_may_be_merged_later() {
        let mut just_good = JustGood::default();
        just_good.add(judged(1, true));
        just_good.looked(Instant::now());
        assert!(just_good.must_wait(&judged(2, true)));
        just_good.looked(Instant::now() + MERGE_TIME);
        assert!(!just_good.must_wait(&judged(2, true)));
    }

    #[test]
    fn who_waits_is_overtaken_by_nobody_who_was_good_before() {
        let mut just_good = JustGood::default();
        just_good.add(judged(1, true));
        just_good.wait(judged(2, true));
        // The first is proposed again and again.
        assert!(just_good.must_wait(&judged(1, true)));
        assert!(!just_good.must_wait(&judged(3, false)));
        just_good.waiting.clear();
        assert!(!just_good.must_wait(&judged(1, true)));
    }

    #[test]
    fn only_so_many_wait() {
        let mut just_good = JustGood::default();
        for number in 0..WAITING_MAX as u64 {
            assert!(just_good.wait(judged(number, true)));
        }
        assert!(!just_good.wait(judged(0, true)));
    }
}
