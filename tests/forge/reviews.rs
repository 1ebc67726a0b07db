//! Pull requests that are judged again: because of each other, because of the branch, because of what others say.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::api::{Caller, base64, done, number, text};
use super::beside::{Beside, DEVELOPER, HOOK_SECRET, Wanted, publish};
use super::gitea::Gitea;
use super::scene::{Repository, User, Visibility};
use crate::common::cargos::View;
use crate::common::git;
use crate::common::http::get;
use crate::common::registry::{Registry, Start};
use crate::common::upload::Release;
use crate::common::watch::eventually;

/// Who owns `greeter` until somebody proposes something else: far enough from each other to be merged by themselves.
const OWNERS: &str = "users = [{ login = \"alice\" }]\n# 1\n# 2\n# 3\n# 4\nteams = [{ name = \"acme:platform\", id = 3 }]\n";
const OWNERS_FILE: &str = "owners/gr/ee/greeter.toml";
const INDEX_FILE: &str = "gr/ee/greeter";
const GOOD: &str = "keeps the rules of the index";

/// Somebody who may write to the index repository.
struct Writer<'forge> {
    forge: &'forge Gitea,
    index: PathBuf,
    caller: Caller<'forge>,
    repository: Repository,
    port: u16,
}

/// A pull request.
struct Proposed {
    number: i64,
    head: String,
}

impl<'forge> Writer<'forge> {
    /// Its owner; the server has `greeter 0.1.0` and hears of what happens there.
    #[track_caller]
    fn of(beside: &Beside<'forge>) -> Self {
        publish(&beside.person(View::Sparse), "0.1.0").succeeds();
        let url = format!("http://127.0.0.1:{}/crates/webhook", beside.registry.port);
        let events = ["push", "pull_request"];
        beside
            .forge
            .tell(&beside.repository, &url, HOOK_SECRET, &events);
        let token = beside.forge.token(&beside.owner, &["all"]).text;
        Self {
            forge: beside.forge,
            index: beside.registry.repository(),
            caller: beside.forge.with_token(&token),
            repository: beside.repository.clone(),
            port: beside.registry.port,
        }
    }

    /// Gives a file of `main` another text there.
    #[track_caller]
    fn put(&self, file: &str, content: &str) {
        self.commit(file, content, &json!({}));
    }

    /// As [`Writer::put`]; the server has followed, so what is proposed then is judged for that state.
    #[track_caller]
    fn put_good(&self, file: &str, content: &str) {
        let commit = self.commit(file, content, &json!({}));
        eventually("it is heard of", || {
            (git::tip(&self.index) == commit).then_some(())
        });
    }

    /// Proposes another text for a file of `main`.
    #[track_caller]
    fn propose(&self, branch: &str, file: &str, content: &str) -> Proposed {
        let head = self.commit(file, content, &json!({ "new_branch": branch }));
        let number = self.caller.open_pull_request(&self.repository, branch);
        Proposed { number, head }
    }

    #[track_caller]
    fn commit(&self, file: &str, content: &str, more: &Value) -> String {
        let path = format!("{}/contents/{file}", self.repository.api());
        let known = self.caller.read(&path);
        let mut change = more.clone();
        change["content"] = base64(content).into();
        change["sha"] = known["sha"].clone();
        change["message"] = format!("edit {file}").into();
        text(
            &done(self.caller.send("PUT", &path, &change), 200)["commit"],
            "sha",
        )
    }

    /// What counts of all that was said of a pull request under the server's name: the state, and the words.
    fn said(&self, of: &Proposed) -> Option<(String, String)> {
        let path = format!("{}/commits/{}/status", self.repository.api(), of.head);
        let shown = self.caller.read(&path);
        let mut all = shown["statuses"].as_array()?.iter();
        let ours = all.find(|status| status["context"] == "sidecargo")?;
        Some((text(ours, "status"), text(ours, "description")))
    }

    /// Each state that was said of it so far.
    fn said_so_far(&self, of: &Proposed) -> Vec<String> {
        let path = format!("{}/commits/{}/statuses", self.repository.api(), of.head);
        let shown = self.caller.read(&path);
        let all = shown.as_array().unwrap().iter();
        let ours = all.filter(|status| status["context"] == "sidecargo");
        let mut ours: Vec<_> = ours
            .map(|status| (number(status, "id"), text(status, "status")))
            .collect();
        ours.sort_unstable();
        ours.into_iter().map(|(_, state)| state).collect()
    }

