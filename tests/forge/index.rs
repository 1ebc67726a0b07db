//! The index on a real forge: real cargos publish, people merge, the forge says no or is away.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::api::{base64, done, number, text};
use super::beside::{Beside, DEVELOPER, HOOK_SECRET, Wanted, publish};
use super::gitea::Gitea;
use super::scene::{Repository, Visibility};
use super::trouble::{event, pull_request};
use crate::common::cargos::View;
use crate::common::git;
use crate::common::http::{get, request};
use crate::common::metrics::Metrics;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::upload::{Release, frame, manifest, metadata, tarball};
use crate::common::watch::eventually;

#[test]
fn what_cargo_publishes_is_in_the_forges_history() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let first = beside.tip();
    let rule = json!({
        "enable_push": true,
        "enable_push_whitelist": true,
        "push_whitelist_usernames": [beside.robot.login],
    });
    forge.protect(&beside.repository, rule);
    for (view, version) in [(View::Sparse, "0.1.0"), (View::Git, "0.1.1")] {
        let person = beside.person(view);
        publish(&person, version).succeeds();
        let program = Project::program("hello", "greeter::greeting();").write(&person.work());
        let add = ["add", "greeter", "--registry", "crates"];
        person.cargo(&program, &add).succeeds();
        person.cargo(&program, &["build"]).succeeds();
    }
    let tip = beside.tip();
    let commits = format!("{}/commits?sha=main&stat=false", beside.repository.api());
    let commits = forge.anonymous().read(&commits);
    let subjects: Vec<String> = commits
        .as_array()
        .unwrap()
        .iter()
        .map(|commit| {
            text(&commit["commit"], "message")
                .lines()
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        subjects,
        [
            "publish greeter 0.1.1",
            "publish greeter 0.1.0",
            "found the registry crates"
        ]
    );
    assert_eq!(text(&commits[0], "sha"), tip);
    assert_eq!(text(&commits[2], "sha"), first);
    assert_eq!(text(&commits[0]["commit"]["author"], "name"), "alice");
    // Who clones it from the forge has a history that is sound.
    let folder = TempDir::new().unwrap();
    let url = beside.repository.url(forge);
    git::git(
        folder.path(),
        &["clone", "--quiet", "--bare", &url, "clone.git"],
    )
    .succeeds();
    git::assert_sound(&folder.path().join("clone.git"));
    // And nobody else puts anything there.
    let owner = forge.token(&beside.owner, &["all"]).text;
    let change = json!({ "content": "", "message": "by hand" });
    let path = format!("{}/contents/1/x", beside.repository.api());
    let refused = forge.with_token(&owner).send("POST", &path, &change);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(beside.tip(), tip);
}

#[test]
fn what_is_merged_on_the_forge_is_served_or_stops_writes() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let person = beside.person(View::Sparse);
    publish(&person, "0.1.0").succeeds();
    let owner = forge.token(&beside.owner, &["all"]).text;
    let owner = forge.with_token(&owner);
    let path = format!("{}/contents/gr/ee/greeter", beside.repository.api());
    let edit = |branch: &str, from: &str, to: &str| {
        let file = owner.read(&format!("{path}?ref=main"));
        let change = json!({
            "content": base64(&beside.lines().replacen(from, to, 1)),
            "sha": text(&file, "sha"),
            "message": "edit the index",
            "new_branch": branch,
        });
        done(owner.send("PUT", &path, &change), 200);
        let pull_request = owner.open_pull_request(&beside.repository, branch);
        let merged = owner.squash(&beside.repository, pull_request);
        assert_eq!(merged.status, 200, "{merged:?}");
    };
    edit("yank", "\"yanked\":false", "\"yanked\":true");
    eventually("the yank is served", || {
        beside.lines().contains("\"yanked\":true").then_some(())
    });
    beside.tip();
    let pushes = "sidecargo_index_push_seconds_count";
    assert!(Metrics::of(&beside.registry).get(pushes) >= 1.0);

    let good = beside.lines();
    edit("bad", "\"cksum\":\"", "\"cksum\":\"0");
    let refusal = eventually("writes stop", || {
        let ready = get("/readyz").send(beside.registry.port);
        (ready.status == 503).then(|| ready.refusal())
    });
    assert!(refusal.contains("breaks a rule of the index"), "{refusal}");
    assert!(
        refusal.contains(&forge.tip(&beside.repository)),
        "{refusal}"
    );
    assert_eq!(beside.lines(), good);
    publish(&person, "0.1.1").fails_with("breaks a rule of the index");
    let file = owner.read(&format!("{path}?ref=main"));
    let mend = json!({
        "content": base64(&good),
        "sha": text(&file, "sha"),
        "message": "put it back",
    });
    done(owner.send("PUT", &path, &mend), 200);
    publish(&person, "0.1.1").succeeds();
    beside.tip();
}

