//! What ARCHITECTURE.md and CONTRIBUTING.md say of the sources, kept true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest source file without its tests, in lines.
const FILE_LINES_MAX: usize = 400;

/// Modules that a module may use, beside `domain`, which all may, and itself.
const EDGES: &[(&str, &[&str])] = &[
    (
        "app",
        &[
            "auth",
            "blobs",
            "catalog",
            "config",
            "disk",
            "fetch",
            "forge",
            "index",
            "measure",
            "probe",
            "rates",
            "review",
            "tokens",
            "visibility",
        ],
    ),
    ("audit", &["app", "index"]),
    ("auth", &["disk", "forge", "measure"]),
    ("backup", &["app", "audit", "blobs", "disk", "index"]),
    ("blobs", &["disk"]),
    ("catalog", &["blobs", "disk", "index", "places"]),
    ("config", &[]),
    ("control", &["app", "disk", "operator"]),
    ("credential", &["disk"]),
    ("disk", &["measure"]),
    (
        "doctor",
        &["app", "config", "forge", "git", "index", "setup", "webhook"],
    ),
    ("domain", &[]),
    ("exchange", &["app", "auth", "index"]),
    ("fetch", &["config", "git", "measure", "places"]),
    ("forge", &["config", "disk", "measure", "pause"]),
    ("git", &[]),
    (
        "http",
        &[
            "app", "auth", "blobs", "catalog", "config", "exchange", "fetch", "forge", "index",
            "measure", "metrics", "owners", "publish", "rates", "review", "webhook", "yank",
        ],
    ),
    ("index", &["blobs", "disk", "git", "measure", "pause"]),
    ("measure", &[]),
    ("metrics", &["app", "disk"]),
    ("orphans", &["blobs", "index"]),
    ("pause", &[]),
    ("places", &[]),
    ("operator", &["app", "auth", "index", "tokens"]),
    ("owners", &["app", "auth", "index", "rates"]),
    (
        "publish",
        &["app", "auth", "blobs", "disk", "index", "rates"],
    ),
    ("probe", &["disk"]),
    ("rates", &[]),
    ("review", &["app", "blobs", "forge", "index"]),
    ("setup", &["disk", "forge", "webhook"]),
    ("telemetry", &["config"]),
    ("tokens", &["disk"]),
    ("webhook", &[]),
    ("visibility", &["disk", "forge", "index"]),
    ("yank", &["app", "auth", "index", "rates"]),
];

pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The module of the crate that the file belongs to.
    fn module(&self) -> String {
        let first = self
            .path
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Whether no ordinary build has the file.
    pub fn is_test(&self) -> bool {
        let stem = self.path.file_stem().unwrap().to_string_lossy();
        stem.ends_with("tests") || stem == "fuzzing"
    }

    /// The text without its tests.
    pub fn product(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap()
    }

    /// The modules of the crate that the file names, tests left out.
    fn uses(&self) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for part in self.product().split("crate::").skip(1) {
            let list = match part.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').collect(),
                None => vec![part],
            };
            for name in list {
                let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let word: String = name.trim().chars().take_while(|c| is_word(*c)).collect();
                used.insert(word);
            }
        }
        used
    }
}

pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source {
                    path: path.strip_prefix(&root).unwrap().to_owned(),
                    text,
                });
            }
        }
    }
    assert!(found.len() > 30, "the sources are where this test looks");
    found
}

fn product_sources() -> impl Iterator<Item = Source> {
    sources().into_iter().filter(|source| !source.is_test())
}

#[test]
fn modules_use_only_what_they_may() {
    for source in product_sources() {
        let module = source.module();
        if ["main", "lib", "cli", "bin"].contains(&module.as_str()) {
            continue;
        }
        let allowed = EDGES.iter().find(|(name, _)| *name == module);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("`{module}` has no edges listed"));
        for used in source.uses() {
            assert!(
                used == module || used == "domain" || allowed.contains(&used.as_str()),
                "{}: `{module}` must not use `{used}`",
                source.path.display()
            );
        }
    }
}

#[test]
fn only_http_knows_the_web_framework() {
    for source in product_sources().filter(|source| source.module() != "http") {
        for framework in ["warp::", "hyper::", "hyper_util::"] {
            assert!(
                !source.product().contains(framework),
                "{}: {framework}",
                source.path.display()
            );
        }
    }
}

#[test]
fn only_disk_renames_and_flushes() {
    // The tip is moved under git's own lock file, whose name is given.
    let exempt = ["disk.rs", "index/refs.rs", "index/template.rs"];
    for source in product_sources() {
        if exempt.iter().any(|path| source.path == Path::new(path)) {
            continue;
        }
        for call in ["fs::rename", "hard_link(", "fs::write(", "sync_data("] {
            assert!(
                !source.product().contains(call),
                "{}: {call}",
                source.path.display()
            );
        }
    }
}

#[test]
fn nobody_panics_for_want_of_a_thread() {
    for source in product_sources() {
        assert!(
            !source.product().contains("thread::spawn("),
            "{}: `thread::Builder` gives an error where the system gives no thread",
            source.path.display()
        );
    }
}

#[test]
fn files_can_be_held_in_the_head_and_say_what_they_are() {
    for source in product_sources() {
        assert!(
            source.text.starts_with("//!"),
            "{} has no first words",
            source.path.display()
        );
        let lines = source.product().lines().count();
        assert!(
            lines <= FILE_LINES_MAX,
            "{} has {lines} lines",
            source.path.display()
        );
    }
}

#[test]
fn the_map_names_only_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "OPERATIONS.md",
        "README.md",
        "SECURITY.md",
        "fuzz/README.md",
    ] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = [
                "src/",
                "tests/",
                "fuzz/",
                "index-template/",
                "packaging/",
                "contrib/",
            ]
            .iter()
            .any(|top| quoted.starts_with(top));
            let path = quoted.split(' ').next().unwrap();
            assert!(
                !is_path || root.join(path).exists(),
                "{document} names {path}"
            );
        }
    }
}
