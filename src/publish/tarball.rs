//! The `.crate` file: a gzip member with a tar archive in it, read once and never unpacked.
//!
//! The rules are stricter than those of Cargo, which unpacks these files on every machine that builds: an archive
//! that two programs could read differently is refused, and so is all that Cargo would skip, follow or overwrite.
//! Memory is bounded by the limits: entries are read raw, and what describes the next entry is read only up to the
//! longest path.

mod entry;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod path;
mod unpacked;

use std::io::{self, Read};

use serde::Deserialize;
use thiserror::Error;

use self::entry::{EntryReader, Member};
use self::path::{Key, Paths};
use self::unpacked::{Stop, Unpacked};
use super::faults::{Faults, quoted};
use super::files::Files;
use super::frame::Metadata;
use crate::domain::Limits;

pub use self::entry::HeaderFault;
pub use self::path::PathFault;

/// The longest `.cargo_vcs_info.json` that is read, in bytes.
const VCS_INFO_BYTES_MAX: u64 = 64 * 1024;

/// What was found in a `.crate` file.
#[derive(Debug)]
pub struct Inspected {
    /// All that is wrong with the archive: nothing if it is sound, and then the manifest is there.
    pub faults: Faults<TarballFault>,
    /// The text of `Cargo.toml`, if it could be read.
    pub manifest: Option<String>,
    /// Its files, if all are known: nothing was left out, and the archive could be read to its end.
    pub files: Option<Files>,
    /// What is odd but allowed: a sentence each, few in number.
    pub warnings: Vec<String>,
    /// The commit from which it was packed, as `.cargo_vcs_info.json` says it: 40 or 64 hexadecimal digits.
    ///
    /// It is the uploader's word and proves nothing.
    pub source_commit: Option<String>,
}

/// What is wrong with a `.crate` file.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum TarballFault {
    /// Not gzip, or damaged.
    #[error("the `.crate` file is not a gzip stream: {0}")]
    Gzip(String),
    /// Bytes behind the gzip member, another member perhaps.
    #[error("the `.crate` file goes on after its gzip stream; there must be exactly one")]
    AfterGzip,
    /// More unpacked bytes than allowed.
    #[error(
        "the `.crate` file unpacks to more than {0} bytes; leave out what a build does not need (`package.exclude`)"
    )]
    UnpackedTooLarge(u64),
    /// More entries than allowed.
    #[error(
        "the archive has more than {0} entries; leave out what a build does not need (`package.exclude`)"
    )]
    TooManyEntries(u32),
    /// Not a tar archive, or damaged.
    #[error("the archive is not a tar file: {0}")]
    Tar(String),
    /// No two blocks of zeros at the end, or something else behind them.
    #[error("the archive must end with two blocks of 512 zeros, and nothing but zeros may follow")]
    End,
    /// The headers of an entry.
    #[error("the entry `{path}` {fault}")]
    Header { path: String, fault: HeaderFault },
    /// A header that describes an entry, and no entry.
    #[error(
        "the archive ends with a long name or pax header; the entry that it describes is missing"
    )]
    Orphan,
    /// The path of an entry.
    #[error("the path `{path}` {fault}")]
    Path { path: String, fault: PathFault },
    /// Neither a file nor a folder.
    #[error("`{path}` is {kind}; only regular files and folders are allowed")]
    Kind { path: String, kind: &'static str },
    /// The same path twice.
    #[error("`{0}` is in the archive twice; a path stands for one file")]
    Twice(String),
    /// Two paths that are one file on Windows or macOS.
    #[error(
        "`{0}` and `{1}` differ only in case, in how accents are written, in invisible characters, or in dots or spaces at the end of a name, and would be one file on Windows or macOS; leave one out or rename it"
    )]
    Twins(String, String),
    /// A file with files in it.
    #[error("`{file}` is a file, but `{inside}` needs a folder there; rename one")]
    FileAsFolder { file: String, inside: String },
    /// No manifest in the top folder.
    #[error("there is no `{0}Cargo.toml`; `cargo package` puts it there")]
    NoManifest(String),
    /// A manifest with a spelling that Cargo does not read.
    #[error("the manifest must be spelled `Cargo.toml`, not `{0}`")]
    ManifestSpelling(String),
    /// A manifest that is too long.
    #[error("the manifest is {bytes} bytes long; at most {max} bytes are allowed")]
    ManifestTooLarge { bytes: u64, max: u64 },
    /// A file that is too long.
    #[error("`{path}` unpacks to {bytes} bytes; at most {max} bytes are allowed for one file")]
    FileTooLarge { path: String, bytes: u64, max: u64 },
    /// A manifest that is not text.
    #[error("the manifest is not UTF-8, as TOML must be")]
    ManifestNotUtf8,
    /// The file by which Cargo marks what it has unpacked.
    #[error("`{0}` is reserved: by it Cargo marks the crates that it has unpacked; leave it out")]
    CargoOk(String),
}

/// Reads a `.crate` file to its end and judges it; all faults are found unless one makes the rest unreadable.
///
/// Where the upload does not say name and version, the first folder of the archive is the one that must hold all.
///
/// # Errors
///
/// `file`'s own: it could not be read.
pub fn inspect(file: impl Read, upload: &Metadata, limits: &Limits) -> io::Result<Inspected> {
    let release = upload.release();
    let mut inspection = Inspection {
        top: release.map(|(name, version)| format!("{name}-{version}/")),
        limits,
        is_whole: false,
        has_gaps: false,
        paths: Paths::default(),
        has_manifest: false,
        manifest: None,
        source_commit: None,
        faults: Faults::none(),
    };
    match inspection.read(file) {
        Ok(()) => {}
        Err(Stop::Fault(fault)) => inspection.faults.add(fault),
        Err(Stop::File(error)) => return Err(error),
    }
    Ok(inspection.verdict())
}

