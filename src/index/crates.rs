//! All crates of a snapshot, found by their names.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use imbl::OrdMap;

use crate::domain::CrateName;

use super::snapshot::Crate;

/// The crates of a snapshot, no two of which have the same canonical name; a clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Crates(OrdMap<Place, Arc<Crate>>);

/// Where a crate lies: by a hash of its canonical name, so that a look compares numbers that lie side by side and reads
/// one crate at its end.
///
/// Crates of equal hashes are numbered in the order in which they came, without a gap: none ever goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    hash: u64,
    number: u32,
}

impl Crates {
    /// The crate with this name or one of its twins.
    pub(super) fn get(&self, name: &CrateName) -> Option<&Arc<Crate>> {
        self.find(name, hash(name)).1
    }

    /// Puts a crate in the place of the one with its name or one of its twins, which it gives back.
    pub(super) fn insert(&mut self, krate: Arc<Crate>) -> Option<Arc<Crate>> {
        let (place, _) = self.find(&krate.name, hash(&krate.name));
        self.0.insert(place, krate)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All crates, in an order that says nothing.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Crate>> {
        self.0.values()
    }

    /// The place of a name, and what is there.
    fn find(&self, name: &CrateName, hash: u64) -> (Place, Option<&Arc<Crate>>) {
        let mut place = Place { hash, number: 0 };
        loop {
            match self.0.get(&place) {
                Some(other) if !other.name.is_twin_of(name) => place.number += 1,
                found => return (place, found),
            }
        }
    }
}

/// Of the canonical name. It need not be the same tomorrow.
fn hash(name: &CrateName) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.folded().for_each(|byte| hasher.write_u8(byte));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::index::object::Body;

    fn krate(name: &str, line: usize) -> Arc<Crate> {
        let mut krate = Crate::example(name);
        krate.body = Body::new(line.to_string().as_bytes()).unwrap();
        Arc::new(krate)
    }

    fn shown(krate: &Arc<Crate>) -> (String, Vec<u8>) {
        (krate.name.to_string(), krate.body.inflate())
    }

    proptest! {
        #[test]
        fn they_are_a_map_by_canonical_name(names in vec("[aB][-_b]{0,3}", 0..60)) {
            let (mut crates, mut expected) = (Crates::default(), BTreeMap::new());
            for (number, name) in names.iter().enumerate() {
                let krate = krate(name, number);
                let before = crates.insert(Arc::clone(&krate));
                let expected_before = expected.insert(krate.name.canonical(), Arc::clone(&krate));
                prop_assert_eq!(before.as_ref().map(shown), expected_before.as_ref().map(shown));
            }
            prop_assert_eq!(crates.len(), expected.len());
            prop_assert_eq!(crates.is_empty(), expected.is_empty());
            let mut all: Vec<_> = crates.iter().map(shown).collect();
            let mut expected_all: Vec<_> = expected.values().map(shown).collect();
            all.sort();
            expected_all.sort();
            prop_assert_eq!(all, expected_all);
            for name in names.iter().map(String::as_str).chain(["absent"]) {
                let name: CrateName = name.parse().unwrap();
                let found = crates.get(&name).map(shown);
                prop_assert_eq!(found, expected.get(&name.canonical()).map(shown));
            }
        }
    }

    #[test]
    fn other_names_have_other_hashes() {
        let names = (0..1000).map(|number| format!("k{number}").parse().unwrap());
        let hashes: BTreeSet<u64> = names.map(|name| hash(&name)).collect();
        assert_eq!(hashes.len(), 1000);
    }

    #[test]
    fn crates_of_equal_hashes_lie_one_behind_the_other() {
        let mut crates = Crates::default();
        for name in ["a", "b", "c"] {
            let krate = krate(name, 1);
            let (place, found) = crates.find(&krate.name, 7);
            assert!(found.is_none());
            crates.0.insert(place, krate);
        }
        for (number, name) in ["A", "b", "c"].into_iter().enumerate() {
            let (place, found) = crates.find(&name.parse().unwrap(), 7);
            assert_eq!((place.hash, place.number as usize), (7, number));
            assert_eq!(found.unwrap().name.to_string(), name.to_lowercase());
        }
        assert!(crates.find(&"d".parse().unwrap(), 7).1.is_none());
    }
}
