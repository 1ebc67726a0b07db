//! Teams of the forge, and those who push to a repository, as owners of crates.

use serde_json::json;

use super::api::{base64, done, text};
use super::beside::{Beside, DEVELOPER, publish};
use super::gitea::Gitea;
use super::scene::{Repository, User, Visibility};
use crate::common::cargos::Sandbox;
use crate::common::ran::Ran;
use crate::common::watch::eventually;

#[must_use]
fn own(person: &Sandbox, arguments: &[&str]) -> Ran {
    let arguments = [&["owner"], arguments, &["--registry", "crates"]].concat();
    person.cargo(&person.work(), &arguments)
}

/// A developer with a token for everything that is said to be needed.
fn developer(beside: &Beside<'_>, user: &User) -> Sandbox {
    beside.developer(&beside.token(user, &DEVELOPER))
}

#[test]
fn members_of_a_team_publish_what_it_owns_until_they_leave() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let acme = forge.organisation("acme");
    let platform = forge.team(&acme, "Platform", "write");
    let (alice, bob) = (forge.user("alice"), forge.user("bob"));
    forge.join(&platform, &alice);
    let (of_alice, of_bob) = (developer(&beside, &alice), developer(&beside, &bob));
    publish(&of_alice, "0.1.0").succeeds();
    let team = format!("{acme}:platform");
    own(&of_alice, &["--add", &team, "greeter"]).succeeds();
    let owners = beside.file("owners/gr/ee/greeter.toml");
    let line = format!("teams = [{{ name = \"{team}\", id = {} }}]\n", platform.id);
    assert!(owners.contains(&line), "{owners}");
    let listed = own(&of_alice, &["--list", "greeter"]).succeeds();
    for name in [&alice.login, &team] {
        let is_it = |line: &str| line == name;
        assert!(listed.stdout.lines().any(is_it), "{name}: {listed}");
    }

    publish(&of_bob, "0.1.1").fails_with("is not an owner of the crate `greeter`");
    forge.join(&platform, &bob);
    publish(&of_bob, "0.1.1").succeeds();
    let yank = ["yank", "greeter@0.1.1", "--registry", "crates"];
    of_bob.cargo(&of_bob.work(), &yank).succeeds();
    // What tells who somebody is tells their teams too.
    let narrow = beside.developer(&beside.token(&bob, &["write:repository", "read:user"]));
    publish(&narrow, "0.1.2").succeeds();
    own(&of_bob, &["--add", &bob.login, "greeter"])
        .fails_with("is not an owner of the crate `greeter`");
    forge.leave(&platform, &bob);
    publish(&of_bob, "0.1.3").fails_with("is not an owner of the crate `greeter`");

    own(&of_alice, &["--remove", &team, "greeter"]).succeeds();
    forge.join(&platform, &bob);
    publish(&of_bob, "0.1.3").fails_with("is not an owner of the crate `greeter`");
    beside.tip();
}

#[test]
fn an_owner_that_the_forge_does_not_have_is_named() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let acme = forge.organisation("acme");
    let platform = forge.team(&acme, "Platform", "write");
    let (alice, bob) = (forge.user("alice"), forge.user("bob"));
    let of_alice = developer(&beside, &alice);
    publish(&of_alice, "0.1.0").succeeds();
    for (name, sentence) in [
        ("no-such-person".to_owned(), "has no user `no-such-person`"),
        (
            acme.to_string(),
            "is an organisation; name one of its teams",
        ),
        (format!("{acme}:nothing"), "has no team"),
        // There is one, and she is not in the organisation.
        (format!("{acme}:platform"), "has no team"),
        ("no-such-organisation:x".to_owned(), "has no team"),
        (format!("github:{acme}:platform"), "names no team"),
    ] {
        own(&of_alice, &["--add", &name, "greeter"]).fails_with(sentence);
    }
    forge.join(&platform, &alice);
    own(&of_alice, &["--add", &format!("{acme}:nothing"), "greeter"]).fails_with("has no team");
    own(
        &of_alice,
        &["--add", &format!("{acme}:platform"), "greeter"],
    )
    .succeeds();
    own(&of_alice, &["--add", &bob.login, "greeter"]).succeeds();
    let owners = beside.file("owners/gr/ee/greeter.toml");
    let number = format!("{{ login = \"{}\", id = {} }}", bob.login, bob.id);
    assert!(owners.contains(&number), "{owners}");
    own(&of_alice, &["--remove", &alice.login, "greeter"]).succeeds();
    own(&of_alice, &["--remove", &bob.login, "greeter"]).fails_with("is not an owner");
}