#[test]
fn the_forge_tells_of_a_push_at_once_and_nobody_else_does() {
    let Some(forge) = Gitea::shared() else { return };
    // So that it is not seen by looking.
    let beside = Beside::start_and_look_each(forge, 3600);
    let person = beside.person(View::Sparse);
    publish(&person, "0.1.0").succeeds();
    let port = beside.registry.port;
    let url = format!("http://127.0.0.1:{port}/crates/webhook");
    forge.tell(&beside.repository, &url, HOOK_SECRET, &["push"]);
    let owner = forge.token(&beside.owner, &["all"]).text;
    let owner = forge.with_token(&owner);
    let path = format!("{}/contents/gr/ee/greeter", beside.repository.api());
    let file = owner.read(&path);
    let change = json!({
        "content": base64(&beside.lines().replacen("\"yanked\":false", "\"yanked\":true", 1)),
        "sha": text(&file, "sha"),
        "message": "yank by hand",
    });
    done(owner.send("PUT", &path, &change), 200);
    eventually("the push is heard of", || {
        beside.lines().contains("\"yanked\":true").then_some(())
    });
    beside.tip();
    for signature in ["", "sha256=", &format!("sha256={}", "0".repeat(64))] {
        let forged = request("POST", "/crates/webhook")
            .header("X-GitHub-Event", "push")
            .header("X-Hub-Signature-256", signature)
            .body("{}");
        let reply = forged.send(port);
        assert_eq!(reply.status, 401, "{signature}: {reply:?}");
        assert!(
            reply
                .refusal()
                .contains("not signed with this registry's secret")
        );
    }
}

