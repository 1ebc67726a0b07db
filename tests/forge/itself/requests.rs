//! Pull requests, what is said of their commits, and who is told.

use serde_json::json;

use super::Scene;
use crate::forge::api::{done, signature, text};
use crate::forge::checkout::Checkout;
use crate::forge::gitea::Gitea;
use crate::forge::inbox::{Delivery, Inbox};

const SECRET: &str = "a-secret";
const CONTEXT: &str = "sidecargo";

/// Panics unless the delivery bears a signature by the secret.
#[track_caller]
fn assert_signed(delivery: &Delivery) {
    let told = delivery.header("x-hub-signature-256").unwrap();
    assert_eq!(told, signature(SECRET, &delivery.body));
}

#[test]
fn a_push_is_told_with_a_signature_that_holds() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let inbox = Inbox::open();
    forge.tell(&scene.repository, &inbox.url(), SECRET, &["push"]);
    let before = forge.tip(&scene.repository);
    let checkout = Checkout::of(forge, &scene.repository, &scene.robot_token);
    let commit = checkout.commit("a-file", ("Registry", "registry@localhost.test"), &[]);
    checkout.push("main").succeeds();
    let delivery = inbox.wait_for("push");
    assert_signed(&delivery);
    assert_eq!(delivery.header("content-type"), Some("application/json"));
    let told = delivery.json();
    assert_eq!(told["ref"], "refs/heads/main");
    assert_eq!(
        (&told["before"], &told["after"]),
        (&before.into(), &commit.into())
    );
    assert_eq!(told["repository"]["id"], scene.repository.id);
    assert_eq!(told["pusher"]["id"], scene.robot.id);
}

#[test]
fn hooks_and_rules_are_shown_to_administrators_of_the_repository_alone() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    scene.protect(forge);
    forge.tell(&scene.repository, "http://127.0.0.1:9/", SECRET, &["push"]);
    let owner = forge.with_token(&scene.owner_token);
    let robot = forge.with_token(&scene.robot_token);
    let hooks = owner.read(&format!("{}/hooks", scene.repository.api()));
    assert_eq!(hooks[0]["events"], json!(["push"]));
    assert_eq!(hooks[0]["config"].get("secret"), None);
    let rule = owner.read(&format!(
        "{}/branch_protections/main",
        scene.repository.api()
    ));
    assert_eq!(rule["push_whitelist_usernames"], json!([scene.robot.login]));
    for path in ["hooks", "branch_protections", "branch_protections/main"] {
        let refused = robot.get(&format!("{}/{path}", scene.repository.api()));
        assert_eq!(refused.status, 403, "{path}");
    }
    // What concerns the robot itself is said to it.
    let branch = robot.read(&format!("{}/branches/main", scene.repository.api()));
    assert_eq!(
        (&branch["protected"], &branch["user_can_push"]),
        (&true.into(), &true.into())
    );
    let branch = owner.read(&format!("{}/branches/main", scene.repository.api()));
    assert_eq!(branch["user_can_push"], false);
}

#[test]
fn a_pull_request_waits_for_what_the_robot_says_of_its_commit() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let inbox = Inbox::open();
    forge.tell(&scene.repository, &inbox.url(), SECRET, &["pull_request"]);
    forge.protect(
        &scene.repository,
        json!({
            "enable_push": true,
            "enable_push_whitelist": true,
            "push_whitelist_usernames": [scene.robot.login],
            "enable_merge_whitelist": true,
            "merge_whitelist_usernames": [scene.owner.login],
            "enable_status_check": true,
            "status_check_contexts": [CONTEXT],
            "block_admin_merge_override": true,
        }),
    );
    let owner = forge.with_token(&scene.owner_token);
    let robot = forge.with_token(&scene.robot_token);
    owner.write_file(
        &scene.repository,
        "change",
        "policy.toml",
        "# nothing yet\n",
    );
    let number = owner.open_pull_request(&scene.repository, "change");
    let told = inbox.wait_for("pull_request");
    assert_signed(&told);
    let told = told.json();
    assert_eq!(
        (&told["action"], &told["number"]),
        (&"opened".into(), &number.into())
    );
    assert_eq!(told["pull_request"]["base"]["ref"], "main");
    let commit = text(&told["pull_request"]["head"], "sha");

    let early = done(owner.squash(&scene.repository, number), 405);
    assert_eq!(
        early["message"],
        "Not all required status checks successful"
    );
    let status = done(
        robot.approve_commit(&scene.repository, &commit, CONTEXT),
        201,
    );
    assert_eq!(
        (&status["status"], &status["context"]),
        (&"success".into(), &CONTEXT.into())
    );
    let path = format!("{}/commits/{commit}/status", scene.repository.api());
    let all = owner.read(&path);
    assert_eq!(all["state"], "success");
    assert_eq!(all["statuses"][0]["creator"]["id"], scene.robot.id);
    let foreign = done(robot.squash(&scene.repository, number), 405);
    assert_eq!(foreign["message"], "User not allowed to merge PR");
    owner.squash(&scene.repository, number).succeeds();

    let closed = owner.read(&format!("{}/pulls?state=closed", scene.repository.api()));
    assert_eq!(
        (&closed[0]["number"], &closed[0]["merged"]),
        (&number.into(), &true.into())
    );
    let merged = forge.tip(&scene.repository);
    assert_eq!(closed[0]["merge_commit_sha"], merged);
    let shown = owner.read(&format!("{}/git/commits/{merged}", scene.repository.api()));
    assert_eq!(shown["commit"]["verification"]["verified"], false);
}

#[test]
fn a_protected_branch_takes_no_change_over_the_api() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    scene.protect(forge);
    let path = format!("{}/contents/a-file", scene.repository.api());
    let change = json!({ "content": "", "message": "change" });
    let owner = forge.with_token(&scene.owner_token);
    assert_eq!(owner.send("POST", &path, &change).status, 403);
    let robot = forge.with_token(&scene.robot_token);
    assert_eq!(robot.send("POST", &path, &change).status, 201);
}
