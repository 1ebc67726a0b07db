//! Lies told to the git endpoint.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Besieged, SHORT_LIMITS};
use crate::common::git;
use crate::common::http::{get, request};

/// A commit that nobody has.
const NO_COMMIT: &str = "0123456789012345678901234567890123456789";

#[test]
fn pkt_lines_that_lie_are_refused() {
    let besieged = Besieged::with(SHORT_LIMITS);
    let port = besieged.port();
    let want = format!("0032want {NO_COMMIT}\n");
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".to_vec()),
        ("half a length", b"00".to_vec()),
        ("no length", b"zzzzwant".to_vec()),
        ("a length of three", b"0003".to_vec()),
        ("a length beyond the end", b"fff0want".to_vec()),
        ("a length beyond what there is", b"ffffwant".to_vec()),
        ("a negative length", b"-032want ".to_vec()),
        ("a delimiter first", b"0001".to_vec()),
        (
            "a have first",
            format!("0032have {NO_COMMIT}\n0000").into_bytes(),
        ),
        ("a want that is cut", want.as_bytes()[..20].to_vec()),
        ("bytes behind a line", format!("{want}0000xx").into_bytes()),
        ("a push", b"0000PACK\0\0\0\x02\0\0\0\0".to_vec()),
        ("noise", (0..=255).collect()),
    ];
    for (what, body) in bodies {
        for protocol in ["", "version=2"] {
            let reply = upload_pack(&body)
                .header("Git-Protocol", protocol)
                .send(port);
            assert_eq!(reply.status, 400, "{what}: {}", reply.refusal());
        }
    }
    besieged.has_held();
}

#[test]
fn wants_of_what_is_not_served_get_no_pack() {
    let besieged = Besieged::with(SHORT_LIMITS);
    let body = format!("0032want {NO_COMMIT}\n00000009done\n");
    let reply = upload_pack(body.as_bytes()).try_send(besieged.port());
    let said = reply.map(|reply| reply.body).unwrap_or_default();
    assert!(!said.windows(4).any(|four| four == b"PACK"));
    besieged.has_held();
}

#[test]
fn bombs_and_endless_wants_are_refused() {
    let besieged = Besieged::with(SHORT_LIMITS);
    let port = besieged.port();
    let want = format!("0032want {NO_COMMIT}\n");
    let endless = want.repeat(200_000).into_bytes();
    let reply = upload_pack(&endless).send(port);
    assert_eq!(reply.status, 413, "{}", reply.refusal());

    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..100 {
        bomb.write_all(&vec![b'0'; 1 << 20]).unwrap();
    }
    let reply = upload_pack(&bomb.finish().unwrap())
        .header("Content-Encoding", "gzip")
        .send(port);
    assert_eq!(reply.status, 413, "{}", reply.refusal());
    for (coding, status) in [("gzip", 400), ("br", 415)] {
        let reply = upload_pack(b"0000").header("Content-Encoding", coding);
        assert_eq!(reply.send(port).status, status, "{coding}");
    }
    besieged.has_held();
}

#[test]
fn pushes_are_refused() {
    let besieged = Besieged::with(SHORT_LIMITS);
    let folder = tempfile::TempDir::new().unwrap();
    let clone = folder.path().join("clone");
    let index = besieged.registry.git_index();
    git::git(folder.path(), &["clone", "--quiet", &index, "clone"]).succeeds();
    let commit = [
        "-c",
        "user.name=Mallory",
        "-c",
        "user.email=mallory@localhost",
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "mine now",
    ];
    git::git(&clone, &commit).succeeds();
    for target in ["HEAD:main", "+HEAD:refs/heads/other", ":main"] {
        let push = git::git(&clone, &["push", "origin", target]);
        assert!(!push.is_success(), "{push}");
    }
    let port = besieged.port();
    let token = &besieged.token;
    let pushes = [
        get("/crates/git/info/refs?service=git-receive-pack"),
        get("/crates/git/info/refs?service=git-receive-pack&service=git-upload-pack"),
        get("/crates/git/info/refs?service=git-upload-archive"),
        get("/crates/git/info/refs"),
        request("POST", "/crates/git/git-receive-pack").body("0000"),
    ];
    for push in pushes {
        let reply = push.token(token).send(port);
        assert!((400..500).contains(&reply.status), "{reply:?}");
        assert!(!reply.refusal().is_empty());
    }
    besieged.has_held();
}

fn upload_pack(body: &[u8]) -> crate::common::http::Request {
    request("POST", "/crates/git/git-upload-pack")
        .header("Content-Type", "application/x-git-upload-pack-request")
        .body(body)
}
