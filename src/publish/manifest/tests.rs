use super::*;
use crate::domain::{DependencyKind, PublicUrl, RegistryName};

const OTHER: &str = "sparse+https://other.example/index/";

fn metadata() -> Metadata {
    Metadata {
        name: Ok("demo".parse().unwrap()),
        version: Ok("1.0.0".parse().unwrap()),
    }
}

/// The files of a library with a build script.
fn files() -> Files {
    let paths = ["Cargo.toml", "build.rs", "src/lib.rs"];
    Files::new(paths.map(str::to_owned).to_vec())
}

/// Reads a manifest as the registry `crates` at localhost does, which allows the public registry and another one.
fn read_with(manifest: &str, limits: &Limits) -> Result<Release, Faults<ManifestFault>> {
    read_for(manifest, limits, &Requirements::default())
}

pub(super) fn read_for(
    manifest: &str,
    limits: &Limits,
    require: &Requirements,
) -> Result<Release, Faults<ManifestFault>> {
    let public_url: PublicUrl = "http://localhost:8642".parse().unwrap();
    let own = OwnUrls::new(&RegistryName::default(), [&public_url]);
    let allowed = [RegistryUrl::public_registry(), OTHER.parse().unwrap()];
    let rules = ManifestRules {
        own: &own,
        allowed_registries: &allowed,
        require,
        limits,
    };
    let Read { release, faults } = super::read(manifest, &metadata(), Some(&files()), &rules);
    match faults.is_empty() {
        true => Ok(release.unwrap()),
        false => Err(faults),
    }
}

/// Puts `rest` below a sound `[package]`.
pub(super) fn with_package(rest: &str) -> String {
    format!("[package]\nname = \"demo\"\nversion = \"1.0.0\"\n{rest}")
}

#[track_caller]
fn read(rest: &str) -> Release {
    match read_with(&with_package(rest), &Limits::default()) {
        Ok(release) => release,
        Err(faults) => panic!("{rest}: {:?}", faults.sentences()),
    }
}

fn faults_of(manifest: &str, limits: &Limits) -> Vec<String> {
    let faults = read_with(manifest, limits).unwrap_err();
    faults.sentences()
}

/// Checks that there is exactly one fault and that it is `expected`.
#[track_caller]
fn refused(rest: &str, expected: &str) {
    let found = faults_of(&with_package(rest), &Limits::default());
    assert_eq!(found, [expected], "{rest}");
}

