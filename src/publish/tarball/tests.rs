use std::io::Read;

use proptest::prelude::*;

use super::super::frame::MetadataFault;
use super::super::tarball_builder::{Tarball, gzip, put_octal};
use super::*;

const MANIFEST: &str = "[package]\nname = \"demo\"\nversion = \"1.0.0\"\n";

fn good() -> Tarball {
    Tarball::of_crate("demo", "1.0.0", MANIFEST)
}

fn upload() -> Metadata {
    Metadata {
        name: Ok("demo".parse().unwrap()),
        version: Ok("1.0.0".parse().unwrap()),
    }
}

/// The manifest and the source commit of a sound file.
#[derive(Debug)]
struct Contents {
    manifest: String,
    source_commit: Option<String>,
}

fn inspect_with(
    bytes: impl Read,
    limits: &Limits,
) -> io::Result<Result<Contents, Faults<TarballFault>>> {
    let inspected = inspect(bytes, &upload(), limits)?;
    let manifest = inspected.manifest.unwrap_or_default();
    let source_commit = inspected.source_commit;
    Ok(match inspected.faults.is_empty() {
        true => Ok(Contents {
            manifest,
            source_commit,
        }),
        false => Err(inspected.faults),
    })
}

fn contents(bytes: &[u8]) -> Contents {
    inspect_with(bytes, &Limits::default()).unwrap().unwrap()
}

fn faults(bytes: &[u8]) -> Vec<String> {
    faults_with(bytes, &Limits::default())
}

fn faults_with(bytes: &[u8], limits: &Limits) -> Vec<String> {
    let faults = inspect_with(bytes, limits).unwrap().unwrap_err();
    faults.sentences()
}

/// Checks that there is exactly one fault and that its sentence contains `expected`.
#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let found = faults(bytes);
    assert!(
        found.len() == 1 && found[0].contains(expected),
        "expected {expected:?}, found {found:#?}"
    );
}

#[test]
fn a_good_crate_gives_its_manifest() {
    let found = contents(&good().folder("demo-1.0.0/examples/").finish());
    assert_eq!(found.manifest, MANIFEST);
    assert_eq!(found.source_commit, None);
}

