//! Packs of our own: the objects of a group of commits in one durable file.
//!
//! The formats are those of git's `gitformat-pack(5)`: a pack of version 2 without deltas, an index of version 2.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Crc;
use gix::ObjectId;
use gix::objs::Kind;

use crate::disk::{self, TempFolder, about};

use super::damage;
use super::object::PackObject;

/// The name of a mark that is not needed at the moment.
const SPARE_MARK: &str = "sidecargo-spare.mark";
/// What stands in our marks, by which they are told from those of a push or of a person.
const MARK: &[u8] = b"sidecargo: no ref leads here yet\n";

/// The extension that an index has until it is written.
const NEXT_INDEX: &str = "next";
/// How the names of folders begin in which git writes packs for us.
pub(super) const APART: &str = "tmp_apart-";
/// The extension that the index of a pack has once no reader shall find it any more: all of it lies in other packs.
pub(super) const HIDDEN: &str = "merged";

/// Where the writer puts packs; the next one has its place already, if there was time to make it.
#[derive(Debug)]
pub(super) struct Packs {
    folder: PathBuf,
    blank: Option<Blank>,
}

impl Packs {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            blank: None,
        }
    }

    /// Makes the place of the next pack, while nobody waits for it.
    pub(super) fn make_ready(&mut self) {
        if self.blank.is_none() {
            // What is in the way is told to whoever asks for a change.
            self.blank = Blank::make(&self.folder).ok();
        }
    }

    /// As [`write`].
    pub(super) fn write(&mut self, objects: &[PackObject]) -> io::Result<Pack> {
        let ready = self.blank.take().filter(Blank::is_there);
        let blank = ready.map_or_else(|| Blank::make(&self.folder), Ok)?;
        blank.fill(objects)
    }
}

/// Writes the objects as one pack with its index into `folder`: durable when this returns, but for the index, which can
/// be made again from the pack.
///
/// An object that is given twice is written once. A failure leaves nothing behind, and takes nothing away.
/// While the value that comes back lives, the pack is marked to be kept: a `git repack -a -d` at that moment would take
/// away what no ref reaches yet.
pub(super) fn write(folder: &Path, objects: &[PackObject]) -> io::Result<Pack> {
    Packs::new(folder.to_owned()).write(objects)
}

/// A pack that has its name, its mark and a file for its index, all of them durable and empty: what is written into it
/// needs no flush of the folder any more, and no new file, which costs a file system more than bytes do.
#[derive(Debug)]
struct Blank(Pack);

impl Blank {
    fn make(folder: &Path) -> io::Result<Self> {
        let mut name = [0; 20];
        getrandom::fill(&mut name).map_err(io::Error::from)?;
        let name = format!("pack-{}", ObjectId::Sha1(name));
        let mut blank = Self(Pack::named(folder, &name));
        blank.0.is_wanted = false;
        disk::write_mark(&blank.0.spare_mark, &blank.0.mark(), MARK)?;
        for part in ["pack", NEXT_INDEX] {
            File::create_new(blank.0.stem.with_extension(part))?;
        }
        disk::sync_folder(folder)?;
        Ok(blank)
    }

    /// Whether nobody took it away meanwhile.
    fn is_there(&self) -> bool {
        let parts = ["pack", NEXT_INDEX, "keep"];
        { parts.iter() }.all(|part| self.0.stem.with_extension(part).exists())
    }

    /// The pack first: readers find packs by their index.
    fn fill(self, objects: &[PackObject]) -> io::Result<Pack> {
        let Self(mut files) = self;
        let [pack, next_index, index] =
            ["pack", NEXT_INDEX, "idx"].map(|part| files.stem.with_extension(part));
        let open = |path| OpenOptions::new().write(true).truncate(true).open(path);
        let mut file = open(&pack)?;
        let (entries, hash) = write_pack(&mut file, objects)?;
        disk::flush(&file)?;
        write_index(&mut open(&next_index)?, entries, &hash)?;
        disk::put_aside(&next_index, &index)?;
        files.is_wanted = true;
        Ok(files)
    }
}

