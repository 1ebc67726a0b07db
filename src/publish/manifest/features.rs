//! Features of a manifest: well-formed, and each value stands for something that exists.
//!
//! A line whose features do not fit its dependencies is invalid for Cargo, so these are Cargo's own rules
//! ([Cargo book](https://doc.rust-lang.org/cargo/reference/features.html)).

use std::collections::BTreeSet;

use thiserror::Error;
use toml::{Table, Value};

use super::ManifestFault;
use super::dependency::Declared;
use super::fields::{Fields, KeyFault};
use crate::domain::{FeatureFault, Features, Limits, check_feature_name, check_feature_value};
use crate::publish::faults::{Faults, quoted};

/// What is wrong with the features of a manifest.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum FeaturesFault {
    /// More features than allowed.
    #[error("the manifest has {found} features; at most {max} are allowed")]
    TooMany { found: usize, max: usize },
    /// A feature with more values than allowed.
    #[error("the feature `{feature}` has {found} values; at most {max} are allowed")]
    TooManyValues {
        feature: String,
        found: usize,
        max: usize,
    },
    /// The name of a feature.
    #[error("in `[features]`: {0}")]
    Name(FeatureFault),
    /// The form of a value.
    #[error("in the feature `{feature}`: {fault}")]
    Value {
        feature: String,
        fault: FeatureFault,
    },
    /// A value that stands for nothing.
    #[error(
        "the feature `{feature}` asks for `{value}`, which is neither a feature nor an optional dependency"
    )]
    Unknown { feature: String, value: String },
    /// A value with `/` or `dep:` and no dependency of that name.
    #[error("the feature `{feature}` asks for `{value}`, but there is no such dependency")]
    NoDependency { feature: String, value: String },
    /// A value that switches on what is always on.
    #[error("the feature `{feature}` asks for `{value}`, but that dependency is not optional")]
    NotOptional { feature: String, value: String },
    /// A value that names an optional dependency which `dep:` has hidden.
    #[error(
        "the feature `{feature}` asks for `{value}`, an optional dependency without a feature of its name; write `dep:{value}`"
    )]
    NoImplied { feature: String, value: String },
    /// An optional dependency that nothing can switch on.
    #[error("no feature asks for the optional dependency `{0}`; one must have the value `dep:{0}`")]
    Unreachable(String),
}

/// Reads `[features]` and compares it with the dependencies.
pub(super) fn read(
    manifest: &mut Fields,
    declared: &Declared,
    limits: &Limits,
    faults: &mut Faults<ManifestFault>,
) -> Features {
    let table: Table = manifest.take("features", "a table").unwrap_or_default();
    let (found, max) = (table.len(), limits.features_max);
    if found > max {
        faults.add(FeaturesFault::TooMany { found, max }.into());
        return Features::new();
    }
    let mut features = Features::new();
    for (name, value) in table {
        if let Err(fault) = check_feature_name(&name) {
            faults.add(FeaturesFault::Name(fault).into());
        }
        let values = read_values(&name, value, max, faults);
        features.insert(name, values);
    }
    for fault in Meaning::new(&features, declared).faults() {
        faults.add(fault.into());
    }
    features
}

/// The well-formed values of a feature.
fn read_values(
    name: &str,
    value: Value,
    max: usize,
    faults: &mut Faults<ManifestFault>,
) -> Vec<String> {
    let Ok(mut values) = value.try_into::<Vec<String>>() else {
        faults.add(ManifestFault::Key {
            key: quoted(&format!("features.{name}")),
            fault: KeyFault::Type("a list of strings"),
        });
        return Vec::new();
    };
    if values.len() > max {
        let fault = FeaturesFault::TooManyValues {
            feature: quoted(name),
            found: values.len(),
            max,
        };
        faults.add(fault.into());
        return Vec::new();
    }
    values.retain(|value| match check_feature_value(value) {
        Ok(()) => true,
        Err(fault) => {
            let feature = quoted(name);
            faults.add(FeaturesFault::Value { feature, fault }.into());
            false
        }
    });
    values
}

/// Features beside the dependencies that give their values a meaning.
struct Meaning<'a> {
    features: &'a Features,
    declared: &'a Declared,
    /// Dependencies that some value names with `dep:`: these imply no feature of their name.
    explicit: BTreeSet<&'a str>,
}

impl<'a> Meaning<'a> {
    fn new(features: &'a Features, declared: &'a Declared) -> Self {
        let values = features.values().flatten();
        Self {
            features,
            declared,
            explicit: values
                .filter_map(|value| value.strip_prefix("dep:"))
                .collect(),
        }
    }

    fn faults(&self) -> Vec<FeaturesFault> {
        let values = self
            .features
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        values
            .filter_map(|(name, value)| self.fault_of(name, value))
            .chain(self.unreachable())
            .collect()
    }

    fn fault_of(&self, feature: &str, value: &str) -> Option<FeaturesFault> {
        let (feature, shown) = (quoted(feature), quoted(value));
        let no_dependency = |feature, value| Some(FeaturesFault::NoDependency { feature, value });
        let not_optional = |feature, value| Some(FeaturesFault::NotOptional { feature, value });
        if let Some((dependency, _)) = value.split_once('/') {
            let (name, is_weak) = match dependency.strip_suffix('?') {
                Some(name) => (name, true),
                None => (dependency, false),
            };
            return match self.declared.get(name) {
                None => no_dependency(feature, shown),
                Some(false) if is_weak => not_optional(feature, shown),
                Some(_) => None,
            };
        }
        if let Some(name) = value.strip_prefix("dep:") {
            return match self.declared.get(name) {
                None => no_dependency(feature, shown),
                Some(false) => not_optional(feature, shown),
                Some(true) => None,
            };
        }
        if self.features.contains_key(value) {
            return None;
        }
        match self.declared.get(value) {
            None => Some(FeaturesFault::Unknown {
                feature,
                value: shown,
            }),
            Some(false) => not_optional(feature, shown),
            Some(true) if self.explicit.contains(value) => Some(FeaturesFault::NoImplied {
                feature,
                value: shown,
            }),
            Some(true) => None,
        }
    }

    /// Optional dependencies whose name a feature has taken, and that no value asks for.
    fn unreachable(&self) -> impl Iterator<Item = FeaturesFault> {
        let with_slash: BTreeSet<&str> = self
            .features
            .values()
            .flatten()
            .filter_map(|value| value.split_once('/'))
            .map(|(dependency, _)| dependency.strip_suffix('?').unwrap_or(dependency))
            .collect();
        self.declared
            .iter()
            .filter(|(_, is_optional)| **is_optional)
            .map(|(name, _)| name)
            .filter(|name| self.features.contains_key(*name))
            .filter(|name| !self.explicit.contains(name.as_str()))
            .filter(move |name| !with_slash.contains(name.as_str()))
            .map(|name| FeaturesFault::Unreachable(quoted(name)))
    }
}
