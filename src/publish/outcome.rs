//! What becomes of uploads, counted.

use prometheus::IntCounterVec;

use super::{PublishFault, Published};
use crate::app::PUBLISH_OUTCOMES;
use crate::auth::GateFault;
use crate::index::{Refusal, WriteFault};

/// One upload that is under way: counted when this is dropped, also if its client leaves before the answer.
pub(super) struct Tally<'a> {
    publishes: &'a IntCounterVec,
    outcome: &'static str,
}

impl<'a> Tally<'a> {
    pub(super) fn begin(publishes: &'a IntCounterVec) -> Self {
        Self {
            publishes,
            outcome: "abandoned",
        }
    }

    pub(super) fn note(&mut self, published: &Result<Published, PublishFault>) {
        self.outcome = match published {
            Ok(_) => "published",
            Err(fault) => failed(fault),
        };
        debug_assert!(PUBLISH_OUTCOMES.contains(&self.outcome));
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.publishes.with_label_values(&[self.outcome]).inc();
    }
}

fn failed(fault: &PublishFault) -> &'static str {
    match fault {
        PublishFault::Write(WriteFault::Refused(Refusal::SameVersion { .. })) => "there_already",
        PublishFault::Gate(GateFault::Forge(_)) => "failed",
        PublishFault::NotPermitted(_)
        | PublishFault::Gate(_)
        | PublishFault::Invalid(_)
        | PublishFault::Refused { .. }
        | PublishFault::Write(WriteFault::Refused(_) | WriteFault::ForgeRefused(_)) => "refused",
        PublishFault::TooOften(_) => "too_often",
        PublishFault::Frame(super::FrameFault::Spool(_))
        | PublishFault::Store(_)
        | PublishFault::Panicked
        | PublishFault::Write(
            WriteFault::Busy
            | WriteFault::Late
            | WriteFault::BlobLost(_)
            | WriteFault::Unavailable(_),
        ) => "failed",
        PublishFault::Frame(_) => "broken",
        PublishFault::Write(WriteFault::OutcomeUnknown(_)) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure;

    #[test]
    fn an_upload_is_counted_once_also_if_nobody_waits_for_it() {
        let publishes = measure::counts("publishes_total", "Uploads.", &["outcome"]);
        let of = |outcome: &str| publishes.with_label_values(&[outcome]).get();
        drop(Tally::begin(&publishes));
        assert_eq!(of("abandoned"), 1);
        for (fault, outcome) in [
            (WriteFault::Late, "failed"),
            (WriteFault::OutcomeUnknown("a cause".to_owned()), "unknown"),
        ] {
            Tally::begin(&publishes).note(&Err(fault.into()));
            assert_eq!(of(outcome), 1, "{outcome}");
        }
        assert_eq!(of("abandoned"), 1);
    }
}
