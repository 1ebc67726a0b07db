//! Real cargos on a private registry.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::pasted::snippet;
use crate::common::cargos::View;
use crate::common::http::get;
use crate::common::machine::Machine;
use crate::common::project::{Project, locked_version};
use crate::common::registry::Registry;
use crate::common::tools;

const PRIVATE: &str = "visibility = \"private\"\n";
const WITH_CAPABILITY: &str =
    "visibility = \"private\"\ncapability_downloads = true\n[log]\nfilter = \"trace\"\n";

#[test]
fn stable_cargo_works_over_the_private_sparse_index() {
    everyday_work(PRIVATE, View::Sparse);
}

#[test]
fn stable_cargo_works_over_the_private_git_index() {
    everyday_work(PRIVATE, View::Git);
}

#[test]
fn capability_downloads_do_not_hinder_stable_cargo() {
    for view in [View::Sparse, View::Git] {
        everyday_work(WITH_CAPABILITY, view);
    }
}

fn everyday_work(config: &str, view: View) {
    let registry = Registry::start_with(config);
    let alice = reader(Machine::stable(), &registry, view);
    let token = registry.token("alice");
    gets(&alice, &registry, view, &token);
    let bob = reader(Machine::stable(), &registry, view);
    let reading = registry.token_with("bob", &["--can", "read"]);
    gets(&bob, &registry, view, &reading);

    publish(&alice, "greeter", "0.1.0");
    let found = bob.cargo(&bob.work(), &["search", "greet", "--registry", "crates"]);
    found.succeeds().prints("greeter = \"0.1.0\"");
    let owners = ["owner", "greeter", "--list", "--registry", "crates"];
    bob.cargo(&bob.work(), &owners).succeeds().prints("alice");
    let program = greets(&bob);
    prints(&bob, &program, "greeter 0.1.0");

    publish(&alice, "greeter", "0.1.1");
    bob.cargo(&program, &["update"]).succeeds();
    prints(&bob, &program, "greeter 0.1.1");

    let yank = ["yank", "greeter@0.1.1", "--registry", "crates"];
    bob.cargo(&bob.work(), &yank).fails_with("may not `yank`");
    alice.cargo(&alice.work(), &yank).succeeds();
    std::fs::remove_file(program.join("Cargo.lock")).unwrap();
    bob.cargo(&program, &["generate-lockfile"]).succeeds();
    assert_eq!(locked_version(&program, "greeter"), "0.1.0");

    assert_kept(&registry, &[&token, &reading]);
}

#[test]
fn without_a_token_cargo_says_so_after_one_request() {
    let registry = Registry::start_with(PRIVATE);
    let machine = reader(Machine::stable(), &registry, View::Sparse);
    let before = registry.log().len();
    let program = greets(&machine);
    let ran = machine.cargo(&program, &["generate-lockfile"]);
    ran.fails_with("no token found for `crates`, please run `cargo login --registry crates`");
    assert_eq!(statuses(&registry, before), [401]);
}

#[test]
fn a_wrong_token_is_rejected_after_two_requests() {
    let registry = Registry::start_with(PRIVATE);
    let machine = reader(Machine::stable(), &registry, View::Sparse);
    machine.login("crates", &Registry::start().token("alice"));
    let before = registry.log().len();
    let program = greets(&machine);
    let ran = machine.cargo(&program, &["generate-lockfile"]);
    ran.fails_with("token rejected for `crates`");
    assert_eq!(statuses(&registry, before), [401, 401]);
}

#[test]
fn a_token_that_may_not_read_is_told_so() {
    let registry = Registry::start_with(PRIVATE);
    let machine = reader(Machine::stable(), &registry, View::Sparse);
    machine.login(
        "crates",
        &registry.token_with("alice", &["--can", "publish"]),
    );
    let folder = Project::library("greeter", "0.1.0", "").write(&machine.work());
    let ran = machine.publish(&folder);
    ran.fails_with("this token may not `read`; it allows `publish`");
}

