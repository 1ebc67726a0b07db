//! The tip, found again when its ref names no commit.
//!
//! What was acknowledged is a commit in the packs, and clients of git were shown it or one before it. If exactly one
//! chain of commits goes on from there, and its end is ours, that end was the tip, or was about to be.
//! Anything else is left to a person.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::domain::CommitId;

use super::load::LoadFault;
use super::mend::MendFault;
use super::objects::{Commit, Objects};
use super::signature::{self, Signer};
use super::writer::chain;
use super::{OpenFault, refs};

/// The most commits that a sentence lists.
const LISTED_MAX: usize = 8;

/// Sets a tip that is torn, zeroed or gone, if it is certain what it was; `signer` is the registry's own, and `strays`
/// are the indices of packs that are not there.
pub(super) fn mend(git_dir: &Path, signer: &Signer, strays: &[PathBuf]) -> Result<(), OpenFault> {
    let reason = match refs::read(git_dir, refs::TIP) {
        Ok(None) => "it is gone".to_owned(),
        Err(cause) if cause.kind() == io::ErrorKind::InvalidData => cause.to_string(),
        // It is whole, or what is wrong is no matter of its bytes and is told by whoever reads it next.
        _ => return Ok(()),
    };
    if let Some(stray) = strays.first() {
        // The tip may have lain in that pack.
        return Err(OpenFault::Load(LoadFault::Git {
            what: "the tip".to_owned(),
            git_dir: git_dir.display().to_string(),
            cause: format!(
                "{reason}, and the pack of `{}` is not there",
                stray.display()
            ),
        }));
    }
    let objects = Objects::open(git_dir)?;
    let commits = objects.commits()?;
    let shown = refs::shown(git_dir).ok().flatten();
    let shown = shown.filter(|id| commits.contains_key(id));
    let ends = ends(&commits, shown);
    let is_ours = |id: &CommitId| signature::signer_of(&commits[id].bytes).as_ref() == Some(signer);
    let found = match ends.as_slice() {
        // Clients of git are shown what was judged, whoever made it.
        [end] if Some(*end) == shown || is_ours(end) => *end,
        _ => {
            return Err(MendFault::TornTip {
                path: git_dir.join(refs::TIP),
                reason,
                candidates: ends.into_iter().take(LISTED_MAX).collect(),
                git_dir: git_dir.to_owned(),
            }
            .into());
        }
    };
    refs::restore_tip(git_dir, found).map_err(|fault| OpenFault::Io {
        git_dir: git_dir.to_owned(),
        source: io::Error::other(chain(&fault)),
    })?;
    warn!(reason, commit.id = %found, "the tip named no commit and was set to the only one that it can have been");
    Ok(())
}

/// The commits on which none stands, and which stand on `base` or are it; without a base all on which none stands.
fn ends(commits: &HashMap<CommitId, Commit>, base: Option<CommitId>) -> Vec<CommitId> {
    let mut children: HashMap<CommitId, Vec<CommitId>> = HashMap::new();
    for commit in commits.values() {
        for parent in &commit.parents {
            children.entry(*parent).or_default().push(commit.id);
        }
    }
    let mut next: Vec<CommitId> = match base {
        Some(base) => vec![base],
        None => commits.keys().copied().collect(),
    };
    let mut seen: HashSet<CommitId> = next.iter().copied().collect();
    let mut ends = Vec::new();
    while let Some(id) = next.pop() {
        match children.get(&id) {
            Some(children) => next.extend(children.iter().filter(|child| seen.insert(**child))),
            None => ends.push(id),
        }
    }
    ends
}
