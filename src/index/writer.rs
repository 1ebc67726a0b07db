//! The writer: one thread that owns the tip.
//!
//! It takes all changes that wait as one group, judges and applies them in memory as a chain of signed commits, makes
//! them durable as one pack and one move of the tip, shows them to both protocols, and answers.
//! Readers never wait for it: they hold the snapshot of their moment.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::blobs::Blobs;
use crate::domain::CommitId;

use super::edit::Edit;
use super::follow::Stall;
use super::group::Group;
use super::kept;
use super::maintenance::Flights;
use super::measures::Measures;
use super::object::PackObject;
use super::operator::Operation;
use super::pack::Packs;
use super::push::Pushed;
use super::queue::{Ask, Blob, Company, Ticket, answer_late, wait_for_blobs};
use super::refs::{self, MoveFault};
use super::signature::SigningKey;
use super::snapshot::Snapshot;
use super::tree::Trees;
use super::upstream::Upstream;
use super::written::{Failure, Landed, WriteFault};

/// How often a group is judged again because others moved the branch meanwhile.
pub(super) const OVERTAKEN_MAX: usize = 16;
/// A group takes no further change once its objects have this many bytes, uncompressed.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// How often it is tried to make durable what may not be, while nobody asks for a change.
const PROVE_AGAIN: Duration = Duration::from_secs(1);
/// The shortest pause between two looks while nobody asks for a change.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The snapshot file is written again once so many index files have become others.
pub(super) const KEEP_AFTER: usize = 1000;

/// Everything at the tip.
#[derive(Clone)]
pub(super) struct Tip {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) trees: Trees,
}

/// The state of the writer thread.
pub(super) struct Writer {
    pub(super) git_dir: PathBuf,
    pub(super) keys: PathBuf,
    /// The folder of what can be made again.
    pub(super) cache: PathBuf,
    pub(super) packs: Packs,
    pub(super) key: SigningKey,
    pub(super) tip: Tip,
    /// How many index files have become others since the snapshot file was written.
    pub(super) unkept: usize,
    pub(super) shown: Arc<ArcSwap<Tip>>,
    /// Tells those who make something of each snapshot.
    pub(super) moved: watch::Sender<Arc<Snapshot>>,
    /// Objects whose tip is in place but perhaps not durable: they are written again before anything else.
    pub(super) unproven: Vec<PackObject>,
    /// Whether there are none.
    pub(super) is_proven: Arc<AtomicBool>,
    /// Why nothing can be written, if the branch is not good.
    pub(super) stalled: Arc<ArcSwapOption<Stall>>,
    /// The commit that was pushed last.
    pub(super) pushed: Option<CommitId>,
    /// Why the forge refused the last push, if it did.
    pub(super) unpushed: Arc<ArcSwapOption<String>>,
    /// Where the branch was when it was found last where it must not be.
    pub(super) violation: Option<CommitId>,
    pub(super) blobs: Blobs,
    /// The repository on the forge that has the branch, if there is a forge.
    pub(super) upstream: Option<Upstream>,
    /// When it was looked last where its branch is, and when that is due again.
    pub(super) looked: Instant,
    pub(super) look_due: Instant,
    /// How often it is looked whether somebody else moved the branch.
    pub(super) poll: Duration,
    /// Tells of packs that are being written.
    pub(super) flights: Flights,
    pub(super) measures: Measures,
}

impl Writer {
    /// Serves the queue until all who could send to it are gone.
    pub(super) fn run(mut self, queue: &Receiver<Ticket>) {
        let mut company = Company::default();
        while let Some(tickets) = company.gather(queue, || self.next(queue)) {
            let (work, count) = (self.measures.at_work(), tickets.len());
            self.serve(tickets);
            company.ended(queue, count, work.elapsed());
        }
        self.keep_snapshot();
    }

    /// Lets the next start begin where this process ends, if that saves it much.
    fn keep_snapshot(&self) {
        if self.unkept >= KEEP_AFTER
            && let Err(cause) = kept::save(&self.tip.snapshot, &self.cache)
        {
            warn!(%cause, "the snapshot file was not written");
        }
    }

    /// Waits for a change; meanwhile it tries to make durable what may not be, and looks after the branch.
    fn next(&mut self, queue: &Receiver<Ticket>) -> Option<Ticket> {
        let work = self.measures.at_work();
        self.packs.make_ready();
        drop(work);
        loop {
            let mut pause = match self.upstream {
                // Sooner, if the last look or push told less than it should.
                Some(_) => self
                    .look_due
                    .saturating_duration_since(Instant::now())
                    .max(PAUSE_MIN),
                None => self.poll,
            };
            if !self.unproven.is_empty() {
                pause = pause.min(PROVE_AGAIN);
            }
            match queue.recv_timeout(pause) {
                Ok(ticket) => return Some(ticket),
                Err(RecvTimeoutError::Disconnected) => return None,
                // What hinders it was logged when it began, and is told to everyone who asks for a change.
                Err(RecvTimeoutError::Timeout) => drop(self.stand()),
            }
        }
    }

