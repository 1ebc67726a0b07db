//! Packs merged under all that may happen meanwhile, judged by the git program.

mod long_tests;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tempfile::TempDir;
use tokio::time::Instant as Deadline;

use super::super::object::{Body, PackObject};
use super::super::objects::Objects;
use super::super::tests::{blobs, change, multiply_pack, open, place, publish};
use super::super::{Index, damage, pack, verify};
use super::*;
use gix::objs::Kind;

const URL: &str = "http://localhost:1";

/// A registry that nobody serves, and whose packs nobody else merges.
struct Resting {
    folder: TempDir,
    keeper: Keeper,
}

impl Resting {
    /// With so many packs of one publish each, and that of the first commit.
    async fn with_packs(count: usize) -> Self {
        assert!(count + 1 < BUSY.packs, "the thread would merge them");
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path(), URL).unwrap();
        publish_each(&index, "1", 0..count).await;
        drop(index);
        let git_dir = place(folder.path()).git_dir;
        let flights = Flights::new(sync_channel(1).0);
        let keeper = Keeper::new(
            &git_dir,
            History::of(&git_dir, vec![]),
            flights,
            Patience::default(),
        );
        assert_eq!(packs::list(&keeper.folder).unwrap().len(), count + 1);
        Self { folder, keeper }
    }

    fn carry_out(&mut self, plan: Plan) -> Result<usize, Fault> {
        let in_flight = self.keeper.flights.in_flight();
        let listed = packs::list(&self.keeper.folder).unwrap();
        self.keeper.carry_out(plan, &listed, in_flight)
    }

    fn packs(&self) -> usize {
        packs::list(&self.keeper.folder).unwrap().len()
    }

    fn git(&self, args: &[&str]) -> String {
        git_in(&self.keeper.git_dir, args)
    }

    /// Every object there is, whether anything names it or not.
    fn objects(&self) -> BTreeSet<String> {
        let all = ["cat-file", "--batch-all-objects", "--batch-check"];
        self.git(&all).lines().map(str::to_owned).collect()
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(&self.keeper.folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Opens the registry and panics unless git finds all of it good.
    fn open_whole(&self, objects: &BTreeSet<String>) -> Index {
        let index = open(self.folder.path(), URL).unwrap();
        assert_eq!(
            self.git(&["fsck", "--strict", "--full", "--no-dangling"]),
            ""
        );
        assert!(self.objects().is_superset(objects));
        assert_eq!(
            self.git(&["rev-parse", refs::SERVED]).trim(),
            index.snapshot().commit().to_string()
        );
        let of = |part: &'static str| {
            let files = self.files().into_iter();
            files.filter(move |path| path.extension().is_some_and(|it| it == part))
        };
        // The next pack has its place already.
        let has = |pack: &PathBuf, part: &str| pack.with_extension(part).exists();
        let mut packs = of("pack").filter(|pack| !has(pack, "keep"));
        assert!(
            packs.all(|pack| has(&pack, "idx")),
            "a pack without index was left"
        );
        assert!(of("bitmap").count() <= 1);
        let is_temporary = |path: &PathBuf| path.to_string_lossy().contains("/tmp_");
        assert!(!self.files().iter().any(is_temporary), "{:?}", self.files());
        index
    }
}

