//! What is mended at the start, before anything is read: files of the repository that are torn, zeroed or half there.
//!
//! A power cut leaves none of them, for what counts is flushed. A disk or a person may.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;
use tracing::{error, warn};

use crate::disk::{self, about};
use crate::domain::CommitId;
use crate::git;

use super::damage::{Damaged, cure, each, gone, look_into, unread};
use super::load::LoadFault;
use super::objects::Objects;
use super::place::Place;
use super::signature::Signer;
use super::{OpenFault, pack, refs, template, torn_tip};

/// How many packs are looked through at each start, those that were written last.
const PACKS: usize = 32;
/// Those with more bytes were not written by a group of changes, and are left out.
const PACK_BYTES_MAX: u64 = 64 << 20;
/// What is damaged cannot be mended, and nothing can be served without it.
#[derive(Debug, Error)]
pub enum MendFault {
    /// Something cannot be read.
    #[error("{fault}{}; {}", each(.damaged), cure(.damaged))]
    Damaged {
        /// What it is.
        fault: LoadFault,
        /// The files to blame, as far as any is known.
        damaged: Vec<Damaged>,
    },
    /// All that was ever committed is gone.
    #[error("the folder {} is gone, and the whole index with it; bring the registry back from a backup with `sidecargo restore`", .0.display())]
    NoPacks(PathBuf),
    /// Nobody can tell where the objects are that it names.
    #[error("`{}` is torn: a path in it has a zero byte; write down again which folders of objects it named, or remove it if it named none that is needed", .0.display())]
    TornAlternates(PathBuf),
    /// The commit that was shown last is nowhere, and nothing else is damaged.
    #[error(
        "`{}` names the commit {shown}, which is not there: unless that file alone is damaged, the commit was acknowledged; the branch is at {tip}, and clients of git were shown {}; bring the registry back from a backup with `sidecargo restore`, or, to go on from the branch without what may have come after it, `rm {0}`",
        path.display(), served.map_or_else(|| "nothing".to_owned(), |it| it.to_string())
    )]
    StrangeShown {
        /// The file.
        path: PathBuf,
        /// What it says.
        shown: CommitId,
        /// Where the branch is.
        tip: CommitId,
        /// What the ref says that clients of git see.
        served: Option<CommitId>,
    },
    /// The tip names no commit, and nobody can tell for sure which one it named.
    #[error(
        "`{}` names no commit: {reason}; it may have been {}; look at them with `git log`, then `rm {0}` and `git --git-dir={} update-ref {} COMMIT`, or bring the registry back from a backup with `sidecargo restore`",
        path.display(), list(.candidates), git_dir.display(), refs::TIP
    )]
    TornTip {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What it can have named.
        candidates: Vec<CommitId>,
        /// The repository.
        git_dir: PathBuf,
    },
}

impl Place {
    /// Drops what an ended process left, heals what can be made again from what is whole, and names the rest in the log;
    /// the caller holds the lock of the data folder. Gives the files that stay damaged.
    pub(super) fn mend(&self, signer: &Signer) -> Result<Vec<Damaged>, OpenFault> {
        let io_fault = |source| self.io_fault(source);
        template::mend_layout(&self.git_dir).map_err(io_fault)?;
        if !self.packs().exists() {
            return Err(MendFault::NoPacks(self.packs()).into());
        }
        let alternates = self.git_dir.join("objects/info/alternates");
        let named = disk::if_there(fs::read(&alternates)).map_err(io_fault)?;
        if named.is_some_and(|paths| paths.contains(&0)) {
            return Err(MendFault::TornAlternates(alternates).into());
        }
        self.clean().map_err(io_fault)?;
        refs::mend_packed(&self.git_dir).map_err(io_fault)?;
        self.remove_torn_aids().map_err(io_fault)?;
        let mut damaged = self.mend_indices().map_err(io_fault)?;
        let mut torn = self.newest_damaged_packs().map_err(io_fault)?;
        for pack in damaged
            .iter()
            .map(|index| index.path.with_extension("pack"))
        {
            if torn.iter().all(|it| it.path != pack) {
                torn.extend(look_into(&pack));
            }
        }
        let left = self.drop_torn_copies(torn, &damaged).map_err(io_fault)?;
        damaged.retain(|index| !index.path.with_extension(pack::HIDDEN).exists());
        damaged.extend(left);
        tell(&damaged);
        let strays = self.strays().map_err(io_fault)?;
        torn_tip::mend(&self.git_dir, signer, &strays).map_err(|fault| self.explain(fault))?;
        // Only now: they tell of commits that a torn tip can have named.
        self.remove_strays(&strays)?;
        Ok(damaged)
    }

