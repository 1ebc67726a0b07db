//! The table of what a registry must do for Cargo, kept true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The last number of the table.
const LAST: usize = 96;
/// Why a check has no test, or not only tests.
const REASONS: [&str; 2] = ["forge", "later"];

fn table() -> toml::Table {
    let text = include_str!("checks.toml");
    let mut table: toml::Table = text.parse().unwrap();
    assert_eq!(table.len(), 1, "the file has one table");
    match table.remove("check") {
        Some(toml::Value::Table(checks)) => checks,
        other => panic!("no checks but {other:?}"),
    }
}

#[test]
fn every_check_has_its_line() {
    let table = table();
    let numbers: BTreeSet<usize> = table.keys().map(|key| key.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=LAST).collect());
    for (number, check) in &table {
        let check = check.as_table().unwrap();
        let is_sentence = |key: &str, words_min: usize| {
            let text = check[key].as_str().unwrap();
            text.split_whitespace().count() >= words_min
        };
        assert!(is_sentence("what", 3), "{number} does not say what");
        for key in check.keys().filter(|key| *key != "what") {
            let is_known = key == "tests" || REASONS.contains(&key.as_str());
            assert!(is_known, "{number} has a `{key}`");
            assert!(
                key == "tests" || is_sentence(key, 3),
                "{number} gives no reason"
            );
        }
        assert!(check.len() > 1, "{number} has neither test nor reason");
    }
}

#[test]
fn every_test_of_the_table_exists() {
    for (number, check) in &table() {
        let Some(tests) = check.get("tests") else {
            continue;
        };
        let tests = tests.as_array().unwrap();
        assert!(!tests.is_empty(), "{number} has an empty list");
        for test in tests {
            let test = test.as_str().unwrap();
            assert!(is_test(test), "{number}: there is no test `{test}`");
        }
    }
}

/// Whether a file at the place that the path names has a test of its last segment's name.
pub fn is_test(path: &str) -> bool {
    let (module, name) = path.rsplit_once("::").unwrap();
    let function = format!("fn {name}(");
    files_of(module)
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| {
            text.match_indices(&function).any(|(at, _)| {
                let before = text[..at].trim_end();
                let before = before.trim_end_matches("async").trim_end();
                let attribute = before.lines().last().unwrap_or_default().trim();
                attribute == "#[test]" || attribute.starts_with("#[tokio::test")
            })
        })
}

/// Where a module may lie: below `tests`, or below `src` if it says so, also with its tests in a file beside it.
fn files_of(module: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = if module.starts_with("src::") {
        root.to_owned()
    } else {
        root.join("tests")
    };
    let path = folder.join(module.replace("::", "/"));
    let mut files = vec![path.with_extension("rs"), path.join("mod.rs")];
    if let Some(parent) = module.strip_suffix("::tests") {
        files.push(folder.join(parent.replace("::", "/")).with_extension("rs"));
    }
    files
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    assert!(is_test("checks::every_test_of_the_table_exists"));
    for path in [
        "checks::files_of",
        "checks::none_such",
        "none::every_test_of_the_table_exists",
    ] {
        assert!(!is_test(path), "{path}");
    }
}
