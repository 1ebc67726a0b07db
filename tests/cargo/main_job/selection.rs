//! Chooses real crates from Cargo's cache that need nothing outside the chosen set.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use semver::{Version, VersionReq};

use crate::common::ran::run;

/// Editions that Debian's cargo can read.
const EDITIONS: [&str; 3] = ["2015", "2018", "2021"];

/// Crates below this size are preferred.
const SMALL_BYTES: u64 = 1_000_000;

/// A `.crate` file in the cache, and what its manifest says.
pub struct RealCrate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Everything that its manifest depends on: normal and build, optional ones and those of other platforms.
    pub dependencies: Vec<Needed>,
    /// What its tests depend on.
    pub dev_dependencies: Vec<Needed>,
    /// Whether something that its tests depend on is outside of the set.
    pub is_without_dev: bool,
    /// Whether Debian's cargo can read it and all that it needs.
    pub is_for_old: bool,
    path: PathBuf,
    edition: String,
    unpacked_bytes: u64,
    rare_cases: usize,
}

/// A dependency that some crate of the set must fulfil.
#[derive(Debug)]
pub struct Needed {
    name: String,
    requirement: VersionReq,
}

/// At least `wanted` crates if there are so many, `required` and those that depend on others among them, each behind
/// all that it depends on.
pub fn closed_set(wanted: usize, required: &[&str]) -> Vec<RealCrate> {
    let mut layers = in_dependency_order(cached_crates());
    for name in required {
        let is_there = layers.iter().any(|krate| krate.name == *name);
        assert!(is_there, "`{name}` is no longer among the closed crates");
    }
    // First what must be there and crates that show much, then the small ones: they build fast.
    let mut ranking: Vec<usize> = (0..layers.len()).collect();
    ranking.sort_by_key(|at| {
        let krate = &layers[*at];
        let is_required = required.contains(&krate.name.as_str());
        (
            !is_required,
            krate.unpacked_bytes > SMALL_BYTES,
            std::cmp::Reverse(krate.rare_cases),
            krate.dependencies.is_empty(),
            krate.unpacked_bytes,
        )
    });
    let mut is_chosen = vec![false; layers.len()];
    for at in ranking {
        if is_chosen.iter().filter(|chosen| **chosen).count() >= wanted {
            break;
        }
        choose(&layers, at, &mut is_chosen);
    }
    let mut keep = is_chosen.into_iter();
    layers.retain(|_| keep.next().unwrap_or(false));
    layers
}

/// Chooses one crate with all that it needs; what it needs stands before it.
fn choose(layers: &[RealCrate], at: usize, is_chosen: &mut [bool]) {
    if is_chosen[at] {
        return;
    }
    is_chosen[at] = true;
    let needed: Vec<&Needed> = layers[at].needs().collect();
    for needed in needed {
        let found = layers[..at]
            .iter()
            .position(|krate| needed.is_met_by(krate));
        choose(layers, found.expect("the order is closed"), is_chosen);
    }
}

/// Orders crates so that each stands behind all that it needs; those that cannot stand anywhere are dropped.
///
/// A crate goes without what only its tests need if that is all that keeps it out.
fn in_dependency_order(mut rest: Vec<RealCrate>) -> Vec<RealCrate> {
    let mut ordered: Vec<RealCrate> = Vec::new();
    loop {
        let is_met = |needed: &Needed| ordered.iter().any(|known| needed.is_met_by(known));
        let is_ready = |krate: &mut RealCrate| krate.needs().all(is_met);
        let mut ready: Vec<RealCrate> = rest.extract_if(.., is_ready).collect();
        if ready.is_empty() {
            let is_ready = |krate: &mut RealCrate| krate.dependencies.iter().all(is_met);
            ready = rest.extract_if(.., is_ready).collect();
            for krate in &mut ready {
                krate.is_without_dev = true;
            }
        }
        if ready.is_empty() {
            return ordered;
        }
        for krate in &mut ready {
            let is_readable = |needed: &Needed| {
                let mut meets = ordered.iter().filter(|known| needed.is_met_by(known));
                meets.all(|known| known.is_for_old)
            };
            krate.is_for_old =
                EDITIONS.contains(&krate.edition.as_str()) && krate.needs().all(is_readable);
        }
        ordered.extend(ready);
    }
}

/// The crates of our own lock file.
fn cached_crates() -> Vec<RealCrate> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let caches = cache_folders(root);
    let lock: toml::Table = fs::read_to_string(root.join("Cargo.lock"))
        .unwrap()
        .parse()
        .unwrap();
    let mut found = Vec::new();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        // Of those for Windows there are many, all alike.
        if package.get("source").is_none() || name.starts_with("windows") {
            continue;
        }
        let file = format!(
            "{}-{}.crate",
            package["name"].as_str().unwrap(),
            package["version"].as_str().unwrap()
        );
        let path = caches.iter().map(|cache| cache.join(&file));
        let read = path.filter(|path| path.is_file()).find_map(RealCrate::read);
        found.extend(read);
    }
    found
}