#[test]
fn git_without_or_with_a_wrong_password_ends_with_an_error() {
    let programs = [Some(PathBuf::from(env!("CARGO"))), tools::old_cargo()];
    let registry = Registry::start_with(WITH_CAPABILITY);
    for program in programs.into_iter().flatten() {
        let machine = reader(Machine::with(&program), &registry, View::Git);
        let folder = greets(&machine);
        let before = registry.log().len();
        let ran = machine.cargo(&folder, &["generate-lockfile"]);
        let ran = ran.fails_with("failed to authenticate when downloading repository");
        assert!(!ran.stderr.contains("http parser"), "{ran}");
        let asked = statuses(&registry, before);
        assert!(asked.iter().all(|status| *status == 401), "{asked:?}");
        assert!((1..=4).contains(&asked.len()), "{asked:?}");

        // As a person who mistyped the token some time ago.
        let url = registry.git_index();
        let store = format!(
            "git config --global credential.{url}.helper store\n\
             printf 'url={url}\\nusername=me\\npassword=wrong\\n' | git credential approve"
        );
        machine.shell(&store, "").succeeds();
        let before = registry.log().len();
        machine
            .cargo(&folder, &["generate-lockfile"])
            .fails_with("failed to authenticate when downloading repository");
        let asked = statuses(&registry, before);
        assert!((2..=6).contains(&asked.len()), "{asked:?}");
        assert!(asked.iter().all(|status| *status == 401), "{asked:?}");
    }
}

#[test]
fn debian_cargo_reads_over_git_and_downloads_by_capability() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let mut registry = Registry::start_with(WITH_CAPABILITY);
    let token = registry.token("alice");
    let old = reader(Machine::with(&program), &registry, View::Git);
    let stable = reader(Machine::stable(), &registry, View::Git);
    for machine in [&old, &stable] {
        gets(machine, &registry, View::Git, &token);
    }
    publish(&old, "greeter", "0.1.0");
    let old_program = greets(&old);
    let stable_program = greets(&stable);
    for (machine, program) in [(&old, &old_program), (&stable, &stable_program)] {
        prints(machine, program, "greeter 0.1.0");
    }
    let first = config_json(&registry, &token);
    publish(&stable, "greeter", "0.1.1");

    registry.stop();
    registry.run(&["downloads", "rotate"]).succeeds();
    registry.start_again();
    let second = config_json(&registry, &token);
    assert_ne!(first, second);
    for (machine, program) in [(&old, &old_program), (&stable, &stable_program)] {
        machine.cargo(program, &["update"]).succeeds();
        prints(machine, program, "greeter 0.1.1");
    }
    let yank = [
        "yank",
        "--version",
        "0.1.1",
        "greeter",
        "--registry",
        "crates",
    ];
    old.cargo(&old.work(), &yank).succeeds();

    let [first, second] = [first, second].map(|config| capability_of(&config));
    assert_kept(&registry, &[&token, &first, &second]);
    let log = registry.log();
    assert!(log.contains("/crates/dl/***/greeter/0.1.0/"), "{log}");
}

/// The machine with what a reader of the registry pastes, but no token yet.
fn reader(machine: Machine, registry: &Registry, view: View) -> Machine {
    let id = match view {
        View::Sparse => "sparse",
        View::Git => "git",
    };
    machine.paste_settings(&snippet(registry, id));
    machine
}

/// The machine gets a token, where each program looks for it.
#[track_caller]
fn gets(machine: &Machine, registry: &Registry, view: View, token: &str) {
    // In this order: to log in, Cargo reads the index.
    if view == View::Git {
        let commands = snippet(registry, "git-credentials");
        machine.shell(&commands, token).succeeds();
    }
    machine.login("crates", token);
}

#[track_caller]
fn publish(machine: &Machine, name: &str, version: &str) {
    let text = format!("{name} {version}");
    let folder = Project::library(name, version, &text).write(&machine.work());
    machine.publish(&folder).succeeds();
}

fn greets(machine: &Machine) -> PathBuf {
    Project::program("hello", "println!(\"{}\", greeter::greeting());")
        .depends_on("greeter", "0.1")
        .write(&machine.work())
}

#[track_caller]
fn prints(machine: &Machine, program: &Path, text: &str) {
    let ran = machine.cargo(program, &["run", "--quiet"]);
    ran.succeeds().prints(text);
}

/// What the requests since `before` were answered, as the log has it.
fn statuses(registry: &Registry, before: usize) -> Vec<u16> {
    let log = registry.log().split_off(before);
    log.split("answered status=")
        .skip(1)
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

fn config_json(registry: &Registry, token: &str) -> Value {
    let request = get("/crates/index/config.json").token(token);
    request.send(registry.port).succeeds().json()
}

fn capability_of(config_json: &Value) -> String {
    let dl = config_json["dl"].as_str().unwrap();
    let (_, rest) = dl.split_once("/dl/").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

/// Panics if the log holds a secret, or a part of a token that none may see.
#[track_caller]
fn assert_kept(registry: &Registry, secrets: &[&str]) {
    let log = registry.log();
    for secret in secrets {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "a secret stands in:\n{log}");
    }
}
