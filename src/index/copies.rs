//! What is torn, and lies whole somewhere else in the repository: git may read the torn copy all the same.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;
use gix::ObjectId;
use gix::odb::pack::index;
use tracing::warn;

use crate::disk;

use super::mend::Damaged;
use super::objects::hash;
use super::pack;
use super::place::Place;

/// Of so many files of single objects it is looked at a start whether they are torn.
const LOOSE_MAX: usize = 10_000;

impl Place {
    /// Removes files of single objects that are torn if a pack has the object, and takes a pack away that is torn if
    /// others have all of its objects. Gives the packs that are left.
    pub(super) fn drop_torn_copies(&self, torn_packs: Vec<Damaged>) -> io::Result<Vec<Damaged>> {
        let is_torn = |pack: &Path| torn_packs.iter().any(|torn| torn.path == pack);
        let mut whole = Vec::new();
        for path in self.packs_and_indices("idx")? {
            let pack = path.with_extension("pack");
            if pack.exists() && !is_torn(&pack) {
                whole.extend(open(&path));
            }
        }
        let has = |id: &gix::oid| whole.iter().any(|index| index.lookup(id).is_some());
        for (path, id) in self.loose_files()?.into_iter().take(LOOSE_MAX) {
            if has(&id) && !is_whole(&path, id) {
                warn!(path = %path.display(), "a torn file was removed: a pack has the object");
                fs::remove_file(&path)?;
            }
        }
        let mut left = Vec::new();
        for torn in torn_packs {
            let path = torn.path.with_extension("idx");
            let is_copy = open(&path).is_some_and(|index| {
                let mut entries = 0..index.num_objects();
                entries.all(|entry| has(index.oid_at_index(entry)))
            });
            if !is_copy {
                left.push(torn);
                continue;
            }
            warn!(%torn, "a pack was taken away: other packs have all of its objects");
            pack::remove_if_there(&self.packs().join("multi-pack-index"))?;
            disk::put_aside(&path, &path.with_extension(pack::HIDDEN))?;
            disk::sync_folder(&self.packs())?;
        }
        Ok(left)
    }

    /// The files of single objects, with the ids that their names are.
    fn loose_files(&self) -> io::Result<Vec<(PathBuf, ObjectId)>> {
        let mut files = Vec::new();
        for folder in fs::read_dir(self.git_dir.join("objects"))? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            let prefix = folder.file_name();
            for file in fs::read_dir(folder.path())? {
                let (file, rest) = file.map(|file| (file.path(), file.file_name()))?;
                let name = [prefix.as_encoded_bytes(), rest.as_encoded_bytes()].concat();
                files.extend(ObjectId::from_hex(&name).ok().map(|id| (file, id)));
            }
        }
        Ok(files)
    }
}

/// Whether the file of a single object holds what its name says.
fn is_whole(path: &Path, id: ObjectId) -> bool {
    let content = File::open(path).map(ZlibDecoder::new);
    content.and_then(hash).is_ok_and(|found| found == id)
}

fn open(path: &Path) -> Option<index::File> {
    index::File::at(path, gix::hash::Kind::Sha1).ok()
}