#[tokio::test]
async fn a_history_that_is_not_whole_is_told_until_it_is_and_left_as_it_is() {
    let mut resting = Resting::with_packs(9).await;
    let lost = resting.git(&["rev-parse", "main~4"]);
    let holds_it = |path: &PathBuf| {
        let listed = resting.git(&["verify-pack", "-v", path.to_str().unwrap()]);
        listed.contains(lost.trim())
    };
    let is_index = |path: &PathBuf| path.extension().is_some_and(|it| it == "idx");
    let mut indices = resting.files().into_iter().filter(is_index);
    let index = indices.find(holds_it).unwrap();
    let pair = [index.with_extension("pack"), index];
    let away = |path: &Path| resting.folder.path().join(path.file_name().unwrap());
    let aways = pair.each_ref().map(|path| away(path));
    // The graph still knows the commit.
    resting.git(&["commit-graph", "write", "--reachable"]);
    for (path, away) in pair.iter().zip(&aways) {
        fs::rename(path, away).unwrap();
    }
    let broken = Arc::clone(&resting.keeper.history.broken);
    for _ in 0..2 {
        assert_eq!(resting.keeper.turn(QUIET), 0);
        let reason = broken.load_full().unwrap();
        assert!(
            reason.contains(lost.trim()) && !reason.contains('\n'),
            "{reason}"
        );
        assert_eq!(resting.packs(), 9);
    }
    for (path, away) in pair.iter().zip(&aways) {
        fs::rename(away, path).unwrap();
    }
    resting.keeper.turn(QUIET);
    assert!(broken.load().is_none());
    resting.keeper.turn(QUIET);
    assert_eq!(resting.packs(), 1, "it is merged again");

    // Somebody who fetched a part of another history into this one leaves a file that cuts this one off.
    let patience = Patience::default();
    for name in ["shallow", "info/grafts"] {
        let path = resting.keeper.git_dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &lost).unwrap();
        let mut history = History::of(&resting.keeper.git_dir, vec![]);
        assert!(!history.is_whole(&patience));
        let reason = history.broken.load_full().unwrap();
        assert!(reason.contains(path.to_str().unwrap()), "{reason}");
        fs::remove_file(&path).unwrap();
        assert!(history.is_whole(&patience));
    }

    // What else a start found damaged, a walk over the commits does not see.
    let index = resting.files().into_iter().find(|path| is_index(path));
    let pack = index.unwrap().with_extension("pack");
    let whole = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, &whole[..whole.len() - 1]).unwrap();
    let damaged = vec![damage::look_into(&pack).unwrap()];
    let mut history = History::of(&resting.keeper.git_dir, damaged);
    for _ in 0..2 {
        assert!(!history.is_whole(&patience));
        let reason = history.broken.load_full().unwrap();
        assert!(reason.contains(pack.to_str().unwrap()), "{reason}");
    }
    fs::write(&pack, whole).unwrap();
    assert!(history.is_whole(&patience));
    assert!(history.broken.load().is_none());

    // It is not walked at each turn.
    let pack = resting.files().into_iter().find(|path| is_index(path));
    fs::rename(pack.unwrap(), resting.folder.path().join("away")).unwrap();
    assert!(resting.keeper.history.is_whole(&patience));
    assert!(!History::of(&resting.keeper.git_dir, vec![]).is_whole(&patience));
    // An end in the midst of it says nothing of it.
    patience.is_over.store(true, Ordering::Release);
    assert!(History::of(&resting.keeper.git_dir, vec![]).is_whole(&patience));
}

async fn publish_each(index: &Index, major: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let version = format!("{major}.{number}.0");
        let change = change(
            "alice",
            publish(&format!("krate-{}", number % 7), &version, 1),
        );
        let deadline = Deadline::now() + Duration::from_secs(60);
        index.submit(change, deadline).await.unwrap();
    }
}

fn git_in(git_dir: &Path, args: &[&str]) -> String {
    let output = git::command(git_dir).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}");
    // What is wrong is partly said here.
    String::from_utf8(output.stdout).unwrap() + &said
}

