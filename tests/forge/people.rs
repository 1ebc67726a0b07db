//! People who come with an access token of the forge, through real cargos.

use serde_json::json;

use super::beside::{Beside, DEVELOPER, Wanted, publish};
use super::gitea::Gitea;
use super::scene::User;
use crate::common::http::request;
use crate::common::machine::Machine;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;

#[test]
fn a_developer_publishes_with_an_access_token_and_is_the_author() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let alice = forge.user("alice");
    let token = beside.token(&alice, &["write:repository", "read:user"]);
    let bare = beside.developer(&token);
    publish(&bare, "0.1.0").succeeds();
    let owners = beside.file("owners/gr/ee/greeter.toml");
    assert_eq!(
        owners,
        format!(
            "users = [{{ login = \"{}\", id = {} }}]\n",
            alice.login, alice.id
        )
    );
    let bearer = beside.developer(&format!("Bearer {token}"));
    publish(&bearer, "0.1.1").succeeds();
    let newest = beside.newest();
    for line in [
        format!("{}\n\npublish greeter 0.1.1\n", alice.login),
        format!("\nPublished-by: {}\n", alice.login),
        format!("\nAuthenticated-via: forge token of user {}\n", alice.id),
    ] {
        assert!(newest.contains(&line), "{line} is not in {newest}");
    }
    let yank = ["yank", "greeter@0.1.0", "--registry", "crates"];
    bare.cargo(&bare.work(), &yank).succeeds();
    assert!(beside.newest().contains("\n\nyank greeter 0.1.0\n"));
    beside.tip();
}

#[test]
fn cargos_new_and_old_work_over_a_private_git_index_with_the_token_as_a_password() {
    let Some(forge) = Gitea::shared() else { return };
    let wanted = Wanted {
        keys: "visibility = \"private\"\ncapability_downloads = true\n".to_owned(),
        ..Wanted::private()
    };
    let beside = Beside::start_as(forge, &wanted);
    let alice = forge.user("alice");
    forge.collaborate(&beside.repository, &alice, "read");
    let token = beside.token(&alice, &["write:repository", "read:user"]);
    let machines = [
        Some(Machine::stable()),
        tools::old_cargo().map(|program| Machine::with(&program)),
    ];
    for (index, machine) in machines.into_iter().flatten().enumerate() {
        let machine = over_git(machine, &beside.registry, &token);
        let version = format!("0.1.{index}");
        let library = Project::library("greeter", &version, "hello").write(&machine.work());
        machine.publish(&library).succeeds();
        let program = Project::program("hello", "println!(\"{}\", greeter::greeting());")
            .depends_on("greeter", &format!("={version}"))
            .write(&machine.work());
        let ran = machine.cargo(&program, &["run", "--quiet"]).succeeds();
        assert_eq!(ran.stdout, "hello\n");
    }
    let via = format!("Authenticated-via: forge token of user {}", alice.id);
    assert!(beside.newest().contains(&via));
    beside.tip();
}

#[test]
fn a_token_that_is_too_narrow_is_told_what_it_needs() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let alice = forge.user("alice");
    let person = beside.developer(&beside.token(&alice, &["write:repository", "read:user"]));
    publish(&person, "0.1.0").succeeds();
    let cases: [(&[&str], &str); 5] = [
        (
            &["read:repository", "read:user"],
            "give it the scope `write:repository`",
        ),
        (
            &["public-only", "read:repository", "read:user"],
            "give it the scope `write:repository`",
        ),
        (&["read:user"], "give it the scope `write:repository`"),
        (&["write:repository"], "give it the scope `read:user` too"),
        (&["write:issue"], "give it the scope `read:user` too"),
    ];
    for (scopes, sentence) in cases {
        let person = beside.developer(&beside.token(&alice, scopes));
        publish(&person, "0.1.1").fails_with(sentence);
        let yank = ["yank", "greeter@0.1.0", "--registry", "crates"];
        person.cargo(&person.work(), &yank).fails_with(sentence);
        let own = ["owner", "--add", &alice.login, "greeter"];
        let own = [&own[..], &["--registry", "crates"]].concat();
        person.cargo(&person.work(), &own).fails_with(sentence);
    }
    assert!(beside.newest().contains("\n\npublish greeter 0.1.0\n"));
}

