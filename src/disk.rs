//! Durable changes to files: written beside their place, flushed, renamed, and the folder flushed.
//!
//! Nothing else in the product renames or flushes. A temporary file's name starts with [`TEMP_PREFIX`], so what a
//! killed process left behind is known by its name.

mod leftovers;

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::Histogram;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::measure;

pub use leftovers::{remove_leftovers, remove_old_leftovers, remove_unheld_leftovers};

/// How every temporary file's name starts; git skips and prunes such files too.
pub const TEMP_PREFIX: &str = "tmp_";

/// A file under a temporary name: removed when dropped, unless it was given its real name.
#[derive(Debug)]
pub struct TempFile {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl TempFile {
    /// Creates an empty one in `folder`, readable and writable.
    pub fn create(folder: &Path) -> io::Result<Self> {
        Self::create_with_mode(folder, 0o644)
    }

    /// Creates one that only this user may read.
    pub fn create_private(folder: &Path) -> io::Result<Self> {
        Self::create_with_mode(folder, 0o600)
    }

    /// Creates one that [`remove_unheld_leftovers`] of another process leaves alone as long as it is open.
    pub fn create_held(folder: &Path) -> io::Result<Self> {
        loop {
            let temp = Self::create(folder)?;
            // Until it is held, somebody may take it for one that was left.
            match temp.file.try_lock() {
                Err(TryLockError::WouldBlock) => continue,
                // Where files cannot be held, only old ones are removed.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            if temp.file.metadata()?.nlink() > 0 {
                return Ok(temp);
            }
        }
    }

    /// Creates one of this name, in the place of what an ended process left there.
    pub fn create_at(path: PathBuf) -> io::Result<Self> {
        let file = File::create(&path)?;
        Ok(Self::of(path, file))
    }

    fn create_with_mode(folder: &Path, mode: u32) -> io::Result<Self> {
        let path = folder.join(format!("{TEMP_PREFIX}{}", random_name()?));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        Ok(Self::of(path, file))
    }

    fn of(path: PathBuf, file: File) -> Self {
        Self {
            path,
            file,
            is_kept: false,
        }
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Flushes the contents to the disk.
    pub fn sync(&self) -> io::Result<()> {
        flush(&self.file)
    }

    /// Gives the file its name, replacing what bears it; not durable until the folder is flushed.
    pub fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.is_kept = true;
        Ok(())
    }

    /// As [`TempFile::rename`], and gives the open file if it is known that nothing bore the name, whatever another
    /// machine does to it at this moment.
    pub fn rename_or_replace(mut self, target: &Path) -> io::Result<Option<File>> {
        use io::ErrorKind::{AlreadyExists, InvalidInput, PermissionDenied, Unsupported};

        let named = match rename_new(&self.path, target) {
            // As over a network. The temporary name of a link goes when `self` is dropped.
            Err(cause) if matches!(cause.kind(), InvalidInput | Unsupported) => {
                fs::hard_link(&self.path, target)
            }
            renamed => renamed.inspect(|()| self.is_kept = true),
        };
        match named {
            Ok(()) => Ok(self.file.try_clone().ok()),
            Err(cause)
                if matches!(cause.kind(), AlreadyExists | PermissionDenied | Unsupported) =>
            {
                self.rename(target)?;
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder for what is not wanted for long: removed with all that is in it when dropped.
#[derive(Debug)]
pub struct TempFolder(PathBuf);

impl TempFolder {
    /// Creates an empty one, in the place of whatever an ended process left at `path`.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let created = remove_folder(&path).and_then(|()| fs::create_dir(&path));
        created.map_err(about(&path))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // What stays goes when the next one is created there.
        let _ = remove_folder(&self.0);
    }
}

/// Removes a folder with all that is in it, if it is there.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    if_there(fs::remove_dir_all(path)).map(drop)
}

/// Writes a small file whose bytes are durable, and whose name will be once the folder is flushed: the one at `spare`,
/// if it is there, gets the name `path`.
///
/// To make and to remove a file costs a file system more than a rename, so a mark that is no longer needed becomes the
/// spare one of the next ([`put_aside`]). Whatever is at `spare` holds these bytes.
pub fn write_mark(spare: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::rename(spare, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let write = |mut file: File| file.write_all(bytes).and_then(|()| flush(&file));
            // One that does not hold these bytes for good must never become the spare one.
            let written = File::create(path).and_then(write);
            written.inspect_err(|_| drop(fs::remove_file(path)))
        }
        renamed => renamed,
    }
}

/// Takes a file away from `path` and keeps it at `spare`.
pub fn put_aside(path: &Path, spare: &Path) -> io::Result<()> {
    fs::rename(path, spare)
}

/// Writes over a file that is there, as long as `bytes` and without a second name, under which a copy of the folder may
/// have it; `None` if there is none such, or if it is another user's. Not flushed.
pub fn write_over(path: &Path, bytes: &[u8]) -> io::Result<Option<File>> {
    use io::ErrorKind::{NotFound, PermissionDenied};

    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if metadata.len() != bytes.len() as u64 || metadata.nlink() > 1 {
        return Ok(None);
    }
    file.write_all(bytes)?;
    Ok(Some(file))
}

/// Gives a file a name that nothing has, in the same folder; not durable until that is flushed.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Lets two files of one folder change names in one step; not durable until that is flushed.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// How many flushes of this process failed.
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Flushes an open file or folder to the disk.
pub fn flush(file: &File) -> io::Result<()> {
    let _timer = flushes().start_timer();
    let flushed = file.sync_all();
    FAILED.fetch_add(flushed.is_err().into(), Ordering::Relaxed);
    flushed
}

/// How many flushes have failed so far.
pub fn failed_flushes() -> u64 {
    FAILED.load(Ordering::Relaxed)
}

/// Flushes a folder, and with it the names of the files in it.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    flush(&File::open(folder)?)
}

/// How long the flushes of this process took: there is one disk for all who use it.
pub fn flushes() -> &'static Histogram {
    static FLUSHES: LazyLock<Histogram> = LazyLock::new(|| {
        let help = "Time of each flush of a file or a folder to the disk.";
        measure::durations("sidecargo_disk_flush_seconds", help)
    });
    &FLUSHES
}

