//! The server dies while eight clients publish: at random, at each step of a publish, and as an operator ends it.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use super::faults::trouble::{Plan, Trouble};
use crate::common::git;
use crate::common::http::get;
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;

const CLIENTS: usize = 8;
/// The variable that asks for sixty rounds, if it is 1.
const LONG: &str = "SIDECARGO_TEST_LONG";
/// At most so many uploads are acknowledged in a round before the server dies.
const ACKNOWLEDGED_MAX: usize = 60;
/// By so many uploads of one client the server is dead.
const UPLOADS_MAX: usize = 2_000;

/// What ends a round.
#[derive(Clone, Copy)]
enum Death {
    /// A signal once so many uploads were acknowledged.
    After(usize, Signal),
    /// A kill in this step.
    At(Step),
}

impl Death {
    fn name(self) -> String {
        match self {
            Self::After(count, signal) => format!("{signal:?} after {count} answers"),
            Self::At(step) => format!("killed after {}", step.after),
        }
    }
}

/// A call of a publish before which the server is killed.
#[derive(Clone, Copy)]
struct Step {
    /// What was done last.
    after: &'static str,
    calls: &'static str,
    /// Which of these calls of a group it is, and how many a group makes.
    number: usize,
    of: usize,
    /// What the call is about.
    on: &'static str,
    /// Whether the tip has been moved.
    is_committed: bool,
}

/// The steps of the writer, and the answer.
///
/// Crate files are kept beside the first ones. Where the server dies behind a crate file and before all of these, see
/// `faults::publishing`.
const STEPS: [Step; 7] = [
    step(
        "the crate files, or some of them",
        "fsync",
        (1, 4),
        ".pack>",
        false,
    ),
    step(
        "the pack without its index",
        "rename",
        (1, 4),
        ".idx\"",
        false,
    ),
    step("the pack", "fsync", (2, 4), "sidecargo-spare.lock>", false),
    step(
        "the tip, perhaps not for good",
        "fsync",
        (3, 4),
        "refs/heads>",
        true,
    ),
    step(
        "the tip",
        "renameat2",
        (3, 3),
        "served/refs/heads/main\"",
        true,
    ),
    step(
        "the place of the next pack, perhaps not for good",
        "fsync",
        (4, 4),
        "objects/pack>",
        true,
    ),
    step(
        "everything",
        "writev,sendto,sendmsg",
        (1, 1),
        "200 OK",
        true,
    ),
];

const fn step(
    after: &'static str,
    calls: &'static str,
    (number, of): (usize, usize),
    on: &'static str,
    is_committed: bool,
) -> Step {
    Step {
        after,
        calls,
        number,
        of,
        on,
        is_committed,
    }
}

/// What one client saw in a round.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<Release>,
    /// The upload that got no answer.
    unanswered: Option<Release>,
}

/// Each kind of death, as often as is asked for.
fn rounds() -> Vec<Death> {
    let steps = match tools::strace_of_running() {
        Some(_) => STEPS.map(Death::At).to_vec(),
        None => Vec::new(),
    };
    let (signals, rounds) = match std::env::var(LONG).is_ok_and(|value| value == "1") {
        true => ([Signal::KILL, Signal::TERM].repeat(4), 60),
        false => (
            vec![Signal::KILL, Signal::KILL, Signal::TERM],
            3 + steps.len(),
        ),
    };
    let all = std::iter::repeat_with(|| {
        let random = signals.iter().copied().map(at_random);
        random.chain(steps.iter().copied())
    });
    all.flatten().take(rounds).collect()
}

/// After any number of answers, in whatever the server does then.
fn at_random(signal: Signal) -> Death {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    let count = 1 + u64::from_le_bytes(bytes) as usize % ACKNOWLEDGED_MAX;
    Death::After(count, signal)
}

#[test]
fn what_was_acknowledged_survives_the_end_of_the_server_anywhere() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let mut published = Vec::new();
    let mut found_whole = 0;
    let mut verified = None;
    for (round, death) in rounds().into_iter().enumerate() {
        println!("round {round}: {}", death.name());
        let seen = publish_until_death(&mut registry, &token, round, death);
        registry.start_again();
        git::assert_sound(&registry.repository());
        for client in seen {
            for release in &client.acknowledged {
                assert_whole(&registry, release);
            }
            published.extend(client.acknowledged);
            if let Some(release) = client.unanswered {
                found_whole += usize::from(settle(&registry, &token, &release));
                published.push(release);
            }
        }
        assert_verifies(&registry, verified.as_deref());
        verified = Some(git::tip(&registry.repository()));
    }
    println!("{found_whole} unanswered uploads were found whole");
    // No round has harmed what an earlier one had, and no line came from nowhere.
    for release in &published {
        assert_whole(&registry, release);
    }
    let lines: usize = (0..CLIENTS)
        .filter_map(|client| index_file(&registry, &crate_name(client)))
        .map(|text| text.lines().count())
        .sum();
    assert_eq!(lines, published.len());
    assert_verifies(&registry, None);
}

