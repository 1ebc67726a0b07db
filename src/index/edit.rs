//! What one commit changes, in the tree and in the snapshot.

use std::sync::Arc;

use crate::domain::{CommitId, IndexPath, Login, Owners};

use super::message::{Author, Message};
use super::object::{Body, PackObject};
use super::registry_files::{CONFIG_JSON, Identity, REGISTRY_TOML, RegistryFiles};
use super::snapshot::{Crate, Snapshot};

/// A judged change.
pub(super) enum Verdict {
    /// All is as it was asked for; no commit is needed.
    Unchanged,
    /// This commit does it.
    Edit(Box<Edit>),
}

/// One commit before it has a parent.
pub(super) struct Edit {
    pub(super) message: Message,
    pub(super) author: Author,
    pub(super) files: Vec<FileEdit>,
    after: After,
}

/// One file's new contents.
pub(super) struct FileEdit {
    pub(super) path: String,
    pub(super) object: PackObject,
}

/// What of the snapshot is new.
enum After {
    Crate(Arc<Crate>),
    Registry(Arc<RegistryFiles>),
}

impl FileEdit {
    /// A file with these bytes.
    pub(super) fn new(path: impl ToString, bytes: &[u8]) -> (Body, Self) {
        let (body, object) = Body::with_object(bytes);
        (
            body,
            Self {
                path: path.to_string(),
                object,
            },
        )
    }

    /// The file that says who owns the crate at `path`.
    pub(super) fn owners(path: &IndexPath, owners: &Owners) -> Self {
        Self::new(path.owners_file(), owners.to_string().as_bytes()).1
    }
}

impl Edit {
    /// A person's change of one crate.
    pub(super) fn of_crate(
        by: &Login,
        message: Message,
        files: Vec<FileEdit>,
        krate: Crate,
    ) -> Self {
        Self {
            message,
            author: Author::Person(by.clone()),
            files,
            after: After::Crate(Arc::new(krate)),
        }
    }

    /// The registry's own change: it has this identity from now on. `None` if that is the one it has.
    pub(super) fn configure(on: &Snapshot, identity: Identity) -> Option<Self> {
        let changes = on.registry().identity.changes_to(&identity);
        if changes.is_empty() {
            return None;
        }
        let (config_json, config_file) = FileEdit::new(CONFIG_JSON, &identity.config_json());
        let (_, identity_file) = FileEdit::new(REGISTRY_TOML, identity.to_toml().as_bytes());
        let after = RegistryFiles {
            identity,
            config_json,
            ..on.registry().clone()
        };
        let message = Message::new(changes.join(", "));
        let files = vec![config_file, identity_file];
        Some(Self::of_registry(message, files, after))
    }

    /// The registry's own change of its files: `files` are the new ones, `after` is what they hold.
    pub(super) fn of_registry(
        message: Message,
        files: Vec<FileEdit>,
        after: RegistryFiles,
    ) -> Self {
        Self {
            message,
            author: Author::Registry,
            files,
            after: After::Registry(Arc::new(after)),
        }
    }

    /// The snapshot after this commit.
    pub(super) fn apply(&self, on: &Snapshot, commit: CommitId) -> Snapshot {
        let mut next = on.clone();
        next.commit = commit;
        let changed = match &self.after {
            After::Crate(krate) => {
                let name = krate.name.canonical();
                next.crates.insert(name.clone(), Arc::clone(krate));
                Some(name)
            }
            After::Registry(registry) => {
                next.registry = Arc::clone(registry);
                None
            }
        };
        next.recent.add(on.commit, changed);
        next
    }
}
