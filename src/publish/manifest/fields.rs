//! A table whose keys are taken one by one, noting what is wrong with them.

use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::{Table, Value};

use super::{ManifestFault, is_inherited};
use crate::publish::faults::{Faults, quoted};

/// What is wrong with a key of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// Its value is of another type than Cargo knows there.
    #[error("must be {0}")]
    Type(&'static str),
    /// It is there in both spellings: programs take the one or the other.
    #[error("is there twice, with `-` and with `_`; only `-` should be used")]
    SpelledTwice,
}

/// A table and the faults of the keys that were taken from it.
pub(super) struct Fields {
    table: Table,
    /// Keys that a workspace has: they are not missing.
    inherited: Vec<String>,
    faults: Vec<(String, KeyFault)>,
}

impl Fields {
    pub(super) fn new(table: Table) -> Self {
        Self {
            table,
            inherited: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Takes out the keys whose values only a workspace knows, and names them.
    pub(super) fn remove_inherited(&mut self) -> &[String] {
        let inherited = self.table.iter().filter(|(_, value)| is_inherited(value));
        self.inherited = inherited.map(|(key, _)| key.clone()).collect();
        self.table.retain(|_, value| !is_inherited(value));
        &self.inherited
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key, whatever it is.
    pub(super) fn remove(&mut self, key: &str) -> Option<Value> {
        self.table.remove(key)
    }

    /// The value of a key; `expected` names its type.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &'static str,
    ) -> Option<T> {
        let value = self.table.remove(key)?;
        match value.try_into() {
            Ok(value) => Some(value),
            Err(_) => {
                self.faults.push((quoted(key), KeyFault::Type(expected)));
                None
            }
        }
    }

    /// Notes that the value of a key, already taken, is of the wrong type.
    pub(super) fn wrong(&mut self, key: &str, expected: &'static str) {
        self.faults.push((key.to_owned(), KeyFault::Type(expected)));
    }

    /// As [`Fields::take`], for a key that must be there.
    pub(super) fn need<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &'static str,
    ) -> Option<T> {
        if !self.has(key) && !self.inherited.iter().any(|inherited| inherited == key) {
            self.faults.push((key.to_owned(), KeyFault::Missing));
        }
        self.take(key, expected)
    }

    /// As [`Fields::take`], for a key that Cargo also reads with `_` in place of `-`.
    pub(super) fn take_spelled<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &'static str,
    ) -> Option<T> {
        let underscored = key.replace('-', "_");
        if underscored == key || !self.has(&underscored) {
            return self.take(key, expected);
        }
        if self.remove(key).is_some() {
            self.faults.push((key.to_owned(), KeyFault::SpelledTwice));
        }
        self.take(&underscored, expected)
    }

    /// The faults so far, each with its key.
    pub(super) fn faults(self) -> Vec<(String, KeyFault)> {
        self.faults
    }

    /// Adds the faults to those of the manifest; `prefix` is where in the manifest the table is.
    pub(super) fn report(self, prefix: &str, faults: &mut Faults<ManifestFault>) {
        for (key, fault) in self.faults {
            let key = format!("{prefix}{key}");
            faults.add(ManifestFault::Key { key, fault });
        }
    }
}
