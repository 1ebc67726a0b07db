use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use proptest::prelude::*;

use super::*;

const JSON: &str = r#"{"name":"demo","vers":"1.2.3","deps":[{"name":"x"}],"features":{}}"#;
const TARBALL: &[u8] = b"not looked into here";

fn frame(json: &[u8], tarball: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in [json, tarball] {
        body.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
        body.extend(part);
    }
    body
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// A server moves its futures between threads.
fn needs_send<T: Send>(_: &T) {}

/// Feeds `body` in chunks of the given sizes, over and over; the spool comes back with the verdict.
fn receive_in(
    body: &[u8],
    sizes: &[usize],
    limits: &Limits,
) -> (Result<Upload, FrameFault>, Vec<u8>) {
    let mut rest = body;
    let mut chunks: Vec<io::Result<Bytes>> = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, behind) = rest.split_at((*size).min(rest.len()));
        chunks.push(Ok(Bytes::copy_from_slice(chunk)));
        rest = behind;
    }
    let future = receive(stream::iter(chunks), async |_| Ok(Vec::new()), limits);
    needs_send(&future);
    match run(future) {
        Ok((upload, spool)) => (Ok(upload), spool),
        Err(fault) => (Err(fault), Vec::new()),
    }
}

fn fault_of(body: &[u8]) -> FrameFault {
    receive_in(body, &[7], &Limits::default()).0.unwrap_err()
}

fn fault_of_json(json: &[u8]) -> FrameFault {
    fault_of(&frame(json, TARBALL))
}