#[test]
fn the_source_commit_is_read_leniently() {
    let with = |json: &str| {
        let vcs_info = "demo-1.0.0/.cargo_vcs_info.json";
        contents(&good().file(vcs_info, json.as_bytes()).finish()).source_commit
    };
    let (sha1, sha256) = ("0123456789abcdef".repeat(3), "9".repeat(64));
    let sha1 = &sha1[..40];
    let cargo = format!(r#"{{"git":{{"sha1":"{sha1}","dirty":true}},"path_in_vcs":"a"}}"#);
    assert_eq!(with(&cargo).as_deref(), Some(sha1));
    let long = format!(r#"{{"git":{{"sha1":"{sha256}"}}}}"#);
    assert_eq!(with(&long), Some(sha256));
    for broken in [
        "",
        "{}",
        r#"{"git":{}}"#,
        r#"{"git":{"sha1":7}}"#,
        r#"{"git":{"sha1":"main\nForged: yes"}}"#,
        r#"{"git":{"sha1":"ABCDEF0123ABCDEF0123ABCDEF0123ABCDEF0123"}}"#,
    ] {
        assert_eq!(with(broken), None, "{broken}");
    }
    let huge = format!("{cargo}{}", " ".repeat(1 << 20));
    assert_eq!(with(&huge).as_deref(), Some(sha1));
    let late = |bytes: usize| format!("{}{cargo}", " ".repeat(bytes - cargo.len()));
    assert_eq!(with(&late(64 * 1024)).as_deref(), Some(sha1));
    assert_eq!(with(&late(64 * 1024 + 1)), None);
}

#[test]
fn only_files_and_folders_are_allowed() {
    let kinds = [
        (b'1', "a hard link"),
        (b'2', "a symbolic link"),
        (b'3', "a device"),
        (b'4', "a device"),
        (b'6', "a pipe"),
        (b'7', "a contiguous file"),
        (b'S', "a sparse file"),
        (b'K', "the long target of a link"),
        (b'g', "a global pax header"),
        (b'D', "an entry of an unknown type"),
    ];
    for (kind, expected) in kinds {
        let bytes = good().entry(kind, b"demo-1.0.0/x", b"").finish();
        refused(&bytes, &format!("`demo-1.0.0/x` is {expected}"));
    }
    // The type NUL is a regular file of old.
    contents(&good().entry(0, b"demo-1.0.0/x", b"data").finish());
}

#[test]
fn paths_stay_inside_the_top_folder_on_every_system() {
    let cases: [(&[u8], &str); 20] = [
        (b"demo-1.0.1/a.rs", "is not inside `demo-1.0.0/`"),
        (b"demo-1.0.0", "is not inside"),
        (b"a.rs", "is not inside"),
        (b"DEMO-1.0.0/a.rs", "is not inside"),
        (b"/demo-1.0.0/a.rs", "is absolute"),
        (b"demo-1.0.0/../a.rs", "`.` or `..`"),
        (b"demo-1.0.0/..", "`.` or `..`"),
        (b"./demo-1.0.0/a.rs", "`.` or `..`"),
        (b"demo-1.0.0/./a.rs", "`.` or `..`"),
        (b"demo-1.0.0//a.rs", "an empty part"),
        (b"demo-1.0.0/.. /a.rs", "dots and spaces alone"),
        (b"demo-1.0.0/src/...", "dots and spaces alone"),
        (b"demo-1.0.0/a/", "ends with a slash but is a file"),
        (b"demo-1.0.0/..\\a.rs", r"contains '\\'"),
        (b"demo-1.0.0/c:a.rs", "contains ':'"),
        (b"demo-1.0.0/a\n.rs", r"contains '\n'"),
        (b"demo-1.0.0/a\xc2\x9b.rs", r"contains '\u{9b}'"),
        (b"demo-1.0.0/a\xe2\x80\xaesr.rs", r"contains '\u{202e}'"),
        (b"demo-1.0.0/a\xef\xbb\xbf.rs", r"contains '\u{feff}'"),
        (b"demo-1.0.0/a\xff.rs", "is not UTF-8"),
    ];
    for (path, expected) in cases {
        refused(&good().entry(b'0', path, b"").finish(), expected);
    }
    refused(
        &good()
            .long_name(b"demo-1.0.0/a\0/../b")
            .file("x", b"")
            .finish(),
        r"contains '\0'",
    );
    contents(
        &good()
            .folder("demo-1.0.0/")
            .file("demo-1.0.0/..a/…", b"")
            .finish(),
    );
}

#[test]
fn a_path_is_there_once_also_where_case_does_not_count() {
    let twice = good().file("demo-1.0.0/src/lib.rs", b"other");
    refused(
        &twice.finish(),
        "`demo-1.0.0/src/lib.rs` is in the archive twice",
    );
    let case = good().file("demo-1.0.0/src/Lib.rs", b"");
    refused(
        &case.finish(),
        "`demo-1.0.0/src/lib.rs` and `demo-1.0.0/src/Lib.rs` differ only in case",
    );
    let umlaut = good().file("demo-1.0.0/ä", b"").file("demo-1.0.0/Ä", b"");
    refused(&umlaut.finish(), "differ only in case");
    // `-` and `.` sort before `/`: they must not hide the folder from the file of its name.
    let folder = good()
        .file("demo-1.0.0/a/b", b"")
        .file("demo-1.0.0/a-b", b"")
        .file("demo-1.0.0/A", b"")
        .file("demo-1.0.0/a.b", b"");
    refused(
        &folder.finish(),
        "`demo-1.0.0/A` is a file, but `demo-1.0.0/a/b` needs a folder there",
    );
    contents(
        &good()
            .folder("demo-1.0.0/a")
            .file("demo-1.0.0/a/b", b"")
            .finish(),
    );
}

#[test]
fn a_folder_that_is_there_for_its_files_has_no_twin() {
    let found = faults(
        &good()
            .file("demo-1.0.0/Src/bin/evil.rs", b"")
            .file("demo-1.0.0/src/bin/good.rs", b"")
            .file("demo-1.0.0/Src/bin/worse.rs", b"")
            .file("demo-1.0.0/SRC/x.rs", b"")
            .file("demo-1.0.0/src/Bin/x.rs", b"")
            .file("demo-1.0.0/a/b/c", b"")
            .file("demo-1.0.0/a/B/C", b"")
            .folder("demo-1.0.0/E")
            .file("demo-1.0.0/e/x", b"")
            .file("demo-1.0.0/f/x", b"")
            .file("demo-1.0.0/f/X/y", b"")
            .finish(),
    );
    let twins: Vec<_> = found
        .iter()
        .map(|text| text.split(" differ only in case").next().unwrap())
        .collect();
    assert_eq!(
        twins,
        [
            "`demo-1.0.0/a/b` and `demo-1.0.0/a/B`",
            "`demo-1.0.0/a/b/c` and `demo-1.0.0/a/B/C`",
            "`demo-1.0.0/E` and `demo-1.0.0/e`",
            "`demo-1.0.0/f/x` is a file, but `demo-1.0.0/f/X/y` needs a folder there; rename one",
            "`demo-1.0.0/Src` and `demo-1.0.0/src`",
            "`demo-1.0.0/Src/bin` and `demo-1.0.0/src/Bin`",
            "`demo-1.0.0/src` and `demo-1.0.0/SRC`",
        ]
    );
}

#[test]
fn many_deep_paths_are_judged_with_their_folders() {
    let deep = |number: usize| format!("demo-1.0.0/{}{number}", "a/".repeat(200));
    let long = (0..2000).fold(good(), |archive, number| {
        let path = deep(number);
        archive.long_name(path.as_bytes()).file(&path, b"")
    });
    contents(&long.finish());
    let twins = (0..500).fold(good(), |archive, number| {
        let lower = format!("demo-1.0.0/{number}/{}x", "a/".repeat(200));
        let upper = format!("demo-1.0.0/{number}/{}y", "A/".repeat(200));
        let archive = archive.long_name(lower.as_bytes()).file(&lower, b"");
        archive.long_name(upper.as_bytes()).file(&upper, b"")
    });
    let found = faults(&twins.finish());
    assert_eq!(found[20], "99980 more faults are not listed");
}

#[test]
fn without_a_name_the_first_folder_is_the_top() {
    let unknown = Metadata {
        name: Err(MetadataFault::Missing("name")),
        version: Ok("1.0.0".parse().unwrap()),
    };
    let of = |bytes: Vec<u8>| inspect(&bytes[..], &unknown, &Limits::default()).unwrap();
    let found = of(good().finish());
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    assert_eq!(found.manifest.as_deref(), Some(MANIFEST));
    assert!(found.files.unwrap().has("src/lib.rs"));
    let second = good().file("other-1.0.0/x", b"").finish();
    assert_eq!(
        of(second).faults.sentences(),
        [
            "the path `other-1.0.0/x` is not inside `demo-1.0.0/`, the only top folder that the archive may have"
        ]
    );
}

#[test]
fn the_files_are_given_where_all_are_known() {
    let of = |archive: Tarball| {
        inspect(&archive.finish()[..], &upload(), &Limits::default())
            .unwrap()
            .files
    };
    let files = of(good()
        .folder("demo-1.0.0/tests")
        .file("demo-1.0.0/A", b"")
        .file("demo-1.0.0/a", b""));
    let files = files.unwrap();
    assert!(files.has("src/lib.rs") && files.has("A") && files.has("a"));
    assert!(!files.has("tests") && !files.has_in("tests"));
    assert!(of(good().entry(b'2', b"demo-1.0.0/link", b"")).is_none());
    assert!(of(good().file("/etc/passwd", b"")).is_none());
}

#[test]
fn there_is_exactly_one_manifest() {
    let other = |path: &str| Tarball::new().file(path, MANIFEST.as_bytes());
    refused(
        &other("demo-1.0.0/src/Cargo.toml").finish(),
        "there is no `demo-1.0.0/Cargo.toml`",
    );
    refused(
        &other("demo-1.0.0/CARGO.toml").finish(),
        "must be spelled `Cargo.toml`",
    );
    refused(
        &other("demo-1.0.0/cargo.toml").finish(),
        "must be spelled `Cargo.toml`",
    );
    let both = faults(&good().file("demo-1.0.0/cargo.toml", b"").finish());
    assert!(
        both.iter()
            .any(|fault| fault.contains("differ only in case")),
        "{both:?}"
    );
    refused(&good().file("demo-1.0.0/Cargo.toml", b"").finish(), "twice");
    refused(
        &Tarball::new().folder("demo-1.0.0/Cargo.toml").finish(),
        "there is no",
    );
    refused(&Tarball::new().finish(), "there is no");
}

#[test]
fn the_manifest_is_bounded_text() {
    let path = "demo-1.0.0/Cargo.toml";
    refused(
        &Tarball::new().file(path, b"\xff").finish(),
        "the manifest is not UTF-8",
    );
    let limits = Limits {
        manifest_bytes_max: MANIFEST.len() as u64 - 1,
        ..Limits::default()
    };
    let found = faults_with(&good().finish(), &limits);
    assert_eq!(
        found,
        ["the manifest is 42 bytes long; at most 41 bytes are allowed"]
    );
    let just = Limits {
        manifest_bytes_max: MANIFEST.len() as u64,
        ..limits
    };
    let found = inspect_with(&good().finish()[..], &just).unwrap().unwrap();
    assert_eq!(found.manifest, MANIFEST);
}

#[test]
fn what_cargo_would_skip_is_refused() {
    for path in [
        ".cargo-ok",
        "src/.Cargo-OK",
        ".cargo-ok/a",
        ".cargo-ok. ",
        ".cargo-o\u{212a}",
        ".cargo\u{200d}-ok",
    ] {
        let bytes = good().file(&format!("demo-1.0.0/{path}"), b"").finish();
        refused(&bytes, "by it Cargo marks");
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    let bytes = good().file("demo-1.0.0/zeros", &zeros).finish();
    assert!(bytes.len() < 100_000);
    let exact = Limits {
        // Three headers, the padded data of three files, and the two last blocks.
        unpacked_bytes_max: 5 * 512 + 2 * 512 + zeros.len() as u64,
        ..Limits::default()
    };
    inspect_with(&bytes[..], &exact).unwrap().unwrap();
    let smaller = Limits {
        unpacked_bytes_max: exact.unpacked_bytes_max - 1,
        ..exact
    };
    let found = faults_with(&bytes, &smaller);
    assert_eq!(
        found,
        [
            "the `.crate` file unpacks to more than 8392191 bytes; leave out what a build does not need (`package.exclude`)"
        ]
    );
}

#[test]
fn a_bomb_behind_the_end_of_the_archive_stops_too() {
    let mut tar = good().tar();
    tar.resize(tar.len() + (4 << 20), 0);
    let limits = Limits {
        unpacked_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let found = faults_with(&gzip(&tar), &limits);
    assert_eq!(
        found,
        [
            "the `.crate` file unpacks to more than 1048576 bytes; leave out what a build does not need (`package.exclude`)"
        ]
    );
}

#[test]
fn entries_and_paths_are_counted() {
    let limits = Limits {
        entries_max: 3,
        path_bytes_max: 24,
        ..Limits::default()
    };
    let bytes = good().file("demo-1.0.0/sixteen+bytes", b"");
    inspect_with(&bytes.clone().finish()[..], &limits)
        .unwrap()
        .unwrap();
    let long = good().file("demo-1.0.0/seventeen+byte", b"");
    let long = faults_with(&long.finish()[..], &limits);
    assert!(
        long[0].ends_with("is longer than 24 bytes; use shorter names"),
        "{long:?}"
    );
    // Links count although each is a fault already: else they would be read without an end.
    let many = bytes.entry(b'2', b"demo-1.0.0/x", b"").finish();
    let found = faults_with(&many, &limits);
    assert_eq!(
        found,
        [
            "the archive has more than 3 entries; leave out what a build does not need (`package.exclude`)"
        ]
    );
}

#[test]
fn each_file_has_a_limit_of_its_own() {
    let limits = Limits {
        file_bytes_max: 100,
        ..Limits::default()
    };
    let just = good().file("demo-1.0.0/data", &[b'x'; 100]).finish();
    inspect_with(&just[..], &limits).unwrap().unwrap();
    let more = good().file("demo-1.0.0/data", &[b'x'; 101]).finish();
    assert_eq!(
        faults_with(&more, &limits),
        ["`demo-1.0.0/data` unpacks to 101 bytes; at most 100 bytes are allowed for one file"]
    );
}

#[test]
fn paths_that_differ_in_how_accents_are_written_are_one_file_on_macos() {
    // The second is composed of a letter and an accent.
    let twins = good()
        .file("demo-1.0.0/caf\u{e9}.md", b"")
        .file("demo-1.0.0/caf\u{65}\u{301}.md", b"");
    refused(&twins.finish(), "in how accents are written");
    let capital = good()
        .file("demo-1.0.0/caf\u{e9}.md", b"")
        .file("demo-1.0.0/CAF\u{45}\u{301}.md", b"");
    refused(&capital.finish(), "in how accents are written");
    contents(
        &good()
            .file("demo-1.0.0/caf\u{e9}.md", b"")
            .file("demo-1.0.0/cafe.md", b"")
            .finish(),
    );
}

#[test]
fn paths_that_some_file_system_folds_into_one_are_refused() {
    for (a, b) in [
        ("σας.md", "σασ.md"),
        ("ma\u{df}e", "MASSE"),
        ("\u{17f}rc/main.rs", "src/main.rs"),
        ("\u{b5}", "\u{3bc}"),
        ("\u{212a}.rs", "k.rs"),
        ("a\u{200d}.md", "a.md"),
        ("a.md ", "a.md"),
        ("b/a.md", "b./a.md"),
    ] {
        let one = Tarball::new()
            .file("demo-1.0.0/Cargo.toml", MANIFEST.as_bytes())
            .file(&format!("demo-1.0.0/{a}"), b"");
        let twins = one.clone().file(&format!("demo-1.0.0/{b}"), b"");
        refused(&twins.finish(), "would be one file on Windows or macOS");
        contents(&one.finish());
    }
    let folder = good()
        .file("demo-1.0.0/a.", b"")
        .file("demo-1.0.0/A/b", b"");
    refused(
        &folder.finish(),
        "`demo-1.0.0/a.` is a file, but `demo-1.0.0/A/b` needs a folder there",
    );
}

#[test]
fn nothing_replaces_the_manifest_on_any_file_system() {
    for other in [
        "Cargo.toml.",
        "Cargo.toml ",
        "Cargo\u{200b}.toml",
        "CARGO.TOML",
    ] {
        let path = format!("demo-1.0.0/{other}");
        let found = faults(&good().file(&path, MANIFEST.as_bytes()).finish());
        assert!(
            found.len() == 2
                && found[0].starts_with("the manifest must be spelled `Cargo.toml`")
                && found[1].contains("would be one file on Windows or macOS"),
            "{found:#?}"
        );
        // Alone it is none: not every system takes it for the manifest.
        let alone = Tarball::new().file(&path, MANIFEST.as_bytes());
        refused(&alone.finish(), "must be spelled `Cargo.toml`");
    }
}

#[test]
fn names_that_windows_does_not_give_are_warned_of() {
    let warnings_of = |bytes: &[u8]| {
        let found = inspect(bytes, &upload(), &Limits::default()).unwrap();
        assert!(found.faults.is_empty(), "{:?}", found.faults);
        found.warnings
    };
    for path in [
        "src/aux.rs",
        "NUL",
        "com7/lib.rs",
        "Lpt1.tar.gz",
        "con .rs",
        "ends.",
        "ends ",
    ] {
        let path = format!("demo-1.0.0/{path}");
        assert_eq!(
            warnings_of(&good().file(&path, b"").finish()),
            [format!(
                "`{path}` has a name that Windows does not give to files; it cannot be unpacked there"
            )]
        );
    }
    for path in ["src/auxiliary.rs", "x.aux", ".con", "com10", "com", "lpt-1"] {
        let bytes = good().file(&format!("demo-1.0.0/{path}"), b"").finish();
        assert_eq!(warnings_of(&bytes), [""; 0], "{path}");
    }
    let many = (0..9).fold(good(), |archive, number| {
        archive.file(&format!("demo-1.0.0/com{number}"), b"")
    });
    assert_eq!(warnings_of(&many.finish()).len(), 5);
}

#[test]
fn one_gzip_member_and_nothing_behind_it() {
    let bytes = good().finish();
    let second = gzip(&good().tar());
    refused(
        &[&bytes[..], &second].concat(),
        "goes on after its gzip stream",
    );
    refused(
        &[&bytes[..], b"\0"].concat(),
        "goes on after its gzip stream",
    );
    // An archive that is divided into two members is whole only for readers of several members.
    let tar = good().tar();
    let halves = [gzip(&tar[..1024]), gzip(&tar[1024..])].concat();
    assert!(!faults(&halves).is_empty());
}

#[test]
fn damage_to_the_gzip_stream_is_found() {
    refused(b"", "not a gzip stream");
    refused(b"PK\x03\x04 not gzip at all", "not a gzip stream");
    let bytes = good().finish();
    for length in [5, 20, bytes.len() - 9, bytes.len() - 1] {
        let found = faults(&bytes[..length]);
        assert!(
            found.iter().any(|fault| fault.contains("gzip")),
            "{found:?}"
        );
    }
    let mut wrong_crc = bytes;
    let at = wrong_crc.len() - 8;
    wrong_crc[at] ^= 1;
    refused(&wrong_crc, "not a gzip stream");
}

#[test]
fn the_end_of_the_archive_is_two_blocks_of_zeros_and_then_only_zeros() {
    let end = "must end with two blocks of 512 zeros";
    let body = good().tar_without_end();
    refused(&gzip(&body), end);
    refused(&gzip(&[&body[..], &[0; 512]].concat()), end);
    refused(&gzip(&[&body[..], &[0; 1000]].concat()), end);
    contents(&gzip(&[&body[..], &[0; 10_240]].concat()));
    // Another archive behind the first: Cargo does not see it, other programs do.
    let hidden = [good().tar(), good().tar()].concat();
    refused(&gzip(&hidden), end);
    refused(&gzip(&body[..body.len() - 1]), "not a tar file");
}

#[test]
fn headers_that_readers_take_differently_are_refused() {
    let with = |change: fn(&mut [u8; 512])| {
        good()
            .entry_with(b'0', b"demo-1.0.0/x", b"data", change)
            .finish()
    };
    let format = "ustar or the GNU format";
    refused(&with(|header| header[257..265].fill(0)), format);
    refused(
        &with(|header| header[257..265].copy_from_slice(b"ustar \x000")),
        format,
    );
    refused(
        &with(|header| header[124..136].copy_from_slice(b"+0000000004\0")),
        "octal",
    );
    refused(
        &with(|header| header[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\0\x04")),
        "octal",
    );
    refused(
        &with(|header| header[124..136].fill(0)),
        "numeric field was not a number",
    );
    refused(
        &with(|header| header[124..136].copy_from_slice(b"4\x00000000000\0")),
        "octal",
    );
    refused(&with(|header| header[345] = b'a'), "sparse or incremental");
    refused(&with(|header| header[482] = 1), "sparse or incremental");
    refused(
        &good().entry(b'5', b"demo-1.0.0/x", b"data").finish(),
        "is a folder but has data",
    );
    let mut wrong_sum = good().tar();
    wrong_sum[0] ^= 1;
    refused(&gzip(&wrong_sum), "not a tar file");
}

#[test]
fn the_prefix_of_a_ustar_header_is_a_part_of_the_path() {
    let ustar = |prefix: &'static [u8]| {
        let change = move |header: &mut [u8; 512]| {
            header[257..265].copy_from_slice(b"ustar\x0000");
            header[345..345 + prefix.len()].copy_from_slice(prefix);
        };
        good().entry_with(b'0', b"x", b"", change).finish()
    };
    contents(&ustar(b"demo-1.0.0/deep"));
    refused(&ustar(b"demo-1.0.0/.."), "`demo-1.0.0/../x`");
}

#[test]
fn long_names_are_the_paths_that_count() {
    let long = format!("demo-1.0.0/{}", "a/".repeat(100));
    let bytes = good().long_name(format!("{long}x").as_bytes());
    contents(&bytes.clone().file(&long, b"").finish());
    refused(
        &good()
            .long_name(b"/etc/passwd")
            .file("demo-1.0.0/x", b"")
            .finish(),
        "`/etc/passwd` is absolute",
    );
    refused(
        &bytes
            .clone()
            .long_name(b"demo-1.0.0/y")
            .file("demo-1.0.0/x", b"")
            .finish(),
        "is the second long name or pax header",
    );
    refused(
        &good()
            .pax(&[("path", "demo-1.0.0/y")])
            .long_name(b"demo-1.0.0/z")
            .file("demo-1.0.0/x", b"")
            .finish(),
        "is the second long name or pax header",
    );
    refused(&bytes.finish(), "the entry that it describes is missing");
    refused(
        &good()
            .long_name(&[b'a'; 4096])
            .file("demo-1.0.0/x", b"")
            .finish(),
        "is longer than 1536 bytes",
    );
    // With the zero at its end.
    let just_read = format!("demo-1.0.0/{}", "a".repeat(1536 - 12));
    refused(
        &good()
            .long_name(just_read.as_bytes())
            .file("demo-1.0.0/x", b"")
            .finish(),
        "is longer than 512 bytes",
    );
    let too_long = format!("demo-1.0.0/{}", "a".repeat(502));
    refused(
        &good()
            .long_name(too_long.as_bytes())
            .file("demo-1.0.0/x", b"")
            .finish(),
        "is longer than 512 bytes",
    );
}

#[test]
fn a_file_that_is_read_in_pieces_and_with_interruptions_is_the_same() {
    let bytes = good().finish();
    let reader = Hesitant {
        rest: &bytes,
        is_ready: false,
    };
    let found = inspect_with(reader, &Limits::default()).unwrap().unwrap();
    assert_eq!(found.manifest, MANIFEST);
}

/// Gives one byte at a time, and is interrupted before each.
struct Hesitant<'a> {
    rest: &'a [u8],
    is_ready: bool,
}

impl Read for Hesitant<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = buffer.len().min(1);
        self.rest.read(&mut buffer[..length])
    }
}

#[test]
fn pax_headers_may_not_lie() {
    let with =
        |records: &[(&str, &str)]| good().pax(records).file("demo-1.0.0/x", b"data").finish();
    contents(&with(&[
        ("path", "demo-1.0.0/y"),
        ("size", "4"),
        ("mtime", "1.5"),
        ("comment", ""),
    ]));
    refused(&with(&[("path", "demo-1.0.0/Cargo.toml")]), "twice");
    refused(&with(&[("path", "")]), "`.` or `..`");
    refused(&with(&[("size", "5")]), "another size in its pax header");
    refused(&with(&[("size", "1024")]), "another size in its pax header");
    for size in ["+4", "04", "4 ", "-1", "99999999999999999999"] {
        refused(&with(&[("size", size)]), "malformed pax records");
    }
    for key in [
        "linkpath",
        "GNU.sparse.size",
        "GNU.sparse.name",
        "hdrcharset",
        "SCHILY.realsize",
    ] {
        refused(
            &with(&[(key, "4")]),
            &format!("has the pax key `{key}` twice, or it is not allowed"),
        );
    }
    refused(
        &with(&[("size", "4"), ("size", "4")]),
        "has the pax key `size` twice",
    );
    refused(
        &with(&[("comment", "a\n20 path=demo-1.0.0/z")]),
        "malformed pax records",
    );
}

#[test]
fn malformed_pax_records_are_refused() {
    for records in [
        "12 path=demo\n",
        "14 path=demo\n",
        "13 path:demo\n",
        "13 path=demo ",
        "+13 path=demo\n",
        "14  path=demo\n",
        "\n13 path=demo\n",
        "13 path=demo\n\n",
        "0 ",
        "x",
        "18446744073709551615 path=x\n",
    ] {
        let bytes = good().entry(b'x', b"PaxHeader", records.as_bytes());
        let found = faults(&bytes.file("demo-1.0.0/x", b"").finish());
        assert_eq!(found.len(), 1, "{records:?}: {found:?}");
        assert!(found[0].contains("pax"), "{records:?}: {found:?}");
    }
}

#[test]
fn a_size_beyond_the_archive_is_found() {
    let change = |header: &mut [u8; 512]| put_octal(&mut header[124..136], 1 << 30);
    let tar = Tarball::new().entry_with(b'0', b"demo-1.0.0/Cargo.toml", b"", change);
    let found = faults(&gzip(&tar.tar()));
    assert!(
        found[0].contains("the manifest is 1073741824 bytes long"),
        "{found:?}"
    );
    assert!(found[1].contains("not a tar file"), "{found:?}");
}

#[test]
fn all_faults_of_entries_are_told_together() {
    let bytes = Tarball::new()
        .entry(b'2', b"demo-1.0.0/link", b"")
        .file("/etc/passwd", b"")
        .file("demo-1.0.0/a", b"")
        .file("demo-1.0.0/A", b"")
        .file("demo-1.0.0/.cargo-ok", b"")
        .finish();
    assert_eq!(
        faults(&bytes),
        [
            "`demo-1.0.0/link` is a symbolic link; only regular files and folders are allowed",
            "the path `/etc/passwd` is absolute; it must begin with the top folder `NAME-VERSION/`",
            "`demo-1.0.0/.cargo-ok` is reserved: by it Cargo marks the crates that it has unpacked; leave it out",
            "`demo-1.0.0/a` and `demo-1.0.0/A` differ only in case, in how accents are written, in invisible characters, or in dots or spaces at the end of a name, and would be one file on Windows or macOS; leave one out or rename it",
            "there is no `demo-1.0.0/Cargo.toml`; `cargo package` puts it there",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_no_fault_of_the_archive() {
    struct Broken<'a>(&'a [u8]);

    impl Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::from_raw_os_error(5)),
                read => Ok(read),
            }
        }
    }

    let bytes = good().finish();
    for length in [0, 5, bytes.len() / 2, bytes.len()] {
        let error = inspect_with(Broken(&bytes[..length]), &Limits::default()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
    }
}

/// What Cargo reads: the archive as the `tar` crate presents it to those who unpack it.
fn as_cargo_reads(crate_file: &[u8]) -> Vec<(String, bool, Vec<u8>)> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(crate_file));
    let mut entries = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let kind = entry.header().entry_type();
        assert!(kind.is_file() || kind.is_dir(), "{path}: {kind:?}");
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        entries.push((path, kind.is_dir(), data));
    }
    entries
}

