//! For which states of the index a judgement of a pull request holds.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::domain::{CommitId, CrateName, Owners};

use super::super::registry_files::POLICY_TOML;
use super::super::rule;
use super::super::snapshot::Snapshot;

/// What a judgement stands on: as long as it is the same, so is the judgement.
///
/// Whoever owns a crate may change its owners as often as they like; that is nothing to what does not touch these.
#[derive(Debug, Clone)]
pub enum Basis {
    /// All that [`Snapshot::reworked`] tells of.
    Whole(CommitId),
    /// What people did, and the owners of the crates whose owners it touches.
    Part {
        /// See [`Snapshot::by_people`].
        by_people: CommitId,
        /// None if there is no such crate.
        owners: Vec<(CrateName, Option<Arc<Owners>>)>,
        /// Whether it touches the policy, too, which only people change.
        policy: bool,
    },
}

impl Basis {
    /// For what touches these files of a state, or any if they are not known.
    pub(in super::super) fn new(on: &Snapshot, files: Option<BTreeSet<String>>) -> Self {
        let Some(files) = files else {
            return Self::Whole(on.reworked());
        };
        let names = files.iter().filter_map(|path| rule::owned_crate(path));
        Self::Part {
            by_people: on.by_people(),
            owners: names
                .map(|name| (name.clone(), owners(on, &name)))
                .collect(),
            policy: files.contains(POLICY_TOML),
        }
    }

    /// Whether both touch the same, so that one may be bad once the other is merged.
    pub fn shares(&self, other: &Self) -> bool {
        let part = |basis: &Self| match basis {
            Self::Whole(_) => None,
            Self::Part { owners, policy, .. } => Some((
                owners
                    .iter()
                    .map(|(name, _)| name.canonical())
                    .collect::<HashSet<_>>(),
                *policy,
            )),
        };
        match (part(self), part(other)) {
            (Some((one, in_one)), Some((other, in_other))) => {
                in_one && in_other || !one.is_disjoint(&other)
            }
            _ => true,
        }
    }

    /// Whether what was judged holds for this state.
    pub fn holds(&self, on: &Snapshot) -> bool {
        match self {
            Self::Whole(reworked) => *reworked == on.reworked(),
            Self::Part {
                by_people,
                owners: known,
                ..
            } => {
                let is_same = |(name, known): &(_, _)| is_same(known, &owners(on, name));
                *by_people == on.by_people() && known.iter().all(is_same)
            }
        }
    }
}

fn owners(on: &Snapshot, name: &CrateName) -> Option<Arc<Owners>> {
    on.find(name).map(|krate| Arc::clone(&krate.owners))
}

/// Whether nobody has changed them, not even to the same again: a state shares with the one before what is unchanged.
fn is_same(one: &Option<Arc<Owners>>, other: &Option<Arc<Owners>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}
