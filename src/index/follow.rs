//! Following the branch where somebody else moved it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info};

use crate::disk;
use crate::domain::CommitId;
use crate::git;

use super::child::{self, Patience};
use super::damage;
use super::history::{HistoryFault, Walk};
use super::load::LoadFault;
use super::objects::Objects;
use super::pack;
use super::refs::{self, MoveFault};
use super::rule::By;
use super::upstream::{Limits, UpstreamFault};
use super::writer::{OVERTAKEN_MAX, Writer, chain};

/// After a fault the branch is looked at again only after this many times what the look took.
const PATIENCE: u32 = 20;
/// The same where nothing is known against what is there, but that it did not come.
const PATIENCE_WITH_FETCHES: u32 = 2;

/// For what is new on the forge to come: the writer waits for it.
const FETCH: Limits = Limits {
    time: Duration::from_secs(120),
    file_bytes: 1 << 30,
    memory_bytes: 4 << 30,
};
/// How soon the forge is asked again after it did not tell where its branch is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why the index stands still although its branch moved on.
#[derive(Debug, Clone)]
pub struct Stall {
    /// The reason, a sentence that names the commit.
    pub reason: String,
    /// Whether nothing is wrong but that the forge cannot be reached or has too much to do.
    pub is_away: bool,
    /// Where the branch was when that was known last, if it was looked into and broke a rule.
    pub strayed: Option<CommitId>,
    /// When it was known last where the branch is.
    pub seen: Option<Instant>,
    found: Option<CommitId>,
    /// When it is looked at again.
    pub(super) again: Instant,
}

/// What a look at the branch found, where nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The tip is where the branch is, as far as is known.
    Good,
    /// The branch moved on meanwhile.
    Moved,
}

/// It is not known where the branch is.
struct NoBranch {
    reason: String,
    /// The same for the log, with what is for the operator alone.
    logged: String,
    is_away: bool,
}

impl Writer {
    /// Takes the tip to where the branch is, if all that lies between is good; else says why nothing can be written.
    ///
    /// Readers see the new tip only once it is durable. What they see stays as it is while the branch is not good.
    pub(super) fn catch_up(&mut self) -> Result<(), String> {
        let _work = self.measures.at_work();
        for _ in 0..OVERTAKEN_MAX {
            if self.look()? == Seen::Good {
                return Ok(());
            }
        }
        Err("the branch is moved by others all the time".to_owned())
    }

    fn look(&mut self) -> Result<Seen, String> {
        // Whoever moved what clients of git see, it is what we say.
        refs::show(&self.git_dir, self.tip.snapshot.commit)
            .map_err(|cause| format!("clients of git do not see the tip: {cause}"))?;
        let known = self.stalled.load_full();
        if self.upstream.is_some() && self.look_due > Instant::now() {
            // Between two looks at the forge all stays as it was, good or not.
            return match known {
                Some(stall) => Err(stall.reason.clone()),
                None => Ok(Seen::Good),
            };
        }
        let found = self.branch();
        if found
            .as_ref()
            .is_ok_and(|found| *found == Some(self.tip.snapshot.commit))
        {
            self.go_on();
            return Ok(Seen::Good);
        }
        let found_id = found.as_ref().ok().copied().flatten();
        let seen = match found {
            Ok(_) => Some(Instant::now()),
            Err(_) => known.as_ref().and_then(|stall| stall.seen),
        };
        let is_away = matches!(found, Err(NoBranch { is_away: true, .. }));
        // Only a walk costs much; what the ref itself says is told each time.
        if let Some(stall) = known.as_deref()
            && found_id.is_some()
            && stall.found == found_id
            && stall.again > Instant::now()
        {
            let stall = stall.clone();
            let reason = stall.reason.clone();
            self.stand_still(Stall { seen, ..stall });
            return Err(reason);
        }
        let started = Instant::now();
        let mut patience = PATIENCE;
        let mut logged = None;
        // While nobody knows where the branch is, it is taken for where it was.
        let strayed_before = known.as_ref().filter(|_| found.is_err());
        let mut strayed = strayed_before.and_then(|stall| stall.strayed);
        let outcome = match found {
            Ok(Some(found)) => match self.bring(found) {
                Ok(found) => {
                    let followed = self.follow(found);
                    strayed = self.violation.filter(|it| *it == found);
                    followed
                }
                Err(fault) => {
                    if !matches!(
                        fault,
                        UpstreamFault::TooLarge(_) | UpstreamFault::TooMuchMemory(_)
                    ) {
                        patience = PATIENCE_WITH_FETCHES;
                    }
                    Err(fault.to_string())
                }
            },
            Ok(None) => Err(format!(
                "the branch {} is gone; put it back: {}",
                refs::TIP,
                self.put_back()
            )),
            Err(fault) => {
                logged = Some(fault.logged);
                Err(fault.reason)
            }
        };
        let reason = match outcome {
            Ok(Seen::Good) => {
                self.go_on();
                return Ok(Seen::Good);
            }
            Ok(Seen::Moved) => return Ok(Seen::Moved),
            Err(reason) => reason,
        };
        if known.is_none_or(|stall| stall.reason != reason) {
            error!(
                reason = logged.as_ref().unwrap_or(&reason),
                "the branch is not followed; nothing is written until that is mended"
            );
        }
        let pause = (started.elapsed() * patience).min(Duration::from_secs(60));
        self.stand_still(Stall {
            reason: reason.clone(),
            is_away,
            strayed,
            seen,
            found: found_id,
            again: Instant::now() + pause,
        });
        Err(reason)
    }

