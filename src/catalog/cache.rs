//! What was read from `.crate` files, kept on the disk so that a restart need not read them again.
//!
//! The file may be deleted at any time. It is a line that names the commit of its catalog, a line for each file that
//! was read, and the SHA-256 of all that. What it says of a checksum is true for ever, whatever the commit.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::entries::{Entries, Entry};
use super::extract::Extract;
use crate::disk;
use crate::domain::{Cksum, CommitId};

/// The largest file that is written or read, in bytes: room for some hundred thousand crates.
const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The number of this form of the file; one of another form is not read.
const FORM: u32 = 1;

/// A file of what was read from `.crate` files.
#[derive(Debug)]
pub(super) struct CacheFile {
    folder: PathBuf,
}

/// The file cannot be used.
#[derive(Debug, Error)]
pub(super) enum CacheFault {
    /// The system's word.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// More than would ever be written.
    #[error("it is longer than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not what was written.
    #[error("it is damaged")]
    Damaged,
    /// Another version of this program has written it.
    #[error("it has another form")]
    OtherForm,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    catalog: u32,
    commit: Option<CommitId>,
}

/// What one file says.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    cksum: Cksum,
    description: Option<String>,
    keywords: Vec<String>,
}

impl CacheFile {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What was kept, by the checksum of the file; nothing if there is none.
    pub(super) fn load(&self) -> Result<HashMap<Cksum, Extract>, CacheFault> {
        if self.folder.is_dir() {
            disk::remove_leftovers(&self.folder)?;
        }
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(CacheFault::TooLarge);
        }
        parse(&bytes)
    }

    /// Keeps what was read of `entries`, in place of what was kept before.
    pub(super) fn save(&self, entries: &Entries) -> io::Result<()> {
        disk::create_folder(&self.folder)?;
        disk::replace(&self.path(), &bytes_of(entries)?)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("catalog")
    }
}

fn bytes_of(entries: &Entries) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = Head {
        catalog: FORM,
        commit: entries.commit(),
    };
    push_line(&mut bytes, &head)?;
    for (cksum, extract) in entries.iter().filter_map(Entry::read) {
        let before = bytes.len();
        let line = Line {
            cksum: *cksum,
            description: extract.description().map(str::to_owned),
            keywords: extract.keywords().map(str::to_owned).collect(),
        };
        push_line(&mut bytes, &line)?;
        // Crates beyond the bound are read from their files again.
        if bytes.len() > FILE_BYTES_MAX - Cksum::from([0; 32]).to_string().len() {
            bytes.truncate(before);
            break;
        }
    }
    let hash = hash(&bytes);
    bytes.extend_from_slice(hash.to_string().as_bytes());
    Ok(bytes)
}

fn push_line(bytes: &mut Vec<u8>, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *bytes, line)?;
    bytes.push(b'\n');
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<HashMap<Cksum, Extract>, CacheFault> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    let (lines, stated) = bytes.split_at(end.ok_or(CacheFault::Damaged)? + 1);
    if hash(lines).to_string().as_bytes() != stated {
        return Err(CacheFault::Damaged);
    }
    let mut lines = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let head: Head = read_line(lines.next().ok_or(CacheFault::Damaged)?)?;
    if head.catalog != FORM {
        return Err(CacheFault::OtherForm);
    }
    lines
        .map(|line| {
            let line: Line = read_line(line)?;
            let keywords = line.keywords.iter().map(String::as_str);
            let extract = Extract::new(line.description.as_deref(), keywords);
            Ok((line.cksum, extract))
        })
        .collect()
}

fn read_line<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, CacheFault> {
    serde_json::from_slice(line).map_err(|_| CacheFault::OtherForm)
}

fn hash(bytes: &[u8]) -> Cksum {
    Cksum::from(<[u8; 32]>::from(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests;
