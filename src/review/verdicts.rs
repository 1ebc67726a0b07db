//! What the forge was told of commits, as far as it still counts.
//!
//! A `success` counts for whatever brings the commit: the pull request may be closed and opened again, and another may
//! bring the same. So one is forgotten only once it was taken back.

use std::collections::{HashMap, HashSet};

use super::GOOD;
use crate::domain::CommitId;

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
    /// For which state of the index that was judged, if it was: see [`crate::index::Snapshot::reworked`].
    reworked: Option<CommitId>,
    /// The larger, the later.
    number: u64,
}

impl Verdicts {
    /// What the forge was told of a commit.
    pub(super) fn state(&self, head: &CommitId) -> Option<&'static str> {
        self.known.get(head).map(|verdict| verdict.state)
    }

    /// Whether this is what was judged, for this state of the index.
    pub(super) fn stands(&self, head: &CommitId, state: &str, reworked: CommitId) -> bool {
        let verdict = self.known.get(head);
        verdict.is_some_and(|it| it.state == state && it.reworked == Some(reworked))
    }

    /// The forge was told this of a commit, and it was judged for this state of the index, if it was.
    pub(super) fn put(
        &mut self,
        head: CommitId,
        state: &'static str,
        reworked: impl Into<Option<CommitId>>,
    ) {
        self.count += 1;
        let verdict = Verdict {
            state,
            reworked: reworked.into(),
            number: self.count,
        };
        self.known.insert(head, verdict);
    }

    /// What the forge was told of a commit is no longer what was judged.
    pub(super) fn doubt(&mut self, head: &CommitId) {
        if let Some(verdict) = self.known.get_mut(head) {
            verdict.reworked = None;
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

    /// Those that are good for another state of the index than this, first these, which can be merged at once.
    pub(super) fn outdated(&self, reworked: CommitId, open: &HashSet<CommitId>) -> Vec<CommitId> {
        let is_it = |verdict: &Verdict| verdict.state == GOOD && verdict.reworked != Some(reworked);
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

    fn commit(number: usize) -> CommitId {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes.into()
    }

    #[test]
    fn what_is_good_is_known_until_it_was_taken_back() {
        let mut verdicts = Verdicts::default();
        let [open, closed, bad] = [1, 2, 3].map(commit);
        let (before, after) = (commit(10), commit(11));
        for (head, state) in [(closed, GOOD), (open, GOOD), (bad, "failure")] {
            verdicts.put(head, state, before);
        }
        let still_open = HashSet::from([open]);
        verdicts.keep(&still_open);
        assert_eq!(verdicts.state(&bad), None);
        assert!(verdicts.stands(&closed, GOOD, before) && !verdicts.stands(&closed, GOOD, after));
        assert!(verdicts.outdated(before, &still_open).is_empty());
        assert_eq!(verdicts.outdated(after, &still_open), [open, closed]);
        verdicts.doubt(&open);
        assert!(!verdicts.stands(&open, GOOD, before));
        assert_eq!(verdicts.outdated(before, &still_open), [open]);
        verdicts.put(open, "pending", None);
        verdicts.forget(&closed);
        assert!(verdicts.outdated(after, &still_open).is_empty());
    }

    #[test]
    fn the_oldest_goes_first_and_only_for_another() {
        let mut verdicts = Verdicts::default();
        for number in 0..KNOWN_MAX {
            assert_eq!(verdicts.in_the_way_of(&commit(number)), None);
            verdicts.put(commit(number), GOOD, commit(0));
        }
        verdicts.put(commit(0), GOOD, commit(0));
        assert_eq!(verdicts.in_the_way_of(&commit(5)), None);
        let another = commit(KNOWN_MAX);
        assert_eq!(verdicts.in_the_way_of(&another), Some(commit(1)));
        verdicts.forget(&commit(1));
        assert_eq!(verdicts.in_the_way_of(&another), None);
    }
}
