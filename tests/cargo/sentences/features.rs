//! The rules for features: `src/publish/manifest/features.rs` and `src/domain/feature.rs`.

use insta::assert_snapshot;

use super::Desk;

#[test]
fn names_and_values_of_features() {
    let desk = Desk::with_policy("limits.features_max = 3\n");
    let refuses = |rule: &str, rest: &str| desk.refuses_keys(rule, &format!("[features]\n{rest}"));
    let four = desk.package(
        "krate",
        "1.0.1",
        "[features]\na = []\nb = []\nc = []\nd = []\n",
    );
    assert_snapshot!(
        desk.refuses("FeaturesFault::TooMany", &four),
        @"400 Bad Request: the manifest has 4 features; at most 3 are allowed"
    );
    let four = desk.package(
        "krate",
        "1.0.2",
        "[features]\na = []\nb = ['a', 'a', 'a', 'a']\n",
    );
    assert_snapshot!(
        desk.refuses("FeaturesFault::TooManyValues", &four),
        @"400 Bad Request: the feature `b` has 4 values; at most 3 are allowed"
    );
    assert_snapshot!(
        refuses("FeaturesFault::Name, FeatureFault::Empty", "'' = []"),
        @"400 Bad Request: in `[features]`: a feature name must not be empty"
    );
    assert_snapshot!(
        refuses("FeatureFault::Character", "'a b' = []"),
        @"400 Bad Request: in `[features]`: the feature name `a b` contains ` `; only letters, digits, `_`, `-`, `+` and `.` are allowed"
    );
    assert_snapshot!(
        refuses("FeaturesFault::Value, FeatureFault::Start", "x = ['-']"),
        @"400 Bad Request: in the feature `x`: the feature name `-` must start with a letter, a digit or `_`, not with `-`"
    );
    assert_snapshot!(
        refuses("FeatureFault::DependencyWithSlash", "x = ['dep:a/b']"),
        @"400 Bad Request: in the feature `x`: the feature value `dep:a/b` must not combine `dep:` with `/`"
    );
    assert_snapshot!(
        refuses("FeatureFault::Dependency", "x = ['dep:größe']"),
        @"400 Bad Request: in the feature `x`: the feature value `dep:größe` does not name a dependency: the crate name `größe` contains `ö`; only ASCII letters, digits, `-` and `_` are allowed"
    );
}

#[test]
fn what_features_ask_for() {
    let desk = Desk::with_policy("");
    let refuses = |rule: &str, features: &str| {
        let dependencies = "a = '1'\no = { version = '1', optional = true }";
        desk.refuses_keys(
            rule,
            &format!("[features]\n{features}\n[dependencies]\n{dependencies}"),
        )
    };
    assert_snapshot!(
        refuses("FeaturesFault::Unknown", "x = ['y']"),
        @"400 Bad Request: the feature `x` asks for `y`, which is neither a feature nor an optional dependency"
    );
    assert_snapshot!(
        refuses("FeaturesFault::NoDependency", "x = ['dep:z']"),
        @"400 Bad Request: the feature `x` asks for `dep:z`, but there is no such dependency"
    );
    assert_snapshot!(
        refuses("FeaturesFault::NotOptional", "x = ['a']"),
        @"400 Bad Request: the feature `x` asks for `a`, but that dependency is not optional"
    );
    assert_snapshot!(
        refuses("FeaturesFault::NoImplied", "x = ['dep:o']\ny = ['o']"),
        @"400 Bad Request: the feature `y` asks for `o`, an optional dependency without a feature of its name; write `dep:o`"
    );
    assert_snapshot!(
        refuses("FeaturesFault::Unreachable", "o = []"),
        @"400 Bad Request: no feature asks for the optional dependency `o`; one must have the value `dep:o`"
    );
}
