//! Reading the whole index from the repository: at the start, and never again.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use gix::objs::Kind;
use thiserror::Error;

use crate::domain::{BlobId, CommitId, CrateName, IndexPath, Owners, Policy, read_document};

use super::crates::Crates;
use super::damage;
use super::kept::Kept;
use super::object::{Body, Shelf};
use super::objects::{Objects, Source};
use super::recent::Recent;
use super::registry_files::{
    ALLOWED_SIGNERS, CONFIG_JSON, Identity, OTHER_FILES, POLICY_TOML, REGISTRY_TOML, REVOKED_TOML,
    RegistryFiles,
};
use super::revoked::Revoked;
use super::snapshot::{Crate, Snapshot};
use super::tree::{self, Mode, Tree, Trees};
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
    /// It may be in a file that this user may not read.
    #[error("{what} cannot be read: {cause}; {}", damage::opening(.git_dir))]
    Closed {
        /// What was looked for.
        what: String,
        /// In which repository.
        git_dir: PathBuf,
        /// Which file is closed.
        cause: io::Error,
    },
    /// A path that an index does not have.
    #[error("`{0}` does not belong into an index")]
    Foreign(String),
    /// A file that an index must have.
    #[error("`{0}` is missing from the index")]
    Missing(String),
    /// A file that is larger than any of an index.
    #[error(
        "`{path}` in the index cannot be used: it has {bytes} bytes, and none has more than {max}"
    )]
    TooLarge {
        /// The file.
        path: String,
        /// How large it is.
        bytes: u64,
        /// How large one may be.
        max: u64,
    },
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
    Ok(load_with(objects, commit, &Kept::default())?.0)
}

/// As [`load_from`], and tells how many index files were not among those that are known from before.
pub(super) fn load_with(
    objects: Objects,
    commit: CommitId,
    kept: &Kept,
) -> Result<(Tip, usize), LoadFault> {
    let mut loader = Loader::of(objects);
    let root = loader.objects.commit(commit)?.tree;
    loader.folder(root.as_bytes(), "")?;
    loader.finish(commit, kept)
}

/// The identity in the repository, without reading the rest.
pub(super) fn identity(git_dir: &Path, commit: CommitId) -> Result<Identity, LoadFault> {
    parse_toml(REGISTRY_TOML, &top_file(git_dir, commit, REGISTRY_TOML)?)
}

/// The revoked tokens in the repository, without reading the rest.
pub(super) fn revoked(git_dir: &Path, commit: CommitId) -> Result<Revoked, LoadFault> {
    parse_revoked(&top_file(git_dir, commit, REVOKED_TOML)?)
}

/// The keys that the repository trusts, without reading the rest.
pub(super) fn allowed_signers(git_dir: &Path, commit: CommitId) -> Result<Vec<u8>, LoadFault> {
    top_file(git_dir, commit, ALLOWED_SIGNERS)
}

fn top_file(git_dir: &Path, commit: CommitId, name: &str) -> Result<Vec<u8>, LoadFault> {
    let objects = Objects::open(git_dir)?;
    let root = objects.commit(commit)?.tree;
    let root = Tree::from_git(&objects.read(root.as_bytes(), Kind::Tree, "the root folder")?);
    let entries = root.entries().unwrap_or_default();
    let entry = entries
        .iter()
        .find(|entry| entry.name == name.as_bytes())
        .ok_or_else(|| LoadFault::Missing(name.to_owned()))?;
    objects.read(&entry.id, Kind::Blob, name)
}

struct Loader {
    objects: Objects,
    /// Room for the folder that is being read.
    buffer: Vec<u8>,
    trees: Trees,
    /// Every index file by the name that its path has.
    files: Vec<(CrateName, BlobId)>,
    owners: HashMap<IndexPath, Arc<Owners>>,
    /// Owners files with the same bytes share their parsed form.
    owners_seen: HashMap<[u8; 20], Arc<Owners>>,
    registry: BTreeMap<String, Vec<u8>>,
}

impl Loader {
    fn of(objects: Objects) -> Self {
        Self {
            objects,
            buffer: Vec::new(),
            trees: Trees::default(),
            files: Vec::new(),
            owners: HashMap::new(),
            owners_seen: HashMap::new(),
            registry: BTreeMap::new(),
        }
    }

