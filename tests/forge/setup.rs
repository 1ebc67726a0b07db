//! `sidecargo init` on a real forge: what it makes, and that it holds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::{done, number, text};
use super::between::{Between, Step, Trouble};
use super::gitea::Gitea;
use super::scene::{Repository, Team, User, Visibility};
use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::project::Project;
use crate::common::ran::{Ran, run};
use crate::common::registry::{Registry, program};
use crate::common::watch::eventually;

/// An organisation with an owner, reviewers and an account for the server.
pub struct Organisation<'forge> {
    forge: &'forge Gitea,
    pub name: String,
    pub owner_token: String,
    reviewer: User,
    pub robot: User,
    pub reviewers: Team,
    pub folder: TempDir,
}

impl<'forge> Organisation<'forge> {
    pub fn make(forge: &'forge Gitea) -> Self {
        let name = forge.organisation("acme");
        let (reviewer, robot) = (forge.user("rita"), forge.user("robot"));
        let reviewers = forge.team(&name, "reviewers", "write");
        forge.join(&reviewers, &reviewer);
        Self {
            forge,
            owner_token: forge.admin_token.clone(),
            name,
            reviewer,
            robot,
            reviewers,
            folder: TempDir::new().unwrap(),
        }
    }

    pub fn init(&self, more: &[&str]) -> Ran {
        self.init_at(&self.forge.url(), more)
    }

    /// As [`Organisation::init`], at another address of the forge.
    fn init_at(&self, url: &str, more: &[&str]) -> Ran {
        let mut command = Command::new(program());
        command
            .current_dir(self.folder.path())
            .args(["init", "--forge", url, "--robot", &self.robot.login])
            .args(["--repository", &format!("{}/crates", self.name)])
            .args(["--public-url", "http://localhost:8642"])
            .args(more)
            .env("SIDECARGO_OWNER_TOKEN", &self.owner_token);
        run(&mut command, b"")
    }

    /// Lets the webhook that was made tell the server at `url`.
    #[track_caller]
    pub fn tell(&self, url: &str) {
        let secret = fs::read_to_string(self.folder.path().join("forge-webhook-secret")).unwrap();
        let change = json!({
            "config": {
                "url": format!("{url}/crates/webhook"),
                "content_type": "json",
                "secret": secret.trim(),
            },
            "events": ["push", "pull_request"],
        });
        let hook = number(&self.read("/hooks")[0], "id");
        self.change("PATCH", &format!("/hooks/{hook}"), &change, 200);
    }

    /// Changes something of the repository as its administrator.
    #[track_caller]
    pub fn change(&self, method: &'static str, more: &str, body: &Value, status: u16) {
        let path = format!("/repos/{}/crates{more}", self.name);
        let reply = self.forge.admin().send(method, &path, body);
        assert_eq!(reply.status, status, "{reply:?}");
    }

    pub fn read(&self, more: &str) -> Value {
        self.forge
            .admin()
            .read(&format!("/repos/{}/crates{more}", self.name))
    }
}

