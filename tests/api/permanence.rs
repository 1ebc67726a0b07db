//! What was published stays: no request takes a line or a file away.

use crate::api::Target;
use crate::common::http::{get, request};
use crate::common::upload::Release;

#[test]
fn no_request_takes_a_version_away() {
    let release = Release::new("krate", "1.0.0");
    let target = Target::with(std::slice::from_ref(&release));
    for path in [
        "/crates/api/v1/crates/krate",
        "/crates/api/v1/crates/krate/1.0.0",
        "/crates/api/v1/crates/krate/1.0.0/download",
        "/crates/index/kr/at/krate",
        "/crates/dl/krate/1.0.0/download",
        "/crates/git/refs/heads/main",
    ] {
        for method in ["DELETE", "PUT", "POST", "PATCH"] {
            let what = format!("{method} {path}");
            let reply = target.refuses(&what, &request(method, path).token(&target.token));
            assert!([404, 405].contains(&reply.status), "{what}: {reply:?}");
        }
    }
    let download = get(release.download_path()).send(target.registry.port);
    assert!(download.succeeds().body == release.crate_file);
}

#[test]
fn no_upload_replaces_a_version() {
    let release = Release::new("krate", "1.0.0");
    let target = Target::with(std::slice::from_ref(&release));
    let other = Release::with_source("krate", "1.0.0", "other bytes");
    let reply = target.refuses("other bytes", &other.request(&target.token));
    assert_eq!(reply.status, 409, "{reply:?}");
    let download = get(release.download_path()).send(target.registry.port);
    assert!(download.succeeds().body == release.crate_file);
}

/// No two crates differ only in case and separators, so each spelling is of one: people type what they remember.
#[test]
fn the_api_finds_a_crate_under_every_spelling_and_keeps_its_own() {
    let release = Release::new("Some-Crate", "1.0.0");
    let target = Target::with(std::slice::from_ref(&release));
    let port = target.registry.port;
    let line = || get("/crates/index/so/me/some-crate").send(port).succeeds();
    let before = line();
    for name in ["Some-Crate", "some-crate", "Some_Crate", "SOME-CRATE"] {
        let change = |method, action: &str| {
            let path = format!("/crates/api/v1/crates/{name}/1.0.0/{action}");
            request(method, path).token(&target.token).send(port)
        };
        change("DELETE", "yank").succeeds();
        let yanked = line().json();
        assert_eq!(yanked["yanked"], true, "{name}");
        assert_eq!(yanked["name"], "Some-Crate", "{name}");
        change("PUT", "unyank").succeeds();
        assert!(line().body == before.body, "{name}");
    }
}
