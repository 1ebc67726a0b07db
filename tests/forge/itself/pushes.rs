//! Which pushes the forge takes, and what it says to the others.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::Scene;
use crate::common::git::git;
use crate::common::tools;
use crate::forge::api::{done, text};
use crate::forge::checkout::Checkout;
use crate::forge::gitea::{Gitea, Settings};
use crate::forge::scene::admin;

const ROBOT: (&str, &str) = ("Registry", "registry@localhost.test");

#[test]
fn a_protected_branch_takes_the_robots_push_and_nobody_elses() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    // Or the administrator is no candidate for any list.
    forge.collaborate(&scene.repository, &admin(), "admin");
    let rule = scene.protect(forge);
    assert_eq!(rule["push_whitelist_usernames"], json!([scene.robot.login]));
    let mut checkout = Checkout::of(forge, &scene.repository, &scene.robot_token);
    let commit = checkout.commit("a-file", ROBOT, &[]);
    for token in [&forge.admin_token, &scene.owner_token] {
        checkout.show(token);
        let refused = checkout.push("main");
        refused
            .fails_with("remote: error: Not allowed to push to protected branch main")
            .fails_with("! [remote rejected] HEAD -> main (pre-receive hook declined)");
    }
    checkout.show(&scene.robot_token);
    checkout.push("main").succeeds();
    assert_eq!(forge.tip(&scene.repository), commit);
}

#[test]
fn the_robot_itself_rewrites_no_protected_branch() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    scene.protect(forge);
    let checkout = Checkout::of(forge, &scene.repository, &scene.robot_token);
    let first = checkout.commit("a-file", ROBOT, &[]);
    checkout.push("main").succeeds();
    checkout
        .git(&["reset", "--quiet", "--hard", "HEAD~1"])
        .succeeds();
    let _other = checkout.commit("other-file", ROBOT, &[]);
    let stale = checkout.push("main");
    stale.fails_with("! [rejected]        HEAD -> main (");
    let forced = checkout.git(&["push", "--force", "origin", "HEAD:main"]);
    forced.fails_with("remote: error: branch main is protected from force push");
    assert_eq!(forge.tip(&scene.repository), first);
}

#[test]
fn who_may_not_write_is_refused_with_these_words() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let reader = forge.user("reader");
    forge.collaborate(&scene.repository, &reader, "read");
    let mut checkout = Checkout::of(forge, &scene.repository, &scene.robot_token);
    checkout.commit("a-file", ROBOT, &[]);
    let read_only = forge.token(&scene.robot, &["read:repository"]).text;
    let of_reader = forge.token(&reader, &["write:repository"]).text;
    let cases = [
        (read_only, "The requested URL returned error: 403"),
        (
            of_reader,
            "remote: error: User permission denied for writing.",
        ),
        ("0".repeat(40), "fatal: Authentication failed for "),
    ];
    for (token, words) in cases {
        checkout.show(&token);
        checkout.push("main").fails_with(words);
    }
}

#[test]
fn an_archived_repository_is_read_and_not_written() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let checkout = Checkout::of(forge, &scene.repository, &scene.robot_token);
    let tip = forge.tip(&scene.repository);
    checkout.commit("a-file", ROBOT, &[]);
    forge.archive(&scene.repository, true);
    let refused = checkout.push("main");
    refused
        .fails_with(
            "remote: This repo is archived. You can view files and clone it, but cannot push",
        )
        .fails_with("The requested URL returned error: 403");
    let robot = forge.with_token(&scene.robot_token);
    let shown = robot.read(&scene.repository.api());
    assert_eq!(shown["archived"], true);
    // Whoever looks at the rights alone is told nothing of it.
    assert_eq!(shown["permissions"]["push"], true);
    checkout.git(&["fetch", "--quiet"]).succeeds();
    assert_eq!(forge.tip(&scene.repository), tip);
    forge.archive(&scene.repository, false);
    checkout.push("main").succeeds();
}

#[test]
fn a_commit_signed_by_a_trusted_key_is_shown_as_verified() {
    if tools::ssh_keygen().is_none() {
        return;
    }
    let keys = tempfile::TempDir::new().unwrap();
    let trusted = key(keys.path(), "trusted", 1);
    let stranger = key(keys.path(), "stranger", 2);
    let public = |key: &str| fs::read_to_string(format!("{key}.pub")).unwrap();
    let settings = Settings {
        trusted_keys: vec![public(&trusted), public(&stranger)],
        ..Settings::default()
    };
    let Some(mut forge) = Gitea::start_with(settings) else {
        return;
    };
    forge.stop();
    forge.settings.trusted_keys.pop();
    forge.start_again();
    let scene = Scene::set(&forge);
    let checkout = Checkout::of(&forge, &scene.repository, &scene.robot_token);
    git(&checkout.path(), &["config", "gpg.format", "ssh"]).succeeds();
    let as_author = "--author=Alice <alice@localhost.test>";
    let signer = (
        forge.settings.signer_name.as_str(),
        forge.settings.signer_email.as_str(),
    );
    let cases = [
        ("good", &trusted, signer, true),
        ("strange", &stranger, signer, false),
        // The key alone counts, whoever is said to have committed.
        (
            "claimed",
            &trusted,
            ("Anybody", "anybody@localhost.test"),
            true,
        ),
    ];
    for (path, key, committer, is_verified) in cases {
        git(&checkout.path(), &["config", "user.signingKey", key]).succeeds();
        let commit = checkout.commit(path, committer, &["--gpg-sign", as_author]);
        checkout.push("main").succeeds();
        let path = format!("{}/git/commits/{commit}", scene.repository.api());
        let shown = forge.with_token(&scene.robot_token).read(&path);
        let verification = &shown["commit"]["verification"];
        assert_eq!(verification["verified"], is_verified, "{verification}");
        assert_eq!(text(&shown["commit"]["author"], "name"), "Alice");
    }
}

/// The forge wants a proof that it can only be given on its pages.
#[test]
fn a_commit_signed_by_a_key_that_somebody_only_added_is_not() {
    if tools::ssh_keygen().is_none() {
        return;
    }
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let keys = tempfile::TempDir::new().unwrap();
    let key = key(keys.path(), "own", 3);
    let public = fs::read_to_string(format!("{key}.pub")).unwrap();
    let added = json!({ "title": "own", "key": public });
    let owner = forge.with_token(&scene.owner_token);
    done(owner.send("POST", "/user/keys", &added), 201);
    let checkout = Checkout::of(forge, &scene.repository, &scene.owner_token);
    for (name, value) in [("gpg.format", "ssh"), ("user.signingKey", &key)] {
        git(&checkout.path(), &["config", name, value]).succeeds();
    }
    let email = text(&owner.read("/user"), "email");
    let commit = checkout.commit("a-file", (&scene.owner.login, &email), &["--gpg-sign"]);
    checkout.push("main").succeeds();
    let shown = owner.read(&format!("{}/git/commits/{commit}", scene.repository.api()));
    let verification = &shown["commit"]["verification"];
    assert_eq!(verification["verified"], false, "{verification}");
    assert_eq!(shown["committer"]["id"], scene.owner.id);
}

/// Writes a key for git to sign with, and its public half beside it; gives its path.
fn key(folder: &Path, name: &str, seed: u8) -> String {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
    let key = ssh_key::PrivateKey::from(pair);
    let path = folder.join(name);
    key.write_openssh_file(&path, ssh_key::LineEnding::LF)
        .unwrap();
    let public = key.public_key().to_openssh().unwrap();
    fs::write(path.with_extension("pub"), public).unwrap();
    path.to_str().unwrap().to_owned()
}
