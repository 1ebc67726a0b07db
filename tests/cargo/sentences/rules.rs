//! Each rule has its sentence in this folder: the sources say which rules there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the rules for uploads stand: folders and files.
const RULES: [&str; 13] = [
    "src/publish",
    "src/index/change.rs",
    "src/index/dependencies.rs",
    "src/index/object.rs",
    "src/http/body.rs",
    "src/rates.rs",
    "src/auth/permission.rs",
    "src/domain/feature.rs",
    "src/domain/name.rs",
    "src/domain/owners.rs",
    "src/domain/registry.rs",
    "src/domain/text.rs",
    "src/domain/version.rs",
];

/// What has a sentence that no case of this folder brings forth, and why.
const WITHOUT_A_CASE: [(&str, &str); 23] = [
    ("BodyFault::Broken", "nobody is left to tell"),
    (
        "BodyFault::TooSlow",
        "takes a client that stalls: see `http::serve`'s tests",
    ),
    ("Collision", "takes a collision of SHA-1"),
    ("FrameFault::Connection", "nobody is left to tell"),
    ("FrameFault::Spool", "our disk: see `frame::tests`"),
    (
        "NotPermitted::File",
        "takes a token of the exchange: see `forge::login`",
    ),
    (
        "NotPermitted::Version",
        "takes a token of the exchange: see `forge::login`",
    ),
    (
        "OwnerFault::NameOfAnother",
        "takes a forge: see `forge::people`",
    ),
    (
        "OwnerFault::NameOfSeveral",
        "takes a forge: see `forge::people`",
    ),
    ("OwnerFault::Syntax", "our index, edited by hand"),
    (
        "OwnerFault::Team",
        "takes a forge: see `domain::owners`' tests",
    ),
    ("OwnerFault::TooLarge", "our index, edited by hand"),
    ("PublishFault::Invalid", "holds sentences and adds nothing"),
    ("PublishFault::Panicked", "a fault of ours, not known yet"),
    ("PublishFault::Refused", "holds sentences and adds nothing"),
    ("PublishFault::Store", "our disk, while a blob is kept"),
    ("LayerFault::TooLarge", "becomes `UnpackedTooLarge`"),
    ("LayerFault::Gzip", "becomes `TarballFault::Gzip`"),
    ("Refusal::FileTooLarge", "takes an index file of 64 MiB"),
    ("Refusal::BrokenFile", "our index, edited by hand"),
    (
        "Refusal::PolicyChanged",
        "takes a push in the midst of a publish: see `index::tests`",
    ),
    (
        "Refusal::Revoked",
        "takes an upload that lasts: see `operate::tokens`",
    ),
    ("UrlFault::Name", "about the name of a registry"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files at or below a path.
fn files_at(path: PathBuf) -> Vec<PathBuf> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        let entries = entries.map(|entry| entry.unwrap().path());
        return entries.flat_map(files_at).collect();
    }
    assert!(path.is_file(), "the rules have moved from {path:?}");
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    is_rust.then_some(path).into_iter().collect()
}

/// What has a sentence of its own: `Struct`, or a variant as `Enum::Variant`; the sources are as `cargo fmt` leaves them.
fn sentences_of(source: &str) -> Vec<String> {
    let mut found = structs_with_sentences(source);
    for part in source.split("enum ").skip(1) {
        let (name, body) = part.split_once(" {\n").unwrap_or_default();
        let body = body.split("\n}").next().unwrap_or_default();
        let mut has_sentence = false;
        for line in body.lines() {
            let Some(line) = line.strip_prefix("    ") else {
                continue;
            };
            if line.starts_with("#[error(") {
                has_sentence = line != "#[error(transparent)]";
            } else if line.starts_with(|c: char| c.is_ascii_uppercase()) && has_sentence {
                let end = line.find(|c: char| !c.is_ascii_alphanumeric());
                found.push(format!("{name}::{}", &line[..end.unwrap_or(line.len())]));
                has_sentence = false;
            }
        }
    }
    found
}

fn structs_with_sentences(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut has_sentence = false;
    for line in source.lines() {
        if line.starts_with("#[error(") {
            has_sentence = true;
        } else if line.starts_with("pub") {
            let name = line.split_once("struct ").map(|(_, name)| name);
            if let (Some(name), true) = (name, has_sentence) {
                let end = name.find(|c: char| !c.is_ascii_alphanumeric());
                found.push(name[..end.unwrap_or(name.len())].to_owned());
            }
            has_sentence = false;
        }
    }
    found
}

/// The rules that the texts of a file name at their start; a name without `::` counts if it is one of `rules`.
fn named_in(test: &str, rules: &BTreeSet<String>) -> impl Iterator<Item = String> {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let parts = test.split('"').flat_map(|text| text.split(", "));
    parts.filter_map(move |rule| {
        let is_rule = match rule.split_once("::") {
            Some((name, variant)) => is_name(name) && is_name(variant),
            None => rules.contains(rule),
        };
        is_rule.then(|| rule.to_owned())
    })
}

#[test]
fn every_rule_has_its_sentence_under_its_name() {
    let sources = RULES.iter().flat_map(|path| files_at(root().join(path)));
    let rules: BTreeSet<String> = sources
        .flat_map(|path| sentences_of(&fs::read_to_string(path).unwrap()))
        .collect();
    assert!(rules.len() > 100, "the rules are where this test looks");

    let mut cases = files_at(root().join("tests/cargo/sentences"));
    cases.retain(|path| !path.ends_with("rules.rs"));
    let named: BTreeSet<String> = cases
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .flat_map(|text| named_in(&text, &rules).collect::<Vec<_>>())
        .collect();
    let unknown: Vec<_> = named.difference(&rules).collect();
    assert!(unknown.is_empty(), "no such rules: {unknown:#?}");
    let without: BTreeSet<String> = rules.difference(&named).cloned().collect();
    let excepted: BTreeSet<String> = WITHOUT_A_CASE.map(|(rule, _)| rule.to_owned()).into();
    let forgotten: Vec<_> = without.difference(&excepted).collect();
    assert!(forgotten.is_empty(), "rules without a case: {forgotten:#?}");
    let idle: Vec<_> = excepted.difference(&without).collect();
    assert!(idle.is_empty(), "no exceptions any more: {idle:#?}");
}

#[test]
fn rules_and_cases_are_found_as_they_are_written() {
    let source = "\
        pub enum Fault {\n    /// Some.\n    #[error(\"a {0}\")]\n    One(usize),\n    \
        #[error(\n        \"b\"\n    )]\n    Two { a: u8 },\n    #[error(transparent)]\n    \
        Inner(Other),\n}\n\nenum Plain {\n    Three,\n}\n\n\
        #[error(\n    \"c\"\n)]\npub struct Alone(String);\n\npub struct Silent;\n\n\
        #[error(\"d\")]\npub struct Second;\n";
    let rules = sentences_of(source);
    assert_eq!(rules, ["Alone", "Second", "Fault::One", "Fault::Two"]);
    let test = "says(\"Fault::One, Fault::Two, a pipe\", x, a::B);\nsays(\"no::rule\");\n\
        says(\"Second, once more\", \"Other\")";
    let named: Vec<_> = named_in(test, &rules.into_iter().collect()).collect();
    assert_eq!(named, ["Fault::One", "Fault::Two", "Second"]);
}
