//! Where `.crate` files lie: one file each, named by its SHA-256.
//!
//! A file under its name is whole and durable, and never changes. What is being received lies in `incoming/` under a
//! temporary name.

mod lead;
mod stamp;

pub use lead::Lead;
pub use stamp::{Kept, Stamp};

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::disk::{self, TempFile};
use crate::domain::{Cksum, StoreId};

/// The file that names the store, so that a registry is never served from another's blobs.
///
/// Whoever gives a file its name locks it together with others, whoever removes one alone.
const ID_FILE: &str = "store-id";

/// How many bytes of files are kept in memory: those that are asked for most.
const MEMORY_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The largest file that is kept there, in bytes.
const IN_MEMORY_BYTES_MAX: u64 = 256 * 1024;
/// About how many files of the usual size these are.
const IN_MEMORY_COUNT: usize = 1024;
/// Of how many larger files it is known that they are intact.
const INTACT_COUNT: usize = 4096;

/// A folder of `.crate` files.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
    id: StoreId,
    memory: Arc<Cache<Cksum, Bytes, Weigh>>,
    /// Files that were found intact, as they were then.
    intact: Arc<Cache<Cksum, Stamp>>,
}

/// What a file is read from.
#[derive(Debug)]
pub enum Content {
    /// All of it.
    Memory(Bytes),
    /// The file and its size in bytes.
    File(File, u64),
}

#[derive(Debug, Clone)]
struct Weigh;

impl Weighter<Cksum, Bytes> for Weigh {
    fn weight(&self, _: &Cksum, bytes: &Bytes) -> u64 {
        // One of no bytes would never go.
        bytes.len().max(1) as u64
    }
}

