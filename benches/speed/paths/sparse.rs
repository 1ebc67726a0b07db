//! Reads of the sparse index, against nginx with the same bytes.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::Bench;
use crate::client::Client;
use crate::load::{Answered, Load, SERVER_CORE};
use crate::registry::{self, Krate, MANY_VERSIONS, OWNER};
use crate::server::{Nginx, Server, Settings};
use crate::table::{Goal, Row};

/// How many files are asked for in turn.
pub const FILES: usize = 4_000;
const CONNECTIONS: usize = 32;
pub const SECS: u64 = 3;
pub const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

pub type Targets = Vec<(String, Option<String>)>;

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
        rows.extend(pair.compare_whole(bench, &format!("sparse GET, {size} crates"))?);
        rows.extend(pair.compare_known(bench, &format!("sparse 304, {size} crates"))?);
        if size == 10_000 {
            let largest: Vec<&Krate> = crates.iter().take(1).collect();
            ensure!(
                largest[0].versions == MANY_VERSIONS,
                "a crate with many versions"
            );
            let pair = Pair::start(bench, size, &largest)?;
            let what = format!("sparse GET of {MANY_VERSIONS} versions");
            rows.extend(pair.compare_whole(bench, &what)?);
            let what = format!("sparse 304 of {MANY_VERSIONS} versions");
            rows.extend(pair.compare_known(bench, &what)?);
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

    /// Whole answers.
    fn compare_whole(&self, bench: &Bench, what: &str) -> anyhow::Result<Vec<Row>> {
        let targets = whole(&self.paths);
        self.compare(bench, what, &targets, &targets)
    }

    /// Answers to one who shows the tags that each server gave.
    fn compare_known(&self, bench: &Bench, what: &str) -> anyhow::Result<Vec<Row>> {
        let of = |port| known(port, &self.paths);
        self.compare(bench, what, &of(self.ours.port)?, &of(self.theirs.port)?)
    }

    fn compare(
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

/// Files of which nothing is known.
pub fn whole(paths: &[String]) -> Targets {
    paths.iter().map(|path| (path.clone(), None)).collect()
}

/// Files with the tags that the server on `port` gives them.
pub fn known(port: u16, paths: &[String]) -> anyhow::Result<Targets> {
    let mut client = Client::connect(port)?;
    let mut targets = Vec::new();
    for path in paths {
        let reply = client.get(path, &[GZIP])?;
        let tag = reply.header("etag").context("a tag")?.to_owned();
        let reply = client.get(path, &[GZIP, ("If-None-Match", &tag)])?;
        ensure!(reply.status == 304, "{} at {path}", reply.status);
        targets.push((path.clone(), Some(tag)));
    }
    Ok(targets)
}

pub fn load<'a>(targets: &'a Targets, headers: &'a [(&'a str, &'a str)]) -> Load<'a> {
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
