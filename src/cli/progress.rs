//! How far long work has come: drawn on a terminal only, on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that knows how much is left.
pub(super) struct Bar(ProgressBar);

/// A bar over so many `things`.
pub(super) fn bar(things: &str) -> Bar {
    let template = format!("{{bar:40}} {{pos}}/{{len}} {things}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).expect("the template is well formed");
    let bar = ProgressBar::no_length().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    Bar(bar)
}

impl Bar {
    /// Tells how many there are, and how many of them are left.
    pub(super) fn set(&self, all: usize, left: usize) {
        self.0.set_length(all as u64);
        self.0.set_position(all.saturating_sub(left) as u64);
    }

    /// Takes the bar away.
    pub(super) fn clear(self) {
        self.0.finish_and_clear();
    }
}
