//! The power goes while the registry writes.
//!
//! A kill proves nothing about flushes, for the kernel survives it. So a recording is made of all that the server does
//! under load, and it is replayed on a model of a disk that forgets what was not flushed.
//! Another recording is another function like [`load`], or a file like `merging` or `pushing`.

mod again;
mod calls;
mod disk;
mod facts;
mod merging;
mod pushing;
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
/// The ref that is the tip.
const TIP: &str = "index.git/refs/heads/main";
/// The folder of packs.
const PACKS: &str = "index.git/objects/pack";
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

/// Its cuts, found once.
fn all_cuts(recording: &Recording) -> &'static [Cut] {
    static CUTS: OnceLock<Vec<Cut>> = OnceLock::new();
    CUTS.get_or_init(|| recording.cuts(0))
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
    let by_new_key = stage.token("alice");
    stage.publish(&Release::new("late", "1.0.0"), &by_new_key);
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
    let cuts = all_cuts(recording);
    // Most of what happens before is the making of folders.
    let served = cuts.partition_point(|cut| recording.facts_before(cut.steps).is_empty());
    assert!(served > 100 && cuts.len() - served > 500, "few cuts");
    assert_none(&recording.losses(&chosen(&cuts[..served], 16, usize::MAX)));
    assert_none(&recording.losses(&chosen(&cuts[served..], 90, usize::MAX)));
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
            // That of packs is flushed for the next change: see below.
            if path == Path::new("") || path == Path::new(PACKS) {
                continue;
            }
            let loss = recording.without_flush(*number).loss_after(told + 1);
            assert!(loss.is_some(), "nothing is lost without {step:?}");
            left_out.push(path.to_str().unwrap());
        }
    }
    for (part, times) in [
        ("blobs/incoming/tmp_", 2),
        ("index.git/objects/pack/pack-", 5),
        ("index.git/refs/heads/sidecargo-spare.lock", 5),
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
fn packs_have_their_places_on_the_disk_before_anything_stands_on_them() {
    let Some(recording) = recorded() else { return };
    let told = recording.told()[ALONE];
    let places = recording.steps[..told]
        .iter()
        .filter_map(|step| match step {
            Step::SyncBegun { path, number } if path == Path::new(PACKS) => Some(*number),
            _ => None,
        });
    let without = places.fold(recording.without_flush(usize::MAX), |recording, number| {
        recording.without_flush(number)
    });
    assert_none(recording.loss_after(told + 1).as_slice());
    assert!(without.loss_after(told + 1).is_some());
}

#[test]
fn the_registry_goes_on_after_a_power_cut() {
    let Some(recording) = recorded() else { return };
    let cuts = all_cuts(recording);
    let served = cuts.partition_point(|cut| recording.facts_before(cut.steps).is_empty());
    let mut server = Again::new(recording.bound);
    for cut in chosen(&cuts[served..], 4, 30) {
        println!("{cut:?}");
        server.goes_on(
            &recording.facts_before(recording.steps.len()),
            &recording.tree_after(cut),
        );
    }
}

#[test]
fn what_a_killed_server_left_unflushed_is_no_ground_to_stand_on() {
    let Some(recording) = recorded() else { return };
    let told = recording.told();
    let lands = |step: &Step| match step {
        Step::Exchange { other, .. } => other == Path::new(TIP),
        Step::Rename { to, .. } => to.starts_with("blobs"),
        Step::Said(_) => false,
        _ => is_long(),
    };
    let kills = (told[0]..told[1]).filter(|at| lands(&recording.steps[*at]));
    let kills: Vec<usize> = kills.map(|at| at + 1).collect();
    assert!(kills.len() >= 2, "of the blob and of the tip");
    for kill in kills {
        let again = publish_again_after(recording, kill);
        assert_none(&again.losses(&chosen(&again.cuts(kill), 20, 100)));
    }
}

#[test]
fn a_tip_that_was_found_is_flushed_before_anything_is_said_of_it() {
    let Some(recording) = recorded() else { return };
    let told = recording.told();
    let moves =
        |step: &Step| matches!(step, Step::Exchange { other, .. } if other == Path::new(TIP));
    let moved = (told[0]..told[1]).find(|at| moves(&recording.steps[*at]));
    let kill = moved.expect("the publish moved the tip") + 1;
    let again = publish_again_after(recording, kill);
    // That the release is there already.
    let said = again.told()[1];
    let heads = Path::new(TIP).parent().unwrap();
    let mut left_out = 0;
    for step in &again.steps[kill..said] {
        if let Step::SyncBegun { path, number } = step
            && path.starts_with(heads)
        {
            let loss = again.without_flush(*number).loss_after(said + 1);
            assert!(loss.is_some(), "nothing is lost without {step:?}");
            left_out += 1;
        }
    }
    assert_eq!(left_out, 2, "the ref and its folder");
}

/// The server is killed after so many steps of the first publish; the next one is asked for the same, and for more.
fn publish_again_after(recording: &Recording, kill: usize) -> Recording {
    let (alice, early) = recording.first();
    let again = recording.killed_after(kill, |stage| {
        stage.publish(&early, &alice);
        stage.publish(&Release::new("next", "1.0.0"), &alice);
    });
    again.expect("there was an strace")
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
    let mut server = Again::new(recording.bound);
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
