//! What is said of a mistake in the settings: where it is and why it is one, and never a value.
//!
//! Somebody may have written a token or a password there, and what is said goes to the log.

use std::fmt::Write;
use std::ops::Range;

use toml::Value;
use toml::de::{DeTable, Error};

use crate::domain::excerpt;

/// Of a shorter value nobody can say that it was repeated, and it is no secret.
const VALUE_CHARS_MIN: usize = 4;
/// What can be listened on.
const ADDRESS: &str = "an IP address of this machine with a port, such as 127.0.0.1:8642";

/// Key, line and column of the mistake in `text`, and its reason.
pub(super) fn told(text: &str, fault: &Error) -> String {
    let Some(span) = fault.span() else {
        return fault.message().to_owned();
    };
    let value = text.get(span.clone()).map(|written| {
        let value = written.parse::<Value>().ok();
        let inner = value.as_ref().and_then(Value::as_str);
        inner.unwrap_or(written).to_owned()
    });
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
    let column = 1 + before.get(line_start..).unwrap_or_default().chars().count();
    let mut told = String::new();
    // One that is there twice stands in the table once.
    let itself = || {
        let word = text
            .get(span.clone())
            .filter(|_| is_key(text, span.clone()));
        word.map(excerpt)
    };
    if let Some(key) = key_at(text, span.start, line_start).or_else(itself) {
        let _ = write!(told, "`{key}` in ");
    }
    let reason = without_value(fault.message(), value.as_deref().unwrap_or_default());
    let _ = write!(told, "line {line}, column {column}: {reason}");
    told
}

/// The reason, without the value that it may repeat.
pub(super) fn without_value(reason: &str, value: &str) -> String {
    if reason.starts_with("unknown field ") {
        // That is a key.
        return reason.to_owned();
    }
    // These are serde's words, which end with what would be right: a text of ours.
    if ["invalid ", "unknown variant "]
        .iter()
        .any(|it| reason.starts_with(it))
        && let Some((_, expected)) = reason.rsplit_once(", expected ")
    {
        return format!("it must be {}", in_our_words(expected));
    }
    if reason == "invalid socket address syntax" {
        return format!("it must be {ADDRESS}");
    }
    let shown = excerpt(value);
    let reason = reason.replace(&format!("`{shown}`"), "it");
    let is_long = value.chars().count() >= VALUE_CHARS_MIN;
    match is_long && [shown.as_str(), value].iter().any(|it| reason.contains(it)) {
        true => "its value is not allowed here".to_owned(),
        false => reason,
    }
}

/// What would be right, where a library names a type of the program.
fn in_our_words(expected: &str) -> &str {
    match expected {
        "u64" | "usize" => "a whole number, without quotes, point or sign",
        "a boolean" => "`true` or `false`, without quotes",
        "a sequence" => "a list, in brackets",
        "socket address" => ADDRESS,
        other => other,
    }
}

/// The key, with those of its sections, whose line or value has the place `at`.
fn key_at(text: &str, at: usize, line_start: usize) -> Option<String> {
    // Also of a file with faults, as far as it can be read.
    let (table, _) = DeTable::parse_recoverable(text);
    let mut nearest = Nearest {
        text,
        at,
        line_start,
        found: None,
    };
    nearest.look_in(table.get_ref(), "");
    nearest.found.map(|(_, path)| path)
}

struct Nearest<'a> {
    text: &'a str,
    at: usize,
    line_start: usize,
    found: Option<(usize, String)>,
}

impl Nearest<'_> {
    fn look_in(&mut self, table: &DeTable<'_>, section: &str) {
        for (key, value) in table {
            let name = excerpt(key.get_ref());
            let path = match section {
                "" => name,
                _ => format!("{section}.{name}"),
            };
            let is_there = key.span().start <= self.at
                && (key.span().start >= self.line_start || value.span().contains(&self.at));
            let is_nearest =
                (self.found.as_ref()).is_none_or(|(start, _)| *start <= key.span().start);
            if is_there && is_nearest && is_key(self.text, key.span()) {
                self.found = Some((key.span().start, path.clone()));
            }
            // No setting lies deeper than in a section, so what stands there is no name of one.
            if section.is_empty()
                && let Some(inner) = value.get_ref().as_table()
            {
                self.look_in(inner, &path);
            }
        }
    }
}

/// Whether a value follows: a word that stands alone may be a value that lost its key, and may end with `=` itself.
fn is_key(text: &str, span: Range<usize>) -> bool {
    let after = text.get(span.end..).unwrap_or_default();
    let after = after.lines().next().unwrap_or_default().trim_start();
    match after.strip_prefix('=') {
        Some(value) => {
            let value = value.trim_start();
            !value.is_empty() && !value.starts_with(['=', '#'])
        }
        None => after.starts_with(['.', ']']),
    }
}