#[test]
fn a_token_that_is_limited_to_what_is_public_is_told_so_on_a_private_registry() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start_as(forge, &Wanted::private());
    let alice = forge.user("alice");
    forge.collaborate(&beside.repository, &alice, "read");
    let limited = [&["public-only"][..], &DEVELOPER].concat();
    let token = beside.token(&alice, &limited);
    let refused = Release::new("greeter", "0.1.0").publish(beside.registry.port, &token);
    let said = refused.refusal();
    assert!(said.contains("make one without that limit"), "{said}");
}

#[test]
fn a_token_that_was_taken_back_writes_no_more_although_it_read_a_moment_ago() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start_as(forge, &Wanted::private());
    let alice = forge.user("alice");
    forge.collaborate(&beside.repository, &alice, "read");
    let token = forge.token(&alice, &DEVELOPER);
    beside.registry.look_for(&token.text);
    let person = beside.developer(&token.text);
    publish(&person, "0.1.0").succeeds();
    beside.read(&token.text).succeeds();
    forge.delete_token(&alice, &token);
    for reply in [
        Release::new("greeter", "0.1.1").publish(beside.registry.port, &token.text),
        request("DELETE", "/crates/api/v1/crates/greeter/0.1.0/yank")
            .token(&token.text)
            .send(beside.registry.port),
        request("PUT", "/crates/api/v1/crates/greeter/owners")
            .token(&token.text)
            .body(json!({ "users": [alice.login] }).to_string())
            .send(beside.registry.port),
    ] {
        assert_eq!(reply.status, 401, "{reply:?}");
        let said = reply.refusal();
        assert!(said.contains("does not accept this token"), "{said}");
    }
    // And what a write learned, reads know.
    assert_eq!(beside.read(&token.text).status, 401);
    assert!(beside.newest().contains("\n\npublish greeter 0.1.0\n"));
}

#[test]
fn a_renamed_person_keeps_what_they_own() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let alice = forge.user("alice");
    let person = beside.developer(&beside.token(&alice, &DEVELOPER));
    publish(&person, "0.1.0").succeeds();
    let renamed = forge.rename_user(&alice, "alicia");
    publish(&person, "0.1.1").succeeds();
    let newest = beside.newest();
    assert!(
        newest.starts_with(&format!("{}\n", renamed.login)),
        "{newest}"
    );
    let via = format!("Authenticated-via: forge token of user {}", alice.id);
    assert!(newest.contains(&via), "{newest}");
    // Whoever takes the name that is free now is another.
    let taker = forge.account(&alice.login);
    let taker = beside.developer(&beside.token(&taker, &DEVELOPER));
    publish(&taker, "0.1.2").fails_with("is not an owner of the crate `greeter`");
}

#[test]
fn a_renamed_owner_leaves_under_either_name() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|word| forge.user(word));
    let person = beside.developer(&beside.token(&alice, &DEVELOPER));
    publish(&person, "0.1.0").succeeds();
    let own = |edit: &str, login: &str| {
        let words = ["owner", edit, login, "greeter", "--registry", "crates"];
        person.cargo(&person.work(), &words)
    };
    own("--add", &bob.login).succeeds();
    own("--add", &carol.login).succeeds();
    let robert = forge.rename_user(&bob, "robert");
    forge.rename_user(&carol, "caroline");
    own("--remove", &robert.login).succeeds();
    own("--remove", &carol.login).succeeds();
    let owners = beside.file("owners/gr/ee/greeter.toml");
    assert!(
        !owners.contains(&bob.login) && !owners.contains(&carol.login),
        "{owners}"
    );
    own("--remove", &robert.login).fails_with("is not an owner of this crate");
    own("--remove", "no-such-person").fails_with("is not an owner of this crate");
}

