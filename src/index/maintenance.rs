//! Keeping the repository quick: many small packs become few, and clients of git find a bitmap.
//!
//! A thread of its own, with a lesser claim to the processor, runs `git pack-objects` beside the writer. It goes by
//! what lies in packs and not by what the branch reaches, so the pack of a commit that is not the tip yet is safe, and
//! so is what no branch names any more: nothing is ever thrown away but a second copy.
//!
//! The order is that of a power cut: git flushes the new pack in a folder apart, it moves to where packs are, that folder
//! is flushed, each object of an old pack is found in packs that stay, the old pack's index gets another name, the folder
//! is flushed. From then on no reader finds the old pack, and one who had found it before still can open it: its file goes
//! an hour later, or at the next start.
//! Whatever fails changes nothing.

mod contents;
mod crowd;
mod flight;
mod history;
mod job;
mod new_pack;
mod packs;
mod plan;
mod rest;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use thiserror::Error;
use tracing::{debug, error, info, warn};

use crate::git;

#[cfg(test)]
pub(super) use crowd::PACKS_MAX;
pub(super) use flight::Flights;

use super::child::Patience;
use super::damage::Damaged;
use super::writer::chain;
use super::{pack, refs};
use crowd::Crowd;
use flight::Moment;
use history::History;
use job::Job;
use packs::Listed;
use plan::{BUSY, Plan, QUIET, Tolerance};
use rest::Rest;

/// How long a pack that no reader finds any more can still be opened by one who had found it before.
const GRACE: Duration = Duration::from_secs(3600);
/// How many of those there may be: they make the folder long, and a git that found one has it open.
const HIDDEN_MAX: usize = 256;
/// How often it is looked without being called; it is quiet if nothing was written for so long.
const LOOK: Duration = Duration::from_secs(15);
/// After how long the same is told again.
const TOLD: Duration = Duration::from_secs(600);
/// How long the end of the process waits for the thread.
const END_WAIT: Duration = Duration::from_secs(2);
/// A third of a busy processor: with less the packs would pile up, and every reader would pay.
const NICENESS: i32 = 5;

