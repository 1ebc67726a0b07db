//! What is published: a `.crate` file and the request that uploads it.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::chance::Chance;
use crate::registry::hex;

/// A version that can be uploaded.
pub struct Release {
    name: String,
    version: String,
    pub crate_file: Vec<u8>,
}

impl Release {
    /// A crate of a few hundred bytes.
    pub fn small(name: &str, version: &str) -> Self {
        Self::with_source(name, version, b"pub fn answer() -> u32 { 42 }\n")
    }

    /// A crate whose file has about `bytes` bytes.
    pub fn of_size(name: &str, version: &str, bytes: usize, chance: &mut Chance) -> Self {
        let rest = bytes.saturating_sub(500);
        Self::with_source(name, version, &chance.bytes(rest))
    }

    fn with_source(name: &str, version: &str, source: &[u8]) -> Self {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n\
             description = \"What {name} is for, in a sentence\"\nlicense = \"MIT\"\nkeywords = [\"speed\"]\n"
        );
        let gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut archive = tar::Builder::new(gzip);
        let files = [("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", source)];
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, format!("{name}-{version}/{path}"), bytes)
                .expect("memory takes all");
        }
        let gzip = archive.into_inner().expect("memory takes all");
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            crate_file: gzip.finish().expect("memory takes all"),
        }
    }

    /// The SHA-256 of the file, in hexadecimal digits.
    pub fn cksum(&self) -> String {
        hex(&Sha256::digest(&self.crate_file))
    }

    /// The path at which it is downloaded.
    pub fn download_path(&self) -> String {
        format!("/crates/dl/{}/{}/download", self.name, self.version)
    }

    /// The body of its upload.
    pub fn body(&self) -> Vec<u8> {
        let metadata = json!({
            "name": self.name, "vers": self.version, "deps": [], "features": {}, "authors": [],
            "description": null, "documentation": null, "homepage": null, "readme": null,
            "readme_file": null, "keywords": [], "categories": [], "license": "MIT",
            "license_file": null, "repository": null, "badges": {}, "links": null,
        });
        let metadata = metadata.to_string();
        let mut body = Vec::new();
        for part in [metadata.as_bytes(), &self.crate_file] {
            body.extend((part.len() as u32).to_le_bytes());
            body.extend(part);
        }
        body
    }
}
