//! What an index line must say, worked out from `cargo metadata` of the package that was published.
//!
//! It shares nothing with the registry: Cargo reads the manifest, and the rules of the index are written out again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::common::cargos::Sandbox;

/// Features by name, as JSON holds them.
type Features = BTreeMap<String, Vec<String>>;

/// A line of the index without what only the registry knows: checksum and time.
#[derive(Debug, PartialEq)]
pub struct Line {
    name: String,
    vers: String,
    /// Sorted, with every key that can have a meaning.
    deps: Vec<Value>,
    features: Features,
    features2: Features,
    links: Option<String>,
    rust_version: Option<String>,
    v: u64,
}

impl Line {
    /// The line that the package in `folder` should get.
    #[track_caller]
    pub fn of_package(cargo: &Sandbox, folder: &Path, own_index: &str) -> Self {
        let words = ["metadata", "--no-deps", "--format-version", "1"];
        let said = cargo.cargo(folder, &words).succeeds();
        let metadata: Value = serde_json::from_str(&said.stdout).unwrap();
        let package = &metadata["packages"][0];
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))
            .unwrap()
            .parse()
            .unwrap();
        let (features, features2) = split(explicit_features(package, &manifest));
        let deps = package["dependencies"].as_array().unwrap();
        Self {
            name: text(&package["name"]).unwrap(),
            vers: text(&package["version"]).unwrap(),
            deps: sorted(deps.iter().map(|dep| dependency(dep, own_index)).collect()),
            v: if features2.is_empty() { 1 } else { 2 },
            features,
            features2,
            links: text(&package["links"]),
            rust_version: text(&package["rust_version"]),
        }
    }

    /// The line that is served.
    #[track_caller]
    pub fn served(line: &str) -> Self {
        let line: Map<String, Value> = serde_json::from_str(line).unwrap();
        for key in line.keys() {
            assert!(KEYS.contains(&key.as_str()), "the line has a `{key}`");
        }
        assert_eq!(line["yanked"], false);
        let features = |key: &str| match line.get(key) {
            None | Some(Value::Null) => Features::new(),
            Some(table) => serde_json::from_value(table.clone()).unwrap(),
        };
        let optional = |key: &str| line.get(key).and_then(text);
        Self {
            name: text(&line["name"]).unwrap(),
            vers: text(&line["vers"]).unwrap(),
            deps: sorted(line["deps"].as_array().unwrap().iter().map(whole).collect()),
            features: features("features"),
            features2: features("features2"),
            links: optional("links"),
            rust_version: optional("rust_version"),
            v: line.get("v").and_then(Value::as_u64).unwrap_or(1),
        }
    }

    /// What is special about this line, for the table that the test prints.
    pub fn cases(&self) -> Vec<&'static str> {
        let has = |is_such: &dyn Fn(&Value) -> bool| self.deps.iter().any(is_such);
        let has_feature = |part: &str| {
            let values = self.features2.values().flatten();
            values.into_iter().any(|value| value.contains(part))
        };
        let cases = [
            ("renamed", has(&|dep| !dep["package"].is_null())),
            ("optional", has(&|dep| dep["optional"] == true)),
            ("by target", has(&|dep| !dep["target"].is_null())),
            ("build", has(&|dep| dep["kind"] == "build")),
            ("dev", has(&|dep| dep["kind"] == "dev")),
            (
                "no default features",
                has(&|dep| dep["default_features"] == false),
            ),
            (
                "features of a dependency",
                has(&|dep| dep["features"] != json!([])),
            ),
            ("features", !self.features.is_empty()),
            ("`dep:`", has_feature("dep:")),
            ("`?/`", has_feature("?/")),
            ("links", self.links.is_some()),
            ("rust-version", self.rust_version.is_some()),
            ("build metadata", self.vers.contains('+')),
        ];
        let is_there = |(name, is_there): (&'static str, bool)| is_there.then_some(name);
        cases.into_iter().filter_map(is_there).collect()
    }
}

/// Every key that a line may have.
const KEYS: [&str; 11] = [
    "name",
    "vers",
    "deps",
    "cksum",
    "features",
    "features2",
    "yanked",
    "links",
    "rust_version",
    "pubtime",
    "v",
];

/// A dependency of `cargo metadata` as a line states it.
fn dependency(dep: &Value, own_index: &str) -> Value {
    let registry = match text(&dep["registry"]) {
        Some(url) if url == own_index => Value::Null,
        other => json!(other),
    };
    let is_renamed = !dep["rename"].is_null();
    json!({
        "name": if is_renamed { &dep["rename"] } else { &dep["name"] },
        "package": if is_renamed { dep["name"].clone() } else { Value::Null },
        "req": dep["req"],
        "features": dep["features"],
        "optional": dep["optional"],
        "default_features": dep["uses_default_features"],
        "target": dep["target"],
        "kind": text(&dep["kind"]).unwrap_or("normal".to_owned()),
        "registry": registry,
    })
}

/// A served dependency with its missing keys; those with a meaning of their own must be there.
fn whole(dep: &Value) -> Value {
    let mut dep = dep.as_object().unwrap().clone();
    for key in [
        "name",
        "req",
        "features",
        "optional",
        "default_features",
        "kind",
    ] {
        assert!(dep.contains_key(key), "no `{key}` in {dep:?}");
    }
    for key in ["package", "target", "registry"] {
        dep.entry(key).or_insert(Value::Null);
    }
    Value::Object(dep)
}

fn sorted(mut deps: Vec<Value>) -> Vec<Value> {
    deps.sort_by_key(Value::to_string);
    deps
}

/// The features that the manifest states: Cargo adds one for each optional dependency that no feature names.
fn explicit_features(package: &Value, manifest: &toml::Table) -> Features {
    let stated = manifest.get("features").and_then(toml::Value::as_table);
    let is_stated = |name: &String| stated.is_some_and(|stated| stated.contains_key(name));
    let mut all: Features = serde_json::from_value(package["features"].clone()).unwrap();
    all.retain(|name, _| is_stated(name));
    all
}

/// Moves what Cargo before 1.60 cannot read to the second map: the new forms, and all that names what was moved.
fn split(mut features: Features) -> (Features, Features) {
    let mut moved = Features::new();
    loop {
        let is_new = |value: &String| {
            value.starts_with("dep:") || value.contains("?/") || moved.contains_key(value)
        };
        let (new, old): (Features, Features) = features
            .into_iter()
            .partition(|(_, values)| values.iter().any(is_new));
        features = old;
        if new.is_empty() {
            return (features, moved);
        }
        moved.extend(new);
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
