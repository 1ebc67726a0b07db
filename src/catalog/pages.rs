//! Entries in the order of their names, a few hundred to a page.
//!
//! The text of a page lies in one piece: a search runs through memory from end to end and looks at no entry that does
//! not fit. A change makes the pages anew that it touches and shares the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use memchr::memmem::Finder;

use super::entries::Entry;
use crate::domain::CanonicalName;

/// The most entries of a page; a fuller one is cut into halves.
const PAGE_MAX: usize = 256;

/// All entries; a clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages(Vec<Arc<Page>>);

/// Some entries that follow each other: at least one.
#[derive(Debug)]
pub(super) struct Page {
    entries: Vec<Arc<Entry>>,
    /// What is searched of each, one behind the other, with a line break at the end of each.
    text: String,
    /// Where the text of each ends, its line break included.
    ends: Vec<usize>,
}

impl Pages {
    /// Every entry.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.iter().flat_map(|page| &page.entries)
    }

    /// Every page.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Page> {
        self.0.iter().map(|page| &**page)
    }

    /// The entry of the crate with this name.
    pub(super) fn get(&self, name: &CanonicalName) -> Option<&Arc<Entry>> {
        let behind = self.0.partition_point(|page| page.first() <= name);
        let page = self.0.get(behind.checked_sub(1)?)?;
        let at = page.position(name).ok()?;
        page.entries.get(at)
    }

    /// With these entries, in place of those of the same names.
    pub(super) fn with(&self, changed: BTreeMap<CanonicalName, Arc<Entry>>) -> Self {
        let mut pages = Vec::with_capacity(self.0.len());
        let mut changed = changed.into_iter().peekable();
        for (at, page) in self.0.iter().enumerate() {
            // What comes before the first name of the next page belongs to this one.
            let next = self.0.get(at + 1).map(|page| page.first());
            let is_here = |(name, _): &(CanonicalName, _)| next.is_none_or(|next| name < next);
            if changed.peek().is_none_or(|change| !is_here(change)) {
                pages.push(Arc::clone(page));
                continue;
            }
            let mut entries = page.entries.clone();
            while let Some((name, entry)) = changed.next_if(is_here) {
                let found = entries.binary_search_by(|entry| entry.canonical.cmp(&name));
                match found {
                    Ok(at) => entries[at] = entry,
                    Err(at) => entries.insert(at, entry),
                }
            }
            paginate(&entries, &mut pages);
        }
        // Where there was no page at all.
        let rest: Vec<Arc<Entry>> = changed.map(|(_, entry)| entry).collect();
        paginate(&rest, &mut pages);
        Self(pages)
    }
}

fn paginate(entries: &[Arc<Entry>], pages: &mut Vec<Arc<Page>>) {
    let size = match entries.len() {
        ..=PAGE_MAX => PAGE_MAX,
        _ => PAGE_MAX / 2,
    };
    let pages_of = entries
        .chunks(size)
        .map(|entries| Arc::new(Page::new(entries)));
    pages.extend(pages_of);
}

impl Page {
    fn new(entries: &[Arc<Entry>]) -> Self {
        let mut text = String::new();
        let mut ends = Vec::with_capacity(entries.len());
        for entry in entries {
            entry.write_text(&mut text);
            text.push('\n');
            ends.push(text.len());
        }
        text.shrink_to_fit();
        Self {
            entries: entries.to_vec(),
            text,
            ends,
        }
    }

    fn first(&self) -> &CanonicalName {
        &self.entries[0].canonical
    }

    fn position(&self, name: &CanonicalName) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|entry| entry.canonical.cmp(name))
    }

    /// The entries whose text contains what `word` finds, or all, each with its text.
    ///
    /// The word has no line break.
    pub(super) fn with_word<'a>(
        &'a self,
        word: Option<&'a Finder<'_>>,
    ) -> impl Iterator<Item = (&'a Arc<Entry>, &'a str)> {
        let (mut next, mut start) = (0, 0);
        std::iter::from_fn(move || {
            if let Some(word) = word {
                let hit = start + word.find(&self.text.as_bytes()[start..])?;
                let skipped = self.ends[next..].iter().take_while(|end| **end <= hit);
                next += skipped.count();
                start = next.checked_sub(1).map_or(0, |before| self.ends[before]);
            }
            let (entry, end) = (self.entries.get(next)?, *self.ends.get(next)?);
            let text = &self.text[start..end - 1];
            (next, start) = (next + 1, end);
            Some((entry, text))
        })
    }
}

#[cfg(test)]
mod tests;
