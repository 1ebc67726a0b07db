//! Addresses and heads that no honest client sends.

use super::{Besieged, SHORT_LIMITS};
use crate::common::http::{exchange_bytes, get, request};

/// What stands for a name, a version or a file in the addresses below.
const ODD_PARTS: [&str; 22] = [
    "..",
    "../..",
    "%2e%2e",
    "%2e%2e%2f%2e%2e",
    "..%5c..",
    "%00",
    "krate%00",
    "%0d%0aSet-Cookie:a=b",
    "%",
    "%zz",
    "%f",
    "%ff%fe",
    "%c0%ae%c0%ae",
    "%25%32%65",
    "%u002e",
    "+",
    "~",
    "*",
    "\\",
    "krate\\..",
    "//",
    ".",
];

#[test]
fn odd_paths_lead_nowhere() {
    let besieged = Besieged::with(SHORT_LIMITS);
    let (port, token) = (besieged.port(), besieged.token.clone());
    for part in ODD_PARTS {
        for path in [
            format!("/{part}"),
            format!("/crates/{part}"),
            format!("/crates/index/{part}"),
            format!("/crates/index/{part}/config.json"),
            format!("/crates/index/kr/at/{part}"),
            format!("/crates/index/{part}/keys/token"),
            format!("/crates/dl/{part}/1.0.0/download"),
            format!("/crates/dl/krate/{part}/download"),
            format!("/crates/git/{part}"),
            format!("/crates/git/{part}/info/refs?service=git-upload-pack"),
        ] {
            let reply = get(&path).send(port);
            assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
            assert!(!reply.refusal().is_empty(), "{path}");
        }
        for path in [
            format!("/crates/api/v1/crates/{part}/1.0.0/yank"),
            format!("/crates/api/v1/crates/krate/{part}/yank"),
            format!("/crates/api/v1/crates/{part}/owners"),
        ] {
            let reply = request("DELETE", &path).token(&token).body("{}").send(port);
            assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
        }
    }
    besieged.has_held();
}

#[test]
fn paths_of_the_index_are_exact() {
    let besieged = Besieged::with(SHORT_LIMITS);
    for path in [
        "KR/AT/krate",
        "kr/at/KRATE",
        "kr/at/krate/",
        "kr/at",
        "kr/at/",
        "kr",
        "ab/cd/krate",
        "krate",
        "5/krate",
        "kr//at/krate",
        "./kr/at/krate",
        "Config.json",
        ".git/HEAD",
        ".git/config",
        "",
    ] {
        let reply = get(format!("/crates/index/{path}")).send(besieged.port());
        assert_eq!(reply.status, 404, "{path}: {}", reply.refusal());
    }
    besieged.has_held();
}

#[test]
fn no_address_leads_elsewhere() {
    let besieged = Besieged::with(SHORT_LIMITS);
    for path in [
        "/",
        "/crates",
        "/crates/",
        "/crates/index",
        "/crates/index/",
        "/crates/index/kr/at/krate",
        "/crates/index/config.json",
        "/crates/git",
        "/crates/git/",
        "/crates/git.git/info/refs?service=git-upload-pack",
        "/crates/dl/krate/1.0.0/download",
        "/crates/dl/krate/1.0.0/download/",
        "/crates/api/v1/crates/krate/owners/",
        "/crates/me",
        "/crates/me/",
    ] {
        let reply = get(path).send(besieged.port());
        assert!(!(300..400).contains(&reply.status), "{path}: {reply:?}");
        assert_eq!(reply.header("location"), None, "{path}");
    }
    besieged.has_held();
}

#[test]
fn raw_bytes_in_an_address_are_refused() {
    let besieged = Besieged::with(SHORT_LIMITS);
    for byte in [0_u8, 1, b'\t', 0x7f, 0x80, 0xff] {
        let head = [
            b"GET /crates/index/kr",
            &[byte][..],
            b"at HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ]
        .concat();
        let reply = exchange_bytes(besieged.port(), &head).unwrap();
        assert!((400..500).contains(&reply.status), "{byte}: {reply:?}");
        assert_ne!(reply.refusal(), "", "{byte}");
    }
    besieged.has_held();
}

#[test]
fn long_names_are_refused() {
    let besieged = Besieged::with(SHORT_LIMITS);
    let (port, token) = (besieged.port(), besieged.token.clone());
    for name in ["a".repeat(10_000), "%61".repeat(10_000), "a/".repeat(5_000)] {
        for path in [
            format!("/crates/index/{name}"),
            format!("/crates/dl/{name}/1.0.0/download"),
            format!("/crates/dl/krate/1.0.0-{name}/download"),
            format!("/crates/api/v1/crates/{name}/1.0.0/yank"),
            format!("/crates/api/v1/crates/{name}/owners"),
        ] {
            for method in ["GET", "DELETE"] {
                let reply = request(method, &path).token(&token).send(port);
                assert!((400..500).contains(&reply.status), "{reply:?}");
                let text = reply.refusal();
                assert!(text.len() < 2_000, "an answer of {} bytes", text.len());
            }
        }
    }
    let log = besieged.registry.log();
    let longest = log.lines().map(str::len).max().unwrap();
    assert!(longest < 70_000, "a line of the log has {longest} bytes");
    besieged.has_held();
}

#[test]
fn heads_without_end_are_refused() {
    let besieged = Besieged::with(SHORT_LIMITS);
    let port = besieged.port();
    let long = "a".repeat(100_000);
    let many: String = (0..5_000).map(|n| format!("X-{n}: a\r\n")).collect();
    for (what, head) in [
        (
            "an address",
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        ("a header", format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n")),
        (
            "a token",
            format!("GET / HTTP/1.1\r\nAuthorization: {long}\r\n\r\n"),
        ),
        ("headers", format!("GET / HTTP/1.1\r\n{many}\r\n")),
        ("a method", format!("{long} / HTTP/1.1\r\n\r\n")),
        ("no end", format!("GET / HTTP/1.1\r\nX: {long}")),
    ] {
        let reply = exchange_bytes(port, head.as_bytes()).unwrap();
        assert!((400..500).contains(&reply.status), "{what}: {reply:?}");
        assert_ne!(reply.refusal(), "", "{what}");
    }
    besieged.has_held();
}
