//! Entries in the order of their names, a few hundred to a page.
//!
//! The text of a page lies in one piece: a search runs through memory from end to end and looks at no entry that does
//! not fit. A change makes the pages anew that it touches and shares the others.

use std::mem;
use std::sync::Arc;

use memchr::memmem::Finder;

use super::entries::Entry;
use crate::domain::CrateName;

/// The most entries of a page; a fuller one is cut into halves.
const PAGE_MAX: usize = 256;

/// All entries; a clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages(Vec<Arc<Page>>);

/// Some entries that follow each other: at least one.
#[derive(Debug)]
pub(super) struct Page {
    entries: Box<[Entry]>,
    /// What is searched of each, one behind the other, with a line break at the end of each.
    text: Box<str>,
    /// Where the text of each ends, its line break included.
    ends: Box<[usize]>,
    /// Of how many entries the file is to be read.
    unread_count: usize,
}

impl Pages {
    /// Every entry.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.iter().flat_map(|page| &page.entries)
    }

    /// The entries of which the file is to be read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &Entry> {
        let pages = self.iter().filter(|page| page.unread_count > 0);
        let entries = pages.flat_map(|page| &page.entries);
        entries.filter(|entry| entry.is_unread())
    }

    /// How many of these there are.
    pub(super) fn unread_count(&self) -> usize {
        self.iter().map(|page| page.unread_count).sum()
    }

    /// How many they are.
    pub(super) fn entry_count(&self) -> usize {
        self.iter().map(|page| page.entries.len()).sum()
    }

    /// Every page.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Page> {
        self.0.iter().map(|page| &**page)
    }

    /// The entry of the crate with this name.
    pub(super) fn get(&self, name: &CrateName) -> Option<&Entry> {
        let is_behind = |page: &Arc<Page>| page.first().cmp_name(name).is_gt();
        let behind = self.0.partition_point(|page| !is_behind(page));
        let page = self.0.get(behind.checked_sub(1)?)?;
        let at = page.entries.binary_search_by(|entry| entry.cmp_name(name));
        page.entries.get(at.ok()?)
    }

    /// With these entries, in place of those of the same names; of several with one name, the last counts.
    pub(super) fn with(&self, mut changed: Vec<Entry>) -> Self {
        changed.sort_by(|a, b| a.cmp_name(b.name()));
        changed.dedup_by(|later, earlier| {
            let is_same = later.cmp_name(earlier.name()).is_eq();
            if is_same {
                mem::swap(later, earlier);
            }
            is_same
        });
        let mut pages = Vec::with_capacity(self.0.len());
        let mut changed = changed.into_iter().peekable();
        for (at, page) in self.0.iter().enumerate() {
            // What comes before the first name of the next page belongs to this one.
            let next = self.0.get(at + 1).map(|page| page.first());
            let is_here =
                |entry: &Entry| next.is_none_or(|next| entry.cmp_name(next.name()).is_lt());
            if changed.peek().is_none_or(|change| !is_here(change)) {
                pages.push(Arc::clone(page));
                continue;
            }
            let mut entries = page.entries.to_vec();
            while let Some(entry) = changed.next_if(is_here) {
                match entries.binary_search_by(|other| other.cmp_name(entry.name())) {
                    Ok(at) => entries[at] = entry,
                    Err(at) => entries.insert(at, entry),
                }
            }
            paginate(entries, &mut pages);
        }
        // Where there was no page at all.
        paginate(changed.collect(), &mut pages);
        Self(pages)
    }
}

fn paginate(entries: Vec<Entry>, pages: &mut Vec<Arc<Page>>) {
    let size = match entries.len() {
        ..=PAGE_MAX => PAGE_MAX,
        _ => PAGE_MAX / 2,
    };
    let mut entries = entries.into_iter();
    let mut text = String::new();
    while entries.len() > 0 {
        let page = Page::new(entries.by_ref().take(size).collect(), &mut text);
        pages.push(Arc::new(page));
    }
}

impl Page {
    /// A page of these; `text` is room to write in, so that none is asked for again and again.
    fn new(entries: Box<[Entry]>, text: &mut String) -> Self {
        text.clear();
        let end_of = |entry: &Entry| {
            entry.write_text(text);
            text.push('\n');
            text.len()
        };
        Self {
            ends: entries.iter().map(end_of).collect(),
            text: text.as_str().into(),
            unread_count: entries.iter().filter(|entry| entry.is_unread()).count(),
            entries,
        }
    }

    fn first(&self) -> &Entry {
        &self.entries[0]
    }

    /// The entries whose text contains what `word` finds, or all, each with its text.
    ///
    /// The word has no line break.
    pub(super) fn with_word<'a>(
        &'a self,
        word: Option<&'a Finder<'_>>,
    ) -> impl Iterator<Item = (&'a Entry, &'a str)> {
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