fn line(release: &Release) -> String {
    let pubtime = "2026-11-22T10:00:00Z".parse().unwrap();
    let bytes = release.line(Cksum::from([0xab; 32]), pubtime).to_bytes();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_manifest_as_cargo_packs_it_becomes_its_line() {
    let release = read(
        r#"
edition = "2021"
rust-version = "1.65"
build = "build.rs"
links = "demo-native"
description = "Shows all."
homepage = "https://demo.example"
repository = "https://forge.example/acme/demo"
documentation = "https://docs.example/demo"
publish = ["crates"]
[package.metadata.docs.rs]
workspace = true
[lib]
name = "demo"
path = "src/lib.rs"
[dependencies.own-crate]
version = "0.1.2"
registry-index = "sparse+http://localhost:8642/crates/index/"
[dependencies.serde]
version = "1.0"
features = ["derive"]
optional = true
default-features = false
[dependencies.url_alias]
version = ">=2, <4"
registry-index = "sparse+https://other.example/index/"
package = "url"
[build-dependencies.cc]
version = "1"
[dev-dependencies.insta]
version = "=1.2.3"
[features]
default = ["std"]
extra = []
std = ["serde?/std"]
with-serde = ["dep:serde"]
[target."cfg( unix )".dependencies.libc]
version = "0.2"
default_features = false
[target.x86_64-pc-windows-msvc.build-dependencies]
winres = "0.1"
[lints.rust]
unsafe_code = "forbid"
[profile.release]
lto = true
"#,
    );
    assert_eq!(release.description.as_deref(), Some("Shows all."));
    let sources = release.repository.as_deref();
    assert_eq!(sources, Some("https://forge.example/acme/demo"));
    let index = "https://github.com/rust-lang/crates.io-index";
    let expected = format!(
        concat!(
            r#"{{"name":"demo","vers":"1.0.0","deps":["#,
            r#"{{"name":"cc","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"build","registry":"{index}"}},"#,
            r#"{{"name":"insta","req":"=1.2.3","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev","registry":"{index}"}},"#,
            r#"{{"name":"libc","req":"^0.2","features":[],"optional":false,"default_features":false,"target":"cfg(unix)","kind":"normal","registry":"{index}"}},"#,
            r#"{{"name":"own-crate","req":"^0.1.2","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}},"#,
            r#"{{"name":"serde","req":"^1.0","features":["derive"],"optional":true,"default_features":false,"target":null,"kind":"normal","registry":"{index}"}},"#,
            r#"{{"name":"url_alias","req":">=2, <4","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal","registry":"sparse+https://other.example/index/","package":"url"}},"#,
            r#"{{"name":"winres","req":"^0.1","features":[],"optional":false,"default_features":true,"target":"x86_64-pc-windows-msvc","kind":"build","registry":"{index}"}}"#,
            r#"],"cksum":"{cksum}","features":{{"extra":[]}},"features2":{{"default":["std"],"std":["serde?/std"],"with-serde":["dep:serde"]}},"#,
            r#""yanked":false,"links":"demo-native","rust_version":"1.65","pubtime":"2026-11-22T10:00:00Z","v":2}}"#,
            "\n",
        ),
        index = index,
        cksum = "ab".repeat(32),
    );
    assert_eq!(line(&release), expected);
}

#[test]
fn the_least_manifest_is_enough() {
    let release = read("");
    assert!(release.dependencies.is_empty() && release.features.is_empty());
    assert_eq!(
        (release.links, release.rust_version, release.description),
        (None, None, None)
    );
}

#[test]
fn name_and_version_are_those_of_the_upload_to_the_letter() {
    let of = |package: &str| faults_of(&format!("[package]\n{package}"), &Limits::default());
    assert_eq!(
        of("name = \"Demo\"\nversion = \"1.0.0+b\""),
        [
            "the manifest is that of `Demo`, but the upload says `demo`",
            "the manifest says version `1.0.0+b`, but the upload says `1.0.0`",
        ]
    );
    assert_eq!(
        of(""),
        ["`package.name` is missing", "`package.version` is missing"]
    );
    assert_eq!(
        of("name = 1\nversion = [1]"),
        [
            "`package.name` must be a string",
            "`package.version` must be a string"
        ]
    );
    let found = of("name = \"-\"\nversion = \"1\"");
    assert!(found[0].starts_with("`package.name`: the crate name `-`"));
    assert!(found[1].starts_with("`package.version`: `1` is not"));
}

#[test]
fn without_a_package_there_is_no_release() {
    let limits = Limits::default();
    assert_eq!(faults_of("", &limits), ["`package` is missing"]);
    assert_eq!(
        faults_of("package = 1", &limits),
        ["`package` must be a table"]
    );
    assert_eq!(
        faults_of("[project]\nname = \"demo\"\nversion = \"1.0.0\"", &limits),
        [
            "`[project]` must not be in a published crate; `cargo package` does not write it",
            "`package` is missing",
        ]
    );
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let limits = Limits::default();
    let found = faults_of("[package]\nname = \"demo\"\nversion = ", &limits);
    assert!(
        found[0].starts_with("`Cargo.toml` cannot be read, line 3: "),
        "{found:?}"
    );
    let found = faults_of("[package]\nname = 1\n\nname = 2", &limits);
    assert!(found[0].contains("line 4: duplicate key"), "{found:?}");
    for deep in [
        format!("a={}", "[".repeat(100_000)),
        format!("a{}=1", ".a".repeat(100_000)),
        format!("[a{}]", ".a".repeat(100_000)),
    ] {
        assert_eq!(faults_of(&deep, &limits).len(), 1);
    }
    let long = format!("a={}", "x".repeat(1 << 20));
    assert!(faults_of(&long, &limits)[0].len() < 400);
}

#[test]
fn nothing_of_the_uploaders_workspace_may_be_left() {
    let manifest = r#"
[package]
name = "demo"
version.workspace = true
edition.workspace = true
[lints]
workspace = true
[dependencies]
a.workspace = true
[target.'cfg(unix)'.dev-dependencies]
b = { workspace = true, features = ["x"] }
[patch.crates-io]
c = { path = "../c" }
[replace]
"#;
    assert_eq!(
        faults_of(manifest, &Limits::default()),
        [
            "`[patch]` must not be in a published crate; `cargo package` does not write it",
            "`[replace]` must not be in a published crate; `cargo package` does not write it",
            "`lints` is inherited from a workspace; `cargo package` writes the value itself",
            "`package.edition` is inherited from a workspace; `cargo package` writes the value itself",
            "`package.version` is inherited from a workspace; `cargo package` writes the value itself",
            "the dependency `a` in `[dependencies]` is inherited from a workspace; `cargo package` writes the requirement itself",
            "the dependency `b` in `[target.'cfg(unix)'.dev-dependencies]` is inherited from a workspace; `cargo package` writes the requirement itself",
        ]
    );
}

#[test]
fn an_inherited_name_is_not_missing_too() {
    let manifest = "[package]\nname.workspace = true\nversion = { workspace = true }";
    let told = "is inherited from a workspace; `cargo package` writes the value itself";
    assert_eq!(
        faults_of(manifest, &Limits::default()),
        [
            format!("`package.name` {told}"),
            format!("`package.version` {told}")
        ]
    );
    assert_eq!(
        faults_of("[package]\nversion.workspace = true", &Limits::default()),
        [
            format!("`package.version` {told}"),
            "`package.name` is missing".to_owned()
        ]
    );
}

#[test]
fn old_spellings_are_read_but_not_beside_the_new_ones() {
    let release = read(
        "[dev_dependencies]\na = '1'\n[build_dependencies]\nb = '1'\n[target.'cfg(any())'.dev_dependencies]\nc = '1'",
    );
    let kinds: Vec<_> = release.dependencies.iter().map(|dep| dep.kind).collect();
    assert_eq!(
        kinds,
        [
            DependencyKind::Build,
            DependencyKind::Dev,
            DependencyKind::Dev
        ]
    );
    let twice = "is there twice, with `-` and with `_`; only `-` should be used";
    refused(
        "[dev-dependencies]\n[dev_dependencies]",
        &format!("`dev-dependencies` {twice}"),
    );
    refused(
        "[target.foo.build-dependencies]\n[target.foo.build_dependencies]",
        &format!("`target.foo.build-dependencies` {twice}"),
    );
    refused(
        "[dependencies]\na = { version = '1', default-features = true, default_features = false }",
        &format!(
            "the dependency `a` in `[dependencies]` is not understood: `default-features` {twice}"
        ),
    );
}

#[test]
fn registries_are_ours_allowed_or_refused() {
    let registry_of = |key: &str| {
        let release = read(&format!("[dependencies]\na = {{ version = '1'{key} }}"));
        release.dependencies[0].registry.clone()
    };
    let public = Some(RegistryUrl::public_registry());
    assert_eq!(registry_of(""), public);
    for own in [
        "http://localhost:8642/crates/git",
        "http://LOCALHOST:8642/crates/git/",
        "sparse+http://localhost:8642/crates/index/",
    ] {
        assert_eq!(registry_of(&format!(", registry-index = '{own}'")), None);
    }
    for spelling in ["", "/", ".git"] {
        let url = format!("{}{spelling}", crate::domain::PUBLIC_REGISTRY);
        let found = registry_of(&format!(", registry-index = '{url}'"));
        assert_eq!(found, public);
    }
    assert_eq!(
        registry_of(&format!(", registry-index = '{OTHER}'")),
        Some(OTHER.parse().unwrap())
    );
    refused(
        "[dependencies]\na = { version = '1', registry-index = 'https://evil.example/git' }",
        "the dependency `a` in `[dependencies]` comes from the registry `https://evil.example/git`, on which crates here may not depend",
    );
    refused(
        "[dependencies]\na = { version = '1', registry-index = 'https://u:secret@evil.example/' }",
        "the dependency `a` in `[dependencies]` has a `registry-index` that is not the URL of an index: the URL must not carry a user name, a password, `?` or `#`",
    );
    refused(
        "[dependencies]\na = { version = '1', registry = 'crates' }",
        "the dependency `a` in `[dependencies]` names its registry by `registry`, an alias of the uploader's; `cargo package` writes the URL as `registry-index`",
    );
}

#[test]
fn what_is_understood_is_given_beside_the_faults() {
    let own = OwnUrls::new(
        &RegistryName::default(),
        [&"http://localhost:8642".parse().unwrap()],
    );
    let rules = ManifestRules {
        own: &own,
        allowed_registries: &[],
        require: &Requirements::default(),
        limits: &Limits::default(),
    };
    let url = "registry-index = 'http://localhost:8642/crates/git'";
    let manifest = with_package(&format!(
        "keywords = ['-']\n[dependencies]\nsound = {{ version = '1', {url} }}\n\
         starred = {{ version = '*', {url} }}\n\
         'no name' = {{ version = '1', {url} }}\nelsewhere = '1'"
    ));
    let found = super::read(&manifest, &metadata(), None, &rules);
    assert_eq!(found.faults.sentences().len(), 4);
    let release = found.release.unwrap();
    let known = release.dependencies.iter().map(|d| d.name.as_str());
    assert_eq!(known.collect::<Vec<_>>(), ["sound", "starred"]);

    let nothing = super::read("x =", &metadata(), None, &rules);
    assert_eq!(nothing.faults.sentences().len(), 1);
    let release = nothing.release.unwrap();
    assert_eq!(Ok(release.name), metadata().name);
    assert_eq!(Ok(release.version), metadata().version);
}

#[test]
fn the_public_registry_is_allowed_only_by_the_list() {
    let own = OwnUrls::default();
    let rules = ManifestRules {
        own: &own,
        allowed_registries: &[],
        require: &Requirements::default(),
        limits: &Limits::default(),
    };
    let manifest = with_package("[dependencies]\na = '1'");
    let found = super::read(&manifest, &metadata(), None, &rules);
    assert_eq!(
        found.faults.sentences().join("; "),
        "the dependency `a` in `[dependencies]` comes from the public registry, on which crates here may not depend; write `registry = \"…\"` beside its version if it is a crate of this registry"
    );
}

#[test]
fn each_fault_of_a_dependency_has_its_sentence() {
    let cases = [
        ("1", "must be a requirement in quotes or a table"),
        (
            "'*'",
            "allows any version with `*`; name a version that is known to work, such as `1`",
        ),
        (
            "' * '",
            "allows any version with `*`; name a version that is known to work, such as `1`",
        ),
        (
            "{}",
            "has no `version`; what is published can only depend on versions in a registry",
        ),
        (
            "{ version = 1 }",
            "is not understood: `version` must be a string",
        ),
        (
            "{ version = '1', path = '../a' }",
            "has the key `path`; `cargo package` removes it, because what is published can only depend on registries",
        ),
        (
            "{ version = '1', git = 'https://example.com/a' }",
            "has the key `git`; `cargo package` removes it, because what is published can only depend on registries",
        ),
        (
            "{ version = '1', artifact = 'bin' }",
            "has the key `artifact`, which only nightly Cargo understands",
        ),
        (
            "{ version = '1', public = true }",
            "has the key `public`, which only nightly Cargo understands",
        ),
        (
            "{ version = '1', package = '_a' }",
            "cannot be in a registry: the crate name `_a` must start with an ASCII letter, not with `_`",
        ),
        (
            "{ version = '1', optional = 'yes' }",
            "is not understood: `optional` must be `true` or `false`",
        ),
        (
            "{ version = '1', features = 'std' }",
            "is not understood: `features` must be a list of strings",
        ),
        (
            "{ version = '1', features = ['a/b'] }",
            "switches on a feature that cannot exist: the feature name `a/b` contains `/`; only letters, digits, `_`, `-`, `+` and `.` are allowed",
        ),
        (
            "{ version = '1', features = ['dep:b'] }",
            "switches on a feature that cannot exist: the feature name `dep:b` contains `:`; only letters, digits, `_`, `-`, `+` and `.` are allowed",
        ),
    ];
    for (value, expected) in cases {
        let expected = format!("the dependency `a` in `[dependencies]` {expected}");
        refused(&format!("[dependencies]\na = {value}"), &expected);
    }
    refused(
        "[dev-dependencies]\na = { version = '1', optional = true }",
        "the dependency `a` in `[dev-dependencies]` is optional, which a dependency of tests cannot be",
    );
    let spaced = |bytes: usize| format!("[dependencies]\na = '>=1,{}<2'", " ".repeat(bytes - 6));
    read(&spaced(256));
    let found = faults_of(&with_package(&spaced(257)), &Limits::default());
    assert!(found[0].contains("it is longer than "), "{found:?}");
    let requirement = faults_of(
        &with_package("[dependencies]\na = 'one'\n\"ä\" = '1'"),
        &Limits::default(),
    );
    assert!(requirement[0].contains("has the requirement `one`, which Cargo cannot read: "));
    assert!(
        requirement[1]
            .starts_with("the dependency `ä` in `[dependencies]` cannot be in a registry")
    );
}

#[test]
fn an_alias_may_start_with_an_underscore_and_a_crate_may_not() {
    let release = read("[dependencies]\n_a = { version = '1', package = 'a' }");
    assert_eq!(release.dependencies[0].name.as_str(), "_a");
    assert_eq!(release.dependencies[0].crate_name(), "a");
    let found = faults_of(
        &with_package("[dependencies]\n_a = '1'"),
        &Limits::default(),
    );
    assert!(found[0].contains("cannot be in a registry"), "{found:?}");
}

#[test]
fn platforms_are_those_that_cargo_can_read() {
    let of = |platform: &str| {
        let rest = format!("[target.'{platform}'.dependencies]\na = '1'");
        faults_of(&with_package(&rest), &Limits::default())
    };
    assert!(of("cfg(unix")[0].starts_with("the platform `cfg(unix` in `[target]` is neither"));
    assert!(of("two words")[0].contains("is neither a target nor"));
    // The outermost are those of `cfg`.
    let nested = |depth: usize| {
        format!(
            "cfg({}unix{})",
            "not(".repeat(depth - 1),
            ")".repeat(depth - 1)
        )
    };
    read(&format!("[target.'{}'.dependencies]\na = '1'", nested(32)));
    assert!(of(&nested(33))[0].ends_with("is nested deeper than 32 parentheses"));
    let beside = format!("cfg(all({}))", vec!["not(unix)"; 100].join(", "));
    read(&format!("[target.'{beside}'.dependencies]\na = '1'"));
    let long = |bytes: usize| "a".repeat(bytes);
    read(&format!("[target.{}.dependencies]\na = '1'", long(4096)));
    assert!(of(&long(4097))[0].ends_with("is longer than 4096 bytes"));
    let endless = format!("cfg({}", "not(".repeat(100_000));
    assert!(of(&endless)[0].ends_with("is longer than 4096 bytes"));
    for raw in [
        "cfg(r#unix)",
        "cfg(not(r#true))",
        "cfg(r#target_os = \"linux\")",
    ] {
        let fault = "has a raw identifier, which not every Cargo since 1.65 can read; write the name without `r#`";
        assert_eq!(
            of(raw),
            [format!("the platform `{raw}` in `[target]` {fault}")]
        );
    }
    // Not one: it stands in a string.
    read("[target.'cfg(feature = \"r#x\")'.dependencies]\na = '1'");
    // Without dependencies it stands in no line, but Cargo reads it in the manifest.
    refused(
        "[target.'cfg(r#x)'.dependencies]",
        "the platform `cfg(r#x)` in `[target]` has a raw identifier, which not every Cargo since 1.65 can read; write the name without `r#`",
    );
}

#[test]
fn features_stand_for_something_that_exists() {
    let dependencies = "[dependencies]\nplain = '1'\nopt = { version = '1', optional = true }\nhidden = { version = '1', optional = true }\n[dev-dependencies]\nonly-tests = '1'\n";
    let of = |features: &str| with_package(&format!("{dependencies}[features]\n{features}"));
    let sound = r#"
default = ["std", "opt"]
std = ["plain/std", "opt?/std", "hidden/std", "only-tests/x"]
with-hidden = ["dep:hidden"]
"1.0+x_y" = []
"#;
    let release = read_with(&of(sound), &Limits::default()).unwrap();
    // What an optional dependency implies is not written out, as in Cargo's own lines.
    assert!(!release.features.contains_key("opt"));
    assert_eq!(release.features["default"], ["std", "opt"]);

    let cases = [
        (
            "a = ['b']",
            "the feature `a` asks for `b`, which is neither a feature nor an optional dependency",
        ),
        (
            "a = ['b/std']",
            "the feature `a` asks for `b/std`, but there is no such dependency",
        ),
        (
            "a = ['dep:b']",
            "the feature `a` asks for `dep:b`, but there is no such dependency",
        ),
        (
            "a = ['plain']",
            "the feature `a` asks for `plain`, but that dependency is not optional",
        ),
        (
            "a = ['dep:plain']",
            "the feature `a` asks for `dep:plain`, but that dependency is not optional",
        ),
        (
            "a = ['plain?/std']",
            "the feature `a` asks for `plain?/std`, but that dependency is not optional",
        ),
        (
            "a = ['hidden', 'dep:hidden']",
            "the feature `a` asks for `hidden`, an optional dependency without a feature of its name; write `dep:hidden`",
        ),
        (
            "opt = []",
            "no feature asks for the optional dependency `opt`; one must have the value `dep:opt`",
        ),
        ("a = 'b'", "`features.a` must be a list of strings"),
        (
            "a = ['dep:b/c']",
            "in the feature `a`: the feature value `dep:b/c` must not combine `dep:` with `/`",
        ),
        (
            "\"a b\" = []",
            "in `[features]`: the feature name `a b` contains ` `; only letters, digits, `_`, `-`, `+` and `.` are allowed",
        ),
    ];
    for (features, expected) in cases {
        assert_eq!(faults_of(&of(features), &Limits::default()), [expected]);
    }
    // A feature may have the name of a dependency if some value still asks for the dependency.
    read_with(&of("opt = ['dep:opt']"), &Limits::default()).unwrap();
    read_with(&of("opt = ['opt/std']"), &Limits::default()).unwrap();
}

#[test]
fn a_faulty_dependency_does_not_make_features_faulty_too() {
    refused(
        "[dependencies]\na = { version = '*', optional = true }\n[features]\nwith-a = ['dep:a']",
        "the dependency `a` in `[dependencies]` allows any version with `*`; name a version that is known to work, such as `1`",
    );
}

#[test]
fn the_rust_version_is_one_to_three_numbers() {
    for good in ["1", "1.85", "1.85.0", "0.0.0"] {
        let release = read(&format!("rust-version = '{good}'"));
        assert_eq!(release.rust_version.as_deref(), Some(good));
    }
    for bad in [
        "",
        "1.",
        ".1",
        "1.2.3.4",
        "^1.2",
        "1.2.3-beta",
        "01.2",
        "+1",
        "1.x",
        " 1",
        "99999999999999999999",
    ] {
        refused(
            &format!("rust-version = '{bad}'"),
            &format!(
                "`package.rust-version` is `{bad}`; it must be one to three numbers such as `1.85`"
            ),
        );
    }
    refused(
        "rust-version = 1.85",
        "`package.rust-version` must be a string",
    );
}

#[test]
fn the_description_is_a_text() {
    refused(
        "description = ['a']",
        "`package.description` must be a string",
    );
}

#[test]
fn a_native_library_has_a_name_on_one_line() {
    refused(
        "links = ''",
        "`package.links`: the text is empty or has blanks at its ends",
    );
    refused(
        "links = \"a\\nb\"",
        r"`package.links`: the text contains the character '\n'; control characters, marks of direction, `<` and `>` are not allowed",
    );
}

/// The faults of `rest` below a sound `[package]` in an archive with these files.
fn faults_with_files(rest: &str, files: &[&str]) -> Vec<String> {
    faults_of_files(&with_package(rest), files)
}

fn faults_of_files(manifest: &str, files: &[&str]) -> Vec<String> {
    let rules = ManifestRules {
        own: &OwnUrls::default(),
        allowed_registries: &[],
        require: &Requirements::default(),
        limits: &Limits::default(),
    };
    let files = Files::new(files.iter().map(|path| (*path).to_owned()).collect());
    let read = super::read(manifest, &metadata(), Some(&files), &rules);
    read.faults.sentences()
}

#[test]
fn a_native_library_needs_a_build_script() {
    let needs = [
        "`package.links` needs a build script: `build.rs`, or the file that `package.build` names, must be in the archive",
    ];
    let files = ["src/lib.rs", "build.rs", "build/main.rs"];
    for rest in [
        "links = 'z'",
        "links = 'z'\nbuild = true",
        "links = 'z'\nbuild = './build/main.rs'",
        "build = false",
        "build = 'missing.rs'",
    ] {
        assert_eq!(faults_with_files(rest, &files), [""; 0], "{rest}");
    }
    for rest in [
        "links = 'z'\nbuild = false",
        "links = 'z'\nbuild = 'missing.rs'",
        "links = 'z'\nbuild = ''",
    ] {
        assert_eq!(faults_with_files(rest, &files), needs, "{rest}");
    }
    assert_eq!(faults_with_files("links = 'z'", &["src/lib.rs"]), needs);
    assert_eq!(
        faults_with_files("links = 'z'\nbuild = true", &["src/lib.rs"]),
        needs
    );
    for build in ["1", "['build.rs']"] {
        refused(
            &format!("build = {build}"),
            "`package.build` must be the path of a build script, `true` or `false`",
        );
    }
}

#[test]
fn a_crate_has_something_to_build() {
    for file in [
        "src/main.rs",
        "src/bin/a.rs",
        "examples/a.rs",
        "tests/a/main.rs",
        "benches/a.rs",
    ] {
        assert_eq!(faults_with_files("", &[file]), [""; 0], "{file}");
    }
    for section in [
        "[lib]\npath = 'x.rs'",
        "[[bin]]\nname = 'x'",
        "[[test]]\nname = 'x'",
    ] {
        assert_eq!(faults_with_files(section, &["x.rs"]), [""; 0], "{section}");
    }
    let nothing = [
        "the crate has nothing to build: neither `src/lib.rs` nor `src/main.rs` is in the archive, and `Cargo.toml` has no `[lib]` and no `[[bin]]`",
    ];
    let files = ["Cargo.toml", "lib.rs", "src/other.rs", "src/Main.rs"];
    for rest in ["", "bin = []", "[package.lib]"] {
        assert_eq!(faults_with_files(rest, &files), nothing, "{rest}");
    }
    let empty = format!("bin = []\n{}", with_package(""));
    assert_eq!(faults_of_files(&empty, &files), nothing);
}

#[test]
fn a_crate_that_no_registry_may_have_is_refused() {
    for rest in ["publish = false", "publish = []"] {
        refused(
            rest,
            "`package.publish` says that no registry may have the crate; remove it, or list this registry in it",
        );
    }
    read("publish = true");
    read("publish = ['mine']");
    refused(
        "publish = 'mine'",
        "`package.publish` must be `true`, `false` or a list of registries",
    );
}

#[test]
fn an_edition_is_a_text() {
    refused("edition = 2021", "`package.edition` must be a string");
    read("edition = '2021'");
}

#[test]
fn one_name_comes_from_one_url() {
    let both = |first: &str, second: &str| {
        format!(
            "[dependencies]\na = {{ version = '1'{first} }}\n\
             [target.'cfg(unix)'.dev-dependencies]\na = {{ version = '1'{second} }}"
        )
    };
    let other = format!(", registry-index = '{OTHER}'");
    let git = ", registry-index = 'http://localhost:8642/crates/git'";
    let sparse = ", registry-index = 'sparse+http://localhost:8642/crates/index/'";
    // The same address, read in two ways.
    let by_git = other.replace("sparse+", "");
    for (first, second) in [
        ("", other.as_str()),
        (git, ""),
        (git, sparse),
        (&other, &by_git),
        (&by_git, &other),
    ] {
        refused(
            &both(first, second),
            "the dependency `a` in `[target.'cfg(unix)'.dev-dependencies]` has another `registry-index` than in `[dependencies]`; Cargo takes a name from one URL alone: write the same, or rename one by `package`",
        );
    }
    for same in ["", other.as_str(), git, sparse] {
        read(&both(same, same));
    }
    read(&both("", ", package = 'b'"));
}

#[test]
fn a_line_that_is_too_long_is_told_beside_other_faults() {
    let limits = Limits {
        line_bytes_max: 100,
        ..Limits::default()
    };
    let found = faults_of(&with_package("keywords = ['-']"), &limits);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].ends_with("at most 100 are allowed"), "{found:?}");
}

