//! What the server holds while nobody wants anything of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

use super::world::{PAUSED, WAITED, World};
use crate::common::metrics::Metrics;
use crate::common::process::{children, descriptors, settled};
use crate::common::registry::Registry;
use crate::common::watch::eventually;

/// The pause between two looks at memory, and how many of them in a row show that it no longer falls.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOKS: usize = 150;

/// What a process holds at rest.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub descriptors: usize,
    pub threads: usize,
    /// What the program has asked for and not given back, without what is cached, in KiB.
    pub allocated: usize,
    /// Memory that is not that of files, in KiB: all of that, and what the allocator cannot give back.
    pub anonymous: usize,
    /// All memory, in KiB.
    pub resident: usize,
    /// Crate files and clones in memory to be sent again, in KiB: bounded, and kept on purpose.
    pub cached: usize,
    /// Versions that were acknowledged until then.
    pub versions: usize,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            descriptors,
            threads,
            allocated,
            anonymous,
            resident,
            cached,
            versions,
        } = self;
        write!(
            f,
            "{descriptors} descriptors, {threads} threads, {allocated} KiB in use beside {cached} of crate files and \
             clones, {anonymous} of its own and {resident} in all, with {versions} versions"
        )
    }
}

impl Held {
    /// Waits until the server has let go of what the load had, and looks.
    ///
    /// With what it held earlier, it waits until it holds no more than that.
    pub fn at_rest(registry: &Registry, world: &World, earlier: Option<&Self>) -> Self {
        let pid = registry.pid();
        assert_eq!(settled(|| children(pid), Some(0)), 0, "processes are left");
        wait_for_rest(registry, world);
        let threads = settled(
            || threads(pid),
            Some(earlier.map_or(threads_of_its_own(), |earlier| earlier.threads)),
        );
        let wanted = earlier.map(|earlier| earlier.descriptors);
        let descriptors = settled(|| descriptors(pid), wanted);
        eventually("`/metrics` shows the descriptors that are open", || {
            // The connection that asks has one too.
            let shown = metrics(registry, world).get("process_open_fds") - 1.0;
            (shown == descriptors as f64).then_some(())
        });
        let (allocated, cached) = least(|| in_use(&metrics(registry, world)));
        Self {
            descriptors,
            threads,
            allocated,
            anonymous: least(|| status(pid, "RssAnon")),
            resident: status(pid, "VmRSS"),
            cached,
            versions: world.model.count(),
        }
    }
}

/// The most threads that a server keeps without work: those of the runtime, and a handful with a name.
fn threads_of_its_own() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) + 5
}

fn metrics(registry: &Registry, world: &World) -> Metrics {
    let reply = world.get("/metrics").send(registry.port).succeeds();
    Metrics::parse(reply.text()).unwrap()
}

/// What the program holds, without crate files and clones in memory, and how much these are, in KiB.
fn in_use(metrics: &Metrics) -> (usize, usize) {
    let [allocated, files, clones] = [
        "sidecargo_memory_allocated_bytes",
        "sidecargo_blobs_memory_bytes",
        "sidecargo_fetch_memory_bytes",
    ]
    .map(|name| metrics.get(name) as usize / 1024);
    (allocated - files - clones, files + clones)
}

/// Waits until the measures say that nothing goes on, and panics if they say that something has failed.
fn wait_for_rest(registry: &Registry, world: &World) {
    let metrics = eventually("the measures are those of rest", || {
        let metrics = metrics(registry, world);
        let is_so = [
            // The connection that asks.
            ("sidecargo_http_connections", 1.0),
            ("sidecargo_fetch_processes", 0.0),
            ("sidecargo_fetches_waiting", 0.0),
            ("sidecargo_index_changes_waiting", 0.0),
            ("sidecargo_index_stalled", 0.0),
            ("sidecargo_index_unproven", 0.0),
            ("sidecargo_index_writer_up", 1.0),
            ("sidecargo_index_maintenance_up", 1.0),
            ("sidecargo_catalog_unread", 0.0),
            (
                "sidecargo_catalog_crates",
                metrics.get("sidecargo_index_crates"),
            ),
        ]
        .iter()
        .all(|(name, value)| metrics.has(name) && metrics.get(name) == *value);
        is_so.then_some(metrics)
    });
    assert_eq!(metrics.get("sidecargo_fetches_refused_total"), 0.0);
    let crates = world.model.all();
    let crates = crates
        .values()
        .filter(|versions| versions.values().any(|known| known.is_acknowledged));
    assert_eq!(metrics.get("sidecargo_index_crates"), crates.count() as f64);
    let answers = |status: &str| {
        let label = format!("status=\"{status}\"}} ");
        let lines = metrics.text.lines().filter(|line| line.contains(&label));
        let counts = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        counts.sum::<f64>()
    };
    assert_eq!(answers("500"), 0.0, "{}", metrics.text);
    let allowed = [WAITED, PAUSED];
    let allowed: u32 = allowed.iter().map(|what| world.counted(what)).sum();
    assert!(answers("503") <= f64::from(allowed), "{}", metrics.text);
}

/// How many threads there are beside those with which the allocator gives memory back.
fn threads(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| !name.starts_with("jemalloc")).count()
}

/// The least that is seen until it no longer falls: memory is given back little by little.
fn least<T: Ord + Copy>(look: impl Fn() -> T) -> T {
    let mut least = look();
    let mut steady = 0;
    while steady < LOOKS {
        thread::sleep(LOOK_AGAIN);
        let now = look();
        steady = if now < least { 0 } else { steady + 1 };
        least = least.min(now);
    }
    least
}

/// A number of `/proc/PID/status`.
fn status(pid: u32, key: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// The open descriptors by what they are, for who has to look for one too many.
pub fn kinds(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let Ok(target) = fs::read_link(entry.unwrap().path()) else {
            continue;
        };
        let target = target.display().to_string();
        let kind = target.split('[').next().unwrap().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
