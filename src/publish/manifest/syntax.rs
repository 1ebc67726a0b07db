//! TOML as Cargo of all ages reads it: what only TOML 1.1 has is refused, and what `cargo package` never writes.
//!
//! Cargo since 1.94 reads [TOML 1.1](https://toml.io/en/v1.1.0) and packs manifests in 1.0, because older ones, which
//! unpack the same crates, know no other. Other programs stumble over marks and line ends that Cargo takes. Where both
//! versions agree there is no rule here: the parser has refused already what is not TOML.

use thiserror::Error;
use toml_parser::decoder::Encoding;
use toml_parser::parser::{Event, EventKind, parse_document};
use toml_parser::{Raw, Source, Span};

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

/// Finds the first place that not every reader takes: its offset in bytes and what it is.
///
/// `text` must be TOML: its nesting is not bounded here.
pub(super) fn check(text: &str) -> Result<(), (usize, SyntaxFault)> {
    if text.starts_with('\u{feff}') {
        return Err((0, SyntaxFault::ByteOrderMark));
    }
    if let Some(at) = text.find('\r') {
        return Err((at, SyntaxFault::CarriageReturn));
    }
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let mut reader = Reader::new(source);
    parse_document(&tokens, &mut |event| reader.take(&event), &mut ());
    reader.found.map_or(Ok(()), Err)
}

/// Walks through the parts of a document.
struct Reader<'a> {
    source: Source<'a>,
    /// For each open `[` or `{` of a value whether it is a `{`.
    open: Vec<bool>,
    /// Whether the last part that says something was a comma.
    after_comma: bool,
    found: Option<(usize, SyntaxFault)>,
}

impl<'a> Reader<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            open: Vec::new(),
            after_comma: false,
            found: None,
        }
    }

    fn take(&mut self, event: &Event) {
        let kind = event.kind();
        let in_inline_table = self.open.last() == Some(&true);
        let fault = match kind {
            EventKind::InlineTableOpen | EventKind::ArrayOpen => {
                self.open.push(kind == EventKind::InlineTableOpen);
                None
            }
            EventKind::InlineTableClose | EventKind::ArrayClose => {
                self.open.pop();
                let is_faulty = kind == EventKind::InlineTableClose && self.after_comma;
                is_faulty.then_some(SyntaxFault::TrailingComma)
            }
            EventKind::Newline | EventKind::Comment if in_inline_table => {
                Some(SyntaxFault::InlineTableOfLines)
            }
            EventKind::SimpleKey | EventKind::Scalar => self.text_fault(event),
            _ => None,
        };
        if !matches!(
            kind,
            EventKind::Whitespace | EventKind::Newline | EventKind::Comment
        ) {
            self.after_comma = kind == EventKind::ValueSep;
        }
        if let (None, Some(fault)) = (self.found, fault) {
            self.found = Some((start_of(event.span()), fault));
        }
    }

    fn text_fault(&self, event: &Event) -> Option<SyntaxFault> {
        let text = self.source.get(event).map(|raw: Raw<'a>| raw.as_str())?;
        match event.encoding() {
            Some(Encoding::BasicString | Encoding::MlBasicString) => new_escape(text),
            Some(Encoding::LiteralString | Encoding::MlLiteralString) => None,
            None if event.kind() == EventKind::Scalar => {
                is_without_seconds(text).then_some(SyntaxFault::NoSeconds)
            }
            None => None,
        }
    }
}

fn start_of(span: Span) -> usize {
    span.start()
}

/// The first escape that TOML 1.0 does not have.
fn new_escape(text: &str) -> Option<SyntaxFault> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\'
            && let Some(escape @ ('e' | 'x')) = chars.next()
        {
            return Some(SyntaxFault::Escape(escape));
        }
    }
    None
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

    fn fault(text: &str) -> Option<(usize, SyntaxFault)> {
        assert!(text.parse::<toml::Table>().is_ok(), "{text:?} is no TOML");
        check(text).err()
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
            assert_eq!(fault(text), None, "{text:?}");
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
            ("a = \"\\\\\\e\"", 4, Escape('e')),
            ("a = \"\"\"\n\\x41\"\"\"", 4, Escape('x')),
            ("\"\\x41\" = 1", 0, Escape('x')),
            ("a = 07:32", 4, NoSeconds),
            ("a = [1979-05-27T07:32Z]", 5, NoSeconds),
            ("a = 1979-05-27 07:32+01:00", 4, NoSeconds),
            ("a = 1979-05-27t07:32-01:00", 4, NoSeconds),
        ] {
            assert_eq!(fault(text), Some((at, expected)), "{text:?}");
        }
    }

    #[test]
    fn marks_and_carriage_returns_are_refused() {
        assert_eq!(
            fault("\u{feff}a = 1"),
            Some((0, SyntaxFault::ByteOrderMark))
        );
        assert_eq!(fault("a = 1\r\n"), Some((5, SyntaxFault::CarriageReturn)));
        assert_eq!(
            fault("a = \"\"\"x\r\ny\"\"\""),
            Some((8, SyntaxFault::CarriageReturn))
        );
    }
}
