//! What a monitoring system reads: all measures as one text.
//!
//! It holds numbers and words of our own, never a crate, a person or a path. The text is the exposition format 0.0.4:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fs;
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{Gauge, IntGauge, Opts, Registry, TextEncoder};
use tikv_jemalloc_ctl::{epoch, stats};

use crate::app::App;
use crate::disk;

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Where a number stands that is looked up when it is asked for.
type Look = fn(&App) -> f64;

/// The name, what it says, and the look.
#[rustfmt::skip]
const LOOKS: &[(&str, &str, Look)] = &[
    ("sidecargo_index_crates", "Crates of the commit that is served.",
        |app| app.index.snapshot().crate_count() as f64),
    ("sidecargo_index_snapshot_age_seconds", "How long the commit that is served has been served.",
        |app| app.index.measures().snapshot_age().as_secs_f64()),
    ("sidecargo_index_stalled", "1 while nothing is written because the branch is not good, most often because a commit breaks a rule.",
        |app| fact(app.index.stall().is_some())),
    ("sidecargo_index_unpushed", "1 from a push that the forge refused until it takes one.",
        |app| fact(app.index.unpushed().is_some())),
    ("sidecargo_index_unproven", "1 while it is not known whether the newest commits are durable.",
        |app| fact(!app.index.is_proven())),
    ("sidecargo_index_writer_up", "1 while the thread lives that writes the index.",
        |app| fact(app.index.has_writer())),
    ("sidecargo_index_maintenance_up", "1 while the thread lives that merges packs.",
        |app| fact(app.index.has_maintenance())),
    ("sidecargo_http_connections_max", "The most connections at one time, as configured or as the limit of open files allows.",
        |app| app.config.http.connections_max as f64),
    // Before its parts, so that what is freed in between is not taken off it twice.
    ("sidecargo_memory_allocated_bytes", "Memory that the program has asked for and not given back.",
        |_| allocated_bytes().unwrap_or(f64::NAN)),
    ("sidecargo_fetch_processes", "Running git upload-pack processes.",
        |app| app.fetches.running() as f64),
    ("sidecargo_fetch_processes_max", "The most of them at one time, as configured.",
        |app| app.config.fetch.children_max as f64),
    ("sidecargo_fetch_memory_bytes", "Memory that holds clones which are sent again.",
        |app| app.fetches.bytes_remembered() as f64),
    ("sidecargo_tokens_remembered", "Verified tokens in the cache.",
        |app| app.verifier.remembered() as f64),
    ("sidecargo_forge_tokens_remembered", "Tokens of the forge that may read, and are remembered.",
        |app| app.gate.as_ref().map_or(0, |gate| gate.remembered()) as f64),
    ("sidecargo_blobs_memory_bytes", "Crate files that are kept in memory to be downloaded again.",
        |app| app.blobs.bytes_in_memory() as f64),
    ("sidecargo_catalog_crates", "Crates that a search can find.",
        |app| app.catalog.crate_count() as f64),
    ("sidecargo_catalog_unread", "Crates whose file was not read yet for the search.",
        |app| app.catalog.unread_count() as f64),
    ("sidecargo_inspections_free", "Crate files that could be looked into at this moment without waiting.",
        |app| app.inspections.available_permits() as f64),
    ("process_open_fds", "Open file descriptors.", |_| open_descriptors().unwrap_or(f64::NAN)),
    ("process_resident_memory_bytes", "Resident memory.", |_| resident_bytes().unwrap_or(f64::NAN)),
];

/// All measures of a registry.
pub struct Metrics {
    registry: Registry,
    looks: Vec<(Gauge, Look)>,
    uptime: Gauge,
    started: Instant,
}

impl Metrics {
    /// The measures of `app`, and those of whoever serves it.
    pub fn new(app: &App, answered: impl Collector + 'static, connections: IntGauge) -> Self {
        let mut metrics = Self {
            registry: Registry::new(),
            looks: Vec::new(),
            uptime: gauge(
                "sidecargo_uptime_seconds",
                "How long the registry has been open.",
            ),
            started: Instant::now(),
        };
        let index = app.index.measures();
        let fetch = app.fetches.measures();
        let auth = app.verifier.measures();
        metrics.add(answered);
        metrics.add(connections);
        metrics.add(app.publishes.clone());
        metrics.add(index.waiting.clone());
        metrics.add(index.group_changes.clone());
        metrics.add(index.group_seconds.clone());
        metrics.add(index.pack_seconds.clone());
        metrics.add(index.tip_seconds.clone());
        metrics.add(index.push_seconds.clone());
        metrics.add(index.violations.clone());
        metrics.add(disk::flushes().clone());
        metrics.add(fetch.waiting.clone());
        metrics.add(fetch.refused.clone());
        metrics.add(fetch.remembered.clone());
        metrics.add(auth.cache_hits.clone());
        metrics.add(auth.cache_misses.clone());
        if let Some(gate) = &app.gate {
            let forge = gate.forge().measures();
            metrics.add(forge.questions.clone());
            metrics.add(forge.seconds.clone());
            metrics.add(gate.looked().clone());
        }
        for (name, help, look) in LOOKS {
            let level = gauge(name, help);
            metrics.add(level.clone());
            metrics.looks.push((level, *look));
        }
        metrics.add(metrics.uptime.clone());
        metrics.add(build());
        metrics
    }

    /// All measures as they are now.
    ///
    /// # Errors
    /// One of them cannot be written down.
    pub fn text(&self, app: &App) -> Result<String, prometheus::Error> {
        for (level, look) in &self.looks {
            level.set(look(app));
        }
        self.uptime.set(self.started.elapsed().as_secs_f64());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn add(&mut self, measure: impl Collector + 'static) {
        self.registry
            .register(Box::new(measure))
            .expect("every measure has a name of its own");
    }
}

fn gauge(name: &str, help: &str) -> Gauge {
    Gauge::new(name, help).expect("names are ASCII letters and underscores")
}

/// Which build this is: always 1.
fn build() -> Gauge {
    let options = Opts::new("sidecargo_build_info", "The version of this program.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let build = Gauge::with_opts(options).expect("the name is ASCII letters and underscores");
    build.set(1.0);
    build
}

fn fact(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// See `proc(5)`; none on a system without it.
fn open_descriptors() -> Option<f64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // Without the one by which the folder is read.
    Some(entries.count().saturating_sub(1) as f64)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// What jemalloc has given out: to the program everything, to a test of the library next to nothing.
fn allocated_bytes() -> Option<f64> {
    // Until then it shows what it counted last.
    epoch::advance().ok()?;
    Some(stats::allocated::read().ok()? as f64)
}
