//! Entries of the archive, with the headers that describe the next entry applied.
//!
//! The `tar` crate gives the raw headers; it would read long names of any length into memory if it applied them
//! itself. What it and Cargo would read in another way than other programs is refused here.

use std::io::Read;

use tar::{Entries, Entry, EntryType, Header};
use thiserror::Error;

use super::unpacked::Stop;
use super::{TarballFault, quoted};
use crate::domain::Limits;
use crate::publish::faults::Faults;

/// Room for all that a pax header may say besides a path, in bytes.
const PAX_OTHER_BYTES_MAX: usize = 1024;

/// Pax keys that change nothing of what is unpacked where; `path` and `size` are looked at.
const PAX_KEYS: [&str; 10] = [
    "path", "size", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment",
];

/// Why the headers of an entry are refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum HeaderFault {
    /// Neither of the two formats that have a magic number.
    #[error("must have a header in the ustar or the GNU format")]
    Format,
    /// A size in binary, with a sign, or without a digit.
    #[error("must state its size in octal digits alone")]
    Size,
    /// Times, offsets or holes in the place where ustar headers have a part of the path.
    #[error("has a GNU header with fields of sparse or incremental archives")]
    GnuFields,
    /// A folder with a size.
    #[error("is a folder but has data")]
    FolderWithData,
    /// Two headers that describe one entry.
    #[error("is the second long name or pax header for one entry")]
    SecondExtension,
    /// A header that describes an entry at too great a length.
    #[error("is longer than {0} bytes")]
    ExtensionTooLarge(usize),
    /// Records that are not `<length> <key>=<value>` with a line feed.
    #[error("has malformed pax records")]
    Pax,
    /// A key that is not in the short list of harmless ones, or one that is there twice.
    #[error("has the pax key `{0}` twice, or it is not allowed; `cargo package` needs no pax keys")]
    PaxKey(String),
    /// Readers would disagree where the next entry starts.
    #[error("has another size in its pax header than in its own")]
    PaxSize,
}

/// A file or a folder of the archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) is_folder: bool,
    /// The length of its data in bytes.
    pub(super) size: u64,
}

/// What a header says of the entry behind it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Walks through files and folders; other kinds of entries become faults.
pub(super) struct EntryReader<'a, R: Read> {
    entries: Entries<'a, R>,
    limits: &'a Limits,
    count: u32,
    passed_over: bool,
}

impl Member {
    /// The path as a sentence may quote it.
    pub(super) fn shown(&self) -> String {
        quoted(&String::from_utf8_lossy(&self.path))
    }
}

impl<'a, R: Read> EntryReader<'a, R> {
    pub(super) fn new(entries: Entries<'a, R>, limits: &'a Limits) -> Self {
        Self {
            // Raw: no entry is read or applied to another one behind our back.
            entries: entries.raw(true),
            limits,
            count: 0,
            passed_over: false,
        }
    }

    /// The next file or folder with the reader of its data; `None` at the first block of zeros.
    pub(super) fn next(
        &mut self,
        faults: &mut Faults<TarballFault>,
    ) -> Result<Option<(Member, Entry<'a, R>)>, Stop> {
        let mut extension: Option<Extension> = None;
        while let Some(entry) = self.entries.next() {
            let mut entry = entry?;
            // After such a header the rest may be read in several ways: it is not looked at.
            check_header(entry.header()).map_err(|fault| refuse(&entry, fault))?;
            let kind = entry.header().entry_type();
            if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
                if extension.is_some() {
                    return Err(refuse(&entry, HeaderFault::SecondExtension));
                }
                extension = Some(self.read_extension(&mut entry)?);
                continue;
            }
            self.count += 1;
            if self.count > self.limits.entries_max {
                return Err(TarballFault::TooManyEntries(self.limits.entries_max).into());
            }
            let extension = extension.take().unwrap_or_default();
            if extension.size.is_some_and(|size| size != entry.size()) {
                return Err(refuse(&entry, HeaderFault::PaxSize));
            }
            let member = Member {
                path: extension
                    .path
                    .unwrap_or_else(|| entry.path_bytes().into_owned()),
                is_folder: kind.is_dir(),
                size: entry.size(),
            };
            let Some(kind) = refused_kind(kind) else {
                return Ok(Some((member, entry)));
            };
            let path = member.shown();
            faults.add(TarballFault::Kind { path, kind });
            self.passed_over = true;
        }
        match extension {
            Some(_) => Err(TarballFault::Orphan.into()),
            None => Ok(None),
        }
    }

    /// Whether some entry was neither a file nor a folder.
    pub(super) fn has_passed_over(&self) -> bool {
        self.passed_over
    }

    /// Reads what a header says of the next entry, if it is not longer than the longest path needs.
    fn read_extension(&self, entry: &mut Entry<'a, R>) -> Result<Extension, Stop> {
        let max = self.limits.path_bytes_max + PAX_OTHER_BYTES_MAX;
        if entry.size() > max as u64 {
            return Err(refuse(entry, HeaderFault::ExtensionTooLarge(max)));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if entry.header().entry_type().is_gnu_longname() {
            return Ok(long_name(bytes));
        }
        pax(&bytes).map_err(|fault| refuse(entry, fault))
    }
}

