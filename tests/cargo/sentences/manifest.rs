//! The rules for the manifest as a whole: `src/publish/manifest.rs`, and `syntax.rs`, `fields.rs`, `targets.rs` and `platform.rs`
//! below it.

use insta::assert_snapshot;

use super::{Desk, MANIFEST};
use crate::common::tarball::Tarball;

#[test]
fn toml_that_every_reader_takes() {
    let desk = Desk::with_policy("");
    let refuses = |rule: &str, rest: &str| desk.refuses_keys(rule, rest);
    assert_snapshot!(
        refuses("ManifestFault::Toml", "x ="),
        @"400 Bad Request: `Cargo.toml` cannot be read, line 4: string values must be quoted, expected literal string"
    );
    assert_snapshot!(
        refuses("ManifestFault::Toml, a key twice", "name = 'krate'\n"),
        @"400 Bad Request: `Cargo.toml` cannot be read, line 4: duplicate key"
    );
    assert_snapshot!(
        refuses("ManifestFault::Toml, a NUL", "# \0\n"),
        @"400 Bad Request: `Cargo.toml` cannot be read, line 4: invalid comment character, expected printable characters"
    );
    let level = |inner: String| format!("{{ {}a = {inner} }}", "a.".repeat(75));
    let deep = (0..20).fold("1".to_owned(), |inner, _| level(inner));
    assert_snapshot!(
        refuses("ManifestFault::Toml, nested too deep", &format!("[package.metadata]\na = {deep}")),
        @"400 Bad Request: `Cargo.toml` cannot be read, line 5: tables, arrays and parts of keys stand more than 80 deep in one another"
    );

    let marked = format!("\u{feff}{MANIFEST}");
    assert_snapshot!(
        desk.refuses_manifest("ManifestFault::Syntax, SyntaxFault::ByteOrderMark", &marked),
        @"400 Bad Request: `Cargo.toml`, line 1, has a byte order mark, which not every TOML reader takes; save it as UTF-8 without one"
    );
    let of_windows = MANIFEST.replace('\n', "\r\n");
    assert_snapshot!(
        desk.refuses_manifest("SyntaxFault::CarriageReturn", &of_windows),
        @"400 Bad Request: `Cargo.toml`, line 1, has a carriage return, which TOML readers do not agree on; end lines with line feeds alone"
    );
    let lines = "[dependencies]\na = {\n version = '1' }";
    assert_snapshot!(
        refuses("SyntaxFault::InlineTableOfLines", lines),
        @"400 Bad Request: `Cargo.toml`, line 5, has an inline table of several lines, which Cargo before 1.94 cannot read; use one line or a `[table]`"
    );
    let comma = "[dependencies]\na = { version = '1', }";
    assert_snapshot!(
        refuses("SyntaxFault::TrailingComma", comma),
        @"400 Bad Request: `Cargo.toml`, line 5, has a comma before the `}` of an inline table, which Cargo before 1.94 cannot read; leave it out"
    );
    assert_snapshot!(
        refuses("SyntaxFault::Escape", "description = \"\\x41\""),
        @r"400 Bad Request: `Cargo.toml`, line 4, has the escape `\x`, which Cargo before 1.94 cannot read; write `\u00HH`"
    );
    assert_snapshot!(
        refuses("SyntaxFault::NoSeconds", "[package.metadata]\nx = 07:32"),
        @"400 Bad Request: `Cargo.toml`, line 5, has a time without seconds, which Cargo before 1.94 cannot read; write them"
    );
}

