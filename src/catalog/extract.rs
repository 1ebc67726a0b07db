//! What a manifest inside a `.crate` file says for people, read leniently and within bounds.
//!
//! The archive was judged when it was published. Here only its manifest is looked for, and one that is not as it
//! should be costs nothing but its own text.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use thiserror::Error;
use toml::Value;

use crate::domain::read_document;

/// How far an archive is unpacked to find its manifest, in bytes: Cargo packs it among the first files.
const UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The largest manifest that is read, in bytes.
const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The longest description that is kept, in bytes; the rest of a longer one is left out.
const DESCRIPTION_BYTES_MAX: usize = 1024;
/// The most keywords that are kept.
const KEYWORDS_MAX: usize = 20;
/// The longest keyword that is kept, in bytes.
const KEYWORD_BYTES_MAX: usize = 64;

/// What a release says of itself, for people: one line each, nothing in it that turns or breaks a line.
///
/// It is one text: the description, empty if there is none, and behind it the keywords, each after a line break. A clone
/// shares it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extract(Arc<str>);

/// A `.crate` file tells nothing.
#[derive(Debug, Error)]
pub(super) enum ExtractFault {
    /// The file or the archive in it.
    #[error("the crate file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// No manifest where Cargo packs it.
    #[error("there is no manifest in the first {UNPACKED_BYTES_MAX} bytes of the archive")]
    NoManifest,
    /// A manifest that nobody wrote by hand.
    #[error("the manifest is {0} bytes long; at most {MANIFEST_BYTES_MAX} bytes are read")]
    TooLarge(u64),
    /// A manifest that is not TOML.
    #[error("the manifest cannot be understood: {0}")]
    Manifest(String),
}

/// The part of a manifest that is for people; what has another type than Cargo's says nothing.
#[derive(Deserialize)]
struct Manifest {
    package: Option<Value>,
}

impl Extract {
    /// Bounds both texts.
    pub fn new<'a>(description: Option<&str>, keywords: impl IntoIterator<Item = &'a str>) -> Self {
        let mut text = one_line(description.unwrap_or_default(), DESCRIPTION_BYTES_MAX);
        let keywords = keywords
            .into_iter()
            .filter(|keyword| keyword.len() <= KEYWORD_BYTES_MAX)
            .map(|keyword| one_line(keyword, KEYWORD_BYTES_MAX))
            .filter(|keyword| !keyword.is_empty());
        for keyword in keywords.take(KEYWORDS_MAX) {
            text.push('\n');
            text.push_str(&keyword);
        }
        Self(text.into())
    }

    /// What the crate is, if its manifest says so.
    pub fn description(&self) -> Option<&str> {
        self.0.split('\n').next().filter(|text| !text.is_empty())
    }

    /// The words by which it wants to be found.
    pub fn keywords(&self) -> impl Iterator<Item = &str> {
        self.0.split('\n').skip(1)
    }

    /// Reads the manifest of a `.crate` file.
    pub(super) fn read(file: impl Read) -> Result<Self, ExtractFault> {
        let manifest: Manifest = read_document(&manifest_of(file)?)
            .map_err(|fault| ExtractFault::Manifest(one_line(&fault.to_string(), 200)))?;
        let package = manifest.package;
        let get = |key: &str| package.as_ref()?.get(key);
        let keywords = get("keywords").and_then(Value::as_array);
        Ok(Self::new(
            get("description").and_then(Value::as_str),
            keywords.into_iter().flatten().filter_map(Value::as_str),
        ))
    }
}

/// The text of the first `Cargo.toml` in a top folder.
fn manifest_of(file: impl Read) -> Result<String, ExtractFault> {
    let unpacked = GzDecoder::new(BufReader::new(file)).take(UNPACKED_BYTES_MAX);
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries()? {
        let entry = entry?;
        if !is_manifest(&entry.path_bytes()) || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > MANIFEST_BYTES_MAX {
            return Err(ExtractFault::TooLarge(entry.size()));
        }
        let mut text = String::new();
        entry.take(MANIFEST_BYTES_MAX).read_to_string(&mut text)?;
        return Ok(text);
    }
    Err(ExtractFault::NoManifest)
}

fn is_manifest(path: &[u8]) -> bool {
    let mut parts = path.splitn(2, |byte| *byte == b'/');
    let (_top, inside) = (parts.next(), parts.next());
    inside.is_some_and(|inside| inside.eq_ignore_ascii_case(b"Cargo.toml"))
}

/// The text with single blanks between its words and without characters that control a terminal or turn a line.
fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let before = line.len();
        if before > 0 {
            line.push(' ');
        }
        let blank_end = line.len();
        line.extend(word.chars().filter(|c| !turns_line(*c)));
        if line.len() == blank_end {
            line.truncate(before);
        }
        if line.len() > bytes_max {
            let end = line.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

/// Unicode's direction marks and its mark of byte order.
fn turns_line(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
