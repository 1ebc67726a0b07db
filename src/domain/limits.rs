//! Bounds on what an upload may claim, hold and cost.

use serde::Deserialize;

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
    /// The longest path inside a `.crate` file, in bytes.
    pub path_bytes_max: usize,
    /// The most dependencies of a release.
    pub dependencies_max: usize,
    /// The most features of a release, and the most values of one of them.
    pub features_max: usize,
    /// The longest index line, in bytes.
    pub line_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            crate_bytes_max: 10 * u64::from(MIB),
            metadata_bytes_max: MIB,
            unpacked_bytes_max: 512 * u64::from(MIB),
            manifest_bytes_max: u64::from(MIB),
            entries_max: 20_000,
            path_bytes_max: 512,
            dependencies_max: 500,
            features_max: 300,
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
