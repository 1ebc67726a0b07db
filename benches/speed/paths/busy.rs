//! Reads of the sparse index while others publish, against the same reads when nobody does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Bench;
use crate::client::Client;
use crate::load::{LOAD_CORE, SERVER_CORE};
use crate::paths::publish::{Publisher, publish};
use crate::paths::sparse::{FILES, GZIP, SECS, Targets, known, load, measure, whole};
use crate::registry;
use crate::server::Settings;
use crate::table::{Goal, Row, median};

const SIZE: usize = 10_000;
const CLIENTS: usize = 8;
/// More than they can publish during one load.
const UPLOADS: usize = 3_000 * SECS as usize;
/// How often the lone reader asks in a round.
const READS: usize = 4_000;

/// Whole answers and 304s to 32 connections, and whole ones to one client who asks one after the other.
pub fn while_publishing(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let crates = registry::crates(SIZE);
    let some = crates.iter().skip(1).take(FILES);
    let paths: Vec<String> = some
        .map(|krate| format!("/crates/index/{}", krate.path()))
        .collect();
    let mut rows = many_readers(bench, &paths)?;
    rows.push(lone_reader(bench, &paths)?);
    Ok(rows)
}

/// By 32 connections, which take all that one core can give; the load and the publishers are on the other.
fn many_readers(bench: &Bench, paths: &[String]) -> anyhow::Result<Vec<Row>> {
    let settings = Settings {
        core: Some(SERVER_CORE),
        ..Settings::default()
    };
    let mut registry = Publisher::start_with(&bench.work, SIZE, &settings)?;
    // What is read does not change, so that a tag stays good.
    registry.leave_alone(FILES + 1);
    let tags = known(registry.server.port, paths)?;
    let mut reads = [("GET", whole(paths)), ("304", tags.clone())].map(Reads::new);
    for round in 0..bench.rounds {
        registry.rest_after(round)?;
        let cpu = || Ok(registry.server.cpu()?.own);
        let mut idle = Vec::new();
        for Reads { targets, .. } in &reads {
            idle.push(measure(&load(targets, &[GZIP]), registry.server.port, cpu)?);
        }
        // What the publishes alone cost is not the readers'.
        let before = registry.server.cpu()?.own;
        let (alone, ()) = publishing(&mut registry, Some(LOAD_CORE), |_| {
            thread::sleep(Duration::from_secs(SECS));
            Ok(())
        })?;
        let cost = (registry.server.cpu()?.own - before) / alone as f64;
        for (reads, (idle, idle_per_cpu)) in reads.iter_mut().zip(idle) {
            let load = load(&reads.targets, &[GZIP]);
            let before = registry.server.cpu()?.own;
            let (beside, busy) = publishing(&mut registry, Some(LOAD_CORE), |port| load.run(port))?;
            let spent = registry.server.cpu()?.own - before - cost * beside as f64;
            reads.p50.add(busy.p50_us, idle.p50_us);
            reads.per_cpu.add(busy.requests / spent, idle_per_cpu);
        }
    }
    let now = known(registry.server.port, paths)?;
    ensure!(now == tags, "what was read has changed");
    Ok(reads.into_iter().flat_map(Reads::rows).collect())
}

/// One kind of reads, and what came of them.
struct Reads {
    targets: Targets,
    p50: Row,
    per_cpu: Row,
}

impl Reads {
    fn new((what, targets): (&str, Targets)) -> Self {
        let row = |figure: &str, unit, goal| {
            let path = format!("sparse {what} while {CLIENTS} clients publish, {figure}");
            Row::new(&path, "idle", unit, goal)
        };
        Self {
            targets,
            p50: row("p50", "µs", Goal::AsFastAs(0.9)),
            per_cpu: row("requests per CPU second", "", Goal::AtLeast(0.9)),
        }
    }

    fn rows(self) -> [Row; 2] {
        [self.p50, self.per_cpu]
    }
}

/// By one client, one after the other: what is looked at is whether an answer waits for a writer, and not how a full
/// machine shares its cores.
fn lone_reader(bench: &Bench, paths: &[String]) -> anyhow::Result<Row> {
    let mut registry = Publisher::start(&bench.work, SIZE)?;
    let read = |port| -> anyhow::Result<f64> {
        let mut client = Client::connect(port)?;
        let mut durations = Vec::with_capacity(READS);
        for path in paths.iter().cycle().take(READS) {
            let started = Instant::now();
            let reply = client.get(path, &[GZIP])?;
            durations.push(started.elapsed().as_secs_f64() * 1e6);
            ensure!(reply.status == 200, "{} at {path}", reply.status);
        }
        Ok(median(&durations))
    };
    let path = format!("lone sparse GET while {CLIENTS} clients publish, p50");
    let mut row = Row::new(&path, "idle", "µs", Goal::AsFastAs(0.9));
    for round in 0..bench.rounds {
        registry.rest_after(round)?;
        let idle = read(registry.server.port)?;
        let (_, busy) = publishing(&mut registry, None, read)?;
        row.add(busy, idle);
    }
    Ok(row)
}

/// Does something while eight clients publish, on one core if it is named; how much they published, and what came of
/// it.
fn publishing<T>(
    registry: &mut Publisher,
    core: Option<usize>,
    something: impl FnOnce(u16) -> anyhow::Result<T>,
) -> anyhow::Result<(usize, T)> {
    let uploads: Vec<Vec<u8>> = (0..UPLOADS).map(|_| registry.upload()).collect();
    let port = registry.server.port;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|worker| {
                let uploads = uploads.iter().skip(worker).step_by(CLIENTS);
                let is_over = &is_over;
                scope.spawn(move || -> anyhow::Result<usize> {
                    if let Some(core) = core {
                        let mut cores = CpuSet::new();
                        cores.set(core);
                        sched_setaffinity(None, &cores)?;
                    }
                    let mut client = Client::connect(port)?;
                    for (count, upload) in uploads.enumerate() {
                        if is_over.load(Ordering::Relaxed) {
                            return Ok(count);
                        }
                        publish(&mut client, upload)?;
                    }
                    anyhow::bail!("a client had nothing left to publish")
                })
            })
            .collect();
        let outcome = something(port);
        is_over.store(true, Ordering::Relaxed);
        let mut published = 0;
        for worker in workers {
            let count = worker.join().expect("a worker does not panic")?;
            ensure!(count > 0, "a client published nothing");
            published += count;
        }
        Ok((published, outcome.context("while others publish")?))
    })
}
