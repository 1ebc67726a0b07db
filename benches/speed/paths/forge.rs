//! The index on a forge, against a bare push to the same forge and against the forge's own registry.
//!
//! Tokens are the registry's own, so that the forge is asked for nothing but the push.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::Bench;
use crate::client::{Client, request};
use crate::gitea::{Gitea, USER};
use crate::load::{Load, SERVER_CORE};
use crate::paths::publish::{CRATE_BYTES, Publisher};
use crate::paths::sparse::measure;
use crate::registry::{self, Krate, git};
use crate::release::Release;
use crate::run::{run, text_of};
use crate::server::Settings;
use crate::table::{Goal, Row, median};

/// How many crates the index has.
const SIZE: usize = 10_000;
/// Publishes of a round that are made one after the other, and pushes.
const ALONE: usize = 8;
/// Publishes of a round by eight clients.
const EIGHT: usize = 96;
const CONNECTIONS: usize = 32;
const SECS: u64 = 3;
const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

/// Publishing through the forge.
pub fn publishes(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let gitea = Gitea::start(&bench.work)?;
    let mut registry = beside(bench, &gitea, None)?;
    let mut pushes = Pushes::prepare(bench, &gitea)?;
    // Its git index is kept as soon as there is a repository of this name.
    gitea.repository("_cargo-index", true)?;
    let theirs = TheirRegistry::of(&gitea);
    let bare = "bare `git push` of one commit";
    let mut alone = Row::new(
        "lone publish through the forge, p50",
        bare,
        "ms",
        Goal::AtMost(1.15),
    );
    let mut many = Row::new(
        "publishes a second through the forge, 32 clients",
        &format!("{bare}, one after the other"),
        "/s",
        Goal::AtLeast(20.0),
    );
    let mut eight = Row::new(
        "acknowledged publishes a second through the forge, 8 clients",
        "Gitea's own registry with its git index",
        "/s",
        Goal::AtLeast(20.0),
    );
    let rate = |count: usize, took: Duration| count as f64 / took.as_secs_f64();
    for _ in 0..bench.rounds {
        let ours = registry.alone(ALONE)?;
        let bare = pushes.push(ALONE)?;
        alone.add(median(&ours), median(&bare));
        let took = registry.together(32, 640)?;
        let bare: f64 = pushes.push(ALONE)?.iter().sum();
        many.add(rate(640, took), ALONE as f64 * 1000.0 / bare);
        // Both with the same crates; of ours not one may fail.
        let releases: Vec<Release> = (0..EIGHT).map(|_| registry.release(CRATE_BYTES)).collect();
        let took = registry.upload_all(&releases, 8)?;
        let (good, their_time) = theirs.publish(&releases, 8)?;
        eight.add(rate(releases.len(), took), rate(good, their_time));
    }
    Ok(vec![alone, many, eight])
}

/// Reading while the forge is there and while it is not, and reads of the forge's own registry.
pub fn reads(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut gitea = Gitea::start(&bench.work)?;
    let registry = beside(bench, &gitea, Some(SERVER_CORE))?;
    // Without a git index, so that no publish fails.
    let theirs = TheirRegistry::of(&gitea);
    let crates = registry::crates(SIZE);
    let some: Vec<&Krate> = crates.iter().skip(1).take(40).collect();
    // As many versions of each as we have.
    let versions = |krate: &Krate| (1..=krate.versions).map(registry::version);
    let uploads = some
        .iter()
        .flat_map(|krate| versions(krate).map(|version| Release::small(&krate.name, &version)));
    let uploads: Vec<Release> = uploads.collect();
    let (good, _) = theirs.publish(&uploads, 1)?;
    ensure!(
        good == uploads.len(),
        "Gitea took {good} of {} versions",
        uploads.len()
    );
    let path = |base: &str| -> Vec<(String, Option<String>)> {
        some.iter()
            .map(|krate| (format!("{base}{}", krate.path()), None))
            .collect()
    };
    let (ours, others) = (path("/crates/index/"), path(&theirs.reads));
    let load = |targets| Load {
        targets,
        headers: &[GZIP],
        connections: CONNECTIONS,
        secs: SECS,
    };
    let mut per_cpu = Row::new(
        "sparse GET beside a forge, requests per CPU second",
        "Gitea's own registry",
        "",
        Goal::AtLeast(100.0),
    );
    let mut down = Row::new(
        "sparse GET while the forge is down, p50",
        "while it is up",
        "µs",
        Goal::AsFastAs(1.0),
    );
    for _ in 0..bench.rounds {
        let cpu = || Ok(registry.server.cpu()?.own);
        let up = measure(&load(&ours), registry.server.port, cpu)?;
        let other = measure(&load(&others), gitea.port, || Ok(gitea.cpu()?.own))?;
        per_cpu.add(up.1, other.1);
        gitea.stop()?;
        let without = measure(&load(&ours), registry.server.port, cpu)?;
        gitea.start_again()?;
        down.add(without.0.p50_us, up.0.p50_us);
    }
    Ok(vec![per_cpu, down])
}