    /// Waits until this is the state of a pull request; gives the words.
    #[track_caller]
    fn waits_for(&self, of: &Proposed, state: &str) -> String {
        eventually(state, || {
            let (said, words) = self.said(of)?;
            (said == state).then_some(words)
        })
    }

    #[track_caller]
    fn merges(&self, proposed: &Proposed) {
        let merged = self.caller.squash(&self.repository, proposed.number);
        assert_eq!(merged.status, 200, "{merged:?}");
    }

    /// Lets the forge merge it as soon as it is said that it is good.
    #[track_caller]
    fn merges_once_good(&self, proposed: &Proposed) {
        let path = format!("{}/pulls/{}/merge", self.repository.api(), proposed.number);
        let wanted = json!({ "Do": "squash", "merge_when_checks_succeed": true });
        let scheduled = self.caller.send("POST", &path, &wanted);
        assert_eq!(scheduled.status, 201, "{scheduled:?}");
    }

    /// A rule that lets nothing be merged of which the server does not say that it is good.
    #[track_caller]
    fn protect(&self) {
        let rule = json!({
            "enable_push": true,
            "enable_status_check": true,
            "status_check_contexts": ["sidecargo"],
        });
        self.forge.protect(&self.repository, rule);
    }

    /// Closes a pull request, or opens it again.
    #[track_caller]
    fn set_state(&self, proposed: &Proposed, state: &str) {
        let path = format!("{}/pulls/{}", self.repository.api(), proposed.number);
        done(
            self.caller.send("PATCH", &path, &json!({ "state": state })),
            201,
        );
    }

    #[track_caller]
    fn cannot_merge(&self, proposed: &Proposed) {
        let refused = self.caller.squash(&self.repository, proposed.number);
        assert_eq!(refused.status, 405, "{refused:?}");
    }

    /// Says in the server's name that it is good.
    #[track_caller]
    fn stamp(&self, proposed: &Proposed) {
        let caller = &self.caller;
        let said = caller.approve_commit(&self.repository, &proposed.head, "sidecargo");
        assert_eq!(said.status, 201, "{said:?}");
    }

    fn ready(&self) -> u16 {
        get("/readyz").send(self.port).status
    }
}

/// Without the users; and without the teams.
fn teams() -> &'static str {
    &OWNERS[OWNERS.find('#').unwrap()..]
}

fn users() -> &'static str {
    &OWNERS[..OWNERS.find("teams").unwrap()]
}

/// Which pull requests were judged by the log of a server, in that order.
fn judged(log: &str) -> Vec<i64> {
    let lines = { log.lines() }.filter(|line| line.contains("a pull request was judged"));
    let number = |line: &str| {
        let (_, rest) = line.split_once("number=")?;
        rest.split_whitespace().next()?.parse().ok()
    };
    lines.filter_map(number).collect()
}

#[test]
fn what_is_good_alone_and_not_with_what_was_merged_is_judged_again() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    writer.protect();
    writer.put_good(OWNERS_FILE, OWNERS);
    let of_teams = writer.propose("teams", OWNERS_FILE, teams());
    let of_users = writer.propose("users", OWNERS_FILE, users());
    for proposed in [&of_teams, &of_users] {
        assert_eq!(writer.waits_for(proposed, "success"), GOOD);
    }
    writer.merges(&of_teams);
    let words = writer.waits_for(&of_users, "failure");
    assert!(words.ends_with("a crate needs an owner"), "{words}");
    writer.cannot_merge(&of_users);
    assert_eq!(writer.ready(), 200);
    // And back.
    writer.put_good(OWNERS_FILE, OWNERS);
    assert_eq!(writer.waits_for(&of_users, "success"), GOOD);
    writer.merges(&of_users);
    eventually("the merge is heard of", || {
        (beside.file(OWNERS_FILE) == users()).then_some(())
    });
    beside.tip();
}

