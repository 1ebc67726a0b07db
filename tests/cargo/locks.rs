//! One lock file for old and new Cargo.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::cargos::{Sandbox, View};
use crate::common::package::Package;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tools;

#[test]
fn old_and_new_cargo_share_lock_files() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let registry = registry_with_crates();
    let old = Sandbox::old(program, &registry);
    let new = Sandbox::stable(&registry, View::Git);
    let replacing = replacing(&registry);
    for (writer, readers) in [
        (&old, [&new, &replacing]),
        (&new, [&old, &replacing]),
        (&replacing, [&old, &new]),
    ] {
        let folder = project(&writer.work());
        writer.cargo(&folder, &["generate-lockfile"]).succeeds();
        let lock = lock_file(&folder);
        assert!(lock.contains("\nversion = 3\n"), "{lock}");
        let source = format!("source = \"registry+{}\"", registry.git_index());
        assert_eq!(lock.matches(&source).count(), 2, "{lock}");
        for cargo in readers.into_iter().chain([writer]) {
            cargo
                .cargo(&folder, &["run", "--quiet", "--locked"])
                .succeeds()
                .prints("leaf, branch");
            assert_eq!(lock_file(&folder), lock);
        }
    }
}

#[test]
fn replaced_sources_read_the_sparse_index_and_write_the_git_url() {
    let registry = registry_with_crates();
    let cargo = replacing(&registry);
    let folder = project(&cargo.work());
    let log_len = registry.log().len();
    cargo.cargo(&folder, &["build"]).succeeds();
    let lock = lock_file(&folder);
    let source = format!("source = \"registry+{}\"", registry.git_index());
    assert_eq!(lock.matches(&source).count(), 2, "{lock}");
    let log = &registry.log()[log_len..];
    assert!(log.contains("/crates/index/br/an/branch"), "{log}");
    assert!(!log.contains("/crates/git/"), "{log}");
}

/// A new Cargo that reads the sparse index and keeps the git URL in its lock files.
fn replacing(registry: &Registry) -> Sandbox {
    let cargo = Sandbox::stable(registry, View::Git);
    cargo.configure(&format!(
        "[registries.crates-sparse]\nindex = {:?}\n\
         [source.crates-git]\nregistry = {:?}\nreplace-with = \"crates-sparse\"\n",
        registry.sparse_index(),
        registry.git_index(),
    ));
    cargo
}

fn registry_with_crates() -> Registry {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Sparse);
    alice.login(&registry.token("alice"));
    let crates = [
        Project::library("leaf", "1.0.0", "leaf"),
        Project::library("branch", "1.0.0", "")
            .depends_on("leaf", "1")
            .source("pub fn greeting() -> String { leaf::greeting() + \", branch\" }\n"),
    ];
    for krate in crates {
        alice.publish(&krate.write(&alice.work())).succeeds();
    }
    registry
}

/// A project whose `rust-version` makes new Cargo write lock files that old Cargo reads.
fn project(parent: &Path) -> PathBuf {
    let rest = "rust-version = \"1.65\"\n\n[dependencies]\n\
                branch = { version = \"1\", registry = \"crates\" }\n";
    Package::new("shared", "0.1.0", rest)
        .main("fn main() { println!(\"{}\", branch::greeting()); }\n")
        .write(parent)
}

fn lock_file(folder: &Path) -> String {
    fs::read_to_string(folder.join("Cargo.lock")).unwrap()
}