#[test]
fn small_packs_are_merged_and_large_ones_only_when_they_double() {
    let plan = |sizes: &[u64]| BUSY.plan(sizes);
    let small = |count: usize, large: &[u64]| [&vec![5; count][..], large].concat();
    assert_eq!(plan(&[]), Plan::Rest);
    assert_eq!(plan(&[1_000_000]), Plan::Rest);
    assert_eq!(plan(&small(31, &[])), Plan::Rest);
    assert_eq!(plan(&small(32, &[])), Plan::Renew);
    assert_eq!(plan(&small(32, &[600, 10_000])), Plan::Merge(32));
    assert_eq!(plan(&small(32, &[300, 10_000])), Plan::Merge(33));
    assert_eq!(plan(&small(32, &[320, 10_000])), Plan::Merge(32));
    assert_eq!(plan(&[1_023, 8_000]), Plan::Rest);
    assert_eq!(plan(&[1_024, 8_000]), Plan::Renew);
    assert_eq!(plan(&[8_191, 1_000_000]), Plan::Rest);
    assert_eq!(plan(&[8_192, 1_000_000]), Plan::Renew);
    assert_eq!(QUIET.plan(&small(6, &[1_000])), Plan::Rest);
    assert_eq!(QUIET.plan(&small(7, &[1_000])), Plan::Merge(7));
    assert_eq!(QUIET.plan(&[255, 10_000]), Plan::Rest);
    assert_eq!(QUIET.plan(&[256, 10_000]), Plan::Renew);
    // Many are merged in slices, however much they have.
    assert_eq!(plan(&small(511, &[10_000])), Plan::Renew);
    assert_eq!(plan(&small(512, &[10_000])), Plan::Merge(512));
    assert_eq!(plan(&small(10_000, &[10_000])), Plan::Merge(512));
    assert_eq!(QUIET.merge(&small(513, &[])), Plan::Merge(512));
}

#[test]
fn many_publishes_leave_few_packs_at_a_bounded_price() {
    let (mut sizes, mut copied, mut renewed) = (vec![500_000], 0, 0);
    for _ in 0..20_000 {
        sizes.insert(0, 5);
        sizes.sort_unstable();
        let merged: u64 = match BUSY.plan(&sizes) {
            Plan::Rest => continue,
            Plan::Merge(count) => {
                let merged = sizes.drain(..count).sum();
                copied += merged;
                merged
            }
            Plan::Renew => {
                renewed += 1;
                sizes.drain(..).sum()
            }
        };
        sizes.push(merged);
        sizes.sort_unstable();
        assert!(sizes.len() < BUSY.packs);
    }
    assert_eq!(sizes.iter().sum::<u64>(), 600_000);
    assert!(renewed <= 100_000 / 8192, "{renewed} times all was copied");
    assert!(copied < 100_000 * 12, "{copied} objects were copied");
}

#[tokio::test]
async fn merged_packs_hold_all_that_the_old_ones_held() {
    let mut resting = Resting::with_packs(28).await;
    let objects = resting.objects();
    resting.carry_out(Plan::Merge(20)).unwrap();
    assert_eq!(resting.packs(), 10);
    assert_eq!(resting.objects(), objects);
    resting.carry_out(Plan::Merge(2)).unwrap();
    resting.carry_out(Plan::Renew).unwrap();
    assert_eq!(resting.packs(), 1);
    assert_eq!(resting.objects(), objects);
    let bitmaps = |path: &&PathBuf| path.extension().is_some_and(|it| it == "bitmap");
    assert_eq!(resting.files().iter().filter(bitmaps).count(), 1);
    assert_eq!(
        resting.git(&["commit-graph", "verify", "--no-progress"]),
        ""
    );
    // A second time changes nothing, and above all does not hide the pack that it makes again.
    resting.carry_out(Plan::Renew).unwrap();
    assert_eq!(resting.packs(), 1);
    drop(resting.open_whole(&objects));
}

#[tokio::test]
async fn who_reads_meanwhile_finds_everything_until_the_old_files_go() {
    let mut resting = Resting::with_packs(28).await;
    let git_dir = resting.keeper.git_dir.clone();
    let tip = refs::read(&git_dir, refs::TIP).unwrap().unwrap();
    let reader = Objects::open(&git_dir).unwrap();
    // Finds all indexes: the oldest commit lies in the last pack that is looked into, whichever that is.
    let mut commits = vec![reader.commit(tip).unwrap()];
    while let Some(parent) = commits.last().and_then(|commit| commit.parents.first()) {
        commits.push(reader.commit(*parent).unwrap());
    }
    assert_eq!(commits.len(), 29);
    let late = Objects::open(&git_dir).unwrap();
    late.commit(tip).unwrap();
    let mut old_files = resting.files();
    old_files.retain(|path| {
        path.file_stem()
            .is_some_and(|stem| stem != "sidecargo-spare")
    });
    resting.carry_out(Plan::Renew).unwrap();
    let is_pack = |path: &&PathBuf| path.extension().is_some_and(|it| it == "pack");
    assert!(old_files.iter().filter(is_pack).all(|path| path.exists()));
    for objects in [&reader, &late] {
        for commit in &commits {
            assert_eq!(objects.commit(commit.id).unwrap().bytes, commit.bytes);
            let root = commit.tree.as_bytes();
            objects.read(root, Kind::Tree, "the root").unwrap();
        }
    }
    resting.keeper.discard(GRACE, 10);
    assert_eq!(
        old_files
            .iter()
            .filter(is_pack)
            .filter(|path| path.exists())
            .count(),
        10
    );
    resting.keeper.discard(Duration::ZERO, 10);
    assert!(!old_files.iter().any(|path| path.exists()));
    resting.git(&["fsck", "--strict", "--full"]);
}

