//! Crate names, as written and in the canonical form that makes them unique.
//!
//! The rules are those of the public registry: ASCII, a letter first, at most [`CRATE_NAME_BYTES_MAX`] bytes.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// The longest name that a crate may have, in bytes.
pub const CRATE_NAME_BYTES_MAX: usize = 64;

/// Names of the toolchain's own crates and words that would confuse people, in canonical form.
const TOOLCHAIN_NAMES: [&str; 38] = [
    "alloc",
    "arena",
    "ast",
    "builtins",
    "collections",
    "compiler_builtins",
    "compiler_rt",
    "compiletest",
    "core",
    "coretest",
    "debug",
    "driver",
    "flate",
    "fmt_macros",
    "grammar",
    "graphviz",
    "macro",
    "macros",
    "proc_macro",
    "rbml",
    "rust_installer",
    "rustbook",
    "rustc",
    "rustc_back",
    "rustc_borrowck",
    "rustc_driver",
    "rustc_llvm",
    "rustc_resolve",
    "rustc_trans",
    "rustc_typeck",
    "rustdoc",
    "rustllvm",
    "rustuv",
    "serialize",
    "std",
    "syntax",
    "test",
    "unicode",
];

/// The name of a crate, spelled as its first publisher spelled it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CrateName(Box<str>);

/// A crate name in lower case with `-` folded to `_`: two crates may not share one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalName(Box<str>);

/// The name under which a manifest knows a dependency: a crate name or an alias, which may also start with `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DependencyName(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameFault {
    /// Nothing was given.
    #[error("a crate name must not be empty")]
    Empty,
    /// More than [`CRATE_NAME_BYTES_MAX`] bytes.
    #[error("the crate name `{0}…` is longer than {CRATE_NAME_BYTES_MAX} characters")]
    TooLong(String),
    /// The first character is not allowed there.
    #[error("the crate name `{name}` must start with an ASCII letter, not with `{}`", .found.escape_debug())]
    Start { name: String, found: char },
    /// A later character is not allowed.
    #[error(
        "the crate name `{name}` contains `{}`; only ASCII letters, digits, `-` and `_` are allowed",
        .found.escape_debug()
    )]
    Character { name: String, found: char },
}

/// Why a well-formed name may not be given to a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Reserved {
    /// A crate of the Rust toolchain or a word close to it.
    #[error("is reserved for the Rust toolchain")]
    Toolchain,
    /// A file of this name cannot exist on Windows, so the index could not be checked out there.
    #[error("is the name of a device on Windows")]
    WindowsDevice,
}

impl CrateName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name by which uniqueness is judged.
    pub fn canonical(&self) -> CanonicalName {
        CanonicalName(self.folded().map(char::from).collect())
    }

    /// The bytes of the canonical name, all of them ASCII, without making it.
    pub fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| match byte {
            b'-' => b'_',
            other => other.to_ascii_lowercase(),
        })
    }

    /// The order of the canonical names, without making them.
    pub fn canonical_cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }

    /// Whether both have the same canonical name: there can be only one of them.
    pub fn is_twin_of(&self, other: &Self) -> bool {
        self.folded().eq(other.folded())
    }

    /// Why no crate may be created under this name, if so.
    pub fn reserved(&self) -> Option<Reserved> {
        let canonical = self.canonical();
        if TOOLCHAIN_NAMES.contains(&canonical.as_str()) {
            return Some(Reserved::Toolchain);
        }
        is_windows_device(canonical.as_str()).then_some(Reserved::WindowsDevice)
    }
}

impl CanonicalName {
    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DependencyName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CrateName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        check(text, |first| first.is_ascii_alphabetic())?;
        Ok(Self(text.into()))
    }
}

impl FromStr for DependencyName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        check(text, |first| first.is_ascii_alphabetic() || first == '_')?;
        Ok(Self(text.to_owned()))
    }
}

impl From<CrateName> for DependencyName {
    fn from(name: CrateName) -> Self {
        Self(name.0.into())
    }
}

fn check(text: &str, may_start: impl Fn(char) -> bool) -> Result<(), NameFault> {
    let first = text.chars().next().ok_or(NameFault::Empty)?;
    if text.len() > CRATE_NAME_BYTES_MAX {
        let beginning: String = text.chars().take(CRATE_NAME_BYTES_MAX / 2).collect();
        return Err(NameFault::TooLong(super::excerpt(&beginning)));
    }
    if !may_start(first) {
        return Err(NameFault::Start {
            name: super::excerpt(text),
            found: first,
        });
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && *c != '-' && *c != '_')
    {
        Some(found) => Err(NameFault::Character {
            name: super::excerpt(text),
            found,
        }),
        None => Ok(()),
    }
}

/// Whether a file cannot have this name, or this name before its first dot, on Windows.
pub fn is_windows_device(name: &str) -> bool {
    let is_numbered = |digit: &str| matches!(digit.as_bytes(), [b'0'..=b'9']);
    match name.to_ascii_lowercase().as_str() {
        "con" | "prn" | "aux" | "nul" => true,
        name => match name
            .strip_prefix("com")
            .or_else(|| name.strip_prefix("lpt"))
        {
            Some(digit) => is_numbered(digit),
            None => false,
        },
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.0)
            }
        }
    };
}
text_type!(CrateName);
text_type!(CanonicalName);
text_type!(DependencyName);

impl<'de> Deserialize<'de> for CrateName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for DependencyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

#[cfg(test)]
mod tests;
