//! Each rule for uploads in the words in which a developer reads it.
//!
//! What Cargo itself lets through goes through the real `cargo publish`, and the snapshot is what it prints. What Cargo
//! would refuse before it sends anything is sent without it, and the snapshot is the text of the answer.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::cargos::{Sandbox, View};
use crate::common::git::Clone;
use crate::common::http::request;
use crate::common::registry::Registry;
use crate::common::tarball::{Tarball, gzip};
use crate::common::upload::{Release, frame, metadata};

/// A package of which only the manifest matters.
struct Package {
    folder: PathBuf,
}

impl Package {
    /// `rest` goes right below name and version.
    fn new(sandbox: &Sandbox, name: &str, version: &str, rest: &str) -> Self {
        let folder = sandbox.work().join(format!("{name}-{version}"));
        let package = Self { folder };
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n{rest}"
        );
        package.file("src/lib.rs", "").file("Cargo.toml", &manifest)
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }
}

/// What was said about each of several uploads.
#[derive(Default)]
struct Transcript(String);

impl Transcript {
    /// Publishes with the real cargo, which must fail, and notes its error.
    #[track_caller]
    fn fails(&mut self, sandbox: &Sandbox, registry: &Registry, what: &str, package: &Package) {
        let ran = publish(sandbox, &package.folder);
        assert!(!ran.is_success(), "{what}: this should fail: {ran}");
        let at = ran.stderr.find("error: ").unwrap_or_default();
        self.note(registry, what, &ran.stderr[at..]);
    }

    /// Sends a `.crate` file as `krate 1.0.0`, which must be refused, and notes the answer.
    #[track_caller]
    fn refused(&mut self, registry: &Registry, token: &str, what: &str, crate_file: &[u8]) {
        let metadata = metadata("krate", "1.0.0").to_string();
        let reply = request("PUT", "/crates/api/v1/crates/new")
            .token(token)
            .body(frame(metadata.as_bytes(), crate_file))
            .send(registry.port);
        self.note(
            registry,
            what,
            &format!("{} {}", reply.status, reply.refusal()),
        );
    }

    fn note(&mut self, registry: &Registry, what: &str, text: &str) {
        let mut text = text.replace(&format!("localhost:{}", registry.port), "localhost:PORT");
        // How long a test has run is nobody's business.
        if let Some((before, after)) = text.split_once("allowed in ") {
            let unit = after.trim_start_matches(|c: char| c.is_ascii_digit());
            text = format!("{before}allowed in N{unit}");
        }
        writeln!(self.0, "## {what}\n{}", text.trim_end()).unwrap();
    }
}

fn publish(sandbox: &Sandbox, folder: &Path) -> crate::common::ran::Ran {
    let arguments = ["publish", "--registry", "crates", "--no-verify", "--quiet"];
    sandbox.cargo(folder, &arguments)
}

/// Replaces `policy.toml` by a commit, as people do while the registry stands still.
fn set_policy(registry: &mut Registry, policy: &str) {
    let clone = Clone::of(registry);
    fs::write(clone.path().join("policy.toml"), policy).unwrap();
    let author = [
        "-c",
        "user.name=admin",
        "-c",
        "user.email=admin@example.com",
    ];
    clone.git(&[&author[..], &["commit", "--quiet", "-am", "Other rules"]].concat());
    registry.stop();
    let repository = registry.repository();
    clone.git(&[
        "push",
        "--quiet",
        // One pack, as the registry itself writes.
        "--receive-pack=git -c receive.unpackLimit=1 receive-pack",
        repository.to_str().unwrap(),
        "HEAD:main",
    ]);
    registry.start_again();
}

fn alice(registry: &Registry) -> Sandbox {
    let alice = Sandbox::stable(registry, View::Sparse);
    alice.login(&registry.token("alice"));
    alice
}

