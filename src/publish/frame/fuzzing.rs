//! What holds for every body of a publish request, fed by a fuzzer.

use std::cell::Cell;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::*;
use crate::fuzzing::{Verdict, check_sentences, chunks, run};

/// What parts the JSON from the `.crate` file.
const BETWEEN: &[u8] = b"\n----\n";

/// Small, so that a fuzzer reaches them.
const METADATA_BYTES_MAX: u32 = 1024;
const CRATE_BYTES_MAX: u64 = 2048;

/// Reads the bytes as JSON, a line `----`, and a `.crate` file; the line before them says how the body lies.
///
/// It has four numbers: by how much the two lengths are wrong, how many bytes are cut off the end, and the size of the
/// chunks in which the body comes.
pub fn frame(bytes: &[u8]) -> Verdict {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (how, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let numbers: Vec<i64> = String::from_utf8_lossy(how)
        .split_whitespace()
        .map(|number| number.parse().unwrap_or_default())
        .collect();
    let number = |at: usize| numbers.get(at).copied().unwrap_or_default();
    let body = body(
        rest.strip_prefix(b"\n").unwrap_or(rest),
        [number(0), number(1)],
    );
    let cut = usize::try_from(number(2)).unwrap_or_default();
    let body = &body[..body.len().saturating_sub(cut)];
    let size = usize::try_from(number(3)).unwrap_or_default().max(1);

    let (verdict, spool) = receive_in(body, size);
    let (at_once, _) = receive_in(body, body.len());
    let whole = parts(body);
    match verdict {
        Ok(upload) => {
            assert_eq!(at_once.expect("the chunks decide nothing"), upload);
            let (json, tarball) = whole.expect("what is accepted is whole");
            assert!(keys(json).is_some_and(|keys| keys.are_once()));
            assert_eq!(spool, tarball);
            let digest: [u8; 32] = Sha256::digest(tarball).into();
            assert_eq!(upload.cksum, Cksum::from(digest));
            check_metadata(&upload.metadata, json);
            Verdict::Accepted(String::new())
        }
        Err(fault) => {
            check_sentences(&[fault.to_string()]);
            let at_once = at_once.expect_err("the chunks decide nothing");
            assert_eq!(at_once.to_string(), fault.to_string());
            if let Some((json, _)) = whole {
                let told = matches!(fault, FrameFault::NotUtf8(_) | FrameFault::Json(_));
                assert!(told, "{fault}");
                let keys = keys(json);
                assert!(!keys.is_some_and(|keys| keys.are_once()), "{fault}");
            }
            Verdict::Refused(fault.to_string())
        }
    }
}

/// The body with lengths that are wrong by so much.
fn body(text: &[u8], wrong_by: [i64; 2]) -> Vec<u8> {
    let mut ends = text.windows(BETWEEN.len());
    let (json, tarball) = match ends.position(|window| window == BETWEEN) {
        Some(at) => (&text[..at], &text[at + BETWEEN.len()..]),
        None => (text, &b""[..]),
    };
    let mut body = Vec::new();
    for (part, wrong_by) in [json, tarball].into_iter().zip(wrong_by) {
        // Any 32 bits can stand there.
        let length = (part.len() as i64).wrapping_add(wrong_by) as u32;
        body.extend(length.to_le_bytes());
        body.extend(part);
    }
    body
}

/// Feeds the body in chunks of `size` bytes. Nothing is taken of it that is not needed to judge it.
fn receive_in(body: &[u8], size: usize) -> (Result<Upload, FrameFault>, Vec<u8>) {
    let limits = Limits {
        metadata_bytes_max: METADATA_BYTES_MAX,
        crate_bytes_max: CRATE_BYTES_MAX,
        ..Limits::default()
    };
    let taken = Cell::new(0);
    let counted = chunks(body, size).inspect(|chunk| {
        let length = chunk.as_ref().map_or(0, Bytes::len);
        taken.set(taken.get() + length);
    });
    let open = async |_| Ok(Vec::new());
    let (verdict, spool) = match run(receive(counted, open, &limits)) {
        Ok((upload, spool)) => (Ok(upload), spool),
        Err(fault) => (Err(fault), Vec::new()),
    };
    let metadata_bytes = parts_from(body, u64::MAX).map_or(0, |(json, _)| json.len());
    let needed = match &verdict {
        Err(FrameFault::MetadataTooLarge { .. }) => 4,
        Err(FrameFault::TarballTooLarge { .. } | FrameFault::EmptyTarball) => 8 + metadata_bytes,
        _ => body.len(),
    };
    assert!(taken.get() <= needed.next_multiple_of(size.max(1)));
    assert!(spool.len() as u64 <= CRATE_BYTES_MAX);
    (verdict, spool)
}

/// JSON and `.crate` file, if the lengths are right and within the limits.
fn parts(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (json, rest) = parts_from(body, u64::from(METADATA_BYTES_MAX))?;
    let (tarball, rest) = parts_from(rest, CRATE_BYTES_MAX)?;
    (rest.is_empty() && !tarball.is_empty()).then_some((json, tarball))
}

/// The part at the start and what follows it.
fn parts_from(bytes: &[u8], max: u64) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = u64::from(u32::from_le_bytes(*length));
    rest.split_at_checked(usize::try_from(length).ok()?)
        .filter(|_| length <= max)
}

/// The keys of an object, each as often as it stands there, however it is spelled.
struct Keys(Vec<String>);

impl Keys {
    /// Whether those that are read are clear.
    fn are_once(&self) -> bool {
        let is_once = |key| self.0.iter().filter(|found| *found == key).count() <= 1;
        is_once("name") && is_once("vers")
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, IgnoredAny)) = map.next_entry()? {
            keys.push(key);
        }
        Ok(Keys(keys))
    }
}

/// The keys of what is text and one JSON object.
fn keys(json: &[u8]) -> Option<Keys> {
    serde_json::from_str(std::str::from_utf8(json).ok()?).ok()
}

fn check_metadata(metadata: &Metadata, json: &[u8]) {
    let faults: Vec<String> = metadata.faults().map(ToString::to_string).collect();
    check_sentences(&faults);
    // What is not looked at need not be what this reader takes.
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    match &metadata.name {
        Ok(name) => assert_eq!(value["name"], name.as_str()),
        Err(MetadataFault::Missing(_)) => assert!(value["name"].is_null()),
        Err(MetadataFault::NotAString(_)) => assert!(!value["name"].is_string()),
        Err(fault) => assert!(value["name"].is_string(), "{fault}"),
    }
    match &metadata.version {
        Ok(version) => assert_eq!(value["vers"], version.to_string()),
        Err(MetadataFault::Missing(_)) => assert!(value["vers"].is_null()),
        Err(MetadataFault::NotAString(_)) => assert!(!value["vers"].is_string()),
        Err(fault) => assert!(value["vers"].is_string(), "{fault}"),
    }
}