#[test]
fn a_repository_is_set_up_once_and_stays_as_it_is() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    let reviewed = ["--reviewers", "reviewers"];
    let rehearsal = acme
        .init(&[reviewed.as_slice(), &["--dry-run"]].concat())
        .succeeds();
    assert_eq!(
        rehearsal.stdout.matches("would be").count(),
        7,
        "{}",
        rehearsal.stdout
    );
    let gone = forge.admin().get(&format!("/repos/{}/crates", acme.name));
    assert_eq!(gone.status, 404, "a rehearsal makes nothing");

    let made = acme.init(&reviewed).succeeds();
    assert!(made.stdout.contains("[forge]"), "{}", made.stdout);
    let shown = acme.read("");
    for (key, value) in [
        ("private", json!(true)),
        ("has_issues", json!(false)),
        ("has_wiki", json!(false)),
        ("allow_merge_commits", json!(false)),
        ("allow_rebase", json!(false)),
        ("allow_squash_merge", json!(true)),
        ("default_merge_style", json!("squash")),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    let rule = acme.read("/branch_protections/main");
    assert_eq!(rule["push_whitelist_usernames"], json!([acme.robot.login]));
    assert_eq!(rule["merge_whitelist_teams"], json!(["reviewers"]));
    assert_eq!(rule["required_approvals"], 1);
    assert_eq!(rule["status_check_contexts"], json!(["sidecargo"]));
    assert_eq!(rule["enable_force_push"], false);
    assert_eq!(rule["block_admin_merge_override"], true);
    let hooks = acme.read("/hooks");
    assert_eq!(hooks.as_array().unwrap().len(), 1);
    assert_eq!(
        hooks[0]["config"]["url"],
        "http://localhost:8642/crates/webhook"
    );

    let again = acme.init(&reviewed).succeeds();
    let changed = again.stderr.lines().filter(|line| line.starts_with("done"));
    assert_eq!(changed.count(), 0, "{again}");
    // A webhook whose secret was lost is another one.
    fs::remove_file(acme.folder.path().join("forge-webhook-secret")).unwrap();
    // That is said before and after, and nothing is replaced by a rehearsal.
    let rehearsal = acme.init(&[&reviewed[..], &["--dry-run"]].concat());
    let replaced = |ran: &Ran, sign: &str| {
        let mut lines = ran.stdout.lines().chain(ran.stderr.lines());
        let is_it = |line: &str| {
            line.starts_with(sign)
                && line
                    .contains("the secret is replaced, and a running server answers the forge 401")
                && line.contains("forge-webhook-secret` holds then")
        };
        lines.any(is_it)
    };
    let rehearsal = rehearsal.succeeds();
    assert!(replaced(&rehearsal, "would be "), "{rehearsal}");
    assert_eq!(acme.read("/hooks")[0]["id"], hooks[0]["id"]);
    let made = acme.init(&reviewed).succeeds();
    for sign in ["next ", "done "] {
        assert!(replaced(&made, sign), "{made}");
    }
    let others = acme.read("/hooks");
    assert_eq!(others.as_array().unwrap().len(), 1);
    assert_ne!(others[0]["id"], hooks[0]["id"]);
    // What somebody has changed is put right, and nothing else.
    let other = json!({ "required_approvals": 0, "push_whitelist_usernames": [] });
    let path = format!("/repos/{}/crates/branch_protections/main", acme.name);
    done(forge.admin().send("PATCH", &path, &other), 200);
    let mended = acme.init(&reviewed).succeeds();
    let changed: Vec<&str> = mended
        .stderr
        .lines()
        .filter(|line| line.starts_with("done"))
        .collect();
    assert!(
        matches!(changed[..], [line] if line.contains("protection")),
        "{changed:?}"
    );
    let rule = acme.read("/branch_protections/main");
    assert_eq!(rule["required_approvals"], 1);
}

#[test]
fn a_webhook_whose_secret_was_lost_is_made_anew_also_after_a_stop() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    acme.init(&[]).succeeds();
    let secret = acme.folder.path().join("forge-webhook-secret");
    let between = Between::start(forge.port);
    fs::remove_file(&secret).unwrap();
    acme.init_at(&between.url(), &[]).succeeds();
    let asked = between.seen(Step::Other);
    let before = acme.read("/hooks");
    fs::remove_file(&secret).unwrap();
    // The last question but one removes the old webhook; those before it are let pass.
    let mut trouble = vec![Trouble::AtMost(usize::MAX); asked - 2];
    trouble.push(Trouble::Answer(503));
    between.next(Step::Other, &trouble);
    let stopped = acme.init_at(&between.url(), &[]);
    stopped.fails_with("asked to `DELETE /repos/");
    assert!(!secret.exists(), "it is not known to be the webhook's");
    assert_eq!(acme.read("/hooks")[0]["id"], before[0]["id"]);
    acme.init(&[]).succeeds();
    let after = acme.read("/hooks");
    assert_eq!(after.as_array().unwrap().len(), 1);
    assert_ne!(after[0]["id"], before[0]["id"]);
    assert!(secret.exists());
}

#[test]
fn a_secret_that_proves_nothing_is_refused_before_anything_is_made() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    let secret = acme.folder.path().join("forge-webhook-secret");
    for text in ["", "short\n"] {
        fs::write(&secret, text).unwrap();
        for more in [&["--dry-run"][..], &[]] {
            acme.init(more)
                .fails_with("forge-webhook-secret` is empty or too short");
        }
    }
    let gone = forge.admin().get(&format!("/repos/{}/crates", acme.name));
    assert_eq!(gone.status, 404);
    fs::remove_file(&secret).unwrap();
    acme.init(&[]).succeeds();
}

