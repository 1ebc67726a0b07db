//! What the forge was told of commits, as far as it still counts.
//!
//! A `success` counts for whatever brings the commit: the pull request may be closed and opened again, and another may
//! bring the same. So one is forgotten only once it was taken back.

use std::collections::{HashMap, HashSet};

use super::{GOOD, PENDING};
use crate::domain::CommitId;
use crate::index::Basis;

/// Of how many commits it is known.
const KNOWN_MAX: usize = 1000;

/// What the forge was told, or may have been: an answer of its can be lost.
#[derive(Default)]
pub(super) struct Verdicts {
    known: HashMap<CommitId, Verdict>,
    count: u64,
}

struct Verdict {
    state: &'static str,
    /// For which states of the index that was judged, if it was.
    basis: Option<Basis>,
    /// The larger, the later.
    number: u64,
}

impl Verdicts {
    /// All of which something is known.
    pub(super) fn heads(&self) -> HashSet<CommitId> {
        self.known.keys().copied().collect()
    }

    /// What the forge was told of a commit.
    pub(super) fn state(&self, head: &CommitId) -> Option<&'static str> {
        self.known.get(head).map(|verdict| verdict.state)
    }

    /// Whether this is what was judged, for a state of the index for which it `holds`.
    pub(super) fn stands(
        &self,
        head: &CommitId,
        state: &str,
        holds: impl FnOnce(&Basis) -> bool,
    ) -> bool {
        let verdict = self.known.get(head).filter(|it| it.state == state);
        verdict.is_some_and(|it| it.basis.as_ref().is_some_and(holds))
    }

    /// Whether one was judged for states of the index of which this is so.
    pub(super) fn are_other(&self, is_other: impl Fn(&Basis) -> bool) -> bool {
        let mut bases = self.known.values().filter_map(|it| it.basis.as_ref());
        bases.any(is_other)
    }

    /// The forge was told this of a commit, and it was judged for these states of the index, if it was. That it is judged
    /// again holds for none.
    pub(super) fn put(
        &mut self,
        head: CommitId,
        state: &'static str,
        basis: impl Into<Option<Basis>>,
    ) {
        self.count += 1;
        let verdict = Verdict {
            state,
            basis: basis.into().filter(|_| state != PENDING),
            number: self.count,
        };
        self.known.insert(head, verdict);
    }

    /// What the forge was told of a commit is no longer what was judged.
    pub(super) fn doubt(&mut self, head: &CommitId) {
        if let Some(verdict) = self.known.get_mut(head) {
            verdict.basis = None;
        }
    }

    /// Nothing that the forge was told of a commit counts any more.
    pub(super) fn forget(&mut self, head: &CommitId) {
        self.known.remove(head);
    }

    /// Forgets what was said of others than these, but for what is to be taken back some time.
    pub(super) fn keep(&mut self, open: &HashSet<CommitId>) {
        self.known
            .retain(|head, verdict| verdict.state == GOOD || open.contains(head));
    }

    /// Those that are good for other states of the index than those of which this `holds`, first these, which can be
    /// merged at once.
    pub(super) fn outdated(
        &self,
        holds: impl Fn(&Basis) -> bool,
        open: &HashSet<CommitId>,
    ) -> Vec<CommitId> {
        let is_it = |verdict: &Verdict| {
            verdict.state == GOOD && !verdict.basis.as_ref().is_some_and(&holds)
        };
        let outdated = self.known.iter().filter(|(_, verdict)| is_it(verdict));
        let mut outdated: Vec<CommitId> = outdated.map(|(head, _)| *head).collect();
        outdated.sort_by_key(|head| !open.contains(head));
        outdated
    }

    /// What must be forgotten before something is known of a commit.
    pub(super) fn in_the_way_of(&self, head: &CommitId) -> Option<CommitId> {
        if self.known.len() < KNOWN_MAX || self.known.contains_key(head) {
            return None;
        }
        let oldest = self.known.iter().min_by_key(|(_, verdict)| verdict.number);
        oldest.map(|(head, _)| *head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Scope;

    fn commit(number: usize) -> CommitId {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes.into()
    }

    fn whole(number: usize) -> Basis {
        Basis {
            strayed: None,
            scope: Scope::Whole(commit(number)),
        }
    }

    fn on(commit: CommitId) -> impl Fn(&Basis) -> bool + Copy {
        move |basis| matches!(basis.scope, Scope::Whole(known) if known == commit)
    }

    #[test]
    fn what_is_good_is_known_until_it_was_taken_back() {
        let mut verdicts = Verdicts::default();
        let [open, closed, bad] = [1, 2, 3].map(commit);
        let [before, after] = [10, 11].map(|number| on(commit(number)));
        for (head, state) in [(closed, GOOD), (open, GOOD), (bad, "failure")] {
            verdicts.put(head, state, whole(10));
        }
        let still_open = HashSet::from([open]);
        verdicts.keep(&still_open);
        assert_eq!(verdicts.state(&bad), None);
        assert!(verdicts.stands(&closed, GOOD, before) && !verdicts.stands(&closed, GOOD, after));
        assert!(verdicts.outdated(before, &still_open).is_empty());
        assert_eq!(verdicts.outdated(after, &still_open), [open, closed]);
        assert!(verdicts.are_other(before) && !verdicts.are_other(after));
        verdicts.doubt(&open);
        assert!(!verdicts.stands(&open, GOOD, before));
        assert_eq!(verdicts.outdated(before, &still_open), [open]);
        verdicts.put(open, PENDING, whole(10));
        assert!(!verdicts.stands(&open, PENDING, before) && !verdicts.are_other(after));
        verdicts.forget(&closed);
        assert!(verdicts.outdated(after, &still_open).is_empty());
    }

    #[test]
    fn the_oldest_goes_first_and_only_for_another() {
        let mut verdicts = Verdicts::default();
        for number in 0..KNOWN_MAX {
            assert_eq!(verdicts.in_the_way_of(&commit(number)), None);
            verdicts.put(commit(number), GOOD, whole(0));
        }
        verdicts.put(commit(0), GOOD, whole(0));
        assert_eq!(verdicts.in_the_way_of(&commit(5)), None);
        let another = commit(KNOWN_MAX);
        assert_eq!(verdicts.in_the_way_of(&another), Some(commit(1)));
        verdicts.forget(&commit(1));
        assert_eq!(verdicts.in_the_way_of(&another), None);
    }
}
