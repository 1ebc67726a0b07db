//! The index: a git repository of signed commits, one writer, and snapshots for readers.
//!
//! What is absent on purpose: nothing here knows HTTP, tokens or tarballs, and no git program runs on the write path.

mod change;
mod dependencies;
mod edit;
mod load;
mod message;
mod object;
mod operator;
mod pack;
mod queue;
mod recent;
mod recheck;
mod refs;
mod registry_files;
mod revoked;
mod settings;
mod signature;
mod snapshot;
mod template;
mod tree;
mod writer;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::blobs::Blobs;
use crate::disk;
use crate::domain::{RegistryName, StoreId};

pub use change::{Action, Change, Refusal};
pub use dependencies::{MissingDependencies, MissingDependency};
pub use load::LoadFault;
pub use object::Body;
pub use operator::{Operation, OperationFault};
pub use registry_files::{Identity, RegistryFiles};
pub use revoked::Revoked;
pub use settings::{Settings, random_capability};
pub use signature::{KeyFault, Signer};
pub use snapshot::{Crate, Release, Snapshot};
pub use template::InitFault;
pub use writer::{Landed, WriteFault};

use edit::Edit;
use queue::{Ask, Ticket};
use signature::SigningKey;
use writer::Writer;

/// The most changes that wait for the writer.
const QUEUE_MAX: usize = 1024;
/// How long the end of the process waits for the writer.
const END_WAIT: Duration = Duration::from_secs(10);

/// Where a registry keeps what belongs to its index.
#[derive(Debug, Clone)]
pub struct Place {
    /// The bare repository.
    pub git_dir: PathBuf,
    /// The folder of keys.
    pub keys: PathBuf,
}

/// The index of a running registry.
pub struct Index {
    git_dir: PathBuf,
    keys: PathBuf,
    shown: Arc<ArcSwap<Snapshot>>,
    /// Whether the tip is known to be durable.
    is_proven: Arc<AtomicBool>,
    moves: watch::Receiver<Arc<Snapshot>>,
    queue: Option<SyncSender<Ticket>>,
    writer: Option<thread::JoinHandle<()>>,
}

/// The index cannot be opened.
#[derive(Debug, Error)]
pub enum OpenFault {
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// There was no repository and none could be made.
    #[error(transparent)]
    Init(#[from] InitFault),
    /// The repository cannot be served.
    #[error(transparent)]
    Load(#[from] LoadFault),
    /// A file of the repository cannot be read or written.
    #[error("the index repository {} cannot be opened", git_dir.display())]
    Io {
        /// The repository.
        git_dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The repository has no branch.
    #[error("the index repository {} has no commit on {}", .0.display(), refs::TIP)]
    NoTip(PathBuf),
    /// The configured name is not that of the registry in the folder.
    #[error("`name` is `{configured}`, but the registry in this folder is called `{found}`")]
    Name {
        /// What the configuration says.
        configured: RegistryName,
        /// What the repository says.
        found: RegistryName,
    },
    /// The blob store belongs to another registry.
    #[error("the blob store has the id {found}, but the index belongs to the store {expected}")]
    Store {
        /// The store that was opened.
        found: StoreId,
        /// The store that the repository names.
        expected: StoreId,
    },
    /// The signing key is not one that the repository trusts.
    #[error(
        "the signing key in the folder of keys is not listed in `allowed_signers` of the index"
    )]
    ForeignKey,
    /// The commit for other settings was not written.
    #[error("the new settings were not written to the index: {0}")]
    Configure(String),
}

impl Place {
    /// Makes the registry's repository if there is none yet.
    ///
    /// The caller holds the lock of the data folder.
    pub fn ensure(&self, settings: &Settings, store: StoreId) -> Result<(), OpenFault> {
        if self.git_dir.exists() {
            return Ok(());
        }
        let key = SigningKey::open_or_create(&self.keys)?;
        template::create(&self.git_dir, settings, store, &key)?;
        info!(git_dir = %self.git_dir.display(), "a new registry was made");
        Ok(())
    }

    /// Who the registry is, as its tip says.
    pub fn identity(&self) -> Result<Identity, OpenFault> {
        Ok(load::identity(&self.git_dir, self.tip()?)?)
    }

    /// The tokens that are revoked at its tip.
    pub fn revoked(&self) -> Result<Revoked, OpenFault> {
        Ok(load::revoked(&self.git_dir, self.tip()?)?)
    }

    fn tip(&self) -> Result<crate::domain::CommitId, OpenFault> {
        refs::read(&self.git_dir, refs::TIP)
            .map_err(|source| self.io_fault(source))?
            .ok_or_else(|| OpenFault::NoTip(self.git_dir.clone()))
    }

    fn io_fault(&self, source: io::Error) -> OpenFault {
        OpenFault::Io {
            git_dir: self.git_dir.clone(),
            source,
        }
    }

