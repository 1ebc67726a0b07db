//! What is torn: a file whose bytes are not those that were written.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::disk::about;

/// The checksum at the end of packs and their indices, in bytes.
const CHECKSUM_BYTES: u64 = 20;

/// A file whose bytes are not those that were written, with the reason.
#[derive(Debug)]
pub struct Damaged {
    pub(super) path: PathBuf,
    pub(super) reason: String,
    /// Whether this user may not read it: then nothing is known to be wrong with its bytes.
    pub(super) is_closed: bool,
}

impl Damaged {
    pub(super) fn new(path: PathBuf, reason: impl Into<String>) -> Self {
        Self {
            path,
            reason: reason.into(),
            is_closed: false,
        }
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path.display(), self.reason)
    }
}

/// The pack to which only an index is left.
pub(super) fn gone(index: &Path) -> Damaged {
    Damaged::new(index.with_extension("pack"), "it is gone")
}

pub(super) fn each(damaged: &[Damaged]) -> String {
    let files = damaged.iter().map(|file| format!("; {file}"));
    files.collect()
}

/// What is to be done about files without which nothing can be served.
///
/// A registry from a backup would lack what came after it.
pub(super) fn cure(damaged: &[Damaged]) -> &'static str {
    match damaged {
        [] => {
            "no pack is torn or gone, so look for what this machine lacks (memory, open files, rights); only if `git fsck` misses something too, bring the registry back from a backup with `sidecargo restore`"
        }
        _ if damaged.iter().any(|file| file.is_closed) => "once that is done, start again",
        _ => "bring the registry back from a backup with `sidecargo restore`",
    }
}

/// What is to be done about files that another user keeps from the server's: to take back what they hold would lose it.
pub(super) fn opening(git_dir: &Path) -> String {
    format!(
        "nothing of it is lost: give what is in {} to the server's user (`chown -R`)",
        git_dir.display()
    )
}

/// Why this user may not read a file, if that is so.
pub(super) fn is_closed(path: &Path) -> Option<io::Error> {
    let fault = File::open(path).err()?;
    (fault.kind() == io::ErrorKind::PermissionDenied).then(|| about(path)(fault))
}

/// What is wrong with a pack or the index of one: both end with the SHA-1 of all before it.
pub(super) fn look_into(path: &Path) -> Option<Damaged> {
    let reason = match has_its_checksum(path) {
        Ok(true) => return None,
        Ok(false) => "it is torn: its checksum is not that of its bytes".to_owned(),
        // Git took it away meanwhile.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return None,
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            let reason = format!(
                "it may not be read: {cause}; nothing of it is lost: give it to the server's user (`chown`)"
            );
            return Some(Damaged {
                is_closed: true,
                ..Damaged::new(path.to_owned(), reason)
            });
        }
        Err(cause) => format!("it cannot be read: {cause}"),
    };
    Some(Damaged::new(path.to_owned(), reason))
}

/// A file of which the disk does not give all bytes: whoever has it mapped into memory is ended by a signal that it cannot
/// survive.
pub(super) fn unread(path: &Path) -> Option<Damaged> {
    let read = || io::copy(&mut File::open(path)?, &mut io::sink());
    match read() {
        Err(cause) if is_of_disk(&cause) => {
            let reason = format!("it cannot be read: {cause}");
            Some(Damaged::new(path.to_owned(), reason))
        }
        _ => None,
    }
}

/// Whether it is no matter of names and rights, by which nothing can be mapped either.
fn is_of_disk(cause: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied};
    !matches!(cause.kind(), NotFound | PermissionDenied)
}

/// Whether the pack is known not to be whole: it was read to its end, or it is gone.
pub(super) fn is_torn(pack: &Path) -> io::Result<bool> {
    match has_its_checksum(pack) {
        Ok(is_whole) => Ok(!is_whole),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(cause) => {
            let words = format!("{} cannot be read: {cause}", pack.display());
            Err(io::Error::new(cause.kind(), words))
        }
    }
}

fn has_its_checksum(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(mut left) = file.metadata()?.len().checked_sub(CHECKSUM_BYTES) else {
        return Ok(false);
    };
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    let mut buffer = vec![0; 256 * 1024];
    while left > 0 {
        let wanted = left.min(buffer.len() as u64) as usize;
        file.read_exact(&mut buffer[..wanted])?;
        hasher.update(&buffer[..wanted]);
        left -= wanted as u64;
    }
    let mut checksum = [0; CHECKSUM_BYTES as usize];
    file.read_exact(&mut checksum)?;
    Ok(hasher
        .try_finalize()
        .is_ok_and(|id| id.as_slice() == checksum))
}