#[test]
fn a_pull_request_is_judged_before_it_is_merged() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start_and_look_each(forge, 3600);
    let person = beside.person(View::Sparse);
    publish(&person, "0.1.0").succeeds();
    let lines = beside.lines();
    let port = beside.registry.port;
    let url = format!("http://127.0.0.1:{port}/crates/webhook");
    let events = ["push", "pull_request"];
    forge.tell(&beside.repository, &url, HOOK_SECRET, &events);
    let rule = json!({
        "enable_push": true,
        "enable_push_whitelist": true,
        "push_whitelist_usernames": [beside.robot.login],
        "enable_status_check": true,
        "status_check_contexts": ["sidecargo"],
    });
    forge.protect(&beside.repository, rule);
    let owner = forge.token(&beside.owner, &["all"]).text;
    let owner = forge.with_token(&owner);
    let api = beside.repository.api();
    let path = format!("{api}/contents/gr/ee/greeter");
    let open = |lines: &str, branch: &str, from: &str, to: &str| {
        let file = owner.read(&path);
        let change = json!({
            "content": base64(&lines.replacen(from, to, 1)),
            "sha": text(&file, "sha"),
            "message": "edit the index",
            "new_branch": branch,
        });
        let made = done(owner.send("PUT", &path, &change), 200);
        let number = owner.open_pull_request(&beside.repository, branch);
        (number, text(&made["commit"], "sha"))
    };
    let status_of = |head: &str| {
        eventually("it is judged", || {
            let shown = owner.read(&format!("{api}/commits/{head}/status"));
            let of_ours = shown["statuses"]
                .as_array()?
                .iter()
                .find(|status| status["context"] == "sidecargo")?;
            Some((text(of_ours, "status"), text(of_ours, "description")))
        })
    };
    // One that cannot be judged now is judged later.
    let review = beside.registry.repository().join("review");
    fs::write(&review, "").unwrap();
    let (_, unjudged) = open(&lines, "unjudged", "\"cksum\":\"", "\"cksum\":\"0");
    let (state, words) = status_of(&unjudged);
    assert_eq!(state, "error", "{words}");
    fs::remove_file(&review).unwrap();
    beside.registry.stop();
    // While nobody hears of it.
    let (bad, head) = open(&lines, "bad", "\"cksum\":\"", "\"cksum\":\"0");
    beside.registry.start_again();
    let (state, words) = status_of(&head);
    assert_eq!(state, "failure", "{words}");
    // The commit that people know, not the merge that was made to judge it.
    let start = format!("to merge {head} breaks a rule of the index: ");
    assert!(words.starts_with(&start), "{words}");
    eventually("what could not be judged is", || {
        (status_of(&unjudged).0 == "failure").then_some(())
    });
    let refused = owner.squash(&beside.repository, bad);
    assert_eq!(refused.status, 405, "{refused:?}");
    // Meanwhile somebody publishes: what counts is what a merge would make.
    publish(&person, "0.1.1").succeeds();
    let (good, head) = open(
        &beside.lines(),
        "good",
        "\"yanked\":false",
        "\"yanked\":true",
    );
    let (state, words) = status_of(&head);
    assert_eq!(
        (state.as_str(), words.as_str()),
        ("success", "keeps the rules of the index")
    );
    eventually("the forge merges it", || {
        let merged = owner.squash(&beside.repository, good);
        (merged.status == 200).then_some(())
    });
    eventually("the merge is heard of", || {
        beside.lines().contains("\"yanked\":true").then_some(())
    });
    beside.tip();
    eventually("nothing is left of what was judged, then and again", || {
        (!beside.registry.repository().join("review").exists()).then_some(())
    });
}

#[test]
fn a_forge_that_takes_nothing_says_why_in_cargos_own_terminal() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let person = beside.person(View::Sparse);
    publish(&person, "0.1.0").succeeds();
    let of_forge = beside.developer(&beside.token(&forge.user("alice"), &DEVELOPER));
    let tip = beside.tip();
    forge.archive(&beside.repository, true);
    publish(&person, "0.1.1").fails_with("This repo is archived");
    publish(&of_forge, "0.1.1").fails_with("the index repository is archived");
    let ready = || {
        let told = get("/readyz").send(beside.registry.port).succeeds();
        told.text().to_owned()
    };
    let said = ready();
    let start = "ok for reads; nothing is written: so it was at the last push, 20";
    assert!(said.starts_with(start), "{said}");
    assert!(said.contains("This repo is archived"), "{said}");
    forge.archive(&beside.repository, false);
    // Only a push tells that it is over: until then it says of when it is.
    assert_eq!(ready(), said);
    forge.collaborate(&beside.repository, &beside.robot, "read");
    publish(&person, "0.1.1").fails_with("permission denied for writing");
    forge.collaborate(&beside.repository, &beside.robot, "write");
    let read_only = forge.token(&beside.robot, &["read:repository"]).text;
    let file = beside.secret.path().join("token");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, read_only).unwrap();
    publish(&person, "0.1.1").fails_with("403 Forbidden");
    fs::write(&file, "0".repeat(40)).unwrap();
    publish(&person, "0.1.1").fails_with("401 Unauthorized");
    fs::write(&file, &good).unwrap();
    forge.block(&beside.robot, true);
    publish(&person, "0.1.1").fails_with("the account may not sign in");
    forge.block(&beside.robot, false);
    assert_eq!(beside.tip(), tip);
    publish(&person, "0.1.1").succeeds();
    assert_eq!(ready(), "ok\n");
    // It is found under another name, too.
    let renamed = forge.rename(&beside.repository, "boxes");
    publish(&person, "0.1.2").succeeds();
    assert_eq!(forge.tip(&renamed), git::tip(&beside.registry.repository()));
    assert!(
        !beside.registry.log().contains(good.trim()),
        "the token is in the log"
    );
}

