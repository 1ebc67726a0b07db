//! A person who changes the index with plain git and minds no hook.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::git::git;
use super::ran::Ran;
use super::registry::Registry;

/// Arguments that stand before the subcommand: who commits.
const PETRA: [&str; 4] = ["-c", "user.name=Petra", "-c", "user.email=petra@localhost"];

/// How git takes in what is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// As it is set up, hooks and all.
    AsSetUp,
    /// Without hooks, each object a file of its own.
    Loose,
    /// Without hooks, as one pack.
    Packed,
}

/// A clone of the repository itself, in which a person works.
pub struct Person {
    folder: TempDir,
    repository: PathBuf,
}

impl Person {
    /// Clones the repository.
    pub fn of(registry: &Registry) -> Self {
        let folder = TempDir::new().unwrap();
        clone(registry, folder.path());
        Self {
            folder,
            repository: registry.repository(),
        }
    }

    /// Where the files lie.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    /// Runs git; gives its output without the last line break.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let words = [&PETRA, arguments].concat();
        let ran = git(&self.path(), &words).succeeds();
        ran.stdout.trim_end_matches('\n').to_owned()
    }

    /// Goes to the tip of the branch as it is now.
    #[track_caller]
    pub fn catch_up(&self) {
        self.git(&["fetch", "--quiet", "origin"]);
        self.git(&["checkout", "--quiet", "--force", "--detach", "origin/main"]);
        self.git(&["clean", "--quiet", "-fdx"]);
    }

    /// The text of a file.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    /// Writes a file.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) -> &Self {
        let file = self.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self
    }

    /// Writes something else for `from` in a file, wherever it stands.
    #[track_caller]
    pub fn replace(&self, path: &str, from: &str, to: &str) -> &Self {
        let text = self.read(path);
        assert!(text.contains(from), "`{path}` has no {from}: {text}");
        self.write(path, &text.replace(from, to))
    }

    /// Commits all that differs; gives the commit.
    #[track_caller]
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Takes the newest commit back; gives the commit that does.
    #[track_caller]
    pub fn revert(&self) -> String {
        self.git(&["revert", "--no-edit", "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits what the registry committed last once more, with its words and its signature; gives the commit.
    #[track_caller]
    pub fn commit_with_a_copied_signature(&self) -> String {
        let ours = git(&self.path(), &["cat-file", "commit", "HEAD"]).succeeds();
        let parent = self.git(&["rev-parse", "HEAD^"]);
        let copy = ours
            .stdout
            .replace(&parent, &self.git(&["rev-parse", "HEAD"]));
        assert!(copy != ours.stdout && copy.contains("\ngpgsig "), "{copy}");
        let file = self.folder.path().join("commit");
        fs::write(&file, copy).unwrap();
        let made = self.git(&["hash-object", "-t", "commit", "-w", file.to_str().unwrap()]);
        self.git(&["checkout", "--quiet", "--force", "--detach", &made]);
        made
    }

    /// Pushes `what`, such as `HEAD:main`.
    #[must_use]
    pub fn push(&self, what: &str, receive: Receive) -> Ran {
        let program = match receive {
            Receive::AsSetUp => "--receive-pack=git receive-pack",
            Receive::Loose => {
                "--receive-pack=git -c transfer.unpackLimit=100 -c core.hooksPath=/dev/null -c receive.denyNonFastForwards=false receive-pack"
            }
            Receive::Packed => {
                "--receive-pack=git -c core.hooksPath=/dev/null -c receive.denyNonFastForwards=false receive-pack"
            }
        };
        let repository = self.repository.to_str().unwrap();
        let words = ["push", "--porcelain", "--force", program, repository, what];
        git(&self.path(), &words)
    }
}

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
    // Without `--no-local` git copies the files of packs, which a server may merge and remove meanwhile.
    let words = ["clone", "--quiet", "--no-local", "--branch", "main"];
    git(parent, &[&words[..], &[repository, "clone"]].concat()).succeeds();
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
    let receive = "--receive-pack=git -c core.hooksPath=/dev/null -c receive.denyNonFastForwards=false receive-pack";
    let push = ["push", "--quiet", "--force", receive, "origin", "HEAD:main"];
    git(clone, &push).succeeds();
}
