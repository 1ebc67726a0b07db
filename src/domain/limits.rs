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
