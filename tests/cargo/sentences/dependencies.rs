//! The rules for single dependencies: `src/publish/manifest/dependency.rs`, and addresses in `src/domain/registry.rs`.

use insta::assert_snapshot;

use super::{Desk, publish};

#[test]
fn what_a_dependency_says() {
    let desk = Desk::with_policy("limits.features_max = 2\nlimits.dependencies_max = 3\n");
    let refuses =
        |rule: &str, value: &str| desk.refuses_keys(rule, &format!("[dependencies]\na = {value}"));
    let four = "'1'\nb = '1'\nc = '1'\nd = '1'";
    assert_snapshot!(
        refuses("ManifestFault::TooManyDependencies", four),
        @"400 Bad Request: the manifest has 4 dependencies; at most 3 are allowed"
    );
    assert_snapshot!(
        refuses("ManifestFault::Dependency, DependencyFault::Form", "1"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` must be a requirement in quotes or a table"
    );
    assert_snapshot!(
        refuses("DependencyFault::Key", "{ version = '1', optional = 'yes' }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` is not understood: `optional` must be `true` or `false`"
    );
    assert_snapshot!(
        refuses("DependencyFault::Inherited", "{ workspace = true }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` is inherited from a workspace; `cargo package` writes the requirement itself"
    );
    assert_snapshot!(
        refuses("DependencyFault::Name", "{ version = '1', package = '_a' }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` cannot be in a registry: the crate name `_a` must start with an ASCII letter, not with `_`"
    );
    assert_snapshot!(
        refuses("DependencyFault::NoVersion", "{ features = [] }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` has no `version`; what is published can only depend on versions in a registry"
    );
    assert_snapshot!(
        refuses("DependencyFault::Requirement", "'latest'"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` has the requirement `latest`, which Cargo cannot read: unexpected character 'l' while parsing major version number"
    );
    assert_snapshot!(
        refuses("DependencyFault::Source", "{ version = '1', path = '../a' }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` has the key `path`; `cargo package` removes it, because what is published can only depend on registries"
    );
    assert_snapshot!(
        refuses("DependencyFault::Alias", "{ version = '1', registry = 'ours' }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` names its registry by `registry`, an alias of the uploader's; `cargo package` writes the URL as `registry-index`"
    );
    assert_snapshot!(
        refuses("DependencyFault::Nightly", "{ version = '1', public = true }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` has the key `public`, which only nightly Cargo understands"
    );
    assert_snapshot!(
        refuses("DependencyFault::Feature", "{ version = '1', features = ['dep:b'] }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` switches on a feature that cannot exist: the feature name `dep:b` contains `:`; only letters, digits, `_`, `-`, `+` and `.` are allowed"
    );
    assert_snapshot!(
        refuses("DependencyFault::TooManyFeatures", "{ version = '1', features = ['a', 'b', 'c'] }"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` switches on more than 2 features"
    );
    assert_snapshot!(
        desk.refuses_keys(
            "DependencyFault::OptionalDev",
            "[dev-dependencies]\na = { version = '1', optional = true }"
        ),
        @"400 Bad Request: the dependency `a` in `[dev-dependencies]` is optional, which a dependency of tests cannot be"
    );

    assert!(publish(&desk.alice, &desk.package("there", "1.0.0", "")).is_success());
    let index = desk.registry.git_index();
    let both = format!(
        "[dependencies]\nthere = '1'\n[dev-dependencies]\nthere = {{ version = '1', registry-index = '{index}' }}"
    );
    assert_snapshot!(
        desk.refuses_keys("DependencyFault::OtherSource", &both),
        @"400 Bad Request: the dependency `there` in `[dev-dependencies]` has another `registry-index` than in `[dependencies]`; Cargo takes a name from one URL alone: write the same, or rename one by `package`"
    );
    let star = "[dependencies]\nthere = { version = '*', registry = 'crates' }";
    let star = desk.package("krate", "1.0.1", star);
    assert_snapshot!(
        desk.refuses("DependencyFault::Star", &star),
        @"400 Bad Request: the dependency `there` in `[dependencies]` allows any version with `*`; name a version that is known to work, such as `1`"
    );
}

#[test]
fn registries_of_dependencies() {
    let desk = Desk::with_policy("dependencies_from = []\n");
    let refuses = |rule: &str, url: &str| {
        let keys = format!("version = '1', registry-index = '{url}'");
        desk.refuses_keys(rule, &format!("[dependencies]\na = {{ {keys} }}"))
    };
    assert_snapshot!(
        desk.refuses_keys("DependencyFault::PublicRegistry", "[dependencies]\na = '1'"),
        @r#"400 Bad Request: the dependency `a` in `[dependencies]` comes from the public registry, on which crates here may not depend; write `registry = "…"` beside its version if it is a crate of this registry"#
    );
    assert_snapshot!(
        refuses("DependencyFault::Registry", "https://other.example/"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` comes from the registry `https://other.example/`, on which crates here may not depend"
    );
    assert_snapshot!(
        refuses("DependencyFault::Url, UrlFault::Syntax", "other"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` has a `registry-index` that is not the URL of an index: `other` must start with `https://` or `http://`"
    );
    assert_snapshot!(
        refuses("UrlFault::Scheme", "ftp://other.example/"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` has a `registry-index` that is not the URL of an index: `ftp://other.example/` must start with `https://` or `http://`"
    );
    assert_snapshot!(
        refuses("UrlFault::Extra", "https://u:secret@other.example/"),
        @"400 Bad Request: the dependency `a` in `[dependencies]` has a `registry-index` that is not the URL of an index: the URL must not carry a user name, a password, `?` or `#`"
    );
    let long = format!("https://other.example/{}", "a".repeat(500));
    assert_snapshot!(
        refuses("UrlFault::TooLong", &long),
        @"400 Bad Request: the dependency `a` in `[dependencies]` has a `registry-index` that is not the URL of an index: the URL is longer than 512 bytes"
    );
}