#[test]
fn keys_of_a_packed_manifest() {
    let desk = Desk::with_policy("limits.line_bytes_max = 1000\n");
    let refuses = |rule: &str, rest: &str| desk.refuses_keys(rule, rest);
    assert_snapshot!(
        desk.refuses_manifest("ManifestFault::Key, KeyFault::Missing", ""),
        @"400 Bad Request: `package` is missing"
    );
    assert_snapshot!(
        refuses("KeyFault::Type", "keywords = 'one'"),
        @"400 Bad Request: `package.keywords` must be a list of strings"
    );
    assert_snapshot!(
        refuses("KeyFault::SpelledTwice", "[dev-dependencies]\n[dev_dependencies]"),
        @"400 Bad Request: `dev-dependencies` is there twice, with `-` and with `_`; only `-` should be used"
    );
    assert_snapshot!(
        refuses("ManifestFault::Section", "[patch.crates-io]"),
        @"400 Bad Request: `[patch]` must not be in a published crate; `cargo package` does not write it"
    );
    assert_snapshot!(
        refuses("ManifestFault::Inherited", "license.workspace = true"),
        @"400 Bad Request: `package.license` is inherited from a workspace; `cargo package` writes the value itself"
    );
    assert_snapshot!(
        refuses("ManifestFault::RustVersion", "rust-version = '1.70.0-beta'"),
        @"400 Bad Request: `package.rust-version` is `1.70.0-beta`; it must be one to three numbers such as `1.85`"
    );
    assert_snapshot!(
        refuses("ManifestFault::Unpublished", "publish = false"),
        @"400 Bad Request: `package.publish` says that no registry may have the crate; remove it, or list this registry in it"
    );
    let long = format!("[features]\n{} = []", "a".repeat(1000));
    assert_snapshot!(
        refuses("ManifestFault::LineTooLong", &long),
        @"400 Bad Request: the index line of this release would be 1197 bytes long; at most 1000 are allowed"
    );
}

#[test]
fn names_of_native_libraries() {
    let desk = Desk::with_policy("");
    let refuses = |rule: &str, links: &str| {
        let rest = format!("links = \"{links}\"\nbuild = 'src/lib.rs'");
        desk.refuses(rule, &desk.package("krate", "1.0.1", &rest))
    };
    assert_snapshot!(
        refuses("ManifestFault::Links, TextFault::Character", "a\\u0007b"),
        @r"400 Bad Request: `package.links`: the text contains the character '\u{7}'; control characters, marks of direction, `<` and `>` are not allowed"
    );
    assert_snapshot!(
        refuses("TextFault::Blank", " "),
        @"400 Bad Request: `package.links`: the text is empty or has blanks at its ends"
    );
    assert_snapshot!(
        refuses("TextFault::TooLong", &"a".repeat(513)),
        @"400 Bad Request: `package.links`: the text is longer than 512 bytes"
    );
}

#[test]
fn what_there_is_to_build() {
    let desk = Desk::with_policy("");
    assert_snapshot!(
        desk.refuses_keys("TargetFault::NoBuildScript", "links = 'z'"),
        @"400 Bad Request: `package.links` needs a build script: `build.rs`, or the file that `package.build` names, must be in the archive"
    );
    let bare = Tarball::new().file("krate-1.0.0/Cargo.toml", MANIFEST.as_bytes());
    assert_snapshot!(
        desk.refuses_file("TargetFault::NoTarget", &bare.finish()),
        @"400 Bad Request: the crate has nothing to build: neither `src/lib.rs` nor `src/main.rs` is in the archive, and `Cargo.toml` has no `[lib]` and no `[[bin]]`"
    );
}

#[test]
fn platforms_of_dependencies() {
    let desk = Desk::with_policy("");
    let refuses = |rule: &str, platform: &str| {
        desk.refuses_keys(
            rule,
            &format!("[target.'{platform}'.dependencies]\na = '1'"),
        )
    };
    assert_snapshot!(
        refuses("PlatformFault::TooLong", &"a".repeat(4097)),
        @"400 Bad Request: the platform `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…` in `[target]` is longer than 4096 bytes"
    );
    let deep = format!("cfg({}unix{})", "not(".repeat(33), ")".repeat(33));
    assert_snapshot!(
        refuses("PlatformFault::TooDeep", &deep),
        @"400 Bad Request: the platform `cfg(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(not(unix))))))))))))))))))))))))))))))))))` in `[target]` is nested deeper than 32 parentheses"
    );
    assert_snapshot!(
        refuses("PlatformFault::RawIdentifier", "cfg(r#true)"),
        @"400 Bad Request: the platform `cfg(r#true)` in `[target]` has a raw identifier, which not every Cargo since 1.65 can read; write the name without `r#`"
    );
    assert_snapshot!(
        refuses("ManifestFault::Platform, PlatformFault::Syntax", "cfg("),
        @"400 Bad Request: the platform `cfg(` in `[target]` is neither a target nor a `cfg(…)` that Cargo can read: failed to parse `cfg(` as a cfg expression: invalid target specifier: unexpected `(` character, cfg expressions must start with `cfg(`"
    );
}
