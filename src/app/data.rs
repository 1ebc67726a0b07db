//! The folders of a registry on disk.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::warn;

use super::{AppFault, LOOK_AGAIN};
use crate::auth::{GIVEN_BACK, Spent};
use crate::blobs::Blobs;
use crate::disk;
use crate::domain::CommitId;
use crate::index::{Branch, Identity, Index, OpenFault, Place, Settings};
use crate::tokens::TokenRecords;

/// How often a command looks whether the branch moved: it is done long before.
const COMMAND_POLL: Duration = Duration::from_secs(60);
/// How long a command waits for another one to mend what a power cut left.
const MEND_WAIT: Duration = Duration::from_secs(2);

/// The folders of a registry on disk.
pub(crate) struct Data<'a> {
    folder: &'a Path,
}

/// As long as there is this value no other process writes in the data folder.
pub(crate) struct Lock {
    _file: File,
    /// Those that can be held.
    folders: Vec<File>,
}

impl<'a> Data<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self { folder }
    }

    /// Where its index is, or will be.
    pub(crate) fn place(&self) -> Place {
        Place {
            git_dir: self.folder.join("index.git"),
            keys: self.keys(),
            cache: self.cache(),
        }
    }

    /// The place of a registry that must be there.
    pub(crate) fn existing_place(&self) -> Result<Place, AppFault> {
        let place = self.place();
        match place.git_dir.exists() {
            true => Ok(place),
            false => Err(AppFault::NoRegistry(self.folder.to_owned())),
        }
    }

    /// Reads something of the registry; if that fails and no server runs, once more when what a power cut left is mended
    /// as a start does it.
    pub(crate) fn read<T, E: From<AppFault>>(
        &self,
        read: impl Fn(&Place) -> Result<T, E>,
    ) -> Result<T, E> {
        let place = self.existing_place()?;
        read(&place).or_else(|fault| {
            // Else a server mended it; or nothing can be written here, and what is read must be whole as it is. Another
            // command that mends it has soon done so.
            let lock = self.lock_within(MEND_WAIT).map_err(|_| fault)?;
            place.heal().map_err(AppFault::from)?;
            drop(lock);
            read(&place)
        })
    }

    /// The newest good commit: beside a server that which it shows, for of no other it says that it is durable; else
    /// that which a start would show.
    pub(crate) fn newest_good(&self, place: &Place) -> Result<CommitId, AppFault> {
        Ok(match self.is_served() {
            true => place.last_shown()?,
            false => place.newest_good()?,
        })
    }

    /// Where the branch is, if a start would stay at `commit` all the same; a server tells that itself.
    pub(crate) fn branch_beyond(
        &self,
        place: &Place,
        commit: CommitId,
    ) -> Result<Option<CommitId>, AppFault> {
        let tip = place.tip()?;
        Ok((tip != commit && !self.is_served()).then_some(tip))
    }

    /// Whether another process may be writing here, also where nothing can be written.
    fn is_served(&self) -> bool {
        let is_held = match File::open(self.lock_file()) {
            Ok(file) => file.try_lock_shared().is_err(),
            Err(cause) => cause.kind() != io::ErrorKind::NotFound,
        };
        is_held || self.hold(File::try_lock_shared).is_err()
    }

    fn lock_file(&self) -> PathBuf {
        self.folder.join("lock")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.join("keys")
    }

    /// The number of the index repository on the forge.
    pub(crate) fn forge_repository(&self) -> PathBuf {
        self.folder.join("forge-repository")
    }

    /// Whether an index was here once, of which it is no longer known who might read it.
    pub(super) fn has_lost_index(&self) -> bool {
        !self.place().git_dir.exists() && self.forge_repository().exists()
    }

    /// What is there while the registry is closed and its index does not say so.
    pub(crate) fn closed(&self) -> PathBuf {
        self.folder.join("closed")
    }

    /// What is there if the folder is a backup: the registry is another one.
    pub(crate) fn backup_mark(&self) -> PathBuf {
        self.folder.join("sidecargo-backup")
    }

    /// Where an index lies that is being restored; one that is founded lies elsewhere, for a start throws that away.
    pub(crate) fn half_restored(&self) -> PathBuf {
        self.place().git_dir.with_extension("restoring")
    }

    /// What can be made again; it may be deleted at any time.
    pub(super) fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    pub(crate) fn tokens(&self) -> TokenRecords {
        TokenRecords::new(self.folder.join("tokens"))
    }

    /// What is good no more before its time, as it was when this was asked.
    pub(super) fn spent(&self) -> Result<Spent, AppFault> {
        let folder = self.folder.join("spent");
        Spent::open(folder.clone(), Timestamp::now())
            .map_err(|source| self.fault(disk::about(&folder)(source)))
    }

    /// Refuses root where it would write among the files of another user.
    ///
    /// The owner of the repository tells whose they are: the data folder itself may be a mount of anybody's, and tells it
    /// only as long as there is none.
    pub(super) fn check_user(&self) -> Result<(), AppFault> {
        let found = fs::metadata(self.place().git_dir).or_else(|_| fs::metadata(self.folder));
        match found.map(|metadata| metadata.uid()) {
            Ok(user) if user != 0 && rustix::process::geteuid().is_root() => {
                Err(AppFault::OtherUser {
                    folder: self.folder.to_owned(),
                    user,
                })
            }
            // Nothing is there, or whoever opens it says why it cannot be looked at.
            _ => Ok(()),
        }
    }

    /// Refuses to change a backup, which would part from its registry, or to begin one on the half of another.
    pub(super) fn check_is_no_copy(&self) -> Result<(), AppFault> {
        if self.backup_mark().is_file() {
            return Err(AppFault::IsBackup(self.folder.to_owned()));
        }
        match !self.place().git_dir.exists() && self.half_restored().exists() {
            true => Err(AppFault::HalfRestored(self.folder.to_owned())),
            false => Ok(()),
        }
    }

    /// Opens the index of a registry that no server runs, as its own files describe it, whatever the settings are.
    pub(crate) fn open_index(&self) -> Result<(Index, Lock), AppFault> {
        let place = self.existing_place()?;
        self.check_user()?;
        let lock = self.lock()?;
        self.check_is_no_copy()?;
        let settings = Settings::recorded(&healed_identity(&place)?);
        let branch = Branch::Here { poll: COMMAND_POLL };
        let index = Index::open(&place, &settings, &self.blobs()?, branch)?;
        Ok((index, lock))
    }

    /// Removes what was left by whoever was killed: a copy of a key, the half of a record; and by a restore that failed
    /// beside an index which is back.
    pub(super) fn clean(&self) {
        let left = self.half_restored();
        if let Err(cause) = disk::remove_folder(&left) {
            warn!(%cause, folder = %left.display(), "temporary files were not removed");
        }
        let [tokens, spent] = ["tokens", "spent"].map(|name| self.folder.join(name));
        let given_back = spent.join(GIVEN_BACK);
        for folder in [
            self.folder.to_owned(),
            self.keys(),
            tokens,
            spent,
            given_back,
        ] {
            if let Err(cause) = disk::remove_old_leftovers(&folder) {
                warn!(%cause, folder = %folder.display(), "temporary files were not removed");
            }
        }
    }

    /// The store of a registry that must be there.
    pub(crate) fn existing_blobs(&self) -> Result<Blobs, AppFault> {
        let folder = self.folder.join("blobs");
        if !folder.exists() {
            return Err(AppFault::NoStore(folder));
        }
        let fault = |source| self.fault(source);
        if !Blobs::has_lost_id(&folder).map_err(fault)? {
            return Blobs::existing(folder).map_err(fault);
        }
        // A start will write it again, and this looks only.
        let id = self.place().identity()?.blob_store;
        let found = Blobs::taken_for(folder.clone(), id).map_err(fault)?;
        found.ok_or(AppFault::StoreGone { folder, id })
    }

    /// The store; a new one if there is no index either, and one that lost its identity gets it back from the index.
    pub(super) fn blobs(&self) -> Result<Blobs, AppFault> {
        let fault = |source| self.fault(source);
        let (folder, place) = (self.folder.join("blobs"), self.place());
        if !place.git_dir.exists() || !Blobs::has_lost_id(&folder).map_err(fault)? {
            return Blobs::open(folder).map_err(fault);
        }
        let id = healed_identity(&place)?.blob_store;
        let found = Blobs::identify(folder.clone(), id).map_err(fault)?;
        let blobs = found.ok_or(AppFault::StoreGone { folder, id })?;
        warn!(store.id = %id, "the store of crate files had lost its id, which was written again");
        Ok(blobs)
    }

    /// Refuses to begin a registry on the crate files of one whose index is gone: they would be nobody's, and removed.
    pub(super) fn check_index(&self, blobs: &Blobs) -> Result<(), AppFault> {
        let git_dir = self.place().git_dir;
        if git_dir.exists() || blobs.is_empty().map_err(|source| self.fault(source))? {
            return Ok(());
        }
        Err(AppFault::IndexGone(git_dir))
    }

    /// Makes sure that no other process writes here.
    pub(crate) fn lock(&self) -> Result<Lock, AppFault> {
        disk::create_folder(self.folder).map_err(|source| self.fault(source))?;
        let path = self.lock_file();
        let file = File::create(&path).map_err(|source| self.fault(disk::about(&path)(source)))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock {
                _file: file,
                folders: self.hold(File::try_lock)?,
            }),
            Err(TryLockError::WouldBlock) => Err(AppFault::Locked(self.folder.to_owned())),
            Err(TryLockError::Error(source)) => Err(self.fault(source)),
        }
    }

    /// Holds the folder itself, too: somebody may remove the file under the hands of whoever holds that. And the
    /// repository, to which another folder may lead by a symbolic link.
    fn hold(
        &self,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Vec<File>, AppFault> {
        let paths = [self.folder.to_owned(), self.place().git_dir];
        let held = paths.iter().map(|path| self.hold_one(path, &lock));
        held.filter_map(Result::transpose).collect()
    }

    /// The same of the repository, which has been made since.
    pub(super) fn hold_repository(&self, lock: &mut Lock) -> Result<(), AppFault> {
        let held = self.hold_one(&self.place().git_dir, File::try_lock)?;
        lock.folders.extend(held);
        Ok(())
    }

    fn hold_one(
        &self,
        path: &Path,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<File>, AppFault> {
        let Ok(folder) = File::open(path) else {
            return Ok(None);
        };
        match lock(&folder) {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => Err(AppFault::Locked(path.to_owned())),
            // Not every file system of a network can hold a folder; there the file alone counts.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// As [`Data::lock`], and patient: it must not be called where other work waits.
    pub(super) fn lock_within(&self, patience: Duration) -> Result<Lock, AppFault> {
        let started = Instant::now();
        loop {
            match self.lock() {
                Err(AppFault::Locked(_)) if started.elapsed() < patience => {
                    thread::sleep(LOOK_AGAIN);
                }
                locked => return locked,
            }
        }
    }

    fn fault(&self, source: io::Error) -> AppFault {
        AppFault::Io {
            folder: self.folder.to_owned(),
            source,
        }
    }
}

/// What helps against what the system says, if that is known.
pub(super) fn cure(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run this as the user who owns it, and let that user own all that is in it (`chown -R`)"
        }
        _ => "",
    }
}

/// Who the registry is, as the next start would find it; the caller holds the lock of the folder.
fn healed_identity(place: &Place) -> Result<Identity, OpenFault> {
    let newest = || place.identity_at(place.newest_good()?);
    newest().or_else(|_| place.heal().and_then(|()| newest()))
}
