//! The repository that the index is in, by its number.
//!
//! A name becomes free when its owner is renamed, and anybody may take it. The number is never given to another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{error, warn};

use super::{ForgeFault, Repository};
use crate::disk;
use crate::domain::RepositoryPath;

/// Which repository the index is in.
#[derive(Debug)]
pub struct IndexRepository {
    pub(super) path: RepositoryPath,
    /// Where its number is written down.
    file: PathBuf,
    /// If none was written down, that of the first repository that is seen.
    id: OnceLock<u64>,
    /// Whether it is known to be that of the index.
    is_proven: AtomicBool,
    /// Whether there is an index already, so that it must be known before anybody has a right by it.
    needs_proof: bool,
    is_told: AtomicBool,
}

impl IndexRepository {
    /// The one at `path`. Its number is in `file`; if there is none, the first that the forge shows may be the one.
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
            is_proven: AtomicBool::new(id.get().is_some()),
            id,
            needs_proof: false,
            is_told: AtomicBool::new(false),
        })
    }

    /// The same beside an index that is there: a repository whose number is not known may be another's.
    #[must_use]
    pub fn beside_an_index(mut self) -> Self {
        self.needs_proof = true;
        self
    }

    /// Whether the number is known not to be this one, which is that of the repository that bears its name.
    pub fn is_another(&self, number: Option<u64>) -> bool {
        self.id.get().is_some() && self.id.get() != number.as_ref()
    }

    /// Whether the repository that bears its name is still the same.
    pub(super) fn is(&self, seen: &Repository) -> bool {
        let known = *self.id.get_or_init(|| seen.id);
        let is_same = known == seen.id;
        if !is_same && !self.is_told.swap(true, Ordering::Relaxed) {
            let file = self.file.display();
            error!(
                repository = %self.path, number = seen.id, known, %file,
                "another repository has the name of the index repository, and is not used"
            );
        }
        is_same
    }

    /// Lets only that repository pass in which the index is; none does if another has its name.
    pub(super) fn admit(&self, seen: Repository) -> Result<Option<Repository>, ForgeFault> {
        let is_same = self.is(&seen);
        match self.needs_proof && !self.is_proven.load(Ordering::Acquire) {
            true => Err(ForgeFault::Unproven),
            false => Ok(is_same.then_some(seen)),
        }
    }

    /// Hears that the branch of the repository that was seen is that of the index: it is known for good from now on.
    pub(super) fn prove(&self) {
        let Some(id) = self.id.get() else { return };
        if self.is_proven.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(cause) = disk::replace(&self.file, format!("{id}\n").as_bytes()) {
            let file = self.file.display();
            warn!(%cause, "the number of the index repository was not written to `{file}`");
        }
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

    fn seen(id: u64) -> Repository {
        Repository {
            id,
            path: "acme/crates".parse().unwrap(),
            is_private: true,
            is_internal: false,
            is_archived: false,
            rights: Default::default(),
        }
    }

    #[test]
    fn it_is_known_for_good_once_it_is_proven_and_another_of_its_name_is_not_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        let open = || IndexRepository::open("acme/crates".parse().unwrap(), file.clone());
        // What was no index leaves nothing behind.
        let wrong = open().unwrap();
        wrong.prove();
        assert!(wrong.is(&seen(6)) && !wrong.is(&seen(7)) && !file.exists());
        let first = open().unwrap();
        assert!(first.is(&seen(7)) && first.is(&seen(7)) && !first.is(&seen(8)));
        assert!(!file.exists());
        first.prove();
        let again = open().unwrap();
        assert!(!again.is(&seen(8)) && again.is(&seen(7)));
        fs::write(&file, "\0\0").unwrap();
        let fault = open().unwrap_err().to_string();
        assert!(fault.contains(file.to_str().unwrap()), "{fault}");
        // Where it cannot be written, it is known until the end.
        let nowhere = IndexRepository::open(first.path.clone(), folder.path().join("no/number"));
        let nowhere = nowhere.unwrap();
        nowhere.is(&seen(8));
        nowhere.prove();
        assert!(nowhere.is(&seen(8)) && !nowhere.is(&seen(7)));
    }

    #[test]
    fn beside_an_index_nobody_has_a_right_by_it_before_it_is_proven() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        let open = || IndexRepository::open("acme/crates".parse().unwrap(), file.clone()).unwrap();
        // Where there is none, nothing can be another's.
        assert!(open().admit(seen(7)).is_ok());
        let restored = open().beside_an_index();
        assert_eq!(restored.admit(seen(7)), Err(ForgeFault::Unproven));
        assert!(restored.is(&seen(7)), "its branch may be looked at");
        restored.prove();
        for repository in [restored, open().beside_an_index()] {
            assert_eq!(repository.admit(seen(7)), Ok(Some(seen(7))));
            assert_eq!(repository.admit(seen(8)), Ok(None));
        }
    }
}