#[test]
fn the_index_repository_is_found_where_its_owner_has_another_name_too() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start(forge);
    let alice = forge.user("alice");
    let renamed = forge.rename(&beside.repository, "boxes");
    let owner = forge.rename_user(&beside.owner, "olivia");
    let moved = Repository {
        owner: owner.login,
        ..renamed
    };
    let local = beside.person(View::Sparse);
    let reads = beside.token(&alice, &DEVELOPER);
    let eve = beside.token(&forge.user("eve"), &DEVELOPER);
    for version in ["0.1.0", "0.1.1"] {
        publish(&local, version).succeeds();
        // Whose token that is, the forge says.
        publish(&beside.developer(&reads), "0.2.0").fails_with("is not an owner");
        assert_eq!(forge.tip(&moved), git::tip(&beside.registry.repository()));
        beside.registry.stop();
        beside.registry.start_again();
    }
    // Who may read is asked there, too.
    forge.show(&moved, Visibility::Private);
    eventually("nobody reads without a token", || {
        let config = get("/crates/index/config.json");
        (config.send(beside.registry.port).status == 401).then_some(())
    });
    forge.collaborate(&moved, &alice, "read");
    for (token, status) in [(&reads, 200), (&eve, 403)] {
        let read = beside.read(token);
        assert_eq!(read.status, status, "{read:?}");
    }
}

#[test]
fn whoever_takes_the_name_of_the_index_repository_has_no_part_in_it() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start_as(forge, &Wanted::private());
    let person = beside.developer(&beside.registry.token("alice"));
    publish(&person, "0.1.0").succeeds();
    let good = beside.tip();
    let backup = beside.secret.path().join("backup");
    let copy = backup.to_str().unwrap();
    beside.registry.run(&["backup", copy]).succeeds();
    // Its owner gets another name, and somebody else the old one, with a copy of all that they could read.
    let freed = beside.owner.login.clone();
    forge.rename_user(&beside.owner, "olivia");
    let thief = forge.account(&freed);
    let made = json!({ "name": "crates", "private": false, "default_branch": "main" });
    let made = forge
        .admin()
        .send("POST", &format!("/admin/users/{freed}/repos"), &made);
    let theirs = Repository {
        id: number(&done(made, 201), "id"),
        ..beside.repository.clone()
    };
    forge.collaborate(&theirs, &beside.robot, "write");
    let token = beside.token(&thief, &["all"]);
    let header = format!("http.extraHeader=Authorization: token {token}");
    let push = ["-c", &header, "push", "--quiet", &theirs.url(forge), "main"];
    git::git(&beside.registry.repository(), &push).succeeds();
    let caller = forge.with_token(&token);
    eventually("the forge has looked at the push", || {
        (caller.read(&theirs.api())["empty"] == false).then_some(())
    });
    let path = format!("{}/contents/README.md", theirs.api());
    let sha = text(&caller.read(&path), "sha");
    let mut change = json!({ "content": base64("theirs"), "sha": sha, "message": "theirs" });
    change["new_branch"] = json!("proposed");
    done(caller.send("PUT", &path, &change), 200);
    let pull = json!({ "head": "proposed", "base": "main", "title": "theirs" });
    let pull = caller.send("POST", &format!("{}/pulls", theirs.api()), &pull);
    let head = text(&done(pull, 201)["head"], "sha");
    change.as_object_mut().unwrap().remove("new_branch");
    done(caller.send("PUT", &path, &change), 200);

    // As it was, after a start, and where it is restored.
    for round in 0..3 {
        let read = beside.read(&token);
        assert_eq!(read.status, 403, "{read:?}");
        publish(&person, "0.2.0")
            .fails_with("another repository has the name of the index repository");
        assert_eq!(git::tip(&beside.registry.repository()), good);
        beside.registry.stop();
        if round == 1 {
            let data = beside.registry.data();
            fs::rename(&data, data.with_extension("lost")).unwrap();
            beside.registry.run(&["restore", copy]).succeeds();
        }
        beside.registry.start_again();
    }
    let known = beside.registry.data().join("forge-repository");
    let known = fs::read_to_string(known).unwrap();
    assert_eq!(known.trim(), beside.repository.id.to_string());
    // A start judges all pull requests that are open, but none of another repository.
    // Nor is one judged of which the forge tells.
    let told = event("pull_request", HOOK_SECRET, &pull_request(1, &head));
    told.send(beside.registry.port).succeeds();
    for said in ["no pull request is judged", "a pull request is left out"] {
        eventually(said, || beside.registry.log().contains(said).then_some(()));
    }
    let said = caller.read(&format!("{}/commits/{head}/status", theirs.api()));
    assert_eq!(said["total_count"], 0, "{said}");
    assert!(!beside.registry.log().contains("a pull request was judged"));
}