/// Why the packs stayed as they were.
#[derive(Debug, Error)]
enum Fault {
    /// A file could not be read, written or flushed.
    #[error("the folder of packs cannot be worked on")]
    Io(#[from] io::Error),
    /// The index of a pack is not one.
    #[error("the index `{}` cannot be read: {reason}", path.display())]
    Index { path: PathBuf, reason: String },
    /// The program failed.
    #[error("`git {what}` failed: {said}")]
    Git { what: &'static str, said: String },
    /// The program was killed, hung, or had no memory left: that says nothing of the repository.
    #[error("`git {what}` was ended by a signal: {said}")]
    Killed { what: &'static str, said: String },
    /// There is no room for a second copy.
    #[error("{needed} bytes are needed for a moment, and {free} are free")]
    NoRoom { needed: u64, free: u64 },
    /// The process ends.
    #[error("the server ends")]
    Interrupted,
}

/// The thread at work; it ends with this value.
pub(super) struct Maintenance {
    is_over: Arc<AtomicBool>,
    broken: Arc<ArcSwapOption<String>>,
    crowd: Crowd,
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Maintenance {
    /// Starts it on the repository at `git_dir`, to which a writer writes that tells of its packs by what is returned.
    pub(super) fn start(git_dir: &Path, damaged: Vec<Damaged>) -> io::Result<(Self, Flights)> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (wake, called) = sync_channel(1);
        let flights = Flights::new(wake.clone());
        let history = History::of(git_dir, damaged);
        let patience = Patience {
            is_over: Arc::clone(&is_over),
            ..Patience::default()
        };
        let keeper = Keeper::new(git_dir, history, flights.clone(), patience);
        let broken = Arc::clone(&keeper.history.broken);
        let thread = thread::Builder::new()
            .name("maintenance".to_owned())
            .spawn(move || keeper.run(&called))?;
        let maintenance = Self {
            is_over,
            broken,
            crowd: flights.crowd.clone(),
            wake,
            thread,
        };
        Ok((maintenance, flights))
    }

    /// Whether it is at work: it ends before it is told to only by a fault of ours.
    pub(super) fn is_up(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Why nobody can clone the history, if it was found not to be whole.
    pub(super) fn broken_history(&self) -> Option<Arc<String>> {
        self.broken.load_full()
    }

    /// Says why no more packs may be written, if there are too many.
    pub(super) fn check_crowd(&self) -> Result<(), String> {
        self.crowd.check()
    }

    /// Tells the thread to end, and any program that it runs with it; does not wait.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        // If there is a call already, it wakes as well.
        let _ = self.wake.try_send(());
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.end();
        // A disk that hangs does not hold up the end.
        let until = Instant::now() + END_WAIT;
        while !self.thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Merges the packs of a repository that nobody serves, if there are as many as a server would not leave.
pub(super) fn merge_once(git_dir: &Path) {
    let history = History::of(git_dir, Vec::new());
    let flights = Flights::new(sync_channel(1).0);
    let mut keeper = Keeper::new(git_dir, history, flights, Patience::default());
    while keeper.merge(BUSY) > 0 {}
    keeper.discard(Duration::ZERO, 0);
}

/// The state of the thread.
struct Keeper {
    git_dir: PathBuf,
    folder: PathBuf,
    flights: Flights,
    patience: Patience,
    /// Packs that no reader finds any more, by their paths without extension, and since when.
    hidden: VecDeque<(PathBuf, Instant)>,
    history: History,
    rest: Rest,
    /// When it was told last that there is no room, and that there are many packs.
    no_room_told: Option<Instant>,
    crowd_told: Option<Instant>,
}

impl Keeper {
    fn new(git_dir: &Path, history: History, flights: Flights, patience: Patience) -> Self {
        Self {
            git_dir: git_dir.to_owned(),
            folder: git_dir.join("objects/pack"),
            flights,
            patience,
            hidden: VecDeque::new(),
            history,
            rest: Rest::default(),
            no_room_told: None,
            crowd_told: None,
        }
    }

    fn run(mut self, called: &Receiver<()>) {
        // Of this thread alone, and of the programs that it starts.
        if let Err(cause) = rustix::process::setpriority_process(None, NICENESS) {
            debug!(%cause, "the repository is kept at full priority");
        }
        let mut seen = self.flights.in_flight();
        let mut tolerance = BUSY;
        while !self.is_over() {
            // What was merged may be a part of what is due.
            while self.turn(tolerance) > 0 {}
            if self.is_over() {
                return;
            }
            // Called, or not for so long.
            let _ = called.recv_timeout(LOOK);
            let now = self.flights.in_flight();
            tolerance = if now == seen { QUIET } else { BUSY };
            seen = now;
        }
    }

    /// Does what is due, and tells how many packs were merged.
    fn turn(&mut self, tolerance: Tolerance) -> usize {
        self.discard(GRACE, HIDDEN_MAX);
        let is_crowded = self.flights.crowd.too_many().is_some();
        // What is damaged is left as it is.
        let may_merge =
            !self.history.is_known_broken() && self.rest.is_over(Instant::now(), is_crowded);
        let merged = match may_merge {
            true => self.merge(tolerance),
            false => 0,
        };
        self.count(merged);
        // Last, for it may take a while: meanwhile more packs come.
        match self.history.is_whole(&self.patience) {
            true => merged,
            false => {
                // Once it is whole again, what failed for that need not wait.
                self.rest = Rest::default();
                0
            }
        }
    }

    /// Merges what is due at once, and tells how many packs that were; after a failure nothing is tried for a while.
    fn merge(&mut self, tolerance: Tolerance) -> usize {
        match self.tend(tolerance) {
            Ok(merged) => {
                self.rest = Rest::default();
                merged
            }
            Err(fault) => {
                if !self.is_over() {
                    let reason = chain(&fault);
                    warn!(reason, "packs were not merged; all stays as it is");
                    self.rest.begin(Instant::now());
                }
                0
            }
        }
    }

    fn is_over(&self) -> bool {
        self.patience.is_over.load(Ordering::Acquire)
    }

    /// Looks at the packs and does what is due.
    fn tend(&mut self, tolerance: Tolerance) -> Result<usize, Fault> {
        let in_flight = self.flights.in_flight();
        let listed = packs::list(&self.folder)?;
        self.do_what_fits(tolerance, &listed, in_flight)
    }

    /// Does what is due; where there is no room for that, it merges at least small packs, which else would pile up.
    fn do_what_fits(
        &mut self,
        tolerance: Tolerance,
        listed: &[Listed],
        in_flight: Moment,
    ) -> Result<usize, Fault> {
        let sizes: Vec<u64> = listed.iter().map(|pack| pack.objects).collect();
        match self.carry_out(tolerance.plan(&sizes), listed, in_flight) {
            Err(fault @ Fault::NoRoom { free, .. }) => {
                if is_due(&mut self.no_room_told) {
                    let reason = chain(&fault);
                    warn!(reason, "not all packs were merged that should be");
                }
                let fitting = packs::fitting(listed, free);
                self.carry_out(tolerance.merge(&sizes[..fitting]), listed, in_flight)
            }
            outcome => outcome,
        }
    }

    /// Counts the packs, and tells if there are many and none was merged: what hinders that may have been told long ago.
    fn count(&mut self, merged: usize) {
        // A folder that cannot be read was told.
        let Ok(packs) = pack::how_many(&self.folder) else {
            return;
        };
        self.flights.crowd.note(packs);
        let are_many = self.flights.crowd.too_many().is_some();
        if are_many && merged == 0 && is_due(&mut self.crowd_told) {
            error!(packs, "packs pile up, for they cannot be merged");
        }
    }

    /// Does it with the packs that were listed after the moment `in_flight`; tells how many went.
    fn carry_out(
        &mut self,
        plan: Plan,
        listed: &[Listed],
        in_flight: Moment,
    ) -> Result<usize, Fault> {
        let old = match plan {
            Plan::Rest => return Ok(0),
            Plan::Merge(count) => &listed[..count],
            Plan::Renew => listed,
        };
        let started = Instant::now();
        self.check_room(old)?;
        let new = match plan {
            Plan::Renew => self.pack_all()?,
            _ => self.pack_contents(old)?,
        };
        // A pack that was listed while it was in flight stays one that may be taken back, until it has landed.
        if self.flights.is_still(in_flight) {
            return Ok(0);
        }
        let hidden = packs::hide(&self.folder, old, &new)?;
        let (merged, now) = (hidden.len(), Instant::now());
        self.hidden
            .extend(hidden.into_iter().map(|stem| (stem, now)));
        self.discard(GRACE, HIDDEN_MAX);
        if plan == Plan::Renew
            && let Err(fault) = self.write_commit_graph()
            && !self.is_over()
        {
            // Readers are only slower without it.
            let reason = chain(&fault);
            warn!(reason, "the graph of commits was not written");
        }
        info!(
            packs.merged = merged,
            packs.before = listed.len(),
            duration_ms = started.elapsed().as_millis(),
            "packs were merged"
        );
        Ok(merged)
    }

    /// For the history up to what clients of git see: all of that is durable.
    fn write_commit_graph(&self) -> Result<(), Fault> {
        let Some(shown) = refs::shown(&self.git_dir)? else {
            return Ok(());
        };
        let mut command = git::command(&self.git_dir);
        command.args(["-c", "core.fsync=all", "commit-graph", "write"]);
        command.args(["--stdin-commits", "--progress"]);
        let job = Job {
            what: "commit-graph",
            command,
            input: format!("{shown}\n"),
        };
        job.run(&self.patience).map(drop)
    }

    fn check_room(&self, old: &[Listed]) -> Result<(), Fault> {
        let needed = packs::room_for(old.iter().map(|pack| pack.bytes).sum());
        let system = rustix::fs::statvfs(&self.folder).map_err(io::Error::from)?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        match needed <= free {
            true => Ok(()),
            false => Err(Fault::NoRoom { needed, free }),
        }
    }

    /// Removes packs that are hidden for longer than `grace`, and the oldest of more than `count_max`.
    fn discard(&mut self, grace: Duration, count_max: usize) {
        while let Some((stem, since)) = self.hidden.front()
            && (self.hidden.len() > count_max || since.elapsed() > grace)
        {
            // What stays is removed at the next start.
            let _ = pack::discard(stem);
            self.hidden.pop_front();
        }
    }
}

/// Whether it is long ago that it was told; then it is now.
fn is_due(told: &mut Option<Instant>) -> bool {
    let is_due = told.is_none_or(|told| told.elapsed() > TOLD);
    if is_due {
        *told = Some(Instant::now());
    }
    is_due
}