#[test]
fn what_doctor_must_know_is_in_the_configuration() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    let told_at = "http://sidecargo:8642";
    let made = acme.init(&["--reviewers", "reviewers", "--told-at", told_at]);
    let configuration = configuration(&made.succeeds());
    for line in [
        "reviewers = \"reviewers\"",
        "told_at = \"http://sidecargo:8642\"",
    ] {
        assert!(
            configuration.lines().any(|it| it == line),
            "{configuration}"
        );
    }
    let plain = acme.init(&[]).succeeds();
    assert!(!plain.stdout.contains("told_at"), "{plain}");
}

#[test]
fn whoever_reviews_goes_on_if_nobody_else_is_named() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    let first = acme.init(&[]).succeeds();
    assert!(!first.stdout.contains("reviewers"), "{first}");
    acme.init(&["--reviewers", "reviewers"]).succeeds();
    let teams = || acme.read("/branch_protections/main")["merge_whitelist_teams"].take();
    let again = acme.init(&[]).succeeds();
    assert_eq!(lines_of(&again, "done"), [""; 0], "{again}");
    assert!(
        again.stdout.contains("reviewers = \"reviewers\""),
        "{again}"
    );
    assert_eq!(teams(), json!(["reviewers"]));
    // Of two nobody knows which it shall be.
    forge.team(&acme.name, "others", "write");
    acme.change("PUT", "/teams/others", &Value::Null, 204);
    let both = json!({ "merge_whitelist_teams": ["reviewers", "others"] });
    acme.change("PATCH", "/branch_protections/main", &both, 200);
    acme.init(&[])
        .fails_with("name the one that shall with `--reviewers`");
    acme.init(&["--reviewers", "others"]).succeeds();
    assert_eq!(teams(), json!(["others"]));
}

#[test]
fn a_repository_of_something_else_is_left_alone() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    forge.repository(&acme.name, "crates", Visibility::Private);
    let settings = acme.read("");
    for more in [&["--dry-run"][..], &[]] {
        acme.init(more)
            .fails_with("holds something else than an index");
    }
    assert_eq!(acme.read(""), settings);
    assert_eq!(acme.read("/branch_protections"), json!([]));
}

#[test]
fn an_empty_repository_gets_the_branch_of_an_index() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    forge.empty_repository(&acme.name, "crates", Visibility::Private);
    acme.change("PATCH", "", &json!({ "default_branch": "master" }), 200);
    let made = acme.init(&[]).succeeds();
    assert_eq!(acme.read("")["default_branch"], "main");
    let token = forge.token(&acme.robot, &["write:repository"]).text;
    let _registry = start(&acme, &configuration(&made), &token);
    eventually("the forge has looked at the first push", || {
        (acme.read("")["empty"] == false).then_some(())
    });
    let again = acme.init(&[]).succeeds();
    assert_eq!(lines_of(&again, "done"), [""; 0], "{again}");
}

#[test]
fn what_is_missing_on_the_forge_is_named() {
    let Some(forge) = Gitea::shared() else { return };
    let mut acme = Organisation::make(forge);
    acme.init(&["--reviewers", "nobody"])
        .fails_with("has no team `nobody`");
    let robot = acme.robot.login.clone();
    acme.robot.login = "no-such-robot".to_owned();
    acme.init(&[])
        .fails_with("there is no account `no-such-robot`");
    acme.robot.login = robot;
    let stranger = forge.user("stranger");
    let scopes = ["write:repository", "write:organization", "read:user"];
    let good = std::mem::replace(&mut acme.owner_token, forge.token(&stranger, &scopes).text);
    acme.init(&[]).fails_with("the repository is not set up");
    acme.owner_token = "0".repeat(40);
    acme.init(&[])
        .fails_with("the forge does not accept this token");
    acme.owner_token = String::new();
    acme.init(&[]).fails_with("SIDECARGO_OWNER_TOKEN");
    acme.owner_token = good;
    acme.init(&["--reviewers", "reviewers"]).succeeds();
}

