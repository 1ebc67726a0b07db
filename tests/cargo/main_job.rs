//! Real crates with their real manifests: published by the real cargo, built by old and new.

mod selection;
mod unpack;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use selection::RealCrate;

use crate::common::cargos::{Sandbox, View};
use crate::common::registry::Registry;
use crate::common::tools;

/// How many real crates are published.
const CRATES_WANTED: usize = 24;
/// Crates that the program calls by name; the selection always has them.
const CALLED: [&str; 5] = ["form_urlencoded", "utf8_iter", "heck", "strsim", "fnv"];
/// What the program prints when each of them did its work.
const SAID: &str = "a=b+c 2 SideCargo 1 true";

#[test]
fn real_crates_are_published_and_built_by_old_and_new_cargo() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let publisher = Sandbox::stable(&registry, View::Sparse);
    publisher.login(&token);

    let crates = selection::closed_set(CRATES_WANTED, &CALLED);
    assert!(crates.len() >= 10, "only {} crates", crates.len());
    let edges: usize = crates.iter().map(|krate| krate.dependencies.len()).sum();
    assert!(edges >= 2, "no crate depends on another");

    let mut table = String::from("\n| crate | version | edited |\n|---|---|---|\n");
    for krate in &crates {
        let folder = krate.unpack(&publisher.work());
        let edited = unpack::point_at_registry(&folder);
        writeln!(table, "| {} | {} | {edited} |", krate.name, krate.version).unwrap();
        publisher.publish(&folder).succeeds();
    }
    tools::say(&table);

    let stable = Sandbox::stable(&registry, View::Sparse);
    let program = write_program(&stable.work(), &crates);
    stable.cargo(&program, &["build"]).succeeds();
    stable
        .cargo(&program, &["run", "--quiet"])
        .succeeds()
        .prints(SAID);
    came_from_registry(&program, &registry.sparse_index(), crates.len());

    let Some(old) = tools::old_cargo() else {
        return;
    };
    let old = Sandbox::old(old, &registry);
    let program = write_program(&old.work(), &crates);
    old.cargo(&program, &["build"]).succeeds();
    old.cargo(&program, &["run", "--quiet"])
        .succeeds()
        .prints(SAID);
    came_from_registry(
        &program,
        &format!("registry+{}", registry.git_index()),
        crates.len(),
    );
}

/// A program that depends on every crate of the set.
fn write_program(parent: &Path, crates: &[RealCrate]) -> PathBuf {
    let folder = parent.join("real-program");
    fs::create_dir_all(folder.join("src")).unwrap();
    let mut manifest = crate::common::upload::manifest("real-program", "0.1.0");
    manifest.push_str("\n[dependencies]\n");
    let mut source = String::new();
    for krate in crates {
        let (name, version) = (&krate.name, &krate.version);
        writeln!(
            manifest,
            "{name} = {{ version = \"={version}\", registry = \"crates\" }}"
        )
        .unwrap();
        writeln!(source, "extern crate {} as _;", name.replace('-', "_")).unwrap();
    }
    source.push_str(
        r#"
use heck::ToUpperCamelCase;
use std::hash::Hasher;
use utf8_iter::Utf8CharsEx;

fn main() {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("a", "b c").finish();
    let chars = "é!".as_bytes().chars().count();
    let camel = "side cargo".to_upper_camel_case();
    let distance = strsim::levenshtein("crate", "crates");
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(b"a");
    let is_known_hash = hasher.finish() == 0xaf63_dc4c_8601_ec8c;
    println!("{query} {chars} {camel} {distance} {is_known_hash}");
}
"#,
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/main.rs"), source).unwrap();
    folder
}

/// Panics unless the lock file takes exactly `count` packages from `source` and none from elsewhere.
#[track_caller]
fn came_from_registry(program: &Path, source: &str, count: usize) {
    let lock = fs::read_to_string(program.join("Cargo.lock")).unwrap();
    let sources: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .collect();
    assert_eq!(sources.len(), count, "{lock}");
    for found in sources {
        assert_eq!(found.trim_matches('"'), source);
    }
}
