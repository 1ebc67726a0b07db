//! The power goes after somebody pushed to the index, and after clients were told of what stands on that.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use super::calls::Step;
use super::disk::Fate;
use super::facts::{self, Fact};
use super::recording::{Recording, Stage};
use super::replay::{Cut, FATES};
use super::{PACKS, TIP, assert_none, chosen};
use crate::common::tools;
use crate::common::upload::Release;

/// A person yanks what a client published; the registry tells that it is yanked, and more is published.
fn push(stage: &Stage) {
    let alice = stage.token("alice");
    let early = Release::new("early", "1.0.0");
    stage.publish(&early, &alice);
    stage.edit("ea/rl/early", "\"yanked\":false", "\"yanked\":true");
    stage.yank(&early, &alice);
    stage.publish(&Release::new("next", "1.0.0"), &alice);
}

/// Made once.
fn recorded() -> Option<&'static Recording> {
    static RECORDING: OnceLock<Option<Recording>> = OnceLock::new();
    tools::strace()?;
    RECORDING.get_or_init(|| Recording::of(push)).as_ref()
}

#[test]
fn a_push_that_a_power_cut_takes_takes_nothing_along() {
    let Some(recording) = recorded() else { return };
    let (published, yanked) = (recording.told()[1], recording.told()[2]);
    let cuts = recording.cuts(published);
    let cuts = &cuts[..cuts.partition_point(|cut| cut.steps <= yanked)];
    assert!(cuts.len() > 100, "few cuts: {}", cuts.len());
    for cut in chosen(cuts, 40, usize::MAX) {
        let facts = recording.facts_before(cut.steps);
        let served = facts::serves(&recording.tree_after(cut), &facts, recording.bound);
        assert_eq!(served, Ok(()), "{cut:?}");
    }
}

#[test]
fn what_stands_on_a_push_survives_a_power_cut_anywhere() {
    let Some(recording) = recorded() else { return };
    let cuts = recording.cuts(recording.told()[2] + 1);
    assert!(cuts.len() > 50, "few cuts: {}", cuts.len());
    assert_none(&recording.losses(&chosen(&cuts, 16, usize::MAX)));
}

#[test]
fn no_flush_of_what_was_pushed_can_be_left_out() {
    let Some(recording) = recorded() else { return };
    let (published, yanked) = (recording.told()[1], recording.told()[2]);
    assert_none(recording.loss_after(yanked + 1).as_slice());
    let mut moves = moves_of_git(recording).filter(|at| *at > published);
    let moved = moves.next().unwrap();
    let mut without_folder = recording.without_flush(usize::MAX);
    let mut left_out = Vec::new();
    for (at, step) in recording
        .steps
        .iter()
        .enumerate()
        .take(yanked)
        .skip(published)
    {
        let Step::SyncBegun { path, number } = step else {
            continue;
        };
        if path == Path::new(PACKS) {
            // It is flushed again for the next change, perhaps before this was told.
            without_folder = without_folder.without_flush(*number);
        } else if at > moved && !path.to_str().unwrap().contains("tmp_idx_") {
            // An index can be made again, and what comes before is for when the push is lost.
            let loss = recording.without_flush(*number).loss_after(yanked + 1);
            assert!(loss.is_some(), "nothing is lost without {step:?}");
            left_out.push(path);
        }
    }
    assert!(without_folder.loss_after(yanked + 1).is_some());
    for part in ["objects/pack/tmp_pack_", "refs/heads/sidecargo-spare.lock"] {
        let mut paths = left_out.iter();
        let found = paths.any(|path| path.to_str().unwrap().contains(part));
        assert!(found, "{part} in {left_out:#?}");
    }
}

/// The steps by which git moves the tip: it renames its lock, where the server exchanges two files.
fn moves_of_git(recording: &Recording) -> impl Iterator<Item = usize> {
    let is_move = |step: &Step| matches!(step, Step::Rename { to, .. } if to == Path::new(TIP));
    let steps = recording.steps.iter().enumerate();
    steps
        .filter(move |(_, step)| is_move(step))
        .map(|(at, _)| at)
}