/// Makes a folder in which git writes packs for us: one whose writing ends early is never seen where packs are.
pub(super) fn folder_apart(git_dir: &Path, purpose: &str) -> io::Result<TempFolder> {
    let objects = git_dir.join("objects");
    TempFolder::create(objects.join(format!("{APART}{purpose}")))
}

/// Moves a pack that git wrote and flushed in a [`folder_apart`] into `folder`, durable when this returns; `stem` is
/// the path of its files without their extensions.
pub(super) fn take_over(stem: &Path, folder: &Path) -> io::Result<Pack> {
    let name = stem.file_name().unwrap_or_default();
    let mut files = Pack::named(folder, &name.to_string_lossy());
    // One that git writes again is already referred to: it stays, whatever happens now.
    files.is_wanted = files.stem.with_extension("idx").exists();
    disk::write_mark(&files.spare_mark, &files.mark(), MARK)?;
    let rename = |part| {
        let (from, to) = (stem.with_extension(part), files.stem.with_extension(part));
        disk::put_aside(&from, &to)
    };
    disk::if_there(rename("bitmap"))?;
    disk::if_there(rename("rev"))?;
    rename("pack")?;
    rename("idx")?;
    disk::sync_folder(folder)?;
    files.is_wanted = true;
    Ok(files)
}

/// The files of a pack in the repository.
#[derive(Debug)]
pub(super) struct Pack {
    /// Their path without an extension.
    stem: PathBuf,
    spare_mark: PathBuf,
    /// Whether anything can refer to it. If not, it goes with this value.
    is_wanted: bool,
}

impl Drop for Pack {
    fn drop(&mut self) {
        // What stays is only garbage, and goes at the next start.
        if !self.is_wanted {
            // The index first, so that no reader finds a pack that is half gone.
            let _ = fs::remove_file(self.stem.with_extension("idx"));
            let _ = remove_parts(&self.stem);
            // Its mark last: without, half a pack would be taken for one that lost its index.
            let _ = disk::sync_folder(self.folder());
        }
        let _ = disk::put_aside(&self.mark(), &self.spare_mark);
    }
}

impl Pack {
    fn named(folder: &Path, name: &str) -> Self {
        Self {
            stem: folder.join(name),
            spare_mark: folder.join(SPARE_MARK),
            is_wanted: true,
        }
    }

    fn folder(&self) -> &Path {
        self.stem.parent().unwrap_or(&self.stem)
    }

    /// Its bytes, as git sends them too.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(self.stem.with_extension("pack"))
    }

    /// Takes away a pack that nothing refers to.
    pub(super) fn remove(mut self) {
        self.is_wanted = false;
    }

    fn mark(&self) -> PathBuf {
        self.stem.with_extension("keep")
    }
}

/// How many packs readers find in the folder; none if there is no folder.
pub(super) fn how_many(folder: &Path) -> io::Result<usize> {
    let entries = disk::if_there(fs::read_dir(folder)).map_err(about(folder))?;
    let mut count = 0;
    for entry in entries.into_iter().flatten() {
        let path = entry.map_err(about(folder))?.path();
        count += usize::from(path.extension() == Some(OsStr::new("idx")));
    }
    Ok(count)
}

