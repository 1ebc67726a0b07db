//! Packs of our own: the objects of a group of commits in one durable file.
//!
//! The formats are those of git's `gitformat-pack(5)`: a pack of version 2 without deltas, an index of version 2.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Crc;
use gix::objs::Kind;

use crate::disk::{self, TempFile, TempFolder};

use super::object::PackObject;

/// The name of a mark that is not needed at the moment.
const SPARE_MARK: &str = "sidecargo-spare.mark";
/// What stands in our marks, by which they are told from those of a push or of a person.
const MARK: &[u8] = b"sidecargo: no ref leads here yet\n";

/// How the names of folders begin in which git writes packs for us.
pub(super) const APART: &str = "tmp_apart-";
/// The extension that the index of a pack has once no reader shall find it any more: all of it lies in other packs.
pub(super) const HIDDEN: &str = "merged";

/// Writes the objects as one pack with its index into `folder`: durable when this returns.
///
/// An object that is given twice is written once. A failure leaves nothing behind, and takes nothing away.
/// While the value that comes back lives, the pack is marked to be kept: a `git repack -a -d` at that moment would take
/// away what no ref reaches yet.
pub(super) fn write(folder: &Path, objects: &[PackObject]) -> io::Result<Pack> {
    let mut seen = HashSet::new();
    let objects: Vec<&PackObject> = objects
        .iter()
        .filter(|object| seen.insert(object.id))
        .collect();
    let (pack, entries, pack_hash) = write_pack(folder, &objects)?;
    let index = write_index(folder, entries, &pack_hash)?;
    let name = pack_hash
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    // The pack first: readers find packs by their index.
    place(folder, &format!("pack-{name}"), |files| {
        pack.rename(&files.stem.with_extension("pack"))?;
        index.rename(&files.stem.with_extension("idx"))
    })
}

/// Makes a folder in which git writes packs for us: one whose writing ends early is never seen where packs are.
pub(super) fn folder_apart(git_dir: &Path, purpose: &str) -> io::Result<TempFolder> {
    let objects = git_dir.join("objects");
    TempFolder::create(objects.join(format!("{APART}{purpose}")))
}

/// Moves a pack that git wrote and flushed in a [`folder_apart`] into `folder`, as durable as [`write`] does it; `stem`
/// is the path of its files without their extensions.
pub(super) fn take_over(stem: &Path, folder: &Path) -> io::Result<Pack> {
    let name = stem.file_name().unwrap_or_default();
    place(folder, &name.to_string_lossy(), |files| {
        let rename = |part| {
            let (from, to) = (stem.with_extension(part), files.stem.with_extension(part));
            disk::put_aside(&from, &to)
        };
        disk::if_there(rename("bitmap"))?;
        disk::if_there(rename("rev"))?;
        rename("pack")?;
        rename("idx")
    })
}

/// Lets `rename` give the files of a pack their names, the index last; durable when this returns.
fn place(
    folder: &Path,
    name: &str,
    rename: impl FnOnce(&Pack) -> io::Result<()>,
) -> io::Result<Pack> {
    let files = Pack {
        stem: folder.join(name),
        spare_mark: folder.join(SPARE_MARK),
    };
    // One that is written again is already referred to: it stays, whatever happens now.
    let is_new = !files.stem.with_extension("idx").exists();
    let placed = disk::write_mark(&files.spare_mark, &files.mark(), MARK)
        .and_then(|()| rename(&files))
        .and_then(|()| disk::sync_folder(folder));
    match placed {
        Ok(()) => Ok(files),
        Err(error) => {
            if is_new {
                files.remove();
            }
            Err(error)
        }
    }
}

/// The files of a pack in the repository.
#[derive(Debug)]
pub(super) struct Pack {
    /// Their path without an extension.
    stem: PathBuf,
    spare_mark: PathBuf,
}

impl Drop for Pack {
    fn drop(&mut self) {
        // One that stays goes at the next start.
        let _ = disk::put_aside(&self.mark(), &self.spare_mark);
    }
}

impl Pack {
    /// Its bytes, as git sends them too.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(self.stem.with_extension("pack"))
    }

    /// Takes away a pack that nothing refers to.
    pub(super) fn remove(self) {
        // The index first, so that no reader finds a pack that is half gone. What stays is only garbage.
        let _ = fs::remove_file(self.stem.with_extension("idx"));
        let _ = remove_parts(&self.stem);
    }

    fn mark(&self) -> PathBuf {
        self.stem.with_extension("keep")
    }
}

