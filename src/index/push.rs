//! The writer's side of the forge: whose branch is moved first, and is looked at when that matters.

use std::time::Instant;

use tracing::{error, warn};

use crate::domain::CommitId;

use super::pack::Pack;
use super::queue::{Ask, Ticket};
use super::upstream::NotPushed;
use super::writer::Writer;
use super::written::Failure;

impl Writer {
    /// Moves the forge's branch, if there is a forge, which is told; the pack goes if nothing can refer to it.
    pub(super) fn push(
        &mut self,
        before: CommitId,
        commit: CommitId,
        pack: Pack,
    ) -> Result<(Pack, bool), Failure> {
        let Some(upstream) = &self.upstream else {
            return Ok((pack, false));
        };
        let timer = self.measures.push_seconds.start_timer();
        let pushed = match pack.read() {
            Ok(bytes) => upstream.push(Some(before), commit, bytes),
            Err(cause) => Err(NotPushed::NotDone(format!(
                "the pack was not read: {cause}"
            ))),
        };
        timer.observe_duration();
        let Err(fault) = pushed else {
            return Ok((pack, true));
        };
        // Whatever it was, what is known of the branch is no longer new.
        self.look_due = Instant::now();
        if let NotPushed::Unknown(reason) = fault {
            error!(reason, commit.id = %commit, "it is not known whether the forge took the push");
            return Err(Failure::Unknown(reason));
        }
        pack.remove();
        warn!(reason = %fault, "nothing was pushed");
        Err(match fault {
            NotPushed::Overtaken => Failure::JudgeAgain(fault.to_string()),
            NotPushed::Refused(words) => Failure::Refused(words),
            NotPushed::NotDone(reason) | NotPushed::Unknown(reason) => Failure::NotDone(reason),
        })
    }

    /// Sees to it that the forge's branch is looked at before these are judged, if one asks for that, or would be
    /// refused because of what was known before it came: another server may have changed it since, or the trouble may
    /// be over.
    pub(super) fn look_if_asked(&mut self, tickets: &[Ticket]) {
        if self.upstream.is_none() {
            return;
        }
        let snapshot = &self.tip.snapshot;
        let is_stalled = self.stalled.load().is_some();
        let needs_it = |ticket: &Ticket| {
            let is_bound = || match ticket.ask() {
                Ask::Look => true,
                ask => is_stalled || ask.judge(snapshot).is_err(),
            };
            self.looked < ticket.asked() && is_bound()
        };
        if tickets.iter().any(needs_it) {
            self.look_due = Instant::now();
        }
    }
}