/// Panics unless the registry's own proof holds for all that came after the commit `since`.
#[track_caller]
fn assert_verifies(registry: &Registry, since: Option<&str>) {
    let since = since.map(|commit| commit.parse().unwrap());
    let report = sidecargo::audit::verify(&registry.data(), since, &mut |_| {}).unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

/// Eight clients publish without a pause until the server is dead.
fn publish_until_death(
    registry: &mut Registry,
    token: &str,
    round: usize,
    death: Death,
) -> Vec<Seen> {
    let before = git::tip(&registry.repository());
    let trouble = match death {
        Death::At(step) => Some(kill_at(registry, step, round)),
        Death::After(..) => None,
    };
    let target = match death {
        Death::After(count, _) => count,
        Death::At(_) => usize::MAX,
    };
    let acknowledged = AtomicUsize::new(0);
    let (tell, told) = std::sync::mpsc::channel();
    let port = registry.port;
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (tell, acknowledged) = (tell.clone(), &acknowledged);
                scope.spawn(move || {
                    publish_until_silence(client, round, |release| {
                        let reply = release.request(token).try_send(port).ok()?;
                        reply.succeeds();
                        if acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == target {
                            tell.send(()).unwrap();
                        }
                        Some(())
                    })
                })
            })
            .collect();
        drop(tell);
        if let Death::After(_, signal) = death {
            told.recv().expect("the clients reach the target");
            match signal {
                Signal::TERM => registry.ask_to_stop(),
                _ => registry.kill(),
            }
        }
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    match (death, trouble) {
        (Death::At(step), Some(trouble)) => {
            registry.kill();
            let trace = trouble.end();
            let (calls, _) = trace.split_once("+++ killed by SIGKILL +++").unwrap();
            let last = calls.lines().rev().find(|line| line.contains(step.on));
            assert!(last.is_some(), "after {}: {trace}", step.after);
            if round.is_multiple_of(3) {
                // The very first group of the round.
                let is_moved = git::tip(&registry.repository()) != before;
                assert_eq!(is_moved, step.is_committed, "after {}", step.after);
            }
        }
        (Death::After(_, Signal::TERM), _) => registry.wait_for_end(),
        _ => {}
    }
    seen
}

/// Lets the server be killed in this step of one of its next groups.
fn kill_at(registry: &Registry, step: Step, round: usize) -> Trouble {
    let strace = tools::strace_of_running().unwrap();
    let when = round % 3 * step.of + step.number;
    let inject = format!("{}:signal=KILL:when={when}", step.calls);
    let plan = Plan {
        inject: Some(&inject),
        paths: &[],
    };
    match step.of {
        1 => Trouble::of_all(&strace, registry, &plan),
        _ => Trouble::of_writer(&strace, registry, &plan),
    }
}

fn publish_until_silence(
    client: usize,
    round: usize,
    publish: impl Fn(&Release) -> Option<()>,
) -> Seen {
    let mut seen = Seen::default();
    for patch in 0..UPLOADS_MAX {
        let source = format!("pub const WHO: &str = \"{client} {round} {patch}\";\n");
        let version = format!("1.{round}.{patch}");
        let release = Release::with_source(&crate_name(client), &version, &source);
        match publish(&release) {
            Some(()) => seen.acknowledged.push(release),
            None => {
                seen.unanswered = Some(release);
                return seen;
            }
        }
    }
    panic!("the server does not die");
}

/// Publishes what got no answer once more, and tells whether it had been there already.
#[track_caller]
fn settle(registry: &Registry, token: &str, release: &Release) -> bool {
    let is_there = line_of(registry, release).is_some();
    if is_there {
        assert_whole(registry, release);
    } else {
        let download = get(release.download_path()).send(registry.port);
        assert_eq!(download.status, 404, "a download without a line");
    }
    let reply = release.publish(registry.port, token);
    if is_there {
        assert!((400..500).contains(&reply.status), "{reply:?}");
        let why = reply.refusal();
        assert!(why.contains("already"), "unclear: {why}");
        assert!(why.contains("same checksum"), "unclear: {why}");
    } else {
        reply.succeeds();
        assert_whole(registry, release);
    }
    is_there
}

/// Panics unless the line and the download of `release` are right.
#[track_caller]
fn assert_whole(registry: &Registry, release: &Release) {
    let line = line_of(registry, release)
        .unwrap_or_else(|| panic!("no line of {} {}", release.name, release.version));
    assert_eq!(line["cksum"], release.cksum().as_str());
    let download = get(release.download_path()).send(registry.port).succeeds();
    assert!(download.body == release.crate_file, "other bytes");
}

fn line_of(registry: &Registry, release: &Release) -> Option<serde_json::Value> {
    index_file(registry, &release.name)?
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|line| line["vers"] == release.version.as_str())
}

fn index_file(registry: &Registry, name: &str) -> Option<String> {
    let reply = get(format!(
        "/crates/index/{}/{}/{name}",
        &name[..2],
        &name[2..4]
    ))
    .send(registry.port);
    (reply.status == 200).then(|| reply.text().to_owned())
}

fn crate_name(client: usize) -> String {
    format!("load-{client}")
}