#[test]
fn all_syntax_faults_are_told_with_their_lines() {
    let found = faults_of(
        &with_package("description = \"\\e\"\n[package.metadata]\nx = 07:32\ny = { a = 1, }"),
        &Limits::default(),
    );
    let lines: Vec<_> = found.iter().map(|text| &text[..24]).collect();
    assert_eq!(
        lines,
        [
            "`Cargo.toml`, line 4, ha",
            "`Cargo.toml`, line 6, ha",
            "`Cargo.toml`, line 7, ha"
        ]
    );
    let many = format!("[package.metadata]\nx = [{}]", "07:32, ".repeat(100_000));
    let found = faults_of(&with_package(&many), &Limits::default());
    assert_eq!(found[20], "99980 more faults are not listed");
}

#[test]
fn without_a_name_the_rest_is_judged() {
    let rules = ManifestRules {
        own: &OwnUrls::default(),
        allowed_registries: &[],
        require: &Requirements::default(),
        limits: &Limits::default(),
    };
    let upload = |name: &str| Metadata {
        name: name.parse().map_err(MetadataFault::Name),
        version: Ok("1.0.1".parse().unwrap()),
    };
    let found = super::read(&with_package("links = ''"), &upload("-"), None, &rules);
    assert!(found.release.is_none());
    assert_eq!(
        found.faults.sentences(),
        [
            "the manifest says version `1.0.0`, but the upload says `1.0.1`",
            "`package.links`: the text is empty or has blanks at its ends",
        ]
    );
    // The same fault in both is told of the upload alone.
    let faulty = "[package]\nname = '-'\nversion = '1.0.1'";
    let sentences = |name| {
        super::read(faulty, &upload(name), None, &rules)
            .faults
            .sentences()
    };
    assert_eq!(sentences("-"), [""; 0]);
    assert_eq!(sentences("_").len(), 1);
    let faulty = "[package]\nname = 'demo'\nversion = '1'";
    let sentences = |version: &str| {
        let upload = Metadata {
            version: version.parse().map_err(MetadataFault::Version),
            ..metadata()
        };
        let read = super::read(faulty, &upload, None, &rules);
        read.faults.sentences()
    };
    assert_eq!(sentences("1"), [""; 0]);
    assert_eq!(sentences("2").len(), 1);
}

