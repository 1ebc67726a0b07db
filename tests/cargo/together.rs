//! All that is wrong with an upload is said in one answer, whoever finds it: frame, archive, manifest, index.

use crate::common::cargos::{Sandbox, View};
use crate::common::http::{Reply, get, request};
use crate::common::package::Package;
use crate::common::registry::Registry;
use crate::common::tarball::Tarball;
use crate::common::upload::{Release, frame, metadata};

/// What Cargo prints when it publishes `package`, which must be refused.
#[track_caller]
fn cargo_says(registry: &Registry, alice: &Sandbox, package: &Package) -> String {
    let folder = package.write(&alice.work());
    let arguments = ["publish", "--registry", "crates", "--no-verify", "--quiet"];
    let ran = alice.cargo(&folder, &arguments);
    assert!(!ran.is_success(), "this should fail: {ran}");
    let at = ran.stderr.find("error: ").unwrap_or_default();
    let port = format!("localhost:{}", registry.port);
    ran.stderr[at..].replace(&port, "localhost:PORT")
}

/// Sends a `.crate` file as this release; it must be refused and leave nothing.
#[track_caller]
fn refused(registry: &Registry, token: &str, (name, version): (&str, &str), file: &[u8]) -> Reply {
    let before = registry.files();
    let reply = request("PUT", "/crates/api/v1/crates/new")
        .token(token)
        .body(frame(metadata(name, version).to_string().as_bytes(), file))
        .send(registry.port);
    assert!(reply.status >= 400, "this should be refused: {reply:?}");
    assert_eq!(registry.files(), before);
    reply
}

fn said(reply: &Reply) -> String {
    format!("{}\n{}", reply.status, reply.refusal())
}

/// A manifest that needs these crates of the registry itself.
fn needing(registry: &Registry, package: &str, names: &[String]) -> String {
    let url = registry.git_index();
    let lines = names
        .iter()
        .map(|name| format!("{name} = {{ version = '1', registry-index = '{url}' }}\n"));
    format!("{package}[dependencies]\n{}", lines.collect::<String>())
}

/// A `.crate` file with faults: a link, a keyword, and dependencies that are not there.
fn bad_file(registry: &Registry, name: &str, version: &str) -> Vec<u8> {
    let package =
        format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nkeywords = ['-']\n");
    let manifest = needing(registry, &package, &["absent".to_owned()]);
    Tarball::of_crate(name, version, &manifest)
        .entry(b'2', format!("{name}-{version}/link").as_bytes(), b"")
        .finish()
}

#[test]
fn cargo_prints_the_faults_of_archive_manifest_and_name_together() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Sparse);
    alice.login(&registry.token("alice"));
    let package = Package::new("std", "1.0.0", "keywords = ['-']\n")
        .lib("")
        .file("a.md", "")
        .file("A.md", "");
    insta::assert_snapshot!(cargo_says(&registry, &alice, &package), @r"
    error: failed to publish std v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `std-1.0.0/A.md` and `std-1.0.0/a.md` differ only in case, in how accents are written, in invisible characters, or in dots or spaces at the end of a name, and would be one file on Windows or macOS; leave one out or rename it, `package.keywords` has `-`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first, the name `std` is reserved for the Rust toolchain; choose another
    ");
    let long = format!("1.0.0-{}", "a".repeat(145));
    let package = Package::new(&"n".repeat(65), &long, "").lib("");
    insta::assert_snapshot!(cargo_says(&registry, &alice, &package), @r"
    error: failed to publish nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn v1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): `name` in the metadata: the crate name `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…` is longer than 64 characters, `vers` in the metadata: the version `1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…` is longer than 150 characters
    ");
}

