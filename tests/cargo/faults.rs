//! What the server says and does when its disk fails, and after that.
//!
//! A disk that fails is a call that `strace` lets fail, or something that lies in the way.

mod clock;
mod full;
mod merging;
mod publishing;
mod recovery;
pub mod trouble;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use trouble::{Plan, Trouble};

use super::durability::trace::Trace;
use crate::common::git::{self, git};
use crate::common::http::{Reply, ask_on, connect, get};
use crate::common::metrics::Metrics;
use crate::common::registry::{Registry, program};
use crate::common::tools;
use crate::common::upload::Release;
use crate::common::watch::eventually;

/// What the log says when what was in doubt is durable.
const HEALED: &str = "the tip is known to be durable again";

/// A registry that has one release, of alice.
struct Target {
    registry: Registry,
    token: String,
}

impl Target {
    fn new() -> Self {
        let registry = Registry::start();
        let token = registry.token("alice");
        let target = Self { registry, token };
        target.publish(&Release::new("early", "1.0.0")).succeeds();
        target
    }

    #[track_caller]
    fn publish(&self, release: &Release) -> Reply {
        release.publish(self.registry.port, &self.token)
    }

    /// Publishes, which must fail as nothing that the client did, with these words.
    #[track_caller]
    fn cannot_publish(&self, release: &Release, words: &str) {
        let reply = self.publish(release);
        assert_eq!(reply.status, 503, "{reply:?}");
        let why = reply.refusal();
        assert!(why.contains(words), "this should say `{words}`: {why}");
    }

    fn heads(&self) -> PathBuf {
        self.registry.repository().join("refs/heads")
    }

    fn packs(&self) -> PathBuf {
        self.registry.repository().join("objects/pack")
    }

    fn index_files(&self) -> BTreeSet<PathBuf> {
        let mut files = self.registry.files();
        files.retain(|path| path.starts_with("index.git"));
        files
    }

    /// Panics unless index, download, git clients and history have `release` once.
    #[track_caller]
    fn has_once(&self, release: &Release) {
        let name = &release.name;
        let path = format!("/crates/index/{}/{}/{name}", &name[..2], &name[2..4]);
        let file = get(path).send(self.registry.port).succeeds();
        let cksum = release.cksum();
        let lines = file.text().lines().filter(|line| line.contains(&cksum));
        assert_eq!(lines.count(), 1, "{}", file.text());
        let download = get(release.download_path()).send(self.registry.port);
        assert!(download.succeeds().body == release.crate_file);
        let seen = git::Clone::of(&self.registry);
        let subject = format!("publish {name} {}", release.version);
        let subjects = seen.git(&["log", "--format=%s"]);
        assert_eq!(subjects.lines().filter(|it| **it == subject).count(), 1);
    }

    /// Ends when the tip has `release`, perhaps not for good, and the pack could not be written again.
    #[track_caller]
    fn dies_in_doubt(&mut self, strace: &Path, release: &Release) {
        let (heads, packs) = (self.heads(), self.packs());
        // The pack has its place already. The folder of the ref first, then all: also when both are written again.
        let plan = Plan {
            inject: Some("fsync:error=EIO"),
            paths: &[&heads, &packs],
        };
        let trouble = Trouble::of_writer(strace, &self.registry, &plan);
        self.cannot_publish(release, "the tip was not flushed");
        self.cannot_publish(release, "the last pack was not written again");
        self.registry.kill();
        drop(trouble);
    }

    /// Panics unless a second upload of `release` is refused as one that is already there.
    #[track_caller]
    fn has_already(&self, release: &Release) {
        let reply = self.publish(release);
        assert_eq!(reply.status, 409, "{reply:?}");
        assert!(reply.refusal().contains("already"), "{reply:?}");
    }
}

/// Looks until it is so.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in 30 seconds: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The calls of a trace that were made to fail.
fn failed(trace: &str) -> Vec<&str> {
    let is_failed = |line: &&str| line.contains("(INJECTED)");
    trace.lines().filter(is_failed).collect()
}

