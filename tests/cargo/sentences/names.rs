//! The rules for names and versions: `src/domain/name.rs` and `src/domain/version.rs`.

use insta::assert_snapshot;

use super::{Desk, MANIFEST};
use crate::common::tarball::Tarball;
use crate::common::upload::{frame, metadata};

#[test]
fn names_of_crates() {
    let desk = Desk::with_policy("");
    let refuses = |rule: &str, name: &str| desk.refuses(rule, &desk.package(name, "1.0.0", ""));
    assert_snapshot!(
        refuses("NameFault::TooLong", &"n".repeat(65)),
        @"400 Bad Request: `name` in the metadata: the crate name `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…` is longer than 64 characters"
    );
    assert_snapshot!(
        refuses("MetadataFault::Name, NameFault::Start", "_x"),
        @"400 Bad Request: `name` in the metadata: the crate name `_x` must start with an ASCII letter, not with `_`"
    );
    assert_snapshot!(
        refuses("NameFault::Character", "größe"),
        @"400 Bad Request: `name` in the metadata: the crate name `größe` contains `ö`; only ASCII letters, digits, `-` and `_` are allowed"
    );
    assert_snapshot!(
        refuses("Refusal::ReservedName, Reserved::Toolchain", "std"),
        @"400 Bad Request: the name `std` is reserved for the Rust toolchain; choose another"
    );
    assert_snapshot!(
        refuses("Reserved::WindowsDevice", "com7"),
        @"400 Bad Request: the name `com7` is the name of a device on Windows; choose another"
    );
    let file = Tarball::of_crate("krate", "1.0.0", MANIFEST).finish();
    let nameless = frame(metadata("", "1.0.0").to_string().as_bytes(), &file);
    assert_snapshot!(
        desk.refuses_body("NameFault::Empty", nameless),
        @"400 Bad Request: `name` in the metadata: a crate name must not be empty"
    );
    assert_snapshot!(
        desk.refuses_manifest("ManifestFault::Name", "[package]\nname = '-'\nversion = '1.0.0'\n"),
        @"400 Bad Request: `package.name`: the crate name `-` must start with an ASCII letter, not with `-`"
    );
    assert_snapshot!(
        desk.refuses_manifest("ManifestFault::OtherName", "[package]\nname = 'other'\nversion = '1.0.0'\n"),
        @"400 Bad Request: the manifest is that of `other`, but the upload says `krate`"
    );
}

#[test]
fn versions_of_crates() {
    let desk = Desk::with_policy("");
    let long = desk.package("krate", &format!("1.0.0-{}", "a".repeat(145)), "");
    assert_snapshot!(
        desk.refuses("MetadataFault::Version, VersionFault::TooLong", &long),
        @"400 Bad Request: `vers` in the metadata: the version `1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…` is longer than 150 characters"
    );
    let file = Tarball::of_crate("krate", "1.0.0", MANIFEST).finish();
    let short = frame(metadata("krate", "1.0").to_string().as_bytes(), &file);
    assert_snapshot!(
        desk.refuses_body("VersionFault::Syntax", short),
        @"400 Bad Request: `vers` in the metadata: `1.0` is not a semantic version: unexpected end of input while parsing minor version number"
    );
    assert_snapshot!(
        desk.refuses_manifest("ManifestFault::Version", "[package]\nname = 'krate'\nversion = 'v1.0.0'\n"),
        @"400 Bad Request: `package.version`: `v1.0.0` is not a semantic version: unexpected character 'v' while parsing major version number"
    );
    assert_snapshot!(
        desk.refuses_manifest("ManifestFault::OtherVersion", "[package]\nname = 'krate'\nversion = '2.0.0'\n"),
        @"400 Bad Request: the manifest says version `2.0.0`, but the upload says `1.0.0`"
    );
}
