//! Downloads in whole and in part.

use crate::common::http::{get, request};
use crate::common::registry::Registry;
use crate::common::upload::Release;

#[test]
fn a_download_can_be_had_in_parts() {
    let registry = Registry::start();
    let release = Release::new("krate", "1.0.0+build.1");
    let token = registry.token("alice");
    release.publish(registry.port, &token).succeeds();
    let bytes = &release.crate_file;
    let len = bytes.len();
    // Cargo writes the `+` of build metadata as it is, other clients encode it.
    let encoded = release.download_path().replace('+', "%2B");

    for path in [release.download_path(), encoded] {
        let whole = get(&path)
            .header("Accept-Encoding", "gzip")
            .send(registry.port)
            .succeeds();
        assert!(whole.body == *bytes);
        // Cargo since 1.66 would decode it, and the checksum would not match.
        assert_eq!(whole.header("content-encoding"), None);
        let caching = whole.header("cache-control").unwrap_or_default();
        assert!(caching.contains("immutable"), "{caching:?}");

        let head = request("HEAD", &path).send(registry.port);
        assert_eq!(head.status, 200);
        assert_eq!(
            head.header("content-length"),
            Some(len.to_string().as_str())
        );
    }

    let part = |range: &str| {
        get(release.download_path())
            .header("Range", range)
            .send(registry.port)
    };
    for (range, wanted) in [
        ("bytes=0-9", 0..10),
        ("bytes=10-", 10..len),
        ("bytes=-5", len - 5..len),
        ("bytes=0-999999", 0..len),
    ] {
        let reply = part(range);
        assert_eq!(reply.status, 206, "{range}");
        assert!(reply.body == bytes[wanted.clone()], "{range}");
        let stated = format!("bytes {}-{}/{len}", wanted.start, wanted.end - 1);
        assert_eq!(reply.header("content-range"), Some(stated.as_str()));
    }
    let beyond = part("bytes=999999-");
    assert_eq!(beyond.status, 416, "{}", beyond.refusal());
    assert_eq!(
        beyond.header("content-range"),
        Some(format!("bytes */{len}").as_str())
    );
    // What is no range is as if it were not there.
    assert!(part("lines=1-2").succeeds().body == *bytes);
}
