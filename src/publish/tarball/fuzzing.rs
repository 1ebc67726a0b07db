//! What holds for every `.crate` file, fed by a fuzzer.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::path::Component;

use flate2::read::{GzDecoder, MultiGzDecoder};
use tar::EntryType;

use super::super::frame::MetadataFault;
use super::super::tarball_builder::{self, Tarball};
use super::*;
use crate::fuzzing::{Verdict, check_sentences, gzip};

/// The folder that holds everything, if the upload says so.
const TOP: &str = "demo-1.0.0";

/// Small, so that a fuzzer reaches them.
fn limits() -> Limits {
    Limits {
        unpacked_bytes_max: 32 * 1024,
        manifest_bytes_max: 1024,
        entries_max: 32,
        file_bytes_max: 4096,
        path_bytes_max: 256,
        ..Limits::default()
    }
}

/// Builds a `.crate` file as the bytes tell, and inspects it. A line tells by its first byte:
///
/// - `+`: an entry, its type and its path; the lines that follow are its data. The type `P` is a pax header with a
///   record of each line, `N` a long name for the next entry, any other is written as it is.
/// - `@`: an offset in the header of the entry before, and bytes in hexadecimal that shall stand there.
/// - `%`: `deflate` packs the archive, which is else only wrapped; `nameless` keeps name and version from the inspection; `open` leaves the end of the archive out; `zeros`,
///   `ones` and `member` add to it blocks of zeros, bytes that are none, and a second member; `cut` and `flip` take off
///   or change a byte of the `.crate` file; each may have a number behind it.
pub fn tarball(bytes: &[u8]) -> Verdict {
    let built = built(bytes);
    let upload = built.upload();
    let limits = limits();
    let inspected = inspect(&*built.bytes, &upload, &limits).expect("memory can be read");
    let sentences = inspected.faults.sentences();
    check_sentences(&sentences);
    check_sentences(&inspected.warnings);

    let in_drops = InDrops(Cursor::new(&built.bytes));
    let again = inspect(in_drops, &upload, &limits).expect("memory can be read");
    assert_eq!(again.faults.sentences(), sentences);
    assert_eq!(again.manifest, inspected.manifest);
    assert_eq!(again.warnings, inspected.warnings);
    if !sentences.is_empty() {
        return Verdict::Refused(sentences.join(" | "));
    }
    check_accepted(&built, &inspected, &limits);
    Verdict::Accepted(inspected.warnings.join(" | "))
}

/// What is accepted is nothing else to a reader that unpacks it.
fn check_accepted(built: &Built, inspected: &Inspected, limits: &Limits) {
    let files = inspected.files.as_ref().expect("all is known");
    let mut one_member = Vec::new();
    let mut all_members = Vec::new();
    let file = built.bytes.as_slice();
    GzDecoder::new(file)
        .read_to_end(&mut one_member)
        .expect("gzip");
    MultiGzDecoder::new(file)
        .read_to_end(&mut all_members)
        .expect("gzip");
    assert_eq!(one_member, all_members);
    assert!(one_member.len() as u64 <= limits.unpacked_bytes_max);

    let mut manifests = Vec::new();
    let (mut paths, mut lower) = (BTreeSet::new(), BTreeSet::new());
    let mut tops = BTreeSet::new();
    let mut archive = tar::Archive::new(&*one_member);
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
        assert!(path.len() <= limits.path_bytes_max);
        let parsed = entry.path().expect("a path").into_owned();
        assert!(
            parsed
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
        );
        let (top, inside) = path.split_once('/').unwrap_or((&path, ""));
        tops.insert(top.to_owned());
        let bare = path.trim_end_matches('/').to_owned();
        assert!(lower.insert(bare.to_lowercase()), "twins of {path}");
        match entry.header().entry_type() {
            EntryType::Directory => assert_eq!(entry.size(), 0),
            EntryType::Regular => {
                assert!(files.has(inside), "{path}");
                paths.insert(bare);
                if inside == "Cargo.toml" {
                    let mut text = String::new();
                    entry
                        .read_to_string(&mut text)
                        .expect("the manifest is text");
                    manifests.push(text);
                }
            }
            other => panic!("{path} is {other:?}"),
        }
    }
    assert_eq!(tops.len(), 1);
    assert!(built.is_nameless || tops.contains(TOP));
    assert!(lower.len() <= limits.entries_max as usize);
    for path in &paths {
        let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        assert!(folders.all(|folder| !paths.contains(folder)), "{path}");
    }
    let [manifest] = manifests.as_slice() else {
        panic!("{} manifests", manifests.len());
    };
    assert_eq!(inspected.manifest.as_ref(), Some(manifest));
}

