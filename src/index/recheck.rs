//! A look at what was written last: the files that a power cut can have hurt.

use std::path::Path;

use gix::objs::CommitRef;
use tracing::error;

use crate::blobs::Blobs;
use crate::domain::{Cksum, CommitId};

/// How many commits back from the tip are looked at.
const COMMITS: usize = 32;

/// Hashes the `.crate` files that the newest commits name, and tells which are damaged or missing.
///
/// The server starts all the same: every other crate can be served, and Cargo refuses a damaged file by its checksum.
pub(super) fn newest_blobs(git_dir: &Path, tip: CommitId, blobs: &Blobs) {
    let Ok(repository) = gix::open_opts(git_dir, gix::open::Options::isolated()) else {
        return;
    };
    let mut next = Some(gix::ObjectId::from_bytes_or_panic(tip.as_bytes()));
    for _ in 0..COMMITS {
        let Some(commit) = next.and_then(|id| repository.find_object(id).ok()) else {
            return;
        };
        let Ok(commit) = CommitRef::from_bytes(&commit.data, gix::hash::Kind::Sha1) else {
            return;
        };
        let message = String::from_utf8_lossy(commit.message);
        let cksum = message
            .lines()
            .find_map(|line| line.strip_prefix("Cksum: "));
        if let Some(cksum) = cksum.and_then(|text| text.parse::<Cksum>().ok()) {
            let subject = message.lines().next().unwrap_or_default();
            match blobs.is_intact(&cksum) {
                Ok(true) => {}
                Ok(false) => {
                    error!(blob.cksum = %cksum, subject, "a crate file is missing or damaged; restore it from a backup")
                }
                Err(cause) => {
                    error!(blob.cksum = %cksum, subject, %cause, "a crate file cannot be read")
                }
            }
        }
        next = commit.parents().next();
    }
}
