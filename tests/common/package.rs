//! Packages whose manifest a test writes out.

use std::fs;
use std::path::{Path, PathBuf};

/// A package that is not written yet.
#[derive(Clone)]
pub struct Package {
    manifest: String,
    files: Vec<(String, String)>,
}

impl Package {
    /// A package; `rest` goes on where the table `[package]` has its name, version, edition and description.
    pub fn new(name: &str, version: &str, rest: &str) -> Self {
        let manifest = format!("{}{rest}", super::upload::manifest(name, version));
        Self {
            manifest,
            files: Vec::new(),
        }
    }

    /// With a file.
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// With this library.
    pub fn lib(self, text: &str) -> Self {
        self.file("src/lib.rs", text)
    }

    /// With this program.
    pub fn main(self, text: &str) -> Self {
        self.file("src/main.rs", text)
    }

    /// Writes it to a folder of its name in `parent`, over what is there.
    pub fn write(&self, parent: &Path) -> PathBuf {
        let manifest: toml::Table = self.manifest.parse().unwrap();
        let folder = parent.join(manifest["package"]["name"].as_str().unwrap());
        self.write_to(&folder);
        folder
    }

    /// Writes it to `folder` as Cargo finds it in a directory source.
    pub fn vendor(&self, parent: &Path) {
        let folder = self.write(parent);
        let checksums = "{\"files\":{},\"package\":null}";
        fs::write(folder.join(".cargo-checksum.json"), checksums).unwrap();
    }

    fn write_to(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("Cargo.toml"), &self.manifest).unwrap();
        for (path, text) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}
