//! Where a `.crate` file is until it is kept: a small one in memory, a larger one in a file beside the store.
//!
//! Most crates are small. One that is in memory costs the disk nothing before it is judged, and one that is refused
//! costs it nothing at all.

use std::io::{self, Read, Seek, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::blobs::Blobs;
use crate::disk::TempFile;

/// The largest file that is taken into memory, in bytes: as many as there are connections may come at one time.
const IN_MEMORY_BYTES_MAX: u32 = 64 * 1024;

/// A file that is being received.
pub(super) enum Spool {
    Memory(Vec<u8>),
    /// The file, and the same one as it is written to.
    Disk(TempFile, tokio::fs::File),
}

/// A file that has come whole.
pub(super) enum Received {
    Memory(Vec<u8>),
    Disk(TempFile),
}

impl Spool {
    /// Whether a file that is said to have so many bytes is taken into memory: it grows there as they come.
    pub(super) fn is_small(bytes: u32) -> bool {
        bytes <= IN_MEMORY_BYTES_MAX
    }

    /// A spool on the disk.
    pub(super) fn on_disk(mut file: TempFile) -> io::Result<Self> {
        let writer = tokio::fs::File::from_std(file.file().try_clone()?);
        Ok(Self::Disk(file, writer))
    }

    /// What was received.
    pub(super) fn received(self) -> Received {
        match self {
            Self::Memory(bytes) => Received::Memory(bytes),
            Self::Disk(file, _) => Received::Disk(file),
        }
    }
}

impl AsyncWrite for Spool {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Memory(memory) => Pin::new(memory).poll_write(cx, bytes),
            Self::Disk(_, writer) => Pin::new(writer).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Memory(memory) => Pin::new(memory).poll_flush(cx),
            Self::Disk(_, writer) => Pin::new(writer).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Memory(memory) => Pin::new(memory).poll_shutdown(cx),
            Self::Disk(_, writer) => Pin::new(writer).poll_shutdown(cx),
        }
    }
}

impl Received {
    /// Its bytes from the first on.
    pub(super) fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Memory(bytes) => Ok(Box::new(bytes.as_slice())),
            Self::Disk(file) => {
                file.file().rewind()?;
                Ok(Box::new(file.file()))
            }
        }
    }

    /// The file beside the store, not flushed yet.
    pub(super) fn into_file(self, blobs: &Blobs) -> io::Result<TempFile> {
        match self {
            Self::Memory(bytes) => {
                let mut file = blobs.incoming()?;
                file.file().write_all(&bytes)?;
                Ok(file)
            }
            Self::Disk(file) => Ok(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn up_to_64_kibibytes_are_taken_into_memory() {
        assert!(Spool::is_small(0) && Spool::is_small(65_536));
        assert!(!Spool::is_small(65_537));
    }

    #[tokio::test]
    async fn what_was_written_is_received_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().to_owned()).unwrap();
        let on_disk = Spool::on_disk(blobs.incoming().unwrap()).unwrap();
        for mut spool in [Spool::Memory(Vec::new()), on_disk] {
            for part in ["some ", "bytes"] {
                spool.write_all(part.as_bytes()).await.unwrap();
            }
            spool.flush().await.unwrap();
            let mut received = spool.received();
            for _ in 0..2 {
                let mut bytes = String::new();
                let mut reader = received.reader().unwrap();
                reader.read_to_string(&mut bytes).unwrap();
                assert_eq!(bytes, "some bytes");
            }
            let mut file = received.into_file(&blobs).unwrap();
            let mut bytes = String::new();
            file.file().rewind().unwrap();
            file.file().read_to_string(&mut bytes).unwrap();
            assert_eq!(bytes, "some bytes");
        }
    }

    #[tokio::test]
    async fn a_disk_that_fails_is_told_before_the_file_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cannot be written to");
        std::fs::write(&path, "").unwrap();
        for is_last in [false, true] {
            let writer = tokio::fs::File::from_std(File::open(&path).unwrap());
            let mut spool = Spool::Disk(TempFile::create(folder.path()).unwrap(), writer);
            // It fails only behind the back of who writes.
            spool.write_all(b"bytes").await.unwrap();
            let told = match is_last {
                false => spool.flush().await,
                true => spool.shutdown().await,
            };
            assert!(told.is_err());
        }
    }
}