/// The lines of a run that begin so.
fn lines_of<'a>(ran: &'a Ran, sign: &str) -> Vec<&'a str> {
    let lines = ran.stderr.lines();
    lines.filter(|line| line.starts_with(sign)).collect()
}

#[test]
fn whatever_opens_the_branch_is_taken_back() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    let reviewed = ["--reviewers", "reviewers"];
    acme.init(&reviewed).succeeds();
    let others = forge.team(&acme.name, "others", "write");
    let mallory = forge.user("mallory");
    let path = format!("/collaborators/{}", mallory.login);
    acme.change("PUT", &path, &json!({ "permission": "write" }), 204);
    acme.change("PUT", "/teams/others", &Value::Null, 204);
    let rule = || {
        let mut rule = acme.read("/branch_protections/main");
        rule["updated_at"].take();
        rule
    };
    let good = rule();
    let (mallory, others) = (json!([mallory.login]), json!([others.name]));
    for change in [
        json!({ "enable_push": true, "enable_push_whitelist": false }),
        json!({ "enable_push": true, "enable_force_push": true }),
        json!({
            "enable_push": true, "enable_force_push": true, "enable_force_push_allowlist": true,
            "force_push_allowlist_usernames": mallory, "force_push_allowlist_teams": others,
            "force_push_allowlist_deploy_keys": true,
        }),
        json!({ "push_whitelist_usernames": [acme.robot.login, mallory[0]] }),
        json!({ "push_whitelist_teams": others }),
        json!({ "enable_push": true, "enable_push_whitelist": true, "push_whitelist_deploy_keys": true }),
        json!({ "protected_file_patterns": "*.json" }),
        json!({ "unprotected_file_patterns": "*" }),
        json!({ "block_on_outdated_branch": true }),
        json!({ "require_signed_commits": true }),
        json!({ "enable_merge_whitelist": false }),
        json!({ "merge_whitelist_usernames": mallory, "merge_whitelist_teams": others }),
        json!({ "enable_approvals_whitelist": false }),
        json!({ "approvals_whitelist_username": mallory, "approvals_whitelist_teams": [] }),
    ] {
        acme.change("PATCH", "/branch_protections/main", &change, 200);
        assert_ne!(rule(), good, "{change}");
        let mended = acme.init(&reviewed).succeeds();
        let done = lines_of(&mended, "done");
        assert!(
            matches!(done[..], [line] if line.contains("protection") && names_some(line, &change)),
            "{change}: {mended}"
        );
        assert_eq!(rule(), good, "{change}");
    }
    // More that is needed is no fault: approvals, and what others say.
    for (key, more) in [
        ("required_approvals", json!(2)),
        ("status_check_contexts", json!(["lint", "sidecargo"])),
    ] {
        let change = json!({ key: more, "enable_status_check": true });
        acme.change("PATCH", "/branch_protections/main", &change, 200);
        let kept = acme.init(&reviewed).succeeds();
        assert_eq!(lines_of(&kept, "done"), [""; 0], "{kept}");
        assert_eq!(rule()[key], more);
    }
    let change = json!({ "enable_status_check": true, "status_check_contexts": ["lint"] });
    acme.change("PATCH", "/branch_protections/main", &change, 200);
    let rehearsal = acme.init(&[&reviewed[..], &["--dry-run"]].concat());
    let told = "(before: status_check_contexts)";
    assert!(rehearsal.succeeds().stdout.contains(told));
    acme.init(&reviewed).succeeds();
    assert_eq!(
        rule()["status_check_contexts"],
        json!(["lint", "sidecargo"])
    );
}

/// Whether a line of a run names a field of the rule that was changed before.
fn names_some(line: &str, change: &Value) -> bool {
    let (_, named) = line.split_once("(before: ").unwrap_or_default();
    let changed = change.as_object().unwrap();
    changed.keys().any(|key| named.contains(key))
}

