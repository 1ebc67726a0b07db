//! Reads of the sparse index, against nginx with the same bytes.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::Bench;
use crate::client::Client;
use crate::load::{Answered, Load, SERVER_CORE};
use crate::paths::publish::{Publisher, publish};
use crate::registry::{self, Krate, MANY_VERSIONS, OWNER};
use crate::server::{Nginx, Server, Settings};
use crate::table::{Goal, Row, median};

/// How many files are asked for in turn.
const FILES: usize = 4_000;
const CONNECTIONS: usize = 32;
const SECS: u64 = 3;
const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

type Targets = Vec<(String, Option<String>)>;

/// Whole answers and 304s, in registries of two sizes and of a crate with many versions.
pub fn reads(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in [10_000, 100_000] {
        let crates = registry::crates(size);
        let some: Vec<&Krate> = crates
            .iter()
            .skip(1)
            .step_by(size / FILES)
            .take(FILES)
            .collect();
        let pair = Pair::start(bench, size, &some)?;
        rows.extend(pair.compare(bench, &format!("sparse GET, {size} crates"), &pair.whole())?);
        let (ours, theirs) = pair.known()?;
        let what = format!("sparse 304, {size} crates");
        rows.extend(pair.compare_each(bench, &what, &ours, &theirs)?);
        if size == 10_000 {
            let largest: Vec<&Krate> = crates.iter().take(1).collect();
            ensure!(
                largest[0].versions == MANY_VERSIONS,
                "a crate with many versions"
            );
            let pair = Pair::start(bench, size, &largest)?;
            let what = format!("sparse GET of {MANY_VERSIONS} versions");
            rows.extend(pair.compare(bench, &what, &pair.whole())?);
        }
    }
    Ok(rows)
}

/// Sidecargo and nginx, both with the same files.
struct Pair {
    ours: Server,
    theirs: Nginx,
    paths: Vec<String>,
    _folders: [tempfile::TempDir; 2],
}

impl Pair {
    fn start(bench: &Bench, size: usize, crates: &[&Krate]) -> anyhow::Result<Self> {
        let data = registry::copy(&bench.work, size)?;
        let settings = Settings {
            core: Some(SERVER_CORE),
            ..Settings::default()
        };
        let ours = Server::start(data.path(), &settings)?;
        ours.settle()?;
        let root = tempfile::tempdir_in(&bench.work)?;
        let paths: Vec<String> = crates
            .iter()
            .map(|krate| format!("/crates/index/{}", krate.path()))
            .collect();
        copy_files(&ours, &paths, root.path())?;
        let theirs = Nginx::start(root.path(), Some(SERVER_CORE))?;
        for path in &paths {
            for headers in [&[GZIP][..], &[]] {
                let hash = |port| hash_of(port, path, headers);
                ensure!(
                    hash(ours.port)? == hash(theirs.port)?,
                    "other bytes at {path}"
                );
            }
        }
        Ok(Self {
            ours,
            theirs,
            paths,
            _folders: [data, root],
        })
    }

    fn whole(&self) -> Targets {
        self.paths.iter().map(|path| (path.clone(), None)).collect()
    }

    /// The files with the tags that each server gave them.
    fn known(&self) -> anyhow::Result<(Targets, Targets)> {
        let of = |port| -> anyhow::Result<Targets> {
            let mut client = Client::connect(port)?;
            let mut targets = Vec::new();
            for path in &self.paths {
                let reply = client.get(path, &[GZIP])?;
                let tag = reply.header("etag").context("a tag")?.to_owned();
                let reply = client.get(path, &[GZIP, ("If-None-Match", &tag)])?;
                ensure!(reply.status == 304, "{} at {path}", reply.status);
                targets.push((path.clone(), Some(tag)));
            }
            Ok(targets)
        };
        Ok((of(self.ours.port)?, of(self.theirs.port)?))
    }

    fn compare(&self, bench: &Bench, what: &str, targets: &Targets) -> anyhow::Result<Vec<Row>> {
        self.compare_each(bench, what, targets, targets)
    }

    fn compare_each(
        &self,
        bench: &Bench,
        what: &str,
        ours: &Targets,
        theirs: &Targets,
    ) -> anyhow::Result<Vec<Row>> {
        let mut p50 = Row::new(&format!("{what}, p50"), "nginx", "µs", Goal::AsFastAs(1.0));
        let path = format!("{what}, requests per CPU second");
        let mut per_cpu = Row::new(&path, "nginx", "", Goal::AtLeast(0.95));
        for _ in 0..bench.rounds {
            let cpu = || Ok(self.ours.cpu()?.own);
            let ours = measure(&load(ours, &[GZIP]), self.ours.port, cpu)?;
            let cpu = || Ok(self.theirs.cpu()?.own);
            let theirs = measure(&load(theirs, &[GZIP]), self.theirs.port, cpu)?;
            p50.add(ours.0.p50_us, theirs.0.p50_us);
            per_cpu.add(ours.1, theirs.1);
        }
        Ok(vec![p50, per_cpu])
    }
}

