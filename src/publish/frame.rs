//! The body of a publish request: two lengths, a JSON object and a `.crate` file.
//!
//! The format is that of the [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-web-api.html#publish):
//! the length of the JSON, the JSON, the length of the file, the file; lengths are 32 bits, little endian, and
//! nothing follows. Nothing is allocated because a length says so: the JSON grows with its bytes up to its limit,
//! the file goes to the spool chunk by chunk.
//!
//! What the JSON says of dependencies, features and all else is not read here or anywhere: the manifest says it.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::faults::quoted;
use crate::domain::{Cksum, CrateName, CrateVersion, Limits, NameFault, VersionFault};

/// An upload whose `.crate` file is in the spool, flushed but not yet synced to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// What the JSON claims.
    pub metadata: Metadata,
    /// SHA-256 of the `.crate` file.
    pub cksum: Cksum,
}

/// Which release the uploader says this is; the manifest must say the same.
///
/// What is wrong with a key does not keep the file from being judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The key `name`.
    pub name: Result<CrateName, MetadataFault>,
    /// The key `vers`.
    pub version: Result<CrateVersion, MetadataFault>,
}

impl Metadata {
    /// Name and version, if both are known.
    pub fn release(&self) -> Option<(&CrateName, &CrateVersion)> {
        self.name.as_ref().ok().zip(self.version.as_ref().ok())
    }

    /// What is wrong with the keys.
    pub fn faults(&self) -> impl Iterator<Item = &MetadataFault> {
        let name = self.name.as_ref().err();
        name.into_iter().chain(self.version.as_ref().err())
    }
}

/// A part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The 4 bytes before the JSON.
    MetadataLength,
    /// The JSON.
    Metadata,
    /// The 4 bytes before the `.crate` file.
    TarballLength,
    /// The `.crate` file.
    Tarball,
}

