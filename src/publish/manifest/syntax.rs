//! TOML as Cargo of all ages reads it: what only TOML 1.1 has is refused, and what `cargo package` never writes.
//!
//! Cargo since 1.94 reads [TOML 1.1](https://toml.io/en/v1.1.0) and packs manifests in 1.0, because older ones, which
//! unpack the same crates, know no other. Other programs stumble over marks and line ends that Cargo takes. Where both
//! versions agree there is no rule here: the parser has refused already what is not TOML.

use std::iter;

use thiserror::Error;
use toml_parser::decoder::Encoding;
use toml_parser::parser::{Event, EventKind, parse_document};
use toml_parser::{Raw, Source};

use crate::publish::faults::Faults;

/// What not every reader of TOML takes; the texts go on after the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SyntaxFault {
    /// U+FEFF at the start.
    #[error(
        "has a byte order mark, which not every TOML reader takes; save it as UTF-8 without one"
    )]
    ByteOrderMark,
    /// A line that ends as on Windows.
    #[error(
        "has a carriage return, which TOML readers do not agree on; end lines with line feeds alone"
    )]
    CarriageReturn,
    /// A line feed or comment between `{` and `}`.
    #[error(
        "has an inline table of several lines, which Cargo before 1.94 cannot read; use one line or a `[table]`"
    )]
    InlineTableOfLines,
    /// `{ a = 1, }`.
    #[error(
        "has a comma before the `}}` of an inline table, which Cargo before 1.94 cannot read; leave it out"
    )]
    TrailingComma,
    /// `\e` or `\xHH`.
    #[error("has the escape `\\{0}`, which Cargo before 1.94 cannot read; write `\\u00HH`")]
    Escape(char),
    /// `07:32`.
    #[error("has a time without seconds, which Cargo before 1.94 cannot read; write them")]
    NoSeconds,
}

/// Finds the places that not every reader takes: the offset in bytes of each, and what it is.
///
/// What one save of the file mends, or one change of an inline table, is told once, at its first place.
/// `text` must be TOML: its nesting is not bounded here.
pub(super) fn check(text: &str) -> Faults<(usize, SyntaxFault)> {
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let mut reader = Reader::new(source);
    if text.starts_with('\u{feff}') {
        reader.found.add((0, SyntaxFault::ByteOrderMark));
    }
    if let Some(at) = text.find('\r') {
        reader.found.add((at, SyntaxFault::CarriageReturn));
    }
    parse_document(&tokens, &mut |event| reader.take(&event), &mut ());
    reader.found
}

/// Walks through the parts of a document.
struct Reader<'a> {
    source: Source<'a>,
    /// Each open `[` or `{` of a value.
    open: Vec<Open>,
    /// Whether the last part that says something was a comma.
    after_comma: bool,
    found: Faults<(usize, SyntaxFault)>,
}

#[derive(PartialEq)]
enum Open {
    Array,
    Table,
    /// A table of which was told that it has several lines.
    TableOfLines,
}

impl<'a> Reader<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            open: Vec::new(),
            after_comma: false,
            found: Faults::none(),
        }
    }

    fn take(&mut self, event: &Event) {
        let kind = event.kind();
        let fault = match kind {
            EventKind::InlineTableOpen => {
                self.open.push(Open::Table);
                None
            }
            EventKind::ArrayOpen => {
                self.open.push(Open::Array);
                None
            }
            EventKind::InlineTableClose | EventKind::ArrayClose => {
                self.open.pop();
                let is_faulty = kind == EventKind::InlineTableClose && self.after_comma;
                is_faulty.then_some(SyntaxFault::TrailingComma)
            }
            EventKind::Newline | EventKind::Comment => self.line_fault(),
            EventKind::SimpleKey | EventKind::Scalar => {
                self.check_text(event);
                None
            }
            _ => None,
        };
        if !matches!(
            kind,
            EventKind::Whitespace | EventKind::Newline | EventKind::Comment
        ) {
            self.after_comma = kind == EventKind::ValueSep;
        }
        if let Some(fault) = fault {
            self.found.add((event.span().start(), fault));
        }
    }

    /// What is wrong with the end of a line here.
    fn line_fault(&mut self) -> Option<SyntaxFault> {
        let open = self.open.last_mut().filter(|open| **open == Open::Table)?;
        *open = Open::TableOfLines;
        Some(SyntaxFault::InlineTableOfLines)
    }

    fn check_text(&mut self, event: &Event) {
        let start = event.span().start();
        let Some(text) = self.source.get(event).map(|raw: Raw<'a>| raw.as_str()) else {
            return;
        };
        match event.encoding() {
            Some(Encoding::BasicString | Encoding::MlBasicString) => {
                for (at, escape) in new_escapes(text) {
                    self.found.add((start + at, SyntaxFault::Escape(escape)));
                }
            }
            None if event.kind() == EventKind::Scalar && is_without_seconds(text) => {
                self.found.add((start, SyntaxFault::NoSeconds));
            }
            Some(Encoding::LiteralString | Encoding::MlLiteralString) | None => {}
        }
    }
}

