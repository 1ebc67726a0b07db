//! `.crate` files that could hurt somebody who unpacks them, or that say something else than the upload.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use crate::api::Target;
use crate::common::upload::{Release, file_header, gzip, manifest, tarball};

/// An archive that starts as every well-formed one and goes on as the test says.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn well_begun() -> Self {
        Self(tar::Builder::new(Vec::new()))
            .file(
                "krate-1.0.0/Cargo.toml",
                manifest("krate", "1.0.0").as_bytes(),
            )
            .file("krate-1.0.0/src/lib.rs", b"")
    }

    fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, file_header(content.len()), content)
    }

    /// An entry whose path is written as it is: the library would refuse the bad ones.
    fn entry(mut self, path: &str, mut header: Header, content: &[u8]) -> Self {
        let name = &mut header.as_old_mut().name;
        name.fill(0);
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn link(self, path: &str, kind: EntryType, target: &str) -> Self {
        let mut header = file_header(0);
        header.set_entry_type(kind);
        header.set_link_name_literal(target).unwrap();
        self.entry(path, header, b"")
    }

    fn finish(self) -> Vec<u8> {
        gzip(&self.0.into_inner().unwrap())
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let target = Target::with(&[]);
    let good = Archive::well_begun().finish();
    target.refuses_crate_file("no gzip", b"these bytes are not gzip at all");
    target.refuses_crate_file("gzip of no archive", &gzip(&[b'x'; 2048]));
    target.refuses_crate_file("an empty archive", &gzip(&[0; 1024]));
    target.refuses_crate_file("half a gzip member", &good[..good.len() / 2]);
    target.refuses_crate_file("gzip without its last byte", &good[..good.len() - 1]);
    let behind = [&good[..], b"behind the end"].concat();
    target.refuses_crate_file("bytes behind the gzip member", &behind);
    target.still_publishes();
}

#[test]
fn a_bomb_is_refused() {
    let target = Target::with(&[]);
    let bytes: u64 = 600 * 1024 * 1024;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = file_header(0);
    header.set_path("krate-1.0.0/zeros").unwrap();
    header.set_size(bytes);
    header.set_cksum();
    encoder.write_all(header.as_bytes()).unwrap();
    io::copy(&mut io::repeat(0).take(bytes), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(
        bomb.len() < 10 * 1024 * 1024,
        "it would be refused for its size"
    );
    target.refuses_crate_file("600 MiB of zeros", &bomb);
    target.still_publishes();
}

#[test]
fn links_and_devices_are_refused() {
    let target = Target::with(&[]);
    for (what, kind) in [
        ("a symbolic link", EntryType::Symlink),
        ("a hard link", EntryType::Link),
    ] {
        for to in ["/etc/passwd", "Cargo.toml", "../../outside"] {
            let archive = Archive::well_begun().link("krate-1.0.0/link", kind, to);
            target.refuses_crate_file(&format!("{what} to {to}"), &archive.finish());
        }
    }
    for (what, kind) in [
        ("a pipe", EntryType::Fifo),
        ("a character device", EntryType::Char),
        ("a block device", EntryType::Block),
    ] {
        let mut header = file_header(0);
        header.set_entry_type(kind);
        let archive = Archive::well_begun().entry("krate-1.0.0/it", header, b"");
        target.refuses_crate_file(what, &archive.finish());
    }
    target.still_publishes();
}

#[test]
fn paths_outside_of_the_folder_are_refused() {
    let target = Target::with(&[]);
    for path in [
        "../outside",
        "krate-1.0.0/../outside",
        "krate-1.0.0/src/../../../outside",
        "/tmp/outside",
        "other-1.0.0/file",
        "krate-1.0.1/file",
        "krate-1.0.0",
        "file",
        "krate-1.0.0/src\\..\\..\\outside",
    ] {
        let archive = Archive::well_begun().file(path, b"outside");
        target.refuses_crate_file(path, &archive.finish());
    }
    target.still_publishes();
}

#[test]
fn there_is_exactly_one_manifest() {
    let target = Target::with(&[]);
    let other = manifest("krate", "1.0.0").replace("MIT", "Apache-2.0");
    let twice = Archive::well_begun().file("krate-1.0.0/Cargo.toml", other.as_bytes());
    target.refuses_crate_file("two manifests", &twice.finish());
    // On a file system that ignores case the second would replace the first.
    let by_case = Archive::well_begun().file("krate-1.0.0/cargo.toml", other.as_bytes());
    target.refuses_crate_file("two manifests that differ in case", &by_case.finish());
    let none = tarball("krate", "1.0.0", &[("src/lib.rs", b"")]);
    target.refuses_crate_file("no manifest", &none);
    let deeper = tarball("krate", "1.0.0", &[("src/Cargo.toml", other.as_bytes())]);
    target.refuses_crate_file("a manifest further down", &deeper);
    target.still_publishes();
}

#[test]
fn a_manifest_that_says_something_else_is_refused() {
    let target = Target::with(&[]);
    let with = |text: &str| {
        tarball(
            "krate",
            "1.0.0",
            &[("Cargo.toml", text.as_bytes()), ("src/lib.rs", b"")],
        )
    };
    let good = manifest("krate", "1.0.0");

    let reply = target.refuses_crate_file("another name", &with(&manifest("other", "1.0.0")));
    assert!(reply.refusal().contains("other"), "{}", reply.refusal());
    let reply = target.refuses_crate_file("another version", &with(&manifest("krate", "2.0.0")));
    assert!(reply.refusal().contains("2.0.0"), "{}", reply.refusal());
    target.refuses_crate_file("the name in capitals", &with(&manifest("Krate", "1.0.0")));
    target.refuses_crate_file("build metadata", &with(&manifest("krate", "1.0.0+more")));
    target.refuses_crate_file("no TOML", &with("[package\nname ="));
    target.refuses_crate_file("no package", &with("[dependencies]\n"));
    target.refuses_crate_file("no name", &with("[package]\nversion = \"1.0.0\"\n"));
    let any = format!("{good}\n[dependencies.other]\nversion = \"*\"\n");
    target.refuses_crate_file("a dependency on any version", &with(&any));
    let foreign = format!(
        "{good}\n[dependencies.other]\nversion = \"1\"\nregistry-index = \"https://registry.invalid/index\"\n"
    );
    let reply = target.refuses_crate_file("a registry that nobody allowed", &with(&foreign));
    assert!(
        reply.refusal().contains("registry.invalid"),
        "{}",
        reply.refusal()
    );
    target.still_publishes();
}

#[test]
fn all_faults_are_told_at_once() {
    let target = Target::with(&[]);
    let text = format!(
        "{}\n[dependencies.first]\nversion = \"*\"\n\n[dependencies.second]\nversion = \"*\"\n",
        manifest("krate", "1.0.0")
    );
    let file = tarball(
        "krate",
        "1.0.0",
        &[("Cargo.toml", text.as_bytes()), ("src/lib.rs", b"")],
    );
    let why = target.refuses_crate_file("two faults", &file).refusal();
    assert!(why.contains("first") && why.contains("second"), "{why}");
    // The same file without faults is good: nothing else was wrong with it.
    Release::new("krate", "1.0.0")
        .publish(target.registry.port, &target.token)
        .succeeds();
}
