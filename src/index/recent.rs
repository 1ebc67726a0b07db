//! What changed lately: from it a reader of an earlier snapshot learns which crates it must look at again.

use crate::domain::{CommitId, CrateName};

/// The most changes that are remembered: those of several groups.
const RECENT_MAX: usize = 1024;

/// The last changes, oldest first; a clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent(imbl::Vector<Step>);

/// One commit of the registry, or several of people.
#[derive(Debug, Clone)]
struct Step {
    /// The commit from which it was made.
    before: CommitId,
    /// The crates that it is about; none if it is about the registry itself.
    crates: Vec<CrateName>,
}

impl Recent {
    /// Remembers a step that was made from `before`.
    pub(super) fn add(&mut self, before: CommitId, crates: Vec<CrateName>) {
        self.0.push_back(Step { before, crates });
        if self.0.len() > RECENT_MAX {
            self.0.pop_front();
        }
    }

    /// How many steps were made after `commit`; `None` if that is too long ago or another history.
    pub(super) fn steps_since(&self, commit: CommitId) -> Option<usize> {
        let at = self.0.iter().rev().position(|step| step.before == commit)?;
        Some(at + 1)
    }

    /// The crates that the last `steps` were about, the latest first.
    pub(super) fn crates(&self, steps: usize) -> impl Iterator<Item = &CrateName> {
        self.0
            .iter()
            .rev()
            .take(steps)
            .flat_map(|step| &step.crates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(number: usize) -> CommitId {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        CommitId::from(bytes)
    }

    fn name(number: usize) -> CrateName {
        format!("k{number}").parse().unwrap()
    }

    #[test]
    fn changes_are_known_as_far_back_as_they_are_remembered() {
        let mut recent = Recent::default();
        let since = |recent: &Recent, number| -> Option<Vec<CrateName>> {
            let steps = recent.steps_since(commit(number))?;
            Some(recent.crates(steps).cloned().collect())
        };
        assert_eq!(since(&recent, 0), None);
        for number in 0..RECENT_MAX {
            let is_about_a_crate = number % 3 != 0;
            recent.add(
                commit(number),
                is_about_a_crate.then(|| name(number)).into_iter().collect(),
            );
        }
        let last = RECENT_MAX - 1;
        assert_eq!(since(&recent, last).unwrap().len(), last % 3 % 2);
        assert_eq!(
            since(&recent, last - 2).unwrap().len(),
            2,
            "one of three commits is about no crate"
        );
        assert!(since(&recent, 0).unwrap().contains(&name(1)));
        recent.add(commit(RECENT_MAX), vec![name(RECENT_MAX)]);
        assert_eq!(since(&recent, 0), None, "it was forgotten");
        assert_eq!(since(&recent, 1).unwrap()[0], name(RECENT_MAX));
        assert_eq!(recent.steps_since(CommitId::from([9; 20])), None);
    }
}
