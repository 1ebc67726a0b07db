//! The packs in their folder: listed, compared by the ids in their indexes, hidden and removed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::odb::pack::index;

use crate::disk;

use super::super::pack;
use super::Fault;

/// How the names of files start that git writes before it names them.
const GIT_TEMP: [&str; 4] = ["tmp_pack_", "tmp_idx_", "tmp_bitmap_", "tmp_rev_"];

/// A pack that readers find.
#[derive(Debug)]
pub(super) struct Listed {
    /// The path of its files without their extensions.
    pub(super) stem: PathBuf,
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

impl Listed {
    /// What git calls this part of it.
    pub(super) fn file_name(&self, part: &str) -> String {
        let path = self.stem.with_extension(part);
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The packs that readers find, those with the fewest objects first; without those that somebody marked to be kept.
pub(super) fn list(folder: &Path) -> Result<Vec<Listed>, Fault> {
    let mut packs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension() != Some(OsStr::new("idx")) || path.with_extension("keep").exists() {
            continue;
        }
        // One that is not there any more was taken back.
        let Ok(file) = fs::metadata(path.with_extension("pack")) else {
            continue;
        };
        if let Some(index) = open(&path)? {
            packs.push(Listed {
                stem: path.with_extension(""),
                objects: index.num_objects().into(),
                bytes: file.len(),
            });
        }
    }
    packs.sort_by(|a, b| (a.objects, &a.stem).cmp(&(b.objects, &b.stem)));
    Ok(packs)
}

/// How many bytes must be free to merge packs of so many: the new one may become as large as the old ones together, and
/// the writer needs room meanwhile.
pub(super) fn room_for(bytes: u64) -> u64 {
    bytes.saturating_mul(2)
}

/// How many of the first packs can be merged in so many bytes.
pub(super) fn fitting(packs: &[Listed], free: u64) -> usize {
    let mut bytes: u64 = 0;
    let fits = |pack: &&Listed| {
        bytes = bytes.saturating_add(pack.bytes);
        room_for(bytes) <= free
    };
    packs.iter().take_while(fits).count()
}

/// Hides from readers all of the `old` packs whose every object is in the `new` one.
///
/// Gives the hidden ones. Their files stay for whoever had found them before.
pub(super) fn hide(folder: &Path, old: &[Listed], new: &Path) -> Result<Vec<PathBuf>, Fault> {
    let Some(staying) = open(&new.with_extension("idx"))? else {
        return Ok(Vec::new());
    };
    let mut superseded = Vec::new();
    for pack in old.iter().filter(|pack| pack.stem != new) {
        let path = pack.stem.with_extension("idx");
        let Some(index) = open(&path)? else { continue };
        let stays = |entry| staying.lookup(index.oid_at_index(entry)).is_some();
        if (0..index.num_objects()).all(stays) {
            superseded.push(path);
        }
    }
    // Somebody's index of several packs would name what is gone; all that it tells is told by those of the packs.
    if !superseded.is_empty() {
        pack::remove_if_there(&folder.join("multi-pack-index"))?;
    }
    // By another name, so that a start can tell it from a pack whose index was lost.
    for path in &superseded {
        disk::put_aside(path, &path.with_extension(pack::HIDDEN))?;
    }
    // Before any pack goes: an index must not come back without its pack.
    disk::sync_folder(folder)?;
    Ok(superseded
        .into_iter()
        .map(|path| path.with_extension(""))
        .collect())
}

/// Files that a git writes, or wrote when it ended.
pub(super) fn left_by_git(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut left = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_of_git = |start: &&str| name.as_encoded_bytes().starts_with(start.as_bytes());
        if GIT_TEMP.iter().any(is_of_git) {
            left.insert(entry.path());
        }
    }
    Ok(left)
}

/// The index of a pack; none if it is gone.
fn open(path: &Path) -> Result<Option<index::File>, Fault> {
    match index::File::at(path, gix::hash::Kind::Sha1) {
        Ok(index) => Ok(Some(index)),
        Err(_) if !path.exists() => Ok(None),
        Err(error) => Err(Fault::Index {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_none_is_told_and_one_that_went_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("pack-a");
        fs::write(stem.with_extension("pack"), "").unwrap();
        assert!(open(&stem.with_extension("idx")).unwrap().is_none());
        assert!(list(folder.path()).unwrap().is_empty());
        fs::write(stem.with_extension("idx"), "no index").unwrap();
        let fault = list(folder.path()).unwrap_err();
        assert!(
            matches!(&fault, Fault::Index { path, .. } if *path == stem.with_extension("idx")),
            "{fault}"
        );
    }

    #[test]
    fn files_that_git_left_are_known_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let of_git = ["tmp_pack_a", "tmp_idx_a", "tmp_bitmap_a", "tmp_rev_a"];
        let others = ["pack-a.pack", "pack-a.idx", "a_tmp_pack_", "tmp"];
        for name in of_git.iter().chain(&others) {
            fs::write(path(name), "").unwrap();
        }
        assert_eq!(
            left_by_git(folder.path()).unwrap(),
            of_git.iter().map(|name| path(name)).collect()
        );
    }
}
