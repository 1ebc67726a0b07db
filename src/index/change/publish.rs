//! A new version, judged by all that the index knows.

use std::sync::Arc;

use super::{Change, Refusal, plain};
use crate::domain::{Can, CrateName, IndexFile, IndexLine, IndexPath, Owners, PlainText, Policy};
use crate::index::dependencies;
use crate::index::edit::Verdict;
use crate::index::message::Message;
use crate::index::snapshot::{Crate, Snapshot};

/// The largest index file, in bytes: some hundred thousand versions of an ordinary crate.
pub(super) const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Change {
    pub(super) fn publish(
        &self,
        on: &Snapshot,
        line: &IndexLine,
        source_commit: Option<&PlainText>,
        policy: &Policy,
    ) -> Result<Verdict, Refusal> {
        if let Some(refusal) = self.against_publish(on, line, policy).into_iter().next() {
            return Err(refusal);
        }
        let existing = on.find(&line.name);
        let before = existing.map_or_else(Vec::new, |krate| krate.body.inflate());
        let bytes = IndexFile::new(&before).with(line);
        check_size(&line.name, bytes.len())?;
        let mut message = Message::new(format!("publish {} {}", line.name, line.vers))
            .with("Crate", plain(&line.name))
            .with("Version", plain(&line.vers))
            .with("Cksum", plain(&line.cksum))
            .with("Published-by", self.by.actor.name());
        if let Some(commit) = source_commit {
            message = message.with("Source-commit", commit.clone());
        }
        let path = IndexPath::of(&line.name);
        let mut edit = self.edit(message).with(&path, bytes)?;
        if existing.is_none() {
            edit = edit.with_owners(&path, &Owners::first_of(&self.by.actor))?;
        }
        Ok(Verdict::Edit(Box::new(edit)))
    }

    /// All that is against a new version: its name, the caller's right, its number, what it depends on.
    ///
    /// Who lacks the right is not told what else the index holds, and the very version that is there stands alone.
    pub(super) fn against_publish(
        &self,
        on: &Snapshot,
        line: &IndexLine,
        policy: &Policy,
    ) -> Vec<Refusal> {
        if let Err(refusal) = self.token_must_be_good(on) {
            return vec![refusal];
        }
        let existing = on.find(&line.name);
        let mut refusals: Vec<Refusal> =
            against_name(on, existing, &line.name).into_iter().collect();
        let right = match existing {
            Some(krate) => self.must_be_admitted(krate, Can::Publish),
            None => self.may_create(on),
        };
        if let Err(refusal) = right {
            refusals.push(refusal);
            return refusals;
        }
        if let Some(krate) = existing
            && let Some(release) = krate.release(&line.vers.key())
        {
            let name = krate.name.clone();
            let version = release.version.clone();
            let is_same = release.cksum == line.cksum && version == line.vers;
            if is_same && name == line.name {
                return vec![Refusal::SameVersion { name, version }];
            }
            refusals.push(Refusal::VersionTaken { name, version });
        }
        if !on.registry().policy.judges_manifests_as(policy) {
            refusals.push(Refusal::PolicyChanged);
        }
        if on.registry().policy.require.known_dependencies {
            let missing = dependencies::missing_of(line, on).into_iter();
            refusals.extend(missing.map(Refusal::Dependency));
        }
        refusals
    }

    fn may_create(&self, on: &Snapshot) -> Result<(), Refusal> {
        match on.registry().policy.create.named() {
            Some(creators) if !creators.admit(&self.by, Can::Publish) => {
                let (who, creators) = self.in_words(creators, Can::Publish);
                Err(Refusal::MayNotCreate { who, creators })
            }
            _ => Ok(()),
        }
    }
}

fn check_size(name: &CrateName, bytes: usize) -> Result<(), Refusal> {
    match bytes <= FILE_BYTES_MAX {
        true => Ok(()),
        false => Err(Refusal::FileTooLarge(name.clone())),
    }
}

/// What is against a name: another spelling of it, or that nobody may take it.
fn against_name(
    on: &Snapshot,
    existing: Option<&Arc<Crate>>,
    wanted: &CrateName,
) -> Option<Refusal> {
    let wanted = wanted.clone();
    match existing {
        Some(krate) if krate.name == wanted => None,
        Some(krate) => Some(Refusal::SpelledOtherwise {
            wanted,
            existing: krate.name.clone(),
        }),
        None => match wanted.reserved() {
            Some(why) => Some(Refusal::ReservedName { name: wanted, why }),
            None if on.registry().policy.reserves(&wanted) => {
                Some(Refusal::ReservedByPolicy(wanted))
            }
            None => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_file_has_at_most_64_mebibytes() {
        let name: CrateName = "a".parse().unwrap();
        assert_eq!(check_size(&name, 64 << 20), Ok(()));
        let fault = Refusal::FileTooLarge(name.clone());
        for bytes in [(64 << 20) + 1, usize::MAX] {
            assert_eq!(check_size(&name, bytes), Err(fault.clone()));
        }
    }
}
