use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// The largest file that is kept; all together are small, so that everybody has them.
const SEED_BYTES_MAX: usize = 16 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a folder, in order.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A character as everybody can read and compare it.
fn shown(c: char) -> String {
    match c {
        ' '..='~' => c.to_string(),
        _ => c.escape_unicode().to_string(),
    }
}

/// Runs a target on all that is kept for it, and compares the verdicts with those that are kept beside.
///
/// A seed whose verdict changes may not reach any more what it is named for. `INSTA_UPDATE=always` keeps the new ones.
fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(found, _)| *found == name).unwrap();
    let folder = fuzz().join("corpus").join(name);
    let mut verdicts = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for seed in names_in(&folder) {
        let bytes = fs::read(folder.join(&seed)).unwrap();
        assert!(bytes.len() <= SEED_BYTES_MAX, "{name}/{seed} is too large");
        // If it fails, the last one that is printed is the one.
        println!("{name}/{seed}");
        let (kind, words) = match target(&bytes) {
            Verdict::Accepted(words) => {
                accepted += 1;
                ("accepted", words)
            }
            Verdict::Refused(words) => {
                refused += 1;
                ("refused", words)
            }
        };
        let colon = if words.is_empty() { "" } else { ": " };
        let words: String = words.chars().map(shown).collect();
        verdicts.push(format!("{seed} {kind}{colon}{words}"));
    }
    assert!(
        accepted > 2 && refused > 2,
        "{accepted} accepted, {refused} refused"
    );
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(fuzz().join("verdicts"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, verdicts.join("\n")));
}

#[test]
fn every_target_has_its_file_its_entry_and_its_corpus() {
    let names = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names_in(&fuzz().join("corpus")), names);
    let files = names.each_ref().map(|name| format!("{name}.rs"));
    assert_eq!(names_in(&fuzz().join("fuzz_targets")), files);
    let manifest: toml::Table = fs::read_to_string(fuzz().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let bins: Vec<&str> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bin| bin["name"].as_str().unwrap())
        .collect();
    assert_eq!(bins, names);
    for name in &names {
        let text =
            fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(
            text.contains(&format!("sidecargo::fuzzing::{name}(bytes)")),
            "{text}"
        );
    }
}

#[test]
fn what_is_fuzzed_is_built_with_the_same_dependencies() {
    let packages = |path: &str| -> Vec<(String, String)> {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let lock: toml::Table = text.parse().unwrap();
        let of = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
        let packages = lock["package"].as_array().unwrap().iter();
        packages
            .map(|package| (of(package, "name"), of(package, "version")))
            .collect()
    };
    let ours = packages("Cargo.lock");
    let mut count = 0;
    for (name, version) in packages("fuzz/Cargo.lock") {
        let mut same = ours.iter().filter(|(found, _)| *found == name).peekable();
        if same.peek().is_some() {
            assert!(same.any(|(_, found)| *found == version), "{name} {version}");
            count += 1;
        }
    }
    assert!(count > 100, "the lock files are where this test looks");
}

#[test]
fn frame_holds_on_its_corpus() {
    replay("frame");
}

#[test]
fn git_request_holds_on_its_corpus() {
    replay("git_request");
}

#[test]
fn index_line_holds_on_its_corpus() {
    replay("index_line");
}

#[test]
fn manifest_holds_on_its_corpus() {
    replay("manifest");
}

#[test]
fn rule_holds_on_its_corpus() {
    replay("rule");
}

#[test]
fn tarball_holds_on_its_corpus() {
    replay("tarball");
}

#[test]
fn token_holds_on_its_corpus() {
    replay("token");
}
