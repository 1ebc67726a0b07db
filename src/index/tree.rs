//! The folders of the index in memory, as git's own bytes.
//!
//! A commit rewrites only the folders above the files that it changes. [`Trees`] is persistent: a clone costs nothing
//! and a change to it leaves the original as it was, so a draft is dropped by forgetting it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use crate::domain::{BlobId, TreeId};

use super::object::tree_id;

/// What an entry of a folder is. The index holds nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    File,
    Folder,
}

/// The entries of one folder, in git's order and format: `mode SP name NUL id` each. A clone shares them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tree(Arc<[u8]>);

/// One entry of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// `None` if it is something that no index holds.
    pub(super) mode: Option<Mode>,
    pub(super) name: &'a [u8],
    pub(super) id: [u8; 20],
}

/// Every folder of a commit by its path; the root's path is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Trees(OrdMap<Arc<str>, Tree>);

/// A folder that a change rewrote.
#[derive(Debug)]
pub(super) struct NewTree {
    pub(super) id: TreeId,
    pub(super) tree: Tree,
}

/// The path of a folder as people are told of it.
pub(super) fn shown(folder: &str) -> &str {
    if folder.is_empty() { "/" } else { folder }
}

impl Mode {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::File => b"100644",
            Self::Folder => b"40000",
        }
    }

    fn from_git(mode: &[u8]) -> Option<Self> {
        [Self::File, Self::Folder]
            .into_iter()
            .find(|known| known.as_bytes() == mode)
    }
}

impl Entry<'_> {
    fn order(&self, other: &Self) -> Ordering {
        let is_folder = |entry: &Self| entry.mode == Some(Mode::Folder);
        order(self.name, is_folder(self), other.name, is_folder(other))
    }
}

impl Tree {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn from_git(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The entries; `None` if the bytes are not a folder as git writes it.
    pub(super) fn entries(&self) -> Option<Vec<Entry<'_>>> {
        let mut entries: Vec<Entry<'_>> = Vec::new();
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ')?;
            let end = rest.iter().position(|byte| *byte == 0)?;
            let entry = Entry {
                mode: Mode::from_git(&rest[..space]),
                name: rest.get(space + 1..end)?,
                id: *rest[end + 1..].first_chunk()?,
            };
            // A name with a slash would stand for a file in another folder.
            if entry.name.is_empty() || entry.name.contains(&b'/') {
                return None;
            }
            if let Some(last) = entries.last()
                && entry.order(last) != Ordering::Greater
            {
                return None;
            }
            entries.push(entry);
            rest = &rest[end + 21..];
        }
        Some(entries)
    }

    /// The folder with an entry added or replaced.
    fn with(&self, name: &str, mode: Mode, id: &[u8; 20]) -> Self {
        let (start, end) = self.place_of(name, mode);
        let mut bytes = Vec::with_capacity(self.0.len() + name.len() + 28);
        bytes.extend(&self.0[..start]);
        bytes.extend(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.extend(id);
        bytes.extend(&self.0[end..]);
        Self(bytes.into())
    }

    /// The range of bytes of the entry `name`, empty and at its place if there is none.
    fn place_of(&self, name: &str, mode: Mode) -> (usize, usize) {
        let mut start = 0;
        while let Some((found_mode, found_name, length)) = first_entry(&self.0[start..]) {
            if found_name == name.as_bytes() {
                return (start, start + length);
            }
            if order(
                found_name,
                found_mode == Mode::Folder,
                name.as_bytes(),
                mode == Mode::Folder,
            ) == Ordering::Greater
            {
                break;
            }
            start += length;
        }
        (start, start)
    }
}

/// The first entry of a folder's bytes: mode, name and length in bytes.
fn first_entry(bytes: &[u8]) -> Option<(Mode, &[u8], usize)> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let end = space + bytes[space..].iter().position(|byte| *byte == 0)?;
    let mode = if bytes[..space] == *Mode::Folder.as_bytes() {
        Mode::Folder
    } else {
        Mode::File
    };
    Some((mode, &bytes[space + 1..end], end + 21))
}

/// Git compares names bytewise, a folder as if its name ended in `/`.
fn order(a: &[u8], a_is_folder: bool, b: &[u8], b_is_folder: bool) -> Ordering {
    let with_end = |name: &[u8], is_folder: bool, at: usize| match name.get(at) {
        Some(byte) => *byte,
        None if is_folder => b'/',
        None => 0,
    };
    let common = a.len().min(b.len());
    a[..common]
        .cmp(&b[..common])
        .then_with(|| with_end(a, a_is_folder, common).cmp(&with_end(b, b_is_folder, common)))
}

impl Trees {
    /// The folder at `path`.
    pub(super) fn get(&self, path: &str) -> Option<&Tree> {
        self.0.get(path)
    }

    /// Adds a folder as it was read from the repository.
    pub(super) fn insert(&mut self, path: &str, tree: Tree) {
        self.0.insert(path.into(), tree);
    }

