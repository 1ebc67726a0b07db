//! What ended processes left in the repository: ours, and git's.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::warn;

use crate::disk::{self, about, if_there};

use super::copy::INCOMING;
use super::place::Place;
use super::upstream::ARRIVED;
use super::{pack, refs};

/// How long git writes nothing to what it receives before its process is taken for ended.
const PUSH_LIFE: Duration = Duration::from_secs(600);
/// How the folder begins in which git receives a push, and the file of a single object that it writes.
const RECEIVED: &str = "tmp_objdir-";
const SINGLE: &str = "tmp_obj_";
/// How the text begins with which git marks a pack that it receives, and how many bytes tell.
const RECEIVERS: [&[u8]; 2] = [b"receive-pack ", b"fetch-pack "];
const RECEIVER_BYTES: u64 = 16;

impl Place {
    /// Removes what an ended process left: temporary files, a pack that has no index yet, a pack that was merged
    /// into another, its locks, half of a push.
    pub(super) fn clean(&self) -> io::Result<()> {
        let packs = self.packs();
        pack::remove_unfinished(&packs)?;
        let served = self.git_dir.join(refs::SERVED);
        let folders = [Some(packs.as_path()), Some(&self.git_dir), served.parent()];
        // Git takes away a folder of refs when it has packed them.
        for folder in folders
            .into_iter()
            .flatten()
            .filter(|folder| folder.exists())
        {
            disk::remove_leftovers(folder)?;
        }
        let graph = self.git_dir.join("objects/info/commit-graph.lock");
        let lock_of = |name| self.git_dir.join(name).with_extension("lock");
        refs::remove_left_lock(&self.git_dir)?;
        self.remove_left_marks()?;
        for lock in [graph, lock_of(INCOMING), lock_of(ARRIVED)] {
            pack::remove_if_there(&lock)?;
        }
        self.remove_folders_apart()
    }

    /// Marks by which git keeps a pack that it receives, until a ref leads there: a pack with one is never merged.
    ///
    /// Nothing that was received goes without its mark either: only somebody's own `git gc` may take it.
    fn remove_left_marks(&self) -> io::Result<()> {
        let is_left = |mark: &Path| -> io::Result<bool> {
            let mut text = Vec::new();
            let file = File::open(mark)?;
            let is_old = is_old(&file.metadata()?);
            file.take(RECEIVER_BYTES).read_to_end(&mut text)?;
            Ok(is_old && RECEIVERS.iter().any(|name| text.starts_with(name)))
        };
        for mark in self.packs_and_indices("keep")? {
            let removed = is_left(&mark).and_then(|is_left| match is_left {
                true => pack::remove_if_there(&mark),
                false => Ok(()),
            });
            if let Err(cause) = if_there(removed) {
                warn!(path = %mark.display(), %cause, "a mark of a pack cannot be looked at");
            }
        }
        Ok(())
    }

    /// Those of our own git processes, and what git left of pushes.
    ///
    /// Readers look at none of it, so what another user left, or has under way, is no reason not to start.
    fn remove_folders_apart(&self) -> io::Result<()> {
        let objects = self.git_dir.join("objects");
        for entry in fs::read_dir(&objects).map_err(about(&objects))? {
            let entry = entry.map_err(about(&objects))?;
            if let Err(cause) = entry.file_type().and_then(|kind| match kind.is_dir() {
                true => remove_apart(&entry.path()),
                false => Ok(()),
            }) {
                let path = entry.path();
                warn!(path = %path.display(), %cause, "what another process has or left there stays");
            }
        }
        Ok(())
    }
}

/// Removes what an ended process left in a folder of objects, or all of it.
fn remove_apart(folder: &Path) -> io::Result<()> {
    let name = folder.file_name().unwrap_or_default().as_encoded_bytes();
    let mut files = Vec::new();
    if name.starts_with(pack::APART.as_bytes()) {
        disk::remove_folder(folder)?;
    } else if name.starts_with(RECEIVED.as_bytes()) {
        walk(folder, &mut files)?;
        if files.iter().all(|(_, metadata)| is_old(metadata)) {
            disk::remove_folder(folder)?;
        }
    } else if name.len() == 2 {
        walk(folder, &mut files)?;
        let is_single = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(SINGLE.as_bytes())
        };
        for (path, _) in files
            .iter()
            .filter(|(path, it)| is_single(path) && is_old(it))
        {
            pack::remove_if_there(path)?;
        }
    }
    Ok(())
}

/// Everything in a folder and below; what goes meanwhile is not there.
fn walk(folder: &Path, found: &mut Vec<(PathBuf, Metadata)>) -> io::Result<()> {
    for entry in if_there(fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        let Some(metadata) = if_there(entry.metadata())? else {
            continue;
        };
        if metadata.is_dir() {
            walk(&entry.path(), found)?;
        }
        found.push((entry.path(), metadata));
    }
    Ok(())
}

/// Whether it was not written to for long; what comes from the future was not.
fn is_old(metadata: &Metadata) -> bool {
    let age = metadata
        .modified()
        .map(|written| SystemTime::now().duration_since(written));
    age.is_ok_and(|age| age.is_ok_and(|age| age > PUSH_LIFE))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{open, place};
    use super::*;

    #[test]
    fn half_of_a_push_goes_once_nobody_has_written_to_it_for_long() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), "http://localhost:1").unwrap());
        let place = place(folder.path());
        let objects = place.git_dir.join("objects");
        let make = |path: &str, is_old: bool| {
            let path = objects.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(&path).unwrap();
            if is_old {
                let long_ago = SystemTime::now() - PUSH_LIFE * 2;
                file.set_modified(long_ago).unwrap();
                for folder in path.ancestors().skip(1).take_while(|it| **it != *objects) {
                    File::open(folder).unwrap().set_modified(long_ago).unwrap();
                }
            }
            path
        };
        let gone = [
            make("tmp_objdir-incoming-a/pack/tmp_pack_a", true),
            make("tmp_objdir-incoming-b/17/tmp_obj_b", true),
            make("aa/tmp_obj_c", true),
            make("tmp_apart-merge/pack-f.pack", false),
        ];
        let staying = [
            make("tmp_objdir-incoming-d/pack/tmp_pack_d", false),
            make("bb/tmp_obj_e", false),
            make("bb/0123456789", true),
            make("info/tmp_obj_f", true),
        ];
        place.clean().unwrap();
        assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
        assert!(staying.iter().all(|path| path.exists()), "{staying:?}");
        assert!(!objects.join("tmp_objdir-incoming-a").exists());
    }

    #[test]
    fn the_mark_of_a_push_goes_once_its_git_must_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), "http://localhost:1").unwrap());
        let place = place(folder.path());
        let make = |name: &str, text: &str, age: Duration| {
            let path = place.packs().join(name).with_extension("keep");
            fs::write(&path, text).unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let old = PUSH_LIFE * 2;
        let gone = [
            make("pack-a", "receive-pack 1 on here\n", old),
            make("pack-b", "fetch-pack 1 on here\n", old),
        ];
        let staying = [
            make("pack-c", "receive-pack 1 on here\n", PUSH_LIFE / 2),
            make("pack-d", "mine: receive-pack 1 on here\n", old),
        ];
        place.clean().unwrap();
        assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
        assert!(staying.iter().all(|path| path.exists()), "{staying:?}");
    }
}