/// What has been seen so far.
struct Inspection<'a> {
    /// The folder that must hold everything, with its slash, once it is known.
    top: Option<String>,
    limits: &'a Limits,
    /// Whether the last entry was seen.
    is_whole: bool,
    /// Whether an entry was left out.
    has_gaps: bool,
    paths: Paths,
    has_manifest: bool,
    manifest: Option<String>,
    source_commit: Option<String>,
    faults: Faults<TarballFault>,
}

impl Inspection<'_> {
    fn read(&mut self, file: impl Read) -> Result<(), Stop> {
        let mut unpacked = Unpacked::new(file, self.limits.unpacked_bytes_max);
        let mut archive = tar::Archive::new(&mut unpacked);
        let mut entries = EntryReader::new(archive.entries()?, self.limits);
        while let Some((member, data)) = entries.next(&mut self.faults)? {
            self.take(&member, data)?;
        }
        self.is_whole = true;
        self.has_gaps |= entries.has_passed_over();
        read_end(&mut unpacked)?;
        if unpacked.is_followed()? {
            return Err(TarballFault::AfterGzip.into());
        }
        Ok(())
    }

    /// Judges one member and reads it if it is one of the two files that matter.
    fn take(&mut self, member: &Member, data: impl Read) -> Result<(), Stop> {
        let path = match path::check(member, self.top.as_deref(), self.limits.path_bytes_max) {
            Ok(path) => path,
            Err(fault) => {
                let path = member.shown();
                self.faults.add(TarballFault::Path { path, fault });
                self.has_gaps = true;
                return Ok(());
            }
        };
        let (top, inside) = path.split_once('/').unwrap_or((path, ""));
        self.top.get_or_insert_with(|| format!("{top}/"));
        let key = Key::of(path);
        let (is_cargo_ok, is_manifest) = (key.has_part(".cargo-ok"), key.is_at_top("cargo.toml"));
        self.paths.add(path, key, member.is_folder);
        if is_cargo_ok {
            self.faults.add(TarballFault::CargoOk(member.shown()));
        } else if member.is_folder {
            // A folder has nothing to read.
        } else if is_manifest {
            // Cargo looks for this spelling alone where the file system tells them apart.
            if inside != "Cargo.toml" {
                let shown = member.shown();
                self.faults.add(TarballFault::ManifestSpelling(shown));
            }
            self.has_manifest = true;
            self.manifest = self.read_manifest(member.size, data)?;
        } else if member.size > self.limits.file_bytes_max {
            self.faults.add(TarballFault::FileTooLarge {
                path: member.shown(),
                bytes: member.size,
                max: self.limits.file_bytes_max,
            });
        } else if inside == ".cargo_vcs_info.json" {
            self.source_commit = read_source_commit(data)?;
        }
        Ok(())
    }

    /// The text of the manifest, or nothing beside a fault.
    fn read_manifest(&mut self, bytes: u64, mut data: impl Read) -> Result<Option<String>, Stop> {
        let max = self.limits.manifest_bytes_max;
        if bytes > max {
            self.faults
                .add(TarballFault::ManifestTooLarge { bytes, max });
            return Ok(None);
        }
        let mut text = Vec::new();
        data.read_to_end(&mut text)?;
        let text = String::from_utf8(text);
        if text.is_err() {
            self.faults.add(TarballFault::ManifestNotUtf8);
        }
        Ok(text.ok())
    }

    fn verdict(mut self) -> Inspected {
        self.paths.judge(&mut self.faults);
        if self.is_whole && !self.has_manifest {
            self.faults
                .add(TarballFault::NoManifest(self.top.unwrap_or_default()));
        }
        let knows_all = self.is_whole && !self.has_gaps;
        Inspected {
            faults: self.faults,
            warnings: self.paths.warnings(),
            manifest: self.manifest,
            files: knows_all.then(|| self.paths.into_files()),
            source_commit: self.source_commit,
        }
    }
}

/// Reads what follows the first block of zeros: at least one more, and no byte but zeros.
fn read_end(rest: &mut impl Read) -> Result<(), Stop> {
    let mut buffer = [0; 8192];
    let mut length = 0;
    loop {
        let read = rest.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Err(TarballFault::End.into());
        }
        length += read;
    }
    // Without any block of zeros the reader stops at the end of the stream, and nothing is left here either.
    if length == 0 || length % 512 != 0 {
        return Err(TarballFault::End.into());
    }
    Ok(())
}

/// Reads the commit leniently: a file that is not as Cargo writes it is no fault, it only tells nothing.
fn read_source_commit(data: impl Read) -> io::Result<Option<String>> {
    #[derive(Deserialize)]
    struct VcsInfo {
        git: Git,
    }
    #[derive(Deserialize)]
    struct Git {
        sha1: String,
    }
    let mut text = Vec::new();
    data.take(VCS_INFO_BYTES_MAX).read_to_end(&mut text)?;
    let is_commit = |sha1: &String| {
        matches!(sha1.len(), 40 | 64)
            && sha1
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    Ok(serde_json::from_slice(&text)
        .ok()
        .map(|info: VcsInfo| info.git.sha1)
        .filter(is_commit))
}

#[cfg(test)]
mod tests;