proptest! {
    #[test]
    fn every_division_into_chunks_reads_the_same(
        tarball in proptest::collection::vec(any::<u8>(), 1..3000),
        mut sizes in proptest::collection::vec(0_usize..200, 1..20),
    ) {
        sizes.push(1);
        let body = frame(JSON.as_bytes(), &tarball);
        let (verdict, spool) = receive_in(&body, &sizes, &Limits::default());
        let upload = verdict.unwrap();
        prop_assert_eq!(&spool, &tarball);
        let digest: [u8; 32] = Sha256::digest(&tarball).into();
        prop_assert_eq!(upload.cksum, Cksum::from(digest));
        prop_assert_eq!(upload.metadata.name.unwrap().to_string(), "demo");
        prop_assert_eq!(upload.metadata.version.unwrap().to_string(), "1.2.3");
    }

    #[test]
    fn every_truncation_is_refused_and_says_how_much_is_missing(cut in 0_usize..1000, size in 1_usize..50) {
        let body = frame(JSON.as_bytes(), TARBALL);
        let kept = cut % body.len();
        let (verdict, _) = receive_in(&body[..kept], &[size], &Limits::default());
        match verdict.unwrap_err() {
            FrameFault::Truncated { part, missing } => {
                let end = match part {
                    Part::MetadataLength => 4,
                    Part::Metadata => 4 + JSON.len(),
                    Part::TarballLength => 8 + JSON.len(),
                    Part::Tarball => body.len(),
                };
                prop_assert_eq!(kept + missing, end);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn one_byte_more_is_refused() {
    let mut body = frame(JSON.as_bytes(), TARBALL);
    body.push(0);
    assert!(matches!(fault_of(&body), FrameFault::Trailing));
    let (verdict, _) = receive_in(&body, &[body.len() - 1, 1], &Limits::default());
    assert!(matches!(verdict.unwrap_err(), FrameFault::Trailing));
}

#[test]
fn a_length_of_4_gib_is_refused_before_anything_else_is_read() {
    // The stream ends after the length: were the length believed, the fault would be a truncation.
    let fault = fault_of(&u32::MAX.to_le_bytes());
    assert_eq!(
        fault.to_string(),
        "the metadata is 4294967295 bytes long; at most 1048576 bytes are allowed"
    );
    let mut body = frame(JSON.as_bytes(), b"");
    body.truncate(4 + JSON.len());
    body.extend(u32::MAX.to_le_bytes());
    assert_eq!(
        fault_of(&body).to_string(),
        "the `.crate` file is 4294967295 bytes long; at most 10485760 bytes are allowed"
    );
}

#[test]
fn lengths_at_the_limit_pass_and_one_more_does_not() {
    let body = frame(JSON.as_bytes(), TARBALL);
    let exact = Limits {
        metadata_bytes_max: u32::try_from(JSON.len()).unwrap(),
        crate_bytes_max: TARBALL.len() as u64,
        ..Limits::default()
    };
    assert!(receive_in(&body, &[9], &exact).0.is_ok());
    let smaller = Limits {
        metadata_bytes_max: exact.metadata_bytes_max - 1,
        ..exact.clone()
    };
    let fault = receive_in(&body, &[9], &smaller).0.unwrap_err();
    assert!(matches!(fault, FrameFault::MetadataTooLarge { .. }));
    let smaller = Limits {
        crate_bytes_max: exact.crate_bytes_max - 1,
        ..exact
    };
    let (verdict, spool) = receive_in(&body, &[9], &smaller);
    assert!(matches!(
        verdict.unwrap_err(),
        FrameFault::TarballTooLarge { .. }
    ));
    assert!(spool.is_empty());
}

#[test]
fn an_empty_tarball_is_refused() {
    let fault = fault_of(&frame(JSON.as_bytes(), b""));
    assert!(matches!(fault, FrameFault::EmptyTarball));
}

#[test]
fn faults_of_the_metadata_name_the_key() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "does not start with `{`"),
        (br#"["demo","1.2.3"]"#, "does not start with `{`"),
        (br#"{"name":"demo","vers":"1.2.3""#, "EOF while parsing"),
        (
            br#"{"name":"demo","name":"other","vers":"1.2.3"}"#,
            "duplicate field `name`",
        ),
        (
            b"{\"name\":\"demo\",\"vers\":\"1.2.3\",\"readme\":\"\xff\"}",
            "is not UTF-8",
        ),
        (
            br#"{"name":"demo","vers":"1.2.3"} {}"#,
            "trailing characters",
        ),
    ];
    for (json, expected) in cases {
        let fault = fault_of_json(json).to_string();
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn faults_of_keys_come_together_and_with_the_file() {
    let faults_of = |json: &[u8]| {
        let (verdict, spool) = receive_in(&frame(json, TARBALL), &[7], &Limits::default());
        assert_eq!(spool, TARBALL);
        let metadata = verdict.unwrap().metadata;
        let sentences: Vec<String> = metadata.faults().map(MetadataFault::to_string).collect();
        (metadata.name.is_ok(), metadata.version.is_ok(), sentences)
    };
    let cases: [(&[u8], bool, bool, &[&str]); 6] = [
        (
            br#"{"name":"demo"}"#,
            true,
            false,
            &["the metadata has no `vers`"],
        ),
        (
            br#"{"name":null,"vers":"1.2.3"}"#,
            false,
            true,
            &["the metadata has no `name`"],
        ),
        (
            br#"{"name":1,"vers":"1.2.3"}"#,
            false,
            true,
            &["`name` in the metadata must be a string"],
        ),
        (
            br#"{"name":"demo","vers":["1.2.3"]}"#,
            true,
            false,
            &["`vers` in the metadata must be a string"],
        ),
        (
            br#"{"name":"../demo","vers":"1.2"}"#,
            false,
            false,
            &[
                "`name` in the metadata: the crate name `../demo` must start",
                "`vers` in the metadata: `1.2` is not a semantic version",
            ],
        ),
        (
            br#"{"vers":1}"#,
            false,
            false,
            &[
                "the metadata has no `name`",
                "`vers` in the metadata must be a string",
            ],
        ),
    ];
    for (json, has_name, has_version, expected) in cases {
        let (name, version, sentences) = faults_of(json);
        assert_eq!((name, version), (has_name, has_version), "{sentences:?}");
        assert_eq!(sentences.len(), expected.len(), "{sentences:?}");
        for (sentence, expected) in sentences.iter().zip(expected) {
            assert!(sentence.starts_with(expected), "{sentence}");
        }
    }
}

#[test]
fn deep_nesting_in_keys_that_are_ignored_is_harmless() {
    let deep = "[".repeat(200_000);
    let json = format!(r#"{{"name":"demo","vers":"1.2.3","deps":{deep}"#);
    assert!(matches!(
        fault_of_json(json.as_bytes()),
        FrameFault::Json(_)
    ));
}

#[test]
fn unknown_and_missing_other_keys_do_not_matter() {
    let json = br#" {"future":{"a":[1]},"vers":"1.0.0+b","name":"De-mo"} "#;
    let (verdict, _) = receive_in(&frame(json, TARBALL), &[1], &Limits::default());
    let metadata = verdict.unwrap().metadata;
    assert_eq!(metadata.name.unwrap().as_str(), "De-mo");
    assert_eq!(metadata.version.unwrap().to_string(), "1.0.0+b");
}

#[test]
fn a_broken_connection_is_told_from_a_short_body() {
    let start = frame(JSON.as_bytes(), TARBALL)[..90].to_vec();
    let chunks = [
        Ok(Bytes::from(start)),
        Err(io::Error::from(io::ErrorKind::ConnectionReset)),
    ];
    let verdict = run(receive(
        stream::iter(chunks),
        async |_| Ok(Vec::new()),
        &Limits::default(),
    ));
    assert!(matches!(verdict.unwrap_err(), FrameFault::Connection(_)));
}

/// A disk with room for some bytes, whose last flush may fail.
struct SmallDisk {
    room: usize,
    flushes: bool,
}

impl AsyncWrite for SmallDisk {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.room == 0 {
            return Poll::Ready(Err(io::ErrorKind::StorageFull.into()));
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(if self.flushes {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_full_disk_is_our_fault_also_when_it_shows_at_the_flush() {
    let body = frame(JSON.as_bytes(), TARBALL);
    for (room, flushes) in [(TARBALL.len() - 1, true), (TARBALL.len(), false)] {
        let chunks = stream::iter([io::Result::Ok(Bytes::from(body.clone()))]);
        let open = async |_| Ok(SmallDisk { room, flushes });
        match run(receive(chunks, open, &Limits::default()))
            .err()
            .unwrap()
        {
            FrameFault::Spool(error) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
    }
}
