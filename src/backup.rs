//! Copying a whole registry: to a backup while a server runs, and back.
//!
//! A backup is a data folder like any other: it can be verified, and served. It is consistent at one commit: keys
//! first, since a key is trusted for good; then the index; then every `.crate` file that it names; then the tip.

use std::fs;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::app::{AppFault, Data};
use crate::audit::{self, AuditFault};
use crate::blobs::Blobs;
use crate::disk;
use crate::domain::{Cksum, CommitId};
use crate::index::{CopyFault, Place};

/// The largest file beside the index that is copied, in bytes: a key or the record of a token.
const SMALL_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A registry was not copied.
#[derive(Debug, Error)]
pub enum BackupFault {
    /// One of both folders cannot be used.
    #[error(transparent)]
    App(#[from] AppFault),
    /// The index was not copied.
    #[error(transparent)]
    Index(#[from] CopyFault),
    /// A crate file is not as it must be.
    #[error("the crate file {} is missing or damaged; publish its version's bytes again or take the file from another backup", .0.display())]
    Crate(PathBuf),
    /// A file cannot be read or written.
    #[error("{} cannot be copied", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder holds a registry.
    #[error("there is a registry in {}; restore into an empty folder", .0.display())]
    NotEmpty(PathBuf),
    /// The backup cannot be verified.
    #[error(transparent)]
    Audit(#[from] AuditFault),
    /// The backup is not as it must be.
    #[error("the backup in {} is not restored, because it is not as it must be: {what}; look at it with `{look}`", folder.display())]
    Faulty {
        /// The backup.
        folder: PathBuf,
        /// The first fault.
        what: String,
        /// The command that shows it.
        look: String,
    },
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The commit at which the copy is.
    pub commit: CommitId,
    /// The `.crate` files that it names.
    pub crate_files: usize,
    /// Those that were not there before.
    pub fresh: usize,
}

/// Copies the registry in the data folder `from`, which a server may be using, to the folder `to`.
///
/// An earlier backup of the same registry there is brought up to date, and stays whole if this ends in the middle.
/// `tell` hears after each crate file how many there are and how many are left.
pub fn back_up(
    from: &Path,
    to: &Path,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<Copied, BackupFault> {
    let source = Data::new(from).existing_place()?;
    let data = Data::new(to);
    let _lock = data.lock()?;
    copy(&source, from, &data.place(), to, tell)
}

/// Copies the backup in the folder `backup` to the data folder `to`, which has no registry yet.
///
/// The backup is verified first, as the one thing that stands between its owner and a registry of unknown state.
pub fn restore(
    backup: &Path,
    to: &Path,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<Copied, BackupFault> {
    let source = Data::new(backup).existing_place()?;
    let data = Data::new(to);
    let _lock = data.lock()?;
    if data.place().has_tip() {
        return Err(BackupFault::NotEmpty(to.to_owned()));
    }
    let report = audit::verify(backup, None, &mut |_| {})?;
    if let Some(fault) = report.faults.into_iter().next() {
        return Err(BackupFault::Faulty {
            folder: backup.to_owned(),
            what: fault.what,
            look: fault.look,
        });
    }
    copy(&source, backup, &data.place(), to, tell)
}

fn copy(
    source: &Place,
    from: &Path,
    place: &Place,
    to: &Path,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<Copied, BackupFault> {
    copy_small_files(&from.join("keys"), &to.join("keys"))?;
    let incoming = source.copy_to(place)?;
    let stored = Data::new(from).existing_blobs()?;
    let store = to.join("blobs");
    let blobs = Blobs::open_as(store.clone(), stored.id()).map_err(io_fault(&store))?;
    let all = incoming.cksums.len();
    let mut fresh = 0;
    for (at, cksum) in incoming.cksums.iter().enumerate() {
        if !blobs
            .is_intact(cksum)
            .map_err(io_fault(&blobs.path(cksum)))?
        {
            copy_crate(&stored, &blobs, cksum)?;
            fresh += 1;
        }
        tell(all, all - at - 1);
    }
    copy_small_files(&from.join("tokens"), &to.join("tokens"))?;
    Ok(Copied {
        commit: incoming.accept()?,
        crate_files: all,
        fresh,
    })
}

fn copy_crate(from: &Blobs, to: &Blobs, cksum: &Cksum) -> Result<(), BackupFault> {
    let path = from.path(cksum);
    let fault = io_fault(&path);
    let damaged = || BackupFault::Crate(path.clone());
    let mut copy = to.incoming().map_err(&fault)?;
    let mut original = match from.read(cksum) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
        other => other.map_err(&fault)?,
    };
    io::copy(&mut original, copy.file()).map_err(&fault)?;
    copy.file().rewind().map_err(&fault)?;
    let is_whole = crate::blobs::hash(copy.file()).map_err(&fault)? == *cksum;
    match is_whole {
        true => to.keep(copy, cksum).map_err(&fault),
        false => Err(damaged()),
    }
}

/// Copies the files of a folder, each readable by this user alone; what is there already and the same stays.
fn copy_small_files(from: &Path, to: &Path) -> Result<(), BackupFault> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io_fault(from))?,
    };
    disk::create_private_folder(to).map_err(io_fault(to))?;
    for entry in entries {
        let entry = entry.map_err(io_fault(from))?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(io_fault(&path))?;
        let is_temporary = entry.file_name().to_string_lossy().starts_with("tmp_");
        if !metadata.is_file() || metadata.len() > SMALL_FILE_BYTES_MAX || is_temporary {
            continue;
        }
        let bytes = fs::read(&path).map_err(io_fault(&path))?;
        let target = to.join(entry.file_name());
        if !fs::read(&target).is_ok_and(|there| there == bytes) {
            disk::replace_private(&target, &bytes).map_err(io_fault(&target))?;
        }
    }
    Ok(())
}

fn io_fault(path: &Path) -> impl Fn(io::Error) -> BackupFault {
    let path = path.to_owned();
    move |source| BackupFault::Io {
        path: path.clone(),
        source,
    }
}
