//! Index lines: one release each, as canonical bytes.
//!
//! The format is that of the [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-index.html#json-schema).
//! A line has exactly one spelling: keys in the order of [`IndexLine`], defaults written out, then keys that this
//! version of Sidecargo does not know, byte for byte as they were.

use std::collections::BTreeSet;
use std::fmt;

use semver::VersionReq;
use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::dependency::Dependency;
use super::feature::{self, Features};
use super::hash::Cksum;
use super::name::CrateName;
use super::time::PubTime;
use super::version::{CrateVersion, VersionKey};

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

/// Keys and raw values that are kept but not understood, in their order.
#[derive(Clone, Default)]
pub struct Unknown(Vec<(String, Box<RawValue>)>);

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
    #[serde(default)]
    pub yanked: bool,
}

/// The bytes of one crate's index file: lines that each end in a line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexFile<'a>(&'a [u8]);

/// Why bytes are not an index line.
#[derive(Debug, Error)]
#[error("not an index line: {0}")]
pub struct LineFault(#[from] serde_json::Error);

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
        deps.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
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
        Ok(serde_json::from_slice(bytes)?)
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
        [self.0, &line.to_bytes()].concat()
    }

    /// The file with `yanked` of one version set so; `None` if there is no such version.
    ///
    /// The version is found by its key, so build metadata need not be named.
    pub fn with_yanked(
        &self,
        version: &VersionKey,
        yanked: bool,
    ) -> Result<Option<Vec<u8>>, LineFault> {
        let mut found = false;
        let mut bytes = Vec::with_capacity(self.0.len() + 1);
        for line in self.lines() {
            let head: LineHead = serde_json::from_slice(line)?;
            if head.vers.key() == *version {
                let mut changed = IndexLine::parse(line)?;
                changed.yanked = yanked;
                bytes.extend(changed.to_bytes());
                found = true;
            } else {
                bytes.extend(line);
            }
        }
        Ok(found.then_some(bytes))
    }
}

impl PartialEq for Unknown {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|(a, b)| a.0 == b.0 && a.1.get() == b.1.get())
    }
}

impl Eq for Unknown {}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(key, value)| (key, value.get())))
            .finish()
    }
}

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// The keys of an object with their raw values, each key once.
struct Keys(Vec<(String, Box<RawValue>)>);

impl Keys {
    /// Removes a key and reads its value; `None` if it is missing or null.
    fn take<T: DeserializeOwned, E: de::Error>(&mut self, key: &str) -> Result<Option<T>, E> {
        let Some(at) = self.0.iter().position(|(name, _)| name == key) else {
            return Ok(None);
        };
        let (_, raw) = self.0.remove(at);
        serde_json::from_str(raw.get()).map_err(|error| E::custom(format!("`{key}`: {error}")))
    }

    /// As [`Keys::take`], for a key without which the object means nothing.
    fn need<T: DeserializeOwned, E: de::Error>(&mut self, key: &'static str) -> Result<T, E> {
        self.take(key)?.ok_or_else(|| E::missing_field(key))
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;

        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut seen = BTreeSet::new();
                let mut keys = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!("the key `{key}` appears twice")));
                    }
                    keys.push((key, value));
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(KeysVisitor)
    }
}

impl<'de> Deserialize<'de> for IndexLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = Keys::deserialize(deserializer)?;
        Ok(Self {
            name: keys.need("name")?,
            vers: keys.need("vers")?,
            deps: keys.need("deps")?,
            cksum: keys.need("cksum")?,
            features: keys.take("features")?.unwrap_or_default(),
            features2: keys.take("features2")?,
            yanked: keys.take("yanked")?.unwrap_or_default(),
            links: keys.take("links")?,
            rust_version: keys.take("rust_version")?,
            pubtime: keys.take("pubtime")?,
            v: keys.take("v")?,
            unknown: Unknown(keys.0),
        })
    }
}

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = Keys::deserialize(deserializer)?;
        let req: VersionReq = keys.need("req")?;
        Ok(Self {
            name: keys.need("name")?,
            req,
            features: keys.take("features")?.unwrap_or_default(),
            optional: keys.take("optional")?.unwrap_or_default(),
            default_features: keys.take("default_features")?.unwrap_or(true),
            target: keys.take("target")?,
            kind: keys
                .take("kind")?
                .unwrap_or(super::dependency::DependencyKind::Normal),
            registry: keys.take("registry")?,
            package: keys.take("package")?,
            unknown: Unknown(keys.0),
        })
    }
}