    /// Makes sure that the tip is durable and where the branch is; else says why nothing can be written.
    fn stand(&mut self) -> Result<(), String> {
        self.prove()?;
        self.catch_up()
    }

    /// Brings the waiting changes into the index, in as many groups as their bytes need.
    fn serve(&mut self, tickets: Vec<Ticket>) {
        let mut tickets = VecDeque::from(tickets);
        let mut rounds = 2 * tickets.len() + OVERTAKEN_MAX;
        let mut changes_max = tickets.len();
        self.look_if_asked(tickets.make_contiguous());
        while !tickets.is_empty() {
            let standing = match rounds.checked_sub(1) {
                Some(left) => {
                    rounds = left;
                    self.stand()
                }
                None => Err("the branch is moved by others all the time".to_owned()),
            };
            answer_late(&mut tickets);
            if let Err(reason) = standing {
                let answer = || Err(WriteFault::Unavailable(reason.clone()));
                tickets.drain(..).for_each(|ticket| ticket.answer(answer()));
                return;
            }
            let mut group = Group::on(self.tip.clone());
            while let Some(ticket) = tickets.pop_front_if(|_| {
                group.bytes < GROUP_BYTES_MAX && group.waiting.len() < changes_max
            }) {
                // One whose time is over or whose client left is withdrawn here, and only here.
                if ticket.take() {
                    group.add(ticket, self);
                }
            }
            let count = group.waiting.len();
            // Each round answers at least one, or others moved the branch meanwhile, or the forge refused a commit:
            // then fewer go together, until it is alone.
            let (again, is_refused) = group.span().in_scope(|| self.land(group));
            changes_max = match is_refused {
                true => (count / 2).max(1),
                false => changes_max.saturating_mul(2),
            };
            for ticket in again.into_iter().rev() {
                tickets.push_front(ticket);
            }
        }
    }

    /// Makes the group the tip and answers everyone in it, but for those who must be judged again: they were refused
    /// because of a change that did not land, or together with one that the forge refuses, which is told too.
    fn land(&mut self, group: Group) -> (Vec<Ticket>, bool) {
        let Group {
            begun,
            tip,
            objects,
            mut waiting,
            ..
        } = group;
        let count = waiting
            .iter()
            .filter(|(_, verdict)| verdict.is_ok())
            .count();
        let outcome = match objects.is_empty() {
            true => Ok(()),
            false => {
                let landing = { waiting.iter_mut() }.filter(|(_, verdict)| verdict.is_ok());
                let written = self.write(tip, objects, landing.map(|(ticket, _)| ticket));
                let took = begun.elapsed().as_secs_f64();
                self.measures.group_seconds.observe(took);
                if written.is_ok() {
                    self.measures.group_changes.observe(count as f64);
                }
                written
            }
        };
        let commit = self.tip.snapshot.commit;
        let is_refused = matches!(outcome, Err(Failure::Refused(_)));
        let mut again = Vec::new();
        for (ticket, verdict) in waiting {
            if let Blob::Lost(cause) = ticket.blob() {
                error!(cause, "a crate file was not kept");
                let lost = WriteFault::BlobLost(cause.clone());
                ticket.answer(Err(lost));
                continue;
            }
            if let (Ok(()), Ok(()), Ask::Operation(Operation::RotateSigningKey { .. }, _)) =
                (&outcome, &verdict, ticket.ask())
                && let Err(fault) = self.promote_next_key()
            {
                let reason = chain(&fault);
                error!(reason, "the new signing key is trusted but does not sign");
                ticket.answer(Err(WriteFault::OutcomeUnknown(reason)));
                continue;
            }
            let answer = match (&outcome, verdict) {
                (Ok(()), Ok(())) => Ok(Landed { commit }),
                (Ok(()), Err(refusal)) => Err(WriteFault::Refused(refusal)),
                (Err(Failure::NotDone(reason)), Ok(())) => {
                    Err(WriteFault::Unavailable(reason.clone()))
                }
                (Err(Failure::Refused(words)), Ok(())) if count == 1 => {
                    Err(WriteFault::ForgeRefused(words.clone()))
                }
                (Err(Failure::JudgeAgain(_) | Failure::Refused(_)), _)
                | (Err(Failure::NotDone(_)), Err(_)) => {
                    again.push(ticket);
                    continue;
                }
                (Err(Failure::Unknown(reason)), _) => {
                    Err(WriteFault::OutcomeUnknown(reason.clone()))
                }
            };
            ticket.answer(answer);
        }
        (again, is_refused)
    }