#[test]
fn a_tip_that_was_not_flushed_is_no_success_and_no_ground_for_a_refusal() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let target = Target::new();
    let heads = target.heads();
    let plan = Plan {
        inject: Some("fsync:error=EIO"),
        paths: &[&heads],
    };
    let trouble = Trouble::of_writer(&strace, &target.registry, &plan);
    let release = Release::new("doubted", "1.0.0");
    target.cannot_publish(&release, "not known");
    // The tip has it, but perhaps not for good: that it is there already must not be said yet.
    target.cannot_publish(&release, "nothing was done");
    let other = Release::new("other", "1.0.0");
    target.cannot_publish(&other, "nothing was done");
    assert!(failed(&trouble.trace()).len() >= 3, "{}", trouble.trace());
    assert!(!target.registry.log().contains(HEALED));
    let unproven = "sidecargo_index_unproven";
    assert_eq!(Metrics::of(&target.registry).get(unproven), 1.0);
    let unready = get("/readyz").send(target.registry.port);
    assert!(unready.refusal().contains("power cut"), "{unready:?}");

    trouble.end();
    // Nobody asks for anything meanwhile.
    wait_until("it heals by itself", || {
        target.registry.log().contains(HEALED)
    });
    assert_eq!(Metrics::of(&target.registry).get(unproven), 0.0);
    get("/readyz").send(target.registry.port).succeeds();
    target.has_once(&release);
    target.has_already(&release);
    target.publish(&other).succeeds();
    target.has_once(&other);
    git::assert_sound(&target.registry.repository());
}

#[test]
fn what_may_not_have_reached_the_disk_is_all_written_again() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let target = Target::new();
    // Pack, the ref, and its folder: this one fails, once.
    let plan = Plan {
        inject: Some("fsync:error=EIO:when=3"),
        paths: &[],
    };
    let trouble = Trouble::of_writer(&strace, &target.registry, &plan);
    let release = Release::new("doubted", "1.0.0");
    target.cannot_publish(&release, "not known");
    wait_until("it heals by itself", || {
        target.registry.log().contains(HEALED)
    });
    let trace = trouble.end();
    let failed = failed(&trace);
    let heads = format!("<{}>", target.heads().display());
    assert!(failed.len() == 1 && failed[0].contains(&heads), "{trace}");
    let (_, after) = trace.split_once(failed[0]).unwrap();
    let again = Trace::parse(after);
    if let Err(fault) = again.proves_pack_and_ref(&target.registry.data()) {
        panic!("{fault}\n{trace}");
    }
    target.has_once(&release);
}

#[test]
fn the_pack_of_a_tip_in_doubt_stays_while_writing_it_again_fails() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let mut target = Target::new();
    let release = Release::new("doubted", "1.0.0");
    target.dies_in_doubt(&strace, &release);
    target.registry.start_again();
    git::assert_sound(&target.registry.repository());
    target.has_once(&release);
    target.has_already(&release);
    target.publish(&Release::new("later", "1.0.0")).succeeds();
}

#[test]
fn nobody_misses_a_tip_in_doubt_that_a_power_cut_took() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let mut target = Target::new();
    let main = target.heads().join("main");
    let before = fs::read(&main).unwrap();
    let release = Release::new("doubted", "1.0.0");
    target.dies_in_doubt(&strace, &release);
    // As the disk has it, whose flush failed.
    assert_ne!(fs::read(&main).unwrap(), before);
    fs::write(&main, &before).unwrap();
    target.registry.start_again();
    get("/readyz").send(target.registry.port).succeeds();
    target.publish(&release).succeeds();
    target.has_once(&release);
}

#[test]
fn a_lock_of_ours_that_cannot_become_the_spare_file_goes() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let target = Target::new();
    let lock = target.heads().join("main.lock");
    let plan = Plan {
        inject: Some("rename:error=ENOSPC:when=1"),
        paths: &[&lock],
    };
    let trouble = Trouble::of_writer(&strace, &target.registry, &plan);
    let releases = ["1.0.0", "1.0.1"].map(|version| Release::new("locked", version));
    for release in &releases {
        target.publish(release).succeeds();
    }
    assert_eq!(failed(&trouble.end()).len(), 1);
    assert!(!lock.exists());
    for release in &releases {
        target.has_once(release);
    }
}

