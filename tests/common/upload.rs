//! Uploads as Cargo makes them, without Cargo.

use std::io::{Read, Write};
use std::net::TcpStream;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::http::{Reply, Request, ask_on, connect, request};

/// A release that a test uploads.
#[derive(Clone)]
pub struct Release {
    /// The name of the crate.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The bytes of the `.crate` file.
    pub crate_file: Vec<u8>,
}

/// An upload whose body is still to come.
pub struct Uploading {
    stream: TcpStream,
    body: Vec<u8>,
}

impl Uploading {
    /// Sends half of the body.
    #[track_caller]
    pub fn comes_by_half(mut self) -> Self {
        let rest = self.body.split_off(self.body.len() / 2);
        self.stream.write_all(&self.body).unwrap();
        self.body = rest;
        self
    }

    /// Sends the body and reads the answer, which must come.
    #[track_caller]
    pub fn finish(mut self) -> Reply {
        ask_on(&mut self.stream, &self.body).unwrap()
    }
}

impl Release {
    /// A small well-formed library.
    pub fn new(name: &str, version: &str) -> Self {
        Self::with_source(name, version, "pub fn answer() -> u32 { 42 }\n")
    }

    /// A well-formed library with a file of so many bytes that can hardly be compressed.
    pub fn large(name: &str, version: &str, bytes: usize) -> Self {
        let (manifest, noise) = (manifest(name, version), noise(2, bytes));
        let files = [
            ("Cargo.toml", manifest.as_bytes()),
            ("src/lib.rs", b""),
            ("noise", noise.as_bytes()),
        ];
        Self {
            crate_file: tarball(name, version, &files),
            ..Self::new(name, version)
        }
    }

    /// A well-formed library whose only source file is `source`.
    pub fn with_source(name: &str, version: &str, source: &str) -> Self {
        let manifest = manifest(name, version);
        let crate_file = tarball(
            name,
            version,
            &[
                ("Cargo.toml", manifest.as_bytes()),
                ("src/lib.rs", source.as_bytes()),
            ],
        );
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            crate_file,
        }
    }

    /// A well-formed library with a line of hundreds of kilobytes in the index.
    pub fn with_many_features(name: &str, version: &str) -> Self {
        let mut manifest = manifest(name, version) + "[features]\n";
        for feature in 0..300 {
            let others: Vec<_> = (feature + 1..300)
                .map(|other| format!("\"feat{other}\""))
                .collect();
            manifest.push_str(&format!("feat{feature} = [{}]\n", others.join(",")));
        }
        let files = [
            ("Cargo.toml", manifest.as_bytes()),
            ("src/lib.rs", &b""[..]),
        ];
        Self {
            crate_file: tarball(name, version, &files),
            ..Self::new(name, version)
        }
    }

    /// The checksum of the `.crate` file, as an index line states it.
    pub fn cksum(&self) -> String {
        let digest = Sha256::digest(&self.crate_file);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The body of the request that uploads it.
    pub fn body(&self) -> Vec<u8> {
        let metadata = metadata(&self.name, &self.version).to_string();
        frame(metadata.as_bytes(), &self.crate_file)
    }

    /// The request that uploads it.
    pub fn request(&self, token: &str) -> Request {
        request("PUT", "/crates/api/v1/crates/new")
            .token(token)
            .body(self.body())
    }

    /// Uploads it.
    #[track_caller]
    pub fn publish(&self, port: u16, token: &str) -> Reply {
        self.request(token).send(port)
    }

    /// Begins to upload it: when this returns, the server knows who does and waits for the body.
    #[track_caller]
    pub fn begin(&self, port: u16, token: &str) -> Uploading {
        let body = self.body();
        let head = format!(
            "PUT /crates/api/v1/crates/new HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: {token}\r\n\
             Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = connect(port).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(go_on, *b"HTTP/1.1 100 Continue\r\n\r\n");
        Uploading { stream, body }
    }

    /// The path at which it is downloaded.
    pub fn download_path(&self) -> String {
        format!("/crates/dl/{}/{}/download", self.name, self.version)
    }
}

/// Uploads a version 1.0.0 of each, four at a time.
pub fn publish_all(names: &[String], port: u16, token: &str) {
    std::thread::scope(|scope| {
        for part in names.chunks(names.len().div_ceil(4)) {
            scope.spawn(move || {
                for name in part {
                    Release::new(name, "1.0.0").publish(port, token).succeeds();
                }
            });
        }
    });
}

/// The manifest of a small library.
pub fn manifest(name: &str, version: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n\
         description = \"A crate of a test\"\nlicense = \"MIT\"\n"
    )
}

/// The JSON part of an upload, with every key that Cargo always sends.
pub fn metadata(name: &str, version: &str) -> Value {
    json!({
        "name": name, "vers": version, "deps": [], "features": {}, "authors": [],
        "description": "A crate of a test", "documentation": null, "homepage": null,
        "readme": null, "readme_file": null, "keywords": [], "categories": [],
        "license": "MIT", "license_file": null, "repository": null, "badges": {},
        "links": null, "rust_version": null,
    })
}

/// Both parts with their lengths.
pub fn frame(metadata: &[u8], crate_file: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + metadata.len() + crate_file.len());
    for part in [metadata, crate_file] {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// A `.crate` file with `files` in the folder `NAME-VERSION`.
pub fn tarball(name: &str, version: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let path = format!("{name}-{version}/{path}");
        archive
            .append_data(&mut file_header(content.len()), path, *content)
            .unwrap();
    }
    gzip(&archive.into_inner().unwrap())
}

/// The header of a regular file, without its path.
pub fn file_header(bytes: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.try_into().unwrap());
    header.set_mode(0o644);
    header
}

/// Text of which packing makes hardly two thirds, another one for each `seed`.
pub fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed;
    let next = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    });
    next.take(bytes).collect()
}

/// `bytes` as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