/// Why a body is not accepted.
#[derive(Debug, Error)]
pub enum FrameFault {
    /// The JSON's length is over the limit; both in bytes.
    #[error("the metadata is {claimed} bytes long; at most {max} bytes are allowed")]
    MetadataTooLarge { claimed: u32, max: u32 },
    /// The file's length is over the limit; both in bytes.
    #[error("the `.crate` file is {claimed} bytes long; at most {max} bytes are allowed")]
    TarballTooLarge { claimed: u32, max: u64 },
    /// The body ends too early.
    #[error("the body ends inside {part}: {missing} bytes are missing")]
    Truncated { part: Part, missing: usize },
    /// The body goes on.
    #[error("the body goes on after the `.crate` file; its two lengths must cover all of it")]
    Trailing,
    /// The file's length is 0.
    #[error("the `.crate` file is empty")]
    EmptyTarball,
    /// The JSON is not UTF-8.
    #[error("the metadata is not UTF-8: {0}")]
    NotUtf8(std::str::Utf8Error),
    /// The JSON is not JSON, not an object, or has one of our keys twice.
    #[error("the metadata is not a JSON object as Cargo sends it: {0}")]
    Json(String),
    /// The client went away, or was cut off by a limit of the connection.
    #[error("the connection broke while the body was read")]
    Connection(#[source] Box<dyn Error + Send + Sync>),
    /// The spool could not be written: a fault of ours, such as a full disk.
    #[error("the upload could not be stored")]
    Spool(#[source] io::Error),
}

/// What is wrong with a key that we read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MetadataFault {
    /// It is not there.
    #[error("the metadata has no `{0}`")]
    Missing(&'static str),
    /// It is not a string.
    #[error("`{0}` in the metadata must be a string")]
    NotAString(&'static str),
    /// `name` is not a crate name.
    #[error("`name` in the metadata: {0}")]
    Name(NameFault),
    /// `vers` is not a version.
    #[error("`vers` in the metadata: {0}")]
    Version(VersionFault),
}

/// Reads a body to its end, writes the `.crate` file to the spool that `open` gives for its length, and flushes it.
///
/// When it fails, or is dropped, the spool goes with the part of the file that it holds.
pub async fn receive<S, B, E, W>(
    body: S,
    open: impl AsyncFnOnce(u32) -> io::Result<W>,
    limits: &Limits,
) -> Result<(Upload, W), FrameFault>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: Into<Box<dyn Error + Send + Sync>>,
    W: AsyncWrite + Unpin,
{
    let mut body = Body {
        stream: std::pin::pin!(body),
        chunk: None,
    };
    let claimed = body.length(Part::MetadataLength).await?;
    let max = limits.metadata_bytes_max;
    if claimed > max {
        return Err(FrameFault::MetadataTooLarge { claimed, max });
    }
    let metadata = parse_metadata(&body.bytes(Part::Metadata, claimed).await?)?;

    let claimed = body.length(Part::TarballLength).await?;
    let max = limits.crate_bytes_max;
    if u64::from(claimed) > max {
        return Err(FrameFault::TarballTooLarge { claimed, max });
    }
    if claimed == 0 {
        return Err(FrameFault::EmptyTarball);
    }
    let mut spool = open(claimed).await.map_err(FrameFault::Spool)?;
    let cksum = body.spool(claimed, &mut spool).await?;
    if body.next_chunk().await?.is_some() {
        return Err(FrameFault::Trailing);
    }
    Ok((Upload { metadata, cksum }, spool))
}

/// A stream of chunks from which parts of known length are taken.
struct Body<'a, S, B> {
    stream: Pin<&'a mut S>,
    /// The chunk that was begun.
    chunk: Option<B>,
}

impl<S, B, E> Body<'_, S, B>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    /// The rest of the chunk that was begun, or the next one, never empty; `None` at the end of the body.
    async fn next_chunk(&mut self) -> Result<Option<&mut B>, FrameFault> {
        while !self.chunk.as_ref().is_some_and(Buf::has_remaining) {
            self.chunk = match self.stream.next().await {
                Some(Ok(chunk)) => Some(chunk),
                Some(Err(error)) => return Err(FrameFault::Connection(error.into())),
                None => return Ok(None),
            };
        }
        Ok(self.chunk.as_mut())
    }

    /// As [`Body::next_chunk`], where the body must still have `missing` bytes of `part`.
    async fn need_chunk(&mut self, part: Part, missing: usize) -> Result<&mut B, FrameFault> {
        let chunk = self.next_chunk().await?;
        chunk.ok_or(FrameFault::Truncated { part, missing })
    }

    async fn length(&mut self, part: Part) -> Result<u32, FrameFault> {
        let bytes = self.bytes(part, 4).await?;
        // The length is little endian, so the last byte is the highest.
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |length, byte| length << 8 | u32::from(*byte)))
    }

    /// Takes `length` bytes into memory that grows as they arrive.
    async fn bytes(&mut self, part: Part, length: u32) -> Result<Vec<u8>, FrameFault> {
        let length = length as usize;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let missing = length - bytes.len();
            let chunk = self.need_chunk(part, missing).await?;
            let here = chunk.chunk();
            let taken = here.len().min(missing);
            bytes.extend_from_slice(&here[..taken]);
            chunk.advance(taken);
        }
        Ok(bytes)
    }

    /// Takes `length` bytes to `spool` and hashes them.
    async fn spool(
        &mut self,
        length: u32,
        spool: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Cksum, FrameFault> {
        let mut hasher = Sha256::new();
        let mut missing = length as usize;
        while missing > 0 {
            let chunk = self.need_chunk(Part::Tarball, missing).await?;
            let here = chunk.chunk();
            let taken = here.len().min(missing);
            hasher.update(&here[..taken]);
            spool
                .write_all(&here[..taken])
                .await
                .map_err(FrameFault::Spool)?;
            chunk.advance(taken);
            missing -= taken;
        }
        spool.flush().await.map_err(FrameFault::Spool)?;
        let digest: [u8; 32] = hasher.finalize().into();
        Ok(Cksum::from(digest))
    }
}

/// The two keys that are read, still unread: so a fault can name its key. Other keys are ignored.
#[derive(Deserialize)]
struct RawMetadata<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    vers: Option<&'a RawValue>,
}

fn parse_metadata(bytes: &[u8]) -> Result<Metadata, FrameFault> {
    // Checked here because a JSON reader does not look at the text of keys that it ignores.
    let text = std::str::from_utf8(bytes).map_err(FrameFault::NotUtf8)?;
    // A derived struct would also be read from an array.
    if !text.trim_start().starts_with('{') {
        return Err(FrameFault::Json("it does not start with `{`".to_owned()));
    }
    let raw: RawMetadata<'_> =
        serde_json::from_str(text).map_err(|error| FrameFault::Json(quoted(&error.to_string())))?;
    Ok(Metadata {
        name: read("name", raw.name, MetadataFault::Name),
        version: read("vers", raw.vers, MetadataFault::Version),
    })
}

/// Reads the text of a key; `fault` says that it is not what it should be.
fn read<T: FromStr>(
    key: &'static str,
    value: Option<&RawValue>,
    fault: fn(T::Err) -> MetadataFault,
) -> Result<T, MetadataFault> {
    let value = value.ok_or(MetadataFault::Missing(key))?;
    let text: String =
        serde_json::from_str(value.get()).map_err(|_| MetadataFault::NotAString(key))?;
    text.parse().map_err(fault)
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MetadataLength => "the length of the metadata",
            Self::Metadata => "the metadata",
            Self::TarballLength => "the length of the `.crate` file",
            Self::Tarball => "the `.crate` file",
        })
    }
}

#[cfg(test)]
mod tests;
