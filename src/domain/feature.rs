//! Feature names and values, and their split for Cargo before 1.60.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

/// Features of a release: name → what it switches on, the values in the manifest's order.
pub type Features = BTreeMap<String, Vec<String>>;

/// Why a feature cannot stand in an index line: Cargo would discard the whole line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeatureFault {
    /// An empty name or part of a value.
    #[error("a feature name must not be empty")]
    Empty,
    /// The first character is not allowed there.
    #[error(
        "the feature name `{name}` must start with a letter, a digit or `_`, not with `{}`",
        .found.escape_debug()
    )]
    Start { name: String, found: char },
    /// A later character is not allowed.
    #[error(
        "the feature name `{name}` contains `{}`; only letters, digits, `_`, `-`, `+` and `.` are allowed",
        .found.escape_debug()
    )]
    Character { name: String, found: char },
    /// A value such as `dep:a/b`.
    #[error("the feature value `{0}` must not combine `dep:` with `/`")]
    DependencyWithSlash(String),
    /// The part of a value before `/`, or behind `dep:`, is not the name of a dependency.
    #[error("the feature value `{value}` does not name a dependency: {source}")]
    Dependency {
        value: String,
        source: super::name::NameFault,
    },
}

/// Checks the name of a feature: a letter, digit or `_`, then also `-`, `+` and `.`; letters are those of
/// Unicode's identifiers.
pub fn check_feature_name(name: &str) -> Result<(), FeatureFault> {
    let first = name.chars().next().ok_or(FeatureFault::Empty)?;
    if !(unicode_ident::is_xid_start(first) || first == '_' || first.is_ascii_digit()) {
        return Err(FeatureFault::Start {
            name: super::excerpt(name),
            found: first,
        });
    }
    let is_allowed = |c: char| unicode_ident::is_xid_continue(c) || matches!(c, '-' | '+' | '.');
    match name.chars().find(|c| !is_allowed(*c)) {
        Some(found) => Err(FeatureFault::Character {
            name: super::excerpt(name),
            found,
        }),
        None => Ok(()),
    }
}

/// Checks what a feature switches on: `feature`, `dep:name`, `name/feature` or `name?/feature`.
pub fn check_feature_value(value: &str) -> Result<(), FeatureFault> {
    let check_dependency = |name: &str| match name.parse::<super::name::DependencyName>() {
        Ok(_) => Ok(()),
        Err(source) => Err(FeatureFault::Dependency {
            value: super::excerpt(value),
            source,
        }),
    };
    if let Some(dependency) = value.strip_prefix("dep:") {
        if dependency.contains('/') {
            return Err(FeatureFault::DependencyWithSlash(super::excerpt(value)));
        }
        return check_dependency(dependency);
    }
    match value.split_once('/') {
        Some((dependency, feature)) => {
            check_dependency(dependency.strip_suffix('?').unwrap_or(dependency))?;
            check_feature_name(feature)
        }
        None => check_feature_name(value),
    }
}

/// Parts features in those that every Cargo reads and those that need Cargo 1.60.
///
/// A feature belongs to the second kind if a value has the form `dep:x` or `x?/y`, or names a feature of that kind.
pub(super) fn split(features: Features) -> (Features, Features) {
    let is_modern_value = |value: &String| value.starts_with("dep:") || value.contains("?/");
    let mut named_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut waiting: Vec<&str> = Vec::new();
    for (name, values) in &features {
        if values.iter().any(is_modern_value) {
            waiting.push(name);
        }
        for value in values {
            named_by.entry(value).or_default().push(name);
        }
    }
    // Each feature is followed to those that name it once, so a long chain costs no more than its length.
    let mut modern: BTreeSet<String> = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if modern.insert(name.to_owned()) {
            waiting.extend(named_by.get(name).into_iter().flatten());
        }
    }
    features
        .into_iter()
        .partition(|(name, _)| !modern.contains(name))
}
