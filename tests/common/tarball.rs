//! Builds `.crate` files byte by byte, good ones and hostile ones.
//!
//! It shares no code with what reads them: headers are written by hand.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK: usize = 512;

/// A tar archive that grows entry by entry.
#[derive(Clone, Default)]
pub struct Tarball {
    bytes: Vec<u8>,
}

impl Tarball {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What Cargo would pack for a small library: its manifest and `src/lib.rs`.
    pub fn of_crate(name: &str, version: &str, manifest: &str) -> Self {
        let top = format!("{name}-{version}");
        Self::new()
            .file(&format!("{top}/Cargo.toml"), manifest.as_bytes())
            .file(&format!("{top}/src/lib.rs"), b"//! Empty.\n")
    }

    /// A regular file.
    pub fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(b'0', path.as_bytes(), data)
    }

    /// A folder.
    pub fn folder(self, path: &str) -> Self {
        self.entry(b'5', path.as_bytes(), b"")
    }

    /// An entry of any type; a path of more than 100 bytes is cut off, as GNU tar does.
    pub fn entry(self, kind: u8, path: &[u8], data: &[u8]) -> Self {
        self.entry_with(kind, path, data, |_| {})
    }

    /// As [`Tarball::entry`], with a last change to the header before its checksum is made.
    pub fn entry_with(
        mut self,
        kind: u8,
        path: &[u8],
        data: &[u8],
        change: impl FnOnce(&mut [u8; BLOCK]),
    ) -> Self {
        let mut header = header(kind, path, data.len());
        change(&mut header);
        put_checksum(&mut header);
        self.bytes.extend(header);
        self.data(data)
    }

    /// A GNU header that gives the next entry a long path.
    pub fn long_name(self, path: &[u8]) -> Self {
        self.entry(b'L', b"././@LongLink", &[path, b"\0"].concat())
    }

    /// A pax header with records for the next entry.
    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let text: String = records
            .iter()
            .map(|(key, value)| pax_record(key, value))
            .collect();
        self.entry(b'x', b"PaxHeader", text.as_bytes())
    }

    /// Bytes as they are, filled up to a whole block.
    pub fn data(mut self, data: &[u8]) -> Self {
        self.bytes.extend(data);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// The archive without its end, not compressed.
    pub fn tar_without_end(self) -> Vec<u8> {
        self.bytes
    }

    /// The whole archive, not compressed.
    pub fn tar(mut self) -> Vec<u8> {
        self.bytes.extend([0; 2 * BLOCK]);
        self.bytes
    }

    /// The `.crate` file.
    pub fn finish(self) -> Vec<u8> {
        gzip(&self.tar())
    }
}

/// One gzip member, as Cargo writes it.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// Writes an octal number and a NUL into a field of a header.
pub fn put_octal(field: &mut [u8], number: usize) {
    let digits = field.len() - 1;
    let text = format!("{number:0digits$o}\0");
    field.copy_from_slice(text.as_bytes());
}

fn header(kind: u8, path: &[u8], size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let name = &path[..path.len().min(100)];
    header[..name.len()].copy_from_slice(name);
    put_octal(&mut header[100..108], 0o644);
    put_octal(&mut header[108..116], 0);
    put_octal(&mut header[116..124], 0);
    put_octal(&mut header[124..136], size);
    put_octal(&mut header[136..148], 1_153_704_088);
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar  \0");
    header
}

fn put_checksum(header: &mut [u8; BLOCK]) {
    header[148..156].fill(b' ');
    let sum: usize = header.iter().map(|byte| usize::from(*byte)).sum();
    put_octal(&mut header[148..155], sum);
}

/// A record whose length counts its own digits.
fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    loop {
        let text = format!("{length} {key}={value}\n");
        if text.len() == length {
            return text;
        }
        length = text.len();
    }
}