#[test]
fn what_cargo_lets_through_is_refused_in_a_sentence() {
    let registry = Registry::start();
    let token = registry.token("alice");
    for name in ["Some-Crate", "of-alice"] {
        Release::new(name, "1.0.0")
            .publish(registry.port, &token)
            .succeeds();
    }
    let alice = alice(&registry);
    let bob = Sandbox::stable(&registry, View::Sparse);
    bob.login(&registry.token("bob"));

    let mut said = Transcript::default();
    let package = |name: &str, version: &str, rest: &str| Package::new(&alice, name, version, rest);
    let mut fails = |what: &str, package: &Package| said.fails(&alice, &registry, what, package);
    fails("a name of the toolchain", &package("std", "1.0.0", ""));
    fails("a device on Windows", &package("com7", "1.0.0", ""));
    fails(
        "a name of 65 letters",
        &package(&"n".repeat(65), "1.0.0", ""),
    );
    fails("a name that starts with _", &package("_x", "1.0.0", ""));
    fails("a name that is not ASCII", &package("größe", "1.0.0", ""));
    fails("a twin of a name", &package("some_crate", "2.0.0", ""));
    let long = format!("1.0.0-{}", "a".repeat(145));
    fails("a version of 151 letters", &package("krate", &long, ""));
    fails(
        "a version but for build metadata",
        &package("Some-Crate", "1.0.0+again", ""),
    );
    fails(
        "six keywords",
        &package(
            "krate",
            "1.0.0",
            "keywords = ['a', 'b', 'c', 'd', 'e', 'f']",
        ),
    );
    fails(
        "a keyword of two words",
        &package("krate", "1.0.1", "keywords = ['two words']"),
    );
    fails(
        "six categories",
        &package(
            "krate",
            "1.0.2",
            "categories = ['a', 'b', 'c', 'd', 'e', 'f']",
        ),
    );
    let star = "[dependencies]\nof-alice = { version = '*', registry = 'crates' }";
    fails(
        "any version of a dependency",
        &package("krate", "1.0.3", star),
    );
    let nameless: String = (0..301).map(|number| format!("f{number} = []\n")).collect();
    let many = format!("[features]\n{nameless}");
    fails("301 features", &package("krate", "1.0.4", &many));
    let links = "links = \"a\\u0007b\"\nbuild = 'src/lib.rs'";
    fails(
        "a native library that rings",
        &package("krate", "1.0.5", links),
    );
    let deep = ["d".repeat(200), "e".repeat(200), "f".repeat(100)].join("/");
    fails(
        "a long path",
        &package("krate", "1.0.6", "").file(&deep, ""),
    );
    fails(
        "paths that differ in case",
        &package("krate", "1.0.7", "")
            .file("a.md", "")
            .file("A.md", ""),
    );
    let two = "keywords = ['-']\nlinks = ' '\nbuild = 'src/lib.rs'";
    fails("two faults at once", &package("krate", "1.0.8", two));
    said.fails(
        &bob,
        &registry,
        "somebody else's crate",
        &Package::new(&bob, "of-alice", "1.0.1", ""),
    );
    insta::assert_snapshot!(said.0, @r##"
    ## a name of the toolchain
    error: failed to publish std v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): the name `std` is reserved for the Rust toolchain; choose another
    ## a device on Windows
    error: failed to publish com7 v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): the name `com7` is the name of a device on Windows; choose another
    ## a name of 65 letters
    error: failed to publish nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `name` in the metadata: the crate name `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…` is longer than 64 characters
    ## a name that starts with _
    error: failed to publish _x v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `name` in the metadata: the crate name `_x` must start with an ASCII letter, not with `_`
    ## a name that is not ASCII
    error: failed to publish größe v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `name` in the metadata: the crate name `größe` contains `ö`; only ASCII letters, digits, `-` and `_` are allowed
    ## a twin of a name
    error: failed to publish some_crate v2.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): the crate `some_crate` exists under the spelling `Some-Crate`; use that name
    ## a version of 151 letters
    error: failed to publish krate v1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `vers` in the metadata: the version `1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…` is longer than 150 characters
    ## a version but for build metadata
    error: crate Some-Crate@1.0.0+again already exists on `crates` index
    ## six keywords
    error: failed to publish krate v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `package.keywords` has 6 keywords; at most 5 are allowed
    ## a keyword of two words
    error: failed to publish krate v1.0.1 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `package.keywords` has `two words`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first
    ## six categories
    error: failed to publish krate v1.0.2 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `package.categories` has 6 categories; at most 5 are allowed
    ## any version of a dependency
    error: failed to publish krate v1.0.3 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): the dependency `of-alice` in `[dependencies]` allows any version with `*`; name a version that is known to work, such as `1`
    ## 301 features
    error: failed to publish krate v1.0.4 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): the manifest has 301 features; at most 300 are allowed
    ## a native library that rings
    error: failed to publish krate v1.0.5 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `package.links`: the text contains the character '\u{7}'
    ## a long path
    error: failed to publish krate v1.0.6 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): the path `krate-1.0.6/dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd…` is longer than 512 bytes
    ## paths that differ in case
    error: failed to publish krate v1.0.7 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `krate-1.0.7/A.md` and `krate-1.0.7/a.md` differ only in case or in how accents are written, and would be one file on Windows or macOS
    ## two faults at once
    error: failed to publish krate v1.0.8 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `package.keywords` has `-`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first, `package.links`: the text is empty or has blanks at its ends
    ## somebody else's crate
    error: failed to publish of-alice v1.0.1 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 403 Forbidden): `bob` is not an owner of the crate `of-alice`; its owners are alice
    "##);
}