    fn folder(&mut self, id: &[u8; 20], path: &str) -> Result<(), LoadFault> {
        // The deepest path is `owners/ab/cd/abcd.toml`.
        if path.matches('/').count() > 2 {
            return Err(LoadFault::Foreign(path.to_owned()));
        }
        let what = format!("the folder `{}`", tree::shown(path));
        let bytes = &mut self.buffer;
        self.objects.read_into(id, Kind::Tree, &what, bytes)?;
        let tree = Tree::from_git(bytes);
        let entries = tree
            .entries()
            .ok_or_else(|| broken(tree::shown(path), &"it is not a folder as git writes it"))?;
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
        if let Some(name) = IndexPath::crate_at(&path) {
            self.files.push((name, BlobId::from(*id)));
        } else {
            let bytes = self.objects.read(id, Kind::Blob, &path)?;
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

    fn finish(mut self, commit: CommitId, kept: &Kept) -> Result<(Tip, usize), LoadFault> {
        let files = self.index_files()?;
        let (read, new_count) = read_all(&files, self.objects.source(), kept)?;
        let mut crates = Crates::default();
        for krate in read {
            if let Some(twin) = crates.insert(krate) {
                return Err(broken(
                    IndexPath::of(&twin.name).as_str(),
                    &"another crate differs from it only in `-` and `_`",
                ));
            }
        }
        let registry = Arc::new(self.registry_files()?);
        let snapshot = Arc::new(Snapshot {
            commit,
            crates,
            registry,
            recent: Recent::default(),
            reworked: commit,
            by_people: commit,
        });
        let trees = self.trees;
        Ok((Tip { snapshot, trees }, new_count))
    }

    /// Every index file with the owners of its crate; none is without, and none has owners alone.
    fn index_files(&mut self) -> Result<Vec<IndexFileAt>, LoadFault> {
        let mut files = Vec::with_capacity(self.files.len());
        for (name, blob) in std::mem::take(&mut self.files) {
            let path = IndexPath::of(&name);
            let owners = self.owners.remove(&path);
            let owners = owners.ok_or_else(|| LoadFault::Missing(path.owners_file()))?;
            files.push(IndexFileAt { path, blob, owners });
        }
        match self.owners.keys().next() {
            Some(path) => Err(LoadFault::Missing(path.to_string())),
            None => Ok(files),
        }
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

/// An index file that was found in a folder.
struct IndexFileAt {
    path: IndexPath,
    blob: BlobId,
    owners: Arc<Owners>,
}

/// Reads the files on all cores, for most of a start goes by with it; the crates, and how many of them were not known
/// from before.
fn read_all(
    files: &[IndexFileAt],
    source: &Source,
    kept: &Kept,
) -> Result<(Vec<Arc<Crate>>, usize), LoadFault> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let shares: Vec<_> = files
            .chunks(share)
            .map(|files| scope.spawn(move || read_some(files, source, kept)))
            .collect();
        let mut all = (Vec::with_capacity(files.len()), 0);
        for share in shares {
            let (crates, new_count) = share.join().expect("reading does not panic")?;
            all.0.extend(crates);
            all.1 += new_count;
        }
        Ok(all)
    })
}

fn read_some(
    files: &[IndexFileAt],
    source: &Source,
    kept: &Kept,
) -> Result<(Vec<Arc<Crate>>, usize), LoadFault> {
    let objects = source.open();
    let (mut shelf, mut buffer) = (Shelf::default(), Vec::new());
    let mut crates = Vec::with_capacity(files.len());
    let mut new_count = 0;
    for file in files {
        // What is known of a blob does not make up for one that is gone: whoever clones the index would miss it.
        let known = kept
            .find(file.blob, &file.owners, &mut shelf)
            .filter(|_| objects.has(file.blob.as_bytes()));
        let krate = match known {
            Some(krate) => krate,
            None => {
                new_count += 1;
                file.read(&objects, &mut shelf, &mut buffer)?
            }
        };
        if IndexPath::of(&krate.name) != file.path {
            let reason = format!("it holds the crate `{}`", krate.name);
            return Err(broken(file.path.as_str(), &reason));
        }
        crates.push(Arc::new(krate));
    }
    Ok((crates, new_count))
}

impl IndexFileAt {
    fn read(
        &self,
        objects: &Objects,
        shelf: &mut Shelf,
        bytes: &mut Vec<u8>,
    ) -> Result<Crate, LoadFault> {
        let path = self.path.as_str();
        objects.read_into(self.blob.as_bytes(), Kind::Blob, path, bytes)?;
        let body = shelf.compress(self.blob, bytes);
        Crate::read(bytes, body, Arc::clone(&self.owners))
            .map_err(|fault| broken(path, &fault))?
            .ok_or_else(|| broken(path, &"it has no line"))
    }
}

fn parse_revoked(bytes: &[u8]) -> Result<Revoked, LoadFault> {
    Revoked::parse(bytes).map_err(|fault| broken(REVOKED_TOML, &fault))
}

fn parse_toml<T: serde::de::DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, LoadFault> {
    let text = std::str::from_utf8(bytes).map_err(|error| broken(path, &error))?;
    read_document(text).map_err(|fault| broken(path, &fault))
}

fn broken(path: &str, reason: &dyn ToString) -> LoadFault {
    LoadFault::Broken {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
