//! The rules for the `.crate` file: `src/publish/tarball.rs` and what lies below it.

use insta::assert_snapshot;

use super::{Desk, MANIFEST};
use crate::common::tarball::{Tarball, gzip};

/// Limits that a small archive can pass, and that Cargo's own does not.
const SMALL: &str = "\
    limits.crate_bytes_max = 65536\n\
    limits.unpacked_bytes_max = 65536\n\
    limits.file_bytes_max = 32768\n\
    limits.manifest_bytes_max = 1024\n\
    limits.entries_max = 8\n";

/// What Cargo could have packed.
fn good() -> Tarball {
    Tarball::of_crate("krate", "1.0.0", MANIFEST)
}

/// That and an entry of this kind.
fn with_entry(kind: u8, path: &[u8]) -> Vec<u8> {
    good().entry(kind, path, b"").finish()
}

#[test]
fn layers_of_the_file() {
    let desk = Desk::with_policy(SMALL);
    let refuses = |rule: &str, file: &[u8]| desk.refuses_file(rule, file);
    assert_snapshot!(
        refuses("TarballFault::Gzip", b"krate"),
        @"400 Bad Request: the `.crate` file is not a gzip stream: unexpected end of file"
    );
    assert_snapshot!(
        refuses("TarballFault::Gzip, half a file", &good().finish()[..100]),
        @"400 Bad Request: the `.crate` file is not a gzip stream: incomplete deflate stream"
    );
    let two = [good().finish(), gzip(b"")].concat();
    assert_snapshot!(
        refuses("TarballFault::AfterGzip", &two),
        @"400 Bad Request: the `.crate` file goes on after its gzip stream; there must be exactly one"
    );
    let bomb = gzip(&[good().tar(), vec![0; 65536]].concat());
    assert_snapshot!(
        refuses("TarballFault::UnpackedTooLarge", &bomb),
        @"400 Bad Request: the `.crate` file unpacks to more than 65536 bytes; leave out what a build does not need (`package.exclude`)"
    );
    let many = (0..7).fold(good(), |archive, number| {
        archive.file(&format!("krate-1.0.0/{number}"), b"")
    });
    assert_snapshot!(
        refuses("TarballFault::TooManyEntries", &many.finish()),
        @"400 Bad Request: the archive has more than 8 entries; leave out what a build does not need (`package.exclude`)"
    );
    let mut wrong_sum = good().tar();
    wrong_sum[0] ^= 1;
    assert_snapshot!(
        refuses("TarballFault::Tar", &gzip(&wrong_sum)),
        @"400 Bad Request: the archive is not a tar file: archive header checksum mismatch"
    );
    let endless = gzip(&good().tar_without_end());
    assert_snapshot!(
        refuses("TarballFault::End", &endless),
        @"400 Bad Request: the archive must end with two blocks of 512 zeros, and nothing but zeros may follow"
    );
}

#[test]
fn headers_of_entries() {
    let desk = Desk::with_policy("");
    let refuses = |rule: &str, archive: Tarball| desk.refuses_file(rule, &archive.finish());
    let with =
        |change: fn(&mut [u8; 512])| good().entry_with(b'0', b"krate-1.0.0/x", b"data", change);
    assert_snapshot!(
        refuses("TarballFault::Header, HeaderFault::Format", with(|header| header[257..265].fill(0))),
        @"400 Bad Request: the entry `krate-1.0.0/x` must have a header in the ustar or the GNU format"
    );
    assert_snapshot!(
        refuses("HeaderFault::Size", with(|header| header[124..136].copy_from_slice(b"+0000000004\0"))),
        @"400 Bad Request: the entry `krate-1.0.0/x` must state its size in octal digits alone"
    );
    assert_snapshot!(
        refuses("HeaderFault::GnuFields", with(|header| header[345] = b'a')),
        @"400 Bad Request: the entry `krate-1.0.0/x` has a GNU header with fields of sparse or incremental archives"
    );
    let folder = good().entry(b'5', b"krate-1.0.0/x", b"data");
    assert_snapshot!(
        refuses("HeaderFault::FolderWithData", folder),
        @"400 Bad Request: the entry `krate-1.0.0/x` is a folder but has data"
    );

    let file = |archive: Tarball| archive.file("krate-1.0.0/x", b"data");
    let long_name = || good().long_name(b"krate-1.0.0/y");
    let twice = file(long_name().long_name(b"krate-1.0.0/z"));
    assert_snapshot!(
        refuses("HeaderFault::SecondExtension", twice),
        @"400 Bad Request: the entry `././@LongLink` is the second long name or pax header for one entry"
    );
    let long = file(good().long_name(&[b'a'; 4096]));
    assert_snapshot!(
        refuses("HeaderFault::ExtensionTooLarge", long),
        @"400 Bad Request: the entry `././@LongLink` is longer than 1536 bytes"
    );
    let malformed = file(good().entry(b'x', b"PaxHeader", b"13 path:demo\n"));
    assert_snapshot!(
        refuses("HeaderFault::Pax", malformed),
        @"400 Bad Request: the entry `PaxHeader` has malformed pax records"
    );
    let key = file(good().pax(&[("linkpath", "4")]));
    assert_snapshot!(
        refuses("HeaderFault::PaxKey", key),
        @"400 Bad Request: the entry `PaxHeader` has the pax key `linkpath` twice, or it is not allowed; `cargo package` needs no pax keys"
    );
    let size = file(good().pax(&[("size", "5")]));
    assert_snapshot!(
        refuses("HeaderFault::PaxSize", size),
        @"400 Bad Request: the entry `krate-1.0.0/x` has another size in its pax header than in its own"
    );
    assert_snapshot!(
        refuses("TarballFault::Orphan", long_name()),
        @"400 Bad Request: the archive ends with a long name or pax header; the entry that it describes is missing"
    );
}

