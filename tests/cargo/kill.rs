//! The server is killed while eight clients publish.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::git;
use crate::common::http::get;
use crate::common::registry::Registry;
use crate::common::upload::Release;

const CLIENTS: usize = 8;
/// How many uploads are acknowledged in each round before the server dies: early, and with groups under way.
const ACKNOWLEDGED_BEFORE_KILL: [usize; 4] = [3, 17, 33, 50];

/// What one client saw in a round.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<Release>,
    /// The upload that got no answer.
    unanswered: Option<Release>,
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let mut published = Vec::new();
    let mut found_whole = 0;
    for (round, target) in ACKNOWLEDGED_BEFORE_KILL.into_iter().enumerate() {
        let seen = publish_until_killed(&mut registry, &token, round, target);
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
    git::assert_sound(&registry.repository());
}

/// Eight clients publish without a pause until the server is killed after `target` acknowledgements.
fn publish_until_killed(
    registry: &mut Registry,
    token: &str,
    round: usize,
    target: usize,
) -> Vec<Seen> {
    let acknowledged = AtomicUsize::new(0);
    let (tell, told) = std::sync::mpsc::channel();
    let port = registry.port;
    std::thread::scope(|scope| {
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
        told.recv().expect("the clients reach the target");
        registry.kill();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    })
}

fn publish_until_silence(
    client: usize,
    round: usize,
    publish: impl Fn(&Release) -> Option<()>,
) -> Seen {
    let mut seen = Seen::default();
    for patch in 0.. {
        let source = format!("pub const WHO: &str = \"{client} {round} {patch}\";\n");
        let version = format!("1.{round}.{patch}");
        let release = Release::with_source(&crate_name(client), &version, &source);
        match publish(&release) {
            Some(()) => seen.acknowledged.push(release),
            None => {
                seen.unanswered = Some(release);
                break;
            }
        }
    }
    seen
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
