//! A clone of a repository of the forge, in which somebody works with git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::gitea::Gitea;
use super::scene::Repository;
use crate::common::git::git;
use crate::common::ran::{Ran, run};

/// Answers git's questions for a name and a password; the token stands in no command and no URL.
const ASKPASS: &str = "#!/bin/sh\n\
    case $1 in Username*) echo somebody ;; *) printf '%s\\n' \"$TOKEN\" ;; esac\n";

/// A clone whose git shows one token to the forge.
pub struct Checkout {
    folder: TempDir,
    token: String,
}

impl Checkout {
    /// Clones a repository.
    #[track_caller]
    pub fn of(forge: &Gitea, repository: &Repository, token: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let askpass = folder.path().join("askpass");
        fs::write(&askpass, ASKPASS).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let checkout = Self {
            folder,
            token: token.to_owned(),
        };
        let url = repository.url(forge);
        let parent = checkout.folder.path();
        checkout
            .run_in(parent, &["clone", "--quiet", &url, "clone"])
            .succeeds();
        checkout
    }

    /// Shows another token from now on.
    pub fn show(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// Where the files lie.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    /// Runs git, which may ask the forge.
    #[must_use]
    pub fn git(&self, arguments: &[&str]) -> Ran {
        self.run_in(&self.path(), arguments)
    }

    /// Commits a file with some text, by this committer; gives the commit.
    #[track_caller]
    pub fn commit(&self, path: &str, (name, email): (&str, &str), more: &[&str]) -> String {
        fs::write(self.path().join(path), format!("by {name}\n")).unwrap();
        let here = self.path();
        git(&here, &["add", path]).succeeds();
        let settings = [format!("user.name={name}"), format!("user.email={email}")];
        let words = [
            &[
                "-c",
                &settings[0],
                "-c",
                &settings[1],
                "commit",
                "--quiet",
                "--message",
                path,
            ],
            more,
        ];
        git(&here, &words.concat()).succeeds();
        let parsed = git(&here, &["rev-parse", "HEAD"]).succeeds();
        parsed.stdout.trim().to_owned()
    }

    /// Pushes what is checked out to a branch.
    #[must_use]
    pub fn push(&self, branch: &str) -> Ran {
        self.git(&["push", "origin", &format!("HEAD:{branch}")])
    }

    fn run_in(&self, folder: &Path, arguments: &[&str]) -> Ran {
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("LC_ALL", "C.UTF-8")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", self.folder.path().join("askpass"))
            .env("TOKEN", &self.token)
            .current_dir(folder)
            .args(arguments);
        run(&mut command, b"")
    }
}
