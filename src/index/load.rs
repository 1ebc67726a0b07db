//! Reading the whole index from the repository: at the start, and never again.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gix::objs::Kind;
use thiserror::Error;

use crate::domain::{CommitId, CrateName, IndexPath, Owners, Policy};

use super::object::Body;
use super::objects::Objects;
use super::recent::Recent;
use super::registry_files::{
    ALLOWED_SIGNERS, CONFIG_JSON, Identity, OTHER_FILES, POLICY_TOML, REGISTRY_TOML, REVOKED_TOML,
    RegistryFiles,
};
use super::revoked::Revoked;
use super::snapshot::{Crate, Snapshot};
use super::tree::{Mode, Tree, Trees};
use super::writer::Tip;

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
    load_from(Objects::open(git_dir)?, commit)
}

/// As [`load`], from objects that may be read with more care.
pub(super) fn load_from(objects: Objects, commit: CommitId) -> Result<Tip, LoadFault> {
    let mut loader = Loader::of(objects);
    let root = loader.objects.commit(commit)?.tree;
    loader.folder(root.as_bytes(), "")?;
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
    let objects = Objects::open(git_dir)?;
    let root = objects.commit(commit)?.tree;
    let root = Tree::from_git(objects.read(root.as_bytes(), Kind::Tree, "the root folder")?);
    let entries = root.entries().unwrap_or_default();
    let entry = entries
        .iter()
        .find(|entry| entry.name == name.as_bytes())
        .ok_or_else(|| LoadFault::Missing(name.to_owned()))?;
    objects.read(&entry.id, Kind::Blob, name)
}

struct Loader {
    objects: Objects,
    trees: Trees,
    /// Index path, lines and body of every crate.
    lines: Vec<(CrateName, Vec<u8>, Body)>,
    owners: std::collections::HashMap<IndexPath, Arc<Owners>>,
    /// Owners files with the same bytes share their parsed form.
    owners_seen: std::collections::HashMap<[u8; 20], Arc<Owners>>,
    registry: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Loader {
    fn of(objects: Objects) -> Self {
        Self {
            objects,
            trees: Trees::default(),
            lines: Vec::new(),
            owners: Default::default(),
            owners_seen: Default::default(),
            registry: Default::default(),
        }
    }

    fn folder(&mut self, id: &[u8; 20], path: &str) -> Result<(), LoadFault> {
        // The deepest path is `owners/ab/cd/abcd.toml`.
        if path.matches('/').count() > 2 {
            return Err(LoadFault::Foreign(path.to_owned()));
        }
        let what = format!("the folder `{path}`");
        let tree = Tree::from_git(self.objects.read(id, Kind::Tree, &what)?);
        let entries = tree
            .entries()
            .ok_or_else(|| broken(path, &"it is not a folder as git writes it"))?;
        for entry in entries {
            let name = String::from_utf8_lossy(entry.name);
            let below = match path.is_empty() {
                true => name.into_owned(),
                false => format!("{path}/{name}"),
            };
            match entry.mode {
                Some(Mode::Folder) => self.folder(&entry.id, &below)?,
                Some(Mode::File) => self.file(&entry.id, below)?,
                None => return Err(LoadFault::Foreign(below)),
            }
        }
        self.trees.insert(path, tree);
        Ok(())
    }

    fn file(&mut self, id: &[u8; 20], path: String) -> Result<(), LoadFault> {
        if let Some(owned) = path
            .strip_prefix("owners/")
            .and_then(|path| path.strip_suffix(".toml"))
        {
            return self.owners_file(id, owned, &path);
        }
        let bytes = self.objects.read(id, Kind::Blob, &path)?;
        if let Some(name) = IndexPath::crate_at(&path) {
            let body = Body::new(&bytes).map_err(|fault| broken(&path, &fault))?;
            self.lines.push((name, bytes, body));
        } else {
            self.registry.insert(path, bytes);
        }
        Ok(())
    }

    fn owners_file(&mut self, id: &[u8; 20], owned: &str, path: &str) -> Result<(), LoadFault> {
        let name = IndexPath::crate_at(owned).ok_or_else(|| LoadFault::Foreign(path.to_owned()))?;
        let owners = match self.owners_seen.get(id) {
            Some(owners) => Arc::clone(owners),
            None => {
                let bytes = self.objects.read(id, Kind::Blob, path)?;
                let text = std::str::from_utf8(&bytes).map_err(|error| broken(path, &error))?;
                let owners = Arc::new(Owners::parse(text).map_err(|fault| broken(path, &fault))?);
                self.owners_seen.insert(*id, Arc::clone(&owners));
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
            config_json: Body::new(&self.take(CONFIG_JSON)?)
                .map_err(|fault| broken(CONFIG_JSON, &fault))?,
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
