//! Where a registry keeps its index on the disk.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::disk;
use crate::domain::{CommitId, StoreId};

use super::copy::is_ancestor;
use super::damage::Damaged;
use super::history::Walk;
use super::kept::Kept;
use super::objects::Objects;
use super::registry_files::Identity;
use super::revoked::Revoked;
use super::settings::Settings;
use super::signature::{KeyFault, Signer, SigningKey};
use super::snapshot::Snapshot;
use super::upstream::{ARRIVED, Limits, NotPushed, Upstream};
use super::writer::Tip;
use super::{HistoryFault, OpenFault, history, load, refs, template};

/// Where a registry keeps what belongs to its index.
#[derive(Debug, Clone)]
pub struct Place {
    /// The bare repository.
    pub git_dir: PathBuf,
    /// The folder of keys.
    pub keys: PathBuf,
    /// The folder of what can be made again.
    pub cache: PathBuf,
}

/// What a start finds.
pub(super) struct Recovered {
    /// The newest good state.
    pub(super) tip: Tip,
    /// How many of its index files were not known from before.
    pub(super) unkept: usize,
    /// Files of the repository that are damaged and may be needed.
    pub(super) damaged: Vec<Damaged>,
}

/// For the whole index to come from a forge at the first start.
const COPY: Limits = Limits {
    time: Duration::from_secs(3600),
    file_bytes: 16 << 30,
    memory_bytes: 16 << 30,
};

impl Place {
    /// Makes the registry's repository if there is none yet: of the forge's branch, if there is one.
    ///
    /// The caller holds the lock of the data folder.
    pub fn ensure(
        &self,
        settings: &Settings,
        store: StoreId,
        upstream: Option<&Upstream>,
    ) -> Result<(), OpenFault> {
        let Some(upstream) = upstream else {
            return match self.git_dir.exists() {
                true => Ok(()),
                false => self.found(settings, store),
            };
        };
        // One that is torn is a matter for the mending at a start.
        let has_tip = !matches!(refs::read(&self.git_dir, refs::TIP), Ok(None));
        if self.has_forge()? && has_tip {
            return Ok(());
        }
        self.found_there(settings, store, upstream, has_tip)?;
        self.copy_from(upstream)
    }

    /// Puts the first commit onto the forge's branch, if it has none: ours, or one that is made for it.
    ///
    /// That one is made beside the place of the repository: if the push fails, or this process is killed meanwhile, and
    /// another server is quicker in the end, nothing here is in the way.
    fn found_there(
        &self,
        settings: &Settings,
        store: StoreId,
        upstream: &Upstream,
        has_tip: bool,
    ) -> Result<(), OpenFault> {
        let beside = Self {
            git_dir: self.git_dir.with_extension("founding"),
            ..self.clone()
        };
        let clear = || disk::remove_folder(&beside.git_dir).map_err(|source| self.io_fault(source));
        clear()?;
        if upstream.tip()?.is_some() {
            return Ok(());
        }
        let first = if has_tip { self } else { &beside };
        if !has_tip {
            beside.found(settings, store)?;
        }
        let pushed = upstream.push(None, first.tip()?, first.only_pack()?);
        clear()?;
        match pushed {
            // Another server was quicker.
            Err(NotPushed::Elsewhere) => Ok(()),
            pushed => Ok(pushed?),
        }
    }

