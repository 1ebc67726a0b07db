//! Versions of a crate, with and without build metadata.

use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The longest version that a crate may have, in bytes: it also bounds file names.
pub const VERSION_BYTES_MAX: usize = 150;

/// A semantic version as published, build metadata included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CrateVersion(Version);

/// A version without its build metadata: a crate may have each only once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionKey(Version);

/// Why a text is not a version.
#[derive(Debug, Error)]
pub enum VersionFault {
    /// More than [`VERSION_BYTES_MAX`] bytes.
    #[error("the version `{0}…` is longer than {VERSION_BYTES_MAX} characters")]
    TooLong(String),
    /// Not a semantic version.
    #[error("`{text}` is not a semantic version: {source}")]
    Syntax { text: String, source: semver::Error },
}

impl CrateVersion {
    /// The version that decides uniqueness.
    pub fn key(&self) -> VersionKey {
        VersionKey(Version {
            build: BuildMetadata::EMPTY,
            ..self.0.clone()
        })
    }

    /// The parsed parts.
    pub fn semver(&self) -> &Version {
        &self.0
    }
}

impl VersionKey {
    /// How `version` compares with this one, build metadata left aside.
    pub fn precedence_of(&self, version: &CrateVersion) -> std::cmp::Ordering {
        version.0.cmp_precedence(&self.0)
    }

    /// Whether this is a pre-release such as `1.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl FromStr for CrateVersion {
    type Err = VersionFault;

    fn from_str(text: &str) -> Result<Self, VersionFault> {
        if text.len() > VERSION_BYTES_MAX {
            return Err(VersionFault::TooLong(super::excerpt(
                &text.chars().take(40).collect::<String>(),
            )));
        }
        match Version::parse(text) {
            Ok(version) => Ok(Self(version)),
            Err(source) => Err(VersionFault::Syntax {
                text: super::excerpt(text),
                source,
            }),
        }
    }
}

impl fmt::Display for CrateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for VersionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for CrateVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CrateVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}
