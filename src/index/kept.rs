//! The snapshot file: what a start has made of index files, kept so that the next one need not make it again.
//!
//! A start walks the folders of its commit in git in any case, and looks up here, by the id of each blob, what it would
//! make of the bytes: that is true for ever, whatever the commit. So a file that is older than the tip saves all but
//! the work on what changed since. It may be deleted at any time, and one that is damaged or of another version of this
//! program is not used.
//!
//! What it says is not made again to see whether it is true: its SHA-256 tells that nothing has changed since we wrote
//! it. It tells nothing about somebody who may write to the folder, and who could as well write to the repository.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::disk::{self, TempFile};
use crate::domain::{BlobId, Cksum, Owners};

use super::object::Shelf;
use super::snapshot::{Crate, Release, Snapshot};

/// The first line. Another version of this program may make something else of the same bytes; the number is that of the
/// form.
const HEAD: &str = concat!("sidecargo ", env!("CARGO_PKG_VERSION"), " snapshot 1\n");
/// The largest file that is written or read, in bytes: room for some million crates.
const FILE_BYTES_MAX: u64 = 2 << 30;
/// A SHA-256, in bytes.
const HASH_BYTES: usize = 32;

/// The file cannot be used.
#[derive(Debug, Error)]
pub(super) enum KeptFault {
    /// The system's word.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Not what was written.
    #[error("it is damaged")]
    Damaged,
}

/// What is known of index files by the ids of their blobs.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    entries: HashMap<BlobId, Range<usize>>,
}

/// What is known of one blob; behind it stand its releases in the order of versions.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<'a> {
    name: &'a str,
    size: usize,
    gzip: &'a [u8],
    release_count: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptRelease<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
    cksum: [u8; HASH_BYTES],
    yanked: bool,
}

impl Kept {
    /// Reads the file in the folder `cache`; nothing is known if there is none of this version.
    pub(super) fn load(cache: &Path) -> Result<Self, KeptFault> {
        if cache.is_dir() {
            disk::remove_leftovers(cache)?;
        }
        let file = match File::open(path(cache)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        let length = file.metadata()?.len().min(FILE_BYTES_MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Self::parse(bytes)
    }

    fn parse(mut bytes: Vec<u8>) -> Result<Self, KeptFault> {
        let hash_at = bytes.len().checked_sub(HASH_BYTES);
        let hash_at = hash_at.ok_or(KeptFault::Damaged)?;
        if Sha256::digest(&bytes[..hash_at])[..] != bytes[hash_at..] {
            return Err(KeptFault::Damaged);
        }
        bytes.truncate(hash_at);
        if !bytes.starts_with(HEAD.as_bytes()) {
            return Ok(Self::default());
        }
        let entries = entries_of(&bytes).ok_or(KeptFault::Damaged)?;
        Ok(Self { bytes, entries })
    }

    /// The crate whose index file is the blob `id`, if that is known.
    pub(super) fn find(
        &self,
        id: BlobId,
        owners: &Arc<Owners>,
        shelf: &mut Shelf,
    ) -> Option<Crate> {
        let bytes = &self.bytes[self.entries.get(&id)?.clone()];
        let (entry, mut rest) = postcard::take_from_bytes::<Entry<'_>>(bytes).ok()?;
        // None is shorter than its checksum.
        let count = entry.release_count;
        let least = count.checked_mul(HASH_BYTES)?;
        let count = Some(count).filter(|_| least <= rest.len())?;
        let mut releases = Vec::with_capacity(count);
        for _ in 0..count {
            let (kept, behind) = postcard::take_from_bytes::<KeptRelease<'_>>(rest).ok()?;
            rest = behind;
            releases.push(Release {
                version: kept.version.parse().ok()?,
                cksum: Cksum::from(kept.cksum),
                yanked: kept.yanked,
            });
        }
        let releases = releases.into();
        let name = entry.name.parse().ok()?;
        let body = shelf.put(id, entry.gzip, entry.size);
        Crate::again(name, body, Arc::clone(owners), releases)
    }
}

/// Writes what is known of the crates of `snapshot` to the folder `cache`, in place of what was kept before.
///
/// It is not flushed: a file that a power cut has torn is not used.
pub(super) fn save(snapshot: &Snapshot, cache: &Path) -> io::Result<()> {
    disk::create_folder(cache)?;
    let mut temp = TempFile::create(cache)?;
    write(snapshot, temp.file(), FILE_BYTES_MAX)?;
    temp.rename(&path(cache))
}

/// Writes crates as long as the file stays within `bytes_max`; the others are read from git again.
fn write(snapshot: &Snapshot, file: impl Write, bytes_max: u64) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let mut hasher = Sha256::new();
    let mut write = |bytes: &[u8]| {
        hasher.update(bytes);
        out.write_all(bytes)
    };
    write(HEAD.as_bytes())?;
    let mut room = bytes_max.saturating_sub((HEAD.len() + HASH_BYTES) as u64);
    let mut entry = Vec::new();
    for krate in snapshot.crates() {
        entry.clear();
        entry = encode(krate, entry).map_err(io::Error::other)?;
        let length = u32::try_from(entry.len()).map_err(io::Error::other)?;
        let (id, length) = (krate.body.blob(), length.to_le_bytes());
        let parts = [&id.as_bytes()[..], &length, &entry];
        match room.checked_sub(parts.iter().map(|part| part.len() as u64).sum()) {
            Some(left) => room = left,
            None => break,
        }
        parts.into_iter().try_for_each(&mut write)?;
    }
    out.write_all(&hasher.finalize())?;
    out.flush()
}

/// The entry of a crate, behind what is in `bytes`.
fn encode(krate: &Crate, bytes: Vec<u8>) -> postcard::Result<Vec<u8>> {
    let entry = Entry {
        name: krate.name.as_str(),
        size: krate.body.size(),
        gzip: krate.body.gzip(),
        release_count: krate.releases().len(),
    };
    krate
        .releases()
        .iter()
        .try_fold(postcard::to_extend(&entry, bytes)?, |bytes, release| {
            let kept = KeptRelease {
                version: release.version.to_string().into(),
                cksum: *release.cksum.as_bytes(),
                yanked: release.yanked,
            };
            postcard::to_extend(&kept, bytes)
        })
}

fn path(cache: &Path) -> PathBuf {
    cache.join("snapshot")
}

/// Where the entries behind the first line are; `None` if they do not end where the bytes do.
fn entries_of(bytes: &[u8]) -> Option<HashMap<BlobId, Range<usize>>> {
    let mut entries = HashMap::new();
    let mut at = HEAD.len();
    while at < bytes.len() {
        let (id, rest) = bytes[at..].split_first_chunk::<20>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let start = bytes.len() - rest.len();
        at = start
            .checked_add(length)
            .filter(|end| *end <= bytes.len())?;
        entries.insert(BlobId::from(*id), start..at);
    }
    Some(entries)
}

#[cfg(test)]
mod tests;
