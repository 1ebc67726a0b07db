//! Copying an index into another repository: as of one commit, also while a server writes to it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::domain::{Cksum, CommitId};
use crate::{disk, git};

use super::load::{self, LoadFault};
use super::signature::SigningKey;
use super::upstream::ARRIVED;
use super::{KeyFault, Place, maintenance, pack, refs, template};

/// Where a commit waits in the copy until all that it names is there too.
pub(super) const INCOMING: &str = "refs/sidecargo/incoming";

/// What reads the repository that is copied, also if it is another user's.
const READ_SOURCE: &str = r#"git -c "safe.directory=$SIDECARGO_SOURCE" upload-pack"#;

/// An index cannot be copied.
#[derive(Debug, Error)]
pub enum CopyFault {
    /// What was copied cannot be read.
    #[error("the copy of the index cannot be read")]
    Load(#[from] LoadFault),
    /// The copy holds another history.
    #[error(
        "the copy holds {there}, which does not lead to {commit}: it is of another registry, the history was rewritten, or the copy was served and went its own way; copy into an empty folder"
    )]
    OtherHistory {
        /// The tip of the copy.
        there: CommitId,
        /// What was to be copied.
        commit: CommitId,
    },
    /// Git refuses.
    #[error("`git {what}` failed: {said}")]
    Git {
        /// The command.
        what: &'static str,
        /// Its complaint.
        said: String,
    },
    /// A file cannot be written.
    #[error("the copy of the index cannot be written")]
    Io(#[from] io::Error),
}

/// An index whose objects are in the copy, but which is not its tip yet.
#[derive(Debug)]
pub struct Incoming<'a> {
    to: &'a Place,
    before: Option<CommitId>,
    /// Whether the branch follows one on a forge, so that the copy does too.
    has_forge: bool,
    /// The commit.
    pub commit: CommitId,
    /// Every `.crate` file that it names.
    pub cksums: BTreeSet<Cksum>,
}

impl Place {
    /// Whether there is a repository with a tip, or with what clients of git were shown: a start finds the tip by that.
    fn has_tip(&self) -> bool {
        self.tip().is_ok() || matches!(refs::shown(&self.git_dir), Ok(Some(_)))
    }

    /// Fails if there is no key with which the registry can go on.
    pub fn check_signing_key(&self) -> Result<(), KeyFault> {
        SigningKey::open(&self.keys).map(drop)
    }

    /// Copies the objects of a good commit to the repository at `to`, which is made if there is none.
    ///
    /// The caller holds the lock of the folder that it copies to.
    pub fn copy_to<'a>(&self, commit: CommitId, to: &'a Place) -> Result<Incoming<'a>, CopyFault> {
        if !to.has_tip() {
            // Also where a copy was killed before all was laid out.
            template::lay_out(&to.git_dir)?;
        }
        to.clean()?;
        let before = refs::read(&to.git_dir, refs::TIP)?;
        if let Some(there) = before.filter(|there| self.is_of_another(commit, to, *there)) {
            return Err(CopyFault::OtherHistory { there, commit });
        }
        // Of an ended `git update-ref`; in the folder of a registry they may be somebody's own.
        for left in ["packed-refs.lock", "packed-refs.new"] {
            pack::remove_if_there(&to.git_dir.join(left))?;
        }
        fetch(&to.git_dir, &self.git_dir.canonicalize()?, commit)?;
        // git flushes files, and not the folder that names them.
        disk::sync_folder(&to.packs())?;
        if let Some(there) = before.filter(|there| *there != commit)
            && !is_ancestor(&to.git_dir, there, commit)?
        {
            to.forget_incoming()?;
            return Err(CopyFault::OtherHistory { there, commit });
        }
        let state = load::load(&to.git_dir, commit)?;
        let releases = state.snapshot.crates().flat_map(|krate| krate.releases());
        let cksums = releases.map(|release| release.cksum).collect();
        Ok(Incoming {
            to,
            before,
            has_forge: refs::read(&self.git_dir, ARRIVED)?.is_some(),
            commit,
            cksums,
        })
    }
}

impl Incoming<'_> {
    /// Makes the commit the tip of the copy, once every `.crate` file is there.
    pub fn accept(self) -> Result<CommitId, CopyFault> {
        let git_dir = &self.to.git_dir;
        refs::move_tip(git_dir, self.before, self.commit).map_err(io::Error::other)?;
        refs::show(git_dir, self.commit)?;
        let commit = self.commit.to_string();
        let mut mark = git::command(git_dir);
        mark.arg("update-ref");
        match self.has_forge {
            true => mark.args([ARRIVED, &commit]),
            // The one that was copied before may have followed it still.
            false => mark.args(["-d", ARRIVED]),
        };
        run("update-ref", &mut mark)?;
        self.to.forget_incoming()?;
        Ok(self.commit)
    }
}

impl Place {
    /// Whether the repository at `to` is known to be that of another registry; what cannot be read is not known.
    fn is_of_another(&self, commit: CommitId, to: &Self, there: CommitId) -> bool {
        let ours = load::identity(&self.git_dir, commit);
        let theirs = load::identity(&to.git_dir, there);
        let both = ours.ok().zip(theirs.ok());
        both.is_some_and(|(ours, theirs)| ours.blob_store != theirs.blob_store)
    }

    fn forget_incoming(&self) -> Result<(), CopyFault> {
        let mut forget = git::command(&self.git_dir);
        run("update-ref", forget.args(["update-ref", "-d", INCOMING]))
    }

    /// Merges the packs, of which each copy to here brings one more, if there are many and nobody else does it.
    pub fn merge_packs(&self) {
        maintenance::merge_once(&self.git_dir);
    }
}

/// What is copied was judged, and is again before it is restored: what git's own checks find is in the history for good.
///
/// Git takes `safe.directory` from a command line alone, and does not hand it on to the process that reads the source:
/// that one gets its own. It is started by a shell, which takes the path from a variable and so as it is.
fn fetch(git_dir: &Path, source: &Path, commit: CommitId) -> Result<(), CopyFault> {
    let mut command = git::command(git_dir);
    command
        .env("SIDECARGO_SOURCE", source)
        // As one pack, whatever there is.
        .args(["-c", "fetch.unpackLimit=1", "-c", "fetch.fsckObjects=false"])
        // With it a commit can be asked for that no ref names.
        .args(["-c", "protocol.version=2", "fetch", "--quiet", "--no-tags"])
        .args(["--upload-pack", READ_SOURCE])
        .args(["--no-write-fetch-head", "--no-auto-gc", "--"])
        .arg(source)
        .arg(format!("+{commit}:{INCOMING}"));
    run("fetch", &mut command)
}

pub(super) fn is_ancestor(git_dir: &Path, old: CommitId, new: CommitId) -> io::Result<bool> {
    let mut command = git::command(git_dir);
    command.args(["merge-base", "--is-ancestor"]);
    let status = command
        .args([old.to_string(), new.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

fn run(what: &'static str, command: &mut Command) -> Result<(), CopyFault> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned();
    Err(CopyFault::Git { what, said })
}
