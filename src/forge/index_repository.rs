//! The repository that the index is in, by its number.
//!
//! A name becomes free when its owner is renamed, and anybody may take it. The number is never given to another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{error, warn};

use super::Repository;
use crate::disk;
use crate::domain::RepositoryPath;

/// Which repository the index is in.
#[derive(Debug)]
pub struct IndexRepository {
    pub(super) path: RepositoryPath,
    /// Where its number is written down.
    file: PathBuf,
    id: OnceLock<u64>,
    is_told: AtomicBool,
}

impl IndexRepository {
    /// The one at `path`. Its number is in `file`; if there is none, the first that the forge shows is the one.
    ///
    /// # Errors
    /// The file cannot be read, or has something else in it.
    pub fn open(path: RepositoryPath, file: PathBuf) -> io::Result<Self> {
        let id = OnceLock::new();
        if let Some(text) = disk::if_there(fs::read_to_string(&file))? {
            let known = text.trim().parse().map_err(|_| odd(&file))?;
            let _ = id.set(known);
        }
        Ok(Self {
            path,
            file,
            id,
            is_told: AtomicBool::new(false),
        })
    }

    /// Whether the repository that bears its name is still the same.
    pub(super) fn is(&self, seen: &Repository) -> bool {
        let known = *self.id.get_or_init(|| {
            if let Err(cause) = disk::replace(&self.file, format!("{}\n", seen.id).as_bytes()) {
                let file = self.file.display();
                warn!(%cause, "the number of the index repository was not written to `{file}`");
            }
            seen.id
        });
        let is_same = known == seen.id;
        if !is_same && !self.is_told.swap(true, Ordering::Relaxed) {
            error!(
                repository = %self.path, number = seen.id, known,
                "another repository has the name of the index repository, and is not used"
            );
        }
        is_same
    }
}

fn odd(file: &Path) -> io::Error {
    let what = format!(
        "`{}` has no number in it; remove it if `forge.repository` names the right repository",
        file.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_known_for_good_and_another_of_its_name_is_not_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        let open = || IndexRepository::open("acme/crates".parse().unwrap(), file.clone());
        let seen = |id| Repository {
            id,
            path: "acme/crates".parse().unwrap(),
            is_private: true,
            is_internal: false,
            is_archived: false,
            rights: Default::default(),
        };
        let first = open().unwrap();
        assert!(first.is(&seen(7)) && first.is(&seen(7)) && !first.is(&seen(8)));
        let again = open().unwrap();
        assert!(!again.is(&seen(8)) && again.is(&seen(7)));
        fs::write(&file, "\0\0").unwrap();
        let fault = open().unwrap_err().to_string();
        assert!(fault.contains(file.to_str().unwrap()), "{fault}");
        // Where it cannot be written, it is known until the end.
        let nowhere = IndexRepository::open(first.path.clone(), folder.path().join("no/number"));
        let nowhere = nowhere.unwrap();
        assert!(nowhere.is(&seen(8)) && !nowhere.is(&seen(7)));
    }
}
