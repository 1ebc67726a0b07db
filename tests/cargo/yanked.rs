//! Yanked versions: gone for those who choose, there for those who have chosen.

use std::path::{Path, PathBuf};

use crate::common::cargos::{Sandbox, View};
use crate::common::project::{Project, locked_version};
use crate::common::registry::Registry;
use crate::common::tools;

#[test]
fn stable_cargo_keeps_yanked_versions_that_are_locked_over_the_sparse_index() {
    let registry = Registry::start();
    let cargo = Sandbox::stable(&registry, View::Sparse);
    yanked_versions_stay_where_they_are_locked(&registry, &cargo);
    a_yanked_version_can_be_chosen_by_its_number(&cargo);
}

#[test]
fn stable_cargo_keeps_yanked_versions_that_are_locked_over_the_git_index() {
    let registry = Registry::start();
    let cargo = Sandbox::stable(&registry, View::Git);
    yanked_versions_stay_where_they_are_locked(&registry, &cargo);
    a_yanked_version_can_be_chosen_by_its_number(&cargo);
}

#[test]
fn debian_cargo_keeps_yanked_versions_that_are_locked() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let registry = Registry::start();
    let cargo = Sandbox::old(program, &registry);
    yanked_versions_stay_where_they_are_locked(&registry, &cargo);
}

fn yanked_versions_stay_where_they_are_locked(registry: &Registry, cargo: &Sandbox) {
    cargo.login(&registry.token("alice"));
    for version in ["1.0.0", "1.0.1"] {
        publish(cargo, "pulled", version);
        publish(cargo, "other", version);
    }
    publish(cargo, "withdrawn", "0.1.0");
    let program = user_of(cargo, "hello", &["pulled"]);
    cargo.cargo(&program, &["generate-lockfile"]).succeeds();
    assert_eq!(locked_version(&program, "pulled"), "1.0.1");

    for (name, version) in [("pulled", "1.0.1"), ("withdrawn", "0.1.0")] {
        let words = ["yank", "--version", version, name, "--registry", "crates"];
        cargo.cargo(&cargo.work(), &words).succeeds();
    }
    // A machine that never saw it before still gets it.
    cargo.forget_downloads();
    cargo.cargo(&program, &["build", "--locked"]).succeeds();

    // Also when a new dependency comes in, and when another one moves on.
    user_of(cargo, "hello", &["pulled", "other"]);
    cargo.cargo(&program, &["build"]).succeeds();
    publish(cargo, "other", "1.0.2");
    cargo.cargo(&program, &["update", "-p", "other"]).succeeds();
    assert_eq!(locked_version(&program, "pulled"), "1.0.1");
    assert_eq!(locked_version(&program, "other"), "1.0.2");

    let hopeless = user_of(cargo, "hopeless", &["withdrawn"]);
    cargo
        .cargo(&hopeless, &["generate-lockfile"])
        .fails_with("withdrawn");
    cargo.lock_anew(&program);
    assert_eq!(locked_version(&program, "pulled"), "1.0.0");
}

/// Cargo since 1.80 takes a yanked version for `--precise`, and warns.
fn a_yanked_version_can_be_chosen_by_its_number(cargo: &Sandbox) {
    let program = cargo.work().join("hello");
    let words = ["update", "pulled", "--precise", "1.0.1"];
    let chosen = cargo.cargo(&program, &words).succeeds();
    assert!(chosen.stderr.contains("yanked"), "{chosen}");
    assert_eq!(locked_version(&program, "pulled"), "1.0.1");
    cargo.cargo(&program, &["build", "--locked"]).succeeds();
}

fn publish(cargo: &Sandbox, name: &str, version: &str) {
    let folder = Project::library(name, version, name).write(&cargo.work());
    let words = ["publish", "--registry", "crates", "--no-verify"];
    cargo.cargo(&folder, &words).succeeds();
}

/// Writes a program over what is there, and leaves its lock file.
fn user_of(cargo: &Sandbox, program: &str, names: &[&str]) -> PathBuf {
    let write = |parent: &Path| {
        names
            .iter()
            .fold(Project::program(program, ""), |project, name| {
                project.depends_on(name, if *name == "withdrawn" { "0.1" } else { "1" })
            })
            .write(parent)
    };
    write(&cargo.work())
}
