//! What is good no more although its time is not over: id-tokens that were exchanged, and tokens that were given back.
//!
//! Each is an empty file whose name has a hash and the second at which it may be forgotten, so that nothing is good
//! again after a restart. The hashes are in memory too. Another server that shares the folder takes no id-token again,
//! for it looks for the same file; of a token that was given back it hears at its next start.
//!
//! Whoever has an account at the forge can give tokens back, as many as they like: those have a memory of their own, so
//! that no exchange finds the other one full.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::disk;
use crate::domain::{Cksum, TokenId};

/// The most that are remembered of each; a thousand jobs an hour are some thousand.
const ENTRIES_MAX: usize = 100_000;
/// After so many more it is looked which may be forgotten.
const FORGET_EACH: usize = 1_000;
/// The folder of those that were given back, in that of those that were exchanged.
pub const GIVEN_BACK: &str = "given-back";
/// How far the clock of the forge may be from ours, in seconds: an id-token is taken for so long after its end.
const LEEWAY_SECS: i64 = 60;

/// By what something is known again.
type Mark = [u8; 32];

/// What was exchanged, and what was given back.
#[derive(Debug)]
pub struct Spent {
    exchanged: Memory,
    given_back: Memory,
}

/// A memory, and the folder that outlives it.
struct Memory {
    folder: PathBuf,
    /// Each mark and the second at which it may be forgotten.
    known: Mutex<HashMap<Mark, i64>>,
}

/// Why something could not be spent.
#[derive(Debug, Error)]
pub enum SpentFault {
    /// It was before.
    #[error("it was used before")]
    Already,
    /// There is no room.
    #[error("more than {ENTRIES_MAX} tokens came lately; try again later")]
    Full,
    /// It could not be written down.
    #[error("it could not be written down: {0}")]
    Io(#[from] io::Error),
}

impl Spent {
    /// Reads what `folder` holds, which need not exist yet, and removes what may be forgotten.
    pub fn open(folder: PathBuf, now: Timestamp) -> io::Result<Self> {
        Ok(Self {
            given_back: Memory::open(folder.join(GIVEN_BACK), now)?,
            exchanged: Memory::open(folder, now)?,
        })
    }

    /// Spends what ends at `until`, once: durable when this returns.
    pub fn spend(&self, mark: Mark, until: Timestamp, now: Timestamp) -> Result<(), SpentFault> {
        self.exchanged.keep(mark, until, now)
    }

    /// Whether that was spent, here or by another server that shares the folder.
    pub fn is_spent(&self, mark: &Mark, until: Timestamp) -> bool {
        self.exchanged.knows(mark) || self.exchanged.has_file(mark, until)
    }

    /// Takes a token of ours back, until it would have ended.
    pub fn give_back(
        &self,
        token: TokenId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), SpentFault> {
        match self.given_back.keep(mark_of(token), until, now) {
            // Twice is as good as once.
            Err(SpentFault::Already) => Ok(()),
            given_back => given_back,
        }
    }

    /// Whether a token of ours was given back.
    pub fn is_given_back(&self, token: TokenId) -> bool {
        let mark = mark_of(token);
        // Earlier versions kept both in one folder.
        self.given_back.knows(&mark) || self.exchanged.knows(&mark)
    }
}

impl Memory {
    fn open(folder: PathBuf, now: Timestamp) -> io::Result<Self> {
        let mut known = HashMap::new();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name();
            let Some((mark, until)) = name.to_str().and_then(parse) else {
                continue;
            };
            if until > now.as_second() {
                known.insert(mark, until);
            } else {
                // One that stays, as on a disk that takes no change, says nothing any more.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self {
            folder,
            known: Mutex::new(known),
        })
    }

