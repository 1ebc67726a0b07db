//! The server dies while it merges packs, and the order in which a merge reaches the disk.

use super::trouble::{Plan, Trouble};
use super::{Target, wait_until};
use crate::common::git;
use crate::common::tools;
use crate::common::upload::Release;

/// As many publishes, one after the other, as surely make packs be merged.
const PUBLISHES: usize = 70;
/// What the log says after that.
const MERGED: &str = "packs were merged";

impl Target {
    /// Publishes one version after the other, until the server is gone or `count` are there.
    fn publish_many(&self, major: usize, count: usize) -> Vec<Release> {
        let mut published = Vec::new();
        for number in 0..count {
            let release = Release::new("many", &format!("{major}.{number}.0"));
            match release.request(&self.token).try_send(self.registry.port) {
                Ok(reply) => drop(reply.succeeds()),
                Err(_) => break,
            }
            published.push(release);
        }
        published
    }

    fn has_all(&self, published: &[Release]) {
        let clone = git::Clone::of(&self.registry);
        let log = clone.git(&["log", "--format=%s"]);
        for release in published {
            let subject = format!("publish {} {}", release.name, release.version);
            assert_eq!(log.lines().filter(|it| **it == subject).count(), 1);
        }
    }
}

#[test]
fn a_server_that_dies_while_it_hides_merged_packs_has_lost_nothing() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let mut target = Target::new();
    let mut published = Vec::new();
    // Before the first old pack is hidden, after some were, and after all were.
    for (round, number) in [1, 2, 20, 45].into_iter().enumerate() {
        let inject = format!("unlink,unlinkat:signal=KILL:when={number}");
        let plan = Plan {
            inject: Some(&inject),
            paths: &[],
        };
        let trouble = Trouble::of_thread("maintenance", &strace, &target.registry, &plan);
        published.extend(target.publish_many(round + 1, 2 * PUBLISHES));
        target.registry.kill();
        let trace = trouble.end();
        assert!(trace.contains("killed by SIGKILL"), "{trace}");
        target.registry.start_again();
        git::assert_sound(&target.registry.repository());
        target.has_all(&published);
    }
    assert!(published.len() > PUBLISHES, "it died too early");
    // One of the last round may have landed without an answer.
    let before = target.registry.log().matches(MERGED).count();
    target.publish_many(9, PUBLISHES);
    wait_until("packs are merged", || {
        target.registry.log().matches(MERGED).count() > before
    });
    git::assert_sound(&target.registry.repository());
    target.has_all(&published);
}

#[test]
fn an_old_pack_goes_only_when_the_new_one_is_durable() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let target = Target::new();
    let plan = Plan {
        inject: None,
        paths: &[],
    };
    let trouble = Trouble::of_all(&strace, &target.registry, &plan);
    let published = target.publish_many(1, PUBLISHES);
    assert_eq!(published.len(), PUBLISHES);
    wait_until("packs are merged", || {
        target.registry.log().contains(MERGED)
    });
    let trace = trouble.end();
    let packs = target.packs().display().to_string();
    let lines: Vec<&str> = trace.lines().collect();
    let find = |from: usize, what: &str, parts: &[&str]| {
        let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
        let found = lines[from..].iter().position(has_all);
        from + found.unwrap_or_else(|| panic!("no {what} after line {from} of\n{trace}"))
    };
    let mut step = 0;
    for file in ["tmp_pack_", "tmp_idx_"] {
        step = find(step, file, &["fsync(", "objects/pack/", file]);
    }
    step = find(step, "the name of its index", &["rename", "/tmp_idx_"]);
    // The same thread flushes the folder, hides the first old pack, and flushes again.
    let flush = format!("<{packs}>");
    let hidden = find(step, "a hidden pack", &["rename", ".merged\""]);
    let thread = lines[hidden].split_whitespace().next().unwrap();
    let is_flush = |line: &&&str| {
        line.starts_with(thread) && line.contains("fsync") && line.contains(flush.as_str())
    };
    assert!(
        lines[step..hidden].iter().any(|line| is_flush(&line)),
        "{trace}"
    );
    let is_removal = |line: &&str| line.contains("unlink") && line.contains(".pack\"");
    let gone: Vec<&str> = lines.iter().copied().filter(is_removal).collect();
    assert!(gone.is_empty(), "{gone:?}");
    target.has_all(&published);
}
