//! Tokens in every broken form, and good ones that do not reach far enough.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::api::Target;
use crate::common::http::{exchange_bytes, request};
use crate::common::registry::Registry;
use crate::common::upload::Release;

fn release() -> Release {
    Release::new("krate", "1.0.0")
}

#[test]
fn broken_tokens_are_refused() {
    let target = Target::with(&[]);
    let good = &target.token;
    let signature = good.rsplit('.').next().unwrap();
    for (what, token) in broken_forms(good) {
        let reply = target.refuses(what, &release().request(&token));
        assert_eq!(reply.status, 401, "{what}");
        for secret in [good, signature] {
            assert!(
                !reply.refusal().contains(secret),
                "{what}: the answer holds the token"
            );
        }
    }
    let log = target.registry.log();
    assert!(!log.contains(signature), "the log holds a token");
    target.still_publishes();
}

/// What becomes of a good token when something of it is wrong.
fn broken_forms(good: &str) -> Vec<(&'static str, String)> {
    let elsewhere = Registry::start().token("alice");
    let parts: Vec<&str> = good.split('.').collect();
    assert_eq!(parts.len(), 3, "a token has three parts");
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let symmetric = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"alice","can":["publish"],"crates":["*"]}"#);
    let mut flipped = parts[2].to_owned().into_bytes();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();

    vec![
        ("an empty token", String::new()),
        ("a word", "token".to_owned()),
        ("dots", "..".to_owned()),
        ("a scheme without a token", "Bearer ".to_owned()),
        ("a scheme of no kind", format!("Digest {good}")),
        ("Basic that is not base64", "Basic %%%".to_owned()),
        (
            "Basic without a password",
            format!("Basic {}", STANDARD.encode("alice")),
        ),
        (
            "Basic with a wrong password",
            format!("Basic {}", STANDARD.encode("alice:secret")),
        ),
        ("the token twice", format!("{good}{good}")),
        ("the token and a word", format!("{good} more")),
        ("half a token", good[..good.len() / 2].to_owned()),
        (
            "without its signature",
            format!("{}.{}.", parts[0], parts[1]),
        ),
        ("without its header", format!(".{}.{}", parts[1], parts[2])),
        (
            "another signature",
            format!("{}.{}.{flipped}", parts[0], parts[1]),
        ),
        (
            "other claims",
            format!("{}.{claims}.{}", parts[0], parts[2]),
        ),
        ("no algorithm", format!("{header}.{}.", parts[1])),
        (
            "no algorithm but a signature",
            format!("{header}.{}.{}", parts[1], parts[2]),
        ),
        (
            "a symmetric algorithm",
            format!("{symmetric}.{}.{}", parts[1], parts[2]),
        ),
        ("a token of another registry", elsewhere),
        ("a token of 10,000 characters", "a".repeat(10_000)),
    ]
}

#[test]
fn no_token_and_strange_bytes_are_refused() {
    let target = Target::with(&[]);
    for (verb, path) in [
        ("PUT", "/crates/api/v1/crates/new"),
        ("DELETE", "/crates/api/v1/crates/krate/1.0.0/yank"),
        ("PUT", "/crates/api/v1/crates/krate/1.0.0/unyank"),
        ("PUT", "/crates/api/v1/crates/krate/owners"),
        ("DELETE", "/crates/api/v1/crates/krate/owners"),
    ] {
        let reply = target.refuses(path, &request(verb, path).body("{\"users\":[\"bob\"]}"));
        assert_eq!(reply.status, 401, "{verb} {path}");
    }
    let raw = b"DELETE /crates/api/v1/crates/krate/1.0.0/yank HTTP/1.1\r\nHost: localhost\r\n\
                Connection: close\r\nAuthorization: \xff\xfe\xfd\r\n\r\n";
    let reply = exchange_bytes(target.registry.port, raw).unwrap();
    assert_eq!(reply.status, 401, "{}", reply.refusal());
    target.is_unchanged("bytes that are no text");
}

#[test]
fn a_token_is_good_in_each_form_that_clients_send() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let basic = format!("Basic {}", STANDARD.encode(format!("anybody:{token}")));
    let forms = [
        token.clone(),
        format!("Bearer {token}"),
        format!("bearer {token}"),
        basic,
    ];
    for (n, form) in forms.iter().enumerate() {
        Release::new("krate", &format!("1.0.{n}"))
            .publish(registry.port, form)
            .succeeds();
    }
}

#[test]
fn a_token_reaches_no_further_than_it_says() {
    let target = Target::with(&[release()]);
    let next = Release::new("krate", "1.0.1");
    let reader = target.registry.token_with("alice", &["--can", "read"]);
    let other = target
        .registry
        .token_with("alice", &["--crates", "other-*"]);
    let stranger = target.registry.token("mallory");
    let bob = json!({ "users": ["mallory"] }).to_string();
    let yank = "/crates/api/v1/crates/krate/1.0.0/yank";
    let unyank = "/crates/api/v1/crates/krate/1.0.0/unyank";
    let owners = "/crates/api/v1/crates/krate/owners";
    for (what, token) in [("only reads", &reader), ("only other crates", &other)] {
        for request in [
            next.request(token),
            request("DELETE", yank).token(token),
            request("PUT", unyank).token(token),
            request("PUT", owners).token(token).body(bob.clone()),
            request("DELETE", owners).token(token).body(bob.clone()),
        ] {
            let reply = target.refuses(what, &request);
            assert_eq!(reply.status, 403, "{what}");
        }
    }
    for (what, request) in [
        ("a stranger publishes", next.request(&stranger)),
        ("a stranger yanks", request("DELETE", yank).token(&stranger)),
        (
            "a stranger makes himself owner",
            request("PUT", owners).token(&stranger).body(bob),
        ),
    ] {
        let reply = target.refuses(what, &request);
        assert_eq!(reply.status, 403, "{what}");
        assert!(
            reply.refusal().contains("alice"),
            "says who could: {}",
            reply.refusal()
        );
    }
}
