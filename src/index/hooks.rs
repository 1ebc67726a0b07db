//! The git hooks of the repository, and what they ask.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::warn;

use crate::blobs::Blobs;
use crate::disk::{self, about};
use crate::domain::{BlobId, CommitId};

use super::copy::is_ancestor;
use super::history::{HistoryFault, Walk};
use super::objects::{OBJECT_BYTES_MAX, Objects};
use super::rule::Violation;
use super::writer::Tip;
use super::{OpenFault, Place, load, refs};

/// The hooks as they lie in the repository.
const HOOKS: [(&str, &str); 2] = [
    ("pre-receive", include_str!("../../hooks/pre-receive")),
    ("post-receive", include_str!("../../hooks/post-receive")),
];

/// A file beside the refs that names where the branch was before the last push that was let in, and to where that went.
const PUSHED: &str = "sidecargo-pushed";
/// More than it ever has: two commits and what is between and after them.
const PUSHED_BYTES_MAX: u64 = 128;

/// Why a push is not let in.
#[derive(Debug, Error)]
pub enum PushFault {
    /// It does not stand on the newest commit: most often somebody published while it was under way.
    #[error(
        "{new} does not contain {good}, the newest good commit of the registry; nothing was changed: fetch, put your commits onto that one, and push again"
    )]
    Overtaken {
        /// The newest good commit.
        good: CommitId,
        /// The one that was pushed.
        new: CommitId,
    },
    /// It was merged the wrong way round.
    #[error(
        "{new} has {good}, the newest good commit of the registry, only as the merged side of a merge; nothing was changed: bring your commits onto that one (`git pull --rebase`), and push again"
    )]
    Sideways {
        /// The newest good commit.
        good: CommitId,
        /// The one that was pushed.
        new: CommitId,
    },
    /// A commit of it bears a signature of the registry.
    #[error(
        "commit {0} bears a signature of the registry that is not its own; nothing was changed: make the commit anew (`git commit --amend --no-edit`), and push again"
    )]
    Forged(CommitId),
    /// A commit that it brings does what no commit may.
    #[error(
        "commit {commit} breaks a rule of the index: {violation}; nothing was changed: {}, and push again", .violation.amendment()
    )]
    Rule {
        /// The commit; of several that are judged together the one since which it is so.
        commit: CommitId,
        /// What it does.
        violation: Box<Violation>,
    },
    /// It brings an object that no index has, be it taken off again by a later commit: every clone would pay for it.
    #[error(
        "the object {id} has {bytes} bytes, and none of an index may have more than {OBJECT_BYTES_MAX}, also if a later commit takes it off again; nothing was changed: make the commits anew without it (`git log --find-object={id}` names them), and push again"
    )]
    TooLarge {
        /// The object.
        id: BlobId,
        /// How large it is.
        bytes: u64,
    },
    /// The branch is that of a forge.
    #[error("this repository follows the index on a forge: push there, or open a pull request")]
    OfForge,
    /// The branch as it is may not be, or it cannot be followed.
    #[error(transparent)]
    History(HistoryFault),
    /// It could take others along in a power cut.
    #[error(
        "where the branch was before it cannot be made durable: {cause}; nothing was changed: let whoever pushes write to the folder {}, which git needs too, and push again", git_dir.display()
    )]
    NotRemembered {
        /// The repository.
        git_dir: PathBuf,
        /// What is in the way.
        cause: io::Error,
    },
    /// It cannot be judged.
    #[error(transparent)]
    Open(#[from] OpenFault),
}

/// Judges a push that would move the branch to `new`, whose objects may still lie in the folder `incoming` alone.
///
/// It is judged from the commit that is served, so a push that heals a bad branch is let in.
pub fn judge_push(
    place: &Place,
    blobs: &Blobs,
    new: CommitId,
    incoming: Option<&Path>,
) -> Result<(), PushFault> {
    let good = place.good_commit(None)?;
    let state = load::load(&place.git_dir, good).map_err(OpenFault::Load)?;
    judge_from(state, &place.git_dir, blobs, new, incoming).map(drop)
}