    /// Pack and `.crate` files, then the forge's branch, then the tip, then what readers see: each durable before the
    /// next.
    pub(super) fn write<'a>(
        &mut self,
        next: Tip,
        objects: Vec<PackObject>,
        tickets: impl Iterator<Item = &'a mut Ticket>,
    ) -> Result<(), Failure> {
        let (before, commit) = (self.tip.snapshot.commit, next.snapshot.commit);
        let _flight = self.flights.write();
        let begun = Instant::now();
        let pack = self.packs.write(&objects).map_err(|cause| {
            error!(%cause, "a pack was not written");
            Failure::NotDone(format!("the pack was not written: {cause}"))
        })?;
        let took = begun.elapsed().as_secs_f64();
        self.measures.pack_seconds.observe(took);
        if !wait_for_blobs(tickets) {
            pack.remove();
            return Err(Failure::JudgeAgain("a crate file was not kept".to_owned()));
        }
        let (pack, pushed) = self.push(before, commit, pack)?;
        if pushed == Pushed::Passed {
            return Ok(());
        }
        let begun = Instant::now();
        let moved = match pushed {
            Pushed::Nowhere => refs::move_tip(&self.git_dir, Some(before), commit),
            _ => refs::follow(&self.git_dir, commit),
        };
        match moved {
            Ok(()) => {
                self.flights.crowd.add_one();
                let took = begun.elapsed().as_secs_f64();
                self.measures.tip_seconds.observe(took);
            }
            Err(MoveFault::NotFlushed(cause)) => {
                error!(%cause, commit.id = %commit, "the tip moved but was not flushed");
                self.doubt(objects);
                self.show(next);
                return Err(Failure::Unknown(format!(
                    "the tip was not flushed: {cause}"
                )));
            }
            Err(fault) if pushed == Pushed::Taken => {
                let reason = chain(&fault);
                error!(reason, commit.id = %commit, "the forge has the commit, this machine does not yet");
                self.look_due = Instant::now();
                return Err(Failure::Unknown(reason));
            }
            Err(fault) => {
                let reason = chain(&fault);
                pack.remove();
                if matches!(fault, MoveFault::Elsewhere { .. }) {
                    info!(reason, "the changes are judged again");
                    return Err(Failure::JudgeAgain(reason));
                }
                error!(reason, "the tip was not moved");
                return Err(Failure::NotDone(reason));
            }
        }
        if !self.show(next) {
            self.doubt(objects);
            return Err(Failure::Unknown(
                "clients of git do not see it yet".to_owned(),
            ));
        }
        Ok(())
    }

    /// Lets both protocols serve the tip; false if clients of git do not see it yet.
    pub(super) fn show(&mut self, next: Tip) -> bool {
        let commit = next.snapshot.commit;
        let changed = next.snapshot.changed_since(self.tip.snapshot.commit);
        self.unkept += changed.map_or(KEEP_AFTER, Iterator::count);
        self.tip = next;
        let show = match self.unproven.is_empty() {
            true => refs::show,
            false => refs::show_unproven,
        };
        let is_shown = match show(&self.git_dir, commit) {
            Ok(()) => true,
            Err(cause) => {
                error!(%cause, "clients of git do not see the tip");
                false
            }
        };
        self.shown.store(Arc::new(self.tip.clone()));
        self.measures.note_shown();
        self.moved.send_replace(Arc::clone(&self.tip.snapshot));
        info!(commit.id = %commit, "the tip moved");
        is_shown
    }

    /// Remembers objects of a tip that is in place but perhaps not durable, or not seen by all.
    fn doubt(&mut self, objects: Vec<PackObject>) {
        self.is_proven.store(false, Ordering::Release);
        self.unproven = objects;
    }

    /// Writes again what may not have reached the disk. A file whose flush failed once is never trusted again.
    fn prove(&mut self) -> Result<(), String> {
        if self.unproven.is_empty() {
            return Ok(());
        }
        let commit = self.tip.snapshot.commit;
        let _flight = self.flights.write();
        let _kept = self
            .packs
            .write(&self.unproven)
            .map_err(|cause| format!("the last pack was not written again: {cause}"))?;
        match refs::move_tip(&self.git_dir, Some(commit), commit) {
            // Whoever moved the branch stands on our commit; it is followed next.
            Ok(()) | Err(MoveFault::Elsewhere { .. }) => {}
            Err(fault) => return Err(chain(&fault)),
        }
        refs::show(&self.git_dir, commit).map_err(|cause| cause.to_string())?;
        self.unproven.clear();
        self.is_proven.store(true, Ordering::Release);
        info!(commit.id = %commit, "the tip is known to be durable again");
        Ok(())
    }

    /// A change of the registry's own, made at the start before anybody else can ask for one.
    pub(super) fn write_own(&mut self, edit: Edit) -> Result<(), String> {
        let mut group = Group::on(self.tip.clone());
        group.commit(edit, Timestamp::now(), &Blob::Kept, self)?;
        self.write(group.tip, group.objects, std::iter::empty())
            .map_err(Failure::into_reason)
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
