//! The git program as a reader of the index uses it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::ran::{Ran, run};
use super::registry::Registry;

/// How often a check is begun anew that a merge of packs has overtaken.
const LOOKS_MAX: usize = 20;

/// A clone of the index.
pub struct Clone {
    folder: TempDir,
}

/// One file of a commit.
#[derive(Debug)]
pub struct TreeFile {
    /// The path, with `/` between folders.
    pub path: String,
    /// The id of the blob.
    pub id: String,
}

impl Clone {
    /// Clones the index of `registry` over HTTP.
    #[track_caller]
    pub fn of(registry: &Registry) -> Self {
        let clone = Self {
            folder: TempDir::new().unwrap(),
        };
        let path = clone.path();
        git(
            clone.folder.path(),
            &[
                "clone",
                "--quiet",
                &registry.git_index(),
                path.to_str().unwrap(),
            ],
        )
        .succeeds();
        clone
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    /// Runs git in it; the output must be a success and comes without its last line break.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let ran = git(&self.path(), arguments).succeeds();
        ran.stdout.trim_end_matches('\n').to_owned()
    }

    /// Gets what is new and goes there.
    #[track_caller]
    pub fn pull(&self) {
        self.git(&["pull", "--quiet", "--ff-only"]);
    }

    /// Every file of the newest commit.
    #[track_caller]
    pub fn files(&self) -> Vec<TreeFile> {
        let listing = self.git(&["ls-tree", "-r", "HEAD"]);
        let file = |line: &str| {
            let (head, path) = line.split_once('\t').unwrap();
            TreeFile {
                path: path.to_owned(),
                id: head.split(' ').nth(2).unwrap().to_owned(),
            }
        };
        listing.lines().map(file).collect()
    }

    /// The bytes of a file of the newest commit.
    #[track_caller]
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let shown = git(&self.path(), &["show", &format!("HEAD:{path}")]).succeeds();
        shown.stdout.into_bytes()
    }
}

/// Runs git in `folder`, with no settings but the repository's own.
#[must_use]
pub fn git(folder: &Path, arguments: &[&str]) -> Ran {
    git_that_reads(folder, arguments, "")
}

/// As [`git`], with this as its input.
#[must_use]
pub fn git_that_reads(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(folder)
        .args(arguments);
    run(&mut command, input.as_bytes())
}

/// Panics unless git finds the repository in `folder` without a fault.
#[track_caller]
pub fn assert_sound(folder: &Path) {
    let faults = faults_of(folder);
    assert!(faults.is_empty(), "git fsck found faults: {faults:#?}");
}

/// What git finds wrong with the repository in `folder`.
///
/// Objects that no commit reaches are allowed: a writer that was killed leaves them.
/// It looks into each pack that it found at its beginning; if a server has merged one meanwhile, it looks again.
pub fn faults_of(folder: &Path) -> Vec<String> {
    let check = || git(folder, &["fsck", "--strict", "--full", "--no-dangling"]);
    let is_overtaken = |checked: &Ran| checked.stderr.contains("index not opened");
    let checks = std::iter::repeat_with(check).take(LOOKS_MAX);
    let checked = { checks }.find(|checked| !is_overtaken(checked));
    let checked = checked.expect("packs are not merged all the time");
    let said = format!("{}{}", checked.stdout, checked.stderr);
    let mut faults: Vec<String> = said
        .lines()
        .filter(|line| !line.starts_with("Checking "))
        .map(str::to_owned)
        .collect();
    if !checked.is_success() {
        faults.push(checked.to_string());
    }
    faults
}

/// The commit at the tip of the bare repository in `folder`.
#[track_caller]
pub fn tip(folder: &Path) -> String {
    let parsed = git(folder, &["rev-parse", "refs/heads/main"]).succeeds();
    parsed.stdout.trim().to_owned()
}
