//! TOML that somebody else wrote, such as the manifest of a crate or the policy in a pull request.
//!
//! The library bounds how deep the tables and arrays of a value stand in one another, and how many parts a key has, but
//! not both together: a text of a few kilobytes nests six thousand deep, and what is read, cloned and dropped by
//! recursion then ends the process. So the sum is bounded before it is read.

use serde::de::DeserializeOwned;
use thiserror::Error;
use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, RecursionGuard, parse_document};

/// How deep tables, arrays and the parts of keys may stand in one another.
pub const NESTING_MAX: u32 = 80;

/// Why a text is not the document that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct DocumentFault {
    /// Where, in bytes from the start of the text.
    pub at: usize,
    reason: String,
}

/// Reads a TOML document that nests at most [`NESTING_MAX`] deep.
pub fn read_document<T: DeserializeOwned>(text: &str) -> Result<T, DocumentFault> {
    if let Some(at) = too_deep(text) {
        let reason = format!(
            "tables, arrays and parts of keys stand more than {NESTING_MAX} deep in one another"
        );
        return Err(DocumentFault { at, reason });
    }
    toml::from_str(text).map_err(|error| DocumentFault {
        at: error.span().map_or(0, |span| span.start),
        reason: error.message().to_owned(),
    })
}

/// Where a text, which need not be TOML, first nests too deep.
fn too_deep(text: &str) -> Option<usize> {
    let mut nesting = Nesting::default();
    let mut take = |event: Event| nesting.take(&event);
    // The parser itself goes by recursion through what the guard lets it.
    let mut guarded = RecursionGuard::new(&mut take, NESTING_MAX);
    let tokens = Source::new(text).lex().into_vec();
    parse_document(&tokens, &mut guarded, &mut ());
    nesting.too_deep_at
}

/// How deep the walk through a document is.
#[derive(Default)]
struct Nesting {
    depth: u32,
    /// The depth of the table in whose section this is.
    section: u32,
    /// The depth in each open `[` or `{` of a value.
    open: Vec<u32>,
    too_deep_at: Option<usize>,
}

impl Nesting {
    fn take(&mut self, event: &Event) {
        match event.kind() {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => self.depth = 0,
            EventKind::StdTableClose | EventKind::ArrayTableClose => self.section = self.depth,
            EventKind::SimpleKey => self.depth += 1,
            EventKind::InlineTableOpen | EventKind::ArrayOpen => {
                self.depth += 1;
                self.open.push(self.depth);
            }
            EventKind::InlineTableClose | EventKind::ArrayClose => {
                self.open.pop();
            }
            EventKind::ValueSep => self.depth = self.open.last().copied().unwrap_or_default(),
            EventKind::Newline if self.open.is_empty() => self.depth = self.section,
            _ => {}
        }
        if self.depth > NESTING_MAX && self.too_deep_at.is_none() {
            self.too_deep_at = Some(event.span().start());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::{Table, Value};

    use super::*;

    /// How deep a value nests, its own table or array included.
    fn depth_of(value: &Value) -> u32 {
        let inner = match value {
            Value::Table(table) => table.values().map(depth_of).max(),
            Value::Array(values) => values.iter().map(depth_of).max(),
            _ => return 0,
        };
        inner.unwrap_or_default() + 1
    }

    fn fault_of(text: &str) -> String {
        read_document::<Table>(text).unwrap_err().to_string()
    }

    #[test]
    fn what_multiplies_is_refused_where_it_is_too_deep() {
        let level = |inner: &str| format!("{{{}a={inner}}}", "a.".repeat(75));
        for text in [
            format!("a={}", level(&level("1"))),
            format!("[{}a]\nb={}", "a.".repeat(40), level("1")),
            format!("[{}a]\n{}b=1", "a.".repeat(40), "b.".repeat(40)),
            format!("[[{}a]]\nb=[{}]", "a.".repeat(40), level("1")),
            format!("{}a={}1{}", "a.".repeat(45), "[".repeat(45), "]".repeat(45)),
            format!(
                "{}a=[\n{}1{}]",
                "a.".repeat(45),
                "[".repeat(44),
                "]".repeat(44)
            ),
            format!(
                "a={}",
                (0..85).fold("1".to_owned(), |inner, _| level(&inner))
            ),
        ] {
            let fault = fault_of(&text);
            assert!(
                fault.ends_with("more than 80 deep in one another"),
                "{fault}: {text}"
            );
        }
        for (parts, is_read) in [(NESTING_MAX, true), (NESTING_MAX + 1, false)] {
            let text = format!("{}a = 1", "a.".repeat(parts as usize - 1));
            assert_eq!(read_document::<Table>(&text).is_ok(), is_read, "{parts}");
        }
        let fault = read_document::<Table>(&format!("a = 1\nb = {}", level(&level("1"))));
        assert!(fault.unwrap_err().at > 80);
    }

    #[test]
    fn what_is_no_toml_ends_nothing() {
        for open in ["[", "{", "a=[", "a={a=", "a={a.", "a.", "[a.", "[[a."] {
            assert!(
                read_document::<Table>(&open.repeat(100_000)).is_err(),
                "{open}"
            );
        }
    }

    #[test]
    fn what_stands_side_by_side_is_not_deep() {
        for text in [
            "a = 1\n".to_owned()
                + &(0..999)
                    .map(|n| format!("b{n}.c = {{ d.e = [1] }}\n"))
                    .collect::<String>(),
            format!("a = [{}]", "[1],".repeat(999)),
            format!(
                "a = {{ {} z = 1 }}",
                (0..999).map(|n| format!("a{n}.b = 1,")).collect::<String>()
            ),
            (0..999)
                .map(|n| format!("[a{n}.b]\nc.d = 1\n[[e.f]]\n"))
                .collect(),
        ] {
            assert!(read_document::<Table>(&text).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_deeper_than_the_bound_is_read(
            text in "(\\[?\\[(a\\.){0,60}a\\]\\]?\n)?((a\\.){0,60}[ab] ?= ?(\\[|\\{a\\.b=|\\{(b\\.){30}a=){0,9}1(\\]|\\}){0,9}\n){1,4}"
        ) {
            if let Ok(table) = read_document(&text) {
                // Each part of a key may stand for a table in an array of tables.
                prop_assert!(depth_of(&Value::Table(table)) <= 2 * NESTING_MAX);
            }
        }
    }
}
