//! Clones and fetches of the git index, against `git upload-pack` on a copy that was just repacked.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::Bench;
use crate::client::{Client, request};
use crate::paths::publish::Publisher;
use crate::registry::git;
use crate::run::{run, text_of};
use crate::server::{Cpu, Settings};
use crate::table::{Goal, Row};

const PUBLISHES: usize = 2_000;
/// Requests of a round: so many that the ticks by which CPU time is counted do not matter.
const FIRST_CLONES: usize = 8;
const FURTHER_CLONES: usize = 60;
const FETCHES: usize = 40;

/// Whole, for the first time and again, and one commit behind.
pub fn clone(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    // Each first clone is kept too, as it would be: that is part of what it costs.
    let settings = Settings {
        more: "[fetch]\nremembered_mb = 8192\n".to_owned(),
        ..Settings::default()
    };
    let mut registry = Publisher::start_with(&bench.work, 10_000, &settings)?;
    registry.together(8, PUBLISHES)?;
    let git_dir = registry.data.path().join("index.git");
    let tip = text_of(git(&git_dir, &["rev-parse", "refs/heads/main"]))?;
    let before = text_of(git(&git_dir, &["rev-parse", "refs/heads/main~1"]))?;
    registry.rest()?;
    let copies = tempfile::tempdir_in(&bench.work)?;
    let copy = copies.path().join("index.git");
    let clone = ["clone", "--quiet", "--bare", "--no-local", "."];
    run(git(&git_dir, &clone).current_dir(&git_dir).arg(&copy))?;
    run(&mut git(
        &copy,
        &["repack", "-a", "-d", "-q", "--write-bitmap-index"],
    ))?;
    run(&mut git(&copy, &["commit-graph", "write", "--reachable"]))?;

    must_hold_the_same(&copy, registry.server.port)?;

    let mut rows = Vec::new();
    let mut clients = 0;
    for (what, have, count, is_first) in [
        ("first clone of a commit", None, FIRST_CLONES, true),
        ("further clone of a commit", None, FURTHER_CLONES, false),
        ("fetch, one behind", Some(&before), FETCHES, false),
    ] {
        let wanted = |client: usize| fetch_request(&tip, have.map(String::as_str), client);
        let path = |measure: &str| format!("{what}, after {PUBLISHES} publishes, {measure}");
        let baseline = "git upload-pack on a repacked copy";
        let mut time = Row::new(&path("time"), baseline, "ms", Goal::AtMost(1.2));
        let mut cpu = Row::new(&path("CPU"), baseline, "ms", Goal::AtMost(1.2));
        let mut found = BTreeSet::new();
        for _ in 0..bench.rounds {
            let each = 1000.0 / count as f64;
            let (cpu_before, started) = (registry.server.cpu()?, Instant::now());
            for _ in 0..count {
                // Who calls itself by another name asks another question.
                clients += usize::from(is_first);
                found.insert(fetch_over_http(registry.server.port, &wanted(clients))?);
            }
            let ours = (
                started.elapsed().as_secs_f64() * each,
                (registry.server.cpu()?.all() - cpu_before.all()) * each,
            );
            let (cpu_before, started) = (Cpu::of_this_process()?, Instant::now());
            for _ in 0..count {
                found.insert(fetch_by_program(&copy, &wanted(clients))?);
            }
            let theirs = (
                started.elapsed().as_secs_f64() * each,
                (Cpu::of_this_process()?.children - cpu_before.children) * each,
            );
            time.add(ours.0, theirs.0);
            cpu.add(ours.1, theirs.1);
        }
        // Git sends some more than is asked for where that spares it to look: how many differs from time to time.
        let (fewest, most) = (found.first().context("a pack")?, found.last());
        ensure!(
            most.is_some_and(|most| most - fewest <= fewest / 100),
            "{what}: packs of {found:?} objects"
        );
        rows.extend([time, cpu]);
    }
    Ok(rows)
}

/// An error unless a clone from the server has the objects of the baseline's copy: the bytes of packs differ each time.
fn must_hold_the_same(copy: &Path, port: u16) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cloned = folder.path().join("index.git");
    let url = format!("http://127.0.0.1:{port}/crates/git");
    let clone = ["clone", "--quiet", "--bare", url.as_str()];
    run(git(copy, &clone).arg(&cloned))?;
    let objects = |git_dir: &Path| text_of(git(git_dir, &["rev-list", "--objects", "main"]));
    let is_same = objects(&cloned)? == objects(copy)?;
    ensure!(
        is_same,
        "the server's clone holds other objects than the copy"
    );
    Ok(())
}

/// A request of protocol version 2 that ends the negotiation at once.
fn fetch_request(want: &str, have: Option<&str>, client: usize) -> Vec<u8> {
    let mut lines = vec![
        "command=fetch\n".to_owned(),
        format!("agent=bench/{client}\n"),
        "object-format=sha1\n".to_owned(),
    ];
    let mut arguments = vec![
        "thin-pack\n".to_owned(),
        "no-progress\n".to_owned(),
        "ofs-delta\n".to_owned(),
        format!("want {want}\n"),
    ];
    arguments.extend(have.map(|have| format!("have {have}\n")));
    arguments.push("done\n".to_owned());
    let packet = |line: &String| format!("{:04x}{line}", line.len() + 4);
    let part = |lines: &[String]| lines.iter().map(packet).collect::<String>();
    let head = part(&lines);
    lines.clear();
    format!("{head}0001{}0000", part(&arguments)).into_bytes()
}

/// How many objects the server sends.
fn fetch_over_http(port: u16, wanted: &[u8]) -> anyhow::Result<u32> {
    let headers = [
        ("Content-Type", "application/x-git-upload-pack-request"),
        ("Git-Protocol", "version=2"),
    ];
    let request = request("POST", "/crates/git/git-upload-pack", &headers, wanted);
    let reply = Client::connect(port)?.send(&request)?;
    ensure!(reply.status == 200, "{}", reply.status);
    objects_of(&reply.body)
}

/// How many objects git sends.
fn fetch_by_program(git_dir: &Path, wanted: &[u8]) -> anyhow::Result<u32> {
    let mut command = std::process::Command::new("git");
    let mut child = command
        .args(["upload-pack", "--stateless-rpc"])
        .arg(git_dir)
        .env("GIT_PROTOCOL", "version=2")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("a pipe")?.write_all(wanted)?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "git upload-pack ended with {}",
        output.status
    );
    objects_of(&output.stdout)
}

/// How many objects the pack of an answer has, by its head: `PACK`, the version, and their number.
fn objects_of(answer: &[u8]) -> anyhow::Result<u32> {
    const HEAD: &[u8] = b"PACK\0\0\0\x02";
    let at = answer.windows(HEAD.len()).position(|part| part == HEAD);
    let number = answer.get(at.context("the answer has no pack")? + HEAD.len()..);
    let number = number.and_then(<[u8]>::first_chunk);
    Ok(u32::from_be_bytes(*number.context("a number of objects")?))
}
