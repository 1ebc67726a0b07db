//! What a developer does with the stable cargo, over both views of the index.

use std::path::Path;

use crate::common::cargos::{Sandbox, View};
use crate::common::project::{Project, locked_version, write_workspace};
use crate::common::registry::Registry;

#[test]
fn stable_cargo_works_over_the_sparse_index() {
    everyday_work(View::Sparse);
}

#[test]
fn stable_cargo_works_over_the_git_index() {
    everyday_work(View::Git);
}

fn everyday_work(view: View) {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, view);
    alice.login(&registry.token("alice"));

    publish_greeter(&alice, "0.1.0").succeeds();
    publish_workspace(&alice);

    // A reader has no token at all.
    let reader = Sandbox::stable(&registry, view);
    reader
        .cargo(&reader.work(), &["search", "greet", "--registry", "crates"])
        .succeeds()
        .prints("greeter = \"0.1.0\"");
    let program = add_and_run(&reader);
    update_brings_a_new_version(&alice, &reader, &program);
    yanked_versions_leave_new_lock_files(&alice, &reader, &program);
    owners_decide_who_publishes(&registry, &alice, view);
}

fn publish_greeter(sandbox: &Sandbox, version: &str) -> crate::common::ran::Ran {
    let text = format!("greeter {version}");
    let folder = Project::library("greeter", version, &text).write(&sandbox.work());
    sandbox.publish(&folder)
}

/// Three crates that depend on each other, published by one command.
fn publish_workspace(sandbox: &Sandbox) {
    let calls = |name: &str| format!("pub fn greeting() -> String {{ {name}::greeting() }}\n");
    let folder = sandbox.work().join("workspace");
    let members = [
        Project::library("top", "0.3.0", "")
            .depends_on_member("middle", "0.2")
            .source(&calls("middle")),
        Project::library("middle", "0.2.0", "")
            .depends_on_member("leaf", "0.1")
            .source(&calls("leaf")),
        Project::library("leaf", "0.1.0", "from the leaf"),
    ];
    write_workspace(&folder, &members);
    let arguments = ["publish", "--workspace", "--registry", "crates"];
    sandbox.cargo(&folder, &arguments).succeeds();
}

fn add_and_run(reader: &Sandbox) -> std::path::PathBuf {
    let body = "println!(\"{}, {}\", greeter::greeting(), top::greeting());";
    let program = Project::program("hello", body).write(&reader.work());
    for name in ["greeter", "top"] {
        let arguments = ["add", name, "--registry", "crates"];
        reader.cargo(&program, &arguments).succeeds();
    }
    reader.cargo(&program, &["build"]).succeeds();
    runs(reader, &program, "greeter 0.1.0, from the leaf");
    program
}

fn update_brings_a_new_version(alice: &Sandbox, reader: &Sandbox, program: &Path) {
    publish_greeter(alice, "0.1.1").succeeds();
    runs(reader, program, "greeter 0.1.0");
    reader.cargo(program, &["update"]).succeeds();
    assert_eq!(locked_version(program, "greeter"), "0.1.1");
    runs(reader, program, "greeter 0.1.1");
}

fn yanked_versions_leave_new_lock_files(alice: &Sandbox, reader: &Sandbox, program: &Path) {
    let yank = |extra: &[&str]| {
        let mut arguments = vec!["yank", "--version", "0.1.1", "greeter"];
        arguments.extend_from_slice(&["--registry", "crates"]);
        arguments.extend_from_slice(extra);
        alice.cargo(&alice.work(), &arguments).succeeds();
    };
    yank(&[]);
    // An existing lock file keeps the yanked version.
    reader.cargo(program, &["update", "leaf"]).succeeds();
    reader.cargo(program, &["build", "--locked"]).succeeds();
    assert_eq!(locked_version(program, "greeter"), "0.1.1");

    reader.lock_anew(program);
    assert_eq!(locked_version(program, "greeter"), "0.1.0");

    yank(&["--undo"]);
    reader.lock_anew(program);
    assert_eq!(locked_version(program, "greeter"), "0.1.1");
}

fn owners_decide_who_publishes(registry: &Registry, alice: &Sandbox, view: View) {
    let owner = |sandbox: &Sandbox, arguments: &[&str]| {
        let mut words = vec!["owner", "greeter", "--registry", "crates"];
        words.extend_from_slice(arguments);
        sandbox.cargo(&sandbox.work(), &words)
    };
    let bob = Sandbox::stable(registry, view);
    bob.login(&registry.token("bob"));
    publish_greeter(&bob, "0.1.2").fails_with("alice");

    owner(alice, &["--list"]).succeeds().prints("alice");
    owner(alice, &["--add", "bob"]).succeeds();
    owner(alice, &["--list"]).succeeds().prints("bob");
    publish_greeter(&bob, "0.1.2").succeeds();

    owner(&bob, &["--remove", "alice"]).succeeds();
    publish_greeter(alice, "0.1.3").fails_with("bob");
    owner(&bob, &["--remove", "bob"]).fails_with("at least one owner");
}

#[track_caller]
fn runs(reader: &Sandbox, program: &Path, text: &str) {
    reader
        .cargo(program, &["run", "--quiet"])
        .succeeds()
        .prints(text);
}
