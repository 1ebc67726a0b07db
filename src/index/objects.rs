//! Reading objects from the repository, each checked and none without bound.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gix::objs::{CommitRef, Exists, Find, FindHeader, Kind};
use gix::odb::store::init::{Options, Slots};
use gix::odb::{HandleArc, Store};

use crate::domain::{BlobId, CommitId, TreeId};

use super::damage::is_closed;
use super::load::LoadFault;
use super::object::id_of;
use super::pack;

/// The largest object that is read, in bytes.
pub(super) const OBJECT_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// How many packs may come while a folder is looked at, beside those that are there.
const COMING_MAX: usize = 1024;
/// The most packs that gix tells from each other.
const PACKS_MAX: usize = (1 << 15) - 1;
/// How often the folders are looked at again for an object that is not there: it can lie in a pack that is merged with
/// others in this moment, but hardly in two.
const LOOKS_MAX: usize = 2;

/// The objects of a repository as they lie on the disk now; packs that come later are found too.
pub(super) struct Objects {
    source: Source,
    /// One for each folder of the source.
    stores: RefCell<Vec<HandleArc>>,
}

/// Where objects are read from: each thread opens it for itself, and all share what is mapped into memory, for a
/// process may map only so many files.
#[derive(Clone)]
pub(super) struct Source {
    git_dir: String,
    /// The repository's own first.
    folders: Vec<Arc<Folder>>,
    /// Whether the bytes must have the id by which they were asked for.
    is_hashed: bool,
}

/// A folder of objects.
struct Folder {
    path: PathBuf,
    /// How it was when somebody last looked. By itself gix looks until nothing changes there any more, and then through all
    /// packs again: while people publish, that has no end.
    seen: Mutex<Arc<Store>>,
}

/// A commit with what the index needs of it.
pub(super) struct Commit {
    pub(super) id: CommitId,
    pub(super) tree: TreeId,
    /// The first is the one that the branch had before.
    pub(super) parents: Vec<CommitId>,
    /// The whole object.
    pub(super) bytes: Vec<u8>,
}

impl Objects {
    /// Opens the objects of a repository.
    pub(super) fn open(git_dir: &Path) -> Result<Self, LoadFault> {
        let mut source = Source {
            git_dir: git_dir.display().to_string(),
            folders: Vec::new(),
            is_hashed: false,
        };
        source.add(git_dir.join("objects"))?;
        Ok(source.open())
    }

    /// Hashes every object that is read and refuses one whose bytes are not those that its id names.
    pub(super) fn hashed(mut self) -> Self {
        self.source.is_hashed = true;
        self
    }

    /// Reads from a second folder too: that in which git keeps a push until the hooks have agreed.
    pub(super) fn and(self, folder: &Path) -> Result<Self, LoadFault> {
        let mut source = self.source;
        source.add(folder.to_owned())?;
        Ok(source.open())
    }

    /// From where they are read.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// The bytes of an object; `what` names it for people.
    pub(super) fn read(&self, id: &[u8; 20], kind: Kind, what: &str) -> Result<Vec<u8>, LoadFault> {
        let mut bytes = Vec::new();
        self.read_into(id, kind, what, &mut bytes)?;
        Ok(bytes)
    }

