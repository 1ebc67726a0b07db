//! Index lines: one release each, as canonical bytes.
//!
//! The format is that of the [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-index.html#json-schema).
//! A line has exactly one spelling: keys in the order of [`IndexLine`], defaults written out, then keys that this
//! version of Sidecargo does not know, their values byte for byte as they were.
//! How long a line may be is for those to say who take one in.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::dependency::Dependency;
use super::feature::{self, Features};
use super::hash::Cksum;
use super::keys::{Keys, Unknown};
use super::name::CrateName;
use super::time::PubTime;
use super::version::{CrateVersion, VersionKey};

/// The longest reason why bytes are not a line, in characters.
const REASON_CHARS_MAX: usize = 500;

/// The version of the line format that says: this line has `features2`.
const FORMAT_WITH_FEATURES2: u32 = 2;

/// One release, in the order of keys in which it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexLine {
    /// The crate, as it is spelled.
    pub name: CrateName,
    /// The version, build metadata included.
    pub vers: CrateVersion,
    /// Sorted by name, kind, platform and requirement.
    pub deps: Vec<Dependency>,
    /// SHA-256 of the `.crate` file.
    pub cksum: Cksum,
    /// Features that every Cargo reads.
    pub features: Features,
    /// Features that need Cargo 1.60: `dep:` and `?/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features2: Option<Features>,
    /// Whether new lock files must not choose it.
    pub yanked: bool,
    /// The native library that it links.
    pub links: Option<String>,
    /// The oldest Rust that it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rust_version: Option<String>,
    /// When it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pubtime: Option<PubTime>,
    /// The version of the line format; none means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v: Option<u32>,
    /// Keys that this version of Sidecargo does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What a reader of the index file looks up: the cheap part of a line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LineHead {
    /// The crate, as it is spelled.
    pub name: CrateName,
    /// The version.
    pub vers: CrateVersion,
    /// SHA-256 of the `.crate` file.
    pub cksum: Cksum,
    /// Whether it is yanked.
    #[serde(default, deserialize_with = "null_is_false")]
    pub yanked: bool,
}

/// The bytes of one crate's index file: lines that each end in a line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexFile<'a>(&'a [u8]);

/// Why bytes are not an index line.
#[derive(Debug, Error)]
#[error("not an index line: {0}")]
pub struct LineFault(String);

impl IndexLine {
    /// A new release's line: dependencies are put in order, features parted as Cargo before 1.60 needs it.
    pub fn new(
        name: CrateName,
        vers: CrateVersion,
        mut deps: Vec<Dependency>,
        features: Features,
        cksum: Cksum,
        pubtime: PubTime,
    ) -> Self {
        deps.sort_by_cached_key(Dependency::place);
        let (features, features2) = feature::split(features);
        let features2 = (!features2.is_empty()).then_some(features2);
        Self {
            name,
            vers,
            deps,
            cksum,
            features,
            v: features2.is_some().then_some(FORMAT_WITH_FEATURES2),
            features2,
            yanked: false,
            links: None,
            rust_version: None,
            pubtime: Some(pubtime),
            unknown: Unknown::default(),
        }
    }

    /// Reads one line, with or without its line feed.
    pub fn parse(bytes: &[u8]) -> Result<Self, LineFault> {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        // JSON may hold line feeds between its tokens, and values that are kept as they are would keep them.
        if text.contains(&b'\n') {
            return Err(serde_json::Error::custom("it contains a line feed").into());
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// The canonical bytes, line feed included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec(self).expect("a line has only text keys and writes to memory");
        bytes.push(b'\n');
        bytes
    }
}

impl<'a> IndexFile<'a> {
    /// Looks at the bytes of a file.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The lines, each with its line feed.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.split_inclusive(|byte| *byte == b'\n')
    }

    /// The cheap part of each line.
    pub fn heads(&self) -> impl Iterator<Item = Result<LineHead, LineFault>> + use<'a> {
        self.lines().map(|line| Ok(serde_json::from_slice(line)?))
    }

    /// The file with `line` at its end.
    pub fn with(&self, line: &IndexLine) -> Vec<u8> {
        let is_ended = self.0.last().is_none_or(|byte| *byte == b'\n');
        let end: &[u8] = if is_ended { b"" } else { b"\n" };
        [self.0, end, &line.to_bytes()].concat()
    }

    /// The file with `yanked` of one version set so; `None` if there is no such version.
    ///
    /// The version is found by its key, so build metadata need not be named. A line that already says so stays as it
    /// is.
    pub fn with_yanked(
        &self,
        version: &VersionKey,
        yanked: bool,
    ) -> Result<Option<Vec<u8>>, LineFault> {
        let mut found = false;
        let mut bytes = Vec::with_capacity(self.0.len() + 1);
        for line in self.lines() {
            let head: LineHead = serde_json::from_slice(line)?;
            let is_meant = head.vers.key() == *version;
            found |= is_meant;
            if is_meant && head.yanked != yanked {
                let mut changed = IndexLine::parse(line)?;
                changed.yanked = yanked;
                bytes.extend(changed.to_bytes());
            } else {
                bytes.extend(line);
            }
        }
        Ok(found.then_some(bytes))
    }
}

/// The parser quotes what it has read, whatever that is.
impl From<serde_json::Error> for LineFault {
    fn from(error: serde_json::Error) -> Self {
        Self(super::harmless(&error.to_string(), REASON_CHARS_MAX))
    }
}

impl<'de> Deserialize<'de> for IndexLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = Keys::deserialize(deserializer)?;
        let as_map = |UniqueFeatures(features)| features;
        Ok(Self {
            name: keys.need("name")?,
            vers: keys.need("vers")?,
            deps: keys.need("deps")?,
            cksum: keys.need("cksum")?,
            features: keys.take("features")?.map(as_map).unwrap_or_default(),
            features2: keys.take("features2")?.map(as_map),
            yanked: keys.take("yanked")?.unwrap_or_default(),
            links: keys.take("links")?,
            rust_version: keys.take("rust_version")?,
            pubtime: keys.take("pubtime")?,
            v: keys.take("v")?,
            unknown: keys.rest(),
        })
    }
}

/// Features whose names differ: readers would not agree which of two to take.
struct UniqueFeatures(Features);

impl<'de> Deserialize<'de> for UniqueFeatures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Keys::deserialize(deserializer)?.read_all().map(Self)
    }
}

fn null_is_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