    /// Tells from now on why the branch is not followed.
    fn stand_still(&self, stall: Stall) {
        let strayed = stall.strayed;
        let known = self.stalled.swap(Some(Arc::new(stall)));
        if known.and_then(|stall| stall.strayed) != strayed {
            // The same is served as before, and not all that was judged for it holds.
            self.moved.send_modify(|_same| {});
        }
    }

    /// Where the branch is, on the forge or here.
    fn branch(&mut self) -> Result<Option<CommitId>, NoBranch> {
        let Some(upstream) = &self.upstream else {
            return refs::read(&self.git_dir, refs::TIP).map_err(|cause| {
                let cure = match cause.kind() {
                    io::ErrorKind::PermissionDenied => damage::opening(&self.git_dir),
                    _ => format!(
                        "move away what is there, and put it back: {}",
                        self.put_back()
                    ),
                };
                let reason = format!("the branch cannot be read: {cause}; {cure}");
                NoBranch {
                    logged: reason.clone(),
                    reason,
                    is_away: false,
                }
            });
        };
        self.looked = Instant::now();
        let asking = self.measures.at_forge();
        let found = upstream.tip();
        drop(asking);
        let pause = match &found {
            Ok(_) => self.poll,
            Err(_) => self.poll.min(LOOK_AGAIN),
        };
        self.look_due = Instant::now() + pause;
        found.map_err(|fault| NoBranch {
            reason: fault.to_string(),
            logged: chain(&fault),
            is_away: fault.is_away(),
        })
    }

    /// Why the branch is not followed to a commit; each is counted once.
    fn say(&mut self, found: CommitId, fault: &HistoryFault) -> String {
        if let HistoryFault::Unreadable { fault: cause, .. } = fault {
            let said = chain(fault);
            return match cause {
                LoadFault::Closed { .. } => said,
                _ => format!(
                    "{said}; if it was made so, take it off the branch: {}",
                    self.put_back()
                ),
            };
        }
        if self.violation.replace(found) != Some(found) {
            self.measures.violations.inc();
        }
        let said = chain(fault);
        match fault {
            HistoryFault::Rewound { .. } | HistoryFault::Rewritten { .. }
                if self.upstream.is_some() =>
            {
                format!("{said}; or adopt what the forge has, as OPERATIONS.md tells")
            }
            _ => said,
        }
    }

    /// What mends a branch that no later commit mends.
    fn put_back(&self) -> String {
        let (commit, tip) = (self.tip.snapshot.commit, refs::TIP);
        match self.upstream {
            Some(_) => {
                format!("`git push --force FORGE {commit}:{tip}` in the server's `index.git`")
            }
            None => format!("`git update-ref {tip} {commit}`"),
        }
    }

    /// The branch is where the tip is, which who waits for that is told.
    fn go_on(&self) {
        self.prove_upstream();
        if self.stalled.swap(None).is_some() {
            info!(commit.id = %self.tip.snapshot.commit, "the branch is good again");
            self.moved.send_modify(|_same| {});
        }
    }

    /// The branch that was looked at is that of the index.
    fn prove_upstream(&self) {
        if let Some(upstream) = &self.upstream {
            upstream.prove();
        }
    }