/// Removes what nothing can refer to: packs whose writing ended before they had an index, and those that were merged
/// into others. Any other pack without an index had one once, or is just arriving.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let has_index = path.with_extension("idx").exists();
        let is_ours = || fs::read(&path).is_ok_and(|text| text == MARK);
        match path.extension().and_then(OsStr::to_str) {
            // After a power cut the spare mark may not say what it did.
            _ if path.file_name() == Some(OsStr::new(SPARE_MARK)) => remove_if_there(&path)?,
            Some("keep") if is_ours() => {
                if !has_index {
                    remove_parts(&path)?;
                }
                remove_if_there(&path)?;
            }
            Some(HIDDEN) => discard(&path)?,
            Some("rev" | "bitmap") if !has_index && !path.with_extension("keep").exists() => {
                remove_if_there(&path)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes a hidden pack, unless it was written again; `stem` is the path of one of its files, or that without an
/// extension.
pub(super) fn discard(stem: &Path) -> io::Result<()> {
    if !stem.with_extension("idx").exists() {
        remove_parts(stem)?;
    }
    // Last, for it tells that the others may go.
    remove_if_there(&stem.with_extension(HIDDEN))
}

fn remove_parts(stem: &Path) -> io::Result<()> {
    let mut parts = ["bitmap", "rev", "pack"].into_iter();
    parts.try_for_each(|part| remove_if_there(&stem.with_extension(part)))
}

/// Removes a file that may have gone already.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct Entry {
    id: [u8; 20],
    crc: u32,
    offset: u32,
}

fn write_pack(
    folder: &Path,
    objects: &[&PackObject],
) -> io::Result<(TempFile, Vec<Entry>, [u8; 20])> {
    let mut temp = TempFile::create(folder)?;
    let mut out = Hashed::new(BufWriter::new(temp.file()));
    out.write(b"PACK\x00\x00\x00\x02")?;
    out.write(&count(objects.len())?.to_be_bytes())?;
    let mut entries = Vec::with_capacity(objects.len());
    for object in objects {
        let offset = out.written;
        let head = entry_head(object);
        let mut crc = Crc::new();
        crc.update(&head);
        crc.update(&object.zlib);
        out.write(&head)?;
        out.write(&object.zlib)?;
        entries.push(Entry {
            id: object.id,
            crc: crc.sum(),
            offset,
        });
    }
    let hash = out.finish()?;
    temp.sync()?;
    Ok((temp, entries, hash))
}

/// Not flushed: one that a power cut has torn is made again from its pack at the next start.
fn write_index(
    folder: &Path,
    mut entries: Vec<Entry>,
    pack_hash: &[u8; 20],
) -> io::Result<TempFile> {
    entries.sort_by_key(|entry| entry.id);
    let mut temp = TempFile::create(folder)?;
    let mut out = Hashed::new(BufWriter::new(temp.file()));
    out.write(b"\xfftOc\x00\x00\x00\x02")?;
    for first in 0..=u8::MAX {
        let up_to = entries.partition_point(|entry| entry.id[0] <= first);
        out.write(&count(up_to)?.to_be_bytes())?;
    }
    for entry in &entries {
        out.write(&entry.id)?;
    }
    for entry in &entries {
        out.write(&entry.crc.to_be_bytes())?;
    }
    for entry in &entries {
        out.write(&entry.offset.to_be_bytes())?;
    }
    out.write(pack_hash)?;
    out.finish()?;
    Ok(temp)
}

/// Type and size of an entry: four bits of the size, then seven a byte, low bits first.
fn entry_head(object: &PackObject) -> Vec<u8> {
    let kind = match object.kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut size = object.size;
    let mut byte = kind << 4 | (size & 15) as u8;
    size >>= 4;
    let mut head = Vec::with_capacity(5);
    while size > 0 {
        head.push(byte | 0x80);
        byte = (size & 0x7f) as u8;
        size >>= 7;
    }
    head.push(byte);
    head
}

fn count(number: usize) -> io::Result<u32> {
    u32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

/// A writer that ends with the SHA-1 of all before it.
struct Hashed<W> {
    out: W,
    hasher: gix::hash::Hasher,
    /// Bytes so far; an offset beyond 31 bits would need another index format, so it is an error.
    written: u32,
}

impl<W: Write> Hashed<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            hasher: gix::hash::hasher(gix::hash::Kind::Sha1),
            written: 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written = count(bytes.len())?
            .checked_add(self.written)
            .filter(|written| *written <= i32::MAX as u32)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    fn finish(mut self) -> io::Result<[u8; 20]> {
        let id = self.hasher.try_finalize().map_err(io::Error::other)?;
        let hash: [u8; 20] = id.as_slice().try_into().map_err(io::Error::other)?;
        self.out.write_all(&hash)?;
        self.out.flush()?;
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn only_what_nothing_can_refer_to_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let begun = ["pack-a.pack", "pack-a.rev", "pack-b.rev", "pack-b.bitmap"];
        let merged = [
            "pack-m.pack",
            "pack-m.rev",
            "pack-m.merged",
            "pack-n.merged",
        ];
        let whole = [
            "pack-c.pack",
            "pack-c.idx",
            "pack-c.rev",
            "pack-n.pack",
            "pack-n.idx",
        ];
        // The index of one is gone, somebody's push is just arriving, and other files are none of ours.
        let others = [
            "pack-b.pack",
            "pack-d.pack",
            "pack-d.rev",
            "pack-d.keep",
            "tmp.pack",
            "pack-e.txt",
        ];
        for name in [&begun[..], &merged, &whole, &others].concat() {
            fs::write(folder.path().join(name), "receive-pack 1 on here\n").unwrap();
        }
        for mark in ["pack-a.keep", "pack-c.keep", SPARE_MARK] {
            fs::write(folder.path().join(mark), MARK).unwrap();
        }
        remove_unfinished(folder.path()).unwrap();
        let left: BTreeSet<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let expected = whole.iter().chain(&others);
        assert_eq!(left, expected.map(|name| (*name).to_owned()).collect());
    }

    #[test]
    fn a_hidden_pack_goes_with_all_its_files_unless_it_was_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("pack-a");
        let count = || fs::read_dir(folder.path()).unwrap().count();
        for extension in ["idx", "pack", "rev", "bitmap", HIDDEN] {
            fs::write(stem.with_extension(extension), "").unwrap();
        }
        discard(&stem).unwrap();
        assert_eq!(count(), 4, "it was written again");
        fs::rename(stem.with_extension("idx"), stem.with_extension(HIDDEN)).unwrap();
        discard(&stem).unwrap();
        assert_eq!(count(), 0);
    }

    #[test]
    fn a_pack_of_git_is_taken_over_whole_or_not_at_all() {
        let git_dir = tempfile::tempdir().unwrap();
        let folder = git_dir.path().join("objects/pack");
        fs::create_dir_all(&folder).unwrap();
        let names = || {
            let entries = fs::read_dir(&folder).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect::<BTreeSet<String>>()
        };
        let take_over = |parts: &[&str]| {
            let apart = folder_apart(git_dir.path(), "test").unwrap();
            let stem = apart.path().join("pack-a");
            for part in parts {
                fs::write(stem.with_extension(part), "of git").unwrap();
            }
            assert!(apart.path().exists());
            take_over(&stem, &folder).map(|pack| {
                assert_eq!(pack.read().unwrap(), b"of git");
                names()
            })
        };
        take_over(&["pack", "rev", "bitmap"]).unwrap_err();
        take_over(&["idx"]).unwrap_err();
        assert_eq!(names(), BTreeSet::from([SPARE_MARK.to_owned()]));
        let placed = take_over(&["idx", "pack"]).unwrap();
        let expected = ["pack-a.idx", "pack-a.keep", "pack-a.pack"].map(str::to_owned);
        assert_eq!(placed, BTreeSet::from(expected));
        assert!(take_over(&["idx", "pack", "rev", "bitmap"]).unwrap().len() > 3);
        // It was there before, so it stays.
        take_over(&["idx"]).unwrap_err();
        let parts = ["bitmap", "idx", "pack", "rev"].map(|part| format!("pack-a.{part}"));
        let expected = parts.into_iter().chain([SPARE_MARK.to_owned()]);
        assert_eq!(names(), expected.collect());
        assert_eq!(
            fs::read_dir(git_dir.path().join("objects"))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn what_is_not_there_needs_no_removal_and_what_stays_is_told() {
        let folder = tempfile::tempdir().unwrap();
        remove_if_there(&folder.path().join("nothing")).unwrap();
        assert!(remove_if_there(folder.path()).is_err());
    }
}