/// The escapes that TOML 1.0 does not have, each with its offset in bytes.
fn new_escapes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut chars = text.char_indices();
    iter::from_fn(move || {
        loop {
            let (at, c) = chars.next()?;
            if c == '\\'
                && let (_, escape @ ('e' | 'x')) = chars.next()?
            {
                return Some((at, escape));
            }
        }
    })
}

/// Whether an unquoted value is a time, or ends in one, that stops at its minutes.
fn is_without_seconds(text: &str) -> bool {
    // Of all unquoted values only times contain a colon.
    let Some((_, after_hours)) = text.split_once(':') else {
        return false;
    };
    let is_offset = |c: char| matches!(c, 'Z' | 'z' | '+' | '-');
    let time = after_hours.split(is_offset).next().unwrap_or_default();
    !time.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(usize, SyntaxFault)> {
        assert!(text.parse::<toml::Table>().is_ok(), "{text:?} is no TOML");
        let mut found = Vec::new();
        // Nothing is added to these: they only have no other way out.
        Faults::none().take_over(check(text), |fault| found.push(fault));
        found
    }

    #[test]
    fn toml_1_0_is_taken() {
        for text in [
            "",
            "a = [\n  1, # one\n  2,\n]\n",
            "a = { b = [\n1,\n], c = { d = 1 } }\n",
            "a = {}\nb = []\nc = [{}, { x = 1 }, ]",
            "a = \"\"\"\nx \\\\e \\\n  y\"\"\"\n",
            "a = '\\e'\nb = '''\\x41\n'''",
            "a = \"\\\\e\\\\x \\u001b\"\n'\\e' = 1",
            "a = 07:32:00\nb = 1979-05-27T07:32:00\nc = 1979-05-27 07:32:00.5+01:00\nd = 1979-05-27",
            "a = 1.5e3\nb = 0xbeef\nc = -inf",
            "# { , }\n\"a:b\" = 'c:d'\n\"é\" = '\u{2028}'",
        ] {
            assert_eq!(faults(text), [], "{text:?}");
        }
    }

    #[test]
    fn what_only_toml_1_1_has_is_refused() {
        use SyntaxFault::*;
        for (text, at, expected) in [
            ("a = {\n b = 1 }", 5, InlineTableOfLines),
            ("a = { b = 1 # x\n }", 12, InlineTableOfLines),
            ("a = [ { b = [1], \n c = 2 } ]", 17, InlineTableOfLines),
            ("a = { b = 1, }", 13, TrailingComma),
            ("a = { b = { c = 1 , } }", 20, TrailingComma),
            ("a = \"\\\\\\e\"", 7, Escape('e')),
            ("a = \"\"\"\n\\x41\"\"\"", 8, Escape('x')),
            ("\"\\x41\" = 1", 1, Escape('x')),
            ("a = 07:32", 4, NoSeconds),
            ("a = [1979-05-27T07:32Z]", 5, NoSeconds),
            ("a = 1979-05-27 07:32+01:00", 4, NoSeconds),
            ("a = 1979-05-27t07:32-01:00", 4, NoSeconds),
        ] {
            assert_eq!(faults(text), [(at, expected)], "{text:?}");
        }
    }

    #[test]
    fn marks_and_carriage_returns_are_refused() {
        assert_eq!(faults("\u{feff}a = 1"), [(0, SyntaxFault::ByteOrderMark)]);
        let carriage_return = |at| [(at, SyntaxFault::CarriageReturn)];
        assert_eq!(faults("a = 1\r\n"), carriage_return(5));
        assert_eq!(faults("a = \"\"\"x\r\ny\"\"\""), carriage_return(8));
    }

    #[test]
    fn all_places_are_told_and_what_is_mended_at_once_only_once() {
        use SyntaxFault::*;
        assert_eq!(
            faults(
                "\u{feff}a = \"\\e\\x41\"\r\nb = { c = 1,\r\n d = {\r\n e = 07:32, }, }\r\nf = 07:32\r\n"
            ),
            [
                (0, ByteOrderMark),
                (15, CarriageReturn),
                (8, Escape('e')),
                (10, Escape('x')),
                (29, InlineTableOfLines),
                (37, InlineTableOfLines),
                (44, NoSeconds),
                (51, TrailingComma),
                (54, TrailingComma),
                (61, NoSeconds),
            ]
        );
    }
}
