//! Uploads and yanks in every form that an honest client gives them.

use crate::common::http::{Reply, get, request};
use crate::common::registry::Registry;
use crate::common::upload::Release;

#[test]
fn an_upload_is_taken_however_it_is_labelled() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let labels: [&[(&str, &str)]; 6] = [
        &[],
        &[("Content-Type", "application/octet-stream")],
        &[
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ],
        &[("Expect", "100-continue")],
        &[
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ],
        &[("User-Agent", "somebody else's client")],
    ];
    for (patch, label) in labels.iter().enumerate() {
        let release = Release::new("krate", &format!("1.0.{patch}"));
        let upload = label
            .iter()
            .fold(release.request(&token), |upload, (name, value)| {
                upload.header(name, value)
            });
        let answer = upload.send(registry.port).succeeds().json();
        assert!(answer["warnings"]["other"].is_array(), "{answer}");
    }
}

#[test]
fn a_yanked_version_cannot_be_published_again() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let publish = |version: &str| Release::new("krate", version).publish(registry.port, &token);
    publish("1.0.0").succeeds();
    request("DELETE", "/crates/api/v1/crates/krate/1.0.0/yank")
        .token(&token)
        .send(registry.port)
        .succeeds();
    for version in ["1.0.0", "1.0.0+build"] {
        let why = publish(version).refusal();
        assert!(why.contains("already"), "{why}");
    }
    publish("1.0.1").succeeds();
}

#[test]
fn a_version_is_yanked_as_people_write_it() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("Some-Crate", "1.0.0+build.1");
    release.publish(registry.port, &token).succeeds();
    let line = || {
        let line = get("/crates/index/so/me/some-crate").send(registry.port);
        line.succeeds().json()
    };
    let is_yanked = || line()["yanked"].as_bool().unwrap();
    let before = line();
    let change = |verb: &'static str, version: &str, action: &str| -> Reply {
        let path = format!("/crates/api/v1/crates/Some-Crate/{version}/{action}");
        request(verb, path).token(&token).send(registry.port)
    };
    for version in ["1.0.0+build.1", "1.0.0%2Bbuild.1"] {
        let answer = change("DELETE", version, "yank").succeeds().json();
        assert_eq!(answer["ok"], true);
        assert!(is_yanked(), "{version}");
        let answer = change("PUT", version, "unyank").succeeds().json();
        assert_eq!(answer["ok"], true);
        // Everything else is as it was, the time of publication too.
        assert_eq!(line(), before, "{version}");
    }
}

#[test]
fn a_tag_changes_with_its_crate_alone() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let tag = |path: &str| {
        let reply = get(path).send(registry.port).succeeds();
        reply.header("etag").unwrap().to_owned()
    };
    let tags = || {
        [
            tag("/crates/index/on/e-/one-crate"),
            tag("/crates/index/an/ot/another"),
        ]
    };
    let publish = |name: &str, version: &str| {
        let release = Release::new(name, version);
        release.publish(registry.port, &token).succeeds();
    };
    publish("one-crate", "1.0.0");
    publish("another", "1.0.0");
    let first = tags();
    publish("one-crate", "1.1.0");
    let second = tags();
    request("DELETE", "/crates/api/v1/crates/one-crate/1.1.0/yank")
        .token(&token)
        .send(registry.port)
        .succeeds();
    let third = tags();
    assert!(first[0] != second[0] && second[0] != third[0] && first[0] != third[0]);
    assert!(first[1] == second[1] && second[1] == third[1]);
    // A tag of before is answered with what is there now.
    let stale = get("/crates/index/on/e-/one-crate").header("If-None-Match", &first[0]);
    assert_eq!(stale.send(registry.port).status, 200);
}

#[test]
fn the_login_page_can_be_pasted_from() {
    let registry = Registry::start();
    let page = get("/crates/me").send(registry.port).succeeds();
    let kind = page.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/html"), "{kind}");
    for text in [
        registry.sparse_index(),
        registry.git_index(),
        "[registries.crates]".to_owned(),
        "cargo login --registry crates".to_owned(),
    ] {
        assert!(page.text().contains(&text), "no `{text}` on the page");
    }
}

#[test]
fn the_configuration_names_addresses_that_cargo_can_extend() {
    let registry = Registry::start();
    let config = get("/crates/index/config.json")
        .send(registry.port)
        .succeeds();
    let config = config.json();
    let root = format!("http://localhost:{}/crates", registry.port);
    assert_eq!(config["api"], root);
    // Without a marker Cargo itself puts crate, version and `download` behind it.
    assert_eq!(config["dl"], format!("{root}/dl"));
    assert_eq!(config.get("auth-required"), None);
}
