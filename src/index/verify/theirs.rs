//! The objects of commits that people made: also those that no state of the index has any more.
//!
//! A bad merge together with its revert is no step, but whoever clones the index gets it all.

use std::collections::HashSet;

use gix::objs::{Kind, TreeRefIter};

use crate::domain::CommitId;
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
            let commit = objects.commit(id).map_err(|fault| (id, fault))?;
            self.folder(objects, commit.tree.as_bytes())
                .map_err(|fault| (id, fault))?;
            next.extend(commit.parents);
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
            let tree = objects.read(&id, Kind::Tree, "a folder")?;
            // What no index may have is no matter here, if no state of the index ever had it: programs, links, files of
            // any size. The commit that a submodule names is of another repository.
            let entries = TreeRefIter::from_bytes(&tree, gix::hash::Kind::Sha1);
            for entry in entries.map_while(Result::ok) {
                let id = bytes_of(entry.oid.to_owned());
                if entry.mode.is_tree() {
                    next.push(id);
                } else if !entry.mode.is_commit() && self.objects.insert(id) {
                    objects.check(&id, &format!("a file `{}`", entry.filename))?;
                }
            }
        }
        Ok(())
    }
}
