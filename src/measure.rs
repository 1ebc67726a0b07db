//! What is measured while the process runs: counts, levels and spreads, each an atomic add.
//!
//! Whoever measures keeps what it measures itself and knows nothing of how it is shown: `metrics.rs` gathers it.
//! Names follow <https://prometheus.io/docs/practices/naming/>. A label has few values, all of them our own words:
//! never a crate, a person or a path.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts};

/// Why making a measure cannot fail.
const SOUND: &str = "names are ASCII letters and underscores, labels are distinct, bounds rise";

/// Upper bounds for durations on a disk, in seconds: from a cached flush to one that hangs.
const DISK_SECS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0,
];
/// Upper bounds for numbers of things that are done together.
const NUMBERS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A number that only grows; its name ends in `_total`.
pub fn count(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect(SOUND)
}

/// Numbers that only grow, told apart by labels.
pub fn counts(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect(SOUND)
}

/// As [`counts`], of one label whose values are all there from the start.
///
/// An alert on a rise sees none in a number that appears with its first event.
pub fn counts_from_zero(name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
    let counts = counts(name, help, &[label]);
    for value in values {
        counts.with_label_values(&[value]);
    }
    counts
}

/// A number of those who are somewhere at this moment.
pub fn level(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect(SOUND)
}

/// How long something on the disk or at the forge takes, in seconds; the name ends in `_seconds`.
pub fn durations(name: &str, help: &str) -> Histogram {
    spread(name, help, &DISK_SECS)
}

/// How many things are done together.
pub fn numbers(name: &str, help: &str) -> Histogram {
    spread(name, help, &NUMBERS)
}

fn spread(name: &str, help: &str, bounds: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
    Histogram::with_opts(options).expect(SOUND)
}

/// One more on a level, until this is dropped.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    /// Begins to count.
    pub fn on(level: &IntGauge) -> Self {
        level.inc();
        Self(level.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
