//! What was measured: raw samples, and one line of a table for each pair.

use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// What a ratio shall reach.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Ours is a cost, at most so many times the baseline's.
    AtMost(f64),
    /// Ours is a yield, at least so many times the baseline's.
    AtLeast(f64),
    /// Ours is a time, and the baseline's is at least so many times as long.
    AsFastAs(f64),
}

/// One pair of figures, measured in turn.
#[derive(Debug)]
pub struct Row {
    pub path: String,
    pub baseline: String,
    pub unit: &'static str,
    pub goal: Goal,
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

impl Row {
    pub fn new(path: &str, baseline: &str, unit: &'static str, goal: Goal) -> Self {
        Self {
            path: path.to_owned(),
            baseline: baseline.to_owned(),
            unit,
            goal,
            ours: Vec::new(),
            theirs: Vec::new(),
        }
    }

    /// Adds what one round gave.
    pub fn add(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    /// The ratio of the medians, the way round in which the goal has it.
    pub fn ratio(&self) -> f64 {
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        match self.goal {
            Goal::AtMost(_) | Goal::AtLeast(_) => ours / theirs,
            Goal::AsFastAs(_) => theirs / ours,
        }
    }

    pub fn is_reached(&self) -> bool {
        match self.goal {
            Goal::AtMost(bound) => self.ratio() <= bound,
            Goal::AtLeast(bound) | Goal::AsFastAs(bound) => self.ratio() >= bound,
        }
    }

    fn samples(&self) -> Value {
        json!({
            "path": self.path, "baseline": self.baseline, "unit": self.unit,
            "goal": self.goal.to_string(), "ratio": self.ratio(),
            "ours": self.ours, "theirs": self.theirs,
        })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::AtLeast(bound) | Self::AsFastAs(bound) => write!(f, "≥ {bound}"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        let mark = if self.is_reached() { "" } else { " **missed**" };
        write!(
            f,
            "| {} | {} {} | {}: {} | {:.2} × | {} ×{mark} |",
            self.path,
            rounded(ours),
            self.unit,
            self.baseline,
            rounded(theirs),
            self.ratio(),
            self.goal,
        )
    }
}

/// The heading of the table.
pub const HEADING: &str = "| path | here | baseline | ratio | to reach |\n|---|---|---|---|---|";

/// Writes all samples to a file.
pub fn keep(rows: &[Row], path: &Path) -> anyhow::Result<()> {
    let samples: Vec<Value> = rows.iter().map(Row::samples).collect();
    Ok(fs::write(path, serde_json::to_vec_pretty(&samples)?)?)
}

pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

/// Three digits, or all before the point.
fn rounded(number: f64) -> String {
    match number.abs() {
        ..0.1 => format!("{number:.4}"),
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}
