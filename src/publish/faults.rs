//! All that is wrong with an upload, told at once but never without bound.

use std::fmt;

use crate::domain::harmless;

/// The most faults that one answer lists; further ones are only counted.
pub const FAULTS_MAX: usize = 20;

/// The longest part of an upload that a sentence quotes, in characters.
const QUOTED_CHARS_MAX: usize = 200;

/// Faults in the order in which they were found: the first [`FAULTS_MAX`] and the number of the others.
#[derive(Debug)]
pub struct Faults<F> {
    listed: Vec<F>,
    unlisted: usize,
}

impl<F> Faults<F> {
    /// A sentence for each, and one for those that are only counted.
    pub fn sentences(&self) -> Vec<String>
    where
        F: fmt::Display,
    {
        let mut sentences: Vec<String> = self.listed.iter().map(F::to_string).collect();
        if self.unlisted > 0 {
            sentences.push(format!("{} more faults are not listed", self.unlisted));
        }
        sentences
    }

    pub(super) fn none() -> Self {
        Self {
            listed: Vec::new(),
            unlisted: 0,
        }
    }

    pub(super) fn add(&mut self, fault: F) {
        self.add_with(|| fault);
    }

    /// Adds a fault that is made only if it is listed: there may be millions.
    pub(super) fn add_with(&mut self, fault: impl FnOnce() -> F) {
        if self.listed.len() < FAULTS_MAX {
            self.listed.push(fault());
        } else {
            self.unlisted += 1;
        }
    }

    /// What was read, or nothing and one more fault.
    pub(super) fn note<T>(&mut self, read: Result<T, F>) -> Option<T> {
        read.map_err(|fault| self.add(fault)).ok()
    }

    /// Adds the faults of another kind, each as `told` tells it; together they keep the limit.
    pub(super) fn take_over<G>(&mut self, others: Faults<G>, mut told: impl FnMut(G) -> F) {
        for fault in others.listed {
            self.add(told(fault));
        }
        self.unlisted += others.unlisted;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl Faults<String> {
    /// Adds a sentence for each fault of another kind; together they keep the limit.
    pub(super) fn tell(&mut self, others: Faults<impl fmt::Display>) {
        self.take_over(others, |fault| fault.to_string());
    }
}

/// A stranger's text as a sentence may quote it: on one line, read as it is, not too long.
pub(super) fn quoted(text: &str) -> String {
    harmless(text, QUOTED_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_past_the_limit_are_counted_and_said() {
        let mut faults = Faults::none();
        for number in 0..FAULTS_MAX + 3 {
            faults.add(format!("fault {number}"));
        }
        let sentences = faults.sentences();
        assert_eq!(sentences.len(), FAULTS_MAX + 1);
        assert_eq!(sentences[19], "fault 19");
        assert_eq!(sentences[20], "3 more faults are not listed");
    }

    #[test]
    fn the_limit_holds_for_faults_of_all_kinds_together() {
        let mut first = Faults::none();
        (0..15).for_each(|number| first.add(number));
        let mut second = Faults::none();
        (0..FAULTS_MAX + 2).for_each(|_| second.add('x'));
        let mut all = Faults::none();
        all.tell(first);
        all.tell(second);
        let sentences = all.sentences();
        assert_eq!(sentences.len(), FAULTS_MAX + 1);
        assert_eq!((&*sentences[14], &*sentences[15]), ("14", "x"));
        assert_eq!(sentences[20], "17 more faults are not listed");
    }

    #[test]
    fn quoted_text_stays_short_and_on_one_line() {
        assert_eq!(quoted("serde"), "serde");
        assert_eq!(quoted("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(quoted("ä\u{202e}gnp"), "ä\\u{202e}gnp");
        assert_eq!(quoted(&"x".repeat(1 << 20)), "x".repeat(200) + "…");
    }
}
