//! Keys and records of tokens.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::{BackupFault, read_fault, write_fault};
use crate::disk;

/// The largest one that is copied, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// Small files of a folder, by their names; of temporary ones nothing is known.
pub(super) struct SmallFiles(BTreeMap<OsString, Vec<u8>>);

impl SmallFiles {
    pub(super) fn read(folder: &Path) -> Result<Self, BackupFault> {
        let mut files = BTreeMap::new();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self(files)),
            other => other.map_err(read_fault(folder))?,
        };
        for entry in entries {
            let entry = entry.map_err(read_fault(folder))?;
            let name = entry.file_name();
            // Somebody may be about to remove it.
            if name.to_string_lossy().starts_with(disk::TEMP_PREFIX) {
                continue;
            }
            let path = entry.path();
            // Of what a link leads to: a key may lie elsewhere.
            let metadata = fs::metadata(&path).map_err(read_fault(&path))?;
            if metadata.is_file() && metadata.len() <= BYTES_MAX {
                let bytes = fs::read(&path).map_err(read_fault(&path))?;
                files.insert(name, bytes);
            }
        }
        Ok(Self(files))
    }

    /// Refuses a folder with a file that is not one of these.
    pub(super) fn are_all_of(&self, folder: &Path) -> Result<(), BackupFault> {
        let there = Self::read(folder)?;
        let mut others = { there.0.iter() }.filter(|(name, it)| self.0.get(*name) != Some(*it));
        match others.next() {
            Some((name, _)) => Err(BackupFault::Foreign(folder.join(name))),
            None => Ok(()),
        }
    }

    /// Writes those that `folder` does not have; what it has stays as it is.
    pub(super) fn add_to(&self, folder: &Path) -> Result<(), BackupFault> {
        let there = Self::read(folder)?;
        self.write(folder, |name| !there.0.contains_key(name))
    }

    /// Writes those that `folder` does not have with these bytes.
    pub(super) fn replace_in(&self, folder: &Path) -> Result<(), BackupFault> {
        let there = Self::read(folder)?;
        self.write(folder, |name| there.0.get(name) != self.0.get(name))
    }

    /// Removes from `folder` the keys of tokens that are not among them.
    pub(super) fn alone_in(&self, folder: &Path) -> Result<(), BackupFault> {
        let there = Self::read(folder)?;
        let is_gone = |name: &&OsString| {
            name.as_encoded_bytes().starts_with(b"token-") && !self.0.contains_key(*name)
        };
        let gone = there.0.keys().filter(is_gone);
        for path in gone.map(|name| folder.join(name)) {
            fs::remove_file(&path).map_err(write_fault(&path))?;
        }
        disk::sync_folder(folder).map_err(write_fault(folder))
    }

    /// Each readable by this user alone.
    fn write(
        &self,
        folder: &Path,
        is_meant: impl Fn(&OsString) -> bool,
    ) -> Result<(), BackupFault> {
        disk::create_private_folder(folder).map_err(write_fault(folder))?;
        for (name, bytes) in self.0.iter().filter(|(name, _)| is_meant(name)) {
            let path = folder.join(name);
            disk::replace_private(&path, bytes).map_err(write_fault(&path))?;
        }
        Ok(())
    }
}
