//! Finding crates by name.

use std::sync::Arc;

use crate::domain::CrateName;
use crate::index::{Crate, Snapshot};

/// The most crates that one answer holds.
pub const FOUND_MAX: usize = 100;
/// The longest text that is searched for, in bytes.
const QUERY_BYTES_MAX: usize = 256;

/// Crates that fit a query, best first.
#[derive(Debug)]
pub struct Found {
    /// As many as were asked for.
    pub crates: Vec<Arc<Crate>>,
    /// How many there are.
    pub total: usize,
}

/// How well a name fits; the order is that of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    Start,
    Inside,
}

/// Crates whose names contain `query`: the name itself first, then names that start with it, each by alphabet.
///
/// Case does not matter, nor does the difference of `-`, `_` and a blank. An empty query fits every crate.
pub fn search(snapshot: &Snapshot, query: &str, count_max: usize) -> Found {
    let wanted = folded(query);
    let mut found: Vec<_> = snapshot
        .crates()
        .filter_map(|krate| Some((fit(&krate.name, &wanted)?, krate)))
        .collect();
    let total = found.len();
    found.sort_by(|(a_fit, a), (b_fit, b)| (a_fit, &a.name).cmp(&(b_fit, &b.name)));
    found.truncate(count_max.min(FOUND_MAX));
    Found {
        crates: found
            .into_iter()
            .map(|(_, krate)| Arc::clone(krate))
            .collect(),
        total,
    }
}

fn fit(name: &CrateName, wanted: &str) -> Option<Fit> {
    let canonical = name.canonical();
    match canonical.as_str().find(wanted)? {
        0 if canonical.as_str().len() == wanted.len() => Some(Fit::Exact),
        0 => Some(Fit::Start),
        _ => Some(Fit::Inside),
    }
}

fn folded(query: &str) -> String {
    let mut end = query.len().min(QUERY_BYTES_MAX);
    while !query.is_char_boundary(end) {
        end -= 1;
    }
    let fold = |c: char| {
        if c == '-' || c.is_whitespace() {
            '_'
        } else {
            c.to_ascii_lowercase()
        }
    };
    query[..end].trim().chars().map(fold).collect()
}