    /// Makes the forge's branch that of the repository here; what it holds is judged when the index is opened.
    fn copy_from(&self, upstream: &Upstream) -> Result<(), OpenFault> {
        let io_fault = |source| self.io_fault(source);
        let is_new = !self.git_dir.exists();
        template::lay_out(&self.git_dir).map_err(io_fault)?;
        self.clean().map_err(io_fault)?;
        let before = refs::read(&self.git_dir, refs::TIP).map_err(io_fault)?;
        let fetched = upstream.fetch(&self.git_dir, COPY);
        if fetched.is_err() {
            // Half of a whole index, perhaps, and a start that is tried again and again.
            self.clean().map_err(io_fault)?;
        }
        let commit = fetched?;
        disk::sync_folder(&self.packs()).map_err(io_fault)?;
        let fits = match before {
            Some(before) if !is_ancestor(&self.git_dir, before, commit).map_err(io_fault)? => {
                Err(OpenFault::NotEmpty(self.git_dir.clone()))
            }
            _ => load::identity(&self.git_dir, commit).map_err(OpenFault::NotAnIndex),
        };
        if let Err(fault) = fits {
            let removed = match is_new {
                true => fs::remove_dir_all(&self.git_dir),
                false => fs::remove_file(self.git_dir.join(ARRIVED)),
            };
            removed.map_err(io_fault)?;
            return Err(fault);
        }
        refs::move_tip(&self.git_dir, before, commit)
            .map_err(|fault| io_fault(io::Error::other(fault)))?;
        info!(git_dir = %self.git_dir.display(), commit.id = %commit, "the index was fetched from the forge");
        Ok(())
    }

