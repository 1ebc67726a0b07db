//! `sidecargo doctor` on a real forge: what is good is called so, and what is not is told with its cure.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::{base64, done, number};
use super::beside::publish;
use super::gitea::Gitea;
use super::scene::{Repository, Visibility};
use super::setup::{Organisation, configuration, start};
use crate::common::cargos::{Sandbox, View};
use crate::common::ran::{Ran, run};
use crate::common::registry::{Registry, program};
use crate::common::watch::eventually;

/// A server on what `sidecargo init` made, and the configuration by which it is found.
struct Patient<'forge> {
    acme: Organisation<'forge>,
    registry: Registry,
}

impl<'forge> Patient<'forge> {
    fn new(forge: &'forge Gitea) -> Self {
        let acme = Organisation::make(forge);
        forge.join(&acme.reviewers, &acme.robot);
        let made = acme.init(&["--reviewers", "reviewers"]).succeeds();
        let scopes = ["write:repository", "read:organization", "read:user"];
        let token = forge.token(&acme.robot, &scopes).text;
        let config = configuration(&made);
        let registry = start(&acme, &config, &token);
        eventually("the forge has looked at the first push", || {
            (acme.read("")["empty"] == false).then_some(())
        });
        let url = format!("http://localhost:{}", registry.port);
        acme.tell(&url);
        let found = format!(
            "listen = \"127.0.0.1:{}\"\npublic_url = \"{url}\"\n{config}",
            registry.port
        );
        fs::write(acme.folder.path().join("sidecargo.toml"), found).unwrap();
        Self { acme, registry }
    }

    fn examine(&self, owner: &str) -> Ran {
        let mut command = Command::new(program());
        command
            .current_dir(self.acme.folder.path())
            .args(["doctor", "--config", "sidecargo.toml", "--data"])
            .arg(self.registry.data())
            .env("SIDECARGO_OWNER_TOKEN", owner);
        run(&mut command, b"")
    }

    /// What it says of this one thing, if the owner asks.
    #[track_caller]
    fn says(&self, what: &str) -> String {
        let ran = self.examine(&self.acme.owner_token);
        let line = ran.stdout.lines().find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("nothing of {what}: {ran}"))
            .to_owned()
    }
}

/// Signs of the findings, by what was looked at.
fn signs(ran: &Ran) -> Vec<(&str, &str)> {
    let parts = ran.stdout.lines().map(|line| {
        let (sign, rest) = line.split_once(' ').unwrap();
        (sign, rest.split_once(": ").unwrap().0.trim())
    });
    parts.collect()
}

#[test]
fn a_set_up_that_was_just_made_is_good() {
    let Some(forge) = Gitea::shared() else { return };
    let patient = Patient::new(forge);
    let all = patient.examine(&patient.acme.owner_token);
    // The shared forge trusts no key, and knows no application.
    let expected = [
        ("good", "git"),
        ("good", "store"),
        ("good", "who may read"),
        ("good", "keys"),
        ("good", "server"),
        ("good", "public address"),
        ("good", "forge"),
        ("good", "clock"),
        ("good", "secrets"),
        ("good", "index repository"),
        ("good", "robot"),
        ("good", "robot's view of people"),
        ("good", "owners"),
        ("good", "rights by teams"),
        ("mend", "signing"),
        ("good", "protection of the branch"),
        ("good", "reviewers"),
        ("good", "settings of the repository"),
        ("good", "webhook"),
        ("unknown", "sign-in"),
    ];
    assert_eq!(signs(&all), expected, "{all}");
    assert!(all.stdout.contains("TRUSTED_SSH_KEYS"), "{all}");
    assert!(!all.is_success(), "{all}");
    let robots = patient.examine("");
    let hidden = ("unknown", "protection of the branch");
    assert!(signs(&robots).contains(&hidden), "{robots}");
    assert!(signs(&robots).contains(&("unknown", "webhook")), "{robots}");
}

