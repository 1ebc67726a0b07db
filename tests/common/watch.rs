//! Somebody who reads both views of an index all the time, and remembers all that was ever there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use super::git::git;
use super::http::get;
use super::registry::Registry;

/// How many looks something may take that must happen: a minute, not counting that in which the tests are stopped.
const LOOKS_MAX: usize = 3000;
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    for _ in 0..LOOKS_MAX {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(LOOK_AGAIN);
    }
    panic!("not in time: {what}");
}

/// What was seen.
#[derive(Default)]
struct Seen {
    /// Commits that clients of git were shown.
    commits: BTreeSet<String>,
    /// Files of the sparse index, each by its path; `None` where there was none.
    files: BTreeSet<(String, Option<Vec<u8>>)>,
}

/// Reads until it is asked what it saw.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    rounds: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to read these paths of the sparse index, and the branch over git.
    pub fn begin(registry: &Registry, paths: &[&str]) -> Self {
        let watch = Self {
            seen: Arc::default(),
            rounds: Arc::default(),
            is_over: Arc::default(),
            reader: None,
        };
        let (seen, rounds) = (Arc::clone(&watch.seen), Arc::clone(&watch.rounds));
        let is_over = Arc::clone(&watch.is_over);
        let (port, url) = (registry.port, registry.git_index());
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let reader = thread::spawn(move || {
            let folder = TempDir::new().unwrap();
            while !is_over.load(Ordering::Acquire) {
                // A registry that is being started again answers nothing, and nothing wrong.
                for path in &paths {
                    let Ok(reply) = get(format!("/crates/index/{path}")).try_send(port) else {
                        continue;
                    };
                    let file = match reply.status {
                        200 => Some(reply.body),
                        404 => None,
                        other => panic!("{path} is answered with {other}"),
                    };
                    seen.lock().unwrap().files.insert((path.clone(), file));
                }
                let refs = git(folder.path(), &["ls-remote", &url]);
                let refs = refs.stdout.lines().filter_map(|line| line.split_once('\t'));
                for (commit, name) in refs {
                    assert!(["HEAD", "refs/heads/main"].contains(&name), "{name}");
                    seen.lock().unwrap().commits.insert(commit.to_owned());
                }
                rounds.fetch_add(1, Ordering::AcqRel);
            }
        });
        Self {
            reader: Some(reader),
            ..watch
        }
    }

    /// Waits until everything was read at least once from now on.
    #[track_caller]
    pub fn round(&self) {
        // The round that is under way may have begun before.
        let wanted = self.rounds.load(Ordering::Acquire) + 2;
        eventually("another look at both views", || {
            let reader = self.reader.as_ref().unwrap();
            assert!(!reader.is_finished(), "the reader has failed");
            (self.rounds.load(Ordering::Acquire) >= wanted).then_some(())
        });
    }

    /// Panics unless all that was ever seen is of commits on the branch, and of none of `bad`.
    #[track_caller]
    pub fn saw_nothing_of(mut self, registry: &Registry, bad: &[String]) {
        self.is_over.store(true, Ordering::Release);
        self.reader.take().unwrap().join().unwrap();
        let seen = self.seen.lock().unwrap();
        let words = ["rev-list", "--first-parent", "refs/heads/main"];
        let history = git(&registry.repository(), &words).succeeds();
        let good: BTreeSet<&str> = history
            .stdout
            .lines()
            .filter(|commit| !bad.iter().any(|bad| bad == commit))
            .collect();
        assert!(!seen.commits.is_empty());
        for commit in &seen.commits {
            assert!(good.contains(commit.as_str()), "git showed {commit}");
        }
        for (path, file) in &seen.files {
            let is_of = |commit: &&str| {
                let shown = git(
                    &registry.repository(),
                    &["show", &format!("{commit}:{path}")],
                );
                match file {
                    Some(bytes) => shown.is_success() && shown.stdout.as_bytes() == bytes,
                    None => !shown.is_success(),
                }
            };
            let text = file.as_deref().map(String::from_utf8_lossy);
            assert!(good.iter().any(is_of), "{path} was {text:?}");
        }
    }
}
