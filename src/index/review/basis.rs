//! For which states of the index a judgement of a pull request holds.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::domain::{CommitId, CrateName, Owners};

use super::super::registry_files::POLICY_TOML;
use super::super::rule;
use super::super::snapshot::Snapshot;

/// What is judged on: the index that is served, and where its branch is instead if it broke a rule.
#[derive(Clone)]
pub struct Ground {
    /// What is served.
    pub snapshot: Arc<Snapshot>,
    /// Where the branch is, if that is not followed because it breaks a rule.
    pub strayed: Option<CommitId>,
}

impl Ground {
    /// What tells whether people moved the branch, be it to where it is not followed.
    pub fn by_people(&self) -> (CommitId, Option<CommitId>) {
        (self.snapshot.by_people(), self.strayed)
    }
}

/// What a judgement stands on: as long as it is the same, so is the judgement.
#[derive(Debug, Clone)]
pub struct Basis {
    /// See [`Ground::strayed`].
    pub strayed: Option<CommitId>,
    /// What of the index.
    pub scope: Scope,
}

/// How much of the index a judgement stands on.
///
/// Whoever owns a crate may change its owners as often as they like; that is nothing to what does not touch these.
#[derive(Debug, Clone)]
pub enum Scope {
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
    pub(in super::super) fn new(on: &Ground, files: Option<BTreeSet<String>>) -> Self {
        let Some(files) = files else {
            return Self::whole(on);
        };
        let snapshot = &on.snapshot;
        let names = files.iter().filter_map(|path| rule::owned_crate(path));
        let scope = Scope::Part {
            by_people: snapshot.by_people(),
            owners: names
                .map(|name| (name.clone(), owners(snapshot, &name)))
                .collect(),
            policy: files.contains(POLICY_TOML),
        };
        let strayed = on.strayed;
        Self { strayed, scope }
    }

    /// For what may touch anything.
    pub fn whole(on: &Ground) -> Self {
        Self {
            strayed: on.strayed,
            scope: Scope::Whole(on.snapshot.reworked()),
        }
    }

    /// Whether both touch the same, so that one may be bad once the other is merged.
    pub fn shares(&self, other: &Self) -> bool {
        let part = |basis: &Self| match &basis.scope {
            Scope::Whole(_) => None,
            Scope::Part { owners, policy, .. } => Some((
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
    pub fn holds(&self, on: &Ground) -> bool {
        let snapshot = &on.snapshot;
        let is_so = match &self.scope {
            Scope::Whole(reworked) => *reworked == snapshot.reworked(),
            Scope::Part {
                by_people,
                owners: known,
                ..
            } => {
                let is_same = |(name, known): &(_, _)| is_same(known, &owners(snapshot, name));
                *by_people == snapshot.by_people() && known.iter().all(is_same)
            }
        };
        is_so && self.strayed == on.strayed
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
