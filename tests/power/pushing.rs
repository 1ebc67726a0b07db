//! The power goes after somebody pushed to the index, and after clients were told of what stands on that.

use std::path::Path;
use std::sync::OnceLock;

use super::calls::Step;
use super::recording::{Recording, Stage};
use super::{PACKS, assert_none, chosen, facts};
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
    let mut without_folder = recording.without_flush(usize::MAX);
    let mut left_out = Vec::new();
    for step in &recording.steps[published..yanked] {
        let Step::SyncBegun { path, number } = step else {
            continue;
        };
        if path == Path::new(PACKS) {
            // It is flushed again for the next change, perhaps before this was told.
            without_folder = without_folder.without_flush(*number);
        } else if is_ours(path) {
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

/// Whether it is neither git's, which flushes what it takes in, nor an index, which can be made again, nor what
/// tells where the branch was, which is for when the push is lost.
fn is_ours(path: &Path) -> bool {
    let text = path.to_str().unwrap();
    let others = [
        "tmp_objdir-incoming",
        "main.lock",
        "tmp_idx_",
        "index.git/tmp_",
        "sidecargo-shown",
    ];
    text != "index.git" && others.iter().all(|part| !text.contains(part))
}