/// Two people yank, one after the other, while no server runs.
struct Alone {
    recording: Recording,
    /// The steps by which the tip moves.
    moves: [usize; 2],
}

fn recorded_alone() -> Option<&'static Alone> {
    static ALONE: OnceLock<Option<Alone>> = OnceLock::new();
    tools::strace()?;
    ALONE.get_or_init(record_alone).as_ref()
}

fn record_alone() -> Option<Alone> {
    let [early, other] = ["early", "other"].map(|name| Release::new(name, "1.0.0"));
    let publish = |stage: &Stage| {
        let alice = stage.token("alice");
        stage.publish(&early, &alice);
        stage.publish(&other, &alice);
    };
    let push = |stage: &Stage| {
        stage.edit("ea/rl/early", "\"yanked\":false", "\"yanked\":true");
        stage.edit("ot/he/other", "\"yanked\":false", "\"yanked\":true");
    };
    let mut recording = Recording::of_both(publish, push)?;
    let told = recording.told()[2];
    let moves: Vec<usize> = moves_of_git(&recording).filter(|at| *at > told).collect();
    let moves: [usize; 2] = moves.try_into().unwrap();
    // Of the last push nothing need be there; the one before it is.
    recording.facts.push((moves[1], Fact::Yanked(early)));
    Some(Alone { recording, moves })
}

#[test]
fn of_two_pushes_without_a_server_a_power_cut_takes_the_last_at_most() {
    let Some(Alone { recording, moves }) = recorded_alone() else {
        return;
    };
    let (before, after): (Vec<Cut>, Vec<Cut>) = recording
        .cuts(recording.told()[2])
        .into_iter()
        .partition(|cut| cut.steps <= moves[1]);
    assert!(before.len() > 100 && after.len() > 5, "few cuts");
    let cuts = chosen(&before, 20, usize::MAX).into_iter();
    for cut in cuts.chain(chosen(&after, 20, usize::MAX)) {
        assert_eq!(loss(recording, cut), None, "{cut:?}");
    }
}

/// What is flushed before a push is let in, but for the tip itself: git of today flushes that, too.
const FLUSHED: [&str; 5] = [
    PACKS,
    "index.git/refs/heads",
    "index.git/sidecargo-shown",
    "index.git/tmp_",
    "index.git",
];
/// How many ways to be half on the disk are tried where a flush is left out.
const MIXES: u64 = 48;

#[test]
fn no_flush_before_a_push_can_be_left_out() {
    let Some(Alone { recording, moves }) = recorded_alone() else {
        return;
    };
    let mut fates = FATES.to_vec();
    fates.extend((5..MIXES).map(Fate::Mixed));
    let lost = |recording: &Recording, steps| {
        let cut = |fate: &Fate| Cut { steps, fate: *fate };
        { fates.iter() }.any(|fate| loss(recording, cut(fate)).is_some())
    };
    let mut seen = BTreeSet::new();
    // The first flushes what the server left, the second what the first left.
    for (begin, end) in [(moves[0], moves[1]), (recording.told()[2], moves[0])] {
        assert!(!lost(recording, end + 1));
        for step in &recording.steps[begin..end] {
            let Step::SyncBegun { path, number } = step else {
                continue;
            };
            let path = path.to_str().unwrap();
            let is_it =
                |name: &&&str| path == **name || name.ends_with('_') && path.starts_with(**name);
            if let Some(name) = FLUSHED.iter().find(is_it)
                && !seen.contains(name)
                && lost(&recording.without_flush(*number), end + 1)
            {
                seen.insert(name);
            }
        }
    }
    assert_eq!(seen, FLUSHED.iter().collect());
}

fn loss(recording: &Recording, cut: Cut) -> Option<String> {
    let facts = recording.facts_before(cut.steps);
    facts::serves(&recording.tree_after(cut), &facts, recording.bound).err()
}