/// The folders in which Cargo keeps `.crate` files, filled with those of our lock file.
fn cache_folders(root: &Path) -> Vec<PathBuf> {
    let fetch = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).current_dir(root);
        run(&mut command, b"")
    };
    // What is there already needs no network.
    let everything = ["fetch", "--locked"];
    let cached = fetch(&[&everything[..], &["--offline"]].concat());
    if !cached.is_success() {
        fetch(&everything).succeeds();
    }
    let home = env::var_os("CARGO_HOME").map_or_else(
        || env::home_dir().expect("a home folder").join(".cargo"),
        PathBuf::from,
    );
    let cache = home.join("registry/cache");
    fs::read_dir(&cache)
        .unwrap_or_else(|error| panic!("{}: {error}", cache.display()))
        .map(|entry| entry.unwrap().path())
        .collect()
}

impl RealCrate {
    /// Reads the manifest in a `.crate` file; `None` if it has a form that an edit by lines could not handle.
    fn read(path: PathBuf) -> Option<Self> {
        let mut archive = tar::Archive::new(GzDecoder::new(File::open(&path).unwrap()));
        let mut manifest = None;
        let mut unpacked_bytes = 0;
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            unpacked_bytes += entry.size();
            let path = entry.path().unwrap().into_owned();
            if path.components().count() == 2 && path.ends_with("Cargo.toml") {
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                manifest = Some(text);
            }
        }
        let text = manifest?;
        let manifest: toml::Table = text.parse().unwrap();
        let package = manifest["package"].as_table()?;
        let edition = package.get("edition").and_then(toml::Value::as_str);
        Some(Self {
            name: package["name"].as_str()?.to_owned(),
            version: package["version"].as_str()?.parse().ok()?,
            dependencies: dependencies(&manifest, &["dependencies", "build-dependencies"])?,
            dev_dependencies: dependencies(&manifest, &["dev-dependencies"])?,
            is_without_dev: false,
            is_for_old: false,
            rare_cases: rare_cases(&text),
            edition: edition.unwrap_or("2015").to_owned(),
            path,
            unpacked_bytes,
        })
    }

    /// What must be in the registry before it.
    fn needs(&self) -> impl Iterator<Item = &Needed> {
        let dev = self
            .dev_dependencies
            .iter()
            .filter(|_| !self.is_without_dev);
        self.dependencies.iter().chain(dev)
    }

    /// Unpacks it below `parent`, gives the folder.
    pub fn unpack(&self, parent: &Path) -> PathBuf {
        let file = File::open(&self.path).unwrap();
        tar::Archive::new(GzDecoder::new(file))
            .unpack(parent)
            .unwrap();
        parent.join(format!("{}-{}", self.name, self.version))
    }
}

impl Needed {
    fn is_met_by(&self, krate: &RealCrate) -> bool {
        self.name == krate.name && self.requirement.matches(&krate.version)
    }
}

/// How many of the things that few crates have a manifest shows.
fn rare_cases(manifest: &str) -> usize {
    let signs = [
        "optional = true",
        "package = ",
        "[target.",
        "[build-dependencies.",
        "\"dep:",
        "?/",
        "links = ",
        "+",
    ];
    signs.iter().filter(|sign| manifest.contains(*sign)).count()
}

/// Every dependency of these kinds in a manifest, of all platforms.
fn dependencies(manifest: &toml::Table, kinds: &[&str]) -> Option<Vec<Needed>> {
    let platforms = manifest.get("target").and_then(toml::Value::as_table);
    let platforms = platforms.into_iter().flat_map(toml::Table::values);
    let places = platforms
        .filter_map(toml::Value::as_table)
        .chain([manifest]);
    let mut found = Vec::new();
    for place in places {
        for kind in kinds {
            let table = place.get(*kind).and_then(toml::Value::as_table);
            for (name, value) in table.into_iter().flatten() {
                // Only old packages write `name = "1"`; Cargo itself writes a table of its own for each.
                let details = value.as_table()?;
                if details.contains_key("registry-index") || details.contains_key("registry") {
                    return None;
                }
                let package = details.get("package").and_then(toml::Value::as_str);
                found.push(Needed {
                    name: package.unwrap_or(name).to_owned(),
                    requirement: details.get("version")?.as_str()?.parse().ok()?,
                });
            }
        }
    }
    Some(found)
}