/// A registry that is published to and has its index on the forge.
fn beside(bench: &Bench, gitea: &Gitea, core: Option<usize>) -> anyhow::Result<Publisher> {
    let data = registry::copy(&bench.work, SIZE)?;
    gitea.repository("crates", false)?;
    let url = gitea.clone_url("crates");
    let git_dir = data.path().join("index.git");
    run(&mut git(
        &git_dir,
        &["push", "--quiet", &url, "refs/heads/main"],
    ))?;
    let token = data.path().join("forge-token");
    fs::write(&token, &gitea.token)?;
    let more = format!(
        "[forge]\nurl = \"{}\"\nrepository = \"{USER}/crates\"\ntoken_file = {:?}\n",
        gitea.url(),
        token.display().to_string()
    );
    let settings = Settings {
        core,
        more,
        ..Settings::default()
    };
    Publisher::start_on(data, SIZE, &settings)
}

/// Commits that are pushed one by one to a repository of the same size.
struct Pushes {
    folder: tempfile::TempDir,
    url: String,
    made: usize,
}

impl Pushes {
    fn prepare(bench: &Bench, gitea: &Gitea) -> anyhow::Result<Self> {
        let folder = registry::copy(&bench.work, SIZE)?;
        gitea.repository("bare", false)?;
        let pushes = Self {
            folder,
            url: gitea.clone_url("bare"),
            made: 0,
        };
        run(&mut pushes.git(&["push", "--quiet", &pushes.url, "refs/heads/main"]))?;
        Ok(pushes)
    }

    /// How long each of `count` pushes takes, in milliseconds; the commits are made before.
    fn push(&mut self, count: usize) -> anyhow::Result<Vec<f64>> {
        let mut durations = Vec::new();
        for _ in 0..count {
            self.commit()?;
            let started = Instant::now();
            run(&mut self.git(&["push", "--quiet", &self.url, "refs/heads/main"]))?;
            durations.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(durations)
    }

    /// Changes one file of the index.
    fn commit(&mut self) -> anyhow::Result<()> {
        self.made += 1;
        let path = format!("ba/re/bare-{}", self.made);
        let index = self.folder.path().join("a-temporary-index");
        let blob = self.folder.path().join("a-blob");
        fs::write(&blob, format!("{{\"name\":\"bare-{}\"}}\n", self.made))?;
        let with_index = |words: &[&str]| {
            let mut command = self.git(words);
            command.env("GIT_INDEX_FILE", &index);
            command
        };
        let id = text_of(self.git(&["hash-object", "-w", &blob.display().to_string()]))?;
        run(&mut with_index(&["read-tree", "refs/heads/main"]))?;
        let entry = format!("100644,{id},{path}");
        run(&mut with_index(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &entry,
        ]))?;
        let tree = text_of(with_index(&["write-tree"]))?;
        let mut commit = self.git(&["commit-tree", &tree, "-p", "refs/heads/main", "-m", &path]);
        for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"] {
            commit.env(name, USER);
        }
        for address in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
            commit.env(address, "olga@localhost.test");
        }
        let id = text_of(commit)?;
        run(&mut self.git(&["update-ref", "refs/heads/main", &id]))
    }

    fn git(&self, words: &[&str]) -> Command {
        git(&self.folder.path().join("index.git"), words)
    }
}

/// Gitea's own registry of the same user.
struct TheirRegistry {
    port: u16,
    authorization: String,
    /// Where its sparse index begins.
    reads: String,
}

impl TheirRegistry {
    fn of(gitea: &Gitea) -> Self {
        Self {
            port: gitea.port,
            authorization: format!("Bearer {}", gitea.token),
            reads: format!("/api/packages/{USER}/cargo/"),
        }
    }

    fn upload(&self, release: &Release) -> Vec<u8> {
        let headers = [("Authorization", self.authorization.as_str())];
        let path = format!("/api/packages/{USER}/cargo/api/v1/crates/new");
        request("PUT", &path, &headers, &release.body())
    }

    /// How many of the releases it acknowledges, from so many clients at once, and how long that takes.
    fn publish(&self, releases: &[Release], clients: usize) -> anyhow::Result<(usize, Duration)> {
        let uploads: Vec<Vec<u8>> = releases.iter().map(|it| self.upload(it)).collect();
        let started = Instant::now();
        let good = thread::scope(|scope| {
            let workers: Vec<_> = (0..clients)
                .map(|client| {
                    let uploads = uploads.iter().skip(client).step_by(clients);
                    scope.spawn(move || -> anyhow::Result<usize> {
                        let mut connection = Client::connect(self.port)?;
                        let mut good = 0;
                        for upload in uploads {
                            good += usize::from(connection.send(upload)?.status == 200);
                        }
                        Ok(good)
                    })
                })
                .collect();
            let mut good = 0;
            for worker in workers {
                good += worker.join().expect("a worker does not panic")?;
            }
            anyhow::Ok(good)
        })?;
        Ok((good, started.elapsed()))
    }
}
