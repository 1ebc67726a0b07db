//! Copying a whole registry: to a backup while a server runs, and back.
//!
//! A backup is a data folder like any other, but for a mark by which it is not served: what is served changes, and could
//! not be brought up to date any more. It is consistent at one commit: the keys are read first, since a key is trusted for
//! good; then comes the index, then every `.crate` file that it names, then the tip, and then keys take the place of older
//! ones.

mod small_files;

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::app::{AppFault, Data};
use crate::audit::{self, AuditFault};
use crate::blobs::Blobs;
use crate::disk;
use crate::domain::{Cksum, CommitId, Visibility};
use crate::index::{CopyFault, Identity, KeyFault, Place};
use small_files::SmallFiles;

/// How much of a crate file is copied at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What the mark says to whoever looks into it.
const MARK: &[u8] = b"This is a backup: `sidecargo restore` makes a registry of it elsewhere.\n";

/// A registry was not copied.
#[derive(Debug, Error)]
pub enum BackupFault {
    /// One of both folders cannot be used.
    #[error(transparent)]
    App(#[from] AppFault),
    /// Another process works on the backup.
    #[error("the backup {} is in use by another sidecargo, most often because it is being brought up to date; wait for its end, or name another folder", .0.display())]
    InUse(PathBuf),
    /// The index was not copied.
    #[error(transparent)]
    Index(#[from] CopyFault),
    /// Nothing could go on with the copy.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// A crate file is not as it must be.
    #[error("the crate file {} is missing or damaged; publish its version's bytes again or take the file from another backup", .0.display())]
    Crate(PathBuf),
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// One folder is part of the other.
    #[error("one of {} and {} lies in the other; name a place outside", from.display(), to.display())]
    Within {
        /// The registry.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
    },
    /// There is nothing to restore.
    #[error("there is no backup in {}; if it lies on another disk, mount that", .0.display())]
    None(PathBuf),
    /// The folder holds a registry.
    #[error("there is a registry in {}; restore into an empty folder", .0.display())]
    NotEmpty(PathBuf),
    /// The folder holds keys or tokens that are not those of the backup.
    #[error("{} is not of this backup: it is another registry's, or came later; restore into an empty folder, or move it away first", .0.display())]
    Foreign(PathBuf),
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The commit at which the copy is.
    pub commit: CommitId,
    /// Where the branch is, if no server runs and it cannot be followed to there.
    pub left_out: Option<CommitId>,
    /// The `.crate` files that it names.
    pub crate_files: usize,
    /// Those that were not there before.
    pub fresh: usize,
    /// Whether nobody reads it without a token, although its index does not say so.
    pub is_closed: bool,
    /// The file with the number of the index repository on the forge, if it was there already and says something else.
    pub kept: Option<PathBuf>,
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
    are_apart(from, to)?;
    let data = Data::new(to);
    let _lock = data.lock().map_err(|fault| match fault {
        AppFault::Locked(_) => BackupFault::InUse(to.to_owned()),
        other => other.into(),
    })?;
    for place in [&source, &data.place()] {
        place.check_readable().map_err(AppFault::from)?;
    }
    let copied = copy(&source, from, &data.place(), to, tell)?;
    // Not before: a folder that is refused may be a registry.
    write(&data.backup_mark(), MARK)?;
    let there = data.forge_repository();
    match forge_repository(&Data::new(from))? {
        Some(number) => write(&there, &number)?,
        None => drop(disk::if_there(fs::remove_file(&there)).map_err(write_fault(&there))?),
    }
    if !copied.is_closed {
        let mark = data.closed();
        disk::if_there(fs::remove_file(&mark)).map_err(write_fault(&mark))?;
    }
    // A key that was taken away to end its tokens must not come back with a restore.
    SmallFiles::read(&from.join("keys"))?.alone_in(&to.join("keys"))?;
    // Last: the backup is good, however long this takes.
    data.place().merge_packs();
    Ok(copied)
}

/// Copies the backup in the folder `backup` to the data folder `to`, which has no registry yet.
///
/// The backup is verified first, as the one thing that stands between its owner and a registry of unknown state.
pub fn restore(
    backup: &Path,
    to: &Path,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<Copied, BackupFault> {
    are_apart(backup, to)?;
    let data = Data::new(to);
    let _lock = data.lock()?;
    let place = data.place();
    if place.git_dir.exists() {
        return Err(BackupFault::NotEmpty(to.to_owned()));
    }
    let source = Data::new(backup).existing_place();
    let source = source.map_err(|_| BackupFault::None(backup.to_owned()))?;
    for folder in ["keys", "tokens"] {
        SmallFiles::read(&backup.join(folder))?.are_all_of(&to.join(folder))?;
    }
    // No other registry begins beside it, also if this fails; it gets its name once all is there.
    let path = data.half_restored();
    disk::remove_folder(&path)
        .and_then(|()| disk::create_folder(&path))
        .map_err(write_fault(&path))?;
    let report = audit::verify(backup, None, &mut |_| {})?;
    if let Some(fault) = report.faults.into_iter().next() {
        return Err(BackupFault::Faulty {
            folder: backup.to_owned(),
            what: fault.what,
            look: fault.look,
        });
    }
    let coming = Place {
        git_dir: path,
        ..place.clone()
    };
    let copied = copy(&source, backup, &coming, to, tell).inspect_err(|_| {
        // The mark stays, and takes no room.
        let _ = disk::remove_folder(&coming.git_dir.join("objects"));
    })?;
    let mark = data.backup_mark();
    disk::if_there(fs::remove_file(&mark)).map_err(write_fault(&mark))?;
    disk::rename(&coming.git_dir, &place.git_dir).map_err(write_fault(&place.git_dir))?;
    Ok(copied)
}

/// The folder of the copy may not be there yet.
fn are_apart(from: &Path, to: &Path) -> Result<(), BackupFault> {
    let real = |path: &Path| -> io::Result<PathBuf> {
        let path = std::path::absolute(path)?;
        let mut there = path
            .ancestors()
            .filter_map(|it| Some((it, it.canonicalize().ok()?)));
        let (known, real) = there.next().ok_or(io::ErrorKind::NotFound)?;
        Ok(real.join(path.strip_prefix(known).unwrap_or(Path::new(""))))
    };
    let real_from = real(from).map_err(read_fault(from))?;
    let real_to = real(to).map_err(read_fault(to))?;
    match real_from.starts_with(&real_to) || real_to.starts_with(&real_from) {
        true => Err(BackupFault::Within {
            from: from.to_owned(),
            to: to.to_owned(),
        }),
        false => Ok(()),
    }
}

fn copy(
    source: &Place,
    from: &Path,
    place: &Place,
    to: &Path,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<Copied, BackupFault> {
    source.check_signing_key()?;
    let keys = SmallFiles::read(&from.join("keys"))?;
    let data = Data::new(from);
    let number = forge_repository(&data)?;
    // What cannot be looked at may be there.
    let is_closed = || data.closed().try_exists().unwrap_or(true);
    let was_closed = is_closed();
    let (incoming, left_out, copied) = data.read(|source| {
        let commit = data.newest_good(source)?;
        let left_out = data.branch_beyond(source, commit)?;
        let incoming = source.copy_to(commit, place)?;
        let identity = source.identity_at(commit).map_err(AppFault::from)?;
        Ok::<_, BackupFault>((incoming, left_out, identity))
    })?;
    let stored = data.existing_blobs()?;
    let store = to.join("blobs");
    let blobs = Blobs::open_as(store.clone(), stored.id()).map_err(write_fault(&store))?;
    let all = incoming.cksums.len();
    let mut fresh = 0;
    for (at, cksum) in incoming.cksums.iter().enumerate() {
        if !blobs
            .is_intact(cksum)
            .map_err(read_fault(&blobs.path(cksum)))?
        {
            copy_crate(&stored, &blobs, cksum)?;
            fresh += 1;
        }
        tell(all, all - at - 1);
    }
    SmallFiles::read(&from.join("tokens"))?.add_to(&to.join("tokens"))?;
    keys.add_to(&to.join("keys"))?;
    let there = Data::new(to);
    // What is there came later, or is the same, or is another registry's.
    let known = forge_repository(&there)?;
    if let (Some(number), None) = (&number, &known) {
        write(&there.forge_repository(), number)?;
    }
    let kept = known.filter(|known| Some(known) != number.as_ref());
    // A registry that was closed when this index was read, or is now, is closed where it is restored; so is one whose
    // index has come to say so since the commit that was copied, which took the file away.
    let is_private = |identity: &Identity| identity.visibility == Visibility::Private;
    let is_hidden =
        || !is_private(&copied) && source.identity().map_or(true, |now| is_private(&now));
    // And only the forge knows whether it hides one that it showed by the time this is restored.
    let has_forge = source.has_forge().map_err(AppFault::from)?;
    let is_closed = has_forge || was_closed || is_closed() || is_hidden();
    if is_closed {
        write(&there.closed(), b"")?;
    }
    let commit = incoming.accept()?;
    // Only now: the commit that was the tip before may not trust a newer key.
    keys.replace_in(&to.join("keys"))?;
    Ok(Copied {
        commit,
        left_out,
        crate_files: all,
        fresh,
        is_closed,
        kept: kept.map(|_| there.forge_repository()),
    })
}

/// The number of the index repository on the forge, if there is one: its name may be another's when this is restored.
fn forge_repository(data: &Data<'_>) -> Result<Option<Vec<u8>>, BackupFault> {
    let path = data.forge_repository();
    disk::if_there(fs::read(&path)).map_err(read_fault(&path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupFault> {
    disk::replace(path, bytes).map_err(write_fault(path))
}

fn copy_crate(from: &Blobs, to: &Blobs, cksum: &Cksum) -> Result<(), BackupFault> {
    let (path, target) = (from.path(cksum), to.path(cksum));
    let (unread, unwritten) = (read_fault(&path), write_fault(&target));
    let damaged = || BackupFault::Crate(path.clone());
    let mut copy = to.incoming().map_err(&unwritten)?;
    let mut original = match from.read(cksum) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
        other => other.map_err(&unread)?,
    };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = original.read(&mut piece).map_err(&unread)?;
        if count == 0 {
            break;
        }
        let written = copy.file().write_all(&piece[..count]);
        written.map_err(&unwritten)?;
    }
    copy.file().rewind().map_err(&unwritten)?;
    let is_whole = crate::blobs::hash(copy.file()).map_err(&unwritten)? == *cksum;
    match is_whole {
        true => to.keep(copy, cksum).map(drop).map_err(&unwritten),
        false => Err(damaged()),
    }
}

fn read_fault(path: &Path) -> impl Fn(io::Error) -> BackupFault {
    let path = path.to_owned();
    move |source| BackupFault::Read {
        path: path.clone(),
        source,
    }
}

fn write_fault(path: &Path) -> impl Fn(io::Error) -> BackupFault {
    let path = path.to_owned();
    move |source| BackupFault::Write {
        path: path.clone(),
        source,
    }
}
