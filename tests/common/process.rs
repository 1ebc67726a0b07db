//! What a process holds, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How many looks a process has to let go of what a client left behind: a minute, not counting that in which the tests
/// are stopped themselves.
const LOOKS_MAX: usize = 3000;

/// Looks until the number is at most `wanted` or, without one, no longer falls; gives what it is then.
pub fn settled(look: impl Fn() -> usize, wanted: Option<usize>) -> usize {
    let mut least = look();
    let mut steady = 0;
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(LOOK_AGAIN);
        let now = look();
        steady = if now < least { 0 } else { steady + 1 };
        least = least.min(now);
        if wanted.map_or(steady >= 10, |wanted| now <= wanted) {
            return now;
        }
    }
    look()
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
