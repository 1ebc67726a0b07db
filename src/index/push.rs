//! The writer's side of the forge: whose branch is moved first, and is looked at when that matters.

use std::time::Instant;

use tracing::{error, info, warn};

use crate::domain::CommitId;

use super::pack::Pack;
use super::queue::{Ask, Ticket};
use super::upstream::NotPushed;
use super::writer::Writer;
use super::written::Failure;

impl Writer {
    /// Moves the forge's branch, if there is a forge, which is told.
    pub(super) fn push(
        &mut self,
        before: CommitId,
        commit: CommitId,
        pack: &Pack,
    ) -> Result<bool, Failure> {
        let Some(upstream) = &self.upstream else {
            return Ok(false);
        };
        let bytes = pack.read();
        let bytes =
            bytes.map_err(|cause| Failure::NotDone(format!("the pack was not read: {cause}")))?;
        let timer = self.measures.push_seconds.start_timer();
        let pushed = upstream.push(Some(before), commit, bytes);
        timer.observe_duration();
        let fault = match pushed {
            Ok(()) => return Ok(true),
            Err(fault) => fault,
        };
        // Whatever it was, what is known of the branch is no longer new.
        self.look_due = Instant::now();
        Err(match fault {
            NotPushed::Overtaken => {
                info!("somebody else moved the forge's branch; the changes are judged again");
                Failure::JudgeAgain("somebody else moved the forge's branch".to_owned())
            }
            NotPushed::Refused(words) => {
                warn!(words, "the forge refuses a commit");
                Failure::Refused(words)
            }
            NotPushed::NotDone(reason) => {
                warn!(reason, "nothing was pushed");
                Failure::NotDone(reason)
            }
            NotPushed::Unknown(reason) => {
                error!(reason, commit.id = %commit, "it is not known whether the forge took the push");
                Failure::Unknown(reason)
            }
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
