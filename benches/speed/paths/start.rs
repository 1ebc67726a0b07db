//! How soon a large registry serves after a start, and how much memory it holds.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::Bench;
use crate::client::Client;
use crate::registry;
use crate::server::{Server, Settings};
use crate::table::{Goal, Row};

const CRATES: usize = 100_000;
const MEGABYTE: f64 = 1e6;

/// From the start of the process until the sparse and the git index answer.
pub fn start(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let data = registry::copy(&bench.work, CRATES)?;
    let settings = Settings::default();
    let mut from_git = bound(&format!("start, {CRATES} crates, from git"), "s", 5.0);
    let mut from_file = bound(
        &format!("start, {CRATES} crates, from the snapshot file"),
        "s",
        1.0,
    );
    for _ in 0..bench.rounds {
        let snapshot = data.path().join("cache/snapshot");
        if snapshot.exists() {
            fs::remove_file(&snapshot)?;
        }
        let server = Server::start(data.path(), &settings)?;
        from_git.add(server.ready_after.as_secs_f64(), 1.0);
        server.settle()?;
        server.stop()?;
        let server = Server::start(data.path(), &settings)?;
        from_file.add(server.ready_after.as_secs_f64(), 1.0);
        server.settle()?;
        server.stop()?;
    }
    Ok(vec![from_git, from_file])
}

/// After a start, with the catalog made, once every index file was read.
pub fn memory(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let data = registry::copy(&bench.work, CRATES)?;
    let mut absolute = bound(&format!("memory, {CRATES} crates"), "MB", 250.0);
    let mut relative = Row::new(
        &format!("memory, {CRATES} crates"),
        "all index files in gzip form",
        "MB",
        Goal::AtMost(5.0),
    );
    for _ in 0..bench.rounds.min(3) {
        let server = Server::start(data.path(), &Settings::default())?;
        server.settle()?;
        let mut client = Client::connect(server.port)?;
        let mut bytes = 0;
        for krate in registry::crates(CRATES) {
            let path = format!("/crates/index/{}", krate.path());
            bytes += client
                .get(&path, &[("Accept-Encoding", "gzip")])?
                .body
                .len();
        }
        let memory = memory_at_rest(&server)?;
        absolute.add(memory, 1.0);
        relative.add(memory, bytes as f64 / MEGABYTE);
        server.stop()?;
    }
    Ok(vec![absolute, relative])
}

/// What it holds, in megabytes, once it has given back what nobody uses any more: it does so within some ten seconds.
fn memory_at_rest(server: &Server) -> anyhow::Result<f64> {
    let (mut least, mut looks) = (server.memory()?, 0);
    while looks < 15 {
        sleep(Duration::from_secs(1));
        let now = server.memory()?;
        looks += 1;
        if now < least - least / 100 {
            (least, looks) = (now, 0);
        }
    }
    Ok(least as f64 / MEGABYTE)
}

fn bound(path: &str, unit: &'static str, most: f64) -> Row {
    Row::new(path, &format!("1 {unit}"), unit, Goal::AtMost(most))
}
