//! What a token shows of whoever holds it.

use super::{assert_hidden, rights};
use crate::forge::api::{Caller, done};
use crate::forge::gitea::Gitea;
use crate::forge::scene::{Repository, Visibility};

const ADVERTISEMENT: &str = "application/x-git-receive-pack-advertisement";
const BLOCKED: &str =
    "This account is prohibited from signing in, please contact your site administrator.";

/// The status of the advertisement before a push, or 0 for a page that is none.
#[track_caller]
fn advertised(caller: &Caller<'_>, repository: &Repository) -> u16 {
    let reply = caller.ask_to_push(repository);
    let is_one = reply.header("content-type") == Some(ADVERTISEMENT);
    assert!(!is_one || reply.body.starts_with(b"001f# service=git-receive-pack\n"));
    if reply.status == 200 && !is_one {
        0
    } else {
        reply.status
    }
}

#[test]
fn who_holds_a_token_is_said_to_one_that_may_read_users() {
    let Some(forge) = Gitea::shared() else { return };
    let alice = forge.user("alice");
    let token = forge.token(&alice, &["read:user"]).text;
    for caller in [
        forge.with_token(&token),
        forge.with_bearer(&token),
        forge.with_password("anybody", &token),
    ] {
        let user = caller.read("/user");
        assert_eq!(user["id"], alice.id);
        assert_eq!(user["login"], alice.login);
        assert_eq!(user["login_name"], "");
        assert_eq!(user["active"], true);
        assert_eq!(user["prohibit_login"], false);
    }
    let other = forge.token(&alice, &["read:repository"]).text;
    let refused = done(forge.with_token(&other).get("/user"), 403);
    let why = refused["message"].as_str().unwrap();
    assert!(why.contains("required=[read:user]"), "{refused}");
    assert_eq!(forge.anonymous().get("/user").status, 401);
}

#[test]
fn the_rights_are_those_of_the_person_whatever_the_token_may() {
    let Some(forge) = Gitea::shared() else { return };
    let (alice, bob, carol) = (forge.user("alice"), forge.user("bob"), forge.user("carol"));
    let private = forge.repository(&alice.login, "private", Visibility::Private);
    let public = forge.repository(&alice.login, "public", Visibility::Public);
    forge.collaborate(&private, &bob, "read");
    let of = |user| forge.with_token(&forge.token(user, &["read:repository"]).text);
    assert_eq!(rights(&of(&alice), &private), (true, true));
    assert_eq!(rights(&of(&bob), &private), (true, false));
    assert_eq!(rights(&of(&carol), &public), (true, false));
    assert_eq!(rights(&forge.anonymous(), &public), (true, false));
    assert_hidden(&of(&carol), &private);
    assert_hidden(&forge.anonymous(), &private);
    let unfit = forge.token(&alice, &["read:user"]).text;
    assert_eq!(forge.with_token(&unfit).get(&private.api()).status, 403);
}

/// So neither that nor the rights of the person are enough, and only together they are.
#[test]
fn the_advertisement_before_a_push_shows_what_the_token_may_and_not_the_person() {
    let Some(forge) = Gitea::shared() else { return };
    let (alice, bob, carol) = (forge.user("alice"), forge.user("bob"), forge.user("carol"));
    let private = forge.repository(&alice.login, "private", Visibility::Private);
    let public = forge.repository(&alice.login, "public", Visibility::Public);
    forge.collaborate(&private, &bob, "read");
    let cases = [
        (&alice, &["write:repository"][..], 200, 200),
        (&alice, &["read:repository"], 403, 403),
        (&alice, &["write:issue", "read:user"], 403, 403),
        (&alice, &["public-only", "write:repository"], 403, 200),
        // These two may push nowhere.
        (&bob, &["write:repository"], 200, 200),
        (&carol, &["write:repository"], 404, 200),
    ];
    for (user, scopes, of_private, of_public) in cases {
        let token = forge.token(user, scopes).text;
        let caller = forge.with_password("anybody", &token);
        let case = (&user.login, scopes);
        assert_eq!(advertised(&caller, &private), of_private, "{case:?}");
        assert_eq!(advertised(&caller, &public), of_public, "{case:?}");
    }
    assert_eq!(advertised(&forge.anonymous(), &public), 401);
    let unknown = forge.with_password("anybody", &"0".repeat(40));
    assert_eq!(advertised(&unknown, &public), 401);
}

/// So it must be asked for as git does.
#[test]
fn the_advertisement_shows_nothing_of_a_token_that_is_not_sent_as_a_password() {
    let Some(forge) = Gitea::shared() else { return };
    let alice = forge.user("alice");
    let repository = forge.repository(&alice.login, "private", Visibility::Private);
    let token = forge.token(&alice, &["read:issue"]).text;
    assert_eq!(advertised(&forge.with_token(&token), &repository), 200);
    assert_eq!(advertised(&forge.with_bearer(&token), &repository), 200);
    let as_git = forge.with_password("anybody", &token);
    assert_eq!(advertised(&as_git, &repository), 403);
}

#[test]
fn a_token_ends_when_it_is_taken_back() {
    let Some(forge) = Gitea::shared() else { return };
    let alice = forge.user("alice");
    let token = forge.token(&alice, &["read:user"]);
    let caller = forge.with_token(&token.text);
    caller.read("/user");
    forge.delete_token(&alice, &token);
    let refused = done(caller.get("/user"), 401);
    assert_eq!(refused["message"], "invalid username, password or token");
}

#[test]
fn a_blocked_person_gets_a_refusal_from_the_api_and_a_page_from_git() {
    let Some(forge) = Gitea::shared() else { return };
    let alice = forge.user("alice");
    let repository = forge.repository(&alice.login, "private", Visibility::Private);
    let token = forge.token(&alice, &["all"]).text;
    let caller = forge.with_password("anybody", &token);
    assert_eq!(advertised(&caller, &repository), 200);
    forge.block(&alice, true);
    assert_eq!(done(caller.get("/user"), 403)["message"], BLOCKED);
    assert_eq!(done(caller.get(&repository.api()), 403)["message"], BLOCKED);
    assert_eq!(advertised(&caller, &repository), 0);
    forge.block(&alice, false);
    assert_eq!(advertised(&caller, &repository), 200);
}

#[test]
fn a_person_who_is_gone_takes_the_tokens_along() {
    let Some(forge) = Gitea::shared() else { return };
    let (alice, bob) = (forge.user("alice"), forge.user("bob"));
    let repository = forge.repository(&bob.login, "public", Visibility::Public);
    let token = forge.token(&alice, &["all"]).text;
    let caller = forge.with_password("anybody", &token);
    assert_eq!(advertised(&caller, &repository), 200);
    forge.delete_user(&alice);
    assert_eq!(caller.get("/user").status, 401);
    assert_eq!(caller.get(&repository.api()).status, 401);
    assert_eq!(advertised(&caller, &repository), 401);
}
