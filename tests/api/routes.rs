//! Addresses, methods and bodies that lead nowhere.

use serde_json::json;

use crate::api::Target;
use crate::common::http::{get, request};
use crate::common::upload::Release;

#[test]
fn unknown_addresses_are_refused() {
    let target = Target::with(&[Release::new("krate", "1.0.0")]);
    for path in [
        "/nothing",
        "/crates/nothing",
        "/crates/api/v1/nothing",
        "/crates/api/v2/crates",
        "/other/api/v1/crates",
        "/crates/api/v1/crates/krate/1.0.0/none",
        "/crates/index/kr/at/none",
        "/crates/index/krate",
        "/crates/index/owners/kr/at/krate.toml",
        "/crates/index/registry.toml",
        "/crates/index/../keys",
        "/crates/index/%2e%2e/keys",
        "/crates/index/%00",
        "/crates/dl/krate/1.0.1/download",
        "/crates/dl/none/1.0.0/download",
        "/crates/dl/..%2f..%2fkeys/1.0.0/download",
        "/crates/dl/krate/..%2f1.0.0/download",
        "/crates/git/HEAD",
        "/crates/git/config",
        "/crates/git/objects/info/packs",
    ] {
        let reply = target.refuses(path, &get(path));
        assert_eq!(reply.status, 404, "{path}");
    }
}

#[test]
fn wrong_methods_are_refused() {
    let target = Target::with(&[Release::new("krate", "1.0.0")]);
    for (method, path) in [
        ("POST", "/crates/api/v1/crates/new"),
        ("PATCH", "/crates/api/v1/crates/krate/owners"),
        ("PUT", "/crates/api/v1/crates/krate/1.0.0/yank"),
        ("DELETE", "/crates/api/v1/crates/krate/1.0.0/unyank"),
        ("POST", "/crates/api/v1/crates"),
        ("DELETE", "/crates/index/kr/at/krate"),
        ("PUT", "/crates/index/config.json"),
        ("POST", "/crates/dl/krate/1.0.0/download"),
        ("PUT", "/healthz"),
        ("BREW", "/crates/me"),
    ] {
        let request = request(method, path).token(&target.token);
        let reply = target.refuses(&format!("{method} {path}"), &request);
        assert_eq!(reply.status, 405, "{method} {path}");
    }
}

#[test]
fn nobody_pushes_to_the_git_view() {
    let target = Target::with(&[]);
    let advertisement = get("/crates/git/info/refs?service=git-receive-pack").token(&target.token);
    target.refuses("the refs to push to", &advertisement);
    let push = request("POST", "/crates/git/git-receive-pack")
        .token(&target.token)
        .body("0000");
    target.refuses("a push", &push);
}

#[test]
fn changes_of_what_is_not_there_are_refused() {
    let target = Target::with(&[Release::new("krate", "1.0.0")]);
    for (method, path) in [
        ("DELETE", "/crates/api/v1/crates/none/1.0.0/yank"),
        ("DELETE", "/crates/api/v1/crates/krate/1.0.1/yank"),
        ("PUT", "/crates/api/v1/crates/krate/1.0.1/unyank"),
        ("GET", "/crates/api/v1/crates/none/owners"),
    ] {
        let request = request(method, path).token(&target.token);
        let reply = target.refuses(&format!("{method} {path}"), &request);
        assert_eq!(reply.status, 404, "{method} {path}");
    }
    for path in [
        "krate/one/yank",
        "kr%0aate/1.0.0/yank",
        "krate/1.0.0%0a/yank",
    ] {
        let path = format!("/crates/api/v1/crates/{path}");
        target.refuses(&path, &request("DELETE", &path).token(&target.token));
    }
}

#[test]
fn strangers_change_no_owners() {
    let target = Target::with(&[Release::new("krate", "1.0.0")]);
    let stranger = target.registry.token("mallory");
    for (method, login) in [("PUT", "mallory"), ("PUT", "bob"), ("DELETE", "alice")] {
        let what = format!("{method} {login}");
        let request = request(method, "/crates/api/v1/crates/krate/owners")
            .token(&stranger)
            .body(json!({ "users": [login] }).to_string());
        let reply = target.refuses(&what, &request);
        assert_eq!(reply.status, 403, "{what}");
    }
}

#[test]
fn owners_that_are_none_are_refused() {
    let target = Target::with(&[Release::new("krate", "1.0.0")]);
    let bodies = [
        "".to_owned(),
        "users".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        json!({ "users": [] }).to_string(),
        json!({ "users": "bob" }).to_string(),
        json!({ "users": [""] }).to_string(),
        json!({ "users": ["two words"] }).to_string(),
        // Each would forge something in the commit or in the file of owners.
        json!({ "users": ["bob\nPublished-by: root"] }).to_string(),
        json!({ "users": ["bob <root@localhost>"] }).to_string(),
        json!({ "users": ["bob\" }, { login = \"root"] }).to_string(),
        json!({ "users": ["../../policy"] }).to_string(),
        json!({ "users": ["b".repeat(41)] }).to_string(),
        json!({ "users": ["github:acme:team"] }).to_string(),
        json!({ "users": vec!["bob"; 100_000] }).to_string(),
    ];
    for body in bodies {
        let what: String = body.chars().take(60).collect();
        let request = request("PUT", "/crates/api/v1/crates/krate/owners")
            .token(&target.token)
            .body(body);
        target.refuses(&what, &request);
    }
    let remove = |login: &str| {
        request("DELETE", "/crates/api/v1/crates/krate/owners")
            .token(&target.token)
            .body(json!({ "users": [login] }).to_string())
    };
    target.refuses("somebody who is no owner leaves", &remove("bob"));
    target.refuses("the last owner leaves", &remove("alice"));
}

#[test]
fn every_refusal_names_its_request() {
    let target = Target::with(&[]);
    let reply = target.refuses("an unknown address", &get("/crates/nothing"));
    let kind = reply.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{kind}");
    let id = reply.header("x-request-id").expect("an id to ask about");
    assert!(
        target.registry.log().contains(id),
        "the log does not know {id}"
    );
}
