//! The power goes while packs are merged, by git and by a thread of the server.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::again::Again;
use super::calls::Step;
use super::disk::{Fate, Tree};
use super::facts::Fact;
use super::recording::{Recording, Stage, Token};
use super::replay::Cut;
use super::{PACKS, assert_none, chosen, is_long};
use crate::common::git;
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;

/// As many publishes as a server sees without looking at its packs.
const UNSEEN: usize = 10;
/// So many servers after each other leave more packs than one may find at its start.
const SERVERS: usize = 4;
/// More objects than twice those of all small packs, and too few to be given a bitmap.
const OBJECTS_OF_LARGE: usize = 700;
/// What the log says when a merge is over.
const MERGED: &str = "packs were merged";
/// Longer than a merge takes under `strace`.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a registry left that ended with many small packs.
struct Heap {
    tree: Tree,
    bound: SocketAddr,
    token: Token,
    published: Vec<Fact>,
}

impl Heap {
    /// Made once.
    fn get() -> &'static Self {
        static HEAP: OnceLock<Heap> = OnceLock::new();
        HEAP.get_or_init(Self::make)
    }

    fn make() -> Self {
        let mut registry = Registry::start();
        let token = registry.token("alice");
        let mut published = Vec::new();
        for minor in 0..SERVERS {
            if minor > 0 {
                registry.start_again();
            }
            for patch in 0..UNSEEN {
                let release = Release::new("many", &format!("1.{minor}.{patch}"));
                release.publish(registry.port, &token).succeeds();
                published.push(Fact::Published(release));
            }
            registry.stop();
        }
        Self {
            tree: Tree::of(&registry.data()),
            bound: (Ipv4Addr::LOCALHOST, registry.port).into(),
            token: Token::of(&token),
            published,
        }
    }

    /// Beside a pack so large that it stays as it is.
    fn with_large_pack(&self) -> Tree {
        let folder = TempDir::new().unwrap();
        self.tree.write(folder.path());
        let blobs: String = (0..OBJECTS_OF_LARGE)
            .map(|number| format!("blob\ndata <<END\n{number}\nEND\n"))
            .collect();
        let repository = folder.path().join("index.git");
        git::git_that_reads(&repository, &["fast-import", "--quiet"], &blobs).succeeds();
        Tree::of(folder.path())
    }

    /// What a server does that finds `tree`: it merges packs at once; see [`merge`].
    fn record(&self, tree: &Tree, is_busy: bool) -> Option<Recording> {
        let token = self.token.text.clone();
        let known = self.published.iter().cloned();
        let known = known.chain([Fact::TokenGood { token }]).collect();
        let resting = Recording::resting(tree, known, self.bound);
        resting.killed_after(resting.steps.len(), |stage| {
            merge(stage, &self.token, is_busy);
        })
    }
}

/// Waits until packs were merged; publishes then, and also meanwhile if it `is_busy`.
fn merge(stage: &Stage, token: &Token, is_busy: bool) {
    let until = Instant::now() + PATIENCE;
    let mut patch = 0;
    let mut publish = || {
        stage.publish(&Release::new("more", &format!("1.0.{patch}")), token);
        patch += 1;
    };
    while !stage.logs(MERGED) {
        assert!(Instant::now() < until, "no packs were merged");
        match is_busy {
            true => publish(),
            false => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    publish();
}

/// All packs become one with a bitmap, and nothing else happens.
fn alone() -> Option<&'static Recording> {
    static RECORDING: OnceLock<Option<Recording>> = OnceLock::new();
    tools::strace()?;
    let record = || Heap::get().record(&Heap::get().tree, false);
    RECORDING.get_or_init(record).as_ref()
}

/// The small packs become one beside the large one, under load.
fn busy() -> Option<&'static Recording> {
    static RECORDING: OnceLock<Option<Recording>> = OnceLock::new();
    tools::strace()?;
    let record = || Heap::get().record(&Heap::get().with_large_pack(), true);
    RECORDING.get_or_init(record).as_ref()
}

/// Where in a recording its merge is, as counts of steps.
struct Merge<'a> {
    recording: &'a Recording,
    /// Git opens its pack.
    begun: usize,
    /// Git names the index of its pack.
    named: usize,
    /// The first old pack is hidden.
    hides: usize,
    /// The last one is.
    hidden: usize,
}

impl<'a> Merge<'a> {
    fn of(recording: &'a Recording) -> Self {
        let steps = &recording.steps;
        let is_temporary = |path: &Path, start: &str| name(path).starts_with(start);
        let is_index = |path: &Path| {
            path.starts_with(PACKS)
                && name(path).starts_with("pack-")
                && name(path).ends_with(".idx")
        };
        let is_old = |step: &Step| matches!(step, Step::Rename { from, .. } if is_index(from));
        let find = |from: usize, is_it: &dyn Fn(&Step) -> bool| {
            from + steps[from..]
                .iter()
                .position(is_it)
                .expect("a merge was recorded")
        };
        let begun = find(
            0,
            &|step| matches!(step, Step::Open { path, .. } if is_temporary(path, "tmp_pack_")),
        );
        let named = find(begun, &|step| match step {
            Step::Rename { from, .. } | Step::Link { from, .. } => is_temporary(from, "tmp_idx_"),
            _ => false,
        });
        let hides = find(named, &is_old);
        let hidden = steps.iter().rposition(is_old).expect("it was found");
        Self {
            recording,
            begun,
            named,
            hides,
            hidden,
        }
    }