#[test]
fn what_only_some_registries_refuse_is_refused_in_a_sentence() {
    let mut registry = Registry::start();
    set_policy(
        &mut registry,
        "create = ['alice']\n\
         reserved = ['acme-core']\n\
         require = { description = true, license = true, web_urls = true }\n\
         rates.new_crates = { burst = 1, per_hour = 1 }\n\
         rates.yanks = { burst = 1, per_hour = 1 }\n\
         limits.crate_bytes_max = 10000\n",
    );
    let alice = alice(&registry);
    let bob = Sandbox::stable(&registry, View::Sparse);
    bob.login(&registry.token("bob"));
    let mut said = Transcript::default();
    let good = "description = 'A crate'\nlicense = 'MIT'\n";
    let package = |name: &str, rest: &str| Package::new(&alice, name, "1.0.0", rest);
    said.fails(&alice, &registry, "nothing for people", &package("one", ""));
    let long = format!(
        "description = '{}'\nlicense-file = 'LICENSE'",
        "a".repeat(1001)
    );
    said.fails(
        &alice,
        &registry,
        "a description of pages",
        &package("two", &long).file("LICENSE", ""),
    );
    let odd =
        "description = 'x'\nlicense = 'Acme'\nhomepage = 'javascript:x'\nrepository = 'git@h:a'";
    said.fails(
        &alice,
        &registry,
        "no licence and no pages",
        &package("three", odd),
    );
    said.fails(
        &alice,
        &registry,
        "a name that is kept",
        &package("Acme_Core", good),
    );
    let mut noise = 1_u32;
    let blob: String = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (noise >> 24) as u8 % 90)
    })
    .take(20_000)
    .collect();
    let size = publish(&alice, &package("large", good).file("blob", &blob).folder);
    assert!(
        size.stderr.contains("at most 10000 bytes are allowed"),
        "{size}"
    );

    let first = package("first", good);
    assert!(publish(&alice, &first.folder).is_success());
    said.fails(
        &alice,
        &registry,
        "too many crates",
        &package("second", good),
    );
    said.fails(
        &bob,
        &registry,
        "a newcomer",
        &Package::new(&bob, "third", "1.0.0", good),
    );
    let yank = |extra: &[&str]| {
        let mut words = vec![
            "yank",
            "--version",
            "1.0.0",
            "first",
            "--registry",
            "crates",
            "--quiet",
        ];
        words.extend_from_slice(extra);
        alice.cargo(&alice.work(), &words)
    };
    assert!(yank(&[]).is_success());
    let ran = yank(&["--undo"]);
    assert!(!ran.is_success());
    said.note(&registry, "too many yanks", &ran.stderr);
    let again = request("PUT", "/crates/api/v1/crates/first/1.0.0/unyank")
        .token(&registry.token("alice"))
        .send(registry.port);
    let wait: u64 = again.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (1..=3600).contains(&wait) && again.status == 429,
        "{again:?}"
    );
    insta::assert_snapshot!(said.0, @r##"
    ## nothing for people
    error: failed to publish one v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `package.description` is missing; this registry asks for a sentence about each crate, `package.license` is missing; write an SPDX expression such as `MIT OR Apache-2.0`, or name a file by `license-file`
    ## a description of pages
    error: failed to publish two v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `package.description` is 1001 bytes long; at most 1000 are allowed, the rest belongs into the README
    ## no licence and no pages
    error: failed to publish three v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `package.license` is `Acme`, which is not an SPDX expression: unknown term at `Acme`, `package.homepage` is `javascript:x`; it must be a URL with `https://` or `http://`, `package.repository` is `git@h:a`; it must be a URL with `https://` or `http://`
    ## a name that is kept
    error: failed to publish Acme_Core v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): the name `Acme_Core` is reserved by the policy of this registry; choose another
    ## too many crates
    error: failed to publish second v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 429 Too Many Requests): `alice` has created crates too often for this registry; the next is allowed in N seconds
    ## a newcomer
    error: failed to publish third v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 403 Forbidden): the policy of this registry does not let `bob` create crates; alice may
    ## too many yanks
    error: failed to undo a yank from the registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 429 Too Many Requests): `alice` has yanked too often for this registry; the next is allowed in N seconds
    "##);
}

