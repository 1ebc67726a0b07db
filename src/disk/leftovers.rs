//! Temporary files that ended processes left.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::{TEMP_PREFIX, about, age};

/// Longer than a small file is written before it gets its name.
pub(super) const TEMP_FILE_LIFE: Duration = Duration::from_secs(60);

/// Removes the temporary files in `folder` that an ended process left.
pub fn remove_leftovers(folder: &Path) -> io::Result<usize> {
    remove_temp_files(folder, |_, _| Ok(true))
}

/// As [`remove_leftovers`], in a folder where other processes hold what they need ([`TempFile::create_held`]).
pub fn remove_unheld_leftovers(folder: &Path) -> io::Result<usize> {
    remove_temp_files(folder, |path, metadata| {
        let file = File::open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // Held until it is gone, so that nobody begins to hold it meanwhile.
                fs::remove_file(path)?;
                Ok(false)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(_)) => Ok(age(metadata)? > TEMP_FILE_LIFE),
        }
    })
}

/// As [`remove_leftovers`], in a folder where other processes may be at work: what they need is left to them.
///
/// A file that has its real name too is needed by nobody, nor is one that is older than it ever gets.
pub fn remove_old_leftovers(folder: &Path) -> io::Result<usize> {
    let is_left =
        |_: &Path, metadata: &Metadata| Ok(metadata.nlink() > 1 || age(metadata)? > TEMP_FILE_LIFE);
    match remove_temp_files(folder, is_left) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        removed => removed,
    }
}

fn remove_temp_files(
    folder: &Path,
    is_left: impl Fn(&Path, &Metadata) -> io::Result<bool>,
) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(about(folder))? {
        let entry = entry.map_err(about(folder))?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let remove = || -> io::Result<bool> {
            let metadata = entry.metadata()?;
            let is_left = metadata.is_file() && is_left(&path, &metadata)?;
            if is_left {
                fs::remove_file(&path)?;
            }
            Ok(is_left)
        };
        match remove() {
            // Its own process was faster, or another one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => count += usize::from(removed.map_err(about(&path))?),
        }
    }
    Ok(count)
}