#[test]
fn a_repository_that_is_no_index_leaves_its_name_to_the_next() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start(forge);
    let owner = beside.owner.login.clone();
    beside.registry.stop();
    fs::remove_dir_all(beside.registry.data()).unwrap();
    let config = beside.config.replace("/crates\"", "/boxes\"");
    fs::write(beside.registry.config_path(), &config).unwrap();
    let path = beside.registry.config_path();
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config",
        path.to_str().unwrap(),
    ];
    let wrong = forge.repository(&owner, "boxes", Visibility::Public);
    forge.collaborate(&wrong, &beside.robot, "write");
    let said = beside.registry.run(&serve);
    said.fails_with("use an empty repository, without a README");
    let gone = forge.admin().send("DELETE", &wrong.api(), &json!({}));
    assert_eq!(gone.status, 204, "{gone:?}");
    let right = forge.empty_repository(&owner, "boxes", Visibility::Public);
    forge.collaborate(&right, &beside.robot, "write");
    beside.registry.start_again_with(&config);
    let known = beside.registry.data().join("forge-repository");
    let known = fs::read_to_string(known).unwrap();
    assert_eq!(known.trim(), right.id.to_string());
}

#[test]
fn beside_an_index_nobody_has_a_right_by_a_repository_that_may_be_another() {
    let Some(forge) = Gitea::shared() else { return };
    let wanted = Wanted {
        visibility: Visibility::Private,
        ..Wanted::default()
    };
    let mut beside = Beside::start_as(forge, &wanted);
    let alice = forge.user("alice");
    let good = beside.tip();
    beside.registry.stop();
    // As in a backup that was taken before the number was known.
    let known = beside.registry.data().join("forge-repository");
    fs::remove_file(&known).unwrap();
    let right = forge.rename(&beside.repository, "boxes");
    let other = forge.repository(&beside.owner.login, "crates", Visibility::Public);
    forge.collaborate(&other, &beside.robot, "write");
    forge.collaborate(&right, &alice, "read");
    let eve = beside.token(&forge.user("eve"), &DEVELOPER);
    beside.registry.start_again();
    let anonymous = get("/crates/index/config.json").send(beside.registry.port);
    assert_eq!(anonymous.status, 401, "{anonymous:?}");
    let read = beside.read(&eve);
    assert_eq!(read.status, 503, "{read:?}");
    assert!(read.text().contains("it is not known yet"), "{read:?}");
    assert_eq!(git::tip(&beside.registry.repository()), good);
    assert!(!known.exists());
    // The right one shows itself by its branch.
    beside.registry.stop();
    let config = beside.config.replace("/crates\"", "/boxes\"");
    beside.registry.start_again_with(&config);
    let alice = beside.token(&alice, &DEVELOPER);
    assert_eq!(beside.read(&alice).status, 200);
    let known = fs::read_to_string(known).unwrap();
    assert_eq!(known.trim(), right.id.to_string());
}