/// A release with just as much of everything as [`few`] allows.
const JUST_ENOUGH: &str = "\
    [dependencies]\na = { version = '1', features = ['x', 'y'] }\n\
    [dev-dependencies]\na = '1'\n\
    [features]\nb = []\nc = ['b', 'a/d']";

fn few() -> Limits {
    Limits {
        dependencies_max: 2,
        features_max: 2,
        ..Limits::default()
    }
}

/// Checks that what is just enough is taken, and that `rest` is not.
#[track_caller]
fn too_much(rest: &str, expected: &str) {
    read_with(&with_package(JUST_ENOUGH), &few()).unwrap();
    assert_eq!(faults_of(&with_package(rest), &few()), [expected]);
}

#[test]
fn there_are_not_too_many_dependencies() {
    too_much(
        "[dependencies]\na = '1'\nb = '1'\n[target.x.dependencies]\na = '1'",
        "the manifest has 3 dependencies; at most 2 are allowed",
    );
}

#[test]
fn there_are_not_too_many_features() {
    too_much(
        "[features]\na = []\nb = []\nc = []",
        "the manifest has 3 features; at most 2 are allowed",
    );
}

#[test]
fn a_feature_has_not_too_many_values() {
    too_much(
        "[features]\na = []\nb = ['a', 'a', 'a']",
        "the feature `b` has 3 values; at most 2 are allowed",
    );
}

