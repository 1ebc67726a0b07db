//! Dependencies of a new version on crates of this registry: they must be there, in the spelling that they have.
//!
//! The index files of Cargo are found by the exact name, so a version that needs a crate under another spelling could
//! not be built by anybody. Which versions of the crate there are is not asked: they come and go by yanks.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::domain::{CrateName, DependencyKind, IndexLine};

use super::snapshot::Snapshot;

/// Why a crate that a version needs is missing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MissingDependency {
    /// There is none of that name.
    #[error(
        "the dependency `{0}` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one"
    )]
    Unknown(String),
    /// There is one of almost that name.
    #[error("the dependency `{wanted}` is spelled `{existing}` in this registry")]
    SpelledOtherwise {
        /// The name in the manifest.
        wanted: String,
        /// The name of the crate.
        existing: CrateName,
    },
    /// A crate that nobody has needs itself.
    #[error(
        "the crate `{0}` depends on itself but has no other version; only its tests may need the version itself"
    )]
    Itself(CrateName),
}

/// Looks for what `line` needs of this registry.
///
/// Dependencies of tests count, because Cargo locks them when it packs. They may name the crate itself, which is there
/// as soon as they are; for all else another version must be.
pub(super) fn missing_of(line: &IndexLine, on: &Snapshot) -> Vec<MissingDependency> {
    // A crate that is needed in several ways is missing once, and for a build sooner than for tests.
    let mut needed: BTreeMap<&str, DependencyKind> = BTreeMap::new();
    for dep in line.deps.iter().filter(|dep| dep.registry.is_none()) {
        let kind = needed.entry(dep.crate_name()).or_insert(dep.kind);
        *kind = dep.kind.min(*kind);
    }
    needed
        .into_iter()
        .filter_map(|(name, kind)| missing(name, kind, line, on))
        .collect()
}

fn missing(
    wanted: &str,
    kind: DependencyKind,
    line: &IndexLine,
    on: &Snapshot,
) -> Option<MissingDependency> {
    let unknown = || Some(MissingDependency::Unknown(wanted.to_owned()));
    let Ok(name) = wanted.parse::<CrateName>() else {
        return unknown();
    };
    let is_itself = name.is_twin_of(&line.name);
    let existing = match on.find(&name) {
        Some(krate) => &krate.name,
        None if is_itself => &line.name,
        None => return unknown(),
    };
    if *existing != name {
        return Some(MissingDependency::SpelledOtherwise {
            wanted: wanted.to_owned(),
            existing: existing.clone(),
        });
    }
    let is_lonely = is_itself && on.find(&name).is_none();
    (is_lonely && kind != DependencyKind::Dev).then_some(MissingDependency::Itself(name))
}
