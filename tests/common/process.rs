//! What a process holds, as the kernel counts it.

use std::fs;
use std::time::{Duration, Instant};

/// How long a process may take to let go of what a client left behind.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until the number is at most `wanted` or, without one, no longer falls; gives what it is then.
pub fn settled(look: impl Fn() -> usize, wanted: Option<usize>) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut least = look();
    let mut steady = 0;
    loop {
        std::thread::sleep(LOOK_AGAIN);
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
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// How many processes a process has started that are still there.
pub fn children(pid: u32) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .map(|children| children.split_whitespace().count())
        .sum()
}
