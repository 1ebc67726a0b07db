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
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VersionFault {
    /// More than [`VERSION_BYTES_MAX`] bytes.
    #[error("the version `{0}…` is longer than {VERSION_BYTES_MAX} characters")]
    TooLong(String),
    /// Not a semantic version.
    #[error("`{text}` is not a semantic version: {reason}")]
    Syntax { text: String, reason: String },
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
            Err(error) => Err(VersionFault::Syntax {
                text: super::excerpt(text),
                reason: error.to_string(),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    fn version(text: &str) -> CrateVersion {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn a_version_is_written_as_it_was_read(version in arbitrary::version()) {
            prop_assert_eq!(version.to_string().parse::<CrateVersion>().unwrap(), version);
        }

        #[test]
        fn the_key_ignores_build_metadata_and_nothing_else(
            a in arbitrary::version(),
            b in arbitrary::version(),
            build in "[a-z0-9]{1,6}",
        ) {
            let bare = a.key().to_string();
            prop_assert_eq!(version(&format!("{bare}+{build}")).key(), a.key());
            let (a, b) = (a.semver(), b.semver());
            prop_assert_eq!(
                (a.major, a.minor, a.patch, &a.pre) == (b.major, b.minor, b.patch, &b.pre),
                CrateVersion(a.clone()).key() == CrateVersion(b.clone()).key()
            );
            prop_assert_eq!(
                a.cmp_precedence(b),
                CrateVersion(a.clone()).key().cmp(&CrateVersion(b.clone()).key()),
                "keys are ordered as Cargo prefers versions"
            );
        }

        #[test]
        fn precedence_is_the_order_of_keys(a in arbitrary::version(), b in arbitrary::version()) {
            prop_assert_eq!(a.key().precedence_of(&b), b.key().cmp(&a.key()));
        }

        #[test]
        fn no_text_makes_it_panic(text in arbitrary::text()) {
            if let Err(fault) = text.parse::<CrateVersion>() {
                prop_assert!(!fault.to_string().contains(char::is_control), "{}", fault);
            }
        }
    }

    #[test]
    fn order_is_that_of_semver() {
        let ordered = [
            "0.0.1",
            "0.9.0",
            "0.10.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-rc.2",
            "1.0.0-rc.10",
            "1.0.0",
            "1.0.1",
            "18446744073709551615.0.0",
        ];
        assert!(ordered.map(|text| version(text).key()).is_sorted());
        assert!(version("1.0.0-rc.1").key().is_prerelease());
        assert!(!version("1.0.0+rc.1").key().is_prerelease());
        assert_eq!(version("1.0.7+x.y").to_string(), "1.0.7+x.y");
        assert_eq!(version("1.0.7+x.y").key().to_string(), "1.0.7");
    }

    #[test]
    fn a_version_has_at_most_150_bytes() {
        let of_length = |length: usize| format!("1.0.0-{}", "a".repeat(length - 6));
        assert_eq!(version(&of_length(150)).to_string().len(), 150);
        let fault = of_length(151).parse::<CrateVersion>().unwrap_err();
        assert_eq!(
            fault.to_string(),
            format!(
                "the version `1.0.0-{}…` is longer than 150 characters",
                "a".repeat(34)
            )
        );
    }

    #[test]
    fn what_is_no_semantic_version_is_refused_with_the_reason() {
        for text in [
            "",
            "1",
            "1.0",
            "v1.0.0",
            "01.0.0",
            "1.0.0-",
            "1.0.0+",
            "1.0.0 ",
            "1.0.0-ä",
            "1.0.0/../x",
            "18446744073709551616.0.0",
        ] {
            let fault = text.parse::<CrateVersion>().unwrap_err().to_string();
            assert!(
                fault.starts_with(&format!("`{text}` is not a semantic version: ")),
                "{fault}"
            );
        }
        assert!(serde_json::from_str::<CrateVersion>(r#""1.0""#).is_err());
        assert_eq!(
            serde_json::to_string(&version("1.0.0+a")).unwrap(),
            r#""1.0.0+a""#
        );
    }
}
