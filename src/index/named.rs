//! Whom a state of the index names as owners: whether they are the ones who are called so, a forge knows.

use std::collections::{BTreeSet, HashSet};

use crate::domain::{CrateName, IndexPath, Named, Owners};

use super::registry_files::POLICY_TOML;
use super::snapshot::Snapshot;

impl Snapshot {
    /// The owners of crates, and those who may create some, that an earlier state does not have in the same place, each
    /// once and with a file that names it.
    pub fn named_owners(&self, earlier: Option<&Self>) -> Vec<(Named, String)> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut add = |before: Option<&Owners>, owners: &Owners, file: String| {
            let known = before.into_iter().flat_map(Owners::each);
            let known: HashSet<Named> = known.collect();
            for owner in owners.each() {
                if !known.contains(&owner) && seen.insert(owner.clone()) {
                    found.push((owner, file.clone()));
                }
            }
        };
        if let Some(creators) = self.registry.policy.create.named() {
            let before = earlier.and_then(|earlier| earlier.registry.policy.create.named());
            add(before, creators, POLICY_TOML.to_owned());
        }
        for name in self.names_beyond(earlier) {
            if let Some(krate) = self.find(name) {
                let before = earlier.and_then(|earlier| earlier.find(name));
                let before = before.map(|krate| &*krate.owners);
                let file = IndexPath::of(&krate.name).owners_file();
                add(before, &krate.owners, file);
            }
        }
        found
    }

    fn names_beyond(&self, earlier: Option<&Self>) -> BTreeSet<&CrateName> {
        let changed = earlier.and_then(|earlier| self.changed_since(earlier.commit));
        match changed {
            Some(changed) => changed.collect(),
            None => self.crates().map(|krate| &krate.name).collect(),
        }
    }
}
