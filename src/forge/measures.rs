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
            questions: measure::counts(
                "sidecargo_forge_questions_total",
                "Questions to the forge, by what came of them.",
                &["outcome"],
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