#[test]
fn a_git_that_lacks_something_is_told_what() {
    let folder = TempDir::new().unwrap();
    let git = folder.path().join("git");
    let forge = "[forge]\nurl = \"http://127.0.0.1:9\"\nrepository = \"acme/crates\"\n";
    let config = folder.path().join("sidecargo.toml");
    for (version, settings, sign, words) in [
        ("2.33.8", "", "mend", "is too old: it cannot answer clients"),
        ("2.37.7", "", "good", "git version 2.37.7"),
        (
            "2.37.7",
            forge,
            "mend",
            "is too old: it cannot try what a merge would be",
        ),
        ("2.38.0", forge, "good", "git version 2.38.0"),
    ] {
        fs::write(&git, format!("#!/bin/sh\necho git version {version}\n")).unwrap();
        fs::set_permissions(&git, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(&config, settings).unwrap();
        let mut command = Command::new(program());
        command
            .current_dir(folder.path())
            .args(["doctor", "--config", "sidecargo.toml"])
            .env("PATH", folder.path());
        let ran = run(&mut command, b"");
        let first = ran.stdout.lines().next().unwrap();
        let is_so = first.starts_with(sign) && first.contains("git: ") && first.contains(words);
        assert!(is_so, "{ran}");
    }
}

#[test]
fn what_somebody_changed_is_told_with_its_cure() {
    let Some(forge) = Gitea::shared() else { return };
    let mut patient = Patient::new(forge);
    let acme = &patient.acme;

    acme.change(
        "PATCH",
        "/branch_protections/main",
        &json!({ "enable_status_check": false }),
        200,
    );
    let said = patient.says("protection of the branch");
    assert!(
        said.starts_with("mend") && said.contains("enable_status_check"),
        "{said}"
    );
    for (key, other) in [("has_wiki", true), ("has_pull_requests", false)] {
        acme.change("PATCH", "", &json!({ key: other }), 200);
        let said = patient.says("settings of the repository");
        assert!(said.starts_with("mend") && said.contains(key), "{said}");
    }
    acme.change("DELETE", "/branch_protections/main", &Value::Null, 204);
    assert!(
        patient
            .says("protection of the branch")
            .contains("not protected")
    );
    let url = format!("http://localhost:{}", patient.registry.port);
    acme.tell("http://localhost:1");
    assert!(patient.says("webhook").contains("does not tell"));
    let file = acme.folder.path().join("sidecargo.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}told_at = \"http://localhost:1\"\n")).unwrap();
    let said = patient.says("webhook");
    assert!(
        said.starts_with("good") && said.contains("answered with 401"),
        "{said}"
    );
    // Whoever signs in shows nothing of their own there.
    fs::write(&file, format!("{before}client_id = \"registry\"\n")).unwrap();
    let said = patient.says("robot: ");
    assert!(
        said.starts_with("mend") && said.contains("must administer"),
        "{said}"
    );
    fs::write(&file, before).unwrap();
    acme.tell(&url);
    assert!(patient.says("webhook").starts_with("good"));
    let silent = json!({ "active": false });
    let hook = number(&acme.read("/hooks")[0], "id");
    acme.change("PATCH", &format!("/hooks/{hook}"), &silent, 200);
    assert!(patient.says("webhook").contains("does not tell"));

    let key = fs::read_dir(patient.registry.data().join("keys")).unwrap();
    let key = key.map(|entry| entry.unwrap().path()).next().unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(patient.says("keys").contains("chmod 600"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let token = acme.folder.path().join("forge-token");
    for (mode, sign) in [(0o666, "mend"), (0o604, "mend"), (0o640, "good")] {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
        let said = patient.says("secrets");
        assert!(said.starts_with(sign), "{mode:o}: {said}");
        let is_told = said.contains("(`forge.token_file`): `chmod 600` it");
        assert_eq!(is_told, sign == "mend", "{said}");
    }

    let known = patient.registry.data().join("forge-repository");
    let number = fs::read_to_string(&known).unwrap();
    fs::write(&known, "1000000\n").unwrap();
    let said = patient.says("index repository");
    let is_told = said.contains("another repository has the name of the index repository");
    assert!(said.starts_with("mend") && is_told, "{said}");
    fs::write(&known, number).unwrap();

    let robot = format!("/collaborators/{}", acme.robot.login);
    acme.change("PUT", &robot, &json!({ "permission": "read" }), 204);
    forge.leave(&acme.reviewers, &acme.robot);
    assert!(
        patient
            .says("robot: ")
            .contains("collaborator with `write`")
    );
    fs::write(acme.folder.path().join("forge-token"), "0".repeat(40)).unwrap();
    assert!(
        patient
            .says("index repository")
            .contains("`forge.token_file`")
    );
    fs::remove_file(acme.folder.path().join("forge-token")).unwrap();
    assert!(patient.says("robot: ").contains("forge-token"));

    patient.registry.stop();
    assert!(patient.says("server: ").contains("start `sidecargo serve`"));
}

#[test]
fn whatever_opens_the_branch_is_named() {
    let Some(forge) = Gitea::shared() else { return };
    let patient = Patient::new(forge);
    let acme = &patient.acme;
    let mallory = forge.user("mallory");
    let path = format!("/collaborators/{}", mallory.login);
    acme.change("PUT", &path, &json!({ "permission": "write" }), 204);
    let what = "protection of the branch";
    let good = patient.says(what);
    assert!(good.starts_with("good"), "{good}");
    let (mallory, both) = (
        json!([mallory.login]),
        json!([acme.robot.login, mallory.login]),
    );
    for (key, change) in [
        (
            "push_whitelist_usernames",
            json!({ "push_whitelist_usernames": both }),
        ),
        (
            "enable_force_push",
            json!({ "enable_push": true, "enable_force_push": true }),
        ),
        (
            "enable_merge_whitelist",
            json!({ "enable_merge_whitelist": false, "merge_whitelist_teams": [] }),
        ),
        (
            "merge_whitelist_usernames",
            json!({ "merge_whitelist_usernames": mallory }),
        ),
        (
            "enable_approvals_whitelist",
            json!({ "enable_approvals_whitelist": false }),
        ),
        (
            "approvals_whitelist_username",
            json!({ "approvals_whitelist_username": mallory }),
        ),
        (
            "unprotected_file_patterns",
            json!({ "unprotected_file_patterns": "*" }),
        ),
        (
            "block_on_outdated_branch",
            json!({ "block_on_outdated_branch": true }),
        ),
        (
            "require_signed_commits",
            json!({ "require_signed_commits": true }),
        ),
    ] {
        acme.change("PATCH", "/branch_protections/main", &change, 200);
        let said = patient.says(what);
        assert!(
            said.starts_with("mend") && said.contains(key),
            "{key}: {said}"
        );
        acme.init(&["--reviewers", "reviewers"]).succeeds();
        assert_eq!(patient.says(what), good, "{key}");
    }
    let older = json!({ "rule_name": "m*", "priority": -9, "enable_push": true });
    acme.change("POST", "/branch_protections", &older, 201);
    let said = patient.says(what);
    assert!(
        said.starts_with("mend") && said.contains("the rule `m*` comes before it"),
        "{said}"
    );
    acme.init(&["--reviewers", "reviewers"]).succeeds();
    assert_eq!(patient.says(what), good);
}

#[test]
fn reviewers_who_may_no_longer_merge_are_told() {
    let Some(forge) = Gitea::shared() else { return };
    let patient = Patient::new(forge);
    let Patient { acme, .. } = &patient;
    assert!(patient.says("reviewers: ").starts_with("good"));
    let units = json!({ "repo.code": "read", "repo.pulls": "read" });
    let weak = json!({ "name": "reviewers", "permission": "read", "units_map": units });
    let path = format!("/teams/{}", acme.reviewers.id);
    done(forge.admin().send("PATCH", &path, &weak), 200);
    let said = patient.says("reviewers: ");
    assert!(
        said.starts_with("mend") && said.contains("the right to write code"),
        "{said}"
    );
}

#[test]
fn an_empty_repository_is_called_so() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    let made = acme.init(&[]).succeeds();
    let token = forge
        .token(&acme.robot, &["write:repository", "read:user"])
        .text;
    fs::write(acme.folder.path().join("forge-token"), token).unwrap();
    fs::write(
        acme.folder.path().join("sidecargo.toml"),
        configuration(&made),
    )
    .unwrap();
    let mut command = Command::new(program());
    command
        .current_dir(acme.folder.path())
        .args(["doctor", "--config", "sidecargo.toml", "--data", "none"])
        .env("SIDECARGO_OWNER_TOKEN", &acme.owner_token);
    let ran = run(&mut command, b"");
    let found = signs(&ran);
    assert!(found.contains(&("mend", "index repository")), "{ran}");
    assert!(
        ran.stdout.contains("is empty, as the forge shows it"),
        "{ran}"
    );
    for hidden in ["signing", "protection of the branch"] {
        assert!(!found.iter().any(|(_, what)| *what == hidden), "{ran}");
    }
}

#[test]
fn of_a_branch_that_is_gone_nothing_else_is_said() {
    let Some(forge) = Gitea::shared() else { return };
    let patient = Patient::new(forge);
    let elsewhere = json!({ "name": "trunk" });
    patient
        .acme
        .change("PATCH", "/branches/main", &elsewhere, 204);
    let ran = patient.examine(&patient.acme.owner_token);
    let found = signs(&ran);
    assert!(found.contains(&("mend", "branch")), "{ran}");
    for hidden in ["signing", "protection of the branch"] {
        assert!(!found.iter().any(|(_, what)| *what == hidden), "{ran}");
    }
}

#[test]
fn a_public_repository_that_nobody_is_shown_who_has_not_signed_in_is_called_so() {
    let Some(forge) = Gitea::shared() else { return };
    let patient = Patient::new(forge);
    let words = "only to those who have signed in";
    let limited = |visibility: &str| {
        let path = format!("/orgs/{}", patient.acme.name);
        let change = json!({ "visibility": visibility });
        done(forge.admin().send("PATCH", &path, &change), 200);
        patient.says("index repository")
    };
    assert!(!limited("limited").contains(words), "it is private anyway");
    patient
        .acme
        .change("PATCH", "", &json!({ "private": false }), 200);
    let said = limited("limited");
    assert!(said.starts_with("good") && said.contains(words), "{said}");
    assert!(!limited("public").contains(words));
}

#[test]
fn owners_whom_the_forge_does_not_know_or_show_are_told() {
    let Some(forge) = Gitea::shared() else { return };
    let patient = Patient::new(forge);
    let Patient { acme, registry } = &patient;
    // As one that comes from a registry without a forge.
    let person = Sandbox::stable(registry, View::Sparse);
    person.configure("[registry]\nglobal-credential-providers = [\"cargo:token\"]\n");
    person.login(&registry.token("alice"));
    publish(&person, "0.1.0").succeeds();
    let said = patient.says("owners: ");
    let start = "mend     owners: the owners of `greeter` have no numbers";
    assert!(
        said.starts_with(start) && said.contains("/api/v1/users/alice"),
        "{said}"
    );

    let others = forge.organisation("others");
    let team = forge.team(&others, "Platform", "write");
    acme.change("DELETE", "/branch_protections/main", &Value::Null, 204);
    let put = |file: &str, text: &str| {
        let path = format!("/contents/{file}");
        let change = json!({
            "content": base64(text),
            "sha": acme.read(&path)["sha"],
            "message": "give owners numbers",
        });
        acme.change("PUT", &path, &change, 200);
    };
    put("policy.toml", "create = [\"rita\"]\n");
    eventually("the policy is in force", || {
        let said = patient.says("owners: ");
        let names = "mend     owners: `create` of `policy.toml` names rita (without a number), ";
        said.starts_with(names).then_some(())
    });
    put("policy.toml", "");
    let text = format!(
        "users = [{{ login = \"rita\", id = 7 }}]\nteams = [{{ name = \"{others}:Platform\", id = {} }}]\n",
        team.id
    );
    put("owners/gr/ee/greeter.toml", &text);
    eventually("the change is in force", || {
        patient.says("owners: ").starts_with("good").then_some(())
    });
    let said = patient.says("teams of owners");
    let hidden = format!(
        "the robot is not told who is in `{others}:Platform (number {})`",
        team.id
    );
    assert!(
        said.starts_with("unknown") && said.contains(&hidden),
        "{said}"
    );
    let file = acme.folder.path().join("sidecargo.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}client_id = \"registry\"\n")).unwrap();
    // In the organisation it is told no more.
    forge.join(&forge.team(&others, "Robots", "read"), &acme.robot);
    let said = patient.says("teams of owners");
    assert!(said.starts_with("mend") && said.contains(&hidden), "{said}");
    forge.join(&team, &acme.robot);
    let said = patient.says("teams of owners");
    assert!(said.starts_with("good"), "{said}");

    // Who is called so has another number, or has none.
    let said = patient.says("names of those who own");
    assert!(
        said.starts_with("good") && said.contains("1 of 2"),
        "{said}"
    );
    let alice = forge.user("alice");
    let text = text.replace("\"rita\", id = 7", &format!("\"{}\", id = 7", alice.login));
    put("owners/gr/ee/greeter.toml", &text);
    let number = forge.admin().read(&format!("/users/{}", alice.login))["id"].take();
    let strayed = format!(
        "`{} in owners/gr/ee/greeter.toml, who is number {number} and not 7`",
        alice.login
    );
    eventually("the change is in force", || {
        let said = patient.says("names of those who own");
        (said.starts_with("mend") && said.contains(&strayed)).then_some(())
    });
}

