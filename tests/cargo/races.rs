//! Eight clients at once.

use std::collections::BTreeSet;
use std::sync::Barrier;

use crate::common::git::{self, Clone};
use crate::common::http::{Reply, get};
use crate::common::registry::Registry;
use crate::common::upload::Release;

/// Sends all uploads at the same moment; the answers come in the order of `releases`.
fn publish_at_once(registry: &Registry, token: &str, releases: &[Release]) -> Vec<Reply> {
    let start = Barrier::new(releases.len());
    let port = registry.port;
    std::thread::scope(|scope| {
        let publish = |release: &Release| {
            let request = release.request(token);
            start.wait();
            request.send(port)
        };
        let clients: Vec<_> = releases
            .iter()
            .map(|release| scope.spawn(move || publish(release)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    })
}

#[test]
fn one_of_eight_clients_wins_a_version() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let releases: Vec<Release> = (0..8)
        .map(|n| Release::with_source("prize", "1.0.0", &format!("pub const N: u32 = {n};\n")))
        .collect();
    let replies = publish_at_once(&registry, &token, &releases);

    let (won, lost): (Vec<_>, Vec<_>) = replies
        .iter()
        .zip(&releases)
        .partition(|(reply, _)| reply.status == 200);
    assert_eq!(won.len(), 1, "{replies:#?}");
    for (reply, _) in lost {
        assert!((400..500).contains(&reply.status), "{reply:?}");
        let why = reply.refusal();
        assert!(why.contains("already"), "unclear: {why}");
    }

    let winner = won[0].1;
    let line = get("/crates/index/pr/iz/prize")
        .send(registry.port)
        .succeeds();
    assert_eq!(line.text().lines().count(), 1);
    assert!(line.text().contains(&winner.cksum()), "{}", line.text());
    let downloaded = get(winner.download_path()).send(registry.port).succeeds();
    assert!(
        downloaded.body == winner.crate_file,
        "not the winner's bytes"
    );
    let clone = Clone::of(&registry);
    let subjects = clone.git(&["log", "--format=%s", "--grep", "^publish prize"]);
    assert_eq!(subjects, "publish prize 1.0.0");
}

#[test]
fn eight_clients_publish_eight_crates_in_one_line_of_history() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let before = count_commits(&registry);
    let releases: Vec<Release> = (0..8)
        .map(|n| Release::new(&format!("runner-{n}"), "1.0.0"))
        .collect();
    for reply in publish_at_once(&registry, &token, &releases) {
        reply.succeeds();
    }

    let clone = Clone::of(&registry);
    assert_eq!(clone.git(&["rev-list", "--min-parents=2", "HEAD"]), "");
    assert_eq!(count_commits(&registry), before + 8);
    let log = clone.git(&["log", "--format=%s", "-8"]);
    let subjects: BTreeSet<&str> = log.lines().collect();
    let wanted: Vec<String> = (0..8)
        .map(|n| format!("publish runner-{n} 1.0.0"))
        .collect();
    assert_eq!(subjects, wanted.iter().map(String::as_str).collect());
    git::assert_sound(&registry.repository());
}

fn count_commits(registry: &Registry) -> u32 {
    let counted = git::git(&registry.repository(), &["rev-list", "--count", "main"]).succeeds();
    counted.stdout.trim().parse().unwrap()
}
