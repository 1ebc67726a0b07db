//! The only edits that an unpacked crate gets before it is published again.

use std::fs;
use std::path::Path;

/// Files that Cargo itself adds when it packs or unpacks.
const ADDED_BY_CARGO: [&str; 3] = ["Cargo.toml.orig", ".cargo_vcs_info.json", ".cargo-ok"];

/// Removes what Cargo added and points every dependency at the registry; says what was done.
pub fn point_at_registry(folder: &Path) -> String {
    let mut edits = Vec::new();
    for name in ADDED_BY_CARGO {
        if fs::remove_file(folder.join(name)).is_ok() {
            edits.push(format!("`{name}` removed"));
        }
    }
    let path = folder.join("Cargo.toml");
    let (manifest, pointed) = with_registry(&fs::read_to_string(&path).unwrap());
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
    }
}
