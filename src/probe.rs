//! Whether the disk takes what a publish would write.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};

use crate::disk::{self, TempFile};

/// How long what was found is told again: whoever asks more often costs nothing.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// How long the disk may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is written to each file: a block, because a disk may have room for a name and none for bytes.
const PROBE_BYTES: usize = 4096;
/// What is written among refs: git passes over locks.
const PROBE_OF_REFS: &str = "sidecargo-probe.lock";
/// How many files are there at once in each folder: as many as a publish has in one of them, because a disk may have
/// room for one more and none for the next.
const PROBE_FILES: usize = 2;

/// Writes a little to each folder that publishes write to, and removes it again. In a folder of refs each file but a
/// lock would be one, so of those it asks whether they may be written to, as it does of the many where crate files lie.
///
/// It is flushed only if a flush failed before, of a crate file perhaps, and then refs are tried too: a flush costs as
/// much as a publish.
#[derive(Debug)]
pub struct Probe {
    places: Arc<Places>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Places {
    folders: Vec<PathBuf>,
    asked: Vec<PathBuf>,
    refs: Vec<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    /// At work: never more than one, so that a disk that hangs holds one thread.
    running: Option<JoinHandle<Result<u64, String>>>,
    /// How many flushes had failed when the disk flushed again.
    forgiven: u64,
    found: Option<(Instant, Option<String>)>,
}

impl Probe {
    /// For these folders, which exist, others and files that are only `asked` about, and these folders of refs, which
    /// git may take away for a while.
    pub fn of(folders: Vec<PathBuf>, asked: Vec<PathBuf>, refs: Vec<PathBuf>) -> Self {
        let places = Places {
            folders,
            asked,
            refs,
        };
        Self {
            places: Arc::new(places),
            state: Mutex::default(),
        }
    }

    /// Why nothing can be written; `None` if something can.
    pub async fn fault(&self) -> Option<String> {
        self.fault_at(Instant::now()).await
    }

    async fn fault_at(&self, now: Instant) -> Option<String> {
        let mut state = self.state.lock().await;
        if let Some((at, fault)) = &state.found
            && now.saturating_duration_since(*at) < KNOWN_FOR
        {
            return fault.clone();
        }
        let forgiven = state.forgiven;
        // One that nobody waits for any more, because its client left, is waited for by the next who asks.
        let running = state.running.get_or_insert_with(|| {
            let places = Arc::clone(&self.places);
            let failed = disk::failed_flushes();
            spawn_blocking(move || places.try_all(failed != forgiven).map(|()| failed))
        });
        let fault = match timeout(PATIENCE, running).await {
            Ok(ended) => {
                state.running = None;
                let ended = ended.unwrap_or_else(|_| Err("the disk could not be tried".to_owned()));
                ended.map(|failed| state.forgiven = failed).err()
            }
            Err(_elapsed) => Some(format!(
                "the disk has not taken a small file for {} seconds",
                PATIENCE.as_secs()
            )),
        };
        // For those, too, who asked meanwhile: each would wait as long again.
        state.found = Some((now.max(Instant::now()), fault.clone()));
        fault
    }
}

impl Places {
    fn try_all(&self, is_flushed: bool) -> Result<(), String> {
        let told = |place: &Path, cause: &io::Error| {
            format!("nothing can be written to {}: {cause}", place.display())
        };
        let mut files = Vec::new();
        for folder in self.folders.iter().flat_map(|folder| [folder; PROBE_FILES]) {
            let file = TempFile::create(folder).and_then(|file| fill(file, folder, is_flushed));
            files.push(file.map_err(|cause| told(folder, &cause))?);
        }
        let may_write = |place: &Path| access(place, Access::WRITE_OK).map_err(io::Error::from);
        for place in &self.asked {
            may_write(place).map_err(|cause| told(place, &cause))?;
        }
        for folder in &self.refs {
            let tried = match is_flushed {
                true => TempFile::create_at(folder.join(PROBE_OF_REFS))
                    .and_then(|file| fill(file, folder, true))
                    .map(drop),
                false => may_write(folder),
            };
            disk::if_there(tried).map_err(|cause| told(folder, &cause))?;
        }
        Ok(())
    }
}

fn fill(mut file: TempFile, folder: &Path, is_flushed: bool) -> io::Result<TempFile> {
    file.file().write_all(&[0; PROBE_BYTES])?;
    if is_flushed {
        file.sync()?;
        disk::sync_folder(folder)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_folder_is_tried_leaves_nothing_and_is_tried_again_later() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        let probe = Probe::of(vec![first.clone(), second.clone()], Vec::new(), Vec::new());
        let now = Instant::now();
        assert_eq!(probe.fault_at(now).await, None);
        for folder in [&first, &second] {
            assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
        }
        fs::remove_dir(&second).unwrap();
        assert_eq!(probe.fault_at(now).await, None, "known for a second");
        let later = Instant::now() + KNOWN_FOR;
        let fault = probe.fault_at(later).await.unwrap();
        assert!(fault.contains(second.to_str().unwrap()), "{fault}");
        fs::create_dir(&second).unwrap();
        assert_eq!(probe.fault_at(later + KNOWN_FOR).await, None);
    }

    #[tokio::test]
    async fn who_asked_before_it_was_found_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let probe = Probe::of(vec![folder.path().to_owned()], Vec::new(), Vec::new());
        // It took nine seconds, say.
        let asked = Instant::now().checked_sub(KNOWN_FOR * 9).unwrap();
        assert_eq!(probe.fault_at(asked).await, None);
        drop(folder);
        assert_eq!(probe.fault_at(asked + KNOWN_FOR * 5).await, None);
        assert!(probe.fault_at(Instant::now() + KNOWN_FOR).await.is_some());
    }
}