    /// Removes what an ended process left: temporary files, a pack that has no index yet, its lock on the tip.
    fn clean(&self) -> io::Result<()> {
        let packs = self.git_dir.join("objects/pack");
        pack::remove_unfinished(&packs)?;
        let served = self.git_dir.join(refs::SERVED);
        let folders = [Some(packs.as_path()), Some(&self.git_dir), served.parent()];
        // Git takes away a folder of refs when it has packed them.
        for folder in folders
            .into_iter()
            .flatten()
            .filter(|folder| folder.exists())
        {
            disk::remove_leftovers(folder)?;
        }
        match fs::remove_file(refs::lock_of_tip(&self.git_dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Index {
    /// Opens the registry at `place` and starts its writer.
    ///
    /// The caller holds the lock of the data folder. What an ended process left behind is dropped, the ref for clients
    /// of git follows the tip, and settings that are not those of the index become a commit.
    pub fn open(place: &Place, settings: &Settings, blobs: &Blobs) -> Result<Self, OpenFault> {
        place.ensure(settings, blobs.id())?;
        place.clean().map_err(|source| place.io_fault(source))?;
        let key = SigningKey::open_or_create(&place.keys)?;
        let commit = place.tip()?;
        refs::renew_tip(&place.git_dir, commit).map_err(|source| place.io_fault(source))?;
        let tip = load::load(&place.git_dir, commit)?;
        check(tip.snapshot.registry(), &settings.name, blobs.id(), &key)?;
        recheck::newest_blobs(&place.git_dir, commit, blobs);
        refs::show(&place.git_dir, commit).map_err(|source| place.io_fault(source))?;

        let first = Arc::new(tip.snapshot.clone());
        let shown = Arc::new(ArcSwap::new(Arc::clone(&first)));
        let (moved, moves) = watch::channel(first);
        let is_proven = Arc::new(AtomicBool::new(true));
        let mut writer = Writer {
            git_dir: place.git_dir.clone(),
            keys: place.keys.clone(),
            key,
            tip,
            shown: Arc::clone(&shown),
            moved,
            unproven: Vec::new(),
            is_proven: Arc::clone(&is_proven),
        };
        writer.promote_next_key()?;
        let snapshot = &writer.tip.snapshot;
        let identity = snapshot.registry().identity.configured(settings);
        let mut identity = identity.map_err(|source| place.io_fault(source))?;
        if snapshot.crates.is_empty() {
            // Nobody can have come to depend on a URL under which nothing was ever published.
            identity.former_urls.clear();
        }
        if let Some(edit) = Edit::configure(snapshot, identity) {
            info!(
                change = edit.message.subject,
                "the settings differ from those of the index"
            );
            writer.write_own(edit).map_err(OpenFault::Configure)?;
        }
        let (queue, tickets) = mpsc::sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer.run(&tickets))
            .map_err(|source| place.io_fault(source))?;
        Ok(Self {
            git_dir: place.git_dir.clone(),
            keys: place.keys.clone(),
            shown,
            is_proven,
            moves,
            queue: Some(queue),
            writer: Some(thread),
        })
    }

    /// The index as it is now. What is read from one snapshot belongs together.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shown.load_full()
    }

    /// The index as it is now, and a word whenever it moves; the channel ends with the index.
    ///
    /// A change that was answered with `Ok` is in it.
    pub fn moves(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.moves.clone()
    }

    /// The bare repository.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Judges a change on the index as it is now, without asking the writer, who judges again.
    ///
    /// A tip that may not survive a power cut is no ground for a refusal.
    pub fn check(&self, change: &Change) -> Result<(), Refusal> {
        match self.is_proven.load(Ordering::Acquire) {
            true => change.check(&self.snapshot()),
            false => Ok(()),
        }
    }

    /// Brings a change into the index; when this returns `Ok`, it is durable and both protocols serve it.
    pub async fn submit(&self, change: Change, deadline: Instant) -> Result<Landed, WriteFault> {
        queue::submit(self.queue(), Ask::Change(change), deadline).await
    }

    /// Brings an operator's change into the index, in the same groups and as durable as [`Index::submit`].
    pub async fn operate(
        &self,
        operation: Operation,
        at: Timestamp,
        deadline: Instant,
    ) -> Result<Landed, WriteFault> {
        queue::submit(self.queue(), Ask::Operation(operation, at), deadline).await
    }

    /// Makes the key of an [`Operation::RotateSigningKey`], or finds the one of a rotation that did not land.
    pub fn prepare_signing_key(&self) -> Result<Signer, KeyFault> {
        Ok(SigningKey::prepare_next(&self.keys)?.signer()?)
    }

    fn queue(&self) -> &SyncSender<Ticket> {
        self.queue
            .as_ref()
            .expect("the queue is open until the index is dropped")
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // The writer ends when it has answered all that is in its queue; a disk that hangs does not hold up the end.
        drop(self.queue.take());
        let until = std::time::Instant::now() + END_WAIT;
        while let Some(writer) = self.writer.take_if(|writer| !writer.is_finished()) {
            if std::time::Instant::now() > until {
                return;
            }
            self.writer = Some(writer);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn check(
    registry: &RegistryFiles,
    name: &RegistryName,
    store: StoreId,
    key: &SigningKey,
) -> Result<(), OpenFault> {
    let identity = &registry.identity;
    if identity.name != *name {
        return Err(OpenFault::Name {
            configured: name.clone(),
            found: identity.name.clone(),
        });
    }
    if identity.blob_store != store {
        return Err(OpenFault::Store {
            found: store,
            expected: identity.blob_store,
        });
    }
    match registry.trusts(&key.signer().map_err(KeyFault::from)?) {
        true => Ok(()),
        false => Err(OpenFault::ForeignKey),
    }
}