#[tokio::test]
async fn what_no_branch_reaches_stays() {
    let mut resting = Resting::with_packs(20).await;
    // As between the pack and the tip: a commit that the branch does not have yet.
    let person = "-c user.name=a -c user.email=a@b commit-tree -p main -m later main^{tree}";
    let commit = resting.git(&person.split(' ').collect::<Vec<_>>());
    let bytes = resting.git(&["cat-file", "commit", commit.trim()]);
    let loose = format!("objects/{}/{}", &commit[..2], commit[2..].trim());
    fs::remove_file(resting.keeper.git_dir.join(loose)).unwrap();
    let id = commit.trim().parse().unwrap();
    let waiting = PackObject::commit(id, bytes.as_bytes());
    let (_, blob) = Body::with_object(b"not in any tree yet\n").unwrap();
    pack::write(&resting.keeper.folder, &[waiting]).unwrap();
    pack::write(&resting.keeper.folder, &[blob]).unwrap();
    let objects = resting.objects();
    assert!(objects.iter().any(|line| line.starts_with(commit.trim())));
    for plan in [Plan::Merge(5), Plan::Renew, Plan::Renew] {
        resting.carry_out(plan).unwrap();
        assert_eq!(resting.objects(), objects);
    }
    assert_eq!(resting.packs(), 1);
    refs::move_tip(
        &resting.keeper.git_dir,
        refs::read(&resting.keeper.git_dir, refs::TIP).unwrap(),
        id,
    )
    .unwrap();
    drop(resting.open_whole(&objects));
}

#[tokio::test]
async fn a_pack_that_may_still_be_taken_back_is_nobodys_second_copy() {
    let mut resting = Resting::with_packs(6).await;
    let objects = resting.objects();
    let (folder, flights) = (
        resting.keeper.folder.clone(),
        resting.keeper.flights.clone(),
    );
    // The writer writes a pack, the largest, with an object that lies in another, too.
    let flight = flights.write();
    let shared = resting.git(&["cat-file", "blob", "main:README.md"]);
    let texts = (0..100).map(|number| number.to_string()).chain([shared]);
    let contents: Vec<PackObject> = texts
        .map(|text| Body::with_object(text.as_bytes()).unwrap().1)
        .collect();
    let written = pack::write(&folder, &contents).unwrap();
    assert_eq!(
        packs::list(&folder).unwrap().len(),
        7,
        "it is marked to be kept"
    );
    // Somebody removes the mark.
    let marked = |path: &PathBuf| path.extension().is_some_and(|it| it == "keep");
    let mut files = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    fs::remove_file(files.find(marked).unwrap()).unwrap();
    let in_flight = flights.in_flight();
    let listed = packs::list(&folder).unwrap();
    assert_eq!((listed.len(), listed[7].objects), (8, 101));

    // It has not landed: nothing is hidden.
    let merge = Plan::Merge(7);
    let merged = resting.keeper.carry_out(merge, &listed, in_flight);
    assert_eq!((merged.unwrap(), resting.packs()), (0, 9));

    // It is taken back: what it had of others is in the pack that was made of those.
    let new = resting.keeper.pack_contents(&listed[..7]).unwrap();
    written.remove();
    drop(flight);
    let hidden = packs::hide(&folder, &listed[..7], &new).unwrap();
    assert_eq!((hidden.len(), resting.packs()), (7, 1));
    assert!(resting.objects().is_superset(&objects));
    drop(resting.open_whole(&objects));
}