fn load<'a>(targets: &'a Targets, headers: &'a [(&'a str, &'a str)]) -> Load<'a> {
    Load {
        targets,
        headers,
        connections: CONNECTIONS,
        secs: SECS,
    }
}

/// Runs a load; the answers, and how many there were for each second of the server's CPU.
pub fn measure(
    load: &Load<'_>,
    port: u16,
    cpu: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<(Answered, f64)> {
    let before = cpu()?;
    let answered = load.run(port)?;
    Ok((answered, answered.requests / (cpu()? - before)))
}

/// Writes what our server says to files as nginx serves them.
fn copy_files(ours: &Server, paths: &[String], root: &Path) -> anyhow::Result<()> {
    let mut client = Client::connect(ours.port)?;
    for path in paths {
        let file = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().context("a folder")?)?;
        let compressed = client.get(path, &[GZIP])?;
        ensure!(
            compressed.header("content-encoding") == Some("gzip"),
            "{path}"
        );
        fs::write(format!("{}.gz", file.display()), compressed.body)?;
        fs::write(file, client.get(path, &[])?.body)?;
    }
    Ok(())
}

fn hash_of(port: u16, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Vec<u8>> {
    let reply = Client::connect(port)?.get(path, headers)?;
    ensure!(reply.status == 200, "{} at {path}", reply.status);
    Ok(Sha256::digest(&reply.body).to_vec())
}

/// A private registry, whose every read shows a token, against the same as a public one.
pub fn private(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    const SIZE: usize = 10_000;
    let crates = registry::crates(SIZE);
    let path = |krate: &Krate| (format!("/crates/index/{}", krate.path()), None);
    let targets: Targets = crates.iter().skip(1).take(FILES).map(path).collect();
    let start = |is_private| -> anyhow::Result<(Server, tempfile::TempDir)> {
        let data = registry::copy(&bench.work, SIZE)?;
        let settings = Settings {
            core: Some(SERVER_CORE),
            is_private,
            ..Settings::default()
        };
        Ok((Server::start(data.path(), &settings)?, data))
    };
    let (private, _one) = start(true)?;
    let (public, _other) = start(false)?;
    public.settle()?;
    let token = private.token(OWNER)?;
    let mut row = Row::new(
        "sparse GET of a private registry, CPU",
        "public",
        "µs",
        Goal::AtMost(1.15),
    );
    let refused = Client::connect(private.port)?.get(&targets[0].0, &[GZIP])?;
    ensure!(
        refused.status == 401,
        "a private registry answers {}",
        refused.status
    );
    let headers = [GZIP, ("Authorization", token.as_str())];
    for (path, _) in &targets {
        ensure!(
            hash_of(private.port, path, &headers)? == hash_of(public.port, path, &[GZIP])?,
            "other bytes at {path}"
        );
    }
    for _ in 0..bench.rounds {
        let ours = measure(&load(&targets, &headers), private.port, || {
            Ok(private.cpu()?.own)
        })?;
        let theirs = measure(&load(&targets, &[GZIP]), public.port, || {
            Ok(public.cpu()?.own)
        })?;
        row.add(1e6 / ours.1, 1e6 / theirs.1);
    }
    Ok(vec![row])
}

/// Reads while eight clients publish, against the same reads when nobody does.
///
/// The readers ask one after the other: what is looked at is whether an answer waits for a writer, not how a machine
/// that is full shares its cores.
pub fn while_publishing(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    const READS: usize = 4_000;
    let mut registry = Publisher::start(&bench.work, 10_000)?;
    let crates = registry::crates(10_000);
    let paths: Vec<String> = crates
        .iter()
        .skip(1)
        .take(FILES)
        .map(|krate| format!("/crates/index/{}", krate.path()))
        .collect();
    let port = registry.server.port;
    let read = || -> anyhow::Result<f64> {
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
    let mut row = Row::new(
        "sparse GET while 8 clients publish, p50",
        "idle",
        "µs",
        Goal::AsFastAs(0.9),
    );
    for _ in 0..bench.rounds {
        let idle = read()?;
        let uploads: Vec<Vec<u8>> = (0..8_000).map(|_| registry.upload()).collect();
        let is_over = AtomicBool::new(false);
        let busy = thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|worker| {
                    let uploads = uploads.iter().skip(worker).step_by(8);
                    let is_over = &is_over;
                    scope.spawn(move || -> anyhow::Result<usize> {
                        let mut client = Client::connect(port)?;
                        let mut count = 0;
                        for upload in uploads {
                            if is_over.load(Ordering::Relaxed) {
                                break;
                            }
                            publish(&mut client, upload)?;
                            count += 1;
                        }
                        Ok(count)
                    })
                })
                .collect();
            let busy = read();
            is_over.store(true, Ordering::Relaxed);
            for worker in workers {
                let count = worker.join().expect("a worker does not panic")?;
                ensure!(
                    count > 0 && count < 1_000,
                    "a client made {count} publishes"
                );
            }
            busy
        })?;
        row.add(busy, idle);
    }
    Ok(vec![row])
}