/// Removes what nothing can refer to: packs that were not written to their end, and those that were merged into others.
/// Any other pack without an index had one once, or is just arriving.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    let mut marks = Vec::new();
    for entry in fs::read_dir(folder).map_err(about(folder))? {
        let path = entry.map_err(about(folder))?.path();
        let has_index = path.with_extension("idx").exists();
        let has_mark = path.with_extension("keep").exists();
        // Of a mark that was made in the moment of a power cut only a part may be there.
        let is_part = |text: &[u8]| {
            let zeros = text.iter().rev().take_while(|byte| **byte == 0).count();
            MARK.starts_with(&text[..text.len() - zeros])
        };
        let is_ours = || {
            let text = fs::read(&path).ok();
            text.is_some_and(|text| text == MARK || !has_index && is_part(&text))
        };
        let is_blank = || fs::metadata(&path).is_ok_and(|pack| pack.len() == 0);
        match path.extension().and_then(OsStr::to_str) {
            // After a power cut the spare mark may not say what it did.
            _ if path.file_name() == Some(OsStr::new(SPARE_MARK)) => remove_if_there(&path)?,
            Some("keep") if is_ours() => {
                let pack = path.with_extension("pack");
                if !has_index && damage::is_torn(&pack)? {
                    remove_parts(&path)?;
                } else if !has_index {
                    // It may be the tip's, whose index did not come to the disk, or that of a process which was killed
                    // before it flushed it.
                    let flushed = File::open(&pack).and_then(|file| disk::flush(&file));
                    flushed.map_err(about(&pack))?;
                }
                marks.push(path);
            }
            Some("pack") if !has_index && is_blank() => remove_if_there(&path)?,
            Some(HIDDEN) => discard(&path)?,
            Some(NEXT_INDEX) => remove_if_there(&path)?,
            Some("rev" | "bitmap" | "mtimes" | "promisor") if !has_index && !has_mark => {
                remove_if_there(&path)?;
            }
            _ => {}
        }
    }
    // Only then, as in the drop of a pack.
    disk::sync_folder(folder).map_err(about(folder))?;
    marks.iter().try_for_each(|mark| remove_if_there(mark))
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

/// Removes a pack that has no index, with what git has noted beside it; `stem` is as that of [`discard`].
pub(super) fn remove_parts(stem: &Path) -> io::Result<()> {
    let mut parts = ["bitmap", "rev", "mtimes", "promisor", NEXT_INDEX, "pack"].into_iter();
    parts.try_for_each(|part| remove_if_there(&stem.with_extension(part)))
}

/// Removes a file that may have gone already.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    let removed = disk::if_there(fs::remove_file(path)).map(drop);
    removed.map_err(about(path))
}

struct Entry {
    id: [u8; 20],
    crc: u32,
    offset: u32,
}

fn write_pack(file: &mut File, objects: &[PackObject]) -> io::Result<(Vec<Entry>, [u8; 20])> {
    let mut seen = HashSet::new();
    let objects: Vec<&PackObject> = objects
        .iter()
        .filter(|object| seen.insert(object.id))
        .collect();
    let mut out = Hashed::new(BufWriter::new(file));
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
    Ok((entries, out.finish()?))
}