#[test]
fn a_dependency_switches_on_not_too_many_features() {
    too_much(
        "[dependencies]\na = { version = '1', features = ['x', 'y', 'z'] }",
        "the dependency `a` in `[dependencies]` switches on more than 2 features",
    );
}

#[test]
fn the_line_is_not_too_long() {
    let release = read_with(&with_package(JUST_ENOUGH), &few()).unwrap();
    let bytes = line(&release).len();
    for (line_bytes_max, is_refused) in [(bytes, false), (bytes - 1, true)] {
        let limits = Limits {
            line_bytes_max,
            ..few()
        };
        let verdict = read_with(&with_package(JUST_ENOUGH), &limits);
        assert_eq!(verdict.is_err(), is_refused);
    }
}

#[test]
fn all_faults_are_told_together_and_stay_short() {
    let huge = "x".repeat(100_000);
    let manifest = format!(
        "[package]\nname = 'other'\nversion = '2.0.0'\nrust-version = '{huge}'\n[patch]\n\
         [dependencies]\na = '{huge}'\n{huge} = '1'\n[target.{huge}.dependencies]\nb = '*'\n\
         [features]\n{huge} = []\nc = ['{huge}', 'dep:{huge}', 'a/{huge}']\nd = ['e']"
    );
    let faults = read_with(&manifest, &Limits::default()).unwrap_err();
    let texts: Vec<String> = faults.sentences();
    assert_eq!(texts.len(), 10, "{texts:#?}");
    assert!(texts.iter().all(|text| text.len() < 700), "{texts:#?}");
}

