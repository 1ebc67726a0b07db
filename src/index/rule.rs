//! The rule of the index: which step it may take from one commit to the next.
//!
//! Only the registry adds lines, and a line never changes but for `yanked`; people may change `yanked`, owners, policy
//! and what is for people to read, and nothing else. The rule is one pure function of the state before and the files
//! that differ. The writer asks it about its own commits and about those that people made, the git hooks before they
//! let a push in, and `verify` about the whole history.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod lines;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::domain::{
    Cksum, CommitId, CrateName, IndexFile, IndexPath, Owners, Policy, harmless, read_document,
};

use super::object::{Body, Collision};
use super::registry_files::{
    ALLOWED_SIGNERS, CONFIG_JSON, Identity, OTHER_FILES, POLICY_TOML, REGISTRY_TOML, REVOKED_TOML,
    RegistryFiles,
};
use super::revoked::Revoked;
use super::snapshot::{Crate, Snapshot};

pub(super) use lines::LineStep;
pub use lines::LineViolation;

/// The longest reason why a file cannot be used, in characters.
const REASON_CHARS_MAX: usize = 500;

/// Who made a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The registry: the commit bears a signature that the state before it trusts.
    Registry,
    /// Anybody else.
    People,
}

/// A file that a step adds or gives other bytes.
#[derive(Debug)]
pub(super) struct FileChange {
    /// Where it lies, with `/` between folders.
    pub(super) path: String,
    /// Its new bytes.
    pub(super) bytes: Vec<u8>,
    /// The same, as they are served.
    pub(super) body: Body,
}

/// What a step that the rule allows makes of the state before it.
#[derive(Debug)]
pub(super) struct Step {
    /// The crates that are new or changed, as they are afterwards, each with what happened to its lines.
    pub(super) crates: Vec<(Arc<Crate>, Vec<LineStep>)>,
    /// The files that are not about one crate, as they are afterwards, if any of them differs.
    pub(super) registry: Option<Arc<RegistryFiles>>,
    by: By,
}

/// What the index may not do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// Something that no index has.
    #[error("`{0}` does not belong into an index; take it out")]
    Foreign(String),
    /// A link, a program or a submodule.
    #[error("`{0}` is not a plain file; an index holds nothing else")]
    NotAFile(String),
    /// A file or folder that was there.
    #[error("`{0}` was removed; put it back")]
    Removed(String),
    /// A file that only the registry writes.
    #[error("`{0}` was changed, which only the registry itself may do; put it back as it was")]
    OfTheRegistry(String),
    /// A file that cannot be read for what it should be.
    #[error("`{path}` cannot be used: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A registry remains itself.
    #[error("`registry.toml` names another registry; `id`, `name` and `blob_store` never change")]
    OtherRegistry,
    /// A new crate of which nobody is owner.
    #[error("the crate `{0}` is new but has no file of owners")]
    NoOwners(CrateName),
    /// Owners of a crate that is not there.
    #[error("`{0}` names the owners of a crate that is not in the index; take it out")]
    OwnersOfNothing(String),
    /// A crate whose name readers would confuse with another.
    #[error("`{path}` is the file of a crate that differs from `{existing}` only in `-` and `_`")]
    Twin {
        /// The new file.
        path: String,
        /// The crate that is there.
        existing: CrateName,
    },
    /// A line.
    #[error("`{path}`{fault}")]
    Line {
        /// The file.
        path: String,
        /// What is wrong with it.
        fault: LineViolation,
    },
}

impl Violation {
    /// The file that it is about, if it is one.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Self::Foreign(path)
            | Self::NotAFile(path)
            | Self::Removed(path)
            | Self::OfTheRegistry(path)
            | Self::OwnersOfNothing(path)
            | Self::Unreadable { path, .. }
            | Self::Twin { path, .. }
            | Self::Line { path, .. } => Some(path),
            Self::OtherRegistry => Some(REGISTRY_TOML),
            Self::NoOwners(_) => None,
        }
    }

    /// What makes a branch good again whose commit does this.
    pub(super) fn cure(&self) -> &'static str {
        // A revert would drop the line.
        self.lost_file().unwrap_or("revert it")
    }

    /// What lets a commit in that does this and is on no branch yet.
    pub(super) fn amendment(&self) -> &'static str {
        self.lost_file().unwrap_or("amend the commit")
    }

    /// What is to be done if it is no fault of the commit but of the store.
    fn lost_file(&self) -> Option<&'static str> {
        match self {
            Self::Line {
                fault: LineViolation::NoBlob { .. },
                ..
            } => {
                Some("publish the very same file again, or put it back from a backup of the store")
            }
            _ => None,
        }
    }
}

