//! Which of the servers that share a store does what one alone can do.

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::Blobs;

/// Whoever locks this file leads, and whoever has something for the leader touches it.
const LEAD_FILE: &str = "lead";
const NO_LOCKS: i32 = rustix::io::Errno::NOLCK.raw_os_error();

/// What makes this process the one that works for all, until it is dropped.
#[derive(Debug)]
pub struct Lead(File);

impl Blobs {
    /// Takes the lead; `None` while another has it.
    ///
    /// # Errors
    /// Where the file system knows no locks, it is [`io::ErrorKind::Unsupported`].
    pub fn take_lead(&self) -> io::Result<Option<Lead>> {
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(self.lead_path())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lead(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            // As over a network without a service of locks.
            Err(TryLockError::Error(error)) if error.raw_os_error() == Some(NO_LOCKS) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Tells whoever has the lead that there is something to do.
    pub fn call_lead(&self) -> io::Result<()> {
        let file = File::options().write(true).open(self.lead_path())?;
        file.set_modified(SystemTime::now())
    }

    fn lead_path(&self) -> PathBuf {
        self.folder.join(LEAD_FILE)
    }
}

impl Lead {
    /// When it was last called, by a clock that may be another machine's.
    pub fn last_call(&self) -> io::Result<SystemTime> {
        self.0.metadata()?.modified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leads_until_it_ends_and_hears_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Blobs::open(folder.path().join("blobs")).unwrap();
        let (blobs, other) = (open(), open());
        let lead = blobs.take_lead().unwrap().unwrap();
        let before = lead.last_call().unwrap();
        assert!(other.take_lead().unwrap().is_none());
        assert_eq!(lead.last_call().unwrap(), before, "nobody called");
        other.call_lead().unwrap();
        assert!(lead.last_call().unwrap() > before);
        drop(lead);
        assert!(other.take_lead().unwrap().is_some());
    }
}