/// Puts `bytes` at `path`, whole and durable, or leaves what was there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    write_synced(TempFile::create(folder)?, bytes)?.rename(path)?;
    sync_folder(folder)
}

/// As [`replace`], for a file that only this user may read.
pub fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    write_synced(TempFile::create_private(folder)?, bytes)?.rename(path)?;
    sync_folder(folder)
}

/// Gives the file at `from` the name `to` in the same folder, replacing what bears it: durable when this returns.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(folder_of(to))
}

/// As [`replace`], for a file that only this user may read and that must not exist yet.
///
/// Of several processes that try at once, one succeeds; the others get [`io::ErrorKind::AlreadyExists`].
pub fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_from(TempFile::create_private(folder_of(path))?, path, bytes)
}

/// As [`create_private`], for a file that others may read.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_from(TempFile::create(folder_of(path))?, path, bytes)
}

fn create_from(temp: TempFile, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = write_synced(temp, bytes)?;
    // A hard link, unlike a rename, never replaces; the temporary name goes when `temp` is dropped.
    fs::hard_link(&temp.path, path)?;
    sync_folder(folder_of(path))
}

/// Gives a file one more name, for a while: it is not made durable.
pub fn name_again(path: &Path, name: &Path) -> io::Result<()> {
    // Where the file is another user's the system may refuse it; a symbolic link takes longer to make.
    fs::hard_link(path, name).or_else(|_| symlink(std::path::absolute(path)?, name))
}

/// Creates a folder and its parents, durable.
pub fn create_folder(path: &Path) -> io::Result<()> {
    create_folder_with_mode(path, 0o755)
}

/// As [`create_folder`], for a folder that only this user may enter.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    create_folder_with_mode(path, 0o700)
}

/// Creates the `folders` that are not there yet, all of them in `parent`; durable, also those that were there.
pub fn create_folders(parent: &Path, folders: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    for folder in folders {
        make_folder(&folder, 0o755).map_err(|cause| cannot("made", &folder, cause))?;
    }
    sync_folder(parent)
}

fn create_folder_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    let parent = folder_of(path);
    if !path.is_dir() {
        create_folder(parent)?;
        make_folder(path, mode).map_err(|cause| cannot("made", path, cause))?;
    }
    // Also if it was there: whoever made it may have been killed before this.
    sync_folder(parent).map_err(|cause| cannot("opened and flushed", parent, cause))
}

/// An error with the folder that it is about: that may be one far above the folder that is asked for.
fn cannot(be: &str, folder: &Path, cause: io::Error) -> io::Error {
    let words = format!("the folder {} cannot be {be}: {cause}", folder.display());
    io::Error::new(cause.kind(), words)
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        // Somebody else may have made it meanwhile; a link that leads nowhere is none.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match path.is_dir() {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                "something has its name that is no folder",
            )),
        },
        made => made,
    }
}

/// How long ago a file was written to; by a clock that was set back meanwhile, it is of a time to come.
pub fn age(metadata: &Metadata) -> io::Result<Duration> {
    let since = metadata.modified()?.elapsed();
    Ok(since.unwrap_or_else(|ahead| ahead.duration()))
}

/// Makes of an error one that names the file or folder which it is about.
pub fn about(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |cause| io::Error::new(cause.kind(), format!("{}: {cause}", path.display()))
}