    /// The objects of a registry that was just made.
    fn only_pack(&self) -> Result<Vec<u8>, OpenFault> {
        let packs = fs::read_dir(self.packs());
        let mut packs = packs
            .map_err(|source| self.io_fault(source))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|kind| kind == "idx"));
        match (packs.next(), packs.next()) {
            (Some(index), None) => {
                fs::read(index.with_extension("pack")).map_err(|source| self.io_fault(source))
            }
            _ => Err(OpenFault::NotEmpty(self.git_dir.clone())),
        }
    }

    fn found(&self, settings: &Settings, store: StoreId) -> Result<(), OpenFault> {
        let key = SigningKey::open_or_create(&self.keys)?;
        template::create(&self.git_dir, settings, store, &key)?;
        info!(git_dir = %self.git_dir.display(), "a new registry was made");
        Ok(())
    }

    /// Who the registry is.
    pub fn identity(&self) -> Result<Identity, OpenFault> {
        self.identity_at(self.last_shown()?)
    }

    /// Who the registry is as of a commit.
    pub fn identity_at(&self, commit: CommitId) -> Result<Identity, OpenFault> {
        Ok(load::identity(&self.git_dir, commit)?)
    }

    /// The commit that clients of git were shown last.
    pub fn last_shown(&self) -> Result<CommitId, OpenFault> {
        self.good_commit(None)
    }

    /// The tokens that are revoked as of a commit.
    pub fn revoked(&self, commit: CommitId) -> Result<Revoked, OpenFault> {
        Ok(load::revoked(&self.git_dir, commit)?)
    }

    /// The commit that a start would show: after a power cut the branch can have good ones beyond what was shown last.
    pub fn newest_good(&self) -> Result<CommitId, OpenFault> {
        let key = SigningKey::open(&self.keys).ok();
        let signer = key.and_then(|key| key.signer().ok());
        let good = self.good_commit(signer.as_ref())?;
        match self.before_lost_push()? {
            Some(before) => self.good_until(good, before),
            None => self.good_until(good, self.tip()?),
        }
    }

    /// Where the branch was before a push of which the commit is not there: a power cut can take the names of its files.
    pub(super) fn before_lost_push(&self) -> Result<Option<CommitId>, OpenFault> {
        let tip = self.tip()?;
        let Some(before) = self.pushed_from(tip) else {
            return Ok(None);
        };
        let objects = Objects::open(&self.git_dir)?;
        let is_lost = objects.commit(tip).is_err();
        Ok((is_lost && objects.commit(before).is_ok()).then_some(before))
    }

    /// The last good commit on the way from one that is good to `tip`.
    fn good_until(&self, good: CommitId, tip: CommitId) -> Result<CommitId, OpenFault> {
        if good == tip {
            return Ok(tip);
        }
        let objects = Objects::open(&self.git_dir)?.hashed();
        // Whether a file is there is seen by who needs it.
        let mut walk = Walk::from(load::load(&self.git_dir, good)?, &objects, &|_| true);
        match walk.to(tip, &mut |_| ()) {
            Err(HistoryFault::Unreadable { fault, .. }) => Err(fault.into()),
            Err(fault @ HistoryFault::NoCommit { .. }) => Err(OpenFault::History(fault)),
            // It stands at the last good one before what people did.
            Ok(()) | Err(_) => Ok(walk.tip.snapshot.commit),
        }
    }

    /// Whether the branch follows one on a forge.
    pub fn has_forge(&self) -> Result<bool, OpenFault> {
        let mark = refs::read(&self.git_dir, ARRIVED);
        Ok(mark.map_err(|source| self.io_fault(source))?.is_some())
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.git_dir.join("objects/pack")
    }

    /// Where the branch is, good or not.
    pub fn tip(&self) -> Result<CommitId, OpenFault> {
        refs::read(&self.git_dir, refs::TIP)
            .map_err(|source| self.io_fault(source))?
            .ok_or_else(|| OpenFault::NoTip(self.git_dir.clone()))
    }

    /// The newest commit that is known to be good: from it on the branch is judged.
    ///
    /// That is the one which clients of git were shown last, as only what was judged is shown.
    /// If nobody knows it, the signature of our own key tells, else the first commit of all.
    pub(super) fn good_commit(&self, signer: Option<&Signer>) -> Result<CommitId, OpenFault> {
        let tip = self.tip()?;
        let objects = Objects::open(&self.git_dir)?;
        if let Some(shown) = refs::remembered(&self.git_dir) {
            // Without it, what was acknowledged is lost.
            return Ok(objects.commit(shown)?.id);
        }
        if let Ok(Some(shown)) = refs::read(&self.git_dir, refs::SERVED)
            && objects.commit(shown).is_ok()
        {
            return Ok(shown);
        }
        let is_ours = |it: &Signer| Some(it) == signer;
        history::newest_signed(&objects, tip, is_ours).map_err(|fault| match fault {
            HistoryFault::Unreadable { fault, .. } => OpenFault::Load(fault),
            other => OpenFault::History(other),
        })
    }

    /// What is served, as a command sees it beside the server.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, OpenFault> {
        let commit = self.good_commit(None)?;
        Ok(load::load(&self.git_dir, commit)?.snapshot)
    }

    pub(super) fn io_fault(&self, source: io::Error) -> OpenFault {
        OpenFault::Io {
            git_dir: self.git_dir.clone(),
            source,
        }
    }

    /// Mends what an ended process or a power cut left; the caller holds the lock of the data folder.
    pub fn heal(&self) -> Result<(), OpenFault> {
        let key = SigningKey::open(&self.keys)?;
        self.mend(&key.signer().map_err(KeyFault::from)?).map(drop)
    }

    /// Finds the newest good state, once what an ended process left is gone or mended and the refs are what they must be.
    pub(super) fn recover(&self, signer: &Signer) -> Result<Recovered, OpenFault> {
        let io_fault = |source| self.io_fault(source);
        let damaged = self.mend(signer)?;
        let found = || {
            let good = self.good_commit(Some(signer))?;
            let before = self.before_lost_push()?;
            before.map_or(Ok(good), |before| self.good_until(good, before))
        };
        let commit = found().map_err(|fault| self.explain(fault))?;
        if let Some(reason) = self.fallen_back()? {
            warn!(reason, "the branch may have been further once");
        }
        if commit == self.tip()? {
            refs::renew_tip(&self.git_dir, commit).map_err(io_fault)?;
        }
        let kept = Kept::load(&self.cache).unwrap_or_else(|fault| {
            warn!(%fault, "the snapshot file is not used");
            Kept::default()
        });
        let (tip, unkept) = Objects::open(&self.git_dir)
            .and_then(|objects| load::load_with(objects, commit, &kept))
            .map_err(|fault| self.explain(fault.into()))?;
        refs::show(&self.git_dir, commit).map_err(io_fault)?;
        Ok(Recovered {
            tip,
            unkept,
            damaged,
        })
    }
}