/// As [`judge_push`], from a state that is known to be good; gives the one to which it leads.
pub(super) fn judge_from(
    state: Tip,
    git_dir: &Path,
    blobs: &Blobs,
    new: CommitId,
    incoming: Option<&Path>,
) -> Result<Tip, PushFault> {
    let mut objects = Objects::open(git_dir).map_err(OpenFault::Load)?.hashed();
    if let Some(folder) = incoming {
        objects = objects.and(folder).map_err(OpenFault::Load)?;
    }
    if let Some((id, bytes)) = objects.too_large().map_err(OpenFault::Load)? {
        return Err(PushFault::TooLarge { id, bytes });
    }
    let has_blob = |cksum: &_| blobs.read(cksum).is_ok();
    let mut walk = Walk::from(state, &objects, &has_blob);
    match walk.to(new, &mut |_| {}) {
        Ok(()) => Ok(walk.tip),
        Err(HistoryFault::Rule { commit, violation }) if objects.is_brought(commit) => {
            Err(PushFault::Rule { commit, violation })
        }
        Err(fault) => Err(fault.into()),
    }
}

impl From<HistoryFault> for PushFault {
    fn from(fault: HistoryFault) -> Self {
        match fault {
            // The branch itself is as it was, so nobody has to put it back.
            HistoryFault::Rewritten { good, found } | HistoryFault::Rewound { good, found } => {
                Self::Overtaken { good, new: found }
            }
            HistoryFault::Sideways { good, found } => Self::Sideways { good, new: found },
            HistoryFault::Forged { commit, .. } => Self::Forged(commit),
            fault => Self::History(fault),
        }
    }
}

impl Place {
    /// Makes durable what is there before a push that is let in, and remembers for good where the branch was.
    ///
    /// Git flushes the ref and not its name, nor those of the files that it needs: if a power cut takes those, nothing
    /// else tells how far the index was. So a push can be lost, and none before it.
    pub fn remember_push(&self, before: CommitId, new: CommitId) -> Result<(), PushFault> {
        if before.as_bytes() == &[0; 20] {
            // There was no branch.
            return Ok(());
        }
        // The branch names a push that was lost: the file tells where it was before that, which is still needed.
        let objects = Objects::open(&self.git_dir).map_err(OpenFault::from)?;
        objects.commit(before).map_err(OpenFault::from)?;
        let text = format!("{before} {new}\n");
        let (packs, path) = (self.packs(), self.git_dir.join(PUSHED));
        let remembered = disk::sync_folder(&packs)
            .map_err(about(&packs))
            .and_then(|()| refs::flush_tip(&self.git_dir))
            .and_then(|()| refs::keep_shown(&self.git_dir))
            .and_then(|()| disk::replace(&path, text.as_bytes()).map_err(about(&path)));
        remembered.map_err(|cause| PushFault::NotRemembered {
            git_dir: self.git_dir.clone(),
            cause,
        })
    }

    /// Where the branch was before the push that moved it to `new`, if that was the last one that was let in.
    pub(super) fn pushed_from(&self, new: CommitId) -> Option<CommitId> {
        let (before, pushed) = self.last_push().ok()??;
        (pushed == new).then_some(before)
    }

    /// How the branch came to be behind where it was at the last push, if it is, or why nobody knows.
    ///
    /// No power cut does that, but a disk that loses what was flushed, or a person, who may as long as nothing later was
    /// served: so the branch stays where it is.
    pub(super) fn fallen_back(&self) -> Result<Option<String>, OpenFault> {
        // Before the branch: what is written down here is where that was by then, and a push only moves it on.
        let last_push = self.last_push();
        let tip = self.tip()?;
        let is_behind = |before| is_ancestor(&self.git_dir, tip, before);
        Ok(match last_push {
            Err(cause) => Some(cause.to_string()),
            Ok(Some((before, pushed)))
                if ![before, pushed].contains(&tip) && is_behind(before).unwrap_or(false) =>
            {
                Some(format!(
                    "the branch is at {tip}, and was at {before} before the last push: somebody moved it back, or the disk lost what was flushed; if nobody meant that, `git update-ref {} {before}`",
                    refs::TIP
                ))
            }
            Ok(_) => None,
        })
    }

