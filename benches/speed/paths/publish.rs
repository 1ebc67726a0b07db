//! Publishing over HTTP, against the flushes of the disk itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::Bench;
use crate::chance::Chance;
use crate::client::{Client, request};
use crate::disk;
use crate::registry::{self, Krate, OWNER};
use crate::release::Release;
use crate::server::{Server, Settings};
use crate::table::{Goal, Row, median};

/// The size of a crate that is published, in bytes.
pub const CRATE_BYTES: usize = 10_000;
/// Publishes of a round that are made one after the other.
const ALONE: usize = 60;
/// So many of them, before it is the disk's turn.
const ALONE_AT_ONCE: usize = 10;
/// How long it may take until packs are merged.
const MERGE_WAIT: Duration = Duration::from_secs(120);
/// Fewer packs than these are no reason for the server to merge,
const FEW_PACKS: usize = 8;
/// and those that are there after it has looked twice stay.
const STAYS_AFTER: Duration = Duration::from_secs(40);
/// At least for so long an ext4 without a journal gives no inode of a file that is gone to another, and looks past it for
/// each new file: deletions of the last minutes make the baseline slower, and the server too.
const INODE_WAIT: Duration = Duration::from_secs(6);
/// What the baseline is called.
const DISK: &str = "new file + fsync + rename + fsync(dir)";

/// A registry that is published to.
pub struct Publisher {
    pub server: Server,
    pub data: tempfile::TempDir,
    token: String,
    crates: Vec<Krate>,
    /// How many versions were made so far: each has another number.
    made: u64,
    chance: Chance,
}

impl Publisher {
    pub fn start(work: &Path, count: usize) -> anyhow::Result<Self> {
        Self::start_with(work, count, &Settings::default())
    }

    pub fn start_with(work: &Path, count: usize, settings: &Settings) -> anyhow::Result<Self> {
        Self::start_on(registry::copy(work, count)?, count, settings)
    }

    /// As [`Publisher::start_with`], on a registry of `count` crates that is there already.
    pub fn start_on(
        data: tempfile::TempDir,
        count: usize,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let server = Server::start(data.path(), settings)?;
        server.settle()?;
        Ok(Self {
            token: server.token(OWNER)?,
            server,
            data,
            crates: registry::crates(count),
            made: 0,
            chance: Chance::new(3),
        })
    }

    /// As [`Publisher::rest`] after so many rounds of publishes; before the first it rests already.
    pub fn rest_after(&self, rounds: usize) -> anyhow::Result<()> {
        match rounds {
            0 => self.server.settle(),
            _ => self.rest(),
        }
    }

    /// Waits until its packs are merged: the server does that when publishes have paused for a while.
    pub fn rest(&self) -> anyhow::Result<()> {
        let folder = self.data.path().join("index.git/objects/pack");
        let started = Instant::now();
        let (mut before, mut changed) = (Vec::new(), started);
        loop {
            let files = fs::read_dir(&folder)?;
            let mut packs: Vec<_> = files
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|kind| kind == "idx"))
                .collect();
            packs.sort();
            if packs != before {
                (before, changed) = (packs.clone(), Instant::now());
            }
            // A few that came after the last merge stay for good.
            let is_left = packs.len() < FEW_PACKS && changed.elapsed() > STAYS_AFTER;
            let has_bitmap = |pack: &PathBuf| pack.with_extension("bitmap").exists();
            if (packs.len() == 1 || is_left) && packs.iter().any(has_bitmap) {
                return self.server.settle();
            }
            ensure!(
                started.elapsed() < MERGE_WAIT,
                "{} packs are left",
                packs.len()
            );
            sleep(Duration::from_millis(100));
        }
    }

    /// Publishes no versions of the first `count` crates from now on.
    pub fn leave_alone(&mut self, count: usize) {
        self.crates.drain(..count);
    }

    /// A new version of some crate.
    pub fn release(&mut self, bytes: usize) -> Release {
        self.made += 1;
        let at = self.chance.below(self.crates.len() as u64) as usize;
        let version = format!("1.{}.0", self.made);
        Release::of_size(&self.crates[at].name, &version, bytes, &mut self.chance)
    }

    /// The request that uploads a new version.
    pub fn upload(&mut self) -> Vec<u8> {
        let release = self.release(CRATE_BYTES);
        self.request(&release)
    }

    pub fn request(&self, release: &Release) -> Vec<u8> {
        let headers = [("Authorization", self.token.as_str())];
        request(
            "PUT",
            "/crates/api/v1/crates/new",
            &headers,
            &release.body(),
        )
    }

    /// Publishes `count` versions one after the other; how long each took.
    pub fn alone(&mut self, count: usize) -> anyhow::Result<Vec<f64>> {
        let mut client = Client::connect(self.server.port)?;
        let mut durations = Vec::new();
        for _ in 0..count {
            let upload = self.upload();
            durations.push(publish(&mut client, &upload)?.as_secs_f64() * 1000.0);
        }
        Ok(durations)
    }

    /// How long `count` versions take that `clients` publish at the same time.
    pub fn together(&mut self, clients: usize, count: usize) -> anyhow::Result<Duration> {
        let releases: Vec<Release> = (0..count).map(|_| self.release(CRATE_BYTES)).collect();
        self.upload_all(&releases, clients)
    }

    /// How long it takes to upload these, by so many clients at the same time.
    pub fn upload_all(&self, releases: &[Release], clients: usize) -> anyhow::Result<Duration> {
        let uploads: Vec<Vec<u8>> = releases.iter().map(|it| self.request(it)).collect();
        let port = self.server.port;
        let started = Instant::now();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..clients)
                .map(|client| {
                    let uploads = uploads.iter().skip(client).step_by(clients);
                    scope.spawn(move || -> anyhow::Result<()> {
                        let mut connection = Client::connect(port)?;
                        for upload in uploads {
                            publish(&mut connection, upload)?;
                        }
                        Ok(())
                    })
                })
                .collect();
            for worker in workers {
                worker.join().expect("a worker does not panic")?;
            }
            anyhow::Ok(())
        })?;
        Ok(started.elapsed())
    }
}