#[test]
fn what_was_good_before_a_merge_is_taken_back_before_anything_is_judged_again() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    writer.protect();
    writer.put_good(OWNERS_FILE, OWNERS);
    let of_teams = writer.propose("teams", OWNERS_FILE, teams());
    let of_users = writer.propose("users", OWNERS_FILE, users());
    let readme = writer.propose("readme", "README.md", "read this\n");
    let bad = beside.lines().replacen("\"cksum\":\"", "\"cksum\":\"0", 1);
    let bad = writer.propose("bad", INDEX_FILE, &bad);
    for proposed in [&of_teams, &of_users, &readme] {
        writer.waits_for(proposed, "success");
    }
    writer.waits_for(&bad, "failure");
    let judged = || judged(&beside.registry.log());
    let before = judged().len();
    writer.merges(&of_teams);
    writer.waits_for(&of_users, "failure");
    let again = eventually("all are judged again", || {
        let mut again = judged().split_off(before);
        // A forge may still call open what it is about to have merged.
        again.retain(|number| *number != of_teams.number);
        again.contains(&bad.number).then_some(again)
    });
    // The newest is not the first.
    assert_eq!(again, [readme.number, of_users.number, bad.number]);
    let log = beside.registry.log();
    let is_judged = |line: &str| line.contains("a pull request was judged");
    let is_back = |line: &str| line.contains("what was good is taken back");
    let mut judged_before = 0;
    let taken_back: Vec<&str> = { log.lines() }
        .take_while(|line| {
            judged_before += usize::from(is_judged(line));
            judged_before <= before
        })
        .filter(|line| is_back(line))
        .collect();
    for of in [&of_users, &readme] {
        assert!(
            taken_back.iter().any(|line| line.contains(&of.head)),
            "{log}"
        );
    }
    let states = |of| writer.said_so_far(of);
    // It may have waited before until it was seen whether the first of both is merged.
    assert!(states(&of_users).ends_with(&["success", "pending", "failure"].map(str::to_owned)));
    assert_eq!(states(&readme), ["success", "pending", "success"]);
    assert_eq!(states(&bad), ["failure"]);
}

#[test]
fn other_owners_of_a_crate_are_nothing_to_who_does_not_touch_them() {
    let Some(forge) = Gitea::shared() else { return };
    let wanted = Wanted {
        scopes: &DEVELOPER,
        ..Wanted::default()
    };
    let beside = Beside::start_as(forge, &wanted);
    let writer = Writer::of(&beside);
    let bob = forge.user("bob");
    let person = beside.person(View::Sparse);
    let own = |edit: &str, user: &User| {
        let words = [
            "owner",
            edit,
            &user.login,
            "greeter",
            "--registry",
            "crates",
        ];
        person.cargo(&person.work(), &words).succeeds();
    };
    let readme = writer.propose("readme", "README.md", "read this\n");
    let owners = beside.file(OWNERS_FILE);
    let of_owners = writer.propose("owners", OWNERS_FILE, &format!("# 1\n{owners}"));
    for proposed in [&readme, &of_owners] {
        writer.waits_for(proposed, "success");
    }
    for (edit, state) in [("--add", "failure"), ("--remove", "success")] {
        own(edit, &bob);
        writer.waits_for(&of_owners, state);
    }
    let states = |of| writer.said_so_far(of);
    // It is told that it is judged again only of what was good.
    let of_owners = states(&of_owners);
    assert_eq!(of_owners, ["success", "pending", "failure", "success"]);
    assert_eq!(states(&readme), ["success"]);
    writer.merges(&readme);
}

#[test]
fn what_was_good_is_taken_back_also_while_it_is_closed_and_of_what_a_pull_request_has_left() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    writer.protect();
    writer.put_good(OWNERS_FILE, OWNERS);
    let of_teams = writer.propose("teams", OWNERS_FILE, teams());
    let closed = writer.propose("users", OWNERS_FILE, users());
    let left = writer.propose("policy", "policy.toml", "# as it was\n");
    for proposed in [&of_teams, &closed, &left] {
        writer.waits_for(proposed, "success");
    }
    writer.set_state(&closed, "closed");
    let later = Proposed {
        number: left.number,
        head: writer.commit("README.md", "read this\n", &json!({ "branch": "policy" })),
    };
    writer.waits_for(&later, "success");
    writer.merges(&of_teams);
    for proposed in [&closed, &left] {
        let words = writer.waits_for(proposed, "pending");
        assert!(words.contains("counts no more"), "{words}");
    }
    writer.waits_for(&later, "success");
    writer.set_state(&closed, "open");
    writer.cannot_merge(&closed);
    let words = writer.waits_for(&closed, "failure");
    assert!(words.ends_with("a crate needs an owner"), "{words}");
    assert_eq!(writer.ready(), 200);
}