    /// As [`Objects::read`], into memory that was asked for before; what is in it is lost.
    pub(super) fn read_into(
        &self,
        id: &[u8; 20],
        kind: Kind,
        what: &str,
        bytes: &mut Vec<u8>,
    ) -> Result<(), LoadFault> {
        let broken = |reason: String| LoadFault::Broken {
            path: what.to_owned(),
            reason,
        };
        let oid = gix::ObjectId::from_bytes_or_panic(id);
        let is_hashed = self.source.is_hashed;
        let found = self.find(|_, store| {
            let fault = |error| self.unread(&oid, what, &error);
            let Some(header) = store.try_header(&oid).map_err(fault)? else {
                return Ok(None);
            };
            if header.kind != kind {
                let reason = format!("it is a {} of {} bytes", header.kind, header.size);
                return Err(broken(reason));
            }
            if header.size > OBJECT_BYTES_MAX {
                return Err(LoadFault::TooLarge {
                    path: what.to_owned(),
                    bytes: header.size,
                    max: OBJECT_BYTES_MAX,
                });
            }
            if store.try_find(&oid, bytes).map_err(fault)?.is_none() {
                return Ok(None);
            }
            if is_hashed && id_of(kind, bytes) != Ok(*id) {
                return Err(broken(format!(
                    "its bytes are not those of the object {oid}"
                )));
            }
            Ok(Some(()))
        })?;
        found.ok_or_else(|| {
            let missing = format!("the object {oid} is not there");
            self.unread(&oid, what, &missing)
        })
    }

