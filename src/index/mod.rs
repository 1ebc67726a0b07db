//! The index: a git repository of signed commits, one writer, and snapshots for readers.
//!
//! What is absent on purpose: nothing here knows requests of clients, tokens or tarballs, and no git program runs on the
//! write path.

mod begin;
mod change;
mod child;
mod copies;
mod copy;
mod crates;
mod damage;
mod dependencies;
mod diff;
mod edit;
mod follow;
mod group;
mod history;
mod hooks;
mod kept;
mod leftovers;
mod load;
mod maintenance;
mod measures;
mod mend;
mod message;
mod named;
mod object;
mod objects;
mod opening;
mod operator;
mod pack;
mod place;
mod push;
mod queue;
mod recent;
mod recheck;
mod refs;
mod registry_files;
mod review;
mod revoked;
mod rule;
mod settings;
mod signature;
mod snapshot;
mod template;
mod torn_tip;
mod tree;
mod upstream;
mod verify;
mod writer;
mod written;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod mend_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info};

use crate::blobs::Blobs;
use crate::measure::Counted;

pub use change::{Action, Change, Refusal};
pub use copy::{CopyFault, Incoming};
pub use damage::Damaged;
pub use dependencies::MissingDependency;
pub use follow::Stall;
pub use history::HistoryFault;
pub use hooks::{PushFault, judge_push};
pub use load::LoadFault;
pub use measures::{Measures, WaitsFor};
pub use mend::MendFault;
pub use message::REGISTRY_ADDRESS;
pub use object::{Body, Collision};
pub use opening::OpenFault;
pub use operator::{Operation, OperationFault};
pub use place::Place;
pub use queue::{Blob, OUTCOME_WAIT};
pub use refs::BRANCH;
pub use registry_files::{Identity, RegistryFiles};
pub use review::{Basis, Ground, Merge, ReviewFault, Scope};
pub use revoked::Revoked;
#[cfg(any(test, fuzzing))]
pub use rule::fuzzing::rule;
pub use rule::{LineViolation, Violation};
pub use settings::{Settings, random_capability};
pub use signature::{KeyFault, Signer};
pub use snapshot::{Crate, Release, Snapshot};
pub use template::InitFault;
pub use upstream::{Authorization, IsTaken, NotPushed, TokenFault, Upstream, UpstreamFault};
pub use verify::{Fault, Report, VerifyFault, verify};
pub use written::{Landed, WriteFault};

use maintenance::Maintenance;
use pack::Packs;
use queue::{Ask, Ticket};
use signature::SigningKey;
use writer::{Tip, Writer};

/// The most changes that wait for the writer.
const QUEUE_MAX: usize = 1024;
/// How long the end of the process waits for the writer.
const END_WAIT: Duration = Duration::from_secs(10);

/// The index of a running registry.
pub struct Index {
    git_dir: PathBuf,
    keys: PathBuf,
    shown: Arc<ArcSwap<Tip>>,
    /// Whether the tip is known to be durable.
    is_proven: Arc<AtomicBool>,
    stalled: Arc<ArcSwapOption<Stall>>,
    unpushed: Arc<ArcSwapOption<String>>,
    moves: watch::Receiver<Arc<Snapshot>>,
    measures: Measures,
    has_forge: bool,
    queue: Option<SyncSender<Ticket>>,
    writer: Option<thread::JoinHandle<()>>,
    maintenance: Maintenance,
}

/// Which branch is the index.
#[derive(Debug)]
pub enum Branch {
    /// That of the repository here.
    Here {
        /// How often it is looked whether somebody else moved it.
        poll: Duration,
    },
    /// That of a repository on the forge, which the one here follows.
    Forge(Upstream),
}