#[test]
fn a_restored_registry_knows_its_repository_before_all_crate_files_are_back() {
    let Some(forge) = Gitea::shared() else { return };
    // One that was hidden meanwhile is closed, and its index cannot say so before they are.
    for wanted in [Wanted::private(), Wanted::default()] {
        let mut beside = Beside::start_as(forge, &wanted);
        let alice = forge.user("alice");
        let person = beside.developer(&beside.registry.token("alice"));
        publish(&person, "0.1.0").succeeds();
        let backup = beside.secret.path().join("backup");
        let copy = backup.to_str().unwrap();
        beside.registry.run(&["backup", copy]).succeeds();
        publish(&person, "0.2.0").succeeds();
        beside.registry.stop();
        let data = beside.registry.data();
        fs::rename(&data, data.with_extension("lost")).unwrap();
        forge.show(&beside.repository, Visibility::Private);
        forge.collaborate(&beside.repository, &alice, "read");
        beside.registry.run(&["restore", copy]).succeeds();
        let known = data.join("forge-repository");
        // As in a backup that was taken before the number was known.
        fs::remove_file(&known).unwrap();
        beside.registry.start_again();
        let ready = get("/readyz")
            .token(&beside.registry.token("alice"))
            .send(beside.registry.port);
        assert_eq!(ready.status, 503, "{ready:?}");
        let alice = beside.token(&alice, &DEVELOPER);
        let config = beside.read(&alice);
        assert!(config.text().contains("auth-required"), "{config:?}");
        let known = fs::read_to_string(known).unwrap();
        assert_eq!(known.trim(), beside.repository.id.to_string());
        eventually("the very same file is back", || {
            // The first that brings it may be told of what was known a moment before.
            let _ = publish(&person, "0.2.0");
            let ready = get("/readyz").send(beside.registry.port);
            (ready.status == 200).then_some(())
        });
        eventually("the index says who may read", || {
            let config = beside.file("config.json");
            config.contains("auth-required").then_some(())
        });
        beside.tip();
    }
}

#[test]
fn the_forge_shows_each_commit_of_the_registry_as_verified() {
    let Some(mut forge) = Gitea::start() else {
        return;
    };
    let (registry, repository, person, _secret) = {
        let beside = Beside::start(&forge);
        let person = beside.person(View::Sparse);
        let Beside {
            registry,
            repository,
            secret,
            ..
        } = beside;
        (registry, repository, person, secret)
    };
    let show = ["show", "main:allowed_signers"];
    let signers = git::git(&registry.repository(), &show).succeeds();
    let (_, key) = signers.stdout.split_once("ssh-ed25519 ").unwrap();
    forge.stop();
    forge.settings.trusted_keys = vec![format!("ssh-ed25519 {}", key.trim())];
    forge.start_again();
    publish(&person, "0.1.0").succeeds();
    let tip = forge.tip(&repository);
    let shown = forge
        .admin()
        .read(&format!("{}/git/commits/{tip}", repository.api()));
    assert_eq!(shown["commit"]["verification"]["verified"], true, "{shown}");
    assert_eq!(text(&shown["commit"]["author"], "name"), "alice");
}

