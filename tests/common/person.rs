//! A person who changes the index with plain git and minds no hook.

use std::fs;
use std::path::{Path, PathBuf};

use super::git::git;
use super::registry::Registry;

/// Commits `text` as the file `path` of the index, by hand and unsigned.
#[track_caller]
pub fn commit_file(registry: &Registry, path: &str, text: &str) {
    let folder = tempfile::TempDir::new().unwrap();
    let clone = clone(registry, folder.path());
    let file = clone.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
    git(&clone, &["add", path]).succeeds();
    commit_and_push(&clone, "change by hand");
}

/// As [`commit_file`], signed with the registry's own key.
#[track_caller]
pub fn commit_file_as_the_registry(registry: &Registry, path: &str, text: &str) {
    let folder = tempfile::TempDir::new().unwrap();
    let clone = clone(registry, folder.path());
    fs::write(clone.join(path), text).unwrap();
    let key = registry.data().join("keys/signing-ed25519");
    git(&clone, &["config", "gpg.format", "ssh"]).succeeds();
    git(
        &clone,
        &["config", "user.signingKey", key.to_str().unwrap()],
    )
    .succeeds();
    git(&clone, &["config", "commit.gpgSign", "true"]).succeeds();
    git(&clone, &["add", path]).succeeds();
    commit_and_push(&clone, "change as the registry does");
}

/// Replaces the whole history by one commit with the same files.
#[track_caller]
pub fn squash(registry: &Registry) {
    let folder = tempfile::TempDir::new().unwrap();
    let clone = clone(registry, folder.path());
    git(&clone, &["checkout", "--quiet", "--orphan", "anew"]).succeeds();
    commit_and_push(&clone, "begin anew");
}

fn clone(registry: &Registry, parent: &Path) -> PathBuf {
    let repository = registry.repository();
    let repository = repository.to_str().unwrap();
    let words = ["clone", "--quiet", "--branch", "main", repository, "clone"];
    git(parent, &words).succeeds();
    parent.join("clone")
}

#[track_caller]
fn commit_and_push(clone: &Path, message: &str) {
    let person = [
        "-c",
        "user.name=Petra",
        "-c",
        "user.email=petra@localhost",
        "commit",
        "--quiet",
        "-m",
        message,
    ];
    git(clone, &person).succeeds();
    // As one pack: loose objects are what the registry itself never leaves.
    let receive = "--receive-pack=git -c receive.unpackLimit=1 -c core.hooksPath=/dev/null -c receive.denyNonFastForwards=false receive-pack";
    let push = ["push", "--quiet", "--force", receive, "origin", "HEAD:main"];
    git(clone, &push).succeeds();
}