/// Publishes one version, which must succeed.
pub fn publish(client: &mut Client, upload: &[u8]) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let reply = client.send(upload)?;
    let took = started.elapsed();
    let body = String::from_utf8_lossy(&reply.body);
    ensure!(reply.status == 200, "{} {body}", reply.status);
    Ok(took)
}

/// One client, in registries of three sizes.
pub fn alone(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let sizes = [1_000, 10_000, 100_000];
    let mut registries = Vec::new();
    for size in sizes {
        registries.push(Publisher::start(&bench.work, size)?);
    }
    let disk = tempfile::tempdir_in(&bench.work)?;
    let file = Chance::new(4).bytes(CRATE_BYTES);
    let mut rows = sizes.map(|size| {
        let path = format!("lone publish, p50, {size} crates");
        Row::new(&path, DISK, "ms", Goal::AtMost(5.0))
    });
    let mut growth = Row::new(
        "lone publish, p50, 100000 crates",
        "1000 crates",
        "ms",
        Goal::AtMost(1.5),
    );
    let mut written = 0;
    for _ in 0..bench.rounds {
        let mut durations = sizes.map(|_| Vec::new());
        let mut theirs = Vec::new();
        for _ in 0..ALONE / ALONE_AT_ONCE {
            for (registry, durations) in registries.iter_mut().zip(&mut durations) {
                durations.extend(registry.alone(ALONE_AT_ONCE)?);
            }
            for _ in 0..ALONE_AT_ONCE {
                written += 1;
                let started = Instant::now();
                disk::write_durably(disk.path(), &format!("{written}"), &file)?;
                theirs.push(started.elapsed().as_secs_f64() * 1000.0);
            }
        }
        let ours = durations.map(|durations| median(&durations));
        for (row, ours) in rows.iter_mut().zip(ours) {
            row.add(ours, median(&theirs));
        }
        growth.add(ours[2], ours[0]);
    }
    Ok(rows.into_iter().chain([growth]).collect())
}

/// Many clients.
pub fn together(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut registry = Publisher::start(&bench.work, 10_000)?;
    let file = Chance::new(4).bytes(CRATE_BYTES);
    // What was written stays until the end, and the registry has nothing left to do: neither is in the other's way.
    let disk = tempfile::tempdir_in(&bench.work)?;
    let mut rows = Vec::new();
    for (clients, count, goal) in [(8, 1_000, 0.15), (32, 2_000, 0.2)] {
        let path = format!("publishes a second, {clients} clients, 10000 crates");
        let baseline = format!("{DISK}, {clients} threads");
        let mut row = Row::new(&path, &baseline, "/s", Goal::AtLeast(goal));
        for round in 0..bench.rounds {
            let folder = disk.path().join(format!("{clients}-{round}"));
            fs::create_dir(&folder)?;
            sleep(INODE_WAIT);
            let theirs = disk::write_many(&folder, clients, count, &file)?;
            let ours = registry.together(clients, count)?;
            registry.rest()?;
            let rate = |took: Duration| count as f64 / took.as_secs_f64();
            row.add(rate(ours), rate(theirs));
        }
        rows.push(row);
    }
    let changes = registry.server.metric("sidecargo_index_group_changes_sum");
    let groups = registry
        .server
        .metric("sidecargo_index_group_changes_count")?;
    let size = changes.context("the sizes of groups")? / groups;
    eprintln!("  groups had {size:.1} changes on average");
    Ok(rows)
}
