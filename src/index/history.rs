//! The way from a good state of the index to a later commit, judged step by step.
//!
//! It goes along first parents. A commit of the registry is a step of its own; what people committed between two of
//! them is one step, so a bad merge together with its revert is none.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::domain::{Cksum, CommitId};

use super::diff::{DiffFault, diff};
use super::load::LoadFault;
use super::objects::{Commit, Objects};
use super::rule::{self, By, FileChange, Step, Violation};
use super::signature::{self, Borne};
use super::snapshot::Snapshot;
use super::tree::Trees;
use super::writer::Tip;

/// The most commits of one way.
const WAY_COMMITS_MAX: usize = 10_000_000;
/// How many commits are looked through to tell how a history that does not fit came to be.
const LOOK_COMMITS_MAX: usize = 10_000;

/// Why the index does not follow its branch to a commit.
#[derive(Debug, Error)]
pub enum HistoryFault {
    /// A commit does what no commit may.
    #[error(
        "commit {commit} breaks a rule of the index: {violation}; {}, and the index goes on", .violation.cure()
    )]
    Rule {
        /// The commit; of several that are judged together the one since which it is so.
        commit: CommitId,
        /// What it does.
        violation: Box<Violation>,
    },
    /// A commit bears a signature of the registry that the registry never made.
    #[error(
        "commit {commit} bears a signature of the registry that is not its own: it was copied, or the commit was changed after it was signed; no later commit mends that, so take it off the branch: `git update-ref refs/heads/main {good}`, or for a forge `git push --force` from this server's repository"
    )]
    Forged {
        /// The commit.
        commit: CommitId,
        /// The newest good commit before it.
        good: CommitId,
    },
    /// The branch names something else.
    #[error(
        "the branch names {found}, which is no commit that is here; put it back: `git update-ref refs/heads/main {good}`"
    )]
    NoCommit {
        /// The newest good commit.
        good: CommitId,
        /// What the branch names.
        found: CommitId,
    },
    /// The branch was set back.
    #[error(
        "the branch was moved back from {good} to {found}; move it forward again: `git update-ref refs/heads/main {good}`, or for a forge `git push` from this server's repository"
    )]
    Rewound {
        /// The newest good commit.
        good: CommitId,
        /// Where the branch is.
        found: CommitId,
    },
    /// A merge whose first parent is not the branch.
    #[error(
        "the branch at {found} has {good} only as the merged side of a merge; put the branch back: `git update-ref refs/heads/main {good}`, or for a forge `git push --force` from this server's repository; then bring the work in by a rebase (`git pull --rebase`) or by merging it into the branch"
    )]
    Sideways {
        /// The newest good commit.
        good: CommitId,
        /// Where the branch is.
        found: CommitId,
    },
    /// The branch has another history.
    #[error(
        "the branch at {found} does not contain {good}, the newest good commit: its history was rewritten; put the branch back: `git update-ref refs/heads/main {good}`, or for a forge `git push --force` from this server's repository"
    )]
    Rewritten {
        /// The newest good commit.
        good: CommitId,
        /// Where the branch is.
        found: CommitId,
    },
    /// An object cannot be read.
    #[error("commit {commit} cannot be followed: {fault}")]
    Unreadable {
        /// The commit.
        commit: CommitId,
        /// What is wrong.
        fault: LoadFault,
    },
}

/// A step that was judged and found good.
pub(super) struct Judged<'a> {
    /// The commit, or the last of several that people made.
    pub(super) commit: &'a Commit,
    /// How many commits the step is made of.
    pub(super) commits: usize,
    /// How many commits are still to come.
    pub(super) left: usize,
    /// The state before the step.
    pub(super) before: &'a Snapshot,
    /// Who made it.
    pub(super) by: By,
    /// The files that differ.
    pub(super) files: &'a [FileChange],
    /// What it does.
    pub(super) step: &'a Step,
}

/// Somebody on the way: a state, and the objects and files that tell of the next one.
pub(super) struct Walk<'a> {
    pub(super) tip: Tip,
    objects: &'a Objects,
    has_blob: &'a dyn Fn(&Cksum) -> bool,
}

impl<'a> Walk<'a> {
    /// Stands at a good state.
    pub(super) fn from(
        tip: Tip,
        objects: &'a Objects,
        has_blob: &'a dyn Fn(&Cksum) -> bool,
    ) -> Self {
        Self {
            tip,
            objects,
            has_blob,
        }
    }