#[test]
fn of_two_that_the_forge_merges_by_itself_the_second_is_judged_with_the_first() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    writer.protect();
    writer.put_good(OWNERS_FILE, OWNERS);
    // Nobody says that one is good before it is known what shall happen to both then.
    beside.registry.stop();
    let both = [("teams", teams()), ("users", users())].map(|(branch, owners)| {
        let proposed = writer.propose(branch, OWNERS_FILE, owners);
        writer.merges_once_good(&proposed);
        proposed
    });
    beside.registry.start_again();
    let ends = eventually("one is merged, and the other is bad", || {
        let mut ends = both.each_ref().map(|proposed| {
            let path = format!("{}/pulls/{}", writer.repository.api(), proposed.number);
            match writer.caller.read(&path)["merged"] == true {
                true => "merged".to_owned(),
                false => writer
                    .said(proposed)
                    .map_or(String::new(), |(said, _)| said),
            }
        });
        ends.sort();
        (ends == ["failure", "merged"]).then_some(ends)
    });
    assert_eq!(ends.len(), 2);
    assert_eq!(writer.ready(), 200);
    beside.tip();
}

/// Another server beside the one that judges.
#[track_caller]
fn another(beside: &Beside<'_>, writer: &Writer<'_>) -> Registry {
    let url = format!("http://localhost:{}", writer.port);
    let other = Registry::start_so(Start {
        config: &format!("public_url = \"{url}\"\n{}", beside.config),
        shared: Some(&beside.registry.data()),
        ..Start::default()
    });
    eventually("the other knows that it does not judge", || {
        let log = other.log();
        log.contains("another server that shares the store judges")
            .then_some(())
    });
    other
}

/// From now on the forge tells a server at this port alone of these events.
#[track_caller]
fn tell_alone(beside: &Beside<'_>, port: u16, events: &[&str]) {
    let forge = beside.forge;
    let hooks = format!("{}/hooks", beside.repository.api());
    let hook = number(&forge.admin().read(&hooks)[0], "id");
    let removed = { forge.admin() }.send("DELETE", &format!("{hooks}/{hook}"), &Value::Null);
    assert_eq!(removed.status, 204, "{removed:?}");
    let url = format!("http://127.0.0.1:{port}/crates/webhook");
    forge.tell(&beside.repository, &url, HOOK_SECRET, events);
}

#[test]
fn of_several_servers_one_judges_and_another_once_that_one_ends() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    let other = another(&beside, &writer);
    tell_alone(&beside, other.port, &["pull_request"]);
    let first = writer.propose("first", "README.md", "read this\n");
    assert_eq!(writer.waits_for(&first, "success"), GOOD);
    assert!(judged(&other.log()).is_empty());
    beside.registry.stop();
    let second = writer.propose("second", "README.md", "read that\n");
    assert_eq!(writer.waits_for(&second, "success"), GOOD);
    assert!(judged(&other.log()).contains(&second.number));
}

#[test]
fn what_stands_on_a_publish_of_another_server_is_judged_with_it() {
    let Some(forge) = Gitea::shared() else { return };
    // It does not come to see it by itself.
    let beside = Beside::start_and_look_each(forge, 3600);
    let writer = Writer::of(&beside);
    writer.put_good(OWNERS_FILE, OWNERS);
    let other = another(&beside, &writer);
    tell_alone(&beside, writer.port, &["pull_request"]);
    let newer = Release::new("greeter", "0.2.0");
    newer
        .publish(other.port, &beside.registry.token("alice"))
        .succeeds();
    assert!(!beside.lines().contains("0.2.0"));
    let of_teams = writer.propose("teams", OWNERS_FILE, teams());
    assert_eq!(writer.waits_for(&of_teams, "success"), GOOD);
    assert_eq!(writer.said_so_far(&of_teams), ["success"]);
    beside.tip();
}

#[test]
fn who_judges_hears_of_a_merge_of_which_another_server_was_told() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start_and_look_each(forge, 3600);
    let writer = Writer::of(&beside);
    writer.put_good(OWNERS_FILE, OWNERS);
    let other = another(&beside, &writer);
    tell_alone(&beside, other.port, &["push", "pull_request"]);
    let of_teams = writer.propose("teams", OWNERS_FILE, teams());
    let of_users = writer.propose("users", OWNERS_FILE, users());
    for proposed in [&of_teams, &of_users] {
        writer.waits_for(proposed, "success");
    }
    writer.merges(&of_teams);
    writer.waits_for(&of_users, "failure");
    assert!(judged(&other.log()).is_empty());
    beside.tip();
}

