//! The readers under the archive: errors that come up through them still say which layer failed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use thiserror::Error;

use super::TarballFault;

/// Why nothing more is read.
#[derive(Debug)]
pub(super) enum Stop {
    /// The archive is to blame.
    Fault(TarballFault),
    /// The file could not be read.
    File(io::Error),
}

/// The unpacked bytes of one gzip member, with a limit that is an error and not an end.
pub(super) struct Unpacked<R> {
    gzip: GzDecoder<BufReader<R>>,
    left: u64,
    max: u64,
}

/// What went wrong below the archive, as it travels inside an [`io::Error`].
#[derive(Debug, Error)]
enum LayerFault {
    #[error("more than {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    Gzip(io::Error),
}

impl<R: Read> Unpacked<R> {
    pub(super) fn new(file: R, max: u64) -> Self {
        Self {
            gzip: GzDecoder::new(BufReader::new(file)),
            left: max,
            max,
        }
    }

    /// Whether the file goes on after the gzip member, which must have been read to its end.
    pub(super) fn is_followed(&mut self) -> io::Result<bool> {
        loop {
            match self.gzip.get_mut().fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                rest => return Ok(!rest?.is_empty()),
            }
        }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            // A byte more tells too much from just enough.
            return match self.read_gzip(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other(LayerFault::TooLarge(self.max))),
            };
        }
        let room = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.read_gzip(&mut buffer[..room])?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Read> Unpacked<R> {
    fn read_gzip(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.gzip.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Only the operating system's errors carry its number: those are the file's.
                Err(error) if error.raw_os_error().is_none() => {
                    return Err(io::Error::other(LayerFault::Gzip(error)));
                }
                read => return read,
            }
        }
    }
}

/// Sorts an error that came up through the archive.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            return Self::File(error);
        }
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        Self::Fault(match inner {
            Some(LayerFault::TooLarge(max)) => TarballFault::UnpackedTooLarge(*max),
            Some(LayerFault::Gzip(error)) => TarballFault::Gzip(error.to_string()),
            None => TarballFault::Tar(super::quoted(&error.to_string())),
        })
    }
}

impl From<TarballFault> for Stop {
    fn from(fault: TarballFault) -> Self {
        Self::Fault(fault)
    }
}