#[test]
fn kinds_of_entries() {
    let desk = Desk::with_policy("");
    let refuses =
        |rule: &str, kind: u8| desk.refuses_file(rule, &with_entry(kind, b"krate-1.0.0/x"));
    assert_snapshot!(
        refuses("TarballFault::Kind, a hard link", b'1'),
        @"400 Bad Request: `krate-1.0.0/x` is a hard link; only regular files and folders are allowed"
    );
    assert_snapshot!(
        refuses("TarballFault::Kind, a symbolic link", b'2'),
        @"400 Bad Request: `krate-1.0.0/x` is a symbolic link; only regular files and folders are allowed"
    );
    assert_snapshot!(
        refuses("TarballFault::Kind, a device", b'3'),
        @"400 Bad Request: `krate-1.0.0/x` is a device; only regular files and folders are allowed"
    );
    assert_snapshot!(
        refuses("TarballFault::Kind, a pipe", b'6'),
        @"400 Bad Request: `krate-1.0.0/x` is a pipe; only regular files and folders are allowed"
    );
    assert_snapshot!(
        refuses("TarballFault::Kind, a global pax header", b'g'),
        @"400 Bad Request: `krate-1.0.0/x` is a global pax header; only regular files and folders are allowed"
    );
    assert_snapshot!(
        refuses("TarballFault::Kind, something else", b'D'),
        @"400 Bad Request: `krate-1.0.0/x` is an entry of an unknown type; only regular files and folders are allowed"
    );
}