    pub(super) fn follow(&mut self, found: CommitId) -> Result<Seen, String> {
        let objects = Objects::open(&self.git_dir).map_err(|fault| chain(&fault))?;
        let objects = objects.hashed();
        let blobs = &self.blobs;
        let has_blob = |cksum: &_| blobs.read(cksum).is_ok();
        let mut walk = Walk::from(self.tip.clone(), &objects, &has_blob);
        let (mut steps, mut is_foreign, mut is_pushed) = (0, false, false);
        let went = walk.to(found, &mut |judged| {
            steps += 1;
            is_foreign |= judged.by == By::People;
            is_pushed |= self.pushed == Some(judged.commit.id);
        });
        if is_pushed {
            self.unpushed.store(None);
        }
        let next = walk.tip;
        // What is good before a fault was acknowledged, by another server or before a power cut.
        let good = next.snapshot.commit;
        if good != self.tip.snapshot.commit {
            // What a registry of ours brought to the forge was fetched as whole files, of which the names may not be on the
            // disk; without a forge somebody pushed it, however git keeps that.
            let kept = match is_foreign || self.upstream.is_none() {
                true => self.keep(good),
                false => disk::sync_folder(&self.git_dir.join("objects/pack")),
            };
            kept.map_err(|cause| format!("the objects of {good} were not made durable: {cause}"))?;
            // Who moved the branch may not have flushed it; if it is the forge's, ours follows.
            let moved = match (&self.upstream, &went) {
                (Some(_), _) => refs::follow(&self.git_dir, good),
                (None, Ok(())) => refs::move_tip(&self.git_dir, Some(found), found),
                // People put it where it is, and are to mend it.
                (None, Err(_)) => Ok(()),
            };
            match moved {
                Ok(()) => {}
                Err(MoveFault::Elsewhere { .. }) => return Ok(Seen::Moved),
                Err(fault) => return Err(chain(&fault)),
            }
            info!(commit.id = %good, steps, "the branch was moved by somebody else");
            if !self.show(next) {
                return Err("clients of git do not see the new tip".to_owned());
            }
        }
        match went {
            Ok(()) => Ok(Seen::Good),
            Err(fault) => {
                // What leads on from our own tip is the index, also where nobody may go on from there.
                if matches!(fault, HistoryFault::Rule { .. }) {
                    self.prove_upstream();
                }
                Err(self.say(found, &fault))
            }
        }
    }

    /// Sees to it that the objects of a commit of the forge's branch are here; the branch may be further by then.
    fn bring(&self, found: CommitId) -> Result<CommitId, UpstreamFault> {
        let Some(upstream) = &self.upstream else {
            return Ok(found);
        };
        let fault_here = |cause: &dyn std::error::Error| UpstreamFault::Git(chain(cause));
        let objects = Objects::open(&self.git_dir).map_err(|fault| fault_here(&fault))?;
        // Of a push whose answer did not come they are.
        if objects.commit(found).is_ok() {
            return Ok(found);
        }
        let packs = self.git_dir.join("objects/pack");
        let fetch = || {
            let _asking = self.measures.at_forge();
            upstream.fetch(&self.git_dir, FETCH)
        };
        let arrived = self.flights.copy(&packs, fetch)?;
        // git flushes files, and not the folder that names them.
        disk::sync_folder(&packs).map_err(|cause| fault_here(&cause))?;
        Ok(arrived)
    }

    /// Copies what `found` has beyond the tip into a durable pack: nothing of ours shall stand on files that somebody
    /// else wrote.
    fn keep(&self, found: CommitId) -> io::Result<()> {
        let packs = self.git_dir.join("objects/pack");
        let apart = pack::folder_apart(&self.git_dir, "keep")?;
        let stem = apart.path().join("pack");
        let ids = self.flights.copy(&packs, || self.pack(found, &stem))?;
        if ids.is_empty() {
            return Err(io::Error::other("git pack-objects: it names no pack"));
        }
        for id in ids.lines() {
            pack::take_over(&apart.path().join(format!("pack-{id}")), &packs)?;
        }
        Ok(())
    }

    /// Gives the ids of the packs, each in a line.
    fn pack(&self, found: CommitId, stem: &Path) -> io::Result<String> {
        let mut command = git::command(&self.git_dir);
        command
            .args(["pack-objects", "--progress", "--revs"])
            .arg("--delta-base-offset")
            .arg(stem);
        let range = format!("{found}\n^{}\n", self.tip.snapshot.commit);
        child::run(command, range, &Patience::default())
            .map_err(|cause| io::Error::other(format!("git pack-objects: {cause}")))
    }
}
