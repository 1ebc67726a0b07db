//! A look at what was written last: the files that a power cut can have hurt.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::blobs::Blobs;
use crate::domain::{Cksum, CommitId};

use super::message;
use super::objects::Objects;
use super::queue::GROUP_MAX;

/// A `.crate` file that a line names and that cannot be served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// Where it should lie.
    pub(super) path: PathBuf,
    /// The subject of the commit that names it.
    pub(super) subject: String,
    /// What is wrong.
    pub(super) reason: String,
}

/// Hashes the `.crate` files that the newest commits name, as many as a group can have had, and tells which are damaged
/// or missing.
///
/// The server starts all the same: every other crate can be served, and a damaged file is refused when somebody asks for it.
pub(super) fn newest_blobs(git_dir: &Path, tip: CommitId, blobs: &Blobs) -> Vec<Damage> {
    let mut damages = Vec::new();
    let Ok(objects) = Objects::open(git_dir) else {
        return damages;
    };
    let mut next = Some(tip);
    for _ in 0..GROUP_MAX {
        let Some(commit) = next.and_then(|id| objects.commit(id).ok()) else {
            break;
        };
        next = commit.parents.first().copied();
        let said = message::Said::of(&commit.bytes);
        let Some(cksum) = { said.trailer("Cksum") }.and_then(|text| text.parse::<Cksum>().ok())
        else {
            continue;
        };
        let reason = match blobs.is_intact(&cksum) {
            Ok(true) => continue,
            Ok(false) => "it is missing or damaged; bring it back from a backup, or publish the very same file again".to_owned(),
            Err(cause) => format!("it cannot be read: {cause}"),
        };
        let subject = said.subject().to_owned();
        damages.push(Damage {
            path: blobs.path(&cksum),
            subject,
            reason,
        });
    }
    damages
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            subject,
            reason,
        } = self;
        write!(f, "{} of `{subject}`: {reason}", path.display())
    }
}
