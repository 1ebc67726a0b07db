//! Small packages as a developer would write them.

use std::fs;
use std::path::{Path, PathBuf};

/// A package that is not written yet.
pub struct Project {
    name: String,
    version: String,
    dependencies: String,
    source_path: &'static str,
    source: String,
}

impl Project {
    /// A library with the function `greeting`, which returns `text`.
    pub fn library(name: &str, version: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            dependencies: String::new(),
            source_path: "src/lib.rs",
            source: format!("pub fn greeting() -> String {{ String::from({text:?}) }}\n"),
        }
    }

    /// A program that runs `main_body`.
    pub fn program(name: &str, main_body: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            dependencies: String::new(),
            source_path: "src/main.rs",
            source: format!("fn main() {{\n    {main_body}\n}}\n"),
        }
    }

    /// With a dependency from the registry.
    pub fn depends_on(mut self, name: &str, requirement: &str) -> Self {
        self.dependencies.push_str(&format!(
            "{name} = {{ version = \"{requirement}\", registry = \"crates\" }}\n"
        ));
        self
    }

    /// With a dependency from the registry on some version 1 of each.
    pub fn depends_on_all<S: AsRef<str>>(self, names: &[S]) -> Self {
        let names = names.iter().map(S::as_ref);
        names.fold(self, |project, name| project.depends_on(name, "1"))
    }

    /// With a dependency on a neighbour in the same workspace.
    pub fn depends_on_member(mut self, name: &str, requirement: &str) -> Self {
        self.dependencies.push_str(&format!(
            "{name} = {{ path = \"../{name}\", version = \"{requirement}\", registry = \"crates\" }}\n"
        ));
        self
    }

    /// With other source code.
    pub fn source(mut self, source: &str) -> Self {
        self.source = source.to_owned();
        self
    }

    /// Writes it to a folder of its name in `parent`, over what is there.
    pub fn write(&self, parent: &Path) -> PathBuf {
        let folder = parent.join(&self.name);
        fs::create_dir_all(folder.join("src")).unwrap();
        let manifest = format!(
            "{}\n[dependencies]\n{}",
            super::upload::manifest(&self.name, &self.version),
            self.dependencies
        );
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.join(self.source_path), &self.source).unwrap();
        folder
    }
}

/// Writes a workspace of `members` to `folder`.
pub fn write_workspace(folder: &Path, members: &[Project]) {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    fs::create_dir_all(folder).unwrap();
    let manifest = format!("[workspace]\nresolver = \"2\"\nmembers = {names:?}\n");
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    for member in members {
        member.write(folder);
    }
}

/// The version of `name` in the lock file of the package in `folder`.
#[track_caller]
pub fn locked_version(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join("Cargo.lock")).unwrap();
    let lock: toml::Table = text.parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"].as_str() == Some(name))
        .unwrap_or_else(|| panic!("`{name}` is not in the lock file:\n{text}"));
    package["version"].as_str().unwrap().to_owned()
}
