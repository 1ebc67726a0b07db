//! What one commit changes, before it has a parent.

use crate::domain::{Actor, IndexPath, Owners};

use super::message::{Author, Message};
use super::object::{Body, Collision, PackObject};
use super::registry_files::{CONFIG_JSON, Identity, REGISTRY_TOML};
use super::rule::FileChange;
use super::snapshot::Snapshot;

/// A judged change.
pub(super) enum Verdict {
    /// All is as it was asked for; no commit is needed.
    Unchanged,
    /// This commit does it.
    Edit(Box<Edit>),
}

/// One commit before it has a parent.
pub(super) struct Edit {
    pub(super) author: Author,
    pub(super) message: Message,
    /// The files with other bytes.
    pub(super) files: Vec<FileChange>,
    /// The same for the pack.
    pub(super) objects: Vec<PackObject>,
}

impl Edit {
    /// The change of a person or of a job.
    pub(super) fn of_actor(by: &Actor, message: Message) -> Self {
        let author = match by {
            Actor::Local(login) => Author::Person(login.clone()),
            Actor::Person(person) => Author::Person(person.login.clone()),
            Actor::Job(job) => Author::Job(job.repository.clone()),
        };
        Self::new(author, message)
    }

    /// The registry's own change.
    pub(super) fn of_registry(message: Message) -> Self {
        Self::new(Author::Registry, message)
    }

    fn new(author: Author, message: Message) -> Self {
        Self {
            author,
            message,
            files: Vec::new(),
            objects: Vec::new(),
        }
    }

    /// The registry's own change: it has this identity from now on. `None` if that is the one it has.
    pub(super) fn configure(on: &Snapshot, identity: &Identity) -> Option<Self> {
        let changes = on.registry().identity.changes_to(identity);
        if changes.is_empty() {
            return None;
        }
        let edit = Self::of_registry(Message::new(changes.join(", ")))
            .with_own(CONFIG_JSON, identity.config_json())
            .with_own(REGISTRY_TOML, identity.to_toml().into_bytes());
        Some(edit)
    }

    /// Gives a file other bytes.
    pub(super) fn with(mut self, path: impl ToString, bytes: Vec<u8>) -> Result<Self, Collision> {
        let (body, object) = Body::with_object(&bytes)?;
        self.files.push(FileChange {
            path: path.to_string(),
            bytes,
            body,
        });
        self.objects.push(object);
        Ok(self)
    }

    /// Gives a file of the registry's own other bytes.
    pub(super) fn with_own(self, path: &str, bytes: Vec<u8>) -> Self {
        self.with(path, bytes)
            .expect("nobody but the operator chooses what these files hold")
    }

    /// Gives the crate at `path` these owners.
    pub(super) fn with_owners(self, path: &IndexPath, owners: &Owners) -> Result<Self, Collision> {
        self.with(path.owners_file(), owners.to_string().into_bytes())
    }
}