    /// Goes to `target`, telling of each step; after a fault it stands at the last good commit before it.
    pub(super) fn to(
        &mut self,
        target: CommitId,
        tell: &mut dyn FnMut(&Judged<'_>),
    ) -> Result<(), HistoryFault> {
        let way = way(self.objects, self.tip.snapshot.commit, target)?;
        // Those of people that are not judged yet: the last, and how many.
        let mut of_people: Option<(Commit, usize)> = None;
        for (at, id) in way.iter().enumerate() {
            let left = way.len() - at - 1;
            let commit = read(self.objects, *id)?;
            let on = &self.tip.snapshot;
            let ours = Borne::by(&commit.bytes).filter(|it| on.registry.trusts(&it.signer));
            if ours.as_ref().is_some_and(|signature| !signature.is_good) {
                return Err(HistoryFault::Forged {
                    commit: *id,
                    good: on.commit,
                });
            }
            if ours.is_none() {
                let count = of_people.map_or(0, |(_, count)| count);
                of_people = Some((commit, count + 1));
                continue;
            }
            if let Some((last, count)) = of_people.take() {
                self.step(&last, By::People, count, left + 1, tell)
                    .map_err(|fault| self.blame(fault, &way[at - count..at]))?;
            }
            self.step(&commit, By::Registry, 1, left, tell)?;
        }
        match of_people {
            Some((last, count)) => self
                .step(&last, By::People, count, 0, tell)
                .map_err(|fault| self.blame(fault, &way[way.len() - count..])),
            None => Ok(()),
        }
    }

    /// Names the one of several commits of people since which they do together what is not allowed: to be reverted.
    ///
    /// Few are looked at, however many there are: whoever pushed may have made them for that.
    fn blame(&self, fault: HistoryFault, commits: &[CommitId]) -> HistoryFault {
        let HistoryFault::Rule { violation, .. } = &fault else {
            return fault;
        };
        let told = violation.to_string();
        let judged = |id: &CommitId| self.judge(&read(self.objects, *id)?, By::People).map(drop);
        let does = |id: &CommitId| matches!(judged(id), Err(HistoryFault::Rule { violation, .. }) if violation.to_string() == told);
        let since = commits.partition_point(|id| !does(id));
        let named = commits.get(since).map(judged);
        named.and_then(Result::err).unwrap_or(fault)
    }

    fn step(
        &mut self,
        commit: &Commit,
        by: By,
        commits: usize,
        left: usize,
        tell: &mut dyn FnMut(&Judged<'_>),
    ) -> Result<(), HistoryFault> {
        let (files, trees, step) = self.judge(commit, by)?;
        let on = &self.tip.snapshot;
        tell(&Judged {
            commit,
            commits,
            left,
            before: on,
            by,
            files: &files,
            step: &step,
        });
        self.tip = Tip {
            snapshot: Arc::new(step.apply(on, commit.id)),
            trees,
        };
        Ok(())
    }

    /// What a commit does from here, if it may.
    fn judge(
        &self,
        commit: &Commit,
        by: By,
    ) -> Result<(Vec<FileChange>, Trees, Step), HistoryFault> {
        let rule = |violation| HistoryFault::Rule {
            commit: commit.id,
            violation: Box::new(violation),
        };
        let (files, trees) =
            diff(self.objects, &self.tip.trees, commit.tree).map_err(|fault| match fault {
                DiffFault::Violation(violation) => rule(violation),
                DiffFault::Load(fault) => unreadable(commit.id, fault),
            })?;
        let step = rule::step(&self.tip.snapshot, &files, by, self.has_blob).map_err(rule)?;
        Ok((files, trees, step))
    }
}

/// A file by which git takes a history for cut off or for another, if there is one that names a commit.
pub(super) fn cut_off_by(git_dir: &Path) -> Option<PathBuf> {
    let has_text = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() > 0);
    let mut files = ["shallow", "info/grafts"]
        .map(|name| git_dir.join(name))
        .into_iter();
    files.find(has_text)
}

/// Whether the branch leads from `good` to `target`; a fault says how it came not to.
pub(super) fn leads(
    objects: &Objects,
    good: CommitId,
    target: CommitId,
) -> Result<(), HistoryFault> {
    way(objects, good, target).map(drop)
}

/// The commits after `good` up to `target` along first parents, oldest first.
fn way(objects: &Objects, good: CommitId, target: CommitId) -> Result<Vec<CommitId>, HistoryFault> {
    if !objects.can_be_commit(target) {
        let found = target;
        return Err(HistoryFault::NoCommit { good, found });
    }
    let mut way = Vec::new();
    let mut next = Some(target);
    while let Some(id) = next.filter(|id| *id != good && way.len() < WAY_COMMITS_MAX) {
        way.push(id);
        next = read(objects, id)?.parents.first().copied();
    }
    if next != Some(good) {
        return Err(misfit(objects, good, target));
    }
    way.reverse();
    Ok(way)
}

/// How a branch came not to lead from `good` to `found`.
fn misfit(objects: &Objects, good: CommitId, found: CommitId) -> HistoryFault {
    if contains(objects, good, found) {
        HistoryFault::Rewound { good, found }
    } else if contains(objects, found, good) {
        HistoryFault::Sideways { good, found }
    } else {
        HistoryFault::Rewritten { good, found }
    }
}

/// Whether `wanted` is among the commits that `start` stands on, as far as it is looked.
fn contains(objects: &Objects, start: CommitId, wanted: CommitId) -> bool {
    let mut seen = HashSet::from([start]);
    let mut next = std::collections::VecDeque::from([start]);
    while let Some(id) = next.pop_front().filter(|_| seen.len() < LOOK_COMMITS_MAX) {
        if id == wanted {
            return true;
        }
        let parents = objects.commit(id).map(|commit| commit.parents);
        next.extend(parents.into_iter().flatten().filter(|id| seen.insert(*id)));
    }
    false
}

/// The newest commit up to `tip` along first parents that bears a signature of ours, else the first of all.
pub(super) fn newest_signed(
    objects: &Objects,
    tip: CommitId,
    is_ours: impl Fn(&signature::Signer) -> bool,
) -> Result<CommitId, HistoryFault> {
    let mut id = tip;
    loop {
        let commit = read(objects, id)?;
        if signature::signer_of(&commit.bytes).is_some_and(|signer| is_ours(&signer)) {
            return Ok(id);
        }
        match commit.parents.first() {
            Some(parent) => id = *parent,
            None => return Ok(id),
        }
    }
}

fn read(objects: &Objects, id: CommitId) -> Result<Commit, HistoryFault> {
    objects.commit(id).map_err(|fault| unreadable(id, fault))
}

fn unreadable(commit: CommitId, fault: LoadFault) -> HistoryFault {
    HistoryFault::Unreadable { commit, fault }
}
