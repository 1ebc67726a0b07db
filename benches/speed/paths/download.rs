//! Downloads of crate files, against nginx with the same files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};

use crate::Bench;
use crate::client::Client;
use crate::load::{Load, SERVER_CORE};
use crate::paths::publish::{Publisher, publish};
use crate::release::Release;
use crate::server::{Nginx, Server, Settings};
use crate::table::{Goal, Row};

const LARGE_BYTES: usize = 10_000_000;
/// So many that the ticks by which CPU time is counted do not matter.
const LARGE_COUNT: usize = 32;

/// A crate file that both servers have.
struct Shared {
    path: String,
    /// Where each of them has it.
    files: [PathBuf; 2],
}

/// Small ones, and large ones with the file in memory or not.
pub fn downloads(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut publisher = Publisher::start(&bench.work, 1_000)?;
    let small: Vec<Release> = (0..200).map(|_| publisher.release(10_000)).collect();
    let large: Vec<Release> = (0..LARGE_COUNT)
        .map(|_| publisher.release(LARGE_BYTES))
        .collect();
    let mut client = Client::connect(publisher.server.port)?;
    for release in small.iter().chain(&large) {
        let upload = publisher.request(release);
        publish(&mut client, &upload)?;
    }
    drop(client);
    let Publisher { server, data, .. } = publisher;
    server.stop()?;
    let root = tempfile::tempdir_in(&bench.work)?;
    let share = |release: &Release| share(release, data.path(), root.path());
    let small: Vec<Shared> = small.iter().map(share).collect::<Result<_, _>>()?;
    let large: Vec<Shared> = large.iter().map(share).collect::<Result<_, _>>()?;
    let settings = Settings {
        core: Some(SERVER_CORE),
        ..Settings::default()
    };
    let ours = Server::start(data.path(), &settings)?;
    let theirs = Nginx::start(root.path(), Some(SERVER_CORE))?;
    let pair = (&ours, &theirs);
    for shared in small.iter().chain(&large) {
        let hash = |port| hash_of(port, &shared.path);
        ensure!(
            hash(ours.port)? == hash(theirs.port)?,
            "other bytes at {}",
            shared.path
        );
    }
    ours.settle()?;
    let mut rows = vec![
        warm(bench, pair, "download of 10 kB, CPU", &small, 32, 1.3)?,
        warm(bench, pair, "download of 10 MB, warm, CPU", &large, 4, 1.5)?,
    ];
    let mut again = cold_row("download of 10 MB, cold, CPU");
    for _ in 0..bench.rounds {
        cold(&mut again, pair, &large)?;
    }
    rows.push(again);
    drop(ours);
    let mut first = cold_row("download of 10 MB, cold, first since the start, CPU");
    for _ in 0..bench.rounds {
        let ours = Server::start(data.path(), &settings)?;
        ours.settle()?;
        cold(&mut first, (&ours, &theirs), &large)?;
    }
    rows.push(first);
    Ok(rows)
}

fn warm(
    bench: &Bench,
    (ours, theirs): (&Server, &Nginx),
    what: &str,
    files: &[Shared],
    connections: usize,
    bound: f64,
) -> anyhow::Result<Row> {
    let mut row = Row::new(what, "nginx", "µs", Goal::AtMost(bound));
    let targets: Vec<_> = files.iter().map(|file| (file.path.clone(), None)).collect();
    let load = Load {
        targets: &targets,
        headers: &[],
        connections,
        secs: 3,
    };
    for _ in 0..bench.rounds {
        let before = ours.cpu()?.own;
        let answered = load.run(ours.port)?;
        let here = (ours.cpu()?.own - before) * 1e6 / answered.requests;
        let before = theirs.cpu()?.own;
        let answered = load.run(theirs.port)?;
        let there = (theirs.cpu()?.own - before) * 1e6 / answered.requests;
        row.add(here, there);
    }
    Ok(row)
}

fn cold_row(what: &str) -> Row {
    Row::new(what, "nginx", "µs", Goal::AtMost(2.3))
}

/// Each file once, after the kernel was told to forget it.
fn cold(row: &mut Row, (ours, theirs): (&Server, &Nginx), files: &[Shared]) -> anyhow::Result<()> {
    let read_all = |port| -> anyhow::Result<()> {
        for file in files.iter().flat_map(|file| &file.files) {
            fadvise(File::open(file)?, 0, None, Advice::DontNeed)?;
        }
        let mut client = Client::connect(port)?;
        for file in files {
            let reply = client.get(&file.path, &[])?;
            ensure!(reply.status == 200, "{} at {}", reply.status, file.path);
        }
        Ok(())
    };
    let count = files.len() as f64;
    let before = ours.cpu()?.own;
    read_all(ours.port)?;
    let here = (ours.cpu()?.own - before) * 1e6 / count;
    let before = theirs.cpu()?.own;
    read_all(theirs.port)?;
    let there = (theirs.cpu()?.own - before) * 1e6 / count;
    row.add(here, there);
    Ok(())
}

fn share(release: &Release, data: &Path, root: &Path) -> anyhow::Result<Shared> {
    let path = release.download_path();
    let copy = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(copy.parent().context("a folder")?)?;
    fs::write(&copy, &release.crate_file)?;
    File::open(&copy)?.sync_all()?;
    let cksum = release.cksum();
    let blob = data.join("blobs").join(&cksum[..2]).join(&cksum);
    Ok(Shared {
        path,
        files: [blob, copy],
    })
}

fn hash_of(port: u16, path: &str) -> anyhow::Result<Vec<u8>> {
    let reply = Client::connect(port)?.get(path, &[])?;
    ensure!(reply.status == 200, "{} at {path}", reply.status);
    Ok(Sha256::digest(&reply.body).to_vec())
}