/// The sentences about `rest` where `[require]` of the policy has `key = true`.
fn required(key: &str, rest: &str) -> Vec<String> {
    let require: Requirements = toml::from_str(&format!("{key} = true")).unwrap();
    match read_for(&with_package(rest), &Limits::default(), &require) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.sentences(),
    }
}

#[test]
fn a_description_is_required_by_policy() {
    let long = format!("description = '{}'", "é".repeat(501));
    for (rest, expected) in [
        (
            "",
            "`package.description` is missing; this registry asks for a sentence about each crate",
        ),
        (
            "description = ' \\n'",
            "`package.description` is missing; this registry asks for a sentence about each crate",
        ),
        (
            &long,
            "`package.description` is 1002 bytes long; at most 1000 are allowed, the rest belongs into the README",
        ),
    ] {
        let rest = rest.replace("\\n", " ");
        assert_eq!(required("description", &rest), [expected], "{rest}");
        read(&rest);
    }
    let just = format!("description = '{}'", "é".repeat(500));
    assert!(required("description", &just).is_empty());
}

#[test]
fn a_license_is_required_by_policy() {
    for good in [
        "license = 'MIT'",
        "license = 'MIT OR Apache-2.0'",
        "license = 'MIT/Apache-2.0'",
        "license = '(MIT OR Apache-2.0) AND Unicode-3.0'",
        "license = 'GPL-2.0 WITH Classpath-exception-2.0'",
        "license = 'LicenseRef-Acme'",
        "license-file = 'LICENSE'",
    ] {
        assert_eq!(required("license", good), [""; 0], "{good}");
    }
    let missing = "`package.license` is missing; write an SPDX expression such as `MIT OR Apache-2.0`, or name a file by `license-file`";
    for rest in ["", "license = ''", "license-file = ' '"] {
        assert_eq!(required("license", rest), [missing], "{rest}");
        read(rest);
    }
    for (text, reason) in [
        ("Acme", "unknown term at `Acme`"),
        ("MIT OR", "expected one of `<license>`, `(` here"),
        (
            "MIT Apache-2.0",
            "expected one of `AND`, `OR`, `WITH`, `)`, `+` here at `Apache-2.0`",
        ),
        ("(MIT", "unclosed parens at `(`"),
    ] {
        let rest = format!("license = '{text}'");
        let expected =
            format!("`package.license` is `{text}`, which is not an SPDX expression: {reason}");
        assert_eq!(required("license", &rest), [expected]);
        read(&rest);
    }
    let long = |bytes: usize| format!("license = 'LicenseRef-{}'", "a".repeat(bytes - 11));
    assert_eq!(required("license", &long(1000)), [""; 0]);
    assert!(required("license", &long(1001))[0].ends_with("it is longer than 1000 bytes"));
    let endless = format!("license = '{}'", "(".repeat(100_000));
    let found = required("license", &endless);
    assert!(
        found[0].ends_with("it is longer than 1000 bytes"),
        "{found:?}"
    );
}