#[test]
fn what_fails_before_the_tip_is_moved_leaves_nothing() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let target = Target::new();
    let mut before = target.index_files();
    let tip = git::tip(&target.registry.repository());
    let release = Release::new("failing", "1.0.0");
    for (calls, error, number, on) in [
        ("fsync", "EIO", 1, ".pack>"),
        ("rename", "EIO", 1, ".idx\""),
        ("renameat2", "EIO", 1, "main.lock\""),
        // Last, for that file is no ground for the next tip then.
        ("fsync", "ENOSPC", 2, "sidecargo-spare.lock>"),
    ] {
        let inject = format!("{calls}:error={error}:when={number}");
        let plan = Plan {
            inject: Some(&inject),
            paths: &[],
        };
        let trouble = Trouble::of_writer(&strace, &target.registry, &plan);
        target.cannot_publish(&release, "nothing was done");
        let trace = trouble.end();
        let failed = failed(&trace);
        assert!(failed.len() == 1 && failed[0].contains(on), "{on}: {trace}");
        if on == ".pack>" {
            // It was brought by this publish alone, which says that nobody has a line for it.
            let file = target.registry.blob(&release.cksum());
            eventually("its crate file is marked", || {
                let written = fs::metadata(&file).unwrap().modified().unwrap();
                (written == SystemTime::UNIX_EPOCH).then_some(())
            });
        }
        if on.starts_with("sidecargo-spare") {
            assert!(before.remove(Path::new("index.git/refs/heads/sidecargo-spare.lock")));
        }
        assert_eq!(target.index_files(), before, "{inject} left something");
        assert_eq!(git::tip(&target.registry.repository()), tip, "{inject}");
    }
    target.publish(&release).succeeds();
    target.has_once(&release);
}

#[test]
fn a_file_system_that_can_only_rename_takes_a_registry_that_another_could_do_more_for() {
    let mut target = Target::new();
    let spare = target.heads().join("sidecargo-spare.lock");
    for error in ["EINVAL", "ENOSYS", "EOPNOTSUPP"] {
        let Some(strace) = tools::strace() else {
            return;
        };
        assert!(spare.exists(), "the ref has been moved by an exchange");
        target.registry.knows_its_files();
        target.registry.stop();
        let inject = format!("inject=renameat2:error={error}");
        let runner = [strace.to_str().unwrap(), "-D", "-f", "-qq"];
        let plan = ["-o", "/dev/null", "-e", "trace=renameat2", "-e", &inject];
        let runner = [&runner[..], &plan[..]].concat();
        target.registry.start_again_under(&runner);
        for version in ["1.0.0", "1.0.1"] {
            let release = Release::new(&error.to_lowercase(), version);
            target.publish(&release).succeeds();
            target.has_once(&release);
        }
        target.registry.knows_its_files();
        target.registry.stop();
        assert!(!spare.exists(), "nothing can be made of it");
        target.registry.start_again();
        target
            .publish(&Release::new(
                &format!("after-{}", error.to_lowercase()),
                "1.0.0",
            ))
            .succeeds();
    }
}

#[test]
fn a_pack_without_a_place_is_not_written() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let target = Target::new();
    let packs = target.packs();
    for (calls, error) in [("fsync", "EIO"), ("rename", "ENOSPC")] {
        let inject = format!("{calls}:error={error}");
        let paths: [&Path; 2] = [&packs, &packs.join("sidecargo-spare.mark")];
        let plan = Plan {
            inject: Some(&inject),
            paths: &paths,
        };
        let trouble = Trouble::of_writer(&strace, &target.registry, &plan);
        // The first has its place already.
        let [first, second] = ["1.0.0", "1.0.1"].map(|version| Release::new(calls, version));
        target.publish(&first).succeeds();
        target.cannot_publish(&second, "nothing was done");
        assert!(failed(&trouble.end()).len() >= 2);
        target.publish(&second).succeeds();
        target.has_once(&first);
        target.has_once(&second);
    }
    git::assert_sound(&target.registry.repository());
}

