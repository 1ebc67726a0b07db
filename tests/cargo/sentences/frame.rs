//! The rules for the body of an upload: `src/publish/frame.rs` and `src/http/body.rs`.

use insta::assert_snapshot;

use super::{Desk, MANIFEST};
use crate::common::tarball::Tarball;
use crate::common::upload::{frame, metadata};

#[test]
fn lengths_and_parts() {
    let desk = Desk::with_policy("");
    let metadata = metadata("krate", "1.0.0").to_string();
    let file = Tarball::of_crate("krate", "1.0.0", MANIFEST).finish();
    let good = frame(metadata.as_bytes(), &file);
    let with_length = |at: usize, length: u32| {
        let mut body = good.clone();
        body[at..at + 4].copy_from_slice(&length.to_le_bytes());
        body
    };
    let refuses = |rule: &str, body: Vec<u8>| desk.refuses_body(rule, body);
    let long = with_length(0, 1024 * 1024 + 1);
    assert_snapshot!(
        refuses("FrameFault::MetadataTooLarge", long),
        @"413 Payload Too Large: the metadata is 1048577 bytes long; at most 1048576 bytes are allowed"
    );
    let large = with_length(4 + metadata.len(), 10 * 1024 * 1024 + 1);
    assert_snapshot!(
        refuses("FrameFault::TarballTooLarge", large),
        @"413 Payload Too Large: the `.crate` file is 10485761 bytes long; at most 10485760 bytes are allowed"
    );
    let short = good[..good.len() - 7].to_vec();
    assert_snapshot!(
        refuses("FrameFault::Truncated", short),
        @"400 Bad Request: the body ends inside the `.crate` file: 7 bytes are missing"
    );
    assert_snapshot!(
        refuses("FrameFault::Trailing", [&good[..], b"more"].concat()),
        @"400 Bad Request: the body goes on after the `.crate` file; its two lengths must cover all of it"
    );
    assert_snapshot!(
        refuses("FrameFault::EmptyTarball", frame(metadata.as_bytes(), b"")),
        @"400 Bad Request: the `.crate` file is empty"
    );
}

#[test]
fn more_than_any_upload_has() {
    let desk =
        Desk::with_policy("limits.crate_bytes_max = 1000\nlimits.metadata_bytes_max = 1000\n");
    assert_snapshot!(
        desk.refuses_body("BodyFault::TooLarge", vec![0; 4000]),
        @"413 Payload Too Large: the request body is larger than 2008 bytes"
    );
}

#[test]
fn metadata_as_json() {
    let desk = Desk::with_policy("");
    let file = Tarball::of_crate("krate", "1.0.0", MANIFEST).finish();
    let refuses = |rule: &str, json: &[u8]| desk.refuses_body(rule, frame(json, &file));
    assert_snapshot!(
        refuses("FrameFault::NotUtf8", b"{\"name\":\"\xff\"}"),
        @"400 Bad Request: the metadata is not UTF-8: invalid utf-8 sequence of 1 bytes from index 9"
    );
    assert_snapshot!(
        refuses("FrameFault::Json", b"[]"),
        @"400 Bad Request: the metadata is not a JSON object as Cargo sends it: it does not start with `{`"
    );
    assert_snapshot!(
        refuses("FrameFault::Json, half an object", b"{\"name\":\"krate\""),
        @"400 Bad Request: the metadata is not a JSON object as Cargo sends it: EOF while parsing an object at line 1 column 15"
    );
    assert_snapshot!(
        refuses("MetadataFault::Missing", b"{\"name\":\"krate\"}"),
        @"400 Bad Request: the metadata has no `vers`"
    );
    assert_snapshot!(
        refuses("MetadataFault::NotAString", b"{\"name\":1,\"vers\":\"1.0.0\"}"),
        @"400 Bad Request: `name` in the metadata must be a string"
    );
}
