//! What is proved of a registry on the disk, whether a server runs on it or not. Nothing is written.

use std::path::Path;

use thiserror::Error;

use crate::app::{AppFault, Data};
use crate::domain::CommitId;
use crate::index::{self, PushFault, Report, VerifyFault};

/// Something could not be proved.
#[derive(Debug, Error)]
pub enum AuditFault {
    /// The registry cannot be opened.
    #[error(transparent)]
    App(#[from] AppFault),
    /// Its history cannot be read.
    #[error(transparent)]
    Verify(#[from] VerifyFault),
    /// A push is not let in.
    #[error(transparent)]
    Push(#[from] PushFault),
}

/// Verifies the registry in the data folder `folder`, from the commit `since` on if there is one.
///
/// `tell` hears after each step how many commits are left.
pub fn verify(
    folder: &Path,
    since: Option<CommitId>,
    tell: &mut dyn FnMut(usize),
) -> Result<Report, AuditFault> {
    let data = Data::new(folder);
    let place = data.existing_place()?;
    Ok(index::verify(&place, &data.existing_blobs()?, since, tell)?)
}

/// Judges a push that would move the branch of the registry in `folder` from `before` to `new`; its objects may still
/// lie in the folder `incoming` alone.
pub fn judge_push(
    folder: &Path,
    before: CommitId,
    new: CommitId,
    incoming: Option<&Path>,
) -> Result<(), AuditFault> {
    let data = Data::new(folder);
    let place = data.existing_place()?;
    if place.has_forge().map_err(PushFault::Open)? {
        return Err(PushFault::OfForge.into());
    }
    index::judge_push(&place, &data.existing_blobs()?, new, incoming)?;
    Ok(place.remember_push(before, new)?)
}
