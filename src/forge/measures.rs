//! What is measured of the questions to the forge.

use std::time::Instant;

use prometheus::{Histogram, IntCounterVec};

use super::ForgeFault;
use crate::measure;

/// What is measured of the questions.
#[derive(Debug, Clone)]
pub struct Measures {
    /// By what came of them.
    pub questions: IntCounterVec,
    /// How long each took, the wait for its turn among it.
    pub seconds: Histogram,
}

impl Measures {
    pub(super) fn new() -> Self {
        Self {
            questions: measure::counts_from_zero(
                "sidecargo_forge_questions_total",
                "Questions to the forge, by what came of them.",
                "outcome",
                &ForgeFault::OUTCOMES,
            ),
            seconds: measure::durations(
                "sidecargo_forge_question_seconds",
                "How long a question to the forge takes, the wait for its turn among it.",
            ),
        }
    }

    /// Counts what came of a question that began at this moment.
    pub(super) fn note<T>(&self, told: &Result<T, ForgeFault>, began: Instant) {
        self.seconds.observe(began.elapsed().as_secs_f64());
        let outcome = told
            .as_ref()
            .map_or_else(ForgeFault::outcome, |_| "answered");
        self.questions.with_label_values(&[outcome]).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;

    use super::*;

    #[test]
    fn each_outcome_is_there_before_it_happens_and_there_are_no_others() {
        let measures = Measures::new();
        let text = || "it".to_owned();
        let busy = ForgeFault::Busy {
            retry_after_secs: 1,
        };
        let told = [
            Ok(()),
            Err(ForgeFault::Unreachable(text())),
            Err(busy),
            Err(ForgeFault::Unauthenticated),
            Err(ForgeFault::Odd(text())),
        ];
        let series = || measures.questions.collect()[0].get_metric().len();
        assert_eq!(series(), told.len());
        for told in &told {
            measures.note(told, Instant::now());
        }
        assert_eq!(series(), told.len());
    }
}