    /// Puts files at their paths; returns the root and every folder that was rewritten, the root last.
    pub(super) fn put(&mut self, files: &[(&str, BlobId)]) -> (TreeId, Vec<NewTree>) {
        // Deepest folders first, so that each is finished before it is entered into the one above.
        let mut touched: BTreeMap<(std::cmp::Reverse<usize>, String), NewEntries> = BTreeMap::new();
        for (path, blob) in files {
            let (folder, name) = split(path);
            entries_of(&mut touched, folder).push((name.to_owned(), Mode::File, *blob.as_bytes()));
        }
        entries_of(&mut touched, "");
        let mut rewritten = Vec::new();
        while let Some(((_, path), entries)) = touched.pop_first() {
            let mut tree = self.get(&path).cloned().unwrap_or_default();
            for (name, mode, id) in &entries {
                tree = tree.with(name, *mode, id);
            }
            let id = tree_id(&tree.0);
            self.insert(&path, tree.clone());
            rewritten.push(NewTree { id, tree });
            if path.is_empty() {
                return (id, rewritten);
            }
            let (above, name) = split(&path);
            entries_of(&mut touched, above).push((name.to_owned(), Mode::Folder, *id.as_bytes()));
        }
        unreachable!("the root is always among the touched folders, and is the last of them")
    }
}

type NewEntries = Vec<(String, Mode, [u8; 20])>;

fn entries_of<'a>(
    touched: &'a mut BTreeMap<(std::cmp::Reverse<usize>, String), NewEntries>,
    folder: &str,
) -> &'a mut NewEntries {
    let depth = if folder.is_empty() {
        0
    } else {
        folder.split('/').count()
    };
    touched
        .entry((std::cmp::Reverse(depth), folder.to_owned()))
        .or_default()
}

/// A path's folder and last part.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blob(byte: u8) -> BlobId {
        BlobId::from([byte; 20])
    }

    proptest! {
        #[test]
        fn files_and_folders_come_into_the_order_of_git_in_whatever_order_they_are_put(
            entries in proptest::collection::btree_map("[a0.-]{1,3}", any::<bool>(), 1..8),
            mixed in any::<u64>(),
        ) {
            let path = |(name, is_folder): (&String, &bool)| match is_folder {
                true => format!("{name}/x"),
                false => name.clone(),
            };
            let paths: Vec<String> = entries.iter().map(path).collect();
            let files: Vec<_> = paths.iter().map(|path| (path.as_str(), blob(1))).collect();
            let mut all = Trees::default();
            let root = all.put(&files).0;
            // Nobody else gives entries but in that order.
            let tree = &all.0[""];
            let found = tree.entries().unwrap();
            let found: BTreeMap<String, bool> = found
                .iter()
                .map(|entry| {
                    let name = String::from_utf8(entry.name.to_vec()).unwrap();
                    (name, entry.mode == Some(Mode::Folder))
                })
                .collect();
            prop_assert_eq!(&found, &entries);
            let mut each = Trees::default();
            let mut rest = files;
            let mut last = None;
            while !rest.is_empty() {
                let at = mixed as usize % rest.len();
                last = Some(each.put(&[rest.remove(at)]).0);
            }
            prop_assert_eq!(last, Some(root));
        }
    }

    #[test]
    fn a_folder_with_a_name_that_git_never_writes_is_none() {
        let folder = |name: &str| {
            let mut bytes = format!("100644 {name}\0").into_bytes();
            bytes.extend([1; 20]);
            Tree::from_git(&bytes)
        };
        assert!(folder("a").entries().is_some());
        for name in ["", "/", "a/b", "a/"] {
            assert!(folder(name).entries().is_none(), "{name:?}");
        }
    }

    #[test]
    fn folders_sort_as_if_their_names_ended_in_a_slash() {
        let mut trees = Trees::default();
        trees.put(&[("a0", blob(3)), ("a/x", blob(2)), ("a.b", blob(1))]);
        let root = trees.get("").unwrap();
        let mut names = Vec::new();
        let mut rest = root.as_bytes();
        while let Some((mode, name, length)) = first_entry(rest) {
            names.push((String::from_utf8(name.to_vec()).unwrap(), mode));
            rest = &rest[length..];
        }
        assert_eq!(
            names,
            [
                ("a.b".to_owned(), Mode::File),
                ("a".to_owned(), Mode::Folder),
                ("a0".to_owned(), Mode::File)
            ]
        );
    }

    #[test]
    fn order_of_puts_does_not_matter_and_drafts_do_not_leak() {
        let mut one = Trees::default();
        one.put(&[("se/rd/serde", blob(1))]);
        let before = one.clone();
        let (root, rewritten) = one.put(&[
            ("se/rd/serde", blob(2)),
            ("owners/se/rd/serde.toml", blob(3)),
        ]);
        assert_eq!(rewritten.len(), 6);
        let mut other = Trees::default();
        other.put(&[("owners/se/rd/serde.toml", blob(3))]);
        assert_eq!(other.put(&[("se/rd/serde", blob(2))]).0, root);
        assert_eq!(before.clone().put(&[]).0, {
            let mut fresh = Trees::default();
            fresh.put(&[("se/rd/serde", blob(1))]).0
        });
    }
}
