//! Clients that mean harm, against the running program.
//!
//! Each test ends with the same proof: the registry has not changed, works on, and has let go of everything.

mod addresses;
mod crowd;
mod pkt_lines;
mod slow;

use std::fs;
use std::time::{Duration, Instant};

use crate::common::git;
use crate::common::http::get;
use crate::common::person;
use crate::common::registry::Registry;
use crate::common::upload::Release;

/// Short limits, so that a test of patience takes little of it.
const SHORT_LIMITS: &str = "[http]\nheader_secs = 1\nbody_idle_secs = 1\nbody_total_secs = 4\n\
                            response_idle_secs = 1\n\n\
                            [fetch]\nstall_secs = 1\n";

/// How long the server may take to let go of what a client left behind.
const PATIENCE: Duration = Duration::from_secs(60);

/// The least that a clone of a large index has: more than the buffers of a connection hold.
const LARGE_BYTES: usize = 16 << 20;

/// A registry under attack, and what it held before.
struct Besieged {
    registry: Registry,
    token: String,
    tip: String,
    descriptors: usize,
}

impl Besieged {
    /// With a crate to read and this configuration.
    fn with(config: &str) -> Self {
        let registry = Registry::start_with(config);
        let token = registry.token("alice");
        let release = Release::new("krate", "1.0.0");
        release.publish(registry.port, &token).succeeds();
        Self::of(registry, token)
    }

    /// As [`Besieged::with`], with an index whose clone is of [`LARGE_BYTES`].
    fn with_large_index(config: &str) -> Self {
        let mut registry = Registry::start_with(config);
        let token = registry.token("alice");
        let release = Release::new("krate", "1.0.0");
        release.publish(registry.port, &token).succeeds();
        registry.stop();
        person::commit_file(&registry, "README.md", &noise(3 * LARGE_BYTES / 2));
        registry.start_again();
        Self::of(registry, token)
    }

    fn of(registry: Registry, token: String) -> Self {
        let release = Release::new("krate", "1.0.0");
        // Once through everything: what is opened lazily and kept is open now.
        get(release.download_path()).send(registry.port).succeeds();
        clone_works(&registry);
        let tip = git::tip(&registry.repository());
        let descriptors = settled(|| descriptors(registry.pid()), None);
        Self {
            registry,
            token,
            tip,
            descriptors,
        }
    }

    fn port(&self) -> u16 {
        self.registry.port
    }

    /// Expects that nothing changed, that everything still works, and that nothing is left of the attack.
    #[track_caller]
    fn has_held(self) {
        assert_eq!(git::tip(&self.registry.repository()), self.tip);
        get("/crates/index/kr/at/krate")
            .send(self.port())
            .succeeds();
        clone_works(&self.registry);
        let pid = self.registry.pid();
        let children = settled(|| children(pid), Some(0));
        assert_eq!(children, 0, "processes are left");
        let left = settled(|| descriptors(pid), Some(self.descriptors));
        assert!(left <= self.descriptors, "{left} descriptors are open");
        Release::new("afterwards", "1.0.0")
            .publish(self.port(), &self.token)
            .succeeds();
        assert!(!self.registry.log().contains("panicked"));
    }
}

/// Text of which packing makes hardly two thirds.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let next = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    });
    next.take(bytes).collect()
}

#[track_caller]
fn clone_works(registry: &Registry) {
    let folder = tempfile::TempDir::new().unwrap();
    let words = ["clone", "--quiet", &registry.git_index(), "clone"];
    git::git(folder.path(), &words).succeeds();
}

/// Looks until the number is at most `wanted` or, without one, no longer falls; gives what it is then.
fn settled(look: impl Fn() -> usize, wanted: Option<usize>) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut least = look();
    let mut steady = 0;
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = look();
        steady = if now < least { 0 } else { steady + 1 };
        least = least.min(now);
        let is_enough = wanted.map_or(steady >= 10, |wanted| now <= wanted);
        if is_enough || Instant::now() > deadline {
            return now;
        }
    }
}

/// How many descriptors a process has open.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// How many processes a process has started that are still there.
fn children(pid: u32) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .map(|children| children.split_whitespace().count())
        .sum()
}