    /// What the first folder gives that has it, once they were looked at again if none has; `ask` hears the folder's place
    /// among them.
    fn find<T>(
        &self,
        mut ask: impl FnMut(usize, &HandleArc) -> Result<Option<T>, LoadFault>,
    ) -> Result<Option<T>, LoadFault> {
        for look in 0..=LOOKS_MAX {
            if look > 0 {
                self.look_again()?;
            }
            for (place, store) in self.stores.borrow().iter().enumerate() {
                if let Some(found) = ask(place, store)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Sees each folder as somebody else has seen it since, or else as it is now.
    fn look_again(&self) -> Result<(), LoadFault> {
        let mut stores = self.stores.borrow_mut();
        for (folder, store) in self.source.folders.iter().zip(&mut *stores) {
            *store = folder
                .look_after(store.store_ref())
                .map_err(|error| self.source.fault("the folder of objects", &error))?;
        }
        Ok(())
    }

    /// The repository.
    pub(super) fn git_dir(&self) -> &Path {
        Path::new(&self.source.git_dir)
    }

    /// Whether there is an object with this id, whatever it is.
    pub(super) fn has(&self, id: &[u8; 20]) -> bool {
        let oid = gix::ObjectId::from_bytes_or_panic(id);
        let has = |_, store: &HandleArc| Ok(store.exists(&oid).then_some(()));
        self.find(has).is_ok_and(|found| found.is_some())
    }

    /// Whether a commit lies in a folder that was added, and not in the repository.
    pub(super) fn is_brought(&self, commit: CommitId) -> bool {
        let oid = gix::ObjectId::from_bytes_or_panic(commit.as_bytes());
        // The own is asked first.
        let place = self.find(|place, store| Ok(store.exists(&oid).then_some(place)));
        place.is_ok_and(|place| place.is_some_and(|place| place > 0))
    }

    /// An object in a folder that was added which is larger than any that is read, with its size, if there is one.
    pub(super) fn too_large(&self) -> Result<Option<(BlobId, u64)>, LoadFault> {
        for store in &self.stores.borrow()[1..] {
            let what = "the list of new objects";
            for id in store.iter().map_err(|error| self.fault(what, &error))? {
                let id = id.map_err(|error| self.fault(what, &error))?;
                let header = store.try_header(&id);
                let header =
                    header.map_err(|error| self.fault(&format!("the object {id}"), &error))?;
                if let Some(header) = header.filter(|header| header.size > OBJECT_BYTES_MAX) {
                    return Ok(Some((BlobId::from(bytes_of(id)), header.size)));
                }
            }
        }
        Ok(None)
    }

    /// Whether a commit has this id, or what has it cannot be read.
    pub(super) fn can_be_commit(&self, id: CommitId) -> bool {
        let oid = gix::ObjectId::from_bytes_or_panic(id.as_bytes());
        let head = self.find(|_, store| {
            let head = store.try_header(&oid);
            head.map_err(|error| self.unread(&oid, "a commit", &error))
        });
        match head {
            Ok(Some(head)) => head.kind == Kind::Commit,
            Ok(None) => self.closed(&oid).is_some(),
            Err(_) => true,
        }
    }

    /// A commit.
    pub(super) fn commit(&self, id: CommitId) -> Result<Commit, LoadFault> {
        let what = format!("the commit {id}");
        let bytes = self.read(id.as_bytes(), Kind::Commit, &what)?;
        let commit = CommitRef::from_bytes(&bytes, gix::hash::Kind::Sha1)
            .map_err(|error| self.fault(&what, &error))?;
        let parents = commit.parents();
        Ok(Commit {
            id,
            tree: TreeId::from(bytes_of(commit.tree())),
            parents: parents.map(|id| CommitId::from(bytes_of(id))).collect(),
            bytes: bytes.clone(),
        })
    }

    /// Every commit that lies there, whether a branch has it or not.
    pub(super) fn commits(&self) -> Result<HashMap<CommitId, Commit>, LoadFault> {
        let mut commits = HashMap::new();
        let stores = self.stores.borrow().clone();
        for store in &stores {
            let what = "the list of all objects";
            for id in store.iter().map_err(|error| self.fault(what, &error))? {
                let id = id.map_err(|error| self.fault(what, &error))?;
                let what = format!("the object {id}");
                let head = self.find(|_, store| {
                    let head = store.try_header(&id);
                    head.map_err(|error| self.fault(&what, &error))
                });
                // Whoever counts them must not overlook one.
                let head = head?.ok_or_else(|| self.fault(&what, &"it is gone"))?;
                if head.kind == Kind::Commit {
                    let id = CommitId::from(bytes_of(id));
                    commits.insert(id, self.commit(id)?);
                }
            }
        }
        Ok(commits)
    }

    pub(super) fn fault(&self, what: &str, error: &dyn std::fmt::Display) -> LoadFault {
        self.source.fault(what, error)
    }

    /// Why an object was not read.
    fn unread(&self, id: &gix::ObjectId, what: &str, error: &dyn std::fmt::Display) -> LoadFault {
        match self.closed(id) {
            Some(cause) => LoadFault::Closed {
                what: what.to_owned(),
                git_dir: self.git_dir().to_owned(),
                cause,
            },
            None => self.fault(what, error),
        }
    }

    /// The first file that may hold an object and that this user may not read, as an error.
    fn closed(&self, id: &gix::ObjectId) -> Option<io::Error> {
        let id = id.to_string();
        let (folder, name) = id.split_at(2);
        self.source.folders.iter().find_map(|it| {
            let objects = &it.path;
            let packs = objects.join("pack");
            let loose = [objects.join(folder).join(name), packs.clone()];
            let packed = fs::read_dir(&packs).into_iter().flatten().flatten();
            let mut packed: Vec<PathBuf> = packed.map(|entry| entry.path()).collect();
            packed.retain(|path| {
                path.extension()
                    .is_some_and(|it| it == "idx" || it == "pack")
            });
            packed.sort_unstable();
            { loose.into_iter().chain(packed) }.find_map(|path| is_closed(&path))
        })
    }
}

impl Source {
    /// Opens it for one thread.
    pub(super) fn open(&self) -> Objects {
        let stores = self.folders.iter().map(|folder| handle(&folder.seen()));
        Objects {
            stores: RefCell::new(stores.collect()),
            source: self.clone(),
        }
    }

    /// Adds a folder of objects.
    fn add(&mut self, path: PathBuf) -> Result<(), LoadFault> {
        let seen = look_at(&path).map_err(|error| self.fault("the folder of objects", &error))?;
        let seen = Mutex::new(seen);
        self.folders.push(Arc::new(Folder { path, seen }));
        Ok(())
    }

    fn fault(&self, what: &str, error: &dyn std::fmt::Display) -> LoadFault {
        LoadFault::Git {
            what: what.to_owned(),
            git_dir: self.git_dir.clone(),
            cause: error.to_string(),
        }
    }
}

impl Folder {
    fn seen(&self) -> Arc<Store> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&seen)
    }

    /// What somebody has seen after `known`, or what is there now.
    fn look_after(&self, known: &Store) -> io::Result<HandleArc> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if std::ptr::eq(Arc::as_ptr(&seen), known) {
            *seen = look_at(&self.path)?;
        }
        Ok(handle(&seen))
    }
}

