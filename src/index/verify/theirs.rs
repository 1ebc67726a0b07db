//! The objects of commits that people made: also those that no state of the index has any more.
//!
//! A bad merge together with its revert is no step, but whoever clones the index gets it all.

use std::collections::HashSet;

use gix::objs::{Kind, TreeRefIter};

use super::large::{Large, Tell};
use crate::domain::{CommitId, excerpt};
use crate::index::load::LoadFault;
use crate::index::objects::{Objects, bytes_of};

/// What was read and need not be read again.
#[derive(Default)]
pub(super) struct Seen {
    commits: HashSet<CommitId>,
    objects: HashSet<[u8; 20]>,
}

impl Seen {
    /// Takes a commit, and with it all that it stands on, for read.
    pub(super) fn add(&mut self, commit: CommitId) {
        self.commits.insert(commit);
    }

    /// As [`Seen::add`], also for the first parents of the commit.
    pub(super) fn add_with_parents(&mut self, objects: &Objects, commit: CommitId) {
        let mut next = Some(commit);
        while let Some(id) = next {
            self.add(id);
            let commit = objects.commit(id).ok();
            next = commit.and_then(|commit| commit.parents.first().copied());
        }
    }

    /// Reads `last` and all that it stands on and that was not read yet; a fault names the commit in which it is.
    pub(super) fn read(
        &mut self,
        objects: &Objects,
        last: CommitId,
    ) -> Result<(), (CommitId, LoadFault)> {
        let mut next = vec![last];
        while let Some(id) = next.pop() {
            if !self.commits.insert(id) {
                continue;
            }
            let (folder, parents) = commit(objects, id).map_err(|fault| (id, fault))?;
            self.folder(objects, &folder).map_err(|fault| (id, fault))?;
            next.extend(parents);
        }
        Ok(())
    }

    /// Reads a folder and all below it. People can have nested folders as deeply as they like.
    fn folder(&mut self, objects: &Objects, root: &[u8; 20]) -> Result<(), LoadFault> {
        let mut next = vec![*root];
        while let Some(id) = next.pop() {
            if !self.objects.insert(id) {
                continue;
            }
            // What no index may have is no matter here, if no state of the index ever had it: programs, links, anything
            // of any size. The commit that a submodule names is of another repository.
            let mut files = Vec::new();
            folder(objects, id, &mut |mode, name, id| {
                if mode.is_tree() {
                    next.push(id);
                } else if !mode.is_commit() && self.objects.insert(id) {
                    files.push((id, excerpt(&String::from_utf8_lossy(name))));
                }
            })?;
            for (id, name) in files {
                file(objects, id, &name)?;
            }
        }
        Ok(())
    }
}

/// The folder of a commit and its parents.
fn commit(objects: &Objects, id: CommitId) -> Result<([u8; 20], Vec<CommitId>), LoadFault> {
    match objects.commit(id) {
        Err(LoadFault::TooLarge { path, bytes, .. }) => {
            let large = Large::of(objects, *id.as_bytes(), bytes);
            large.commit().map_err(|cause| objects.fault(&path, &cause))
        }
        read => read.map(|commit| (*commit.tree.as_bytes(), commit.parents)),
    }
}

/// Tells of each entry of a folder.
fn folder(objects: &Objects, id: [u8; 20], tell: &mut Tell<'_>) -> Result<(), LoadFault> {
    match objects.read(&id, Kind::Tree, "a folder") {
        Err(LoadFault::TooLarge { path, bytes, .. }) => {
            let large = Large::of(objects, id, bytes);
            large
                .folder(tell)
                .map_err(|cause| objects.fault(&path, &cause))
        }
        read => {
            let bytes = read?;
            let entries = TreeRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1);
            for entry in entries.map_while(Result::ok) {
                tell(entry.mode, entry.filename, bytes_of(entry.oid.to_owned()));
            }
            Ok(())
        }
    }
}

fn file(objects: &Objects, id: [u8; 20], name: &str) -> Result<(), LoadFault> {
    match objects.read(&id, Kind::Blob, &format!("a file `{name}`")) {
        Err(LoadFault::TooLarge { path, bytes, .. }) => {
            let large = Large::of(objects, id, bytes);
            large.blob().map_err(|cause| objects.fault(&path, &cause))
        }
        read => read.map(drop),
    }
}