#[tokio::test]
async fn a_pack_stays_if_one_of_its_objects_is_not_in_the_new_one() {
    let resting = Resting::with_packs(6).await;
    let objects = resting.objects();
    let listed = packs::list(&resting.keeper.folder).unwrap();
    let new = resting.keeper.pack_contents(&listed[..4]).unwrap();
    let hidden = packs::hide(&resting.keeper.folder, &listed, &new).unwrap();
    assert_eq!((hidden.len(), resting.packs()), (4, 4));
    assert_eq!(resting.objects(), objects);
    fs::remove_file(new.with_extension("idx")).unwrap();
    let hidden = packs::hide(&resting.keeper.folder, &listed[4..], &new).unwrap();
    assert_eq!(hidden.len(), 0, "the new one is gone");
}

#[tokio::test]
async fn a_torn_pack_is_named_where_it_lies() {
    let mut resting = Resting::with_packs(20).await;
    let listed = packs::list(&resting.keeper.folder).unwrap();
    let torn = listed[3].stem.with_extension("pack");
    let mut bytes = fs::read(&torn).unwrap();
    // Between the head of its first object and its checksum.
    let end = bytes.len() - 20;
    bytes[20..end].fill(0xaa);
    fs::remove_file(&torn).unwrap();
    fs::write(&torn, bytes).unwrap();
    let fault = resting.carry_out(Plan::Merge(15)).unwrap_err().to_string();
    assert!(fault.contains(torn.to_str().unwrap()), "{fault}");
    assert_eq!(resting.packs(), 21);
}

#[tokio::test]
async fn what_was_merged_before_a_kill_is_merged_again() {
    let mut resting = Resting::with_packs(20).await;
    let objects = resting.objects();
    let listed = packs::list(&resting.keeper.folder).unwrap();
    // Killed before the old packs were hidden.
    drop(resting.keeper.pack_contents(&listed[..15]).unwrap());
    assert_eq!(resting.packs(), 22);
    assert_eq!(resting.carry_out(Plan::Merge(15)).unwrap(), 15);
    assert_eq!(resting.packs(), 7);
    assert_eq!(resting.objects(), objects);
    drop(resting.open_whole(&objects));
}

#[tokio::test]
async fn a_kill_at_any_step_leaves_a_whole_repository() {
    for step in 0..5 {
        let mut resting = Resting::with_packs(20).await;
        let objects = resting.objects();
        let folder = resting.keeper.folder.clone();
        let listed = packs::list(&folder).unwrap();
        let old = &listed[..15];
        match step {
            // While git writes, and between two of its renames.
            0 => {
                fs::write(folder.join("tmp_pack_aBcDeF"), b"PACK").unwrap();
                let new = resting.keeper.pack_all().unwrap();
                fs::remove_file(new.with_extension("idx")).unwrap();
                fs::write(new.with_extension("rev"), b"RIDX").unwrap();
            }
            // Before the first old pack is hidden.
            1 => drop(resting.keeper.pack_contents(old).unwrap()),
            // After some were.
            2 => {
                let new = resting.keeper.pack_contents(old).unwrap();
                let hidden = packs::hide(&folder, &old[..7], &new).unwrap();
                assert_eq!(hidden.len(), 7);
            }
            // After all were, and while git writes the graph.
            3 => {
                resting.carry_out(Plan::Renew).unwrap();
                let lock = resting
                    .keeper
                    .git_dir
                    .join("objects/info/commit-graph.lock");
                fs::write(lock, b"CGPH").unwrap();
            }
            // While old files go.
            _ => {
                resting.carry_out(Plan::Merge(15)).unwrap();
                resting.keeper.discard(GRACE, 6);
            }
        }
        let index = resting.open_whole(&objects);
        publish_each(&index, "2", 0..3).await;
        drop(index);
        resting.carry_out(Plan::Renew).unwrap();
        assert_eq!(resting.packs(), 1, "after {step}");
        drop(resting.open_whole(&objects));
    }
}

