//! The index commit itself, against the way in which forges commit.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::Context;

use crate::Bench;
use crate::paths::publish::Publisher;
use crate::registry::{self, git};
use crate::run::{run, text_of};
use crate::table::{Goal, Row};

const CRATES: usize = 100_000;
/// Commits of a round: ours, and git's.
const OURS: usize = 50;
const THEIRS: usize = 3;

/// From the judgement of a change to the answer of the writer, durable; without HTTP and the `.crate` file.
pub fn commit(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut registry = Publisher::start(&bench.work, CRATES)?;
    let copy = registry::copy(&bench.work, CRATES)?;
    let git_dir = copy.path().join("index.git");
    let mut row = Row::new(
        &format!("index commit inside the server, {CRATES} crates"),
        "git: read-tree, update-index, write-tree, commit-tree, update-ref",
        "ms",
        Goal::AsFastAs(100.0),
    );
    let measured = |registry: &Publisher| -> anyhow::Result<(f64, f64)> {
        let metric = |name: &str| registry.server.metric(name);
        Ok((
            metric("sidecargo_index_group_seconds_sum")?,
            metric("sidecargo_index_group_seconds_count")?,
        ))
    };
    for round in 0..bench.rounds {
        let before = measured(&registry)?;
        registry.alone(OURS)?;
        let after = measured(&registry)?;
        let ours = (after.0 - before.0) / (after.1 - before.1);
        let started = Instant::now();
        for number in 0..THEIRS {
            commit_by_git(&git_dir, &format!("zz/zz/zzzz-{round}-{number}"))?;
        }
        let theirs = started.elapsed().as_secs_f64() / THEIRS as f64;
        row.add(ours * 1000.0, theirs * 1000.0);
    }
    Ok(vec![row])
}

fn commit_by_git(git_dir: &Path, path: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let index = folder.path().join("index");
    let with_index = |words: &[&str]| {
        let mut command = git(git_dir, words);
        command.env("GIT_INDEX_FILE", &index);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "bench");
            command.env(format!("GIT_{who}_EMAIL"), "bench@localhost");
        }
        command
    };
    run(&mut with_index(&["read-tree", "refs/heads/main"]))?;
    let mut hash = with_index(&["hash-object", "-w", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    hash.stdin
        .take()
        .context("a pipe")?
        .write_all(path.as_bytes())?;
    let blob = String::from_utf8(hash.wait_with_output()?.stdout)?;
    let entry = format!("100644,{},{path}", blob.trim());
    run(&mut with_index(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &entry,
    ]))?;
    let tree = text_of(with_index(&["write-tree"]))?;
    let words = ["commit-tree", &tree, "-p", "refs/heads/main", "-m", path];
    let commit = text_of(with_index(&words))?;
    run(&mut with_index(&["update-ref", "refs/heads/main", &commit]))
}