#[test]
fn of_two_owners_with_one_name_the_one_who_has_it_now_leaves() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let alice = forge.user("alice");
    let person = beside.developer(&beside.token(&alice, &DEVELOPER));
    publish(&person, "0.1.0").succeeds();
    let alicia = forge.rename_user(&alice, "alicia");
    let newcomer = forge.account(&alice.login);
    let own = |words: &[&str]| {
        let words = [&["owner"], words, &["greeter", "--registry", "crates"]].concat();
        person.cargo(&person.work(), &words)
    };
    let owner_left = |owner: &User| {
        let line = format!(
            "users = [{{ login = \"{}\", id = {} }}]\n",
            alice.login, owner.id
        );
        assert_eq!(beside.file("owners/gr/ee/greeter.toml"), line);
    };
    own(&["--remove", &newcomer.login]).fails_with(&format!(
        "`{}` is number {} on the forge, which is not an owner of this crate; recorded under that name is number {}: ",
        alice.login, newcomer.id, alice.id
    ));
    own(&["--add", &newcomer.login]).succeeds();
    let listed = own(&["--list"]).succeeds();
    for id in [alice.id, newcomer.id] {
        let told = format!("{} (number {id})", alice.login);
        let is_it = |line: &str| line == told;
        assert!(listed.stdout.lines().any(is_it), "{told}: {listed}");
    }
    own(&["--remove", &newcomer.login]).succeeds();
    owner_left(&alice);
    let subject = format!("\n\nown greeter -{}\n", alice.login);
    assert!(beside.newest().contains(&subject));
    publish(&person, "0.1.1").succeeds();
    // Nobody has the name any more, and two are recorded under it.
    own(&["--add", &newcomer.login]).succeeds();
    forge.delete_user(&newcomer);
    let both = format!("number {} and number {}: ", alice.id, newcomer.id);
    own(&["--remove", &newcomer.login]).fails_with(&both);
    own(&["--remove", &alicia.login]).succeeds();
    owner_left(&newcomer);
}

#[test]
fn a_blocked_person_does_nothing_until_they_are_let_in_again() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start_as(forge, &Wanted::private());
    let alice = forge.user("alice");
    forge.collaborate(&beside.repository, &alice, "read");
    let token = beside.token(&alice, &DEVELOPER);
    let other = beside.token(&alice, &DEVELOPER);
    let person = beside.developer(&token);
    publish(&person, "0.1.0").succeeds();
    forge.block(&alice, true);
    let refused = Release::new("greeter", "0.1.1").publish(beside.registry.port, &token);
    assert_eq!(refused.status, 403, "{refused:?}");
    let said = refused.refusal();
    assert!(said.contains("This account is prohibited"), "{said}");
    // One that was not shown before they were blocked.
    let refused = beside.read(&other);
    assert_eq!(refused.status, 403, "{refused:?}");
    forge.block(&alice, false);
    publish(&person, "0.1.1").succeeds();
}

#[test]
fn whoever_takes_the_name_of_a_person_who_is_gone_owns_nothing() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let alice = forge.user("alice");
    let person = beside.developer(&beside.token(&alice, &DEVELOPER));
    publish(&person, "0.1.0").succeeds();
    forge.delete_user(&alice);
    publish(&person, "0.1.1").fails_with("does not accept this token");
    let other = forge.account(&alice.login);
    assert_ne!(other.id, alice.id);
    let other_person = beside.developer(&beside.token(&other, &DEVELOPER));
    let said = publish(&other_person, "0.1.1").fails_with("is not an owner of the crate `greeter`");
    // Both numbers, or nobody would understand it.
    for number in [alice.id, other.id] {
        let number = format!("{} (number {number})", alice.login);
        assert!(said.stderr.contains(&number), "{said}");
    }
    for arguments in [
        &["yank", "greeter@0.1.0"][..],
        &["owner", "--add", &other.login, "greeter"],
    ] {
        let arguments = [arguments, &["--registry", "crates"]].concat();
        let ran = other_person.cargo(&other_person.work(), &arguments);
        ran.fails_with("is not an owner of the crate `greeter`");
    }
    assert!(beside.newest().contains("\n\npublish greeter 0.1.0\n"));
}

/// A machine on which git knows a token for the registry's git index, and Cargo too.
#[track_caller]
fn over_git(machine: Machine, registry: &Registry, token: &str) -> Machine {
    let url = registry.git_index();
    machine.paste_settings(&format!(
        "[registries.crates]\nindex = \"{url}\"\n\n\
         [registry]\nglobal-credential-providers = [\"cargo:token\"]\n"
    ));
    let commands =
        format!("git config --global credential.{url}.helper store\ngit ls-remote {url}\n");
    machine.shell(&commands, token).succeeds();
    machine.login("crates", token);
    machine
}
