//! Bounds on what an upload may claim, hold and cost.

use serde::Deserialize;
use thiserror::Error;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// How large an upload and its parts may be.
///
/// The defaults are those of the public registry where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest `.crate` file, in bytes.
    pub crate_bytes_max: u64,
    /// The largest JSON part of an upload, in bytes.
    pub metadata_bytes_max: u32,
    /// The largest sum of unpacked bytes of a `.crate` file, headers and padding included.
    pub unpacked_bytes_max: u64,
    /// The largest manifest, in bytes.
    pub manifest_bytes_max: u64,
    /// The most entries of a `.crate` file.
    pub entries_max: u32,
    /// The largest unpacked file of a `.crate` file, in bytes.
    pub file_bytes_max: u64,
    /// The longest path inside a `.crate` file, in bytes.
    pub path_bytes_max: usize,
    /// The most dependencies of a release.
    pub dependencies_max: usize,
    /// The most features of a release, and the most values of one of them.
    pub features_max: usize,
    /// The most keywords of a release.
    pub keywords_max: usize,
    /// The most categories of a release.
    pub categories_max: usize,
    /// The longest index line, in bytes.
    pub line_bytes_max: usize,
}

/// A limit that would make no sense or protect from nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LimitFault {
    /// Too small or too large.
    #[error("`limits.{key}` is {value}, it must lie between 1 and {most}")]
    Range {
        /// The key in `[limits]`.
        key: &'static str,
        /// What it says.
        value: u64,
        /// The most that it may say.
        most: u64,
    },
    /// A part that may be larger than the whole.
    #[error("`limits.{part}` is more than `limits.unpacked_bytes_max`")]
    PartOverWhole {
        /// The key of the part.
        part: &'static str,
    },
}

impl Limits {
    /// Checks that each limit bounds something and admits something.
    pub fn check(&self) -> Result<(), LimitFault> {
        for (key, value, most) in [
            // The length of the file has 32 bits in an upload.
            ("crate_bytes_max", self.crate_bytes_max, 4 * GIB - 1),
            (
                "metadata_bytes_max",
                u64::from(self.metadata_bytes_max),
                GIB,
            ),
            ("unpacked_bytes_max", self.unpacked_bytes_max, 64 * GIB),
            ("manifest_bytes_max", self.manifest_bytes_max, GIB),
            ("entries_max", u64::from(self.entries_max), 10_000_000),
            ("file_bytes_max", self.file_bytes_max, 64 * GIB),
            ("path_bytes_max", self.path_bytes_max as u64, 65_536),
            ("dependencies_max", self.dependencies_max as u64, 100_000),
            ("features_max", self.features_max as u64, 100_000),
            ("keywords_max", self.keywords_max as u64, 1000),
            ("categories_max", self.categories_max as u64, 1000),
            ("line_bytes_max", self.line_bytes_max as u64, 64 * MIB),
        ] {
            if !(1..=most).contains(&value) {
                return Err(LimitFault::Range { key, value, most });
            }
        }
        for (part, value) in [
            ("crate_bytes_max", self.crate_bytes_max),
            ("manifest_bytes_max", self.manifest_bytes_max),
        ] {
            if value > self.unpacked_bytes_max {
                return Err(LimitFault::PartOverWhole { part });
            }
        }
        Ok(())
    }

    /// The largest body of a publish request: both parts and their lengths.
    pub fn upload_bytes_max(&self) -> u64 {
        self.crate_bytes_max
            .saturating_add(8 + u64::from(self.metadata_bytes_max))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            crate_bytes_max: 10 * MIB,
            metadata_bytes_max: 1024 * 1024,
            unpacked_bytes_max: 512 * MIB,
            manifest_bytes_max: MIB,
            entries_max: 20_000,
            file_bytes_max: 256 * MIB,
            path_bytes_max: 512,
            dependencies_max: 500,
            features_max: 300,
            keywords_max: 5,
            categories_max: 5,
            line_bytes_max: 512 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(toml::from_str::<Limits>("").unwrap(), Limits::default());
        let some: Limits = toml::from_str("entries_max = 7").unwrap();
        assert_eq!(
            some,
            Limits {
                entries_max: 7,
                ..Limits::default()
            }
        );
    }

    #[test]
    fn a_policy_that_sets_only_the_whole_stays_good() {
        let small: Limits = toml::from_str("unpacked_bytes_max = 104857600").unwrap();
        assert_eq!(small.check(), Ok(()));
        let same = Limits {
            unpacked_bytes_max: small.crate_bytes_max,
            ..small
        };
        assert_eq!(same.check(), Ok(()));
        let none: Limits = toml::from_str("file_bytes_max = 0").unwrap();
        assert!(none.check().is_err());
    }

    #[test]
    fn each_limit_is_at_least_one_and_has_a_most() {
        for (key, most) in [
            ("crate_bytes_max", 4_294_967_295),
            ("metadata_bytes_max", 1 << 30),
            ("unpacked_bytes_max", 64 << 30),
            ("manifest_bytes_max", 1 << 30),
            ("entries_max", 10_000_000),
            ("file_bytes_max", 64 << 30),
            ("path_bytes_max", 65_536),
            ("dependencies_max", 100_000),
            ("features_max", 100_000),
            ("keywords_max", 1000),
            ("categories_max", 1000),
            ("line_bytes_max", 64 << 20),
        ] {
            let check = |value: u64| {
                let text = match key {
                    "unpacked_bytes_max" => format!("{key} = {value}"),
                    _ => format!("unpacked_bytes_max = 68719476736\n{key} = {value}"),
                };
                toml::from_str::<Limits>(&text).unwrap().check()
            };
            assert_eq!(check(most), Ok(()), "{key}");
            for value in [0, most + 1] {
                let fault = LimitFault::Range { key, value, most };
                assert_eq!(check(value), Err(fault));
            }
        }
    }

    #[test]
    fn an_upload_has_room_for_both_parts_and_their_lengths() {
        let with = |crate_bytes_max| Limits {
            crate_bytes_max,
            metadata_bytes_max: 20,
            ..Limits::default()
        };
        assert_eq!(with(1000).upload_bytes_max(), 1000 + 20 + 4 + 4);
        assert_eq!(with(u64::MAX).upload_bytes_max(), u64::MAX);
    }

    #[test]
    fn unknown_names_and_other_numbers_are_refused() {
        for text in [
            "entries = 7",
            "entries_max = -1",
            "entries_max = 4294967296",
            "path_bytes_max = \"512\"",
        ] {
            assert!(toml::from_str::<Limits>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_release_of_the_default_limits_fits_its_own_parts() {
        let limits = Limits::default();
        assert!(limits.crate_bytes_max <= limits.unpacked_bytes_max);
        assert!(limits.manifest_bytes_max <= limits.unpacked_bytes_max);
        assert!(u64::try_from(limits.line_bytes_max).unwrap() <= limits.manifest_bytes_max);
    }
}
