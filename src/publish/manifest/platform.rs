//! Platforms of dependencies: `x86_64-unknown-linux-gnu` or `cfg(unix)`.

use std::str::FromStr;

use cargo_platform::Platform;
use thiserror::Error;

use crate::publish::faults::quoted;

/// The longest platform, in bytes.
const PLATFORM_BYTES_MAX: usize = 4096;

/// The deepest nesting of parentheses: Cargo reads a platform by recursion, on every machine that builds.
const PLATFORM_DEPTH_MAX: usize = 32;

/// Why a text is not the platform of a dependency.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlatformFault {
    /// More than 4096 bytes.
    #[error("is longer than {PLATFORM_BYTES_MAX} bytes")]
    TooLong,
    /// More than 32 parentheses in each other.
    #[error("is nested deeper than {PLATFORM_DEPTH_MAX} parentheses")]
    TooDeep,
    /// `cfg(r#name)`.
    #[error(
        "has a raw identifier, which not every Cargo since 1.65 can read; write the name without `r#`"
    )]
    RawIdentifier,
    /// Neither a triple nor `cfg(…)`.
    #[error("is neither a target nor a `cfg(…)` that Cargo can read: {0}")]
    Syntax(String),
}

/// Reads a platform with Cargo's own parser and spells it as Cargo does in index lines: `cfg( unix )` is `cfg(unix)`.
pub(super) fn canonical(platform: &str) -> Result<String, PlatformFault> {
    if platform.len() > PLATFORM_BYTES_MAX {
        return Err(PlatformFault::TooLong);
    }
    let mut depth = 0_usize;
    for byte in platform.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > PLATFORM_DEPTH_MAX {
            return Err(PlatformFault::TooDeep);
        }
    }
    match Platform::from_str(platform) {
        Ok(_) if has_raw_identifier(platform) => Err(PlatformFault::RawIdentifier),
        Ok(platform) => Ok(platform.to_string()),
        Err(error) => Err(PlatformFault::Syntax(quoted(&error.to_string()))),
    }
}

/// Whether a sound platform has `r#` outside its strings, which know no escapes.
///
/// An older Cargo cannot read it: it loses the index line, and fails on the manifest.
fn has_raw_identifier(platform: &str) -> bool {
    let mut outside = platform.split('"').step_by(2);
    outside.any(|text| text.contains("r#"))
}
