//! The writer's side of the forge: whose branch is moved first, and is looked at when that matters.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tracing::warn;

use crate::domain::{CommitId, PubTime};

use super::copy::is_ancestor;
use super::edit::Verdict;
use super::pack::Pack;
use super::queue::{Ask, Ticket};
use super::upstream::{NotPushed, UpstreamFault};
use super::writer::Writer;
use super::written::Failure;

/// What became of a push that did no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// There is no forge.
    Nowhere,
    /// The forge's branch is at the commit.
    Taken,
    /// It has the commit and more, and so has the branch here already.
    Passed,
}

impl Writer {
    /// Moves the forge's branch, if there is a forge; the pack goes if nothing can refer to it.
    pub(super) fn push(
        &mut self,
        before: CommitId,
        commit: CommitId,
        pack: Pack,
    ) -> Result<(Pack, Pushed), Failure> {
        let Some(upstream) = &self.upstream else {
            return Ok((pack, Pushed::Nowhere));
        };
        self.pushed = Some(commit);
        let timer = self.measures.push_seconds.start_timer();
        let pushed = match pack.read() {
            Ok(bytes) => {
                let _asking = self.measures.at_forge();
                upstream.push(Some(before), commit, bytes)
            }
            Err(cause) => {
                pack.remove();
                return Err(Failure::NotDone(format!("the pack was not read: {cause}")));
            }
        };
        timer.observe_duration();
        let Err(fault) = pushed else {
            self.unpushed.store(None);
            return Ok((pack, Pushed::Taken));
        };
        warn!(reason = %fault, commit.id = %commit, "a push did not move the forge's branch as it should");
        // Whatever it was, what is known of the branch is no longer new.
        self.look_due = Instant::now();
        self.note_refusal(&fault);
        let failure = match fault {
            NotPushed::Unknown(reason) => return Err(Failure::Unknown(reason)),
            NotPushed::Elsewhere => match self.is_among_theirs(commit) {
                Ok(true) => return Ok((pack, Pushed::Passed)),
                Ok(false) => Failure::JudgeAgain(fault.to_string()),
                Err(reason) => return Err(Failure::Unknown(reason)),
            },
            NotPushed::Refused(words) => Failure::Refused(words),
            NotPushed::Failing(_) | NotPushed::NotDone(_) => Failure::NotDone(fault.to_string()),
        };
        pack.remove();
        Err(failure)
    }

    /// Remembers for whoever watches that the forge took no push, until it takes one.
    fn note_refusal(&self, fault: &NotPushed) {
        let now = match fault {
            // It may have been that commit alone: the forge's words are not made for programs.
            NotPushed::Refused(_) => "whether it is so for every commit or was for that one",
            NotPushed::Failing(_) | NotPushed::NotDone(UpstreamFault::Closed(_)) => {
                "whether it still is"
            }
            // Of a forge that is away the looks at its branch tell.
            NotPushed::Elsewhere | NotPushed::Unknown(_) | NotPushed::NotDone(_) => return,
        };
        // It may be over long before somebody pushes again.
        let at = PubTime::from_moment(Timestamp::now());
        let told =
            format!("so it was at the last push, {at}, and the next one tells {now}: {fault}");
        self.unpushed.store(Some(Arc::new(told)));
    }

    /// Whether the forge's branch has our commit below what others put there; it is followed first.
    fn is_among_theirs(&mut self, commit: CommitId) -> Result<bool, String> {
        self.catch_up()?;
        is_ancestor(&self.git_dir, commit, self.tip.snapshot.commit)
            .map_err(|cause| cause.to_string())
    }

    /// Sees to it that the forge's branch is looked at before these are judged, if one asks for that, or would be
    /// refused, or found done, because of what was known before it came: another server may have changed it since, or
    /// the trouble may be over.
    pub(super) fn look_if_asked(&mut self, tickets: &[Ticket]) {
        if self.upstream.is_none() {
            return;
        }
        let snapshot = &self.tip.snapshot;
        let is_stalled = self.stalled.load().is_some();
        let needs_it = |ticket: &Ticket| {
            let is_bound = || match ticket.ask() {
                Ask::Look => true,
                ask => is_stalled || !matches!(ask.judge(snapshot), Ok(Verdict::Edit(_))),
            };
            self.looked < ticket.asked() && is_bound()
        };
        if tickets.iter().any(needs_it) {
            self.look_due = Instant::now();
        }
    }
}