/// A reader that gives less than a block at a time.
struct InDrops<'a>(Cursor<&'a Vec<u8>>);

impl Read for InDrops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(505);
        self.0.read(&mut buffer[..length])
    }
}

struct Built {
    bytes: Vec<u8>,
    is_nameless: bool,
}

impl Built {
    fn upload(&self) -> Metadata {
        match self.is_nameless {
            true => Metadata {
                name: Err(MetadataFault::Missing("name")),
                version: Err(MetadataFault::Missing("vers")),
            },
            false => Metadata {
                name: Ok("demo".parse().expect("a name")),
                version: Ok("1.0.0".parse().expect("a version")),
            },
        }
    }
}

/// An entry that is told line by line.
#[derive(Default)]
struct Told<'a> {
    kind: u8,
    path: &'a [u8],
    data: Vec<u8>,
    changes: Vec<(usize, Vec<u8>)>,
}

impl Told<'_> {
    fn add_to(self, archive: Tarball) -> Tarball {
        let change = |header: &mut [u8; 512]| {
            for (offset, bytes) in &self.changes {
                for (place, byte) in header.iter_mut().skip(*offset).zip(bytes) {
                    *place = *byte;
                }
            }
        };
        match self.kind {
            b'N' => archive.long_name(self.path),
            b'P' => {
                let text = String::from_utf8_lossy(&self.data).into_owned();
                let records: Vec<_> = text
                    .lines()
                    .filter_map(|line| line.split_once('='))
                    .collect();
                archive.pax(&records)
            }
            kind => archive.entry_with(kind, self.path, &self.data, change),
        }
    }
}

fn built(bytes: &[u8]) -> Built {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Built {
            bytes: bytes.to_vec(),
            is_nameless: false,
        };
    }
    let mut archive = Tarball::new();
    let mut told: Option<Told<'_>> = None;
    let mut settings = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match (text.split_first(), &mut told) {
            (Some((b'+', rest)), _) => {
                let kind = rest.first().copied().unwrap_or_default();
                let next = Told {
                    kind: if kind == b'-' { 0 } else { kind },
                    path: rest.get(2..).unwrap_or_default(),
                    ..Told::default()
                };
                if let Some(told) = told.replace(next) {
                    archive = told.add_to(archive);
                }
            }
            (Some((b'%', rest)), _) => settings.push(setting(rest)),
            (Some((b'@', rest)), Some(told)) => told.changes.extend(change(rest)),
            (_, Some(told)) => told.data.extend(line),
            (_, None) => {}
        }
    }
    if let Some(told) = told {
        archive = told.add_to(archive);
    }
    pack(archive, &settings)
}

/// An offset and bytes.
fn change(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (offset, digits) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    let digits: Vec<_> = digits
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let pairs = digits.chunks_exact(2);
    let bytes = pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8);
    Some((offset.parse().ok()?, bytes.collect()))
}

/// A word and a number.
fn setting(text: &[u8]) -> (String, usize) {
    let text = String::from_utf8_lossy(text);
    let (word, number) = text.split_once(' ').unwrap_or((&text, "1"));
    (word.to_owned(), number.parse().unwrap_or(1))
}

fn pack(archive: Tarball, settings: &[(String, usize)]) -> Built {
    let of = |word: &str| {
        settings
            .iter()
            .find(|(found, _)| found == word)
            .map(|(_, number)| *number)
    };
    let mut tar = match of("open") {
        Some(_) => archive.tar_without_end(),
        None => archive.tar(),
    };
    tar.extend(vec![0; of("zeros").unwrap_or_default().min(64) * 512]);
    tar.extend(vec![1; of("ones").unwrap_or_default().min(1024)]);
    let mut bytes = match of("deflate") {
        Some(_) => tarball_builder::gzip(&tar),
        None => gzip(&tar),
    };
    for _ in 0..of("member").unwrap_or_default().min(2) {
        bytes.extend(gzip(&tar));
    }
    bytes.truncate(bytes.len().saturating_sub(of("cut").unwrap_or_default()));
    if let Some(byte) = of("flip").and_then(|at| bytes.get_mut(at)) {
        *byte ^= 0x10;
    }
    Built {
        bytes,
        is_nameless: of("nameless").is_some(),
    }
}
