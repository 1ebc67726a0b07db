//! By what the store knows a file again, and one for which there will be no line.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

/// By what a file is known not to have been touched, or kept anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    pub(super) bytes: u64,
    /// The moment of its last change: seconds since 1970, and nanoseconds.
    changed: (i64, i64),
    /// The same of its bytes, or [`LEFT`].
    written: (i64, i64),
}

/// What a file bears, as the moment at which its bytes were written, of which it is known that no line was made for it.
const LEFT: (i64, i64) = (0, 0);

/// A file that was kept.
#[derive(Debug)]
pub struct Kept(pub(super) Option<File>);

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            written: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Whether nobody has a line that names the file: whoever kept it said so, and nobody has kept it anew.
    pub fn is_left(&self) -> bool {
        self.written == LEFT
    }
}

impl Kept {
    /// Says that there is no line for the file, and will be none, unless somebody keeps it anew.
    ///
    /// Nothing is said of a file that was there before, for another server may have a line that names it, nor of the one
    /// that somebody has put in its place meanwhile.
    pub fn leave(&self) -> io::Result<()> {
        let mark = |file: &File| file.set_modified(SystemTime::UNIX_EPOCH);
        self.0.as_ref().map_or(Ok(()), mark)
    }
}