#[test]
fn rights_by_teams_that_the_robot_is_not_told_of_are_named() {
    let Some(forge) = Gitea::shared() else { return };
    let patient = Patient::new(forge);
    let Patient { acme, .. } = &patient;
    let what = "rights by teams";
    let good = patient.says(what);
    assert!(
        good.starts_with("good") && good.contains("(1 of 1 teams)"),
        "{good}"
    );
    let index = Repository {
        owner: acme.name.clone(),
        name: "crates".to_owned(),
        id: number(&acme.read(""), "id"),
    };
    let readers = forge.team_with(&acme.name, "Readers", &json!({ "repo.code": "read" }));
    let triage = forge.team_with(&acme.name, "Triage", &json!({ "repo.issues": "write" }));
    for team in [&readers, &triage] {
        forge.open_to(team, &index);
    }
    let hidden = format!(
        "the robot is not told who is in `Readers (number {})`",
        readers.id
    );
    let said = patient.says(what);
    assert!(
        said.starts_with("unknown") && said.contains(&hidden),
        "{said}"
    );
    assert!(!said.contains("Triage"), "{said}");
    let file = acme.folder.path().join("sidecargo.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}client_id = \"registry\"\n")).unwrap();
    let said = patient.says(what);
    assert!(said.starts_with("mend") && said.contains(&hidden), "{said}");
    forge.join(&readers, &acme.robot);
    let said = patient.says(what);
    assert!(
        said.starts_with("good") && said.contains("(2 of 2 teams)"),
        "{said}"
    );

    // Where the sources of a crate are, it must administer besides.
    let person = Sandbox::stable(&patient.registry, View::Sparse);
    person.configure("[registry]\nglobal-credential-providers = [\"cargo:token\"]\n");
    person.login(&patient.registry.token("alice"));
    publish(&person, "0.1.0").succeeds();
    let sources = forge.repository(&acme.name, "greeter", Visibility::Private);
    let writers = forge.team_with(&acme.name, "Writers", &json!({ "repo.code": "write" }));
    for team in [&readers, &writers] {
        forge.open_to(team, &sources);
    }
    acme.change("DELETE", "/branch_protections/main", &Value::Null, 204);
    let path = "/contents/owners/gr/ee/greeter.toml";
    let text = format!(
        "users = [{{ login = \"rita\", id = 7 }}]\nrepository = {{ name = \"{}/greeter\", id = {} }}\n",
        acme.name, sources.id
    );
    let sha = acme.read(path)["sha"].clone();
    let change = json!({ "content": base64(&text), "sha": sha, "message": "link greeter" });
    acme.change("PUT", path, &change, 200);
    let foreign = format!("not told who pushes to `{}/greeter`", acme.name);
    eventually("the robot does not administer it", || {
        let said = patient.says(what);
        (said.starts_with("mend") && said.contains(&foreign)).then_some(())
    });
    forge.collaborate(&sources, &acme.robot, "admin");
    let said = patient.says(what);
    let hidden = format!("who is in `Writers (number {})`", writers.id);
    assert!(said.starts_with("mend") && said.contains(&hidden), "{said}");
    assert!(!said.contains("who pushes to"), "{said}");
    forge.join(&writers, &acme.robot);
    let said = patient.says(what);
    assert!(
        said.starts_with("good") && said.contains("(3 of 3 teams)"),
        "{said}"
    );
}

#[test]
fn a_machine_without_a_forge_is_looked_at_too() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("listen = \"127.0.0.1:{}\"\n", registry.port);
    fs::write(folder.path().join("sidecargo.toml"), listen).unwrap();
    let examine = |data: &std::path::Path| {
        let mut command = Command::new(program());
        command
            .current_dir(folder.path())
            .args(["doctor", "--config", "sidecargo.toml", "--data"])
            .arg(data);
        run(&mut command, b"")
    };
    let good = examine(&registry.data()).succeeds();
    let found = signs(&good);
    assert_eq!(found.len(), 6, "{good}");
    assert!(found.iter().all(|(sign, _)| *sign == "good"), "{good}");
    let none = examine(folder.path());
    assert!(!none.is_success(), "{none}");
    assert!(none.stdout.contains("there is no registry"), "{none}");
}
