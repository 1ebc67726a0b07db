//! Reading the whole index from the repository: at the start, and never again.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gix::objs::TreeRefIter;
use gix::objs::tree::EntryKind;
use thiserror::Error;

use crate::domain::{CommitId, CrateName, IndexPath, Owners, Policy};

use super::object::Body;
use super::recent::Recent;
use super::registry_files::{
    ALLOWED_SIGNERS, CONFIG_JSON, Identity, OTHER_FILES, POLICY_TOML, REGISTRY_TOML, REVOKED_TOML,
    RegistryFiles,
};
use super::revoked::Revoked;
use super::snapshot::{Crate, Snapshot};
use super::tree::{Tree, Trees};
use super::writer::Tip;

/// The largest file of the index that is read, in bytes.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The repository cannot be served: something in it is missing, broken or foreign.
#[derive(Debug, Error)]
pub enum LoadFault {
    /// The repository or an object cannot be read.
    #[error("{what} cannot be read from the repository {git_dir}: {cause}")]
    Git {
        /// What was looked for.
        what: String,
        /// Where.
        git_dir: String,
        /// What the library says.
        cause: String,
    },
    /// A path that an index does not have.
    #[error("`{0}` does not belong into an index")]
    Foreign(String),
    /// A file that an index must have.
    #[error("`{0}` is missing from the index")]
    Missing(String),
    /// A file whose contents cannot be used.
    #[error("`{path}` in the index cannot be used: {reason}")]
    Broken {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// Reads the index at `commit`.
pub(super) fn load(git_dir: &Path, commit: CommitId) -> Result<Tip, LoadFault> {
    let mut loader = Loader::open(git_dir)?;
    loader.folder(&loader.root_of(commit)?, "")?;
    loader.finish(commit)
}

/// The identity in the repository, without reading the rest.
pub(super) fn identity(git_dir: &Path, commit: CommitId) -> Result<Identity, LoadFault> {
    parse_toml(REGISTRY_TOML, &top_file(git_dir, commit, REGISTRY_TOML)?)
}

/// The revoked tokens in the repository, without reading the rest.
pub(super) fn revoked(git_dir: &Path, commit: CommitId) -> Result<Revoked, LoadFault> {
    parse_revoked(&top_file(git_dir, commit, REVOKED_TOML)?)
}

fn top_file(git_dir: &Path, commit: CommitId, name: &str) -> Result<Vec<u8>, LoadFault> {
    let loader = Loader::open(git_dir)?;
    let root = loader.object(
        &loader.root_of(commit)?,
        gix::objs::Kind::Tree,
        "the root folder",
    )?;
    let entry = TreeRefIter::from_bytes(&root, gix::hash::Kind::Sha1)
        .filter_map(Result::ok)
        .find(|entry| entry.filename == name)
        .ok_or_else(|| LoadFault::Missing(name.to_owned()))?;
    loader.object(entry.oid, gix::objs::Kind::Blob, name)
}

struct Loader {
    repository: gix::Repository,
    git_dir: String,
    trees: Trees,
    /// Index path, lines and body of every crate.
    lines: Vec<(CrateName, Vec<u8>, Body)>,
    owners: std::collections::HashMap<IndexPath, Arc<Owners>>,
    /// Owners files with the same bytes share their parsed form.
    owners_seen: std::collections::HashMap<gix::ObjectId, Arc<Owners>>,
    registry: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Loader {
    fn open(git_dir: &Path) -> Result<Self, LoadFault> {
        let repository =
            gix::open_opts(git_dir, gix::open::Options::isolated()).map_err(|error| {
                LoadFault::Git {
                    what: "its configuration".to_owned(),
                    git_dir: git_dir.display().to_string(),
                    cause: error.to_string(),
                }
            })?;
        Ok(Self {
            repository,
            git_dir: git_dir.display().to_string(),
            trees: Trees::default(),
            lines: Vec::new(),
            owners: Default::default(),
            owners_seen: Default::default(),
            registry: Default::default(),
        })
    }

    fn root_of(&self, commit: CommitId) -> Result<gix::ObjectId, LoadFault> {
        let id = gix::ObjectId::from_bytes_or_panic(commit.as_bytes());
        let bytes = self.object(
            &id,
            gix::objs::Kind::Commit,
            &format!("the commit {commit}"),
        )?;
        gix::objs::CommitRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1)
            .tree_id()
            .map_err(|error| self.fault(&format!("the commit {commit}"), &error))
    }

    fn object(
        &self,
        id: &gix::oid,
        kind: gix::objs::Kind,
        what: &str,
    ) -> Result<Vec<u8>, LoadFault> {
        let header = self
            .repository
            .find_header(id)
            .map_err(|error| self.fault(what, &error))?;
        if header.kind() != kind || header.size() > FILE_BYTES_MAX {
            let reason = format!("it is a {} of {} bytes", header.kind(), header.size());
            return Err(LoadFault::Broken {
                path: what.to_owned(),
                reason,
            });
        }
        let object = self
            .repository
            .find_object(id)
            .map_err(|error| self.fault(what, &error))?;
        Ok(object.detach().data)
    }

    fn fault(&self, what: &str, error: &dyn std::error::Error) -> LoadFault {
        LoadFault::Git {
            what: what.to_owned(),
            git_dir: self.git_dir.clone(),
            cause: error.to_string(),
        }
    }

    fn folder(&mut self, id: &gix::oid, path: &str) -> Result<(), LoadFault> {
        // The deepest path is `owners/ab/cd/abcd.toml`.
        if path.matches('/').count() > 2 {
            return Err(LoadFault::Foreign(path.to_owned()));
        }
        let bytes = self.object(id, gix::objs::Kind::Tree, &format!("the folder `{path}`"))?;
        for entry in TreeRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1) {
            let entry =
                entry.map_err(|error| self.fault(&format!("the folder `{path}`"), &error))?;
            let name = String::from_utf8_lossy(entry.filename);
            let below = if path.is_empty() {
                name.into_owned()
            } else {
                format!("{path}/{name}")
            };
            match entry.mode.kind() {
                EntryKind::Tree => self.folder(entry.oid, &below)?,
                EntryKind::Blob => self.file(entry.oid, below)?,
                _ => return Err(LoadFault::Foreign(below)),
            }
        }
        self.trees.insert(path, Tree::from_git(bytes));
        Ok(())
    }

    fn file(&mut self, id: &gix::oid, path: String) -> Result<(), LoadFault> {
        if let Some(owned) = path
            .strip_prefix("owners/")
            .and_then(|path| path.strip_suffix(".toml"))
        {
            return self.owners_file(id, owned, &path);
        }
        let bytes = self.object(id, gix::objs::Kind::Blob, &path)?;
        if let Some(name) = IndexPath::crate_at(&path) {
            let body = Body::new(&bytes);
            self.lines.push((name, bytes, body));
        } else {
            self.registry.insert(path, bytes);
        }
        Ok(())
    }

    fn owners_file(&mut self, id: &gix::oid, owned: &str, path: &str) -> Result<(), LoadFault> {
        let name = IndexPath::crate_at(owned).ok_or_else(|| LoadFault::Foreign(path.to_owned()))?;
        let owners = match self.owners_seen.get(id) {
            Some(owners) => Arc::clone(owners),
            None => {
                let bytes = self.object(id, gix::objs::Kind::Blob, path)?;
                let text = std::str::from_utf8(&bytes).map_err(|error| broken(path, &error))?;
                let owners = Arc::new(Owners::parse(text).map_err(|fault| broken(path, &fault))?);
                self.owners_seen.insert(id.to_owned(), Arc::clone(&owners));
                owners
            }
        };
        self.owners.insert(IndexPath::of(&name), owners);
        Ok(())
    }

    fn finish(mut self, commit: CommitId) -> Result<Tip, LoadFault> {
        let mut crates = imbl::HashMap::new();
        for (name, bytes, body) in std::mem::take(&mut self.lines) {
            let path = IndexPath::of(&name);
            let owners = self
                .owners
                .remove(&path)
                .ok_or_else(|| LoadFault::Missing(path.owners_file()))?;
            let krate = Crate::read(&bytes, body, owners)
                .map_err(|fault| broken(path.as_str(), &fault))?
                .ok_or_else(|| broken(path.as_str(), &"it has no line"))?;
            if IndexPath::of(&krate.name) != path {
                let reason = format!("it holds the crate `{}`", krate.name);
                return Err(broken(path.as_str(), &reason));
            }
            if crates
                .insert(krate.name.canonical(), Arc::new(krate))
                .is_some()
            {
                return Err(broken(
                    path.as_str(),
                    &"another crate differs from it only in `-` and `_`",
                ));
            }
        }
        if let Some(path) = self.owners.keys().next() {
            return Err(LoadFault::Missing(path.to_string()));
        }
        let registry = Arc::new(self.registry_files()?);
        let trees = self.trees;
        Ok(Tip {
            snapshot: Snapshot {
                commit,
                crates,
                registry,
                recent: Recent::default(),
            },
            trees,
        })
    }

    fn registry_files(&mut self) -> Result<RegistryFiles, LoadFault> {
        let identity: Identity = parse_toml(REGISTRY_TOML, &self.take(REGISTRY_TOML)?)?;
        let policy = self.take(POLICY_TOML)?;
        let policy = std::str::from_utf8(&policy).map_err(|error| broken(POLICY_TOML, &error))?;
        let files = RegistryFiles {
            config_json: Body::new(&self.take(CONFIG_JSON)?),
            policy: Policy::parse(policy).map_err(|fault| broken(POLICY_TOML, &fault))?,
            allowed_signers: Bytes::from(self.take(ALLOWED_SIGNERS)?),
            revoked: Arc::new(parse_revoked(&self.take(REVOKED_TOML)?)?),
            identity,
        };
        for path in OTHER_FILES {
            self.take(path)?;
        }
        match self.registry.pop_first() {
            Some((path, _)) => Err(LoadFault::Foreign(path)),
            None => Ok(files),
        }
    }

    fn take(&mut self, path: &str) -> Result<Vec<u8>, LoadFault> {
        self.registry
            .remove(path)
            .ok_or_else(|| LoadFault::Missing(path.to_owned()))
    }
}

fn parse_revoked(bytes: &[u8]) -> Result<Revoked, LoadFault> {
    Revoked::parse(bytes).map_err(|fault| broken(REVOKED_TOML, &fault))
}

fn parse_toml<T: serde::de::DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, LoadFault> {
    let text = std::str::from_utf8(bytes).map_err(|error| broken(path, &error))?;
    toml::from_str(text).map_err(|error| broken(path, &error.message()))
}

fn broken(path: &str, reason: &dyn ToString) -> LoadFault {
    LoadFault::Broken {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