#[test]
fn an_owner_whose_number_is_anothers_is_not_let_in() {
    let Some(forge) = Gitea::shared() else { return };
    let wanted = Wanted {
        scopes: &["write:repository", "read:organization"],
        ..Wanted::default()
    };
    let beside = Beside::start_as(forge, &wanted);
    let writer = Writer::of(&beside);
    let (alice, mallory) = (forge.user("alice"), forge.user("mallory"));
    let number_of =
        |user: &User| number(&forge.admin().read(&format!("/users/{}", user.login)), "id");
    let (alices, mallorys) = (number_of(&alice), number_of(&mallory));
    let acme = forge.organisation("acme");
    let team = forge.team(&acme, "Platform", "write");
    forge.join(&team, &beside.robot);
    let others = forge.organisation("others");
    let unseen = forge.team(&others, "Platform", "write");
    let sources = forge.repository(&alice.login, "greeter", Visibility::Public);
    let hidden = forge.repository(&alice.login, "hidden", Visibility::Private);
    let before = beside.file(OWNERS_FILE);
    let mut count = 0;
    let mut propose = |file: &str, text: &str| {
        count += 1;
        writer.propose(&format!("change-{count}"), file, text)
    };
    let of_alice = |id: i64| format!("{{ login = \"{}\", id = {id} }}", alice.login);
    let of_team = |name: &str, id: i64| format!("teams = [{{ name = \"{name}\", id = {id} }}]");
    let of_sources = |sources: &Repository, id: i64| {
        let Repository { owner, name, .. } = sources;
        format!("repository = {{ name = \"{owner}/{name}\", id = {id} }}")
    };
    let platform = format!("{acme}:Platform");
    for (good, misfit, told) in [
        (
            format!("users = [{}]", of_alice(alices)),
            format!("users = [{}]", of_alice(mallorys)),
            format!(
                "`{}` in `{OWNERS_FILE}` is number {alices} on the forge, not {mallorys}",
                alice.login
            ),
        ),
        (
            of_team(&platform, team.id),
            of_team(&platform, unseen.id),
            format!(
                "`{platform}` in `{OWNERS_FILE}` is number {} on the forge, not {}",
                team.id, unseen.id
            ),
        ),
        (
            of_sources(&sources, sources.id),
            of_sources(&sources, hidden.id),
            format!("is number {} on the forge, not {}", sources.id, hidden.id),
        ),
    ] {
        let with = |owners: &str| match owners.starts_with("users") {
            true => format!("{owners}\n"),
            false => format!("{before}{owners}\n"),
        };
        let words = writer.waits_for(&propose(OWNERS_FILE, &with(&misfit)), "failure");
        assert!(words.contains(&told), "{words}");
        let words = writer.waits_for(&propose(OWNERS_FILE, &with(&good)), "success");
        assert_eq!(words, GOOD);
    }
    // Nobody of the forge is known by a name alone; and whom the forge does not have has a token of the registry.
    let nameless = format!("users = [{{ login = \"{}\" }}]\n", mallory.login);
    let words = writer.waits_for(&propose(OWNERS_FILE, &nameless), "failure");
    let told = format!(
        "has no number, without which it is nobody of the forge: write `id = {mallorys}` beside it"
    );
    assert!(words.contains(&told), "{words}");
    let of_registry = "users = [{ login = \"no-such-user\" }]\n";
    let words = writer.waits_for(&propose(OWNERS_FILE, of_registry), "success");
    assert_eq!(words, GOOD);
    // What the forge does not show the registry is neither.
    for (owners, told) in [
        (of_sources(&hidden, hidden.id), "has no such repository"),
        (
            of_team(&format!("{others}:Platform"), unseen.id),
            "has no such team",
        ),
        (
            "users = [{ login = \"no-such-user\", id = 1 }]".to_owned(),
            "has no such account",
        ),
    ] {
        let text = match owners.starts_with("users") {
            true => format!("{owners}\n"),
            false => format!("{before}{owners}\n"),
        };
        let words = writer.waits_for(&propose(OWNERS_FILE, &text), "error");
        assert!(words.contains(told), "{words}");
    }
    let create = format!("create = {{ users = [{}] }}\n", of_alice(mallorys));
    let words = writer.waits_for(&propose("policy.toml", &create), "failure");
    assert!(words.contains("` in `policy.toml` is number"), "{words}");
    let many: Vec<String> = (1..=51)
        .map(|id| format!("{{ login = \"a{id}\", id = {id} }}"))
        .collect();
    let many = format!("users = [{}]\n", many.join(", "));
    let words = writer.waits_for(&propose(OWNERS_FILE, &many), "failure");
    assert!(words.contains("propose them in parts"), "{words}");
}

