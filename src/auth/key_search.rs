//! Keys that another server has put into the folder since it was read: several servers may share it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::{KeyFault, KeyId, TokenKeys, Verifier};

/// How long it is not looked again, whatever keys tokens name.
const PAUSE: Duration = Duration::from_secs(10);
/// How long the disk may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks into the folder for keys that are not known.
#[derive(Debug)]
pub struct KeySearch {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// At work: never more than one, so that a disk that hangs holds one thread.
    running: Option<JoinHandle<Result<TokenKeys, KeyFault>>>,
    searched: Option<Instant>,
}

impl KeySearch {
    /// In this folder.
    pub fn of(folder: PathBuf) -> Self {
        Self {
            folder,
            state: Mutex::default(),
        }
    }

    /// Whether the verifier has the key, once it was looked for where that is due.
    ///
    /// A token that names an unknown key waits for this; all others are verified meanwhile.
    pub async fn find(&self, id: &KeyId, verifier: &Verifier) -> bool {
        self.find_at(Instant::now(), id, verifier).await
    }

    async fn find_at(&self, now: Instant, id: &KeyId, verifier: &Verifier) -> bool {
        let mut state = self.state.lock().await;
        // Whoever waited for the lock may find it here.
        if verifier.knows(id) {
            return true;
        }
        let is_known = |at: Instant| now.saturating_duration_since(at) < PAUSE;
        if state.running.is_none() && state.searched.is_some_and(is_known) {
            return false;
        }
        state.searched = Some(now);
        let running = state.running.get_or_insert_with(|| {
            let folder = self.folder.clone();
            spawn_blocking(move || TokenKeys::open(&folder))
        });
        let Ok(ended) = timeout(PATIENCE, running).await else {
            warn!("the folder of keys does not answer");
            return false;
        };
        state.running = None;
        match ended {
            Ok(Ok(keys)) if keys.verifying_key(id).is_some() => {
                info!(key = %id, "another server's new key is known from now on");
                verifier.use_keys(keys.into());
                true
            }
            Ok(Ok(_)) => false,
            Ok(Err(fault)) => {
                warn!(%fault, "a key that a token names was not looked for");
                false
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::domain::RegistryId;

    #[tokio::test]
    async fn a_key_that_another_server_made_is_found_and_not_looked_for_too_often() {
        let folder = tempfile::tempdir().unwrap();
        let keys = TokenKeys::open_or_create(folder.path()).unwrap();
        let first = keys.signing_id().clone();
        let verifier = Verifier::new(RegistryId::from([7; 16]), Arc::new(keys));
        let search = KeySearch::of(folder.path().to_owned());
        let start = Instant::now();
        assert!(search.find_at(start, &first, &verifier).await);
        let new = TokenKeys::add(folder.path()).unwrap();
        assert!(search.find_at(start, &new, &verifier).await);
        assert!(verifier.knows(&first) && verifier.knows(&new));
        let newer = TokenKeys::add(folder.path()).unwrap();
        let almost = start + PAUSE - Duration::from_millis(1);
        assert!(!search.find_at(almost, &newer, &verifier).await);
        assert!(search.find_at(start + PAUSE, &newer, &verifier).await);
        // What it is asked for may be nowhere, and the folder gone.
        let nowhere = "A".repeat(43).parse().unwrap();
        let later = start + PAUSE * 2;
        assert!(!search.find_at(later, &nowhere, &verifier).await);
        fs::remove_file(folder.path().join("token-current")).unwrap();
        assert!(!search.find_at(later + PAUSE, &nowhere, &verifier).await);
        assert!(verifier.knows(&newer));
    }

    #[tokio::test]
    async fn of_many_who_ask_at_once_each_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = TokenKeys::open_or_create(folder.path()).unwrap();
        let verifier = Verifier::new(RegistryId::from([7; 16]), Arc::new(keys));
        let search = KeySearch::of(folder.path().to_owned());
        let new = TokenKeys::add(folder.path()).unwrap();
        let asked = (0..8).map(|_| search.find(&new, &verifier));
        let found = futures_util::future::join_all(asked).await;
        assert_eq!(found, [true; 8]);
        let nowhere = "A".repeat(43).parse().unwrap();
        assert!(!search.find(&nowhere, &verifier).await);
    }
}