impl Index {
    /// Opens the registry at `place` and starts its writer.
    ///
    /// The caller holds the lock of the data folder. What an ended process left behind is dropped, the ref for clients
    /// of git follows the tip, and settings that are not those of the index become a commit.
    pub fn open(
        place: &Place,
        settings: &Settings,
        blobs: &Blobs,
        branch: Branch,
    ) -> Result<Self, OpenFault> {
        let (upstream, poll) = match branch {
            Branch::Here { poll } => {
                if place.has_forge()? {
                    return Err(OpenFault::FollowsForge(place.git_dir.clone()));
                }
                (None, poll)
            }
            Branch::Forge(upstream) => {
                let poll = upstream.poll();
                (Some(upstream), poll)
            }
        };
        let has_forge = upstream.is_some();
        place.ensure(settings, blobs.id(), upstream.as_ref())?;
        let key = SigningKey::open(&place.keys)?;
        let found = place.recover(&key.signer().map_err(KeyFault::from)?)?;
        let tip = found.tip;
        let shown = Arc::new(ArcSwap::from_pointee(tip.clone()));
        let (moved, moves) = watch::channel(Arc::clone(&tip.snapshot));
        let is_proven = Arc::new(AtomicBool::new(true));
        let maintenance = Maintenance::start(&place.git_dir, found.damaged);
        let (maintenance, flights) = maintenance.map_err(|source| place.io_fault(source))?;
        let stalled = Arc::new(ArcSwapOption::empty());
        let unpushed = Arc::new(ArcSwapOption::empty());
        let measures = Measures::new();
        let mut writer = Writer {
            git_dir: place.git_dir.clone(),
            keys: place.keys.clone(),
            cache: place.cache.clone(),
            packs: Packs::new(place.packs()),
            key,
            tip,
            unkept: found.unkept,
            shown: Arc::clone(&shown),
            moved,
            unproven: Vec::new(),
            is_proven: Arc::clone(&is_proven),
            stalled: Arc::clone(&stalled),
            pushed: None,
            unpushed: Arc::clone(&unpushed),
            violation: None,
            blobs: blobs.clone(),
            upstream,
            looked: std::time::Instant::now(),
            look_due: std::time::Instant::now(),
            poll,
            flights,
            measures: measures.clone(),
        };
        writer.begin(settings)?;
        for damage in recheck::newest_blobs(&place.git_dir, writer.tip.snapshot.commit, blobs) {
            error!(%damage, "a crate file cannot be served");
        }
        writer.packs.make_ready();
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
            stalled,
            unpushed,
            moves,
            measures,
            has_forge,
            queue: Some(queue),
            writer: Some(thread),
            maintenance,
        })
    }

    /// The index as it is now. What is read from one snapshot belongs together.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shown.load().snapshot)
    }

    /// The index as it is now, and a word whenever it moves; the channel ends with the index.
    ///
    /// A change that was answered with `Ok` is in it.
    pub fn moves(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.moves.clone()
    }

    /// Whether all that is served is known to be durable.
    pub fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Acquire)
    }

    /// Why nothing can be written although the disk is well: the branch is where it must not be.
    pub fn stall(&self) -> Option<Arc<Stall>> {
        self.stalled.load_full()
    }

    /// Why the forge refused the last push, if it did; only the next one tells whether it was for what was pushed.
    pub fn unpushed(&self) -> Option<Arc<String>> {
        self.unpushed.load_full()
    }

    /// Whether its branch is that of a repository on the forge, to which other servers may write, too.
    pub fn has_forge(&self) -> bool {
        self.has_forge
    }

    /// The bare repository.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Where the refs lie that the writer moves.
    pub fn ref_folders(&self) -> Vec<PathBuf> {
        let paths = [refs::TIP, refs::SERVED].map(|name| self.git_dir.join(name));
        let folders = paths.iter().filter_map(|path| path.parent());
        folders.map(Path::to_owned).collect()
    }

    /// Where the writer puts what it writes.
    pub fn packs(&self) -> PathBuf {
        self.git_dir.join("objects/pack")
    }

    /// All that is against a change on the index as it is now, without asking the writer, who judges again.
    ///
    /// A tip that may not survive a power cut is no ground for a refusal, nor is one that another server may have
    /// moved on: with a forge, its branch is looked at first.
    pub async fn refusals(&self, change: &Change, deadline: Instant) -> Vec<Refusal> {
        if !self.is_proven.load(Ordering::Acquire) {
            return Vec::new();
        }
        let refusals = change.refusals(&self.snapshot());
        if refusals.is_empty() || !self.has_forge {
            return refusals;
        }
        match self.look(deadline).await {
            Ok(_) => change.refusals(&self.snapshot()),
            // The writer says why nothing is written.
            Err(_) => Vec::new(),
        }
    }

    /// Why nobody can clone the index, if a part of its history was found to be gone.
    pub fn broken_history(&self) -> Option<Arc<String>> {
        self.maintenance.broken_history()
    }

    /// Fails if nothing is written because there are too many packs.
    pub fn check_packs(&self) -> Result<(), String> {
        self.maintenance.check_crowd()
    }

    /// Why nobody can move the branch, if a git that ended left its lock.
    pub fn stale_lock(&self) -> Option<String> {
        refs::stale_lock(&self.git_dir)
    }

    /// Whether changes can still be made: the writer ends before the index only by a fault of ours.
    pub fn has_writer(&self) -> bool {
        let writer = self.writer.as_ref();
        writer.is_some_and(|writer| !writer.is_finished())
    }

    /// Whether packs are merged: that ends before the index, too, only by a fault of ours.
    pub fn has_maintenance(&self) -> bool {
        self.maintenance.is_up()
    }

    /// Brings a change into the index; when this returns `Ok`, it is durable and both protocols serve it.
    pub async fn submit(&self, change: Change, deadline: Instant) -> Result<Landed, WriteFault> {
        self.submit_with(change, Blob::Kept, deadline).await
    }

    /// As [`Index::submit`], while the `.crate` file of the change is on its way into the store: it is waited for
    /// before the change becomes part of the index.
    pub async fn submit_with(
        &self,
        change: Change,
        blob: Blob,
        deadline: Instant,
    ) -> Result<Landed, WriteFault> {
        let landed = self.ask(Ask::Change(change), blob, deadline).await?;
        info!(commit.id = %landed.commit, "the index has the change, by this commit or one before it");
        Ok(landed)
    }

    /// Brings an operator's change into the index, in the same groups and as durable as [`Index::submit`].
    pub async fn operate(
        &self,
        operation: Operation,
        at: Timestamp,
        deadline: Instant,
    ) -> Result<Landed, WriteFault> {
        self.ask(Ask::Operation(operation, at), Blob::Kept, deadline)
            .await
    }

    /// Looks at once whether somebody else moved the branch; a fault says why it is not followed.
    pub async fn look(&self, deadline: Instant) -> Result<Landed, WriteFault> {
        self.ask(Ask::Look, Blob::Kept, deadline).await
    }

    /// Makes the key of an [`Operation::RotateSigningKey`], or finds the one of a rotation that did not land.
    pub fn prepare_signing_key(&self) -> Result<Signer, KeyFault> {
        Ok(SigningKey::prepare_next(&self.keys)?.signer()?)
    }

    /// What the index measures of itself.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    async fn ask(&self, ask: Ask, blob: Blob, deadline: Instant) -> Result<Landed, WriteFault> {
        let _waiting = Counted::on(&self.measures.waiting);
        queue::submit(self.queue(), ask, blob, deadline).await
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
        self.maintenance.end();
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
