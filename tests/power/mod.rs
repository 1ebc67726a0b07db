//! The power goes while the registry writes.
//!
//! A kill proves nothing about flushes, for the kernel survives it. So a recording is made of all that the server does
//! under load, and it is replayed on a model of a disk that forgets what was not flushed.
//! Another recording is another function like [`load`].

mod again;
mod calls;
mod disk;
mod facts;
mod recording;
mod replay;

use std::path::Path;
use std::sync::OnceLock;
use std::thread;

use again::Again;
use calls::Step;
use disk::Fate;
use recording::{Recording, Stage};
use replay::Cut;

use crate::common::tools;
use crate::common::upload::Release;

/// The variable that asks for every cut, if it is 1.
const LONG: &str = "SIDECARGO_TEST_LONG";
/// How many changes come one after the other, after the first.
const ALONE: usize = 7;
/// Clients that publish at once.
const CLIENTS: usize = 8;

/// The recording that all tests here look at: made once, for it takes a while.
fn recorded() -> Option<&'static Recording> {
    static RECORDING: OnceLock<Option<Recording>> = OnceLock::new();
    // Each test that is skipped says so.
    tools::strace()?;
    RECORDING.get_or_init(|| Recording::of(load)).as_ref()
}

/// Each kind of change alone, and then all at once.
fn load(stage: &Stage) {
    let alice = stage.token("alice");
    let early = Release::new("early", "1.0.0");
    stage.publish(&early, &alice);
    stage.yank(&early, &alice);
    stage.add_owner("bob", &early, &alice);
    let stolen = stage.token_to_revoke("alice");
    stage.revoke(&stolen);
    let stolen = stage.token_to_revoke("bob");
    let wrong = Release::new("early", "1.0.1");
    stage.publish(&wrong, &alice);
    thread::scope(|scope| {
        let (alice, stolen, wrong, early) = (&alice, &stolen, &wrong, &early);
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for patch in 0..2 {
                    let version = format!("1.0.{patch}");
                    let release = Release::new(&format!("load-{client}"), &version);
                    stage.publish(&release, alice);
                }
            });
        }
        scope.spawn(move || stage.yank(wrong, alice));
        scope.spawn(move || stage.add_owner("carol", early, alice));
        scope.spawn(move || stage.revoke(stolen));
        scope.spawn(move || stage.token("dave"));
    });
    stage.command(&["key", "rotate"]);
    let erin = stage.token("erin");
    stage.publish(&Release::new("late", "1.0.0"), &erin);
}

fn is_long() -> bool {
    std::env::var(LONG).is_ok_and(|value| value == "1")
}

/// So many cuts, spread over all: some in the short form, more in the long one.
fn chosen(cuts: &[Cut], some: usize, more: usize) -> Vec<Cut> {
    let count = match is_long() {
        true => more,
        false => some,
    };
    let step = cuts.len().div_ceil(count).max(1);
    cuts.iter().step_by(step).copied().collect()
}

/// Panics if there is one.
#[track_caller]
fn assert_none(losses: &[String]) {
    assert!(losses.is_empty(), "{}", losses.join("\n"));
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_anywhere() {
    let Some(recording) = recorded() else { return };
    let cuts = recording.cuts();
    // Most of what happens before is the making of folders.
    let served = cuts.partition_point(|cut| recording.facts_before(cut.steps).is_empty());
    assert!(served > 100 && cuts.len() - served > 500, "few cuts");
    assert_none(&recording.losses(&chosen(&cuts[..served], 24, usize::MAX)));
    assert_none(&recording.losses(&chosen(&cuts[served..], 120, usize::MAX)));
}

#[test]
fn no_flush_of_a_change_can_be_left_out() {
    let Some(recording) = recorded() else { return };
    let told = recording.told();
    let mut left_out = Vec::new();
    for pair in told[..=ALONE].windows(2) {
        let (before, told) = (pair[0], pair[1]);
        assert_none(recording.loss_after(told + 1).as_slice());
        for step in &recording.steps[before..told] {
            let Step::SyncBegun { path, number } = step else {
                continue;
            };
            // The folder of tokens was made with the first of them, and is flushed again for whoever was killed then.
            if path == Path::new("") {
                continue;
            }
            let loss = recording.without_flush(*number).loss_after(told + 1);
            assert!(loss.is_some(), "nothing is lost without {step:?}");
            left_out.push(path.to_str().unwrap());
        }
    }
    for (part, times) in [
        ("blobs/incoming/tmp_", 2),
        ("index.git/objects/pack/tmp_", 10),
        ("index.git/refs/heads/main.lock", 5),
        ("tokens/tmp_", 2),
    ] {
        let count = left_out
            .iter()
            .filter(|path| path.starts_with(part))
            .count();
        assert_eq!(count, times, "{part} in {left_out:#?}");
    }
}

#[test]
fn the_registry_goes_on_after_a_power_cut() {
    let Some(recording) = recorded() else { return };
    let cuts = recording.cuts();
    let served = cuts.partition_point(|cut| recording.facts_before(cut.steps).is_empty());
    let mut server = Again::new();
    for cut in chosen(&cuts[served..], 6, 60) {
        println!("{cut:?}");
        server.goes_on(
            &recording.facts_before(recording.steps.len()),
            &recording.tree_after(cut),
        );
    }
}

#[test]
fn an_index_that_came_to_the_disk_without_its_pack_hinders_nothing() {
    let Some(recording) = recorded() else { return };
    let is_index = |path: &Path| path.extension().is_some_and(|extension| extension == "idx");
    let renamed = |(at, step): (usize, &Step)| match step {
        Step::Rename { to, .. } if is_index(to) => Some((at, to.with_extension("pack"))),
        _ => None,
    };
    let told = recording.told();
    let mut server = Again::new();
    // Of the first publish, the yank and the new owner: the last two write some objects again to the letter.
    let indices = recording.steps.iter().enumerate().filter_map(renamed);
    for (at, pack) in indices.skip(1).take(3) {
        let fate = Fate::Kept;
        let mut tree = recording.tree_after(Cut {
            steps: at + 1,
            fate,
        });
        let lost = tree.0.remove(pack.to_str().unwrap());
        assert!(lost.is_some(), "{pack:?}");
        let next = told.iter().find(|told| **told > at).unwrap();
        server.goes_on(&recording.facts_before(next + 1), &tree);
    }
}