    /// Remembers what ends at `until`, once: durable when this returns.
    fn keep(&self, mark: Mark, until: Timestamp, now: Timestamp) -> Result<(), SpentFault> {
        let until = forgotten_at(until);
        {
            let mut known = self.lock();
            if known.contains_key(&mark) {
                return Err(SpentFault::Already);
            }
            if known.len() >= ENTRIES_MAX || known.len() % FORGET_EACH == FORGET_EACH - 1 {
                self.forget(&mut known, now);
            }
            if known.len() >= ENTRIES_MAX {
                return Err(SpentFault::Full);
            }
            // Whoever comes with the same meanwhile is the second.
            known.insert(mark, until);
        }
        let path = self.folder.join(name(&mark, until));
        match self.write_down(&path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SpentFault::Already),
            Err(fault) => {
                self.lock().remove(&mark);
                Err(fault.into())
            }
        }
    }

    /// Makes a file, durably; false if it was there, as an attempt leaves it whose flush failed.
    fn write_down(&self, path: &Path) -> io::Result<bool> {
        disk::create_private_folder(&self.folder)?;
        match disk::create_private(path, b"") {
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => {
                disk::sync_folder(&self.folder)?;
                Ok(false)
            }
            made => made.map(|()| true),
        }
    }

    fn knows(&self, mark: &Mark) -> bool {
        self.lock().contains_key(mark)
    }

    /// Whether the file is there; what cannot be looked for may be.
    fn has_file(&self, mark: &Mark, until: Timestamp) -> bool {
        let path = self.folder.join(name(mark, forgotten_at(until)));
        let found = fs::symlink_metadata(path);
        !found.is_err_and(|fault| fault.kind() == io::ErrorKind::NotFound)
    }

    /// Makes room.
    fn forget(&self, known: &mut HashMap<Mark, i64>, now: Timestamp) {
        known.retain(|mark, until| {
            let is_over = *until <= now.as_second();
            if is_over {
                // One that stays is removed by the next start.
                let _ = fs::remove_file(self.folder.join(name(mark, *until)));
            }
            !is_over
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Mark, i64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forgotten_at(until: Timestamp) -> i64 {
    until.as_second().saturating_add(LEEWAY_SECS)
}

fn mark_of(token: TokenId) -> Mark {
    Sha256::digest(format!("token {token}")).into()
}

fn name(mark: &Mark, until: i64) -> String {
    format!("{}-{until}", Cksum::from(*mark))
}

fn parse(name: &str) -> Option<(Mark, i64)> {
    let (digits, until) = name.split_once('-')?;
    let mark: Cksum = digits.parse().ok()?;
    Some((*mark.as_bytes(), until.parse().ok()?))
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + secs).unwrap()
    }

    fn files(spent: &Spent) -> usize {
        fs::read_dir(&spent.exchanged.folder).map_or(0, Iterator::count)
    }

    #[test]
    fn of_two_servers_with_one_folder_one_spends() {
        let folder = tempfile::tempdir().unwrap();
        let servers = [(); 2].map(|()| Spent::open(folder.path().join("spent"), at(0)).unwrap());
        for mark in 1..9 {
            let spend = |server: &Spent| server.spend([mark; 32], at(600), at(0)).is_ok();
            let spent: Vec<bool> = std::thread::scope(|scope| {
                let each = servers
                    .each_ref()
                    .map(|server| scope.spawn(|| spend(server)));
                each.map(|it| it.join().unwrap()).into()
            });
            assert_eq!(spent.iter().filter(|spent| **spent).count(), 1);
        }
    }

    #[test]
    fn what_one_server_spent_is_spent_for_all_that_share_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] =
            [(); 2].map(|()| Spent::open(folder.path().join("spent"), at(0)).unwrap());
        assert!(!other.is_spent(&[1; 32], at(600)));
        one.spend([1; 32], at(600), at(0)).unwrap();
        for server in [&one, &other] {
            assert!(server.is_spent(&[1; 32], at(600)));
            assert!(!server.is_spent(&[2; 32], at(600)));
        }
    }

    #[test]
    fn a_token_is_spent_once_also_after_a_restart_until_its_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let open = |now| Spent::open(folder.path().join("spent"), now).unwrap();
        let spent = open(at(0));
        spent.spend([1; 32], at(600), at(0)).unwrap();
        spent.spend([2; 32], at(60), at(0)).unwrap();
        let again = |spent: &Spent| spent.spend([1; 32], at(600), at(1));
        assert!(matches!(again(&spent), Err(SpentFault::Already)));
        assert_eq!(files(&spent), 2);
        // The other one's time is over then, and so is that in which a slow clock would take it.
        let spent = open(at(120));
        assert!(matches!(again(&spent), Err(SpentFault::Already)));
        assert_eq!(files(&spent), 1);
        let spent = open(at(659));
        assert!(matches!(again(&spent), Err(SpentFault::Already)));
        let spent = open(at(660));
        assert_eq!(files(&spent), 0);
        again(&spent).unwrap();
    }

    #[test]
    fn a_token_that_was_given_back_stays_so_and_may_be_given_back_again() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (TokenId::from([1; 16]), TokenId::from([2; 16]));
        let spent = Spent::open(folder.path().to_owned(), at(0)).unwrap();
        spent.give_back(one, at(600), at(0)).unwrap();
        spent.give_back(one, at(600), at(0)).unwrap();
        for spent in [spent, Spent::open(folder.path().to_owned(), at(1)).unwrap()] {
            assert!(spent.is_given_back(one) && !spent.is_given_back(other));
        }
    }

    #[test]
    fn a_token_that_was_given_back_when_all_lay_in_one_folder_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (TokenId::from([1; 16]), TokenId::from([2; 16]));
        let before = name(&mark_of(one), forgotten_at(at(600)));
        fs::write(folder.path().join(before), "").unwrap();
        let spent = Spent::open(folder.path().to_owned(), at(0)).unwrap();
        assert!(spent.is_given_back(one) && !spent.is_given_back(other));
    }

    #[test]
    fn what_cannot_be_written_down_is_not_spent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent");
        let spent = Spent::open(path.clone(), at(0)).unwrap();
        fs::write(&path, "a file is in the way").unwrap();
        let fault = spent.spend([1; 32], at(600), at(0));
        assert!(matches!(fault, Err(SpentFault::Io(_))));
        assert!(Spent::open(path.clone(), at(0)).is_err());
        fs::remove_file(&path).unwrap();
        spent.spend([1; 32], at(600), at(0)).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent");
        std::os::unix::fs::symlink(folder.path().join("gone"), &path).unwrap();
        let spent = Spent::open(path.clone(), at(0)).unwrap();
        let fault = spent.spend([1; 32], at(600), at(0)).unwrap_err();
        let named = format!("the folder {} cannot be made", path.display());
        assert!(fault.to_string().contains(&named), "{fault}");
    }

    #[test]
    fn what_an_attempt_left_whose_flush_failed_is_spent() {
        let folder = tempfile::tempdir().unwrap();
        let spent = Spent::open(folder.path().to_owned(), at(0)).unwrap();
        let left = name(&[1; 32], at(600).as_second() + LEEWAY_SECS);
        fs::write(folder.path().join(left), "").unwrap();
        for _ in 0..2 {
            let fault = spent.spend([1; 32], at(600), at(0));
            assert!(matches!(fault, Err(SpentFault::Already)), "{fault:?}");
        }
        assert_eq!(files(&spent), 1);
    }

    #[test]
    fn what_is_over_and_cannot_be_removed_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let over = folder.path().join(name(&[1; 32], at(0).as_second()));
        fs::create_dir(&over).unwrap();
        let spent = Spent::open(folder.path().to_owned(), at(1)).unwrap();
        assert!(spent.exchanged.lock().is_empty() && over.exists());
    }

    #[test]
    fn room_is_bounded_and_made_by_forgetting_what_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let spent = Spent::open(folder.path().to_owned(), at(0)).unwrap();
        for number in 0..ENTRIES_MAX {
            let mark = Sha256::digest(number.to_le_bytes()).into();
            spent.exchanged.lock().insert(mark, at(60).as_second());
        }
        let full = spent.spend([1; 32], at(600), at(0));
        assert!(matches!(full, Err(SpentFault::Full)));
        spent.spend([1; 32], at(600), at(60)).unwrap();
        assert_eq!(spent.exchanged.lock().len(), 1);
    }

    #[test]
    fn however_many_are_given_back_there_is_room_for_an_exchange() {
        let folder = tempfile::tempdir().unwrap();
        let spent = Spent::open(folder.path().to_owned(), at(0)).unwrap();
        for number in 0..ENTRIES_MAX {
            let mark = Sha256::digest(number.to_le_bytes()).into();
            spent.given_back.lock().insert(mark, at(60).as_second());
        }
        let full = spent.give_back(TokenId::from([1; 16]), at(600), at(0));
        assert!(matches!(full, Err(SpentFault::Full)));
        spent.spend([1; 32], at(600), at(0)).unwrap();
    }

    #[test]
    fn what_is_over_is_forgotten_once_a_thousand_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let spent = Spent::open(folder.path().to_owned(), at(0)).unwrap();
        let fill = |count: usize| {
            for number in 0..count {
                let mark = Sha256::digest(number.to_le_bytes()).into();
                spent.exchanged.lock().insert(mark, at(60).as_second());
            }
        };
        fill(FORGET_EACH - 2);
        spent.spend([1; 32], at(600), at(60)).unwrap();
        assert_eq!(spent.exchanged.lock().len(), FORGET_EACH - 1);
        spent.spend([2; 32], at(600), at(60)).unwrap();
        assert_eq!(spent.exchanged.lock().len(), 2);
    }

    #[test]
    fn what_was_spent_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let spent = Spent::open(folder.path().join("spent"), at(0)).unwrap();
        spent.spend([1; 32], at(600), at(0)).unwrap();
        let shown = format!("{spent:?}");
        assert!(
            shown.contains("spent") && !shown.contains("0101"),
            "{shown}"
        );
        assert!(!shown.contains("known"), "{shown}");
    }

    #[test]
    fn other_files_are_let_be() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["README", "00-1", "-"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let spent = Spent::open(folder.path().to_owned(), at(0)).unwrap();
        assert_eq!((files(&spent), spent.exchanged.lock().len()), (3, 0));
    }
}
