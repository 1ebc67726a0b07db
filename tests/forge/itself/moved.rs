//! What happens to whoever asks for a name that is no longer one.

use super::Scene;
use crate::common::http::Reply;
use crate::forge::api::done;
use crate::forge::checkout::Checkout;
use crate::forge::gitea::Gitea;
use crate::forge::scene::Visibility;

/// Where a reply of this status sends its reader.
#[track_caller]
fn sent_to(reply: &Reply, status: u16) -> &str {
    assert_eq!(reply.status, status, "{reply:?}");
    reply.header("location").expect("it names a place")
}

#[test]
fn a_renamed_repository_redirects_everybody_and_keeps_its_id() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let old = &scene.repository;
    let checkout = Checkout::of(forge, old, &scene.robot_token);
    let renamed = forge.rename(old, "renamed");
    // Also whoever may not see it, and also who writes.
    for caller in [forge.with_token(&scene.robot_token), forge.anonymous()] {
        let moved = caller.get(&old.api());
        assert_eq!(sent_to(&moved, 301), format!("/api/v1{}", renamed.api()));
        let moved = caller.approve_commit(old, "main", "test");
        let place = format!("/api/v1{}/statuses/main", renamed.api());
        assert_eq!(sent_to(&moved, 301), place);
        let moved = caller.ask_to_push(old);
        let place = format!("/{}/renamed/info/refs?service=git-receive-pack", old.owner);
        assert_eq!(sent_to(&moved, 301), place);
    }
    checkout.commit("a-file", ("Registry", "registry@localhost.test"), &[]);
    let pushed = checkout.push("main").succeeds();
    assert!(
        pushed.stderr.contains("warning: redirecting to "),
        "{pushed}"
    );
    let robot = forge.with_token(&scene.robot_token);
    let by_id = robot.read(&format!("/repositories/{}", old.id));
    assert_eq!(by_id["name"], "renamed");
}

#[test]
fn a_renamed_owner_redirects_too_but_for_the_moment() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let owner = forge.rename_user(&scene.owner, "renamed");
    let robot = forge.with_token(&scene.robot_token);
    let moved = robot.get(&scene.repository.api());
    assert_eq!(
        sent_to(&moved, 307),
        format!("/api/v1/repos/{}/index", owner.login)
    );
    let moved = robot.ask_to_push(&scene.repository);
    let place = format!(
        "/{}/index.git/info/refs?service=git-receive-pack",
        owner.login
    );
    assert_eq!(sent_to(&moved, 307), place);
    let user = forge.with_token(&scene.owner_token).read("/user");
    assert_eq!(
        (&user["id"], &user["login"]),
        (&owner.id.into(), &owner.login.into())
    );
}

#[test]
fn a_repository_is_shown_and_hidden_from_one_request_to_the_next() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    for visibility in [Visibility::Public, Visibility::Private, Visibility::Public] {
        forge.show(&scene.repository, visibility);
        let status = if visibility == Visibility::Public {
            200
        } else {
            404
        };
        done(forge.anonymous().get(&scene.repository.api()), status);
    }
}