/// Reads in a folder of objects as it is now.
pub(super) fn at(folder: &Path) -> io::Result<HandleArc> {
    Ok(handle(&look_at(folder)?))
}

fn look_at(folder: &Path) -> io::Result<Arc<Store>> {
    let there = pack::how_many(&folder.join("pack"))?;
    let slots = (there + COMING_MAX).min(PACKS_MAX);
    let options = Options {
        slots: Slots::Given(u16::try_from(slots).unwrap_or(u16::MAX)),
        // Each pack has an index of its own. What somebody's git wrote of several may name some that are gone by now, and
        // gix would look no further.
        use_multi_pack_index: false,
        ..Default::default()
    };
    let replaced = &mut std::iter::empty();
    Store::at_opts(folder.to_owned(), gix::hash::Kind::Sha1, replaced, options).map(Arc::new)
}

/// What reads in a folder as it was seen.
fn handle(seen: &Arc<Store>) -> HandleArc {
    let mut handle = seen.to_cache_arc();
    handle.refresh_never();
    handle
}

impl Commit {
    /// The name of its author.
    pub(super) fn author_name(&self) -> Option<String> {
        let commit = CommitRef::from_bytes(&self.bytes, gix::hash::Kind::Sha1).ok()?;
        Some(commit.author().ok()?.name.to_string())
    }
}