/// The same by our own reader of entries.
fn as_we_read(crate_file: &[u8]) -> Vec<(String, bool, Vec<u8>)> {
    let limits = Limits::default();
    let mut archive = tar::Archive::new(Unpacked::new(crate_file, limits.unpacked_bytes_max));
    let mut reader = EntryReader::new(archive.entries().unwrap(), &limits);
    let mut entries = Vec::new();
    while let Some((member, mut data)) = reader.next(&mut Faults::none()).unwrap() {
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).unwrap();
        let path = String::from_utf8(member.path).unwrap();
        entries.push((path, member.is_folder, bytes));
    }
    entries
}

/// Places in a header that decide what is read: path, size, kind, magic, and what readers find behind it.
fn fields_that_matter() -> Vec<usize> {
    let fields = [
        0..2,
        11..13,
        124..136,
        156..158,
        257..265,
        345..347,
        482..484,
    ];
    fields.into_iter().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_accepted_cargo_reads_the_same_way(
        kind in prop::sample::select(b"\x000157xLKgS".to_vec()),
        at in prop::sample::select(fields_that_matter()),
        byte in prop::sample::select(b"\0 +-0123457/a.u\x80\xff".to_vec()),
        records in prop::option::of(prop::sample::select(vec![
            "", "9 size=4\n", "9 size=5\n", "12 path=demo\n", "26 path=demo-1.0.0/Cargo.t\n",
            "23 path=demo-1.0.0/y/z\n", "10 size=04\n", "9 mtime=1\n", "11 mtime=1\n",
        ])),
    ) {
        let mut tarball = good();
        if let Some(records) = records {
            tarball = tarball.entry(b'x', b"PaxHeader", records.as_bytes());
        }
        let bytes = tarball
            .entry_with(kind, b"demo-1.0.0/x", b"data", |header| header[at] = byte)
            .file("demo-1.0.0/last", b"the end")
            .finish();
        let Ok(found) = inspect_with(&bytes[..], &Limits::default()).unwrap() else {
            return Ok(());
        };
        let entries = as_cargo_reads(&bytes);
        prop_assert_eq!(&entries, &as_we_read(&bytes));
        prop_assert_eq!(&entries[0].2, found.manifest.as_bytes());
        for (path, _, _) in &entries {
            prop_assert!(path.starts_with("demo-1.0.0/") && !path.contains(".."), "{}", path);
        }
    }
}