impl Blobs {
    /// Opens the store in `folder`, makes it if there is none, and drops what an ended process left half-received.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        disk::create_folder(&folder)?;
        let id = read_or_create_id(&folder)?;
        Self::lay_out(folder, id)
    }

    /// As [`Blobs::open`], for a store that has, or shall have, this identity.
    pub fn open_as(folder: PathBuf, id: StoreId) -> io::Result<Self> {
        disk::create_folder(&folder)?;
        if Self::has_lost_id(&folder)? {
            disk::replace(&folder.join(ID_FILE), format!("{id}\n").as_bytes())?;
        }
        match read_id(&folder)? {
            found if found == id => Self::lay_out(folder, id),
            found => Err(io::Error::other(format!(
                "it is the store {found}, not {id}"
            ))),
        }
    }

    /// Whether the folder of a store does not tell which one it is: the file that does is gone, torn or zeroed.
    pub fn has_lost_id(folder: &Path) -> io::Result<bool> {
        match read_id(folder) {
            Ok(_) => Ok(false),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Ok(true),
                _ => Err(error),
            },
        }
    }

    /// Gives a store that lost its identity this one back; none that holds no file, for that is most likely not it.
    pub fn identify(folder: PathBuf, id: StoreId) -> io::Result<Option<Self>> {
        match Self::taken_for(folder.clone(), id)? {
            None => Ok(None),
            Some(_) => Self::open_as(folder, id).map(Some),
        }
    }

    /// As [`Blobs::identify`], and leaves the store as it is.
    pub fn taken_for(folder: PathBuf, id: StoreId) -> io::Result<Option<Self>> {
        let store = Self::at(folder, id);
        Ok((!store.is_empty()?).then_some(store))
    }

    fn lay_out(folder: PathBuf, id: StoreId) -> io::Result<Self> {
        let incoming = folder.join("incoming");
        disk::create_folder(&incoming)?;
        // Other servers may use the store.
        disk::remove_unheld_leftovers(&incoming).map_err(disk::about(&incoming))?;
        // All of them now, so that keeping a file never depends on a folder that is not durable yet.
        let prefixes = prefixes().map(|prefix| folder.join(prefix));
        disk::create_folders(&folder, prefixes)?;
        Ok(Self::at(folder, id))
    }

    /// Opens a store that is there, and leaves it as it is.
    pub fn existing(folder: PathBuf) -> io::Result<Self> {
        let id = read_id(&folder)?;
        Ok(Self::at(folder, id))
    }

    fn at(folder: PathBuf, id: StoreId) -> Self {
        let memory = Cache::with_weighter(IN_MEMORY_COUNT, MEMORY_BYTES_MAX, Weigh);
        Self {
            folder,
            id,
            memory: Arc::new(memory),
            intact: Arc::new(Cache::new(INTACT_COUNT)),
        }
    }

    /// How many bytes of files are kept in memory.
    pub fn bytes_in_memory(&self) -> u64 {
        self.memory.weight()
    }

    /// The store's identity.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Where uploads are received.
    pub fn incoming_folder(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    /// What has to be there, and to be such that it may be written to, for a file to be kept.
    pub fn kept_by(&self) -> Vec<PathBuf> {
        let folders = prefixes().map(|prefix| self.folder.join(prefix));
        [self.folder.join(ID_FILE)]
            .into_iter()
            .chain(folders)
            .collect()
    }

    /// A file to receive an upload into; gone when dropped.
    pub fn incoming(&self) -> io::Result<TempFile> {
        TempFile::create_held(&self.incoming_folder())
    }

    /// Keeps a received file whose SHA-256 is `cksum`: durable when this returns.
    ///
    /// A file that already bears the name is not trusted but replaced: it may be damaged, or a flush of it may have
    /// failed. It is never taken away, because a line may stand on it.
    pub fn keep(&self, received: TempFile, cksum: &Cksum) -> io::Result<Kept> {
        let path = self.path(cksum);
        received.sync()?;
        let lock = self.lock_file()?;
        lock.lock_shared()?;
        let new = received.rename_or_replace(&path)?;
        drop(lock);
        disk::sync_folder(path.parent().expect("the path was joined to a folder"))?;
        Ok(Kept(new))
    }

    /// Keeps a received file whose SHA-256 is `cksum` if the one that should be there is missing or damaged; whether it
    /// was.
    pub fn heal(&self, received: TempFile, cksum: &Cksum) -> io::Result<bool> {
        // One that cannot be read is replaced as well.
        let is_hurt = !self.is_intact(cksum).unwrap_or(false);
        if is_hurt {
            self.keep(received, cksum)?;
        }
        Ok(is_hurt)
    }

    /// Whether no file was ever kept here, or none is left.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.untouched_since(i64::MAX)?.is_empty())
    }

    /// The files that have not been touched since a moment, in seconds since 1970.
    pub fn untouched_since(&self, moment: i64) -> io::Result<Vec<(Cksum, Stamp)>> {
        let mut files = Vec::new();
        for prefix in prefixes() {
            let folder = self.folder.join(prefix);
            let entries = disk::if_there(fs::read_dir(&folder)).map_err(disk::about(&folder))?;
            for entry in entries.into_iter().flatten() {
                let entry = entry?;
                let Some(cksum) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
                    continue;
                };
                match entry.metadata() {
                    Ok(metadata) if metadata.is_file() && metadata.ctime() < moment => {
                        files.push((cksum, Stamp::of(&metadata)));
                    }
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(files)
    }

    /// Removes a file that no line names, unless somebody touched it since it had this stamp; whether it did.
    ///
    /// It does nothing if a file is kept at this moment: it may be this one.
    pub fn remove(&self, cksum: &Cksum, stamp: Stamp) -> io::Result<bool> {
        let lock = self.lock_file()?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        let path = self.path(cksum);
        let is_same = match fs::symlink_metadata(&path) {
            Ok(metadata) => Stamp::of(&metadata) == stamp,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_same {
            self.memory.remove(cksum);
            fs::remove_file(&path)?;
        }
        Ok(is_same)
    }

    /// Locks end with the file, so each needs one of its own.
    fn lock_file(&self) -> io::Result<File> {
        // Over a network only what may be written can be locked alone.
        File::options().write(true).open(self.folder.join(ID_FILE))
    }

    /// Opens a file for reading.
    pub fn read(&self, cksum: &Cksum) -> io::Result<File> {
        File::open(self.path(cksum))
    }

    /// The bytes of a file that is in memory.
    pub fn remembered(&self, cksum: &Cksum) -> Option<Bytes> {
        self.memory.get(cksum)
    }

    /// What a file holds. A small one is in memory from now on, as long as it is asked for; a larger one is read whole
    /// when it is asked for first, and again after somebody touched it.
    ///
    /// # Errors
    /// Also if its bytes are not those that were kept.
    pub fn content(&self, cksum: &Cksum) -> io::Result<Content> {
        let mut file = self.read(cksum)?;
        let stamp = Stamp::of(&file.metadata()?);
        let size = stamp.bytes;
        if size > IN_MEMORY_BYTES_MAX {
            if self.intact.get(cksum) != Some(stamp) {
                refuse_others(hash(&file)?, cksum)?;
                self.intact.insert(*cksum, stamp);
                file.rewind()?;
            }
            return Ok(Content::File(file, size));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.by_ref()
            .take(IN_MEMORY_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        let bytes = Bytes::from(bytes);
        refuse_others(hash(&bytes[..])?, cksum)?;
        self.memory.insert(*cksum, bytes.clone());
        Ok(Content::Memory(bytes))
    }

    /// Whether the file is there and its bytes have the SHA-256 that its name says.
    pub fn is_intact(&self, cksum: &Cksum) -> io::Result<bool> {
        match self.read(cksum) {
            Ok(file) => Ok(hash(file)? == *cksum),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where the file with this checksum lies.
    pub fn path(&self, cksum: &Cksum) -> PathBuf {
        let hex = cksum.to_string();
        self.folder.join(&hex[..2]).join(hex)
    }
}

/// The folders of the files, by the first two digits of their names.
fn prefixes() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|prefix| format!("{prefix:02x}"))
}

/// Refuses bytes with another checksum: sent all the same, they would stay in every cache on the way after the file was
/// healed here.
fn refuse_others(found: Cksum, wanted: &Cksum) -> io::Result<()> {
    if found == *wanted {
        return Ok(());
    }
    let reason = "its bytes are damaged: they have another checksum";
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// The SHA-256 of what is left to read.
pub(crate) fn hash(mut file: impl Read) -> io::Result<Cksum> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Cksum::from(<[u8; 32]>::from(hasher.finalize()))),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn read_or_create_id(folder: &Path) -> io::Result<StoreId> {
    let path = folder.join(ID_FILE);
    if !path.exists() {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::from)?;
        match disk::create(&path, format!("{}\n", StoreId::from(bytes)).as_bytes()) {
            // Another server was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(disk::about(&path))?,
        }
    }
    read_id(folder)
}

fn read_id(folder: &Path) -> io::Result<StoreId> {
    let path = folder.join(ID_FILE);
    let text = fs::read_to_string(&path).map_err(disk::about(&path))?;
    text.trim_end().parse().map_err(|fault| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {fault}", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn received(blobs: &Blobs, bytes: &[u8]) -> (TempFile, Cksum) {
        let mut temp = blobs.incoming().unwrap();
        temp.file().write_all(bytes).unwrap();
        (temp, Cksum::from(<[u8; 32]>::from(Sha256::digest(bytes))))
    }

    #[test]
    fn a_store_that_is_opened_again_keeps_what_others_are_receiving() {
        let folder = tempfile::tempdir().unwrap();
        let first = Blobs::open(folder.path().join("blobs")).unwrap();
        let (temp, cksum) = received(&first, b"bytes");
        fs::write(first.incoming_folder().join("tmp_left"), "half").unwrap();
        let second = Blobs::open(folder.path().join("blobs")).unwrap();
        assert_eq!(fs::read_dir(second.incoming_folder()).unwrap().count(), 1);
        first.keep(temp, &cksum).unwrap();
        assert!(second.is_intact(&cksum).unwrap());
    }

    #[test]
    fn of_servers_that_make_a_store_at_once_all_have_the_same() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let open = || Blobs::open(folder.path().join("blobs")).unwrap().id();
            let ids: Vec<StoreId> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
                { threads.into_iter() }
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        }
    }

    #[test]
    fn kept_bytes_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        let (temp, cksum) = received(&blobs, b"bytes");
        blobs.keep(temp, &cksum).unwrap();
        let mut text = String::new();
        blobs
            .read(&cksum)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "bytes");
    }

    #[test]
    fn a_large_file_is_read_whole_once_and_again_after_it_was_touched() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        let whole = vec![7; IN_MEMORY_BYTES_MAX as usize + 1];
        let (temp, cksum) = received(&blobs, &whole);
        blobs.keep(temp, &cksum).unwrap();
        for _ in 0..2 {
            let Content::File(mut file, size) = blobs.content(&cksum).unwrap() else {
                panic!("it is in memory");
            };
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            assert!(read == whole && size == whole.len() as u64);
            let stamp = Stamp::of(&file.metadata().unwrap());
            assert_eq!(blobs.intact.get(&cksum), Some(stamp));
        }
        let mut torn = whole;
        torn[IN_MEMORY_BYTES_MAX as usize] = 0;
        fs::write(blobs.path(&cksum), torn).unwrap();
        let fault = blobs.content(&cksum).err().unwrap();
        assert_eq!(fault.kind(), io::ErrorKind::InvalidData, "{fault}");
    }

    #[test]
    fn a_file_is_removed_only_as_it_was_seen_and_while_none_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        let keep = |bytes: &[u8]| {
            let (temp, cksum) = received(&blobs, bytes);
            blobs.keep(temp, &cksum).unwrap();
            cksum
        };
        let (cksum, other) = (keep(b"bytes"), keep(b"other"));
        fs::write(folder.path().join("blobs/00/0123"), "no file of ours").unwrap();
        assert!(blobs.untouched_since(1_000_000_000).unwrap().is_empty());
        let mut files = blobs.untouched_since(i64::MAX).unwrap();
        files.sort_by_key(|(found, _)| *found != cksum);
        assert_eq!(
            files.iter().map(|(it, _)| *it).collect::<Vec<_>>(),
            [cksum, other]
        );
        let lock = blobs.lock_file().unwrap();
        lock.lock_shared().unwrap();
        assert!(!blobs.remove(&cksum, files[0].1).unwrap());
        drop(lock);
        keep(b"bytes");
        assert!(
            !blobs.remove(&cksum, files[0].1).unwrap(),
            "it was kept anew"
        );
        assert!(matches!(blobs.content(&other).unwrap(), Content::Memory(_)));
        assert!(blobs.remove(&other, files[1].1).unwrap());
        assert!(!blobs.remove(&other, files[1].1).unwrap(), "it is gone");
        assert!(blobs.remembered(&other).is_none());
        let left = blobs.untouched_since(i64::MAX).unwrap();
        assert_eq!(left.len(), 1);
        assert!(blobs.is_intact(&cksum).unwrap());
    }

    #[test]
    fn a_damaged_file_is_replaced_and_an_intact_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        let (temp, cksum) = received(&blobs, b"bytes");
        blobs.keep(temp, &cksum).unwrap();
        fs::write(blobs.path(&cksum), b"torn").unwrap();
        let fault = blobs.content(&cksum).err().unwrap();
        assert_eq!(fault.kind(), io::ErrorKind::InvalidData, "{fault}");
        assert!(!blobs.is_intact(&cksum).unwrap());
        for _ in 0..2 {
            let (temp, cksum) = received(&blobs, b"bytes");
            blobs.keep(temp, &cksum).unwrap();
            assert!(blobs.is_intact(&cksum).unwrap());
        }
    }

    #[test]
    fn leftovers_go_at_the_next_start_and_the_id_stays() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        let incoming = folder.path().join("blobs/incoming");
        fs::write(incoming.join("tmp_0123"), b"half").unwrap();
        let id = blobs.id();
        assert_eq!(Blobs::open(folder.path().join("blobs")).unwrap().id(), id);
        assert_eq!(fs::read_dir(incoming).unwrap().count(), 0);
    }
}
