//! What outlives the process: that nobody reads without a token although the index does not say so.
//!
//! The file says it by being there, so it can be neither torn nor read wrongly. One that a power cut brings back, or that
//! cannot be looked at, closes a registry until the forge has shown its repository for a minute; none opens one.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::disk;

/// The file.
#[derive(Debug)]
pub struct Mark {
    path: PathBuf,
    /// Whether it is there, if that is known.
    is_there: Mutex<Option<bool>>,
}

impl Mark {
    /// The one at `path`, there or not.
    pub fn at(path: PathBuf) -> Self {
        let is_there = Mutex::new(path.try_exists().ok());
        Self { path, is_there }
    }

    /// Whether it is there, as far as that is known and nobody is at work on it.
    pub(super) fn is_there(&self) -> Option<bool> {
        *self.look().ok()?
    }

    /// Makes it durable.
    pub(super) fn put(&self) -> io::Result<()> {
        self.make(true, || disk::replace(&self.path, b""))
    }

    /// Takes it away.
    pub(super) fn take_away(&self) -> io::Result<()> {
        self.make(false, || {
            disk::if_there(fs::remove_file(&self.path)).map(drop)
        })
    }

    fn make(&self, there: bool, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut is_there = self.look()?;
        if *is_there == Some(there) {
            return Ok(());
        }
        // What failed may have been done all the same.
        *is_there = None;
        work().map_err(disk::about(&self.path))?;
        *is_there = Some(there);
        Ok(())
    }

    /// On a disk that hangs one thread waits, and no more.
    fn look(&self) -> io::Result<MutexGuard<'_, Option<bool>>> {
        match self.is_there.try_lock() {
            Ok(is_there) => Ok(is_there),
            Err(TryLockError::Poisoned(is_there)) => Ok(is_there.into_inner()),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_being_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("closed");
        let mark = Mark::at(path.clone());
        assert_eq!(mark.is_there(), Some(false));
        for _ in 0..2 {
            mark.put().unwrap();
            assert_eq!(Mark::at(path.clone()).is_there(), Some(true));
        }
        let held = mark.look().unwrap();
        // Whoever comes meanwhile does not wait.
        assert!(mark.take_away().is_err());
        assert_eq!(mark.is_there(), None);
        drop(held);
        for _ in 0..2 {
            mark.take_away().unwrap();
            assert_eq!(Mark::at(path.clone()).is_there(), Some(false));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn after_a_failure_it_is_not_known_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("later");
        let mark = Mark::at(later.join("closed"));
        let fault = mark.put().unwrap_err().to_string();
        assert!(fault.contains("later/closed"), "{fault}");
        assert_eq!(mark.is_there(), None);
        fs::create_dir(&later).unwrap();
        mark.put().unwrap();
        assert_eq!(mark.is_there(), Some(true));
        // What cannot be looked at may be there.
        let hidden = Mark::at("closed\0".into());
        assert_eq!(hidden.is_there(), None);
    }
}
