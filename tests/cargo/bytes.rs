//! Both views of the index give the same bytes.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::json;
use sidecargo::domain::IndexPath;

use crate::common::git::{Clone, TreeFile};
use crate::common::http::{Request, get, request};
use crate::common::registry::Registry;
use crate::common::upload::Release;

#[test]
fn git_and_sparse_agree_after_every_change() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let clone = Clone::of(&registry);
    assert_same_bytes(&registry, &clone, 0);

    let yank = |verb: &'static str, action: &str| {
        let path = format!("/crates/api/v1/crates/Mixed-Case/1.0.0/{action}");
        request(verb, path).token(&token)
    };
    let bob = json!({ "users": ["bob"] }).to_string();
    let changes: Vec<(Request, usize)> = vec![
        (Release::new("a", "1.0.0").request(&token), 1),
        (Release::new("Mixed-Case", "1.0.0").request(&token), 2),
        (
            Release::new("Mixed-Case", "1.1.0-rc.1+build.7").request(&token),
            2,
        ),
        (yank("DELETE", "yank"), 2),
        (yank("PUT", "unyank"), 2),
        (Release::new("abc", "0.0.1").request(&token), 3),
        (
            request("PUT", "/crates/api/v1/crates/abc/owners")
                .token(&token)
                .body(bob),
            3,
        ),
    ];
    for (change, crate_count) in changes {
        let before = clone.git(&["rev-parse", "HEAD"]);
        change.send(registry.port).succeeds();
        clone.pull();
        assert_eq!(clone.git(&["rev-parse", "HEAD^"]), before, "one commit");
        assert_same_bytes(&registry, &clone, crate_count);
    }
    registry.stop();
    registry.start_again();
    clone.pull();
    assert_same_bytes(&registry, &clone, 3);
}

/// Compares every file of the clone's commit with what the sparse index gives.
fn assert_same_bytes(registry: &Registry, clone: &Clone, crate_count: usize) {
    let is_line_file = |file: &TreeFile| IndexPath::crate_at(&file.path).is_some();
    let (lines, others): (Vec<TreeFile>, Vec<TreeFile>) =
        clone.files().into_iter().partition(is_line_file);
    assert_eq!(lines.len(), crate_count);
    for file in &lines {
        assert_same_file(registry, clone, file);
    }
    for file in &others {
        if file.path == "config.json" {
            assert_same_file(registry, clone, file);
        } else {
            let path = format!("/crates/index/{}", file.path);
            let reply = get(path).send(registry.port);
            assert_eq!(reply.status, 404, "the sparse index shows `{}`", file.path);
        }
    }
    assert!(others.iter().any(|file| file.path == "config.json"));
}

fn assert_same_file(registry: &Registry, clone: &Clone, file: &TreeFile) {
    let wanted = clone.bytes(&file.path);
    let path = format!("/crates/index/{}", file.path);
    let strong = format!("\"{}\"", file.id);
    let weak = format!("W/{strong}");

    let plain = get(&path).send(registry.port).succeeds();
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("etag"), Some(strong.as_str()));
    assert!(plain.body == wanted, "`{path}` differs: {}", plain.text());

    let identity = get(&path)
        .header("Accept-Encoding", "identity")
        .send(registry.port)
        .succeeds();
    assert_eq!(identity.header("content-encoding"), None);
    assert!(identity.body == wanted, "`{path}` differs as it is");

    let packed = get(&path)
        .header("Accept-Encoding", "deflate, gzip")
        .send(registry.port)
        .succeeds();
    // A body that gzip would not shrink may be sent as it is.
    if packed.header("content-encoding") == Some("gzip") {
        assert_eq!(packed.header("etag"), Some(weak.as_str()));
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed.body[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert!(unpacked == wanted, "`{path}` differs when unpacked");
    } else {
        assert_eq!(file.path, "config.json", "index files are sent as gzip");
        assert!(packed.body == wanted);
    }
    for reply in [&plain, &packed] {
        let vary = reply
            .header("vary")
            .unwrap_or_default()
            .to_ascii_lowercase();
        assert!(
            vary.contains("accept-encoding"),
            "`Vary` of `{path}`: {vary:?}"
        );
    }
    for etag in [&strong, &weak] {
        let unchanged = get(&path).header("If-None-Match", etag).send(registry.port);
        assert_eq!(unchanged.status, 304, "`{path}` with {etag}");
        assert_eq!(unchanged.header("etag"), Some(strong.as_str()), "{etag}");
    }
    let head = request("HEAD", &path).send(registry.port);
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-length"),
        Some(wanted.len().to_string().as_str())
    );
}
