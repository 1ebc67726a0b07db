//! Debian 12's own cargo, which knows only the git index.

use crate::common::cargos::{Sandbox, View};
use crate::common::project::{Project, locked_version};
use crate::common::registry::Registry;
use crate::common::tools;

#[test]
fn debian_cargo_publishes_builds_updates_and_yanks() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    let stable = Sandbox::stable(&registry, View::Sparse);
    stable.login(&token);
    let old = Sandbox::old(program, &registry);
    old.cargo(&old.work(), &["--version"])
        .succeeds()
        .prints("cargo 1.65.0");
    old.login(&token);

    publish_in_turns(&old, &stable);
    let hello = Project::program("hello", "println!(\"{}\", eldest::greeting());")
        .depends_on("eldest", "1")
        .write(&old.work());
    old.cargo(&hello, &["build"]).succeeds();
    old.cargo(&hello, &["run", "--quiet"])
        .succeeds()
        .prints("elder 1.0.0, younger, eldest");

    publish(&stable, Project::library("elder", "1.0.1", "elder 1.0.1"));
    old.cargo(&hello, &["update"]).succeeds();
    old.cargo(&hello, &["run", "--quiet", "--locked"])
        .succeeds()
        .prints("elder 1.0.1, younger, eldest");

    let yank = [
        "yank",
        "--version",
        "1.0.1",
        "elder",
        "--registry",
        "crates",
    ];
    old.cargo(&old.work(), &yank).succeeds();
    old.lock_anew(&hello);
    assert_eq!(locked_version(&hello, "elder"), "1.0.0");
    let undo = [&yank[..], &["--undo"]].concat();
    old.cargo(&old.work(), &undo).succeeds();
    old.lock_anew(&hello);
    assert_eq!(locked_version(&hello, "elder"), "1.0.1");

    // Its own words to the server, for the web API and downloads and for the git index.
    let log = registry.log();
    for user_agent in ["cargo 1.65.0", "git/2.0 (libgit2 1.5.1)"] {
        assert!(log.contains(user_agent), "no `{user_agent}` in:\n{log}");
    }
}

/// Three crates: each depends on one that the other cargo published.
fn publish_in_turns(old: &Sandbox, stable: &Sandbox) {
    publish(old, Project::library("elder", "1.0.0", "elder 1.0.0"));
    publish(
        stable,
        Project::library("younger", "1.0.0", "")
            .depends_on("elder", "1")
            .source("pub fn greeting() -> String { elder::greeting() + \", younger\" }\n"),
    );
    publish(
        old,
        Project::library("eldest", "1.0.0", "eldest")
            .depends_on("younger", "1")
            .source("pub fn greeting() -> String { younger::greeting() + \", eldest\" }\n"),
    );
}

#[track_caller]
fn publish(sandbox: &Sandbox, project: Project) {
    let folder = project.write(&sandbox.work());
    sandbox.publish(&folder).succeeds();
}