#[test]
fn what_was_merged_elsewhere_is_no_way_to_merge() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    acme.init(&[]).succeeds();
    let ways = ["allow_manual_merge", "autodetect_manual_merge"];
    for way in ways {
        acme.change("PATCH", "", &json!({ way: true }), 200);
        assert_eq!(acme.read("")[way], true);
    }
    let mended = acme.init(&[]).succeeds();
    let done = lines_of(&mended, "done");
    assert!(
        matches!(done[..], [line] if line.contains("squash as the only way to merge")),
        "{mended}"
    );
    for way in ways {
        assert_eq!(acme.read("")[way], false);
    }
    let again = acme.init(&[]).succeeds();
    assert_eq!(lines_of(&again, "done"), [""; 0], "{again}");
}

#[test]
fn where_pull_requests_were_off_one_run_makes_all_right() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    forge.empty_repository(&acme.name, "crates", Visibility::Private);
    for _ in 0..2 {
        acme.change("PATCH", "", &json!({ "has_pull_requests": false }), 200);
        let made = acme.init(&[]).succeeds();
        let done = lines_of(&made, "done");
        assert!(done[0].contains("its settings: pull requests"), "{made}");
        let shown = acme.read("");
        for (key, value) in [
            ("has_pull_requests", true),
            ("allow_merge_commits", false),
            ("allow_rebase", false),
            ("allow_rebase_explicit", false),
            ("allow_fast_forward_only_merge", false),
            ("allow_manual_merge", false),
            ("allow_squash_merge", true),
        ] {
            assert_eq!(shown[key], value, "{key}");
        }
        let again = acme.init(&[]).succeeds();
        assert_eq!(lines_of(&again, "done"), [""; 0], "{again}");
    }
}

#[test]
fn settings_that_the_forge_did_not_keep_are_no_success() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    acme.init(&[]).succeeds();
    let between = Between::start(forge.port);
    let open = json!({ "has_wiki": true, "allow_rebase": true });
    acme.change("PATCH", "", &open, 200);
    acme.init_at(&between.url(), &[]).succeeds();
    let asked = between.seen(Step::Other);
    acme.change("PATCH", "", &open, 200);
    // They are sent and read back, and six questions about other things follow.
    let mut trouble = vec![Trouble::AtMost(usize::MAX); asked - 8];
    trouble.push(Trouble::Answer(204));
    between.next(Step::Other, &trouble);
    let failed = acme.init_at(&between.url(), &[]);
    let failed = failed.fails_with("otherwise than they must be: allow_rebase, has_wiki;");
    assert_eq!(lines_of(&failed, "done"), [""; 0], "{failed}");
}

#[test]
fn who_is_on_a_list_unseen_is_taken_off_too() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    acme.init(&[]).succeeds();
    let mallory = forge.user("mallory");
    let path = format!("/collaborators/{}", mallory.login);
    let write = json!({ "permission": "write" });
    acme.change("PUT", &path, &write, 204);
    let both = json!({ "push_whitelist_usernames": [acme.robot.login, mallory.login] });
    acme.change("PATCH", "/branch_protections/main", &both, 200);
    acme.change("DELETE", &path, &Value::Null, 204);
    let list = || acme.read("/branch_protections/main")["push_whitelist_usernames"].take();
    acme.init(&[]).succeeds();
    acme.change("PUT", &path, &write, 204);
    assert_eq!(list(), json!([acme.robot.login]));
}

#[test]
fn a_robot_that_may_more_is_left_so() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    acme.init(&[]).succeeds();
    let path = format!("/collaborators/{}", acme.robot.login);
    for (given, kept) in [("admin", "admin"), ("read", "write")] {
        acme.change("PUT", &path, &json!({ "permission": given }), 204);
        acme.init(&[]).succeeds();
        let permission = acme.read(&format!("{path}/permission"))["permission"].take();
        assert_eq!(permission, kept, "{given}");
    }
}

#[test]
fn a_robot_that_lost_its_right_by_a_team_gets_it_back() {
    let Some(forge) = Gitea::pinned() else { return };
    let acme = Organisation::make(forge);
    acme.init(&["--public", "--reviewers", "reviewers"])
        .succeeds();
    let path = format!("/collaborators/{}/permission", acme.robot.login);
    let permission = || acme.read(&path)["permission"].take();
    forge.join(&acme.reviewers, &acme.robot);
    forge.leave(&acme.reviewers, &acme.robot);
    assert_ne!(permission(), "write", "the forge has left an empty entry");
    let mended = acme.init(&["--public"]).succeeds();
    let done = lines_of(&mended, "done");
    assert!(done.iter().any(|it| it.contains("may write")), "{mended}");
    assert_eq!(permission(), "write", "{mended}");
    let rule = acme.read("/branch_protections/main");
    assert_eq!(rule["push_whitelist_usernames"], json!([acme.robot.login]));
    let again = acme.init(&["--public"]).succeeds();
    assert_eq!(lines_of(&again, "done"), [""; 0], "{again}");
}

