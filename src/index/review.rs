//! What a pull request on the forge would make of the index, judged before anybody merges it.

mod basis;

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::blobs::Blobs;
use crate::disk::TempFolder;
use crate::domain::{CommitId, Named};

use super::hooks::{PushFault, judge_from};
use super::registry_files::POLICY_TOML;
use super::upstream::{Limits, Quarantine, Upstream, UpstreamFault};
use super::writer::Tip;
use super::{HistoryFault, Index, OpenFault, Violation};

pub use basis::{Basis, Ground, Scope};

/// The owners that a pull request brings, each with a file that names it.
type Brought = Vec<(Named, String)>;

/// What was found of a pull request.
pub struct Merge {
    /// For which states of the index.
    pub basis: Basis,
    /// What it brings, if it may be merged.
    pub told: Result<Brought, ReviewFault>,
}

/// Why a pull request may not be merged, or was not judged.
#[derive(Debug, Error)]
pub enum ReviewFault {
    /// It does what nobody may. The commit that was judged is one of ours that nobody sees.
    #[error("to merge {head} breaks a rule of the index: {violation}")]
    Rule {
        /// The newest commit that it brings.
        head: CommitId,
        /// What it does.
        violation: Box<Violation>,
    },
    /// It does not lead on from the registry.
    #[error(transparent)]
    Forbidden(#[from] PushFault),
    /// It does not fit onto the branch.
    #[error("it does not merge with the newest commit of the registry; rebase it")]
    Conflict,
    /// It is more than is looked at.
    #[error("it brings more than {0} bytes, so it is not looked at")]
    TooLarge(u64),
    /// It is made so that git needs more than it gets.
    #[error("git needs more than {0} bytes of memory for it, so it is not looked at")]
    TooMuchMemory(u64),
    /// It cannot be had from the forge.
    #[error(transparent)]
    Upstream(UpstreamFault),
    /// The index cannot be read.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// The folder for its objects cannot be used.
    #[error("the pull request was not looked at")]
    Io(#[from] io::Error),
}

/// For the objects of a pull request to come: whoever may open one is trusted with nothing.
const FETCH: Limits = Limits {
    time: Duration::from_secs(120),
    file_bytes: 64 << 20,
    memory_bytes: 1 << 30,
};

impl Index {
    /// What pull requests are judged on now.
    pub fn ground(&self) -> Ground {
        let strayed = self.stall().and_then(|stall| stall.strayed);
        Ground {
            strayed,
            snapshot: self.snapshot(),
        }
    }

    /// Judges what the branch would be if the pull request `number`, at `head`, were merged or squashed into it. Whether
    /// the owners that it brings are the ones that are called so, nobody knows here.
    ///
    /// Its objects come into a folder of their own, which goes afterwards. The caller judges one at a time.
    pub fn judge_merge(
        &self,
        blobs: &Blobs,
        upstream: &Upstream,
        number: u64,
        head: CommitId,
    ) -> Merge {
        let mut basis = Basis::new(&self.ground(), None);
        let told = self.try_merge(blobs, upstream, number, head, &mut basis);
        Merge { basis, told }
    }

    fn try_merge(
        &self,
        blobs: &Blobs,
        upstream: &Upstream,
        number: u64,
        head: CommitId,
        basis: &mut Basis,
    ) -> Result<Brought, ReviewFault> {
        let folder = TempFolder::create(self.git_dir.join("review"))?;
        fs::create_dir(folder.path().join("pack"))?;
        let quarantine = Quarantine {
            git_dir: &self.git_dir,
            objects: folder.path(),
        };
        // What moves while it is fetched outdates the judgement, as what moves later does.
        let tip = Tip::clone(&self.shown.load());
        // Only then where the branch strayed to: it may have been healed by what is shown now.
        let ground = Ground {
            snapshot: Arc::clone(&tip.snapshot),
            ..self.ground()
        };
        upstream.fetch_apart(&quarantine, &format!("refs/pull/{number}/head"), FETCH)?;
        // Where the branch broke a rule, only what heals it may be merged.
        let branch = ground.strayed.unwrap_or(tip.snapshot.commit);
        let merged = upstream.merge_apart(&quarantine, branch, head);
        let in_merge = merged.as_ref().ok().copied().flatten();
        let files = ["owners", POLICY_TOML];
        let touched = upstream.touched_apart(&quarantine, (branch, head), in_merge, &files);
        // Of what nobody can tell what it touches, it may be anything.
        *basis = Basis::new(&ground, touched.unwrap_or(None));
        let Some(merged) = merged? else {
            return Err(ReviewFault::Conflict);
        };
        match judge_from(tip, &self.git_dir, blobs, merged, Some(folder.path())) {
            Err(PushFault::Open(fault)) => Err(fault.into()),
            Err(
                PushFault::Rule { violation, .. }
                | PushFault::History(HistoryFault::Rule { violation, .. }),
            ) => Err(ReviewFault::Rule { head, violation }),
            judged => Ok(judged?.snapshot.named_owners(Some(&ground.snapshot))),
        }
    }
}

impl From<UpstreamFault> for ReviewFault {
    fn from(fault: UpstreamFault) -> Self {
        match fault {
            UpstreamFault::TooLarge(bytes) => Self::TooLarge(bytes),
            UpstreamFault::TooMuchMemory(bytes) => Self::TooMuchMemory(bytes),
            other => Self::Upstream(other),
        }
    }
}