impl FileChange {
    /// A file with these bytes.
    pub(super) fn new(path: String, bytes: Vec<u8>) -> Result<Self, Collision> {
        let body = Body::new(&bytes)?;
        Ok(Self { path, bytes, body })
    }
}

impl Step {
    /// The state after the step, at `commit`.
    pub(super) fn apply(self, on: &Snapshot, commit: CommitId) -> Snapshot {
        let mut next = on.clone();
        next.commit = commit;
        let mut changed = Vec::with_capacity(self.crates.len());
        let mut is_reworked = self.by == By::People;
        for (krate, _) in self.crates {
            changed.push(krate.name.clone());
            let owners = Arc::clone(&krate.owners);
            let before = next.crates.insert(krate);
            is_reworked |= before.is_some_and(|before| !Arc::ptr_eq(&before.owners, &owners));
        }
        if is_reworked {
            next.reworked = commit;
        }
        if self.by == By::People {
            next.by_people = commit;
        }
        if let Some(registry) = self.registry {
            next.registry = registry;
        }
        next.recent.add(on.commit, changed);
        next
    }
}

/// Judges the step that turns the state `on` into one in which `files` have other bytes.
///
/// `has_blob` tells whether a `.crate` file is there.
pub(super) fn step(
    on: &Snapshot,
    files: &[FileChange],
    by: By,
    has_blob: &dyn Fn(&Cksum) -> bool,
) -> Result<Step, Violation> {
    let mut sorted = Sorted::default();
    for file in files {
        sorted.add(file, by)?;
    }
    let registry = sorted.registry(on.registry())?;
    let mut crates = Vec::new();
    for (name, (lines, owners)) in sorted.crates {
        crates.push(krate(on, &name, lines, owners, by, has_blob)?);
    }
    // Two that are new in one step may be twins of each other.
    let mut seen = HashMap::new();
    for (krate, _) in &crates {
        if let Some(existing) = seen.insert(krate.name.canonical(), krate.name.clone()) {
            let path = IndexPath::of(&krate.name).to_string();
            return Err(Violation::Twin { path, existing });
        }
    }
    Ok(Step {
        crates,
        registry,
        by,
    })
}

/// The files of a step by what they are.
#[derive(Default)]
struct Sorted<'a> {
    /// Lines and owners of each crate, by its name as the path has it.
    crates: BTreeMap<CrateName, (Option<&'a FileChange>, Option<&'a FileChange>)>,
    others: Vec<&'a FileChange>,
}

impl<'a> Sorted<'a> {
    fn add(&mut self, file: &'a FileChange, by: By) -> Result<(), Violation> {
        let path = file.path.as_str();
        if let Some(name) = owned_crate(path) {
            self.crates.entry(name).or_default().1 = Some(file);
        } else if let Some(name) = IndexPath::crate_at(path) {
            self.crates.entry(name).or_default().0 = Some(file);
        } else if is_of_the_registry(path) {
            if by == By::People {
                return Err(Violation::OfTheRegistry(path.to_owned()));
            }
            self.others.push(file);
        } else if path == POLICY_TOML || OTHER_FILES.contains(&path) {
            self.others.push(file);
        } else {
            return Err(Violation::Foreign(path.to_owned()));
        }
        Ok(())
    }

    /// The files that are not about one crate, if any of them differs.
    fn registry(&self, on: &RegistryFiles) -> Result<Option<Arc<RegistryFiles>>, Violation> {
        let mut next = on.clone();
        for file in &self.others {
            let unreadable = |reason: String| unreadable(file, &reason);
            let text = || text_of(file);
            match file.path.as_str() {
                CONFIG_JSON => next.config_json = file.body.clone(),
                ALLOWED_SIGNERS => next.allowed_signers = Bytes::from(file.bytes.clone()),
                REGISTRY_TOML => {
                    next.identity =
                        read_document(text()?).map_err(|fault| unreadable(fault.to_string()))?;
                }
                REVOKED_TOML => {
                    let revoked = Revoked::parse(&file.bytes);
                    next.revoked =
                        Arc::new(revoked.map_err(|fault| unreadable(fault.to_string()))?);
                }
                POLICY_TOML => {
                    let policy = Policy::parse(text()?);
                    next.policy = policy.map_err(|fault| unreadable(fault.to_string()))?;
                }
                _ => {}
            }
        }
        let of = |identity: &Identity| (identity.id, identity.name.clone(), identity.blob_store);
        if of(&on.identity) != of(&next.identity) {
            return Err(Violation::OtherRegistry);
        }
        Ok((!self.others.is_empty()).then(|| Arc::new(next)))
    }
}