#[test]
fn the_page_about_tokens_names_those_of_the_forge() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let page = get("/crates/me").send(beside.registry.port).succeeds();
    for said in [
        "write:repository",
        "read:user",
        "read:repository",
        &forge.url(),
    ] {
        assert!(page.text().contains(said), "{said}: {}", page.text());
    }
}

#[test]
fn a_dependency_by_the_forges_own_address_is_one_on_this_registry() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    publish(&beside.person(View::Sparse), "0.1.0").succeeds();
    let own = beside.repository.url(forge);
    let manifest = manifest("caller", "1.0.0")
        + &format!("[dependencies.greeter]\nversion = \"^0.1\"\nregistry-index = \"{own}\"\n");
    let files = [
        ("Cargo.toml", manifest.as_bytes()),
        ("src/lib.rs", b"".as_slice()),
    ];
    let mut about = metadata("caller", "1.0.0");
    about["deps"] = json!([{
        "name": "greeter", "version_req": "^0.1", "registry": own, "kind": "normal", "optional": false,
        "default_features": true, "features": [], "target": null, "explicit_name_in_toml": null,
    }]);
    let body = frame(
        about.to_string().as_bytes(),
        &tarball("caller", "1.0.0", &files),
    );
    request("PUT", "/crates/api/v1/crates/new")
        .token(&beside.registry.token("alice"))
        .body(body)
        .send(beside.registry.port)
        .succeeds();
    let line = get("/crates/index/ca/ll/caller").send(beside.registry.port);
    let line = line.succeeds().json();
    assert_eq!(line["deps"][0]["registry"], json!(null), "{line}");
}

#[test]
fn reads_go_on_while_the_forge_is_away() {
    let Some(mut forge) = Gitea::start() else {
        return;
    };
    let (person, mut registry, _secret, tip) = {
        let beside = Beside::start(&forge);
        let person = beside.person(View::Sparse);
        publish(&person, "0.1.0").succeeds();
        let tip = beside.tip();
        let Beside {
            registry, secret, ..
        } = beside;
        (person, registry, secret, tip)
    };
    forge.stop();
    publish(&person, "0.1.1").fails_with("the forge cannot be reached");
    let program = Project::program("hello", "greeter::greeting();").write(&person.work());
    let add = ["add", "greeter", "--registry", "crates"];
    person.cargo(&program, &add).succeeds();
    person.cargo(&program, &["build"]).succeeds();
    let says_so = |registry: &Registry| {
        eventually("it says so", || {
            let ready = get("/readyz").send(registry.port);
            assert_eq!(ready.status, 200, "{ready:?}");
            let text = ready.text();
            text.contains("the forge cannot be reached").then_some(())
        });
    };
    says_so(&registry);
    assert_eq!(git::tip(&registry.repository()), tip);
    // A start needs it no more, though nobody has said since whose the name of the index repository is.
    registry.stop();
    registry.start_again();
    says_so(&registry);
    person.cargo(&program, &["update"]).succeeds();
    forge.start_again();
    publish(&person, "0.1.1").succeeds();
}

#[test]
fn what_the_registry_could_not_write_takes_nothing_from_a_rate() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    publish(&beside.person(View::Sparse), "0.1.0").succeeds();
    let policy = include_str!("../../index-template/policy.toml");
    let rate = "[rates]\nnew_versions = { burst = 1, per_hour = 1 }";
    beside.put("policy.toml", &policy.replace("[rates]", rate));
    let token = beside.registry.token("alice");
    let publish =
        |version: &str| Release::new("greeter", version).publish(beside.registry.port, &token);
    forge.archive(&beside.repository, true);
    for _ in 0..3 {
        let refused = publish("0.2.0");
        assert_eq!(refused.status, 503, "{refused:?}");
    }
    forge.archive(&beside.repository, false);
    publish("0.2.0").succeeds();
    let refused = publish("0.3.0");
    assert_eq!(refused.status, 429, "{refused:?}");
}