/// Not flushed: one that a power cut has torn is made again from its pack at the next start.
fn write_index(file: &mut File, mut entries: Vec<Entry>, pack_hash: &[u8; 20]) -> io::Result<()> {
    entries.sort_by_key(|entry| entry.id);
    let mut out = Hashed::new(BufWriter::new(file));
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
    out.finish().map(drop)
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

    use super::super::object::Body;
    use super::*;

    #[test]
    fn only_what_nothing_can_refer_to_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let begun = ["pack-a.pack", "pack-a.rev", "pack-b.rev", "pack-b.bitmap"];
        let blank = ["pack-g.pack", "pack-g.next", "pack-c.next"];
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
            "pack-o.idx",
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
        // The power went before its index was on the disk.
        let landed = write(folder.path(), &[object(b"of the tip")]).unwrap();
        let landed = landed.stem.with_extension("pack");
        fs::remove_file(landed.with_extension("idx")).unwrap();
        for name in blank {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let of_packs = ["pack-a.keep", "pack-c.keep", "pack-h.keep", "pack-o.keep"];
        for mark in of_packs.into_iter().chain([SPARE_MARK]) {
            fs::write(folder.path().join(mark), MARK).unwrap();
        }
        fs::write(landed.with_extension("keep"), MARK).unwrap();
        remove_unfinished(folder.path()).unwrap();
        let left = names(folder.path());
        let landed = landed.file_name().unwrap().to_str().unwrap();
        let expected = whole.iter().chain(&others).chain([&landed]);
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

    fn object(bytes: &[u8]) -> PackObject {
        Body::with_object(bytes).unwrap().1
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_pack_has_its_place_before_it_is_written_and_another_one_if_that_was_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut packs = Packs::new(folder.to_owned());
        packs.make_ready();
        let ready = names(folder);
        packs.make_ready();
        assert_eq!(names(folder), ready);
        let stem = |pack: &Pack| pack.stem.file_name().unwrap().to_str().unwrap().to_owned();
        let first = packs.write(&[object(b"one")]).unwrap();
        assert!(ready.contains(&format!("{}.pack", stem(&first))));
        for extension in ["pack", "keep", NEXT_INDEX] {
            packs.make_ready();
            let ready = packs.blank.as_ref().unwrap().0.stem.clone();
            fs::remove_file(ready.with_extension(extension)).unwrap();
            let pack = packs.write(&[object(b"two")]).unwrap();
            assert!(pack.stem != ready && pack.read().unwrap().starts_with(b"PACK"));
            pack.remove();
        }
        packs.make_ready();
        drop(packs);
        drop(first);
        // Of all that was ready, unwanted or in flight, one pack and one mark are left.
        assert_eq!(names(folder).len(), 3);
        assert!(names(folder).contains(SPARE_MARK));
    }

    #[test]
    fn a_mark_that_was_not_written_marks_nothing_later() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("pack-a");
        // Of an older process, whose mark was never on the disk, or not all of it.
        for mark in [&b""[..], &MARK[..9], b"sidecargo\0\0", &[0; MARK.len()]] {
            for part in ["pack", NEXT_INDEX] {
                fs::write(stem.with_extension(part), "half").unwrap();
            }
            fs::write(stem.with_extension("keep"), mark).unwrap();
            remove_unfinished(folder.path()).unwrap();
            assert_eq!(names(folder.path()), BTreeSet::new());
        }
        // A full disk, as the kernel has one.
        let full = folder.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        disk::write_mark(&folder.path().join(SPARE_MARK), &full, MARK).unwrap_err();
        assert_eq!(names(folder.path()), BTreeSet::new());
    }

    #[test]
    fn a_pack_that_cannot_be_read_stays() {
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("pack-a.pack");
        // What a disk does that fails: it can be opened and not read.
        fs::create_dir(&pack).unwrap();
        fs::write(pack.with_extension("keep"), MARK).unwrap();
        let fault = remove_unfinished(folder.path()).unwrap_err();
        assert!(
            fault.to_string().contains("pack-a.pack cannot be read"),
            "{fault}"
        );
        assert!(pack.exists() && pack.with_extension("keep").exists());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut packs = Packs::new(folder.path().to_owned());
        packs.make_ready();
        let ready = packs.blank.as_ref().unwrap().0.stem.clone();
        fs::create_dir(ready.with_extension("idx")).unwrap();
        packs.write(&[object(b"one")]).unwrap_err();
        fs::remove_dir(ready.with_extension("idx")).unwrap();
        assert_eq!(
            names(folder.path()),
            BTreeSet::from([SPARE_MARK.to_owned()])
        );
        let gone = folder.path().join("gone");
        Packs::new(gone).write(&[object(b"one")]).unwrap_err();
    }

    #[test]
    fn a_pack_of_git_is_taken_over_whole_or_not_at_all() {
        let git_dir = tempfile::tempdir().unwrap();
        let folder = git_dir.path().join("objects/pack");
        fs::create_dir_all(&folder).unwrap();
        let names = || names(&folder);
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