fn refuse<R: Read>(entry: &Entry<'_, R>, fault: HeaderFault) -> Stop {
    let path = quoted(&String::from_utf8_lossy(&entry.path_bytes()));
    Stop::Fault(TarballFault::Header { path, fault })
}

fn check_header(header: &Header) -> Result<(), HeaderFault> {
    let bytes = header.as_bytes();
    if header.as_gnu().is_some() {
        // Some readers take this region for a part of the path, as it is in ustar headers.
        if bytes[345..].iter().any(|byte| *byte != 0) {
            return Err(HeaderFault::GnuFields);
        }
    } else if header.as_ustar().is_none() {
        return Err(HeaderFault::Format);
    }
    let field = &header.as_old().size;
    let digits = field
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'7'))
        .count();
    if digits == 0 || field[digits..].iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return Err(HeaderFault::Size);
    }
    if header.entry_type().is_dir() && field[..digits].iter().any(|digit| *digit != b'0') {
        return Err(HeaderFault::FolderWithData);
    }
    Ok(())
}

/// What to call an entry that is neither a file nor a folder.
fn refused_kind(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular | EntryType::Directory => None,
        EntryType::Link => Some("a hard link"),
        EntryType::Symlink => Some("a symbolic link"),
        EntryType::Char | EntryType::Block => Some("a device"),
        EntryType::Fifo => Some("a pipe"),
        EntryType::Continuous => Some("a contiguous file"),
        EntryType::GNUSparse => Some("a sparse file"),
        EntryType::GNULongLink => Some("the long target of a link"),
        EntryType::XGlobalHeader => Some("a global pax header"),
        _ => Some("an entry of an unknown type"),
    }
}

/// GNU's form: the path and a NUL.
fn long_name(mut bytes: Vec<u8>) -> Extension {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Extension {
        path: Some(bytes),
        size: None,
    }
}

/// Reads pax records, which are lines of `<length> <key>=<value>`
/// ([POSIX pax](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html)).
///
/// A line feed inside a value is allowed there, but the `tar` crate ends the value at it.
fn pax(mut records: &[u8]) -> Result<Extension, HeaderFault> {
    let mut extension = Extension::default();
    let mut seen = Vec::new();
    while !records.is_empty() {
        let (key, value, rest) = pax_record(records).ok_or(HeaderFault::Pax)?;
        if seen.contains(&key) || !PAX_KEYS.contains(&key) {
            return Err(HeaderFault::PaxKey(quoted(key)));
        }
        seen.push(key);
        match key {
            "path" => extension.path = Some(value.to_vec()),
            "size" => extension.size = Some(decimal(value).ok_or(HeaderFault::Pax)?),
            _ => {}
        }
        records = rest;
    }
    Ok(extension)
}

/// The first record's key and value, and the records behind it.
fn pax_record(records: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let (line_feed, pair) = record.get(space + 1..)?.split_last()?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let key = std::str::from_utf8(&pair[..equals]).ok()?;
    let is_one_line = *line_feed == b'\n' && !pair.contains(&b'\n');
    is_one_line.then_some((key, &pair[equals + 1..], rest))
}

/// A number in digits alone, without a sign or a leading zero.
fn decimal(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