/// None for what is not there.
pub fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn write_synced(mut temp: TempFile, bytes: &[u8]) -> io::Result<TempFile> {
    temp.file.write_all(bytes)?;
    temp.sync()?;
    Ok(temp)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn random_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    use super::leftovers::TEMP_FILE_LIFE;
    use super::*;

    #[test]
    fn a_file_has_one_more_name_also_where_the_system_links_it_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "text").unwrap();
        // The second lies on another file system.
        for (number, path) in [path.as_path(), Path::new("/proc/version")]
            .iter()
            .enumerate()
        {
            let name = folder.path().join(number.to_string());
            name_again(path, &name).unwrap();
            assert_eq!(fs::read(&name).unwrap(), fs::read(path).unwrap());
            assert_eq!(name.is_symlink(), number == 1);
        }
    }

    #[test]
    fn only_what_is_not_there_is_passed_over() {
        let fault = |kind| Err::<(), _>(io::Error::from(kind));
        assert_eq!(if_there(fault(io::ErrorKind::NotFound)).unwrap(), None);
        assert!(if_there(fault(io::ErrorKind::PermissionDenied)).is_err());
        assert_eq!(if_there(Ok(1)).unwrap(), Some(1));
    }

    #[test]
    fn what_another_process_holds_is_not_taken_for_a_leftover() {
        let folder = tempfile::tempdir().unwrap();
        let held = TempFile::create_held(folder.path()).unwrap();
        let mut left = TempFile::create_held(folder.path()).unwrap();
        let path = left.path.clone();
        // As a process that was killed leaves it.
        left.is_kept = true;
        drop(left);
        fs::write(folder.path().join("tmp_of-an-older-program"), "").unwrap();
        fs::write(folder.path().join("named"), "").unwrap();
        // A program that another thread starts in this moment has all files open for an instant.
        while path.exists() {
            remove_unheld_leftovers(folder.path()).unwrap();
        }
        assert!(held.path.exists());
        let target = folder.path().join("kept");
        held.rename(&target).unwrap();
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["kept", "named"]);
    }

    #[test]
    fn of_many_who_hold_and_remove_at_once_none_loses_its_file() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let held = TempFile::create_held(folder.path()).unwrap();
                        assert!(held.path.exists());
                        held.rename(&folder.path().join("kept")).unwrap();
                    }
                });
                scope.spawn(|| {
                    for _ in 0..300 {
                        remove_unheld_leftovers(folder.path()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_folder_that_is_in_the_way_is_named() {
        let fault = create_folder(Path::new("/proc/none/below")).unwrap_err();
        let words = "the folder /proc/none cannot be made: ";
        assert!(fault.to_string().starts_with(words), "{fault}");

        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        let set_mode = |mode| fs::set_permissions(&closed, Permissions::from_mode(mode)).unwrap();
        fs::create_dir(&closed).unwrap();
        set_mode(0o300);
        let created = create_folder(&closed.join("middle/below"));
        set_mode(0o700);
        // Root reads it all the same.
        if let Err(fault) = created {
            let words = format!(
                "the folder {} cannot be opened and flushed: ",
                closed.display()
            );
            assert!(fault.to_string().starts_with(&words), "{fault}");
            assert_eq!(fault.kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn leftovers_go_from_a_folder_in_which_others_work_and_what_they_need_stays() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, modified: SystemTime| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(modified).unwrap();
        };
        let now = SystemTime::now();
        write("tmp_at-work", now);
        write("tmp_old", now - TEMP_FILE_LIFE * 2);
        write("tmp_ahead", now + TEMP_FILE_LIFE * 2);
        write("tmp_named", now);
        write("key", now - TEMP_FILE_LIFE * 2);
        let named = folder.path().join("tmp_named");
        fs::hard_link(named, folder.path().join("key-2")).unwrap();
        assert_eq!(remove_old_leftovers(folder.path()).unwrap(), 3);
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["key", "key-2", "tmp_at-work"]);
        assert_eq!(
            remove_old_leftovers(&folder.path().join("none")).unwrap(),
            0
        );
    }

    #[test]
    fn a_folder_is_new_each_time_and_what_cannot_be_removed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apart");
        remove_folder(&path).unwrap();
        for _ in 0..2 {
            fs::create_dir_all(path.join("left")).unwrap();
            let fresh = TempFolder::create(path.clone()).unwrap();
            assert_eq!(fs::read_dir(fresh.path()).unwrap().count(), 0);
            drop(fresh);
            assert!(!path.exists());
        }
        fs::write(&path, "a file, where a folder should be").unwrap();
        assert!(remove_folder(&path).is_err());
        assert!(TempFolder::create(path).is_err());
    }
}