#[test]
fn a_renamed_team_leaves_under_its_new_name_and_no_other_with_it() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let acme = forge.organisation("acme");
    let alice = forge.user("alice");
    let first = forge.team(&acme, "core", "write");
    forge.join(&first, &alice);
    let person = developer(&beside, &alice);
    publish(&person, "0.1.0").succeeds();
    let [core, kernel, shell] = ["core", "kernel", "shell"].map(|word| format!("{acme}:{word}"));
    own(&person, &["--add", &core, "greeter"]).succeeds();
    forge.rename_team(&first, "kernel");
    let second = forge.team(&acme, "core", "write");
    own(&person, &["--add", &core, "greeter"]).succeeds();
    let listed = own(&person, &["--list", "greeter"]).succeeds();
    for id in [first.id, second.id] {
        let told = format!("{core} (number {id})");
        let is_it = |line: &str| line == told;
        assert!(listed.stdout.lines().any(is_it), "{told}: {listed}");
    }
    let narrow = beside.developer(&beside.token(&alice, &["write:repository", "read:user"]));
    own(&narrow, &["--remove", &core, "greeter"])
        .fails_with(&format!("number {} and number {}: ", first.id, second.id));
    own(&narrow, &["--remove", &kernel, "greeter"]).fails_with("scope `read:organization`");
    let teams_left = |teams: &str| {
        let owners = beside.file("owners/gr/ee/greeter.toml");
        let found = owners.split_once('\n').unwrap().1;
        assert_eq!(found, teams);
    };
    let of_core = |id| format!("teams = [{{ name = \"{core}\", id = {id} }}]\n");
    own(&person, &["--remove", &kernel, "greeter"]).succeeds();
    teams_left(&of_core(second.id));
    // One that the forge has under another name by now, and none under this.
    forge.rename_team(&second, "shell");
    own(&person, &["--remove", &core, "greeter"]).succeeds();
    teams_left("");
    own(&person, &["--remove", &shell, "greeter"]).fails_with("is not an owner of this crate");
}

/// Links the crate `greeter` to a repository, by a commit on the forge.
#[track_caller]
pub fn link(beside: &Beside<'_>, repository: &Repository) {
    let owners = "owners/gr/ee/greeter.toml";
    let line = format!(
        "repository = {{ name = \"{}/{}\", id = {} }}\n",
        repository.owner, repository.name, repository.id
    );
    edit(beside, owners, &format!("{}{line}", beside.file(owners)));
}

/// Gives a file of the index another text, by a commit on the forge.
#[track_caller]
fn edit(beside: &Beside<'_>, file: &str, content: &str) {
    let path = format!("{}/contents/{file}", beside.repository.api());
    let owner = beside.forge.admin();
    let change = json!({
        "content": base64(content),
        "sha": text(&owner.read(&path), "sha"),
        "message": format!("edit {file}"),
    });
    done(owner.send("PUT", &path, &change), 200);
    eventually("it is in force", || {
        (beside.file(file) == content).then_some(())
    });
}

#[test]
fn who_may_create_crates_goes_by_numbers_and_teams() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let acme = forge.organisation("acme");
    let platform = forge.team(&acme, "Platform", "write");
    let (alice, bob) = (forge.user("alice"), forge.user("bob"));
    forge.join(&platform, &bob);
    let (of_alice, of_bob) = (developer(&beside, &alice), developer(&beside, &bob));
    edit(
        &beside,
        "policy.toml",
        &format!("create = [\"{}\"]\n", alice.login),
    );
    // The name is hers today, and somebody else's tomorrow.
    publish(&of_alice, "0.1.0").fails_with(&format!(
        "does not let `{0} (number {1})` create crates; who may: {0} (without a number)",
        alice.login, alice.id
    ));
    let team = format!(
        "[create]\nteams = [{{ name = \"{acme}:platform\", id = {} }}]\n",
        platform.id
    );
    edit(&beside, "policy.toml", &team);
    publish(&of_alice, "0.1.0").fails_with(&format!("who may: {acme}:platform"));
    publish(&of_bob, "0.1.0").succeeds();
    let person = format!(
        "[create]\nusers = [{{ login = \"{}\", id = {} }}]\n",
        alice.login, alice.id
    );
    edit(&beside, "policy.toml", &person);
    // What is there goes by its owners.
    publish(&of_bob, "0.1.1").succeeds();
    publish(&of_alice, "0.1.2").fails_with("is not an owner of the crate `greeter`");
    beside.tip();
}

#[test]
fn who_pushes_to_the_repository_of_a_crate_publishes_it() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let (alice, bob, carol) = (forge.user("alice"), forge.user("bob"), forge.user("carol"));
    let sources = forge.repository(&alice.login, "greeter", Visibility::Public);
    publish(&developer(&beside, &alice), "0.1.0").succeeds();
    link(&beside, &sources);
    let (of_bob, of_carol) = (developer(&beside, &bob), developer(&beside, &carol));
    publish(&of_bob, "0.1.1").fails_with("is not an owner of the crate `greeter`");
    forge.collaborate(&sources, &bob, "write");
    forge.collaborate(&sources, &carol, "read");
    publish(&of_bob, "0.1.1").succeeds();
    // The step before a push lets her in, because the repository is public: that alone is no right.
    publish(&of_carol, "0.1.2").fails_with("is not an owner of the crate `greeter`");
    let reader = beside.token(&bob, &["read:repository", "read:user"]);
    publish(&beside.developer(&reader), "0.1.2").fails_with("give it the scope `write:repository`");
    own(&of_bob, &["--add", &bob.login, "greeter"])
        .fails_with("is not an owner of the crate `greeter`");
    // It is that repository, whatever it is called, and no other of its name.
    let renamed = forge.rename(&sources, "hello");
    publish(&of_bob, "0.1.2").succeeds();
    let other = forge.repository(&alice.login, "greeter", Visibility::Public);
    forge.collaborate(&other, &carol, "write");
    publish(&of_carol, "0.1.3").fails_with("is not an owner of the crate `greeter`");
    forge.archive(&renamed, true);
    publish(&of_bob, "0.1.3").fails_with("is not an owner of the crate `greeter`");
    beside.tip();
}
