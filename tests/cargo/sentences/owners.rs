//! The rules for owners, as `cargo owner` prints them: `src/domain/owners.rs`, and logins in `src/domain/text.rs`.

use insta::assert_snapshot;

use super::Desk;
use crate::common::http::request;
use crate::common::upload::Release;

#[test]
fn owners_that_cannot_come_or_go() {
    let desk = Desk::with_policy("");
    let (port, token) = (desk.registry.port, desk.registry.token("alice"));
    Release::new("krate", "1.0.0")
        .publish(port, &token)
        .succeeds();
    let owner = |rule: &str, failed: &str, words: &[&str]| {
        let start = ["owner", "krate", "--registry", "crates", "--quiet"];
        let ran = desk
            .alice
            .cargo(&desk.alice.work(), &[&start[..], words].concat());
        desk.sentence(rule, &format!("failed to {failed} crate `krate` on"), &ran)
    };
    let adds = |rule: &str, words: &[&str]| owner(rule, "invite owners to", words);
    let removes = |rule: &str, words: &[&str]| owner(rule, "remove owners from", words);
    assert_snapshot!(
        adds("LoginFault", &["--add", "no login"]),
        @"400 Bad Request: `no login` is not a user name; 1 to 40 ASCII letters, digits, `-`, `_` and `.` are allowed, with a letter or digit first"
    );
    assert_snapshot!(
        adds("OwnerFault::TeamWithoutForge", &["--add", "github:acme:core"]),
        @"400 Bad Request: `github:acme:core` names a team; teams need a forge, and this registry runs without one"
    );
    assert_snapshot!(
        removes("OwnerFault::NotAnOwner", &["--remove", "carol"]),
        @"400 Bad Request: `carol` is not an owner of this crate"
    );
    assert_snapshot!(
        removes("OwnerFault::Last", &["--remove", "alice"]),
        @"400 Bad Request: a crate must keep at least one owner; add another before `alice` leaves"
    );

    let users = |range: std::ops::Range<usize>| range.map(|n| format!("user-{n}"));
    let body = serde_json::json!({ "users": users(0..100).collect::<Vec<_>>() });
    let add = request("PUT", "/crates/api/v1/crates/krate/owners").token(&token);
    add.body(body.to_string()).send(port).succeeds();
    let more: Vec<String> = users(100..200)
        .flat_map(|user| ["--add".to_owned(), user])
        .collect();
    let words: Vec<&str> = more.iter().map(String::as_str).collect();
    assert_snapshot!(
        adds("OwnerFault::TooMany", &words),
        @"400 Bad Request: a crate can have at most 200 owners"
    );
}
