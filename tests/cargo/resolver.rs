//! What Cargo's resolver reads in a line beside versions and dependencies.

use crate::common::cargos::{Sandbox, View};
use crate::common::package::Package;
use crate::common::project::{Project, locked_version};
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::{Release, publish_all};

#[test]
fn the_resolver_prefers_versions_for_the_projects_rust_over_the_sparse_index() {
    prefers_versions_for_the_projects_rust(View::Sparse);
}

#[test]
fn the_resolver_prefers_versions_for_the_projects_rust_over_the_git_index() {
    prefers_versions_for_the_projects_rust(View::Git);
}

fn prefers_versions_for_the_projects_rust(view: View) {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, view);
    alice.login(&registry.token("alice"));
    for (version, rust) in [("1.0.0", "1.60"), ("1.1.0", "1.70.0"), ("1.2.0", "1.999")] {
        let folder = Package::new("modern", version, &format!("rust-version = \"{rust}\"\n"))
            .lib("")
            .write(&alice.work());
        // The compiler of the publisher is too old for the newest.
        let words = ["publish", "--registry", "crates", "--no-verify"];
        alice.cargo(&folder, &words).succeeds();
    }
    let hello = |rest: &str| {
        let dependency = "[dependencies]\nmodern = { version = \"1\", registry = \"crates\" }\n";
        Package::new("hello", "0.1.0", &format!("{rest}\n{dependency}"))
            .main("fn main() {}\n")
            .write(&alice.work())
    };
    for (rest, wanted) in [
        ("rust-version = \"1.69\"\nresolver = \"3\"\n", "1.0.0"),
        ("rust-version = \"1.75\"\nresolver = \"3\"\n", "1.1.0"),
        // The older resolvers look at versions alone.
        ("rust-version = \"1.75\"\nresolver = \"2\"\n", "1.2.0"),
    ] {
        let folder = hello(rest);
        alice.cargo(&folder, &["generate-lockfile"]).succeeds();
        assert_eq!(locked_version(&folder, "modern"), wanted, "{rest}");
    }
    let folder = hello("rust-version = \"1.75\"\n");
    let setting = "resolver.incompatible-rust-versions=\"fallback\"";
    alice
        .cargo(&folder, &["update", "--config", setting])
        .succeeds();
    assert_eq!(locked_version(&folder, "modern"), "1.1.0");

    let adder = Package::new("adder", "0.1.0", "rust-version = \"1.69\"\n")
        .main("fn main() {}\n")
        .write(&alice.work());
    let words = ["add", "modern", "--registry", "crates"];
    let added = alice.cargo(&adder, &words).succeeds();
    let manifest = std::fs::read_to_string(adder.join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("modern = { version = \"1.0.0\""),
        "{manifest}{added}"
    );
}

#[test]
fn what_is_not_there_is_said_clearly() {
    let registry = Registry::start();
    for view in [View::Sparse, View::Git] {
        empty_registry_is_no_fault(&Sandbox::stable(&registry, view));
    }
    let alice = Sandbox::stable(&registry, View::Sparse);
    alice.login(&registry.token("alice"));
    for version in ["1.0.0", "1.1.0"] {
        let folder = Project::library("Some-Crate", version, "").write(&alice.work());
        alice.publish(&folder).succeeds();
    }
    for view in [View::Sparse, View::Git] {
        let reader = Sandbox::stable(&registry, view);
        let lock = |name: &str, requirement: &str| {
            let folder = Project::program("hello", "")
                .depends_on(name, requirement)
                .write(&reader.work());
            reader.cargo(&folder, &["generate-lockfile"])
        };
        lock("Some-Crate", "1").succeeds();
        lock("none-such", "1").fails_with("no matching package named `none-such` found");
        for other in ["some-crate", "Some_Crate"] {
            let said = lock(other, "1").fails_with("no matching package");
            assert!(said.stderr.contains("Some-Crate"), "no hint: {said}");
        }
        let said = lock("Some-Crate", "2").fails_with("failed to select a version");
        assert!(said.stderr.contains("1.1.0, 1.0.0"), "{said}");
    }
}

fn empty_registry_is_no_fault(reader: &Sandbox) {
    let folder = Project::program("hello", "")
        .depends_on("anything", "1")
        .write(&reader.work());
    reader
        .cargo(&folder, &["generate-lockfile"])
        .fails_with("no matching package named `anything` found");
}

#[test]
fn names_of_every_length_are_found() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let names = ["a", "Bc", "d-E", "fghi", "Jklmn", "O-p_Q", "rs-tu-vw"];
    for name in names {
        Release::new(name, "1.0.0")
            .publish(registry.port, &token)
            .succeeds();
    }
    let mut readers = vec![
        Sandbox::stable(&registry, View::Sparse),
        Sandbox::stable(&registry, View::Git),
    ];
    if let Some(program) = tools::old_cargo() {
        readers.push(Sandbox::old(program, &registry));
    }
    for reader in readers {
        let folder = Project::program("hello", "")
            .depends_on_all(&names)
            .write(&reader.work());
        reader.cargo(&folder, &["fetch"]).succeeds();
        for name in names {
            assert_eq!(locked_version(&folder, name), "1.0.0");
        }
    }
}

#[test]
fn a_name_with_two_separators_costs_at_most_three_misses() {
    let registry = Registry::start();
    let reader = Sandbox::stable(&registry, View::Sparse);
    let folder = Project::program("hello", "")
        .depends_on("a-b_c", "1")
        .write(&reader.work());
    reader
        .cargo(&folder, &["generate-lockfile"])
        .fails_with("no matching package");
    let log = registry.log();
    let misses = log.lines().filter(|line| line.contains("status=404"));
    let misses = misses.count();
    assert!((1..=3).contains(&misses), "{misses} misses:\n{log}");
}

#[test]
fn one_project_takes_two_hundred_crates() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let names: Vec<String> = (0..200).map(|n| format!("many-{n}")).collect();
    publish_all(&names, registry.port, &token);
    for view in [View::Sparse, View::Git] {
        let reader = Sandbox::stable(&registry, view);
        let folder = Project::program("hello", "")
            .depends_on_all(&names)
            .write(&reader.work());
        reader.cargo(&folder, &["fetch"]).succeeds();
        let lock = std::fs::read_to_string(folder.join("Cargo.lock")).unwrap();
        assert_eq!(lock.matches("checksum = ").count(), 200, "{view:?}");
    }
}
