//! `sidecargo hook pre-receive` and `sidecargo hook post-receive`

use std::env;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;

use sidecargo::audit;
use sidecargo::control;
use sidecargo::domain::CommitId;
use sidecargo::operator::Request;

/// The most bytes that git tells of one push.
const PUSH_BYTES_MAX: u64 = 1024 * 1024;
const BRANCH: &str = "refs/heads/main";

/// What git runs when somebody pushes into the repository of a registry.
#[derive(Debug, Subcommand)]
pub(super) enum Hook {
    /// Refuses a push that breaks a rule of the index.
    PreReceive,
    /// Tells the running server that the branch moved.
    PostReceive,
}

impl Hook {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let folder = data_folder()?;
        match self {
            Self::PreReceive => pre_receive(&folder),
            Self::PostReceive => post_receive(&folder),
        }
    }
}

/// The data folder of the repository into which is pushed, which git names.
fn data_folder() -> anyhow::Result<PathBuf> {
    let git_dir = env::var_os("GIT_DIR").context("`GIT_DIR` is not set; git runs this command")?;
    let git_dir = Path::new(&git_dir)
        .canonicalize()
        .context("`GIT_DIR` is not a folder")?;
    match git_dir.parent() {
        Some(folder) if git_dir.ends_with("index.git") => Ok(folder.to_owned()),
        _ => bail!(
            "{} is not the `index.git` of a data folder",
            git_dir.display()
        ),
    }
}

fn pre_receive(folder: &Path) -> anyhow::Result<()> {
    let mut text = String::new();
    io::stdin()
        .take(PUSH_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .context("git does not say what is pushed")?;
    // What is not read is not judged.
    ensure!(
        text.len() as u64 <= PUSH_BYTES_MAX,
        "a push that takes more than {PUSH_BYTES_MAX} bytes to tell is not let in; the index has one branch"
    );
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(before), Some(new), Some(name)) = (words.next(), words.next(), words.next())
        else {
            bail!("git does not say what is pushed but {line:?}");
        };
        ensure!(
            name == BRANCH,
            "the index has one branch; push to {BRANCH}, not to {name}"
        );
        let commit = |id: &str| id.parse::<CommitId>().context("git does not name a commit");
        let (before, new) = (commit(before)?, commit(new)?);
        ensure!(
            new.as_bytes() != &[0; 20],
            "the branch of the index cannot be deleted"
        );
        let incoming = env::var_os("GIT_QUARANTINE_PATH").map(PathBuf::from);
        audit::judge_push(folder, before, new, incoming.as_deref())?;
    }
    Ok(())
}

fn post_receive(folder: &Path) -> anyhow::Result<()> {
    // Without a server nobody needs to know.
    let told = control::tell(folder, &Request::LookAtBranch {});
    // The branch has moved by now, whatever comes of this.
    let told = told.context("the push is in the branch, and the server looks at it later")?;
    if let Some(done) = told {
        writeln!(io::stdout(), "{done}")?;
    }
    Ok(())
}