pub(super) fn bytes_of(id: gix::ObjectId) -> [u8; 20] {
    id.as_slice()
        .try_into()
        .expect("a SHA-1 repository has ids of 20 bytes")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::super::object::PackObject;
    use super::super::tests::multiply_pack;
    use super::*;

    /// Puts a loose object with these bytes, head and all, under an id that need not be its own.
    fn put(git_dir: &Path, byte: u8, bytes: &[u8]) -> [u8; 20] {
        let folder = git_dir.join(format!("objects/{byte:02x}"));
        fs::create_dir_all(&folder).unwrap();
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).unwrap();
        let name = format!("{byte:02x}").repeat(19);
        fs::write(folder.join(name), packed.finish().unwrap()).unwrap();
        [byte; 20]
    }

    #[test]
    fn an_object_of_another_kind_or_too_large_is_refused_by_its_head() {
        let folder = tempfile::tempdir().unwrap();
        let git_dir = folder.path();
        let said = |byte: u8, head: &str| {
            let id = put(git_dir, byte, head.as_bytes());
            let objects = Objects::open(git_dir).unwrap();
            let fault = objects.read(&id, Kind::Blob, "1/a").unwrap_err();
            fault.to_string()
        };
        assert!(
            said(1, "blob 134217729\0").contains("it has 134217729 bytes, and none has more than")
        );
        assert!(said(2, "tree 0\0").contains("it is a tree of 0 bytes"));
        // One of just the largest size is looked into, and this one ends early.
        assert!(!said(3, "blob 134217728\0").contains("none has more"));
    }

    #[test]
    fn packs_that_come_later_are_found_however_many_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let packs = folder.path().join("objects/pack");
        fs::create_dir_all(&packs).unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        for number in 0..50 {
            let tree = [number; 32];
            let id = id_of(Kind::Tree, &tree).unwrap();
            let object = PackObject::tree(TreeId::from(id), &tree);
            pack::write(&packs, &[object]).unwrap();
            let read = objects.read(&id, Kind::Tree, "a folder");
            assert_eq!(read.unwrap(), tree, "{number}");
        }
    }

    #[test]
    fn there_may_be_more_packs_than_come_while_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let packs = folder.path().join("objects/pack");
        fs::create_dir_all(&packs).unwrap();
        let write = |byte: u8| {
            let tree = [byte; 32];
            let id = id_of(Kind::Tree, &tree).unwrap();
            pack::write(&packs, &[PackObject::tree(TreeId::from(id), &tree)]).unwrap();
            id
        };
        let first = write(1);
        multiply_pack(&packs, COMING_MAX + 100);
        let objects = Objects::open(folder.path()).unwrap();
        objects.read(&first, Kind::Tree, "a folder").unwrap();
        let later = write(2);
        objects.read(&later, Kind::Tree, "a folder").unwrap();
        let source = objects.source();
        let read = || source.open().read(&later, Kind::Tree, "a folder");
        thread::scope(|scope| scope.spawn(read).join().unwrap().unwrap());
    }

    #[test]
    fn an_index_of_several_packs_hides_nothing_once_some_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let git = |words: &[&str]| {
            let mut git = Command::new("git");
            let done = git.current_dir(folder.path()).args(words).status().unwrap();
            assert!(done.success(), "{words:?}");
        };
        git(&["init", "--quiet", "--bare"]);
        let packs = folder.path().join("objects/pack");
        let trees = [[1; 32], [2; 32]];
        let ids = trees.map(|tree| {
            let id = id_of(Kind::Tree, &tree).unwrap();
            pack::write(&packs, &[PackObject::tree(TreeId::from(id), &tree)]).unwrap();
            id
        });
        git(&["multi-pack-index", "write", "--no-progress"]);
        // As if they had been merged since.
        let files = fs::read_dir(&packs).unwrap().map(|it| it.unwrap().path());
        for (number, path) in files.collect::<Vec<_>>().into_iter().enumerate() {
            let stem = packs.join(format!("pack-{number:040x}"));
            if path.extension().is_some_and(|end| end == "pack") {
                fs::rename(path.with_extension("idx"), stem.with_extension("idx")).unwrap();
                fs::rename(&path, stem.with_extension("pack")).unwrap();
            }
        }
        assert!(packs.join("multi-pack-index").exists());
        let objects = Objects::open(folder.path()).unwrap();
        for (id, tree) in ids.iter().zip(trees) {
            assert_eq!(objects.read(id, Kind::Tree, "a folder").unwrap(), tree);
        }
    }

    #[test]
    fn what_is_not_there_is_soon_known_however_many_packs_come() {
        let folder = tempfile::tempdir().unwrap();
        let packs = folder.path().join("objects/pack");
        fs::create_dir_all(&packs).unwrap();
        let write = |number: u32| {
            let mut tree = [0; 32];
            tree[..4].copy_from_slice(&number.to_be_bytes());
            let id = id_of(Kind::Tree, &tree).unwrap();
            pack::write(&packs, &[PackObject::tree(TreeId::from(id), &tree)]).unwrap();
        };
        write(0);
        multiply_pack(&packs, 500);
        let is_known = AtomicBool::new(false);
        let come = thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut numbers = 1..u32::try_from(COMING_MAX).unwrap();
                let come = numbers.find(|number| {
                    write(*number);
                    is_known.load(Ordering::SeqCst)
                });
                come.is_some()
            });
            let objects = Objects::open(folder.path()).unwrap();
            assert!(!objects.has(&[1; 20]));
            is_known.store(true, Ordering::SeqCst);
            writing.join().unwrap()
        });
        assert!(come, "it was known only once no pack came any more");
    }

    #[test]
    fn bytes_of_another_id_are_refused_where_they_are_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let id = put(folder.path(), 1, b"blob 2\0ab");
        let objects = Objects::open(folder.path()).unwrap();
        assert_eq!(objects.read(&id, Kind::Blob, "1/a").unwrap(), b"ab");
        let fault = objects.hashed().read(&id, Kind::Blob, "1/a").unwrap_err();
        assert!(fault.to_string().contains("are not those of the object"));
    }
}