#[test]
fn who_sees_an_adopted_repository_does_not_change_unsaid() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    forge.empty_repository(&acme.name, "crates", Visibility::Public);
    for (how, said, is_private) in [
        (&[][..], "made private", true),
        (&["--public"][..], "made public", false),
    ] {
        let rehearsal = acme.init(&[how, &["--dry-run"]].concat()).succeeds();
        let told = format!("would be   {said}");
        assert!(rehearsal.stdout.contains(&told), "{rehearsal}");
        assert_eq!(acme.read("")["private"], !is_private);
        let made = acme.init(how).succeeds();
        assert!(
            made.stderr.contains(&format!("done       {said}")),
            "{made}"
        );
        assert_eq!(acme.read("")["private"], is_private);
        let again = acme.init(how).succeeds();
        assert!(!again.stderr.contains("made p"), "{again}");
    }
}

#[test]
fn a_forge_that_keeps_its_repositories_private_is_told_from_one_that_is_not_understood() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    acme.init(&[]).succeeds();
    let between = Between::start(forge.port);
    // Wherever among the questions the change is that it refuses.
    let refused = (0..20).find_map(|before| {
        let mut trouble = vec![Trouble::AtMost(usize::MAX); before];
        trouble.push(Trouble::Answer(422));
        between.next(Step::Other, &trouble);
        let ran = acme.init_at(&between.url(), &["--public"]);
        ran.stderr.contains("FORCE_PRIVATE").then_some(ran)
    });
    let refused = refused.expect("it is refused to make it public");
    refused.fails_with("leave `--public` out");
    assert_eq!(acme.read("")["private"], true);
}

#[test]
fn a_team_behind_many_others_is_found() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    // The forge lists them by name.
    for number in 0..50 {
        forge.team(&acme.name, &format!("a-team-{number}"), "read");
    }
    let first = forge
        .admin()
        .read(&format!("/orgs/{}/teams?limit=50", acme.name));
    let is_there = |team: &Value| team["name"] == "reviewers";
    assert!(!first.as_array().unwrap().iter().any(is_there));
    acme.init(&["--reviewers", "reviewers"]).succeeds();
}

#[test]
fn a_repository_of_an_account_needs_its_scope() {
    let Some(forge) = Gitea::shared() else { return };
    let mut olgas = Organisation::make(forge);
    let olga = forge.user("olga");
    olgas.name = olga.login.clone();
    let mut init_with = |scopes: &[&str]| {
        olgas.owner_token = forge.token(&olga, scopes).text;
        olgas.init(&[])
    };
    init_with(&["write:repository", "write:organization", "read:user"]).fails_with("write:user");
    init_with(&["write:repository", "write:user"]).succeeds();
}

#[test]
fn a_rule_that_the_forge_did_not_keep_is_no_success() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    let reviewed = ["--reviewers", "reviewers"];
    acme.init(&reviewed).succeeds();
    let between = Between::start(forge.port);
    acme.init_at(&between.url(), &reviewed).succeeds();
    let asked = between.seen(Step::Other);
    acme.change("DELETE", "/branch_protections/main", &Value::Null, 204);
    // The rule is sent, read back, and then the webhooks are looked at.
    let mut trouble = vec![Trouble::AtMost(usize::MAX); asked - 3];
    trouble.push(Trouble::Answer(204));
    between.next(Step::Other, &trouble);
    let failed = acme.init_at(&between.url(), &reviewed);
    let failed = failed.fails_with("`main` has no rule of its own");
    assert!(!failed.stderr.contains("its protection"), "{failed}");
}