#[tokio::test]
async fn what_fails_changes_nothing() {
    let mut resting = Resting::with_packs(20).await;
    let listed = packs::list(&resting.keeper.folder).unwrap();
    let torn = listed[3].stem.with_extension("pack");
    let whole = fs::read(&torn).unwrap();
    fs::remove_file(&torn).unwrap();
    fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
    let files = resting.files();
    for plan in [Plan::Merge(10), Plan::Renew] {
        let fault = resting.carry_out(plan).unwrap_err();
        assert!(matches!(fault, Fault::Git { .. }), "{fault}");
        assert_eq!(resting.files(), files);
    }
    fs::write(&torn, &whole).unwrap();
    resting
        .keeper
        .patience
        .is_over
        .store(true, Ordering::Release);
    let fault = resting.carry_out(Plan::Renew).unwrap_err();
    assert!(matches!(fault, Fault::Interrupted), "{fault}");
    assert_eq!(resting.files(), files);
    resting
        .keeper
        .patience
        .is_over
        .store(false, Ordering::Release);
    resting.carry_out(Plan::Renew).unwrap();
    assert_eq!(resting.packs(), 1);
}

#[tokio::test]
async fn a_git_that_is_killed_between_two_names_leaves_nothing() {
    let resting = Resting::with_packs(1).await;
    let files = resting.files();
    let mut command = Command::new("sh");
    command.args(["-c", ": > \"$0-1.pack\"; kill -9 $$"]);
    let fault = resting.keeper.new_pack(command, String::new()).unwrap_err();
    assert!(matches!(fault, Fault::Killed { .. }), "{fault}");
    assert_eq!(resting.files(), files);
    let apart = pack::folder_apart(&resting.keeper.git_dir, "merge").unwrap();
    assert!(
        apart
            .path()
            .starts_with(resting.keeper.git_dir.join("objects"))
    );
}

#[tokio::test]
async fn a_git_that_hangs_is_ended_and_leaves_nothing() {
    let mut resting = Resting::with_packs(1).await;
    let files = resting.files();
    resting.keeper.patience.silence = Duration::from_millis(100);
    let mut command = Command::new("sh");
    command.args(["-c", ": > \"$0-1.pack\"; kill -STOP $$"]);
    let fault = resting.keeper.new_pack(command, String::new()).unwrap_err();
    assert!(fault.to_string().contains("told nothing"), "{fault}");
    assert!(matches!(fault, Fault::Killed { .. }), "{fault}");
    assert_eq!(resting.files(), files);
}

#[tokio::test]
async fn what_git_prints_is_the_id_of_a_pack_or_a_fault() {
    let resting = Resting::with_packs(0).await;
    let name_of = |said: &str| {
        let mut command = Command::new("sh");
        let make = "for part in pack idx; do : > \"$1-$0.$part\"; done; echo \"$0\"";
        command.args(["-c", make, said]);
        resting.keeper.new_pack(command, String::new())
    };
    for said in ["", &"a".repeat(39), &"a".repeat(41), &"g".repeat(40)] {
        let fault = name_of(said).unwrap_err();
        assert!(matches!(fault, Fault::Git { .. }), "{fault}");
    }
    let id = "0a".repeat(20);
    let pack = resting.keeper.folder.join(format!("pack-{id}"));
    assert_eq!(name_of(&id).unwrap(), pack);
}

#[tokio::test]
async fn a_merge_of_all_takes_the_index_of_several_packs_away_and_leaves_a_graph_of_commits() {
    let mut resting = Resting::with_packs(5).await;
    let objects = resting.objects();
    resting.git(&["multi-pack-index", "write"]);
    let of_several = resting.keeper.folder.join("multi-pack-index");
    assert!(of_several.exists());
    resting.carry_out(Plan::Merge(3)).unwrap();
    assert!(!of_several.exists());
    let graph = resting.keeper.git_dir.join("objects/info/commit-graph");
    assert!(!graph.exists());
    resting.carry_out(Plan::Renew).unwrap();
    assert!(graph.exists());
    assert_eq!(resting.git(&["commit-graph", "verify"]), "");
    drop(resting.open_whole(&objects));
}

