//! Whether all commits are there.
//!
//! A start reads the tip alone, and a pack that is gone together with its index is missed by nobody until somebody
//! clones. Each of our packs holds a commit, so a walk over the commits misses any.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tracing::{error, info, warn};

use super::super::child::Patience;
use super::super::damage::{Damaged, look_into};
use super::super::history;
use super::job::Job;
use super::{Fault, chain, refs};
use crate::git;

/// How long a whole history is taken for whole.
const TRUST: Duration = Duration::from_secs(24 * 3600);

/// The history that clients of git see.
pub(super) struct History {
    git_dir: PathBuf,
    /// When it is walked again.
    due: Instant,
    /// Files that were damaged at the start.
    damaged: Vec<Damaged>,
    /// Why it is not whole, once that is known.
    pub(super) broken: Arc<ArcSwapOption<String>>,
}

impl History {
    pub(super) fn of(git_dir: &Path, mut damaged: Vec<Damaged>) -> Self {
        // Git passes over a pack without an index.
        damaged.retain(|it| it.path.with_extension("idx").exists());
        Self {
            git_dir: git_dir.to_owned(),
            damaged,
            due: Instant::now(),
            broken: Arc::default(),
        }
    }

    /// Whether it is whole, as far as is known; it is walked once a day, and each time while it is not.
    pub(super) fn is_whole(&mut self, patience: &Patience) -> bool {
        self.damaged.retain(|it| look_into(&it.path).is_some());
        if self.due > Instant::now() && self.damaged.is_empty() {
            return true;
        }
        match self.walk(patience) {
            Ok(()) => {
                self.due = Instant::now() + TRUST;
                if self.broken.swap(None).is_some() {
                    info!("the history of the index is whole again");
                }
            }
            Err(Fault::Git { said, .. }) => {
                let reason = said.replace('\n', "; ");
                if self.broken.load().as_deref() != Some(&reason) {
                    error!(
                        reason,
                        "the history of the index is not whole; it cannot be cloned"
                    );
                }
                self.broken.store(Some(Arc::new(reason)));
            }
            Err(Fault::Interrupted) => {}
            Err(fault) => {
                let reason = chain(&fault);
                warn!(
                    reason,
                    "it was not looked whether the history of the index is whole"
                );
            }
        }
        !self.is_known_broken()
    }

    /// Whether the last walk found that it is not whole.
    pub(super) fn is_known_broken(&self) -> bool {
        self.broken.load().is_some()
    }

    fn walk(&self, patience: &Patience) -> Result<(), Fault> {
        // A walk over the commits does not read what else may be damaged in it.
        if let Some(damaged) = self.damaged.first() {
            return Err(Fault::Git {
                what: "rev-list",
                said: damaged.to_string(),
            });
        }
        let Some(shown) = refs::shown(&self.git_dir)? else {
            return Ok(());
        };
        if let Some(path) = history::cut_off_by(&self.git_dir) {
            return Err(Fault::Git {
                what: "rev-list",
                said: format!("`{}` hides older commits; remove it", path.display()),
            });
        }
        let mut command = git::command(&self.git_dir);
        // The graph knows commits that are gone.
        command.args(["-c", "core.commitGraph=false", "rev-list", "--quiet"]);
        command.arg("--progress=commits").arg(shown.to_string());
        let job = Job {
            what: "rev-list",
            command,
            input: String::new(),
        };
        job.run(patience).map(drop)
    }
}
