//! Uploads whose two parts and their lengths are wrong.

use crate::api::Target;
use crate::common::http::{exchange_bytes, send_and_leave};
use crate::common::upload::{Release, frame, metadata};

const MIB: usize = 1024 * 1024;

fn good_metadata() -> Vec<u8> {
    metadata("krate", "1.0.0").to_string().into_bytes()
}

fn good_frame() -> Vec<u8> {
    frame(&good_metadata(), &Release::new("krate", "1.0.0").crate_file)
}

#[test]
fn lengths_that_lie_are_refused() {
    let target = Target::with(&[]);
    let good = good_frame();
    let tarball_at = 4 + good_metadata().len();
    let with_length = |at: usize, length: u32| {
        let mut body = good.clone();
        body[at..at + 4].copy_from_slice(&length.to_le_bytes());
        body
    };
    let length_at = |at: usize| u32::from_le_bytes(good[at..at + 4].try_into().unwrap());
    let (json, tarball) = (length_at(0), length_at(tarball_at));
    let refuses = |what: &str, body: Vec<u8>| {
        let reply = target.refuses_body(what, body);
        assert!([400, 413].contains(&reply.status), "{what}: {reply:?}");
    };

    let before = address_space_peak(target.registry.pid());
    refuses("JSON of 4 GiB", with_length(0, u32::MAX));
    refuses("file of 4 GiB", with_length(tarball_at, u32::MAX));
    let more = address_space_peak(target.registry.pid()) - before;
    assert!(more < 1 << 30, "{more} bytes for a claim of 4 GiB");
    refuses("JSON one byte longer", with_length(0, json + 1));
    refuses("JSON one byte shorter", with_length(0, json - 1));
    refuses("JSON of nothing", with_length(0, 0));
    refuses("file one byte longer", with_length(tarball_at, tarball + 1));
    refuses(
        "file one byte shorter",
        with_length(tarball_at, tarball - 1),
    );
    refuses("file of nothing", with_length(tarball_at, 0));
    target.still_publishes();
}

#[test]
fn bodies_that_end_early_are_refused() {
    let target = Target::with(&[]);
    let good = good_frame();
    let tarball_at = 4 + good_metadata().len();
    let ends = [
        0,
        3,
        4,
        20,
        tarball_at,
        tarball_at + 3,
        tarball_at + 4,
        good.len() - 1,
    ];
    for end in ends {
        target.refuses_body(&format!("{end} bytes"), good[..end].to_vec());
    }
    let mut longer = good;
    longer.extend_from_slice(b"more");
    target.refuses_body("bytes behind the file", longer);
    target.still_publishes();
}

#[test]
fn a_client_that_dies_leaves_nothing() {
    let target = Target::with(&[]);
    let good = good_frame();
    for end in [0, 4, good.len() / 2, good.len() - 1] {
        let mut bytes = head(&target, good.len() as u64).into_bytes();
        bytes.extend_from_slice(&good[..end]);
        send_and_leave(target.registry.port, &bytes);
    }
    target.is_unchanged("uploads that broke off");
    target.still_publishes();
}

#[test]
fn broken_json_is_refused() {
    let target = Target::with(&[]);
    let file = Release::new("krate", "1.0.0").crate_file;
    let nested = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let long = format!(
        "{{\"name\":\"krate\",\"vers\":\"1.0.0\",\"x\":\"{}\"}}",
        "x".repeat(2 * MIB)
    );
    let bodies: [(&str, &[u8]); 9] = [
        ("no JSON", b"name = krate"),
        ("half an object", b"{\"name\":\"krate\""),
        ("a list", b"[]"),
        ("an empty object", b"{}"),
        (
            "a name that is a number",
            b"{\"name\":1,\"vers\":\"1.0.0\"}",
        ),
        ("no version", b"{\"name\":\"krate\"}"),
        (
            "bytes that are not UTF-8",
            b"{\"name\":\"\xff\",\"vers\":\"1.0.0\"}",
        ),
        ("brackets without end", &nested),
        ("more than the JSON may hold", long.as_bytes()),
    ];
    for (what, json) in bodies {
        let reply = target.refuses_body(what, frame(json, &file));
        assert!([400, 413].contains(&reply.status), "{what}: {reply:?}");
    }
    target.still_publishes();
}

#[test]
fn bodies_that_are_too_large_are_refused() {
    let target = Target::with(&[]);
    // Bytes that do not look alike, so that no layer makes them small.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let file: Vec<u8> = noise.take(12 * MIB).collect();
    let reply = target.refuses_body("a file of 12 MiB", frame(&good_metadata(), &file));
    assert_eq!(reply.status, 413);

    // The head alone is enough to know.
    let reply = exchange_bytes(target.registry.port, head(&target, 1 << 40).as_bytes()).unwrap();
    assert_eq!(reply.status, 413, "{}", reply.refusal());
    target.is_unchanged("a claim of 1 TiB");
    target.still_publishes();
}

/// The most address space that a process has had, in bytes: what was allocated but not touched counts too.
fn address_space_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

/// The head of an upload that claims a body of so many bytes.
fn head(target: &Target, body_bytes: u64) -> String {
    format!(
        "PUT /crates/api/v1/crates/new HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: {}\r\nContent-Length: {body_bytes}\r\n\r\n",
        target.token
    )
}