    /// Removes what only makes git quicker, if it is torn: git would go by it all the same.
    fn remove_torn_aids(&self) -> io::Result<()> {
        for torn in self.torn_aids()? {
            warn!(%torn, "a file that makes git quicker was removed");
            fs::remove_file(&torn.path)?;
        }
        Ok(())
    }

    /// What only makes git quicker, and is torn: graphs of commits, an index of several packs, bitmaps, reverse indices.
    pub(super) fn torn_aids(&self) -> io::Result<Vec<Damaged>> {
        let objects = self.git_dir.join("objects");
        let mut aids = vec![
            objects.join("info/commit-graph"),
            self.packs().join("multi-pack-index"),
        ];
        aids.retain(|path| path.exists());
        for (folder, extension) in [
            (self.packs(), "bitmap"),
            (self.packs(), "rev"),
            (objects.join("info/commit-graphs"), "graph"),
        ] {
            aids.extend(files_in(&folder, extension)?);
        }
        let mut torn: Vec<Damaged> = aids.iter().filter_map(|path| look_into(path)).collect();
        let chain = objects.join("info/commit-graphs/commit-graph-chain");
        if let Some(text) = disk::if_there(fs::read(&chain))? {
            let is_whole = |id: &str| {
                let graph = chain.with_file_name(format!("graph-{id}.graph"));
                let is_id = id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_id && graph.exists() && torn.iter().all(|it| it.path != graph)
            };
            let text = String::from_utf8_lossy(&text);
            if text.is_empty() || !text.ends_with('\n') || !text.lines().all(is_whole) {
                let reason = "it does not name graphs that are there and whole";
                torn.push(Damaged::new(chain, reason));
            }
        }
        Ok(torn)
    }

    /// Removes the indices of packs that are gone, if the history is whole without those.
    ///
    /// If nothing is missing but what was pushed last, they stay: the branch is not followed then, and that is told.
    fn remove_strays(&self, strays: &[PathBuf]) -> Result<(), OpenFault> {
        if strays.is_empty() {
            return Ok(());
        }
        warn!("a pack of the index is gone; it is looked whether anything needs it");
        let io_fault = |source| self.io_fault(source);
        if let Some(gap) = self.gap_in_history().map_err(io_fault)? {
            let fault = LoadFault::Git {
                what: "the history".to_owned(),
                git_dir: self.git_dir.display().to_string(),
                cause: gap,
            };
            let damaged: Vec<_> = strays.iter().map(|index| gone(index)).collect();
            let is_whole = |commit| self.gap_behind(&[commit]).map(|gap| gap.is_none());
            let before = self.before_lost_push()?;
            if before.map_or(Ok(false), is_whole).map_err(io_fault)? {
                tell(&damaged);
                return Ok(());
            }
            return Err(MendFault::Damaged { fault, damaged }.into());
        }
        for path in strays {
            warn!(path = %path.display(), "the index of a pack that is gone was removed: nothing needs it");
            fs::remove_file(path).map_err(io_fault)?;
            pack::remove_parts(path).map_err(io_fault)?;
        }
        Ok(())
    }

    /// What is missing of the history, in git's words, once all of it was looked for; also if nobody knows where it ends.
    pub(super) fn gap_in_history(&self) -> io::Result<Option<String>> {
        let Some(tip) = refs::read(&self.git_dir, refs::TIP).ok().flatten() else {
            return Ok(Some("it is not known where the branch is".to_owned()));
        };
        let shown = refs::shown(&self.git_dir).ok().flatten();
        let commits: Vec<_> = [Some(tip), shown].into_iter().flatten().collect();
        self.gap_behind(&commits)
    }