#[test]
fn what_cargo_never_sends_is_refused_in_a_sentence() {
    let registry = Registry::start();
    let token = registry.token("alice");
    Release::new("Some-Crate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
    let own = format!("registry-index = '{}'", registry.git_index());
    let mut said = Transcript::default();
    let mut refused = |what: &str, file: &[u8]| said.refused(&registry, &token, what, file);

    let package = "[package]\nname = \"krate\"\nversion = \"1.0.0\"\n";
    let manifest = |text: &str| Tarball::of_crate("krate", "1.0.0", text).finish();
    let with = |rest: &str| manifest(&format!("{package}{rest}"));
    refused(
        "a dependency that is not there",
        &with(&format!(
            "[dependencies]\nabsent = {{ version = '1', {own} }}"
        )),
    );
    refused(
        "a dependency in another spelling",
        &with(&format!(
            "[dev-dependencies]\nsome_crate = {{ version = '1', {own} }}"
        )),
    );
    refused(
        "a crate that needs itself",
        &with(&format!(
            "[dependencies]\nkrate = {{ version = '1', {own} }}"
        )),
    );
    refused(
        "another registry",
        &with("[dependencies]\na = { version = '1', registry-index = 'https://other.example/' }"),
    );
    refused(
        "a folder",
        &with("[dependencies]\na = { version = '1', path = '../a' }"),
    );
    refused(
        "an alias",
        &with("[dependencies]\na = { version = '1', registry = 'ours' }"),
    );
    refused("a platform", &with("[target.'cfg('.dependencies]\na = '1'"));
    refused(
        "a feature of nothing",
        &with("[features]\nx = ['y', 'dep:z', '-']"),
    );
    refused("a version of Rust", &with("rust-version = '1.70.0-beta'"));
    refused(
        "a workspace",
        &with("license.workspace = true\n[patch.crates-io]\n"),
    );
    refused(
        "another name and version",
        &manifest("[package]\nname = \"other\"\nversion = \"2.0.0\"\n"),
    );
    refused("no TOML", &with("x ="));
    refused("a key twice", &with("name = \"krate\"\n"));
    refused(
        "a byte order mark",
        &manifest(&format!("\u{feff}{package}")),
    );
    refused(
        "lines of Windows",
        &manifest(&package.replace('\n', "\r\n")),
    );
    refused("a NUL", &with("# \0\n"));
    refused(
        "an inline table of lines",
        &with("[dependencies]\na = {\n version = '1' }"),
    );
    refused(
        "a comma too many",
        &with("[dependencies]\na = { version = '1', }"),
    );
    refused("a new escape", &with("description = \"\\x41\""));
    refused(
        "a time without seconds",
        &with("[package.metadata]\nx = 07:32"),
    );

    let good = || Tarball::of_crate("krate", "1.0.0", package);
    let entry = |kind: u8, path: &str| good().entry(kind, path.as_bytes(), b"").finish();
    refused("a symbolic link", &entry(b'2', "krate-1.0.0/x"));
    refused("a device", &entry(b'3', "krate-1.0.0/x"));
    refused("a global pax header", &entry(b'g', "krate-1.0.0/x"));
    refused("another folder", &entry(b'0', "other/x"));
    refused("a way out", &entry(b'0', "krate-1.0.0/../x"));
    refused("a path from the root", &entry(b'0', "/krate-1.0.0/x"));
    refused("a backslash", &entry(b'0', "krate-1.0.0/a\\b"));
    refused("a path twice", &entry(b'0', "krate-1.0.0/Cargo.toml"));
    refused(
        "a file as a folder",
        &entry(b'0', "krate-1.0.0/Cargo.toml/x"),
    );
    refused("Cargo's own mark", &entry(b'0', "krate-1.0.0/.cargo-ok"));
    refused(
        "no manifest",
        &Tarball::new().file("krate-1.0.0/x", b"").finish(),
    );
    refused("no end", &gzip(&good().tar_without_end()));
    refused(
        "a second gzip member",
        &[good().finish(), gzip(b"")].concat(),
    );
    refused("half a file", &good().finish()[..100]);
    refused("no gzip", b"krate");
    insta::assert_snapshot!(said.0, @r##"
    ## a dependency that is not there
    400 the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one
    ## a dependency in another spelling
    400 the dependency `some_crate` is spelled `Some-Crate` in this registry
    ## a crate that needs itself
    400 the crate `krate` depends on itself but has no other version; only its tests may need the version itself
    ## another registry
    400 the dependency `a` in `[dependencies]` comes from the registry `https://other.example/`, on which crates here may not depend
    ## a folder
    400 the dependency `a` in `[dependencies]` has the key `path`; `cargo package` removes it, because what is published can only depend on registries
    ## an alias
    400 the dependency `a` in `[dependencies]` names its registry by `registry`, an alias of the uploader's; `cargo package` writes the URL as `registry-index`
    ## a platform
    400 the platform `cfg(` in `[target]` is neither a target nor a `cfg(…)` that Cargo can read: failed to parse `cfg(` as a cfg expression: invalid target specifier: unexpected `(` character, cfg expressions must start with `cfg(`
    ## a feature of nothing
    400 in the feature `x`: the feature name `-` must start with a letter, a digit or `_`, not with `-`
    the feature `x` asks for `y`, which is neither a feature nor an optional dependency
    the feature `x` asks for `dep:z`, but there is no such dependency
    ## a version of Rust
    400 `package.rust-version` is `1.70.0-beta`; it must be one to three numbers such as `1.85`
    ## a workspace
    400 `[patch]` must not be in a published crate; `cargo package` does not write it
    `package.license` is inherited from a workspace; `cargo package` writes the value itself
    ## another name and version
    400 the manifest is that of `other`, but the upload says `krate`
    the manifest says version `2.0.0`, but the upload says `1.0.0`
    ## no TOML
    400 `Cargo.toml` cannot be read, line 4: string values must be quoted, expected literal string
    ## a key twice
    400 `Cargo.toml` cannot be read, line 4: duplicate key
    ## a byte order mark
    400 `Cargo.toml`, line 1, has a byte order mark, which not every TOML reader takes; save it as UTF-8 without one
    ## lines of Windows
    400 `Cargo.toml`, line 1, has a carriage return, which TOML readers do not agree on; end lines with line feeds alone
    ## a NUL
    400 `Cargo.toml` cannot be read, line 4: invalid comment character, expected printable characters
    ## an inline table of lines
    400 `Cargo.toml`, line 5, has an inline table of several lines, which Cargo before 1.94 cannot read; use one line or a `[table]`
    ## a comma too many
    400 `Cargo.toml`, line 5, has a comma before the `}` of an inline table, which Cargo before 1.94 cannot read; leave it out
    ## a new escape
    400 `Cargo.toml`, line 4, has the escape `\x`, which Cargo before 1.94 cannot read; write `\u00HH`
    ## a time without seconds
    400 `Cargo.toml`, line 5, has a time without seconds, which Cargo before 1.94 cannot read; write them
    ## a symbolic link
    400 `krate-1.0.0/x` is a symbolic link; only regular files and folders are allowed
    ## a device
    400 `krate-1.0.0/x` is a device; only regular files and folders are allowed
    ## a global pax header
    400 `krate-1.0.0/x` is a global pax header; only regular files and folders are allowed
    ## another folder
    400 the path `other/x` is not inside `krate-1.0.0/`, the only top folder that the archive may have
    ## a way out
    400 the path `krate-1.0.0/../x` has an empty part, `.` or `..` in it
    ## a path from the root
    400 the path `/krate-1.0.0/x` is absolute
    ## a backslash
    400 the path `krate-1.0.0/a\b` contains '\\', which a portable path cannot have
    ## a path twice
    400 `krate-1.0.0/Cargo.toml` is in the archive twice
    `package` is missing
    ## a file as a folder
    400 `krate-1.0.0/Cargo.toml` is a file, but `krate-1.0.0/Cargo.toml/x` needs a folder there
    ## Cargo's own mark
    400 `krate-1.0.0/.cargo-ok` is reserved: by it Cargo marks the crates that it has unpacked
    ## no manifest
    400 there is no `krate-1.0.0/Cargo.toml`
    ## no end
    400 the archive must end with two blocks of 512 zeros, and nothing but zeros may follow
    ## a second gzip member
    400 the `.crate` file goes on after its gzip stream; there must be exactly one
    ## half a file
    400 the `.crate` file is not a gzip stream: incomplete deflate stream
    ## no gzip
    400 the `.crate` file is not a gzip stream: unexpected end of file
    "##);
}

#[test]
fn what_is_only_odd_is_a_warning() {
    let registry = Registry::start();
    let alice = alice(&registry);
    let odd = Package::new(&alice, "krate", "1.0.0", "").file("src/aux.rs", "");
    let arguments = ["publish", "--registry", "crates", "--no-verify"];
    let ran = alice.cargo(&odd.folder, &arguments).succeeds();
    let ours = "warning: `krate-1.0.0/src/aux.rs` has a name that Windows does not give to files; it cannot be unpacked there";
    assert!(ran.stderr.contains(ours), "{ran}");
}