#[test]
fn nothing_is_written_while_clients_of_git_could_not_see_it() {
    let target = Target::new();
    let served = "refs/namespaces/served/refs/heads/main";
    let served = target.registry.repository().join(served);
    fs::remove_file(&served).unwrap();
    fs::create_dir(&served).unwrap();
    let release = Release::new("unseen", "1.0.0");
    target.cannot_publish(&release, "clients of git do not see the tip");
    target.cannot_publish(&release, "nothing was done");
    fs::remove_dir(&served).unwrap();
    target.publish(&release).succeeds();
    target.has_once(&release);
    target.has_already(&release);
}

#[test]
fn git_may_repack_beside_publishes() {
    let mut target = Target::new();
    let repository = target.registry.repository();
    let releases: Vec<Release> = (0..60)
        .map(|number| Release::new("busy", &format!("1.0.{number}")))
        .collect();
    thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            for release in &releases {
                target.publish(release).succeeds();
            }
        });
        while !publishing.is_finished() {
            git(&repository, &["repack", "-a", "-d", "-q"]).succeeds();
            git(&repository, &["prune", "--expire=now"]).succeeds();
            git(&repository, &["pack-refs", "--all", "--prune"]).succeeds();
        }
    });
    target.registry.knows_its_files();
    for release in &releases {
        target.has_once(release);
    }
    git::assert_sound(&repository);
}

#[test]
fn git_may_pack_refs_and_collect_garbage_between_publishes() {
    let mut target = Target::new();
    let repository = target.registry.repository();
    let mut releases = vec![Release::new("early", "1.0.0")];
    for (number, upkeep) in [
        ["pack-refs", "--all", "--prune"],
        ["gc", "--quiet", "--prune=now"],
        ["repack", "-a", "-d"],
    ]
    .into_iter()
    .enumerate()
    {
        git(&repository, &upkeep).succeeds();
        let release = Release::new("later", &format!("1.0.{number}"));
        target.publish(&release).succeeds();
        releases.push(release);
    }
    git(&repository, &["gc", "--quiet", "--prune=now"]).succeeds();
    target.registry.knows_its_files();
    target.registry.stop();
    target.registry.start_again();
    for release in &releases {
        target.has_once(release);
    }
    target.publish(&Release::new("last", "1.0.0")).succeeds();
    git::assert_sound(&repository);
}

#[test]
fn a_token_can_be_made_in_the_moment_of_the_first_start() {
    for _ in 0..5 {
        let (registry, made) = Registry::start_beside(&["token", "create", "alice"]);
        let token = made.succeeds().stdout.trim_end().to_owned();
        let release = Release::new("first", "1.0.0");
        release.publish(registry.port, &token).succeeds();
    }
}

#[test]
fn a_crate_file_that_may_not_be_durable_is_flushed_before_it_is_trusted() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let target = Target::new();
    let release = Release::new("kept", "1.0.0");
    let cksum = release.cksum();
    let blob = target.registry.blob(&cksum);
    let folder = blob.parent().unwrap();
    let before = target.index_files();
    let plan = Plan {
        inject: Some("fsync:error=EIO"),
        paths: &[folder],
    };
    let trouble = Trouble::of_all(&strace, &target.registry, &plan);
    target.cannot_publish(&release, "nothing was published");
    assert!(blob.is_file(), "a line of somebody else's may stand on it");
    target.cannot_publish(&release, "nothing was published");
    let trace = trouble.end();
    assert!(failed(&trace).len() == 2, "{trace}");
    assert_eq!(target.index_files(), before);

    // The bytes are right by now, but their flush failed: they are written again.
    let plan = Plan {
        inject: None,
        paths: &[],
    };
    let watch = Trouble::of_all(&strace, &target.registry, &plan);
    target.publish(&release).succeeds();
    let trace = watch.end();
    let is_renamed = |line: &str| line.contains("rename") && line.contains(&cksum);
    assert!(
        trace.lines().any(is_renamed),
        "a fresh file takes the name: {trace}"
    );
    if let Err(fault) = Trace::parse(&trace).flushes_before_answer(&[folder]) {
        panic!("{fault}\n{trace}");
    }
    target.has_once(&release);
}