#[test]
fn a_team_that_could_approve_and_not_merge_is_refused_before_anything_is_changed() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    forge.team(&acme.name, "readers", "read");
    forge.team_with(&acme.name, "coders", &json!({ "repo.code": "write" }));
    for (team, right) in [
        ("readers", "to write code"),
        ("coders", "to read pull requests"),
    ] {
        for more in [&["--dry-run"][..], &[]] {
            let refused = acme.init(&[&["--reviewers", team], more].concat());
            let refused = refused.fails_with(&format!("they lack the right {right}"));
            assert!(
                refused
                    .stderr
                    .contains(&format!("`{team}` of `{}`", acme.name))
            );
        }
        assert_eq!(acme.read("/branch_protections"), json!([]));
        assert_eq!(acme.read("")["has_wiki"], true);
    }
    // Of a public repository everybody reads the pull requests.
    acme.init(&["--reviewers", "coders", "--public"]).succeeds();
    acme.init(&["--reviewers", "Owners"]).succeeds();
}

#[test]
fn an_organisation_is_no_robot_and_nothing_is_changed_for_it() {
    let Some(forge) = Gitea::shared() else { return };
    let mut acme = Organisation::make(forge);
    acme.init(&[]).succeeds();
    let rule = acme.read("/branch_protections/main");
    assert_eq!(rule["push_whitelist_usernames"], json!([acme.robot.login]));
    acme.robot.login = forge.organisation("robots");
    let sentence = "is an organisation, which can be no account of the server";
    acme.init(&[]).fails_with(sentence);
    assert_eq!(acme.read("/branch_protections/main"), rule);
    // To set up a repository of an account a token needs no scope to see organisations.
    let olga = forge.user("olga");
    acme.name = olga.login.clone();
    acme.owner_token = forge.token(&olga, &["write:repository", "write:user"]).text;
    acme.init(&[]).fails_with(sentence);
}

#[test]
fn an_older_rule_does_not_win() {
    let Some(forge) = Gitea::shared() else { return };
    for (pattern, has_own) in [("**", false), ("m*", true), ("Main", false)] {
        let acme = Organisation::make(forge);
        let repository = forge.repository(&acme.name, "crates", Visibility::Private);
        let admin = forge.admin();
        admin.write_file(&repository, "main", "registry.toml", "# of an index\n");
        let mallory = forge.user("mallory");
        forge.collaborate(&repository, &mallory, "write");
        let open = json!({ "rule_name": pattern, "enable_push": true });
        acme.change("POST", "/branch_protections", &open, 201);
        if has_own {
            acme.change(
                "POST",
                "/branch_protections",
                &json!({ "rule_name": "main" }),
                201,
            );
        }
        let token = forge.token(&mallory, &["write:repository"]).text;
        let mallory = forge.with_token(&token);
        let may_push =
            || mallory.read(&format!("{}/branches/main", repository.api()))["user_can_push"].take();
        assert_eq!(may_push(), true, "{pattern}");
        acme.init(&["--reviewers", "reviewers"]).succeeds();
        assert_eq!(may_push(), false, "{pattern}");
        let again = acme.init(&["--reviewers", "reviewers"]).succeeds();
        assert_eq!(lines_of(&again, "done"), [""; 0], "{again}");
        // Somebody puts it in front again.
        let first = json!({ "priority": -9 });
        acme.change(
            "PATCH",
            &format!("/branch_protections/{pattern}"),
            &first,
            200,
        );
        assert_eq!(may_push(), true, "{pattern}");
        acme.init(&["--reviewers", "reviewers"]).succeeds();
        assert_eq!(may_push(), false, "{pattern}");
    }
}