/// Whether an index can have a file at `path`.
pub(super) fn has_place(path: &str) -> bool {
    owned_crate(path).is_some()
        || IndexPath::crate_at(path).is_some()
        || is_of_the_registry(path)
        || path == POLICY_TOML
        || OTHER_FILES.contains(&path)
}

/// The crate whose owners stand at `path`, as the path spells it.
pub(super) fn owned_crate(path: &str) -> Option<CrateName> {
    let path = path.strip_prefix("owners/")?.strip_suffix(".toml")?;
    IndexPath::crate_at(path)
}

fn is_of_the_registry(path: &str) -> bool {
    [CONFIG_JSON, REGISTRY_TOML, ALLOWED_SIGNERS, REVOKED_TOML].contains(&path)
}

/// One crate after the step.
fn krate(
    on: &Snapshot,
    name: &CrateName,
    lines: Option<&FileChange>,
    owners: Option<&FileChange>,
    by: By,
    has_blob: &dyn Fn(&Cksum) -> bool,
) -> Result<(Arc<Crate>, Vec<LineStep>), Violation> {
    let path = IndexPath::of(name);
    let existing = on.find(name);
    if let Some(twin) = existing.filter(|krate| IndexPath::of(&krate.name) != path) {
        return Err(Violation::Twin {
            path: path.to_string(),
            existing: twin.name.clone(),
        });
    }
    let new_owners = owners.map(read_owners).transpose()?.map(Arc::new);
    let Some(lines) = lines else {
        let krate = existing.ok_or_else(|| Violation::OwnersOfNothing(path.owners_file()))?;
        let owners = new_owners.unwrap_or_else(|| Arc::clone(&krate.owners));
        return Ok((Arc::new(krate.with_owners(owners)), Vec::new()));
    };
    let at_fault = |fault| Violation::Line {
        path: path.to_string(),
        fault,
    };
    let before = existing.map_or_else(Vec::new, |krate| krate.body.inflate());
    let steps =
        lines::steps(IndexFile::new(&before), IndexFile::new(&lines.bytes)).map_err(at_fault)?;
    lines::judge(&steps, name, existing.map(Arc::as_ref), by, has_blob).map_err(at_fault)?;

    let (mut krate, further) = match (existing, steps.split_first()) {
        (Some(krate), _) => (Crate::clone(krate), &steps[..]),
        (None, Some((LineStep::Added(line), further))) => {
            let owners = new_owners.as_ref();
            let owners = owners.ok_or_else(|| Violation::NoOwners(line.name.clone()))?;
            let krate = Crate::new(line, lines.body.clone(), Arc::clone(owners));
            (krate, further)
        }
        (None, _) => return Err(at_fault(LineViolation::Empty)),
    };
    krate.body = lines.body.clone();
    if let Some(owners) = new_owners {
        krate.owners = owners;
    }
    for step in further {
        match step {
            LineStep::Added(line) => krate.add(line),
            LineStep::Yanked { version, yanked } => krate.set_yanked(&version.key(), *yanked),
        }
    }
    Ok((Arc::new(krate), steps))
}

fn read_owners(file: &FileChange) -> Result<Owners, Violation> {
    let owners = Owners::parse(text_of(file)?).map_err(|fault| unreadable(file, &fault))?;
    match owners.names().is_empty() {
        true => Err(unreadable(file, &"a crate needs an owner")),
        false => Ok(owners),
    }
}

fn text_of(file: &FileChange) -> Result<&str, Violation> {
    std::str::from_utf8(&file.bytes).map_err(|error| unreadable(file, &error))
}

/// What is wrong with a file, fit for logs and answers: a parser quotes what it has read, however long it is.
fn unreadable(file: &FileChange, fault: &dyn ToString) -> Violation {
    Violation::Unreadable {
        path: file.path.clone(),
        reason: harmless(&fault.to_string().replace('\n', " "), REASON_CHARS_MAX),
    }
}

#[cfg(test)]
mod tests;
