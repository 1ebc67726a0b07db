//! The catalog at one commit: immutable, and cheap to derive the next one from.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::extract::Extract;
use super::pages::Pages;
use super::search;
use crate::domain::{Cksum, CommitId, CrateName, CrateVersion};
use crate::index::{Crate, Snapshot};

/// Every crate at one commit; a clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    commit: Option<CommitId>,
    pages: Pages,
}

/// One crate, as its newest version shows it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// That of the snapshot: names and versions are nowhere twice.
    krate: Arc<Crate>,
    /// Of the file of its newest version.
    known: Known,
}

/// What is known of the file of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// It was not read yet.
    NotYet,
    /// What it says.
    Extract(Extract),
    /// It cannot be read.
    Nothing,
}

/// A crate the file of whose newest version was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) krate: Arc<Crate>,
    pub(super) known: Known,
}

impl Entries {
    /// The commit whose crates these are; none if no index was looked at yet.
    pub(super) fn commit(&self) -> Option<CommitId> {
        self.commit
    }

    /// All entries, as a search reads them.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// In the order of canonical names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pages.entries()
    }

    /// How many there are.
    pub(super) fn crate_count(&self) -> usize {
        self.pages.entry_count()
    }

    /// How many files are to be read.
    pub(super) fn unread_count(&self) -> usize {
        self.pages.unread_count()
    }

    /// Some of the crates of which the file is to be read.
    pub(super) fn unread(&self, count_max: usize) -> Vec<Arc<Crate>> {
        let krate = |entry: &Entry| Arc::clone(&entry.krate);
        self.pages.unread().take(count_max).map(krate).collect()
    }

    /// The entries of `snapshot`; what is known of files that are still the newest is kept.
    pub(super) fn at(&self, snapshot: &Snapshot) -> Self {
        let changed = self.commit.and_then(|old| snapshot.changed_since(old));
        let Some(names) = changed else {
            return self.all_of(snapshot, &HashMap::new());
        };
        let crates = names.filter_map(|name| snapshot.find(name));
        let changed = crates.map(|krate| self.entry(krate)).collect();
        Self {
            commit: Some(snapshot.commit()),
            pages: self.pages.with(changed),
        }
    }

    /// As [`Entries::at`], made anew; what is not known here may be in `kept`.
    pub(super) fn all_of(&self, snapshot: &Snapshot, kept: &HashMap<Cksum, Extract>) -> Self {
        let entry = |krate| {
            let mut entry = self.entry(krate);
            if entry.is_unread()
                && let Some(extract) = kept.get(entry.cksum())
            {
                entry.known = Known::Extract(extract.clone());
            }
            entry
        };
        let entries = snapshot.crates().map(entry).collect();
        Self {
            commit: Some(snapshot.commit()),
            pages: Pages::default().with(entries),
        }
    }

    /// With these files read; those that are no longer the newest are left aside.
    pub(super) fn with(&self, read: Vec<Read>) -> Self {
        let entry = |read: Read| {
            let entry = self.pages.get(&read.krate.name)?;
            let is_meant = entry.is_unread() && *entry.cksum() == read.krate.newest().cksum;
            is_meant.then(|| Entry {
                krate: Arc::clone(&entry.krate),
                known: read.known,
            })
        };
        let entries = read.into_iter().filter_map(entry).collect();
        Self {
            commit: self.commit,
            pages: self.pages.with(entries),
        }
    }

    /// What is known of a crate without reading its file.
    fn entry(&self, krate: &Arc<Crate>) -> Entry {
        let old = self.pages.get(&krate.name);
        let old = old.filter(|old| *old.cksum() == krate.newest().cksum);
        Entry {
            krate: Arc::clone(krate),
            known: old.map_or(Known::NotYet, |old| old.known.clone()),
        }
    }
}

impl Entry {
    /// As its first publisher spelled it.
    pub fn name(&self) -> &CrateName {
        &self.krate.name
    }

    /// The version to show: the highest that is not yanked, ordinary ones before pre-releases.
    pub fn version(&self) -> &CrateVersion {
        &self.krate.newest().version
    }

    /// What its manifest says that it is.
    pub fn description(&self) -> Option<&str> {
        self.extract()?.description()
    }

    /// The number of the repository of the forge that it belongs to.
    pub(super) fn repository_id(&self) -> Option<u64> {
        self.krate.owners.repository_id()
    }

    /// The checksum of the file, and what was read from it.
    pub(super) fn read(&self) -> Option<(&Cksum, &Extract)> {
        Some((self.cksum(), self.extract()?))
    }

    /// Whether its file is to be read.
    pub(super) fn is_unread(&self) -> bool {
        self.known == Known::NotYet
    }

    /// The order of entries: that of canonical names.
    pub(super) fn cmp_name(&self, name: &CrateName) -> Ordering {
        self.name().canonical_cmp(name)
    }

    /// Writes what is searched of it.
    pub(super) fn write_text(&self, text: &mut String) {
        search::write_text(text, self.name(), self.extract());
    }

    fn cksum(&self) -> &Cksum {
        &self.krate.newest().cksum
    }

    fn extract(&self) -> Option<&Extract> {
        match &self.known {
            Known::Extract(extract) => Some(extract),
            Known::NotYet | Known::Nothing => None,
        }
    }

    #[cfg(test)]
    pub(super) fn example(name: &str, extract: Extract) -> Self {
        Self {
            krate: Arc::new(Crate::example(name)),
            known: Known::Extract(extract),
        }
    }
}

#[cfg(test)]
impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self {
            pages: Pages::default().with(entries.into_iter().collect()),
            ..Self::default()
        }
    }
}