#[tokio::test]
async fn a_graph_of_commits_that_is_not_written_is_no_failure_of_a_merge() {
    let mut resting = Resting::with_packs(28).await;
    let lock = resting
        .keeper
        .git_dir
        .join("objects/info/commit-graph.lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    fs::write(&lock, "").unwrap();
    let fault = resting.keeper.write_commit_graph().unwrap_err();
    assert!(fault.to_string().contains("commit-graph.lock"), "{fault}");
    assert_eq!(resting.keeper.merge(QUIET), 29);
    assert_eq!(resting.packs(), 1);
    assert!(resting.keeper.rest.is_over(Instant::now(), false));
    assert!(lock.exists(), "somebody may hold it");
}

#[tokio::test]
async fn without_room_for_a_second_copy_nothing_is_begun() {
    let mut resting = Resting::with_packs(5).await;
    let mut listed = packs::list(&resting.keeper.folder).unwrap();
    listed[1].bytes = u64::MAX / 2;
    let files = resting.files();
    let in_flight = resting.keeper.flights.in_flight();
    let fault = resting
        .keeper
        .carry_out(Plan::Merge(3), &listed, in_flight)
        .unwrap_err();
    assert!(matches!(fault, Fault::NoRoom { .. }), "{fault}");
    assert_eq!(resting.files(), files);
}

#[tokio::test]
async fn where_a_large_pack_has_no_room_the_small_ones_are_merged() {
    let mut resting = Resting::with_packs(28).await;
    let objects = resting.objects();
    let mut listed = packs::list(&resting.keeper.folder).unwrap();
    let sizes: Vec<u64> = listed.iter().map(|pack| pack.objects).collect();
    assert_eq!(QUIET.plan(&sizes), Plan::Renew);
    let tend = |resting: &mut Resting, listed: &[Listed]| {
        let in_flight = resting.keeper.flights.in_flight();
        let outcome = resting.keeper.do_what_fits(QUIET, listed, in_flight);
        outcome.unwrap();
        resting.packs()
    };
    // Not even the smallest.
    let bytes = std::mem::replace(&mut listed[0].bytes, u64::MAX / 2);
    assert_eq!(tend(&mut resting, &listed), 29);
    listed[0].bytes = bytes;
    listed[28].bytes = u64::MAX / 2;
    assert_eq!(tend(&mut resting, &listed), 2);
    assert_eq!(resting.objects(), objects);
    drop(resting.open_whole(&objects));
}

#[tokio::test]
async fn a_registry_with_very_many_packs_is_verified_and_served_and_they_are_merged() {
    let resting = Resting::with_packs(3).await;
    multiply_pack(&resting.keeper.folder, 8_500);
    let (place, blobs) = (place(resting.folder.path()), blobs(resting.folder.path()));
    let report = verify(&place, &blobs, None, &mut |_| {}).unwrap();
    // The crate files of these tests are empty.
    let mut faults = report.faults.iter().map(|fault| &fault.what);
    assert_eq!(
        faults.find(|what| !what.starts_with("the crate file")),
        None
    );
    let index = open(resting.folder.path(), URL).unwrap();
    publish_each(&index, "2", 0..1).await;
    let until = Instant::now() + Duration::from_secs(120);
    while resting.packs() >= BUSY.packs {
        assert!(Instant::now() < until, "{} packs", resting.packs());
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_index_with_too_many_packs_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), URL).unwrap();
    index.maintenance.end();
    while index.has_maintenance() {
        thread::yield_now();
    }
    assert_eq!(index.check_packs(), Ok(()));
    index.maintenance.crowd.note(PACKS_MAX);
    let why = index.check_packs().unwrap_err();
    assert!(why.contains("has 10000 packs"), "{why}");
}

