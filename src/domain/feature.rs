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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    fn features(of: &[(&str, &[&str])]) -> Features {
        of.iter()
            .map(|(name, values)| {
                let values = values.iter().map(|value| (*value).to_owned());
                ((*name).to_owned(), values.collect())
            })
            .collect()
    }

    fn is_modern(value: &str) -> bool {
        value.starts_with("dep:") || value.contains("?/")
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing_and_invents_nothing(features in arbitrary::features()) {
            let (plain, modern) = split(features.clone());
            prop_assert!(plain.keys().all(|name| !modern.contains_key(name)));
            let union: Features = plain.into_iter().chain(modern).collect();
            prop_assert_eq!(union, features);
        }

        #[test]
        fn no_plain_feature_needs_a_modern_cargo(features in arbitrary::features()) {
            let (plain, modern) = split(features);
            for value in plain.values().flatten() {
                prop_assert!(!is_modern(value) && !modern.contains_key(value));
            }
        }

        #[test]
        fn every_modern_feature_has_a_reason(features in arbitrary::features()) {
            // Following modern features to modern features must lead to a modern value; rings of none are plain.
            let (_, modern) = split(features);
            for name in modern.keys() {
                let mut seen = BTreeSet::from([name]);
                let mut waiting = vec![name];
                let mut is_reached = false;
                while let Some(name) = waiting.pop() {
                    for value in &modern[name] {
                        is_reached |= is_modern(value);
                        if modern.contains_key(value) && seen.insert(value) {
                            waiting.push(value);
                        }
                    }
                }
                prop_assert!(is_reached, "{} in {:?}", name, modern);
            }
        }

        #[test]
        fn splitting_again_changes_nothing(features in arbitrary::features()) {
            let (plain, modern) = split(features);
            prop_assert_eq!(split(plain.clone()), (plain, Features::new()));
            prop_assert_eq!(split(modern.clone()), (Features::new(), modern));
        }

        #[test]
        fn no_text_makes_the_checks_panic(text in arbitrary::text()) {
            for result in [check_feature_name(&text), check_feature_value(&text)] {
                if let Err(fault) = result {
                    prop_assert!(!fault.to_string().contains(char::is_control), "{}", fault);
                }
            }
        }
    }

    #[test]
    fn a_chain_of_features_moves_whole() {
        let given = features(&[
            ("default", &["std", "net"]),
            ("net", &["tls"]),
            ("ring", &["ring2"]),
            ("ring2", &["ring"]),
            ("std", &[]),
            ("tls", &["dep:rustls", "serde/std"]),
            ("weak", &["serde?/std"]),
        ]);
        let (plain, modern) = split(given);
        assert_eq!(
            plain,
            features(&[("ring", &["ring2"]), ("ring2", &["ring"]), ("std", &[])])
        );
        assert_eq!(
            modern.into_keys().collect::<Vec<_>>(),
            ["default", "net", "tls", "weak"]
        );
    }

    #[test]
    fn a_feature_of_a_dependency_is_not_one_of_the_crate() {
        let given = features(&[("a", &["b/c"]), ("b", &["dep:b"]), ("c", &["dep:c"])]);
        let (plain, _) = split(given);
        assert_eq!(plain, features(&[("a", &["b/c"])]));
    }

    #[test]
    fn a_chain_moves_whole_however_long_it_is() {
        let mut given: Features = (0..999)
            .map(|n| (format!("f{n:04}"), vec![format!("f{:04}", n + 1)]))
            .collect();
        given.insert("f0999".to_owned(), vec!["dep:x".to_owned()]);
        assert_eq!(split(given.clone()), (Features::new(), given));
    }

    #[test]
    fn names_are_those_that_cargo_reads() {
        for name in [
            "a", "default", "_x", "7z", "c++17", "v1.2", "größe", "a-b_c", "中文",
        ] {
            assert_eq!(check_feature_name(name), Ok(()), "{name}");
        }
        let refusal = |name: &str| check_feature_name(name).unwrap_err().to_string();
        assert_eq!(refusal(""), "a feature name must not be empty");
        assert_eq!(
            refusal("+x"),
            "the feature name `+x` must start with a letter, a digit or `_`, not with `+`"
        );
        assert_eq!(
            refusal("a\nb"),
            r"the feature name `a\nb` contains `\n`; only letters, digits, `_`, `-`, `+` and `.` are allowed"
        );
        for name in ["-x", ".x", "a/b", "a?", "dep:x", "a b", "a:b", "🦀", "a,b"] {
            assert!(check_feature_name(name).is_err(), "{name}");
        }
        assert!(
            refusal(&" ".repeat(1 << 20)).len() < 400,
            "a refusal stays short"
        );
    }

    #[test]
    fn values_have_the_four_forms() {
        for value in ["a", "dep:a", "dep:_a", "a/b", "a?/b", "a-b/c+d", "a/7z"] {
            assert_eq!(check_feature_value(value), Ok(()), "{value}");
        }
        for value in [
            "",
            "/",
            "a/",
            "/b",
            "?/b",
            "dep:",
            "dep:a/b",
            "dep:a?/b",
            "a??/b",
            "a/b/c",
            "dep:dep:a",
            "xdep:a",
            "a?",
            "größe/b",
            "dep:größe",
            "a b/c",
            "a/b c",
        ] {
            assert!(check_feature_value(value).is_err(), "{value}");
        }
        let refusal = |value: &str| check_feature_value(value).unwrap_err().to_string();
        assert_eq!(
            refusal("dep:a/b"),
            "the feature value `dep:a/b` must not combine `dep:` with `/`"
        );
        assert_eq!(
            refusal("1/b"),
            "the feature value `1/b` does not name a dependency: the crate name `1` must start with an ASCII letter, \
             not with `1`"
        );
    }
}
