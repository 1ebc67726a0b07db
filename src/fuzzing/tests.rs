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

/// Runs a target on all that is kept for it.
fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(found, _)| *found == name).unwrap();
    let folder = fuzz().join("corpus").join(name);
    let (mut accepted, mut refused) = (0, 0);
    for seed in names_in(&folder) {
        let bytes = fs::read(folder.join(&seed)).unwrap();
        assert!(bytes.len() <= SEED_BYTES_MAX, "{name}/{seed} is too large");
        // If it fails, the last one that is printed is the one.
        println!("{name}/{seed}");
        match target(&bytes) {
            Verdict::Accepted => accepted += 1,
            Verdict::Refused => refused += 1,
        }
    }
    assert!(
        accepted > 2 && refused > 2,
        "{accepted} accepted, {refused} refused"
    );
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