#[test]
fn paths_of_entries() {
    let desk = Desk::with_policy("");
    let deep = ["d".repeat(200), "e".repeat(200), "f".repeat(100)].join("/");
    let package = desk.package("krate", "1.0.1", "").file(&deep, "");
    assert_snapshot!(
        desk.refuses("TarballFault::Path, PathFault::TooLong", &package),
        @"400 Bad Request: the path `krate-1.0.1/dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd…` is longer than 512 bytes; use shorter names"
    );
    let package = desk
        .package("krate", "1.0.2", "")
        .file("a.md", "")
        .file("A.md", "");
    assert_snapshot!(
        desk.refuses_file(
            "TarballFault::Twins, folders",
            &good().file("krate-1.0.0/Src/bin/evil.rs", b"").finish()
        ),
        @"400 Bad Request: `krate-1.0.0/Src` and `krate-1.0.0/src` differ only in case, in how accents are written, in invisible characters, or in dots or spaces at the end of a name, and would be one file on Windows or macOS; leave one out or rename it"
    );
    assert_snapshot!(
        desk.refuses("TarballFault::Twins", &package),
        @"400 Bad Request: `krate-1.0.2/A.md` and `krate-1.0.2/a.md` differ only in case, in how accents are written, in invisible characters, or in dots or spaces at the end of a name, and would be one file on Windows or macOS; leave one out or rename it"
    );

    let refuses = |rule: &str, path: &[u8]| desk.refuses_file(rule, &with_entry(b'0', path));
    assert_snapshot!(
        refuses("PathFault::NotUtf8", b"krate-1.0.0/a\xff"),
        @"400 Bad Request: the path `krate-1.0.0/a�` is not UTF-8; rename the file"
    );
    assert_snapshot!(
        refuses("PathFault::Character", b"krate-1.0.0/a\\b"),
        @r#"400 Bad Request: the path `krate-1.0.0/a\b` contains '\\'; a path that is the same on every system has no control character, no mark of direction and none of `\ < > : " | ? *`"#
    );
    assert_snapshot!(
        refuses("PathFault::Character, a line feed", b"krate-1.0.0/a\nb"),
        @r#"400 Bad Request: the path `krate-1.0.0/a\nb` contains '\n'; a path that is the same on every system has no control character, no mark of direction and none of `\ < > : " | ? *`"#
    );
    assert_snapshot!(
        refuses("PathFault::Absolute", b"/krate-1.0.0/x"),
        @"400 Bad Request: the path `/krate-1.0.0/x` is absolute; it must begin with the top folder `NAME-VERSION/`"
    );
    assert_snapshot!(
        refuses("PathFault::Part", b"krate-1.0.0/../x"),
        @"400 Bad Request: the path `krate-1.0.0/../x` has an empty part, `.` or `..` in it, or a part of dots and spaces alone; name each folder by its own name"
    );
    assert_snapshot!(
        refuses("PathFault::FileWithSlash", b"krate-1.0.0/x/"),
        @"400 Bad Request: the path `krate-1.0.0/x/` ends with a slash but is a file; only folders may end so"
    );
    assert_snapshot!(
        refuses("PathFault::Outside", b"other/x"),
        @"400 Bad Request: the path `other/x` is not inside `krate-1.0.0/`, the only top folder that the archive may have"
    );
    assert_snapshot!(
        refuses("TarballFault::Twice", b"krate-1.0.0/src/lib.rs"),
        @"400 Bad Request: `krate-1.0.0/src/lib.rs` is in the archive twice; a path stands for one file"
    );
    assert_snapshot!(
        refuses("TarballFault::FileAsFolder", b"krate-1.0.0/src/lib.rs/x"),
        @"400 Bad Request: `krate-1.0.0/src/lib.rs` is a file, but `krate-1.0.0/src/lib.rs/x` needs a folder there; rename one"
    );
    assert_snapshot!(
        refuses("TarballFault::CargoOk", b"krate-1.0.0/.cargo-ok"),
        @"400 Bad Request: `krate-1.0.0/.cargo-ok` is reserved: by it Cargo marks the crates that it has unpacked; leave it out"
    );
}

#[test]
fn files_of_the_archive() {
    let desk = Desk::with_policy(SMALL);
    let refuses = |rule: &str, archive: Tarball| desk.refuses_file(rule, &archive.finish());
    let manifest =
        |path: &str, text: &[u8]| Tarball::new().file(&format!("krate-1.0.0/{path}"), text);
    let good_text = MANIFEST.as_bytes();
    assert_snapshot!(
        refuses("TarballFault::NoManifest", manifest("src/Cargo.toml", good_text)),
        @"400 Bad Request: there is no `krate-1.0.0/Cargo.toml`; `cargo package` puts it there"
    );
    assert_snapshot!(
        refuses(
            "TarballFault::ManifestSpelling",
            manifest("cargo.toml", good_text).file("krate-1.0.0/src/lib.rs", b"")
        ),
        @"400 Bad Request: the manifest must be spelled `Cargo.toml`, not `krate-1.0.0/cargo.toml`"
    );
    let long = format!("# {}\n", "a".repeat(1024));
    assert_snapshot!(
        refuses("TarballFault::ManifestTooLarge", manifest("Cargo.toml", long.as_bytes())),
        @"400 Bad Request: the manifest is 1027 bytes long; at most 1024 bytes are allowed"
    );
    assert_snapshot!(
        refuses("TarballFault::ManifestNotUtf8", manifest("Cargo.toml", b"# \xff")),
        @"400 Bad Request: the manifest is not UTF-8, as TOML must be"
    );
    let data = desk
        .package("krate", "1.0.2", "")
        .file("data", &"x".repeat(32769));
    assert_snapshot!(
        desk.refuses("TarballFault::FileTooLarge", &data),
        @"400 Bad Request: `krate-1.0.2/data` unpacks to 32769 bytes; at most 32768 bytes are allowed for one file"
    );
}

#[test]
fn names_that_windows_does_not_give_are_only_warned_of() {
    let desk = Desk::with_policy("");
    let odd = desk.package("krate", "1.0.1", "").file("src/aux.rs", "");
    let arguments = ["publish", "--registry", "crates", "--no-verify"];
    let ran = desk.alice.cargo(&odd.folder, &arguments).succeeds();
    // Cargo has a warning of its own, about `src/aux.rs`.
    let ours = ran
        .stderr
        .lines()
        .find(|line| line.contains("krate-1.0.1/"));
    assert_snapshot!(
        ours.unwrap_or(&ran.stderr),
        @"warning: `krate-1.0.1/src/aux.rs` has a name that Windows does not give to files; it cannot be unpacked there"
    );
}
