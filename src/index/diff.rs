//! What differs between the state of the index and the folders of another commit.

use std::collections::HashMap;

use gix::objs::Kind;
use thiserror::Error;

use crate::domain::{TreeId, excerpt};

use super::load::LoadFault;
use super::objects::Objects;
use super::rule::{self, FileChange, Violation};
use super::tree::{self, Mode, Tree, Trees};

/// The most bytes that one step may cost: those of each folder that is read and of each file that differs, and
/// [`ENTRY_BYTES`] for each of them.
const STEP_BYTES_MAX: usize = 512 * 1024 * 1024;
/// What a folder or file costs in memory, however empty it is: a small push can name one object many times.
const ENTRY_BYTES: usize = 2048;

/// The difference cannot be told, or is none that an index may have.
#[derive(Debug, Error)]
pub(super) enum DiffFault {
    /// What differs is not allowed in any index.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// An object cannot be read.
    #[error(transparent)]
    Load(#[from] LoadFault),
}

/// The files of the tree `root` that differ from those in `before`, and all its folders.
///
/// Only folders that differ are read, so the cost is that of the difference.
pub(super) fn diff(
    objects: &Objects,
    before: &Trees,
    root: TreeId,
) -> Result<(Vec<FileChange>, Trees), DiffFault> {
    let mut diff = Diff {
        objects,
        before,
        after: before.clone(),
        files: Vec::new(),
        cost: Cost::default(),
    };
    diff.folder("", root.as_bytes())?;
    Ok((diff.files, diff.after))
}

struct Diff<'a> {
    objects: &'a Objects,
    before: &'a Trees,
    after: Trees,
    files: Vec<FileChange>,
    cost: Cost,
}

/// What a step has cost so far, in bytes.
#[derive(Default)]
struct Cost(usize);

impl Diff<'_> {
    fn folder(&mut self, path: &str, id: &[u8; 20]) -> Result<(), DiffFault> {
        // The deepest folder is `owners/ab/cd`.
        if path.matches('/').count() > 2 {
            return Err(Violation::Foreign(path.to_owned()).into());
        }
        let shown = tree::shown(path);
        let what = format!("the folder `{shown}`");
        let tree = Tree::from_git(&self.objects.read(id, Kind::Tree, &what)?);
        self.cost.add(shown, tree.as_bytes().len())?;
        let unreadable = || Violation::Unreadable {
            path: shown.to_owned(),
            reason: "it is not a folder as git writes it".to_owned(),
        };
        let entries = tree.entries().ok_or_else(unreadable)?;
        // Of an empty root it is said what is missing.
        if entries.is_empty() && !path.is_empty() {
            return Err(Violation::Foreign(path.to_owned()).into());
        }
        let old = self.before.get(path).cloned().unwrap_or_default();
        let old = old.entries().ok_or_else(unreadable)?;
        let mut old: HashMap<&[u8], _> = old.iter().map(|entry| (entry.name, entry)).collect();
        for entry in &entries {
            let below = join(path, entry.name);
            let mode = entry
                .mode
                .ok_or_else(|| Violation::NotAFile(below.clone()))?;
            match old.remove(entry.name) {
                Some(same) if same == entry => continue,
                Some(other) if other.mode != entry.mode => {
                    return Err(Violation::Removed(below).into());
                }
                _ => {}
            }
            match mode {
                Mode::Folder => self.folder(&below, &entry.id)?,
                Mode::File => self.file(below, &entry.id)?,
            }
        }
        if let Some(name) = old.into_keys().min() {
            return Err(Violation::Removed(join(path, name)).into());
        }
        self.after.insert(path, tree);
        Ok(())
    }

    fn file(&mut self, path: String, id: &[u8; 20]) -> Result<(), DiffFault> {
        // Before it is read: what has no place in an index can be there many times for one object of a push.
        if !rule::has_place(&path) {
            return Err(Violation::Foreign(path).into());
        }
        let bytes = match self.objects.read(id, Kind::Blob, &path) {
            Err(LoadFault::TooLarge { bytes, max, .. }) => {
                let reason = format!("it has {bytes} bytes, and none may have more than {max}");
                return Err(Violation::Unreadable { path, reason }.into());
            }
            read => read?,
        };
        self.cost.add(&path, bytes.len())?;
        let unreadable = |fault: &dyn ToString| Violation::Unreadable {
            path: path.clone(),
            reason: fault.to_string(),
        };
        let file = FileChange::new(path.clone(), bytes).map_err(|fault| unreadable(&fault))?;
        self.files.push(file);
        Ok(())
    }
}

impl Cost {
    fn add(&mut self, path: &str, bytes: usize) -> Result<(), Violation> {
        self.0 += bytes + ENTRY_BYTES;
        if self.0 <= STEP_BYTES_MAX {
            return Ok(());
        }
        Err(Violation::Unreadable {
            path: path.to_owned(),
            reason: format!("one step may change no more than {STEP_BYTES_MAX} bytes"),
        })
    }
}

/// The path of an entry. A name that no index has is made fit for logs and answers: it is refused with these words.
fn join(folder: &str, name: &[u8]) -> String {
    let name = excerpt(&String::from_utf8_lossy(name));
    match folder.is_empty() {
        true => name,
        false => format!("{folder}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_may_cost_half_a_gibibyte_and_even_what_is_empty_costs() {
        let mut cost = Cost::default();
        cost.add("1/a", (512 << 20) - 3 * 2048).unwrap();
        cost.add("1/b", 0).unwrap();
        cost.add("1/c", 0).unwrap();
        let fault = cost.add("1/d", 0).unwrap_err().to_string();
        assert!(fault.contains("1/d"), "{fault}");
        assert!(Cost::default().add("1/e", 512 << 20).is_err());
    }
}
