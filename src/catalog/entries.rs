//! The catalog at one commit: immutable, and cheap to derive the next one from.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use super::extract::Extract;
use super::pages::Pages;
use super::search;
use crate::domain::{CanonicalName, Cksum, CommitId, CrateName, CrateVersion};
use crate::index::{Crate, Snapshot};

/// Every crate at one commit; a clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    commit: Option<CommitId>,
    pages: Pages,
    /// Those of which only name and version are known.
    unread: OrdMap<CanonicalName, Cksum>,
}

/// One crate, as its newest version shows it.
#[derive(Debug)]
pub struct Entry {
    /// As its first publisher spelled it.
    pub name: CrateName,
    /// The version to show: the highest that is not yanked, ordinary ones before pre-releases.
    pub version: CrateVersion,
    /// The name by which it is sorted.
    pub(super) canonical: CanonicalName,
    cksum: Cksum,
    known: Known,
}

/// What is known of the file of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// It was not read yet.
    NotYet,
    /// What it says.
    Extract(Arc<Extract>),
    /// It cannot be read.
    Nothing,
}

/// A file that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) name: CanonicalName,
    pub(super) cksum: Cksum,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) unread: Unread,
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
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.pages.entries()
    }

    /// How many files are to be read.
    pub(super) fn unread_count(&self) -> usize {
        self.unread.len()
    }

    /// Some of the files that are to be read.
    pub(super) fn unread(&self, count_max: usize) -> Vec<Unread> {
        let unread = |(name, cksum): (&CanonicalName, &Cksum)| Unread {
            name: name.clone(),
            cksum: *cksum,
        };
        self.unread.iter().take(count_max).map(unread).collect()
    }

    /// The entries of `snapshot`; what is known of files that are still the newest is kept.
    pub(super) fn at(&self, snapshot: &Snapshot) -> Self {
        let changed = self.commit.and_then(|old| snapshot.changed_since(old));
        let (mut next, crates) = match &changed {
            Some(names) => {
                let crates = names.iter().filter_map(|name| snapshot.find(name));
                (self.clone(), crates.collect())
            }
            None => (Self::default(), snapshot.crates().collect::<Vec<_>>()),
        };
        let mut entries = BTreeMap::new();
        for entry in crates.into_iter().filter_map(|krate| Entry::new(krate)) {
            let name = entry.canonical.clone();
            let entry = match self.pages.get(&name) {
                Some(old) if old.shows_same(&entry) => Arc::clone(old),
                _ => Arc::new(entry),
            };
            match entry.known {
                Known::NotYet => next.unread.insert(name.clone(), entry.cksum),
                Known::Extract(_) | Known::Nothing => next.unread.remove(&name),
            };
            entries.insert(name, entry);
        }
        next.pages = next.pages.with(entries);
        next.commit = Some(snapshot.commit());
        next
    }

    /// With these files read; those that are no longer the newest are left aside.
    pub(super) fn with(&self, read: Vec<Read>) -> Self {
        let mut next = self.clone();
        let mut entries = BTreeMap::new();
        for Read { unread, known } in read {
            if next.unread.get(&unread.name) != Some(&unread.cksum) {
                continue;
            }
            next.unread.remove(&unread.name);
            if let Some(entry) = self.pages.get(&unread.name) {
                entries.insert(unread.name, Arc::new(entry.with(known)));
            }
        }
        next.pages = next.pages.with(entries);
        next
    }
}

impl Entry {
    /// What is known of a crate without its file; none if it has no version.
    fn new(krate: &Crate) -> Option<Self> {
        let newest = krate.newest()?;
        Some(Self {
            name: krate.name.clone(),
            version: newest.version.clone(),
            cksum: newest.cksum,
            canonical: krate.name.canonical(),
            known: Known::NotYet,
        })
    }

    /// What its manifest says that it is.
    pub fn description(&self) -> Option<&str> {
        self.extract()?.description()
    }

    /// The checksum of the file, and what was read from it.
    pub(super) fn read(&self) -> Option<(&Cksum, &Extract)> {
        Some((&self.cksum, self.extract()?))
    }

    /// Writes what is searched of it.
    pub(super) fn write_text(&self, text: &mut String) {
        search::write_text(text, &self.canonical, self.extract());
    }

    fn extract(&self) -> Option<&Extract> {
        match &self.known {
            Known::Extract(extract) => Some(extract),
            Known::NotYet | Known::Nothing => None,
        }
    }

    fn shows_same(&self, other: &Self) -> bool {
        (&self.name, &self.version, self.cksum) == (&other.name, &other.version, other.cksum)
    }

    fn with(&self, known: Known) -> Self {
        Self {
            known,
            name: self.name.clone(),
            version: self.version.clone(),
            canonical: self.canonical.clone(),
            ..*self
        }
    }

    #[cfg(test)]
    pub(super) fn example(name: &str, extract: Extract) -> Self {
        let name: CrateName = name.parse().unwrap();
        Self {
            canonical: name.canonical(),
            name,
            version: "1.0.0".parse().unwrap(),
            cksum: Cksum::from([0; 32]),
            known: Known::Extract(Arc::new(extract)),
        }
    }
}

#[cfg(test)]
impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let by_name = entries
            .into_iter()
            .map(|entry| (entry.canonical.clone(), Arc::new(entry)));
        Self {
            pages: Pages::default().with(by_name.collect()),
            ..Self::default()
        }
    }
}