    /// What is flushed until the first old pack is hidden.
    fn flushed_before_hiding(&self) -> BTreeSet<&'a Path> {
        flushes(&self.recording.steps[self.begun..self.hides])
            .map(|(_, path)| path)
            .collect()
    }

    /// The recording without any flush of this path, also if another thread has asked for one meanwhile.
    fn without_flushes_of(&self, path: &Path) -> Recording {
        let steps = &self.recording.steps[self.begun..=self.hidden];
        let numbers = flushes(steps).filter(|(_, found)| *found == path);
        let all = self.recording.without_flush(usize::MAX);
        numbers.fold(all, |recording, (number, _)| {
            recording.without_flush(number)
        })
    }

    /// Whether all packs become one.
    fn makes_bitmap(&self) -> bool {
        let flushed = self.flushed_before_hiding();
        let mut names = flushed.iter().map(|path| name(path));
        names.any(|name| name.starts_with("tmp_bitmap_"))
    }

    /// The last old pack is hidden, and some of that is on the disk, in so many ways.
    fn cuts_when_hidden(&self, ways: u64) -> impl Iterator<Item = Cut> {
        let steps = self.hidden + 1;
        (1..=ways).map(move |seed| Cut {
            steps,
            fate: Fate::Mixed(seed),
        })
    }
}

/// The flushes that are asked for, each with its number and its path.
fn flushes(steps: &[Step]) -> impl Iterator<Item = (usize, &Path)> {
    steps.iter().filter_map(|step| match step {
        Step::SyncBegun { path, number } => Some((*number, path.as_path())),
        _ => None,
    })
}

fn name(path: &Path) -> &str {
    path.file_name().map_or("", |name| name.to_str().unwrap())
}

#[test]
fn a_power_cut_in_a_merge_loses_nothing() {
    for (recording, makes_bitmap) in [(alone(), true), (busy(), false)] {
        let Some(recording) = recording else { return };
        let merge = Merge::of(recording);
        assert_eq!(merge.makes_bitmap(), makes_bitmap);
        let cuts = recording.cuts(merge.begun);
        assert!(cuts.len() > 100, "few cuts: {}", cuts.len());
        assert_none(&recording.losses(&chosen(&cuts, 16, usize::MAX)));
    }
}

#[test]
fn no_flush_of_a_merge_can_be_left_out() {
    let Some(recording) = alone() else { return };
    let merge = Merge::of(recording);
    let cuts: Vec<Cut> = merge.cuts_when_hidden(8).collect();
    assert_none(&recording.losses(&cuts));
    // Of what git writes an index can be made again from its pack. Whatever else is flushed meanwhile is the start's.
    let is_needed = |path: &&Path| {
        let name = name(path);
        let is_of_git = name.starts_with("tmp_") && !name.starts_with("tmp_idx_");
        is_of_git || *path == Path::new(PACKS)
    };
    let flushed = merge.flushed_before_hiding();
    let flushed: Vec<&Path> = flushed.into_iter().filter(is_needed).collect();
    for path in &flushed {
        let without = merge.without_flushes_of(path);
        // Without the names of the new pack no file is torn: it is not there.
        let is_it = |loss: &String| *path != Path::new(PACKS) || !loss.contains("this is torn");
        // In about one of two ways the pack's own name comes to the disk all the same, and then nothing is lost.
        let mut cuts = merge.cuts_when_hidden(64);
        let is_lost = cuts.any(|cut| without.losses(&[cut]).iter().any(is_it));
        assert!(is_lost, "nothing is lost without {path:?}");
    }
    // Newer versions of git write one file more.
    for part in ["tmp_pack_", "tmp_bitmap_", "pack"] {
        let count = flushed.iter().filter(|path| name(path).starts_with(part));
        assert_eq!(count.count(), 1, "{part} in {flushed:?}");
    }
}

#[test]
fn what_a_server_left_that_was_killed_in_a_merge_is_no_ground_to_stand_on() {
    let Some(recording) = busy() else { return };
    let merge = Merge::of(recording);
    let (token, _) = recording.first();
    // From the new pack to the last hidden one.
    let parts = match is_long() {
        false => 1,
        true => 12,
    };
    let steps = merge.hidden - merge.named;
    for part in 0..=parts {
        let kill = merge.named + 1 + steps * part / parts;
        let again = recording.killed_after(kill, |stage| {
            stage.publish(&Release::new("next", "1.0.0"), &token);
        });
        let again = again.expect("there was an strace");
        assert_none(&again.losses(&chosen(&again.cuts(kill), 6, 30)));
    }
}

#[test]
fn the_registry_goes_on_after_a_power_cut_in_a_merge() {
    let Some(recording) = alone() else { return };
    let cuts = recording.cuts(Merge::of(recording).begun);
    let mut server = Again::new(recording.bound);
    for cut in chosen(&cuts, 2, 20) {
        println!("{cut:?}");
        server.goes_on(
            &recording.facts_before(recording.steps.len()),
            &recording.tree_after(cut),
        );
    }
}
