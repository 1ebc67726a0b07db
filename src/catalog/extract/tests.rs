use proptest::prelude::*;

use super::*;
use crate::publish::tarball_builder::{Tarball, gzip};

fn of_manifest(manifest: &str) -> Result<Extract, ExtractFault> {
    Extract::read(&*Tarball::of_crate("demo", "1.0.0", manifest).finish())
}

#[track_caller]
fn fails(bytes: &[u8], why: &str) {
    let fault = Extract::read(bytes).unwrap_err().to_string();
    assert!(fault.contains(why), "{fault}");
}

fn keywords(extract: &Extract) -> Vec<&str> {
    extract.keywords().collect()
}

#[test]
fn description_and_keywords_are_those_of_the_manifest() {
    let extract = of_manifest(
        "[package]\nname = \"demo\"\ndescription = \"\"\"\n A  demo\r\n of\tthis \"\"\"\nkeywords = [\"One\", \"two\"]\n",
    );
    let extract = extract.unwrap();
    assert_eq!(extract.description(), Some("A demo of this"));
    assert_eq!(keywords(&extract), ["One", "two"]);
    let extract = Extract::new(None, ["one", "two"]);
    assert_eq!(extract.description(), None);
    assert_eq!(keywords(&extract), ["one", "two"]);
}

#[test]
fn what_is_not_said_or_of_another_type_says_nothing() {
    for manifest in [
        "",
        "[package]\n",
        "package = 1\n",
        "[lib]\ndescription = \"no\"\n",
        "[package]\ndescription = 7\nkeywords = \"one\"\n",
        "[package]\ndescription = { workspace = true }\nkeywords.workspace = true\n",
        "[package]\ndescription = \" \\n\\u001b\\u202e \"\nkeywords = [\"\", 1, [\"a\"]]\n",
    ] {
        let extract = of_manifest(manifest).unwrap();
        assert_eq!(extract, Extract::default(), "{manifest}");
    }
}

#[test]
fn texts_are_bounded_and_cannot_turn_a_terminal() {
    let texts = ["a".repeat(65), "b\u{1b}[31m".to_owned(), "ü".repeat(32)];
    let many = vec!["c"; 100];
    let texts = texts.iter().map(String::as_str).chain(many);
    let description = format!(
        "\u{feff}red\u{1b}[31m \u{202e}end\0\u{7} {}",
        "é".repeat(9999)
    );
    let extract = Extract::new(Some(&description), texts);
    let text = extract.description().unwrap();
    assert!(
        text.starts_with("red [31m end é") && text.ends_with("é…"),
        "{text}"
    );
    assert!((1020..=1024).contains(&text.len()), "{}", text.len());
    let keywords = keywords(&extract);
    assert_eq!(keywords[..2], ["b [31m".to_owned(), "ü".repeat(32)]);
    assert_eq!(keywords.len(), KEYWORDS_MAX);
}

#[test]
fn the_manifest_is_found_wherever_it_stands_in_the_archive() {
    let manifest = b"[package]\ndescription = \"here\"\n";
    let archive = Tarball::new()
        .folder("demo-1.0.0/")
        .file("demo-1.0.0/.cargo_vcs_info.json", b"{}")
        .file("demo-1.0.0/Cargo.toml.orig", b"[package]\n")
        .file("demo-1.0.0/member/Cargo.toml", b"[package]\n")
        .entry(b'2', b"demo-1.0.0/Cargo.toml", b"")
        .file("demo-1.0.0/cargo.toml", manifest);
    let extract = Extract::read(&*archive.finish()).unwrap();
    assert_eq!(extract.description(), Some("here"));
}

#[test]
fn a_path_of_more_than_a_hundred_bytes_is_read() {
    let manifest = b"[package]\ndescription = \"far\"\n";
    let path = format!("demo-1.0.0-{}/Cargo.toml", "a".repeat(120));
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(manifest.len() as u64);
    archive
        .append_data(&mut header, path, &manifest[..])
        .unwrap();
    let extract = Extract::read(&*gzip(&archive.into_inner().unwrap())).unwrap();
    assert_eq!(extract.description(), Some("far"));
}

#[test]
fn files_that_tell_nothing_say_why() {
    fails(b"", "cannot be read");
    fails(b"not gzip at all", "cannot be read");
    fails(&gzip(b""), "no manifest");
    fails(&gzip(&[b'x'; 2048]), "cannot be read");
    let good = Tarball::of_crate("demo", "1.0.0", "[package]\n").finish();
    fails(&good[..good.len() / 2], "cannot be read");
    let without = Tarball::new().file("demo-1.0.0/src/lib.rs", b"");
    fails(&without.finish(), "no manifest");
    for (manifest, why) in [
        (&b"[package\n"[..], "cannot be understood"),
        (b"\xff", "cannot be read"),
        (&[b'['; 100_000], "cannot be understood"),
    ] {
        let archive = Tarball::new().file("demo-1.0.0/Cargo.toml", manifest);
        fails(&archive.finish(), why);
    }
}

#[test]
fn a_manifest_that_is_too_large_or_too_far_away_is_not_read() {
    let zeros = vec![b'\n'; usize::try_from(MANIFEST_BYTES_MAX).unwrap() + 1];
    let large = Tarball::new().file("demo-1.0.0/Cargo.toml", &zeros);
    fails(&large.finish(), "bytes are read");

    let mut far = Tarball::new();
    for _ in 0..=UNPACKED_BYTES_MAX / MANIFEST_BYTES_MAX {
        far = far.file("demo-1.0.0/a", &zeros);
    }
    let far = far.file("demo-1.0.0/Cargo.toml", b"[package]\n");
    let fault = Extract::read(&*far.finish()).unwrap_err();
    assert!(
        matches!(
            fault,
            ExtractFault::NoManifest | ExtractFault::Unreadable(_)
        ),
        "{fault}"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), at in any::<usize>(), byte in any::<u8>()) {
        let _ = Extract::read(&*bytes);
        let _ = Extract::read(&*gzip(&bytes));
        let mut archive = Tarball::of_crate("demo", "1.0.0", "[package]\n").tar();
        let at = at % archive.len();
        archive[at] = byte;
        let _ = Extract::read(&*gzip(&archive));
    }

    #[test]
    fn a_line_is_one_line_within_its_bounds(text in any::<String>(), bytes_max in 3usize..40) {
        let line = one_line(&text, bytes_max);
        prop_assert!(line.len() <= bytes_max);
        let is_hostile = |c: char| c.is_control() || turns_line(c) || c == '\u{2028}';
        prop_assert!(!line.contains(is_hostile));
        prop_assert_eq!(line.trim(), &line);
        prop_assert!(!line.contains("  "));
    }
}