#[test]
fn a_server_runs_on_what_was_set_up_and_reviewers_merge() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = Organisation::make(forge);
    let made = acme
        .init(&["--reviewers", "reviewers", "--public"])
        .succeeds();
    let config = configuration(&made);
    let token = forge.token(&acme.robot, &["write:repository"]).text;
    let registry = start(&acme, &config, &token);
    let repository = Repository {
        owner: acme.name.clone(),
        name: "crates".to_owned(),
        id: number(&acme.read(""), "id"),
    };
    let api = repository.api();
    acme.tell(&format!("http://127.0.0.1:{}", registry.port));
    eventually("the forge has looked at the first push", || {
        (acme.read("")["empty"] == false).then_some(())
    });

    let person = Sandbox::stable(&registry, View::Sparse);
    person.login(&registry.token("alice"));
    let folder = Project::library("greeter", "0.1.0", "hello").write(&person.work());
    person.publish(&folder).succeeds();
    assert_eq!(forge.tip(&repository), git::tip(&registry.repository()));

    let reviewer = forge.token(&acme.reviewer, &["all"]).text;
    let reviewer = forge.with_token(&reviewer);
    let path = format!("{api}/contents/policy.toml");
    let file = reviewer.read(&path);
    let change = json!({
        "content": "IyByZXZpZXdlZAo=",
        "sha": text(&file, "sha"),
        "message": "a policy that says nothing",
        "new_branch": "policy",
    });
    // Proposed by the owner, so that somebody else can approve of it.
    done(forge.admin().send("PUT", &path, &change), 200);
    let proposed = forge.admin().open_pull_request(&repository, "policy");
    let merge = || reviewer.squash(&repository, proposed);
    assert_eq!(merge().status, 405, "nobody has approved of it");
    let review = json!({ "event": "APPROVED", "body": "good" });
    done(
        reviewer.send("POST", &format!("{api}/pulls/{proposed}/reviews"), &review),
        200,
    );
    // Each publish makes it an outdated one.
    let folder = Project::library("greeter", "0.1.1", "hello").write(&person.work());
    person.publish(&folder).succeeds();
    eventually("the server's word is there, and it is merged", || {
        (merge().status == 200).then_some(())
    });
    eventually("it is in force", || {
        let shown = ["show", "main:policy.toml"];
        let shown = git::git(&registry.repository(), &shown).succeeds();
        (shown.stdout == "# reviewed\n").then_some(())
    });
}

#[test]
fn a_second_person_approves_where_there_is_no_team() {
    let Some(forge) = Gitea::shared() else { return };
    let mut olgas = Organisation::make(forge);
    let (olga, rita) = (forge.user("olga"), forge.user("rita"));
    olgas.name = olga.login.clone();
    let token = forge.token(&olga, &["all"]).text;
    olgas.owner_token.clone_from(&token);
    let index = forge.repository(&olga.login, "crates", Visibility::Public);
    let of_olga = forge.with_token(&token);
    of_olga.write_file(&index, "main", "registry.toml", "# of an index\n");
    olgas.init(&["--public"]).succeeds();
    forge.collaborate(&index, &rita, "write");
    of_olga.write_file(&index, "change", "policy.toml", "# reviewed\n");
    let proposed = of_olga.open_pull_request(&index, "change");
    let path = format!("{}/pulls/{proposed}", index.api());
    let head = text(&of_olga.read(&path)["head"], "sha");
    let robot = forge.with_token(&forge.token(&olgas.robot, &["write:repository"]).text);
    done(robot.approve_commit(&index, &head, "sidecargo"), 201);
    let review = json!({ "event": "APPROVED", "body": "good" });
    let of_rita = forge.with_token(&forge.token(&rita, &["all"]).text);
    let own = of_olga.send("POST", &format!("{path}/reviews"), &review);
    assert_eq!(own.status, 422, "nobody approves their own: {own:?}");
    assert_eq!(of_olga.squash(&index, proposed).status, 405);
    done(
        of_rita.send("POST", &format!("{path}/reviews"), &review),
        200,
    );
    assert_eq!(of_rita.squash(&index, proposed).status, 200);
}

/// The configuration as it was printed, but for the address of the server.
pub fn configuration(made: &Ran) -> String {
    let (_, printed) = made.stdout.split_once("# sidecargo.toml").unwrap();
    let lines = printed.lines().skip(2);
    let lines = lines.filter(|line| !line.starts_with("public_url"));
    lines.map(|line| format!("{line}\n")).collect()
}

pub fn start(acme: &Organisation<'_>, config: &str, token: &str) -> Registry {
    let token_file = acme.folder.path().join("forge-token");
    fs::write(&token_file, token).unwrap();
    fs::set_permissions(&token_file, fs::Permissions::from_mode(0o600)).unwrap();
    let absolute = |path: &Path| format!("token_file = {:?}", path.display().to_string());
    Registry::start_with(&config.replace("token_file = \"forge-token\"", &absolute(&token_file)))
}
