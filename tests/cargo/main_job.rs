//! Real crates with their real manifests: published by the real cargo, built by old and new.

mod expected;
mod selection;
mod unpack;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_util_schemas::index::IndexPackage;
use expected::Line;
use selection::RealCrate;
use sidecargo::domain::IndexPath;

use crate::common::cargos::{Sandbox, View};
use crate::common::git::Clone;
use crate::common::http::get;
use crate::common::registry::Registry;
use crate::common::tools;

/// How many real crates are published.
const CRATES_WANTED: usize = 44;
/// Crates that the program calls by name; the selection always has them.
const CALLED: [&str; 5] = ["form_urlencoded", "utf8_iter", "heck", "strsim", "fnv"];
/// What the program prints when each of them did its work.
const SAID: &str = "a=b+c 2 SideCargo 1 true";

/// What the real crates must show, so that the lines of a lucky few do not stand for all.
const CASES: [&str; 10] = [
    "renamed",
    "optional",
    "by target",
    "build",
    "no default features",
    "`dep:`",
    "`?/`",
    "links",
    "rust-version",
    "build metadata",
];

#[test]
fn real_crates_are_published_and_built_by_old_and_new_cargo() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let publisher = Sandbox::stable(&registry, View::Sparse);
    publisher.login(&token);

    let crates = selection::closed_set(CRATES_WANTED, &CALLED);
    assert!(crates.len() >= 40, "only {} crates", crates.len());
    let edges: usize = crates.iter().map(|krate| krate.dependencies.len()).sum();
    assert!(edges >= 2, "no crate depends on another");

    let mut table = String::from("\n| crate | version | shows | edited |\n|---|---|---|---|\n");
    let mut shown = BTreeSet::new();
    for krate in &crates {
        let folder = krate.unpack(&publisher.work());
        let edited = unpack::point_at_registry(&folder, krate.is_without_dev);
        // The program below builds them all, twice.
        let words = ["publish", "--registry", "crates", "--no-verify"];
        publisher.cargo(&folder, &words).succeeds();
        let wanted = Line::of_package(&publisher, &folder, &registry.sparse_index());
        let cases = wanted.cases().join(", ");
        assert_eq!(served_line(&registry, krate), wanted);
        shown.extend(wanted.cases());
        writeln!(
            table,
            "| {} | {} | {cases} | {edited} |",
            krate.name, krate.version
        )
        .unwrap();
    }
    tools::say(&table);
    for case in CASES {
        assert!(shown.contains(case), "no crate shows {case}");
    }
    what_lies_in_git_is_for_every_cargo(&registry, crates.len());

    let stable = Sandbox::stable(&registry, View::Sparse);
    let program = write_program(&stable.work(), &crates.iter().collect::<Vec<_>>());
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
    let crates: Vec<&RealCrate> = crates.iter().filter(|krate| krate.is_for_old).collect();
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

/// Every line is one to Cargo's own reader, at its place, and names no URL that old Cargo refuses.
#[track_caller]
fn what_lies_in_git_is_for_every_cargo(registry: &Registry, line_count: usize) {
    let clone = Clone::of(registry);
    let mut seen = 0;
    for file in clone.files() {
        let bytes = clone.bytes(&file.path);
        let text = String::from_utf8(bytes).unwrap();
        if IndexPath::crate_at(&file.path).is_none() {
            continue;
        }
        assert!(!text.contains("sparse+"), "{}: {text}", file.path);
        assert!(
            text.ends_with('\n') && !text.contains('\r'),
            "{}",
            file.path
        );
        for line in text.lines() {
            let line: IndexPackage<'_> = serde_json::from_str(line).unwrap();
            assert_eq!(file.path, path_by_the_book(&line.name));
            seen += 1;
        }
    }
    assert_eq!(seen, line_count);
}

/// Where the Cargo book puts a crate.
fn path_by_the_book(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.len() {
        len @ 1..=2 => format!("{len}/{name}"),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

/// The line that the sparse index has of a crate.
#[track_caller]
fn served_line(registry: &Registry, krate: &RealCrate) -> Line {
    let path = IndexPath::of(&krate.name.parse().unwrap());
    let served = get(format!("/crates/index/{path}"))
        .send(registry.port)
        .succeeds();
    // It was published last, so its line is the last one.
    Line::served(served.text().lines().last().unwrap())
}

/// A program that depends on every crate of the set.
fn write_program(parent: &Path, crates: &[&RealCrate]) -> PathBuf {
    let folder = parent.join("real-program");
    fs::create_dir_all(folder.join("src")).unwrap();
    let mut manifest = crate::common::upload::manifest("real-program", "0.1.0");
    manifest.push_str("\n[dependencies]\n");
    let mut source = String::new();
    for (n, krate) in crates.iter().enumerate() {
        let (name, version) = (&krate.name, &krate.version);
        // There may be two versions of a crate, so each has a name of its own here.
        let alias = match CALLED.contains(&name.as_str()) {
            true => name.clone(),
            false => format!("real-{n}"),
        };
        writeln!(
            manifest,
            "{alias} = {{ package = {name:?}, version = \"={version}\", registry = \"crates\" }}"
        )
        .unwrap();
        writeln!(source, "extern crate {} as _;", alias.replace('-', "_")).unwrap();
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
