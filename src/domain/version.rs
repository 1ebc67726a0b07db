//! Versions of a crate, with and without build metadata.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The longest version that a crate may have, in bytes: it also bounds file names.
pub const VERSION_BYTES_MAX: usize = 150;

/// A semantic version as published, build metadata included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CrateVersion(Form);

/// A registry holds a million of them, and nearly all are three small numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Form {
    /// Nothing but `major`, `minor` and `patch`, each of them small.
    Plain([u32; 3]),
    /// Whatever is not plain.
    Other(Box<Version>),
}

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
            ..self.semver()
        })
    }

    /// The parsed parts.
    pub fn semver(&self) -> Version {
        match &self.0 {
            Form::Plain([major, minor, patch]) => {
                Version::new((*major).into(), (*minor).into(), (*patch).into())
            }
            Form::Other(version) => Version::clone(version),
        }
    }

    /// Whether it has build metadata.
    pub fn has_build(&self) -> bool {
        matches!(&self.0, Form::Other(version) if !version.build.is_empty())
    }

    /// Whether this is a pre-release such as `1.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        matches!(&self.0, Form::Other(version) if !version.pre.is_empty())
    }

    /// How Cargo prefers versions, build metadata left aside.
    pub fn cmp_precedence(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Form::Plain(a), Form::Plain(b)) => a.cmp(b),
            _ => self.semver().cmp_precedence(&other.semver()),
        }
    }
}

impl From<Version> for Form {
    fn from(version: Version) -> Self {
        let small = |number: u64| u32::try_from(number).ok();
        let numbers = [version.major, version.minor, version.patch].map(small);
        match numbers {
            [Some(major), Some(minor), Some(patch)]
                if version.pre.is_empty() && version.build.is_empty() =>
            {
                Self::Plain([major, minor, patch])
            }
            _ => Self::Other(Box::new(version)),
        }
    }
}

impl VersionKey {
    /// How `version` compares with this one, build metadata left aside.
    pub fn precedence_of(&self, version: &CrateVersion) -> Ordering {
        version.semver().cmp_precedence(&self.0)
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
            Ok(version) => Ok(Self(version.into())),
            Err(error) => Err(VersionFault::Syntax {
                text: super::excerpt(text),
                reason: error.to_string(),
            }),
        }
    }
}

impl fmt::Display for CrateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.semver().fmt(f)
    }
}

impl fmt::Display for VersionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for CrateVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
            let (key_a, key_b, order) = (a.key(), b.key(), a.cmp_precedence(&b));
            let (a, b) = (a.semver(), b.semver());
            prop_assert_eq!(
                (a.major, a.minor, a.patch, &a.pre) == (b.major, b.minor, b.patch, &b.pre),
                key_a == key_b
            );
            prop_assert_eq!(
                a.cmp_precedence(&b),
                key_a.cmp(&key_b),
                "keys are ordered as Cargo prefers versions"
            );
            prop_assert_eq!(order, key_a.cmp(&key_b));
        }

        #[test]
        fn a_version_is_what_its_parts_are(
            a in arbitrary::version(),
            numbers in any::<[u64; 3]>(),
            small in any::<[u32; 3]>(),
        ) {
            let (b, [major, minor, patch]) = (a.semver(), numbers);
            prop_assert_eq!(a.to_string(), b.to_string());
            prop_assert_eq!(a.has_build(), !b.build.is_empty());
            prop_assert_eq!(a.is_prerelease(), !b.pre.is_empty());
            prop_assert_eq!(CrateVersion(b.into()), a);
            for parts in [Version::new(major, minor, patch), {
                let [major, minor, patch] = small.map(u64::from);
                Version::new(major, minor, patch)
            }] {
                prop_assert_eq!(version(&parts.to_string()).semver(), parts);
            }
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
            "4294967295.0.0",
            "4294967296.0.0",
            "18446744073709551615.0.0",
        ];
        assert!(ordered.map(|text| version(text).key()).is_sorted());
        assert!(version("1.0.0-rc.1").is_prerelease());
        assert!(!version("1.0.0+rc.1").is_prerelease());
        for pair in ordered.windows(2) {
            let (a, b) = (version(pair[0]), version(pair[1]));
            assert_eq!(a.cmp_precedence(&b), Ordering::Less, "{pair:?}");
        }
        assert_eq!(version("1.0.7+x.y").to_string(), "1.0.7+x.y");
        assert_eq!(version("1.0.7+x.y").key().to_string(), "1.0.7");
    }

    #[test]
    fn a_plain_version_takes_little_memory() {
        assert_eq!(size_of::<CrateVersion>(), 16);
        assert!(matches!(version("1.2.4294967295").0, Form::Plain(_)));
        for text in ["1.2.4294967296", "1.2.3-rc.1", "1.2.3+build"] {
            assert!(matches!(version(text).0, Form::Other(_)), "{text}");
        }
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