    fn gap_behind(&self, commits: &[CommitId]) -> io::Result<Option<String>> {
        let output = git::command(&self.git_dir)
            // The graph knows commits that are gone.
            .args(["-c", "core.commitGraph=false"])
            .args(["rev-list", "--objects", "--quiet"])
            .args(commits.iter().map(|commit| commit.to_string()))
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let gap = said.lines().next().unwrap_or_default().to_owned();
        Ok((!output.status.success()).then_some(gap))
    }

    /// The packs that are gone though their indices are there.
    pub(super) fn gone_packs(&self) -> io::Result<Vec<Damaged>> {
        Ok(self.strays()?.iter().map(|index| gone(index)).collect())
    }

    fn strays(&self) -> io::Result<Vec<PathBuf>> {
        let mut indices = self.packs_and_indices("idx")?;
        indices.retain(|index| !index.with_extension("pack").exists());
        Ok(indices)
    }

    /// Says which files are to blame if the index cannot be read.
    pub(super) fn explain(&self, fault: OpenFault) -> OpenFault {
        let OpenFault::Load(
            fault @ (LoadFault::Git { .. } | LoadFault::Broken { .. } | LoadFault::Closed { .. }),
        ) = fault
        else {
            return fault;
        };
        let damaged = self.to_blame();
        let strange = self.strange_shown().filter(|_| damaged.is_empty());
        match (&fault, strange) {
            (LoadFault::Closed { .. }, _) if damaged.is_empty() => OpenFault::Load(fault),
            (_, Some(strange)) => strange.into(),
            (LoadFault::Broken { .. }, None) if damaged.is_empty() => OpenFault::Load(fault),
            _ => MendFault::Damaged { fault, damaged }.into(),
        }
    }

    /// The packs that are torn or gone; each is read whole.
    pub(super) fn to_blame(&self) -> Vec<Damaged> {
        let mut files = self.packs_and_indices("pack").unwrap_or_default();
        files.retain(|pack| !is_arriving(pack));
        let mut damaged: Vec<Damaged> = files.iter().filter_map(|path| look_into(path)).collect();
        damaged.extend(self.gone_packs().unwrap_or_default());
        damaged
    }

    /// The indices that are torn or gone though their packs are whole.
    pub(super) fn lost_indices(&self) -> Vec<Damaged> {
        let mut packs = self.packs_and_indices("pack").unwrap_or_default();
        packs.retain(|pack| !pack.with_extension(pack::HIDDEN).exists());
        let lost = packs.iter().filter_map(|pack| {
            let index = pack.with_extension("idx");
            let reason = match index.exists() {
                true => look_into(&index)?.reason,
                false => "it is gone".to_owned(),
            };
            let reason = format!("{reason}; a start of the server makes it again");
            let lost = Damaged::new(index, reason);
            look_into(pack).is_none().then_some(lost)
        });
        lost.collect()
    }

    /// What is to be said if the commit is not there that was shown last, and the branch is at one that is.
    fn strange_shown(&self) -> Option<MendFault> {
        let shown = refs::remembered(&self.git_dir)?;
        let objects = Objects::open(&self.git_dir).ok()?;
        let tip = self.tip().ok()?;
        let is_strange = objects.commit(shown).is_err() && objects.commit(tip).is_ok();
        is_strange.then(|| MendFault::StrangeShown {
            path: self.git_dir.join(refs::SHOWN),
            shown,
            tip,
            served: refs::read(&self.git_dir, refs::SERVED).ok().flatten(),
        })
    }

