//! What is torn, and lies whole somewhere else in the repository: git may read the torn copy all the same.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;
use gix::ObjectId;
use gix::odb::pack::index;
use tracing::warn;

use crate::disk::{self, about};

use super::damage::{Damaged, look_into};
use super::pack;
use super::place::Place;

/// Of so many files of single objects it is looked at a start whether they are torn.
const LOOSE_MAX: usize = 10_000;

impl Place {
    /// Removes files of single objects that are torn if a pack has the object, and takes a pack away that is torn if
    /// others, which are whole, have all of its objects. Gives the packs that are left.
    ///
    /// The indices in `no_indices` are torn, and could not be made again.
    pub(super) fn drop_torn_copies(
        &self,
        torn_packs: Vec<Damaged>,
        no_indices: &[Damaged],
    ) -> io::Result<Vec<Damaged>> {
        let is_among = |some: &[Damaged], path: &Path| some.iter().any(|it| it.path == path);
        let (mut indices, mut is_rest_whole) = (Vec::new(), true);
        for path in self.packs_and_indices("idx")? {
            let pack = path.with_extension("pack");
            if !pack.exists() || is_among(&torn_packs, &pack) {
                continue;
            }
            // Only where it matters: all bytes of the repository are read.
            let is_whole = !is_among(no_indices, &path)
                && (torn_packs.is_empty() || look_into(&pack).is_none());
            match is_whole {
                true => indices.extend(open(&path)),
                false => is_rest_whole = false,
            }
        }
        let has = |id: &gix::oid| indices.iter().any(|index| index.lookup(id).is_some());
        self.drop_torn_files(&has)?;
        let (unreadable, readable): (Vec<_>, Vec<_>) = torn_packs.into_iter().partition(|torn| {
            let index = torn.path.with_extension("idx");
            is_among(no_indices, &index) || open(&index).is_none()
        });
        let is_copy = |torn: &Damaged| {
            open(&torn.path.with_extension("idx")).is_some_and(|index| {
                let mut entries = 0..index.num_objects();
                entries.all(|entry| has(index.oid_at_index(entry)))
            })
        };
        let (mut copies, mut left): (Vec<_>, Vec<_>) = readable.into_iter().partition(is_copy);
        match is_rest_whole && self.is_whole_without(&unreadable)? {
            true => copies.extend(unreadable),
            false => left.extend(unreadable),
        }
        for torn in copies {
            self.hide(&torn.path.with_extension("idx"))?;
            warn!(%torn, "a pack was taken away: other packs have all of its objects");
        }
        Ok(left)
    }

    fn drop_torn_files(&self, has: &dyn Fn(&gix::oid) -> bool) -> io::Result<()> {
        for (path, id) in self.loose_files()?.into_iter().take(LOOSE_MAX) {
            if has(&id) && !is_whole(&path, id) {
                fs::remove_file(&path)?;
                warn!(path = %path.display(), "a torn file was removed: a pack has the object");
            }
        }
        Ok(())
    }

    /// Whether the history is whole without packs of which nobody can tell what is in them: their indices are torn, too.
    fn is_whole_without(&self, packs: &[Damaged]) -> io::Result<bool> {
        let indices = packs.iter().map(|torn| torn.path.with_extension("idx"));
        let indices: Vec<PathBuf> = indices.filter(|index| index.exists()).collect();
        if indices.is_empty() {
            return Ok(false);
        }
        pack::remove_if_there(&self.packs().join("multi-pack-index"))?;
        // Whoever is killed here leaves a pack without index, which stays.
        let aside = |number| {
            self.packs()
                .join(format!("{}aside-{number}", disk::TEMP_PREFIX))
        };
        for (number, index) in indices.iter().enumerate() {
            disk::put_aside(index, &aside(number))?;
        }
        let gap = self.gap_in_history();
        for (number, index) in indices.iter().enumerate() {
            disk::put_aside(&aside(number), index)?;
        }
        Ok(gap?.is_none())
    }

    /// Hides a pack from readers; it goes at the next start.
    fn hide(&self, index: &Path) -> io::Result<()> {
        pack::remove_if_there(&self.packs().join("multi-pack-index"))?;
        if index.exists() {
            disk::put_aside(index, &index.with_extension(pack::HIDDEN))?;
        }
        disk::sync_folder(&self.packs())
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
            let found = match fs::read_dir(folder.path()) {
                // Another user's: what a push under way has, or what nobody else can read, so nothing to mend.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                found => disk::if_there(found).map_err(about(&folder.path()))?,
            };
            for file in found.into_iter().flatten() {
                let file = file?;
                let rest = file.file_name();
                let name = [prefix.as_encoded_bytes(), rest.as_encoded_bytes()].concat();
                let id = ObjectId::from_hex(&name).ok();
                if let Some(id) = id.filter(|_| file.file_type().is_ok_and(|it| it.is_file())) {
                    files.push((file.path(), id));
                }
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

fn hash(mut object: impl Read) -> io::Result<ObjectId> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match object.read(&mut buffer)? {
            0 => return hasher.try_finalize().map_err(io::Error::other),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn open(path: &Path) -> Option<index::File> {
    index::File::at(path, gix::hash::Kind::Sha1).ok()
}