#[test]
fn nobody_is_blamed_for_a_branch_that_is_not_good() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    let good = beside.lines();
    writer.put(
        INDEX_FILE,
        &good.replacen("\"cksum\":\"", "\"cksum\":\"0", 1),
    );
    eventually("writes stop", || (writer.ready() == 503).then_some(()));
    let proposed = writer.propose("readme", "README.md", "read this\n");
    let words = writer.waits_for(&proposed, "error");
    assert!(
        words.starts_with("judged again once the branch itself is good"),
        "{words}"
    );
    let healing = writer.propose("healing", INDEX_FILE, &good);
    assert_eq!(writer.waits_for(&healing, "success"), GOOD);
    writer.merges(&healing);
    assert_eq!(writer.waits_for(&proposed, "success"), GOOD);
    writer.merges(&proposed);
    eventually("the merge is heard of", || {
        (beside.file("README.md") == "read this\n").then_some(())
    });
    beside.tip();
}

#[test]
fn what_was_good_is_not_while_the_branch_breaks_a_rule() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    writer.protect();
    writer.put_good(OWNERS_FILE, OWNERS);
    let of_teams = writer.propose("teams", OWNERS_FILE, teams());
    let of_users = writer.propose("users", OWNERS_FILE, users());
    let both = [&of_teams, &of_users];
    let all_are = |state| both.map(|of| writer.waits_for(of, state));
    all_are("success");
    let good = beside.lines();
    let bad = good.replacen("\"cksum\":\"", "\"cksum\":\"0", 1);
    writer.put(INDEX_FILE, &bad);
    // The second would be good alone and not with the first, and nobody sees the index that they make.
    for words in all_are("error") {
        assert!(
            words.starts_with("judged again once the branch itself is good"),
            "{words}"
        );
    }
    for of in both {
        writer.cannot_merge(of);
    }
    writer.put(INDEX_FILE, &good);
    all_are("success");
    writer.merges(&of_teams);
    writer.waits_for(&of_users, "failure");
    beside.tip();
}

#[test]
fn what_heals_a_branch_is_not_held_up_by_what_was_good_before() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    writer.put_good(OWNERS_FILE, OWNERS);
    let earlier = writer.propose("users", OWNERS_FILE, users());
    writer.waits_for(&earlier, "success");
    writer.put(OWNERS_FILE, "users = []\n");
    eventually("writes stop", || (writer.ready() == 503).then_some(()));
    let healing = writer.propose("healing", OWNERS_FILE, OWNERS);
    assert_eq!(writer.waits_for(&healing, "success"), GOOD);
    writer.merges(&healing);
    eventually("writes go on", || (writer.ready() == 200).then_some(()));
    beside.tip();
}

#[test]
fn what_a_bad_branch_is_blamed_for_is_judged_as_soon_as_that_is_put_back() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    let (lines, good) = (beside.lines(), beside.tip());
    let url = beside.url_of(&beside.owner);
    // Were it waited for, each time would be twice as long as the last: half a minute, a minute, two.
    for round in 0..3 {
        let bad = lines.replacen("\"cksum\":\"", "\"cksum\":\"0", 1);
        writer.put(INDEX_FILE, &bad);
        eventually("writes stop", || (writer.ready() == 503).then_some(()));
        let name = format!("readme-{round}");
        let proposed = writer.propose(&name, "README.md", &name);
        writer.waits_for(&proposed, "error");
        // As OPERATIONS.md has it.
        let main = format!("{good}:refs/heads/main");
        let words = ["push", "--quiet", "--force", &url, &main];
        git::git(&beside.registry.repository(), &words).succeeds();
        // It has the bad commit.
        writer.waits_for(&proposed, "failure");
    }
}

#[test]
fn what_others_say_in_the_servers_name_is_no_judgement() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start(forge);
    let writer = Writer::of(&beside);
    writer.protect();
    let bad = beside.lines().replacen("\"cksum\":\"", "\"cksum\":\"0", 1);
    let heard = writer.propose("heard", INDEX_FILE, &bad);
    writer.waits_for(&heard, "failure");
    writer.stamp(&heard);
    // It counts until the next look, which the server takes when the branch is another.
    assert_eq!(writer.said(&heard).unwrap().0, "success");
    writer.put("README.md", "read this\n");
    writer.waits_for(&heard, "failure");
    writer.cannot_merge(&heard);
    beside.registry.stop();
    let unheard = writer.propose("unheard", INDEX_FILE, &bad);
    writer.stamp(&unheard);
    beside.registry.start_again();
    writer.waits_for(&unheard, "failure");
    writer.cannot_merge(&unheard);
}