    /// Makes each index of a pack that is torn or gone again; gives those that it could not.
    fn mend_indices(&self) -> io::Result<Vec<Damaged>> {
        let mut damaged = Vec::new();
        for pack in self.packs_and_indices("pack")? {
            let index = pack.with_extension("idx");
            let reason = match index.exists() {
                // Whoever brings it gives it the same index, perhaps in this moment; or has ended.
                false if is_arriving(&pack) && look_into(&pack).is_some() => continue,
                false => "it is gone".to_owned(),
                true => match look_into(&index) {
                    Some(torn) => torn.reason,
                    None => continue,
                },
            };
            match self.index_again(&pack, &index) {
                Ok(()) => {
                    let path = index.display();
                    warn!(%path, reason, "the index of a pack was made again");
                }
                // A matter of this machine, such as a full disk: nothing is lost.
                Err(cause) if look_into(&pack).is_none() => {
                    let words = format!("{} was not made again: {cause}", index.display());
                    return Err(io::Error::new(cause.kind(), words));
                }
                Err(cause) => {
                    let reason = format!("{reason}, and it was not made again: {cause}");
                    damaged.push(Damaged::new(index, reason));
                }
            }
        }
        Ok(damaged)
    }

    /// Git flushes what it writes, as the repository's settings say.
    fn index_again(&self, pack: &Path, index: &Path) -> io::Result<()> {
        let fresh = index.with_file_name(format!("{}again.idx", disk::TEMP_PREFIX));
        let output = git::command(&self.git_dir)
            .args(["index-pack", "--no-rev-index", "-o"])
            .args([&fresh, pack])
            .output()?;
        if !output.status.success() {
            pack::remove_if_there(&fresh)?;
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("git says {:?}", said.trim_end())));
        }
        disk::rename(&fresh, index)
    }

    /// For the log: what is needed of an older one is refused when it is read.
    pub(super) fn newest_damaged_packs(&self) -> io::Result<Vec<Damaged>> {
        let mut packs: Vec<(SystemTime, PathBuf)> = Vec::new();
        for path in self.packs_and_indices("pack")? {
            let metadata = fs::metadata(&path)?;
            if metadata.len() <= PACK_BYTES_MAX {
                packs.push((metadata.modified()?, path));
            }
        }
        packs.sort_unstable();
        let newest = packs.iter().rev().take(PACKS);
        Ok(newest.filter_map(|(_, path)| look_into(path)).collect())
    }

    /// Refuses to go on where the disk does not give all bytes of a pack; every byte is read.
    pub fn check_readable(&self) -> Result<(), OpenFault> {
        let unread = self.unread().map_err(|source| self.io_fault(source))?;
        match unread.first() {
            None => Ok(()),
            Some(file) => Err(self.io_fault(io::Error::other(file.to_string()))),
        }
    }

    /// Packs and indices of which the disk does not give all bytes.
    pub(super) fn unread(&self) -> io::Result<Vec<Damaged>> {
        let indices = self.packs_and_indices("idx")?;
        let packs = indices.iter().map(|index| index.with_extension("pack"));
        let files = packs.chain(indices.iter().cloned());
        Ok(files.filter_map(|path| unread(&path)).collect())
    }

    pub(super) fn packs_and_indices(&self, extension: &str) -> io::Result<Vec<PathBuf>> {
        let mut files = files_in(&self.packs(), extension)?;
        files.retain(|path| {
            let name = path.file_name().unwrap_or_default();
            !name
                .as_encoded_bytes()
                .starts_with(disk::TEMP_PREFIX.as_bytes())
        });
        Ok(files)
    }
}

fn tell(damaged: &[Damaged]) {
    for Damaged { path, reason, .. } in damaged {
        error!(path = %path.display(), reason, "a file of the index is damaged");
    }
}

/// The files of a folder with this extension; none if there is no folder.
fn files_in(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let entries = disk::if_there(fs::read_dir(folder)).map_err(about(folder))?;
    for entry in entries.into_iter().flatten() {
        let path = entry.map_err(about(folder))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Whether somebody is writing this pack, who gives it an index next.
fn is_arriving(pack: &Path) -> bool {
    !pack.with_extension("idx").exists() && pack.with_extension("keep").exists()
}

fn list(commits: &[CommitId]) -> String {
    let ids: Vec<String> = commits.iter().map(CommitId::to_string).collect();
    match ids.is_empty() {
        true => "none that is there".to_owned(),
        false => ids.join(" or "),
    }
}