#[test]
fn urls_are_of_the_web_by_policy() {
    let good = "homepage = 'https://a.example/'\nrepository = 'http://b.example'";
    assert_eq!(required("web_urls", good), [""; 0]);
    for key in ["homepage", "documentation", "repository"] {
        for url in [
            "javascript:alert(1)",
            "git@host:a/b.git",
            "https://",
            " https://a.example",
        ] {
            let rest = format!("{key} = '{url}'");
            let expected = format!(
                "`package.{key}` is `{url}`; it must be a URL with `https://` or `http://`"
            );
            assert_eq!(required("web_urls", &rest), [expected]);
            read(&rest);
        }
    }
}

#[test]
fn keywords_are_few_and_words() {
    read("keywords = ['a', '2d', 'c++', 'no_std', 'x-y']");
    refused(
        "keywords = ['a', 'b', 'c', 'd', 'e', 'f']",
        "`package.keywords` has 6 keywords; at most 5 are allowed",
    );
    for word in ["", "two words", "-a", "größe", "abcdefghijklmnopqrstu"] {
        refused(
            &format!("keywords = ['{word}']"),
            &format!(
                "`package.keywords` has `{word}`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first"
            ),
        );
    }
    refused(
        "keywords = 'a'",
        "`package.keywords` must be a list of strings",
    );
}

#[test]
fn categories_are_few_and_of_any_name() {
    read("categories = ['no-std', 'our own', 'c', 'd', 'e']");
    refused(
        "categories = ['a', 'b', 'c', 'd', 'e', 'f']",
        "`package.categories` has 6 categories; at most 5 are allowed",
    );
}

#[test]
fn toml_that_only_new_readers_take_is_a_fault_beside_others() {
    let found = faults_of(
        &with_package("description = \"\\e\"\n[dependencies]\na = '*'"),
        &Limits::default(),
    );
    assert_eq!(
        found,
        [
            "`Cargo.toml`, line 4, has the escape `\\e`, which Cargo before 1.94 cannot read; write `\\u00HH`",
            "the dependency `a` in `[dependencies]` allows any version with `*`; name a version that is known to work, such as `1`",
        ]
    );
}
