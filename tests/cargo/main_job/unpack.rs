//! The only edits that an unpacked crate gets before it is published again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Files that Cargo itself adds when it packs or unpacks.
const ADDED_BY_CARGO: [&str; 3] = ["Cargo.toml.orig", ".cargo_vcs_info.json", ".cargo-ok"];

/// Removes what Cargo added and points every dependency at the registry; says what was done.
///
/// `without_dev` leaves out what only tests need.
pub fn point_at_registry(folder: &Path, without_dev: bool) -> String {
    let mut edits = Vec::new();
    for name in ADDED_BY_CARGO {
        if fs::remove_file(folder.join(name)).is_ok() {
            edits.push(format!("`{name}` removed"));
        }
    }
    let path = folder.join("Cargo.toml");
    let mut manifest = fs::read_to_string(&path).unwrap();
    if without_dev {
        manifest = without_features_of_dev(&without_tables(&manifest, is_dev_header), &manifest);
        edits.push("`dev-dependencies` and what names them left out".to_owned());
    }
    let (manifest, pointed) = with_registry(&manifest);
    fs::write(&path, manifest).unwrap();
    for header in pointed {
        edits.push(format!("`{header}` += `registry = \"crates\"`"));
    }
    edits.join(", ")
}

/// The manifest with one line more in each table of a dependency, and the headers of these tables.
fn with_registry(manifest: &str) -> (String, Vec<String>) {
    let mut edited = String::with_capacity(manifest.len());
    let mut headers = Vec::new();
    for line in manifest.split_inclusive('\n') {
        edited.push_str(line);
        if is_dependency_header(line.trim_end()) {
            edited.push_str("registry = \"crates\"\n");
            headers.push(line.trim_end().to_owned());
        }
    }
    (edited, headers)
}

/// The manifest without the tables whose headers are such.
fn without_tables(manifest: &str, is_such: fn(&str) -> bool) -> String {
    let mut is_left_out = false;
    let mut kept = String::with_capacity(manifest.len());
    for line in manifest.split_inclusive('\n') {
        if line.starts_with('[') {
            is_left_out = is_such(line.trim_end());
        }
        if !is_left_out {
            kept.push_str(line);
        }
    }
    kept
}

/// The manifest without features that switch on something of a dependency that only `whole` has, for tests.
fn without_features_of_dev(manifest: &str, whole: &str) -> String {
    let names = |manifest: &str| -> BTreeSet<String> {
        let headers = manifest.lines().filter(|line| is_dependency_header(line));
        let name = |line: &str| line.rsplit_once('.').map(|(_, name)| name.replace(']', ""));
        headers.filter_map(name).collect()
    };
    let gone = &names(whole) - &names(manifest);
    let mut kept = String::with_capacity(manifest.len());
    let mut lines = manifest.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let mut entry = line.to_owned();
        if line.trim_end().ends_with(" = [") {
            let rest = lines.by_ref();
            for line in rest {
                entry.push_str(line);
                if line.trim_end() == "]" {
                    break;
                }
            }
        }
        let is_gone = gone
            .iter()
            .any(|name| entry.contains(&format!("\"{name}/")));
        if !is_gone {
            kept.push_str(&entry);
        }
    }
    kept
}

fn is_dev_header(line: &str) -> bool {
    is_dependency_header(line) && line.contains("dev-dependencies.")
}

/// Whether the line is `[dependencies.NAME]`, of any kind, also below `[target.PLATFORM.…]`.
fn is_dependency_header(line: &str) -> bool {
    let Some(inner) = line
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    else {
        return false;
    };
    let Some((place, name)) = inner.rsplit_once('.') else {
        return false;
    };
    let is_kind = ["dependencies", "dev-dependencies", "build-dependencies"]
        .into_iter()
        .any(|kind| {
            place == kind || (place.starts_with("target.") && place.ends_with(&format!(".{kind}")))
        });
    is_kind && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_of_dependencies_get_a_line() {
        let manifest = "[package]\nname = \"a\"\n\n[dependencies.b]\nversion = \"1\"\n\n\
                        [target.'cfg(any(unix, target_env = \"x.y\"))'.dev-dependencies.c]\nversion = \"2\"\n\n\
                        [features]\n\n[package.metadata.dependencies.d]\n\n[build-dependencies]\n";
        let (edited, headers) = with_registry(manifest);
        assert_eq!(headers.len(), 2);
        let lines_added = edited.lines().count() - manifest.lines().count();
        assert_eq!(lines_added, 2);
        assert!(edited.contains("[dependencies.b]\nregistry = \"crates\"\nversion = \"1\""));
        assert!(edited.contains("dev-dependencies.c]\nregistry = \"crates\"\nversion = \"2\""));
        assert_eq!(edited.replace("registry = \"crates\"\n", ""), manifest);

        let without = without_tables(manifest, is_dev_header);
        assert_eq!(without.lines().count(), manifest.lines().count() - 3);
        assert!(!without.contains("dev-dependencies"), "{without}");
    }

    #[test]
    fn features_go_with_the_dependency_that_they_name() {
        let tables = "[dependencies.b]\nversion = \"1\"\n\n";
        let dev = "[dev-dependencies.c]\nversion = \"1\"\n\n";
        let features = "[features]\nkept = [\"b/x\"]\nlong = [\n    \"d\",\n    \"b/y\",\n]\n";
        let gone = "one = [\"c/x\"]\nmore = [\n    \"d\",\n    \"c/y\",\n]\n";
        let whole = format!("{tables}{dev}{features}{gone}");
        let without = without_tables(&whole, is_dev_header);
        let edited = without_features_of_dev(&without, &whole);
        assert_eq!(edited, format!("{tables}{features}"));
    }
}