#[tokio::test]
async fn after_a_failure_it_rests_for_a_while_and_counts_what_piles_up() {
    let mut resting = Resting::with_packs(9).await;
    multiply_pack(&resting.keeper.folder, 1_000);
    let odd =
        ["pack", "idx"].map(|part| resting.keeper.folder.join("pack-odd").with_extension(part));
    odd.iter().for_each(|path| fs::write(path, "odd").unwrap());
    assert_eq!(resting.keeper.turn(QUIET), 0);
    odd.iter().for_each(|path| fs::remove_file(path).unwrap());
    let keeper = &mut resting.keeper;
    (keeper.crowd_told, keeper.flights.crowd) = Default::default();

    assert_eq!(keeper.turn(QUIET), 0, "it rests");
    assert_eq!(keeper.flights.crowd.too_many(), Some(1_010));
    assert!(keeper.crowd_told.is_some());
    let now = Instant::now();
    assert!(!keeper.rest.is_over(now, true) && keeper.rest.is_over(now + LOOK, true));
    keeper.rest = Rest::default();
    assert_eq!(keeper.turn(QUIET), 512);
    assert_eq!(keeper.turn(QUIET), 499);
    assert_eq!(keeper.turn(QUIET), 0);
    assert_eq!(
        (keeper.flights.crowd.too_many(), resting.packs()),
        (None, 1)
    );
}

#[tokio::test]
async fn a_success_ends_what_failures_have_made_longer() {
    let mut resting = Resting::with_packs(0).await;
    let away = resting.folder.path().join("away");
    fs::rename(&resting.keeper.folder, &away).unwrap();
    for _ in 0..2 {
        assert_eq!(resting.keeper.merge(QUIET), 0);
    }
    let is_over = |resting: &Resting| resting.keeper.rest.is_over(Instant::now() + LOOK, false);
    assert!(!is_over(&resting));
    fs::rename(&away, &resting.keeper.folder).unwrap();
    assert_eq!(resting.keeper.merge(QUIET), 0);
    assert!(is_over(&resting));
    // What the end of the process interrupts is no failure.
    resting
        .keeper
        .patience
        .is_over
        .store(true, Ordering::Release);
    fs::rename(&resting.keeper.folder, &away).unwrap();
    assert_eq!(resting.keeper.merge(QUIET), 0);
    assert!(resting.keeper.rest.is_over(Instant::now(), false));
}

#[tokio::test]
async fn what_somebody_keeps_is_left_alone() {
    let mut resting = Resting::with_packs(10).await;
    let objects = resting.objects();
    let kept = packs::list(&resting.keeper.folder).unwrap().remove(4).stem;
    fs::write(kept.with_extension("keep"), b"receive-pack 1 on here\n").unwrap();
    assert_eq!(resting.packs(), 10);
    resting.carry_out(Plan::Renew).unwrap();
    assert_eq!(resting.packs(), 1);
    assert!(kept.with_extension("idx").exists());
    drop(resting.open_whole(&objects));
}

#[tokio::test]
async fn a_registry_at_work_has_few_packs_and_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), URL).unwrap();
    let git_dir = place(folder.path()).git_dir;
    let early = folder.path().join("early");
    let clone_of = |target: &Path| {
        let (source, target) = (git_dir.to_str().unwrap(), target.to_str().unwrap());
        git_in(&git_dir, &["clone", "-q", "--no-local", source, target]);
    };
    clone_of(&early);
    publish_each(&index, "1", 0..250).await;
    let packs = || packs::list(&git_dir.join("objects/pack")).unwrap().len();
    // The thread is called by the last publishes at the latest.
    let until = Instant::now() + Duration::from_secs(60);
    while packs() >= BUSY.packs + 16 {
        assert!(Instant::now() < until, "{} packs", packs());
        thread::yield_now();
    }
    publish_each(&index, "2", 0..10).await;
    git_in(&early.join(".git"), &["fetch", "-q", "origin"]);
    let late = folder.path().join("late");
    clone_of(&late);
    for clone in [&early, &late] {
        let clone = clone.join(".git");
        let commits = git_in(&clone, &["rev-list", "--count", "origin/main"]);
        assert_eq!(commits, "261\n");
        assert_eq!(git_in(&clone, &["fsck", "--strict"]), "");
    }
    let started = Instant::now();
    drop(index);
    assert!(started.elapsed() < END_WAIT);
    assert_eq!(git_in(&git_dir, &["fsck", "--strict", "--full"]), "");
}