#[test]
fn a_log_that_nobody_reads_any_more_does_not_end_the_server() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    registry.stop();
    let (mut server, said, port) = server_and_its_log(&registry, "human");
    // The reader goes: everything that is logged from now on is an error.
    drop(said);
    for version in ["1.0.0", "1.0.1"] {
        let release = Release::new("unheard", version);
        release.publish(port, &token).succeeds();
        release.publish(port, &token).refusal();
        let download = get(release.download_path()).send(port).succeeds();
        assert!(download.body == release.crate_file);
    }
    let ended = server.try_wait().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(ended.is_none(), "it ended with {ended:?}");
}

#[test]
fn a_log_that_nobody_takes_holds_nobody_up_and_tells_what_it_lacks() {
    // Far more than a pipe holds and may wait before it, in lines as long as a client can make them.
    const REQUESTS: usize = 4_000;
    let agent = "x".repeat(200);
    let request = format!(
        "GET /crates/index/config.json HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\r\n"
    );
    let mut registry = Registry::start();
    registry.stop();
    for format in ["human", "json"] {
        let (mut server, said, port) = server_and_its_log(&registry, format);
        let mut connection = connect(port).unwrap();
        for _ in 0..REQUESTS {
            assert_eq!(
                ask_on(&mut connection, request.as_bytes()).unwrap().status,
                200
            );
        }
        let (tell, told) = mpsc::channel();
        let reading = thread::spawn(move || {
            let mut lines = Vec::new();
            for line in said.lines() {
                lines.push(line.unwrap());
                if let Some(count) = left_out(&lines[lines.len() - 1]) {
                    tell.send(count).unwrap();
                }
            }
            lines
        });
        let left_out = told.recv_timeout(Duration::from_secs(60)).unwrap();
        kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
        assert!(server.wait().unwrap().success());
        let lines = reading.join().unwrap();
        let answered = lines.iter().filter(|line| line.contains("answered"));
        assert_eq!(answered.count() + left_out, REQUESTS);
        assert!(told.try_recv().is_err(), "{lines:#?}");
        let last = lines.last().unwrap();
        assert!(last.contains("ended"), "{last}");
    }
}

/// How many lines are missing, if this one says so.
fn left_out(line: &str) -> Option<usize> {
    if !line.contains("lines of the log are left out here") {
        return None;
    }
    let (_, after) = line.split_once("count")?;
    let digits = after.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

#[test]
fn a_socket_that_cannot_be_made_does_not_end_the_server() {
    let mut target = Target::new();
    target.registry.stop();
    let in_the_way = target.registry.data().join("tmp_control.sock");
    fs::create_dir(&in_the_way).unwrap();
    target.registry.start_again();
    let log = target.registry.log();
    assert!(log.contains("commands do not reach this server"), "{log}");
    target.publish(&Release::new("later", "1.0.0")).succeeds();
}

/// A server whose log was read until it says where it listens.
fn server_and_its_log(registry: &Registry, format: &str) -> (Child, BufReader<ChildStderr>, u16) {
    let config = registry.data().with_extension("log.toml");
    fs::write(&config, format!("[log]\nformat = \"{format}\"\n")).unwrap();
    let mut server = Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(registry.data())
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap());
    let mut lines = said.by_ref().lines();
    let port = lines.find_map(|line| port_of(&line.unwrap()));
    (server, said, port.expect("it says where it listens"))
}

fn port_of(line: &str) -> Option<u16> {
    let (_, after) = line.split_once("listening on http://127.0.0.1:")?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Whether the calling user may do everything.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a program of the system, which must succeed.
#[track_caller]
fn system(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}
