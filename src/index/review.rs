//! What a pull request on the forge would make of the index, judged before anybody merges it.

use std::fs;
use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::blobs::Blobs;
use crate::disk::TempFolder;
use crate::domain::CommitId;

use super::hooks::{PushFault, judge_push};
use super::upstream::{Limits, Quarantine, Upstream, UpstreamFault};
use super::{HistoryFault, OpenFault, Place, Violation};

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
    /// There was always a newer commit than the one that it was judged on.
    #[error("others published whenever it was looked at")]
    Overtaken,
    /// It does not fit onto the branch.
    #[error("it does not merge with the newest commit of the registry; rebase it")]
    Conflict,
    /// It is more than is looked at.
    #[error("it brings more than {0} bytes, so it is not looked at")]
    TooLarge(u64),
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
};
/// How often a merge is tried while others publish.
const ATTEMPTS: usize = 5;

/// Judges what the branch would be if the pull request `number`, at `head`, were merged or squashed into it.
///
/// Its objects come into a folder of their own, which goes afterwards. The caller judges one at a time.
pub fn judge_merge(
    place: &Place,
    blobs: &Blobs,
    upstream: &Upstream,
    number: u64,
    head: CommitId,
) -> Result<(), ReviewFault> {
    let folder = TempFolder::create(place.git_dir.join("review"))?;
    fs::create_dir(folder.path().join("pack"))?;
    let quarantine = Quarantine {
        git_dir: &place.git_dir,
        objects: folder.path(),
    };
    upstream.fetch_apart(&quarantine, &format!("refs/pull/{number}/head"), FETCH)?;
    for _ in 0..ATTEMPTS {
        match judge_once(place, blobs, upstream, &quarantine, head) {
            Err(ReviewFault::Overtaken) => {}
            judged => return judged,
        }
    }
    Err(ReviewFault::Overtaken)
}

fn judge_once(
    place: &Place,
    blobs: &Blobs,
    upstream: &Upstream,
    quarantine: &Quarantine<'_>,
    head: CommitId,
) -> Result<(), ReviewFault> {
    let good = place.good_commit(None)?;
    let Some(merged) = upstream.merge_apart(quarantine, good, head)? else {
        return Err(ReviewFault::Conflict);
    };
    match judge_push(place, blobs, merged, Some(quarantine.objects)) {
        Err(PushFault::Open(fault)) => Err(fault.into()),
        Err(PushFault::Overtaken { .. }) => Err(ReviewFault::Overtaken),
        Err(PushFault::History(HistoryFault::Rule { violation, .. })) => {
            Err(ReviewFault::Rule { head, violation })
        }
        judged => Ok(judged?),
    }
}

impl From<UpstreamFault> for ReviewFault {
    fn from(fault: UpstreamFault) -> Self {
        match fault {
            UpstreamFault::TooLarge(bytes) => Self::TooLarge(bytes),
            other => Self::Upstream(other),
        }
    }
}
