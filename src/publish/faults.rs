//! All that is wrong with an upload, told at once but never without bound.

use std::fmt;

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
    /// The faults that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, F> {
        self.listed.iter()
    }

    /// How many more there are.
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }

    pub(super) fn none() -> Self {
        Self {
            listed: Vec::new(),
            unlisted: 0,
        }
    }

    pub(super) fn add(&mut self, fault: F) {
        if self.listed.len() < FAULTS_MAX {
            self.listed.push(fault);
        } else {
            self.unlisted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// `value` if nothing is wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl<F> From<F> for Faults<F> {
    fn from(fault: F) -> Self {
        Self {
            listed: vec![fault],
            unlisted: 0,
        }
    }
}

impl<'a, F> IntoIterator for &'a Faults<F> {
    type Item = &'a F;
    type IntoIter = std::slice::Iter<'a, F>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<F: fmt::Display> fmt::Display for Faults<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.listed.iter().enumerate() {
            let before = if at == 0 { "" } else { "; " };
            write!(f, "{before}{fault}")?;
        }
        match self.unlisted {
            0 => Ok(()),
            unlisted => write!(f, "; and {unlisted} more"),
        }
    }
}

impl<F: fmt::Debug + fmt::Display> std::error::Error for Faults<F> {}

/// A stranger's text as a sentence may quote it: on one line, without control characters, not too long.
pub(super) fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let is_plain = |c: &char| !c.is_control();
    let mut shown: String = chars.by_ref().take(QUOTED_CHARS_MAX).collect();
    if !shown.chars().all(|c| is_plain(&c)) {
        shown = shown.chars().flat_map(char::escape_default).collect();
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
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
        assert_eq!(faults.iter().len(), FAULTS_MAX);
        assert_eq!(faults.unlisted(), 3);
        let text = faults.to_string();
        assert!(text.starts_with("fault 0; fault 1; "), "{text}");
        assert!(text.ends_with("; fault 19; and 3 more"), "{text}");
    }

    #[test]
    fn quoted_text_stays_short_and_on_one_line() {
        assert_eq!(quoted("serde"), "serde");
        assert_eq!(quoted("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(quoted(&"x".repeat(1 << 20)), "x".repeat(200) + "…");
    }
}