#[test]
fn faults_of_archive_manifest_name_and_dependencies_come_in_one_answer() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let file = bad_file(&registry, "std", "1.0.0");
    insta::assert_snapshot!(said(&refused(&registry, &token, ("std", "1.0.0"), &file)), @r"
    400
    `std-1.0.0/link` is a symbolic link; only regular files and folders are allowed
    `package.keywords` has `-`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first
    the name `std` is reserved for the Rust toolchain; choose another
    the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one
    ");
    // Also without any manifest the index is asked for name and version.
    insta::assert_snapshot!(said(&refused(&registry, &token, ("std", "1.0.0"), b"std")), @r"
    400
    the `.crate` file is not a gzip stream: unexpected end of file
    the name `std` is reserved for the Rust toolchain; choose another
    ");
}

#[test]
fn a_bad_name_in_the_upload_does_not_hide_what_else_is_wrong() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let file = bad_file(&registry, "krate", "1.0.0");
    insta::assert_snapshot!(said(&refused(&registry, &token, ("../krate", "1.0"), &file)), @"
    400
    `name` in the metadata: the crate name `../krate` must start with an ASCII letter, not with `.`
    `vers` in the metadata: `1.0` is not a semantic version: unexpected end of input while parsing minor version number
    `krate-1.0.0/link` is a symbolic link; only regular files and folders are allowed
    `package.keywords` has `-`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first
    ");
}

#[test]
fn the_status_is_that_of_the_first_refusal_if_the_upload_is_sound() {
    let registry = Registry::start();
    let [alice, bob] = ["alice", "bob"].map(|user| registry.token(user));
    Release::new("krate", "1.0.0")
        .publish(registry.port, &alice)
        .succeeds();
    let package = "[package]\nname = \"krate\"\nversion = \"1.0.0\"\n";
    let manifest = needing(&registry, package, &["absent".to_owned()]);
    let sound = Tarball::of_crate("krate", "1.0.0", &manifest).finish();
    let release = ("krate", "1.0.0");
    insta::assert_snapshot!(said(&refused(&registry, &alice, release, &sound)), @r"
    409
    crate version `krate 1.0.0` is already uploaded; a version cannot be changed, and build metadata does not make another, so publish under a new number
    the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one
    ");
    // Whoever does not own it learns nothing of versions and other crates.
    insta::assert_snapshot!(said(&refused(&registry, &bob, release, &sound)), @r"
    403
    `bob` is not an owner of the crate `krate`; its owners are alice
    ");
    let bad = bad_file(&registry, "krate", "1.0.0");
    insta::assert_snapshot!(said(&refused(&registry, &bob, release, &bad)), @r"
    400
    `krate-1.0.0/link` is a symbolic link; only regular files and folders are allowed
    `package.keywords` has `-`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first
    `bob` is not an owner of the crate `krate`; its owners are alice
    ");
}

#[test]
fn a_token_for_other_crates_and_a_repeated_upload_are_answered_alone() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let other = registry.token_with("alice", &["--crates", "other-*"]);
    let bad = bad_file(&registry, "std", "1.0.0");
    insta::assert_snapshot!(said(&refused(&registry, &other, ("std", "1.0.0"), &bad)), @r"
    403
    this token may not `publish` the crate `std`; it is limited to `other_*`
    ");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let again = refused(&registry, &token, ("krate", "1.0.0"), &release.crate_file);
    insta::assert_snapshot!(said(&again), @r"
    409
    crate version `krate 1.0.0` is already uploaded with this same checksum
    ");
}

#[test]
fn one_answer_lists_twenty_faults_whoever_finds_them() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let package = "[package]\nname = \"krate\"\nversion = \"1.0.0\"\nkeywords = ['-']\n";
    let absent: Vec<String> = (10..30).map(|number| format!("absent{number}")).collect();
    let manifest = needing(&registry, package, &absent);
    let links = (10..20).fold(
        Tarball::of_crate("krate", "1.0.0", &manifest),
        |tarball, number| tarball.entry(b'2', format!("krate-1.0.0/{number}").as_bytes(), b""),
    );
    let reply = refused(&registry, &token, ("krate", "1.0.0"), &links.finish());
    let text = reply.refusal();
    let sentences: Vec<&str> = text.lines().collect();
    assert_eq!(sentences.len(), 21, "{text}");
    assert!(sentences[9].starts_with("`krate-1.0.0/19` "), "{text}");
    assert!(sentences[10].contains("package.keywords"), "{text}");
    assert!(sentences[19].contains("`absent18`"), "{text}");
    assert_eq!(sentences[20], "11 more faults are not listed");
    assert_eq!(
        get("/crates/index/kr/at/krate").send(registry.port).status,
        404
    );
}
