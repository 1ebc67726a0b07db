//! Which crates fit a query, and which of them come first.

use memchr::memmem::Finder;

use super::entries::Entry;
use super::extract::Extract;
use super::pages::Pages;
use crate::domain::CrateName;

/// The most crates that one answer holds.
pub const FOUND_MAX: usize = 100;
/// The longest text that is searched for, in bytes; the rest of a longer one is left aside.
const QUERY_BYTES_MAX: usize = 256;
/// The most words that a crate must have: each is looked for in all of them.
const WORDS_MAX: usize = 8;

/// Crates that fit a query, best first.
#[derive(Debug)]
pub struct Found {
    /// As many as were asked for.
    pub crates: Vec<Entry>,
    /// How many there are.
    pub total: usize,
}

/// What somebody looks for.
#[derive(Debug)]
pub(super) struct Query {
    /// All words as one name.
    name: String,
    /// The same as a keyword stands in a text: with a line break before and behind.
    keyword: Finder<'static>,
    /// The words, each once, the longest first: it is the one that is least often there. Of many the longest.
    words: Vec<Finder<'static>>,
}

/// How well a crate fits; the order is that of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Its name.
    Name,
    /// The beginning of its name.
    Start,
    /// A part of its name.
    Part,
    /// One of its keywords.
    Keyword,
    /// Every word is somewhere in name, keywords and description.
    Words,
}

impl Fit {
    const COUNT: usize = 5;
}

impl Query {
    /// Case does not matter, nor does the difference of `-`, `_` and blanks in names.
    ///
    /// A `+` is a blank: Cargo puts it between the words of its command line, and then percent-encodes it.
    pub(super) fn new(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(QUERY_BYTES_MAX)];
        let text: String = folded(text).collect();
        let mut words: Vec<String> = text
            .split(|c: char| c.is_whitespace() || c == '+')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        let name = words.join("_");
        words.sort_by(|a, b| (b.len(), a).cmp(&(a.len(), b)));
        words.dedup();
        words.truncate(WORDS_MAX);
        let finder = |text: &str| Finder::new(text).into_owned();
        Self {
            keyword: finder(&format!("\n{name}\n")),
            name,
            words: words.iter().map(|word| finder(word)).collect(),
        }
    }

    /// The best crates, and the number of all that fit; those that fit equally well are in the order of their names.
    pub(super) fn search(&self, pages: &Pages, count_max: usize) -> Found {
        let count_max = count_max.min(FOUND_MAX);
        // Whatever fits has every word somewhere: most crates are told apart by the first one.
        let (first, others) = match self.words.split_first() {
            Some((first, others)) => (Some(first), others),
            None => (None, &[][..]),
        };
        let mut total = 0;
        let mut by_fit: [Vec<&Entry>; Fit::COUNT] = Default::default();
        for (entry, text) in pages.iter().flat_map(|page| page.with_word(first)) {
            if !others.iter().all(|word| has(text, word)) {
                continue;
            }
            total += 1;
            let equals = &mut by_fit[self.fit(text) as usize];
            if equals.len() < count_max {
                equals.push(entry);
            }
        }
        let best = by_fit.into_iter().flatten().take(count_max);
        Found {
            crates: best.cloned().collect(),
            total,
        }
    }

    /// How well a crate with this text fits, in which every word is.
    fn fit(&self, text: &str) -> Fit {
        let name = text.split_once('\n').map_or(text, |(name, _)| name);
        if name == self.name {
            Fit::Name
        } else if name.starts_with(&self.name) {
            Fit::Start
        } else if name.contains(&self.name) {
            Fit::Part
        } else if has(text, &self.keyword) {
            Fit::Keyword
        } else {
            Fit::Words
        }
    }
}

fn has(text: &str, word: &Finder) -> bool {
    word.find(text.as_bytes()).is_some()
}

/// Writes what is searched of a crate: its name, each keyword and its description, folded, with line breaks between.
pub(super) fn write_text(text: &mut String, name: &CrateName, extract: Option<&Extract>) {
    text.extend(name.folded().map(char::from));
    text.push('\n');
    for keyword in extract.into_iter().flat_map(Extract::keywords) {
        // A keyword has no blanks, as a rule; one that has is found like a name.
        text.extend(folded(keyword).map(|c| if c == ' ' { '_' } else { c }));
        text.push('\n');
    }
    let description = extract.and_then(Extract::description).unwrap_or_default();
    text.extend(folded(description));
}

/// In lower case, character by character, with `_` for `-`.
fn folded(text: &str) -> impl Iterator<Item = char> {
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.map(|c| if c == '-' { '_' } else { c })
}

#[cfg(test)]
mod tests;