    /// Where the branch was before the last push that was let in, and to where that went; `None` also if the file is torn.
    fn last_push(&self) -> io::Result<Option<(CommitId, CommitId)>> {
        let path = self.git_dir.join(PUSHED);
        let Some(file) = disk::if_there(File::open(&path)).map_err(about(&path))? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.take(PUSHED_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(about(&path))?;
        let commits = || {
            let text = std::str::from_utf8(&bytes).ok()?;
            let (before, pushed) = text.trim_end().split_once(' ')?;
            Some((before.parse().ok()?, pushed.parse().ok()?))
        };
        Ok(commits())
    }

    /// Puts the hooks into the repository, and beside them what lets them find `program`.
    ///
    /// Others that are there stay as they are: they may be the operator's own. Ours are made whole again, and such that
    /// git runs them.
    pub fn install_hooks(&self, program: &Path) -> io::Result<()> {
        if self.git_dir.is_symlink() {
            // Git tells a hook where the folder itself lies, and from there nothing leads to the crate files.
            warn!(
                path = %self.git_dir.display(),
                "the folder of the index is a symbolic link, and each push into it is refused: let it lie in the data folder, which may be a link itself"
            );
        }
        let folder = self.git_dir.join("hooks");
        disk::create_folder(&folder)?;
        let path = program.display().to_string().replace('\'', r"'\''");
        // It may have moved since: then the one on the path knows the rule, too.
        let found =
            format!("#!/bin/sh\n[ -x '{path}' ] && exec '{path}' \"$@\"\nexec sidecargo \"$@\"\n");
        install(&folder.join("sidecargo"), &found, |_| true)?;
        for (name, text) in HOOKS {
            let is_torn = |bytes: &[u8]| text.as_bytes().starts_with(bytes) || bytes.contains(&0);
            install(&folder.join(name), text, is_torn)?;
        }
        Ok(())
    }
}

/// Sees to it that a program is there and can be run; one with other bytes stays, unless `is_torn` says that it is ours.
fn install(path: &Path, text: &str, is_torn: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let is_there = match fs::read(path) {
        Ok(bytes) if bytes == text.as_bytes() => true,
        Ok(bytes) if !is_torn(&bytes) => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => false,
    };
    if !is_there {
        disk::replace(path, text.as_bytes())?;
    }
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o111 != 0o111 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::tests::place;
    use super::*;

    const PROGRAM: &str = "/usr/bin/sidecargo";

    #[test]
    fn a_torn_hook_is_made_again_and_the_operators_own_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let install = || place.install_hooks(Path::new(PROGRAM)).unwrap();
        install();
        for (name, text) in HOOKS {
            let path = place.git_dir.join("hooks").join(name);
            let zeroed = format!("{}\0\0", &text[..20]);
            for torn in ["", "#!", &text[..text.len() - 1], &zeroed] {
                fs::write(&path, torn).unwrap();
                install();
                assert_eq!(fs::read_to_string(&path).unwrap(), text, "{torn:?}");
            }
            for own in [
                "#!/bin/sh\nexit 0\n",
                "#!/bin/bash\nexit 0\n",
                &format!("{text}true\n"),
            ] {
                fs::write(&path, own).unwrap();
                install();
                assert_eq!(fs::read_to_string(&path).unwrap(), own);
            }
        }
    }

    #[test]
    fn git_runs_what_is_ours_and_the_operator_decides_on_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let install = || place.install_hooks(Path::new(PROGRAM)).unwrap();
        install();
        let path = |name| place.git_dir.join("hooks").join(name);
        let set = |name, mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(path(name), mode).unwrap();
        };
        let mode = |name| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
        for name in ["sidecargo", "pre-receive", "post-receive"] {
            set(name, 0o644);
        }
        set("post-receive", 0o555);
        fs::write(path("pre-receive"), "#!/bin/sh\nexit 0\n").unwrap();
        install();
        let modes = ["sidecargo", "pre-receive", "post-receive"].map(mode);
        assert_eq!(modes, [0o755, 0o644, 0o555]);
    }

    #[test]
    fn the_hooks_find_the_program_where_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        fs::create_dir_all(&place.git_dir).unwrap();
        let finder = place.git_dir.join("hooks/sidecargo");
        for (program, expected) in [
            (
                "/usr/bin/sidecargo",
                "#!/bin/sh\n[ -x '/usr/bin/sidecargo' ] && exec '/usr/bin/sidecargo' \"$@\"\nexec sidecargo \"$@\"\n",
            ),
            (
                "/it's new",
                "#!/bin/sh\n[ -x '/it'\\''s new' ] && exec '/it'\\''s new' \"$@\"\nexec sidecargo \"$@\"\n",
            ),
        ] {
            place.install_hooks(Path::new(program)).unwrap();
            assert_eq!(fs::read_to_string(&finder).unwrap(), expected);
            let files = ["sidecargo", HOOKS[0].0, HOOKS[1].0];
            let inode = |name| fs::metadata(finder.with_file_name(name)).unwrap().ino();
            let before = files.map(inode);
            place.install_hooks(Path::new(program)).unwrap();
            assert_eq!(files.map(inode), before, "what is whole stays");
        }
    }
}
