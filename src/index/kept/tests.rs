use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::time::{Duration, Instant};

use super::super::objects::Objects;
use super::super::tests::{change, open, place, publish, yank};
use super::super::writer::{KEEP_AFTER, Tip};
use super::super::{Action, Index, load, refs};
use super::*;
use crate::domain::IndexPath;

const URL: &str = "http://localhost:1";

/// Makes other bytes of those of a file.
type Tear = fn(&[u8]) -> Vec<u8>;

/// Ways to spoil a file.
const TEARS: [Tear; 5] = [
    |_| Vec::new(),
    |bytes| vec![0; bytes.len()],
    |bytes| bytes[..bytes.len() / 2].to_vec(),
    |bytes| bytes[..bytes.len() - 1].to_vec(),
    |bytes| {
        let mut torn = bytes.to_vec();
        torn[bytes.len() / 2..].fill(0);
        torn
    },
];

async fn submit(index: &Index, action: Action) {
    let deadline = Instant::now() + Duration::from_secs(60);
    index
        .submit(change("alice", action), deadline)
        .await
        .unwrap();
}

/// A registry that has ended, with a few crates of all kinds.
async fn some_crates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), URL).unwrap();
    for version in ["0.10.0", "0.9.0", "1.0.0-rc.1", "1.0.0+build.5"] {
        submit(&index, publish("Some-Crate", version, 1)).await;
    }
    submit(&index, yank("Some-Crate", "0.9.0", true)).await;
    let large = format!("{}.{}.0", u64::MAX, u64::MAX);
    submit(&index, publish("a", &large, 2)).await;
    submit(&index, publish("ab", "1.0.0", 3)).await;
    let (name, owners) = ("ab".parse().unwrap(), vec!["bob".parse().unwrap()]);
    submit(&index, Action::AddOwners { name, owners }).await;
    folder
}

/// Brings `count` crates into a registry that has ended, by git.
fn import(folder: &Path, count: usize) {
    let git_dir = &place(folder).git_dir;
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(git_dir).args(args);
        command
    };
    let mut stream = format!(
        "commit refs/heads/main\ncommitter Nobody <> 1700000000 +0000\ndata 0\nfrom {}\n",
        place(folder).tip().unwrap()
    );
    for number in 0..count {
        let name = format!("imported{number}");
        let Action::Publish { line, .. } = publish(&name, "1.0.0", 1) else {
            unreachable!("it publishes")
        };
        let path = IndexPath::of(&line.name);
        let line = String::from_utf8(line.to_bytes()).unwrap();
        let owners = "users = [{ login = \"alice\" }]\n".to_owned();
        for (path, file) in [(path.to_string(), line), (path.owners_file(), owners)] {
            let length = file.len();
            stream += &format!("M 100644 inline {path}\ndata {length}\n{file}\n");
        }
    }
    let mut child = git(&["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(stream.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let tip = refs::read(git_dir, refs::TIP).unwrap().unwrap();
    refs::show(git_dir, tip).unwrap();
}

/// The index at the tip, and how much of it the snapshot file did not know.
fn loaded(folder: &Path) -> (Tip, usize) {
    let place = place(folder);
    let kept = Kept::load(&place.cache).unwrap();
    let objects = Objects::open(&place.git_dir).unwrap();
    load::load_with(objects, place.tip().unwrap(), &kept).unwrap()
}

/// The index at the tip by git alone.
fn from_git(folder: &Path) -> Tip {
    let place = place(folder);
    load::load(&place.git_dir, place.tip().unwrap()).unwrap()
}

fn keep(folder: &Path) {
    save(&from_git(folder).snapshot, &place(folder).cache).unwrap();
}

fn file(folder: &Path) -> PathBuf {
    path(&place(folder).cache)
}

/// All that a snapshot says of its crates, in the order of their names.
fn told(snapshot: &Snapshot) -> Vec<String> {
    let one = |krate: &Arc<Crate>| {
        let bytes = String::from_utf8(krate.body.inflate()).unwrap();
        let (body, owners) = (&krate.body, &krate.owners);
        let releases = krate.releases();
        format!("{} {body:?} {bytes} {owners:?} {releases:?}", krate.name)
    };
    let mut told: Vec<_> = snapshot.crates().map(one).collect();
    told.sort();
    told
}

#[tokio::test]
async fn what_was_kept_is_what_git_says() {
    let folder = some_crates().await;
    assert_eq!(loaded(folder.path()).1, 3, "there is no file yet");
    keep(folder.path());
    let (tip, new_count) = loaded(folder.path());
    assert_eq!(new_count, 0);
    assert_eq!(told(&tip.snapshot), told(&from_git(folder.path()).snapshot));
}

#[tokio::test]
async fn a_file_that_is_older_than_the_tip_saves_the_rest() {
    let folder = some_crates().await;
    keep(folder.path());
    let index = open(folder.path(), URL).unwrap();
    submit(&index, publish("ab", "1.1.0", 4)).await;
    submit(&index, publish("new", "1.0.0", 5)).await;
    let (name, owners) = ("a".parse().unwrap(), vec!["carol".parse().unwrap()]);
    submit(&index, Action::AddOwners { name, owners }).await;
    let served = told(&index.snapshot());
    drop(index);
    let (tip, new_count) = loaded(folder.path());
    assert_eq!(
        new_count, 2,
        "`ab` and `new`; of `a` only the owners changed"
    );
    assert_eq!(told(&tip.snapshot), served);
    assert_eq!(served, told(&from_git(folder.path()).snapshot));
}

#[tokio::test]
async fn a_damaged_file_is_not_used_and_missed_by_nobody() {
    let folder = some_crates().await;
    keep(folder.path());
    let good = fs::read(file(folder.path())).unwrap();
    let before = told(&from_git(folder.path()).snapshot);
    let flips = (0..good.len()).step_by(7).map(|at| {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        flipped
    });
    for bad in flips.chain(TEARS.map(|tear| tear(&good))) {
        assert!(matches!(Kept::parse(bad), Err(KeptFault::Damaged)));
    }
    for tear in TEARS {
        fs::write(file(folder.path()), tear(&good)).unwrap();
        let index = open(folder.path(), URL).unwrap();
        assert_eq!(told(&index.snapshot()), before);
    }
    fs::remove_file(file(folder.path())).unwrap();
    symlink("snapshot", file(folder.path())).unwrap();
    assert!(Kept::load(&place(folder.path()).cache).is_err(), "a circle");
    fs::remove_file(file(folder.path())).unwrap();
    fs::create_dir(file(folder.path())).unwrap();
    assert!(Kept::load(&place(folder.path()).cache).is_err());
    let index = open(folder.path(), URL).unwrap();
    assert_eq!(told(&index.snapshot()), before);
}

#[tokio::test]
async fn what_another_version_has_written_is_not_used() {
    let folder = some_crates().await;
    let mut bytes = Vec::new();
    write(
        &from_git(folder.path()).snapshot,
        &mut bytes,
        FILE_BYTES_MAX,
    )
    .unwrap();
    assert_eq!(Kept::parse(bytes.clone()).unwrap().entries.len(), 3);
    bytes.truncate(bytes.len() - HASH_BYTES);
    bytes[HEAD.len() - 2] += 1;
    assert!(Kept::parse(hashed(bytes)).unwrap().entries.is_empty());
}

#[tokio::test]
async fn what_does_not_fit_into_the_file_is_read_from_git() {
    let folder = some_crates().await;
    let snapshot = from_git(folder.path()).snapshot;
    let written = |bytes_max: u64| {
        let mut bytes = Vec::new();
        write(&snapshot, &mut bytes, bytes_max).unwrap();
        bytes
    };
    let all = written(FILE_BYTES_MAX);
    for bytes_max in 0..all.len() {
        let bytes = written(bytes_max as u64);
        assert!(bytes.len() <= bytes_max.max(HEAD.len() + HASH_BYTES));
        assert!(Kept::parse(bytes).unwrap().entries.len() < 3);
    }
    assert_eq!(written(all.len() as u64), all);
    fs::create_dir_all(place(folder.path()).cache).unwrap();
    fs::write(file(folder.path()), written(all.len() as u64 - 1)).unwrap();
    let (tip, new_count) = loaded(folder.path());
    assert_eq!(new_count, 1);
    assert_eq!(told(&tip.snapshot), told(&snapshot));
}

#[tokio::test]
async fn a_blob_that_is_gone_from_git_is_missed_although_the_file_knows_it() {
    let folder = some_crates().await;
    keep(folder.path());
    let git_dir = place(folder.path()).git_dir;
    let packs = git_dir.join("objects/pack");
    let away = folder.path().join("away");
    fs::rename(&packs, &away).unwrap();
    fs::create_dir(&packs).unwrap();
    for entry in fs::read_dir(&away).unwrap() {
        let pack = entry.unwrap().path();
        if pack
            .extension()
            .is_some_and(|extension| extension == "pack")
        {
            let status = Command::new("git")
                .arg("--git-dir")
                .arg(&git_dir)
                .args(["unpack-objects", "-q"])
                .stdin(File::open(pack).unwrap())
                .status();
            assert!(status.unwrap().success());
        }
    }
    assert_eq!(loaded(folder.path()).1, 0);
    let snapshot = from_git(folder.path()).snapshot;
    let id = snapshot.file("2/ab").unwrap().blob().to_string();
    fs::remove_file(git_dir.join("objects").join(&id[..2]).join(&id[2..])).unwrap();
    let fault = open(folder.path(), URL).err().unwrap().to_string();
    assert!(fault.contains("2/ab"), "{fault}");
}

#[tokio::test]
async fn the_file_is_written_at_the_end_once_that_saves_much() {
    let folder = some_crates().await;
    assert!(
        !file(folder.path()).exists(),
        "three crates are read in no time"
    );
    import(folder.path(), KEEP_AFTER);
    let index = open(folder.path(), URL).unwrap();
    let served = told(&index.snapshot());
    assert!(!file(folder.path()).exists());
    drop(index);
    let (tip, new_count) = loaded(folder.path());
    assert_eq!(new_count, 0);
    assert_eq!(told(&tip.snapshot), served);

    let first = fs::read(file(folder.path())).unwrap();
    let index = open(folder.path(), URL).unwrap();
    submit(&index, publish("new", "1.0.0", 5)).await;
    drop(index);
    assert!(
        fs::read(file(folder.path())).unwrap() == first,
        "one crate is read in no time"
    );
    assert_eq!(loaded(folder.path()).1, 1);
}

#[tokio::test]
async fn an_end_and_a_start_do_without_a_folder_for_the_file() {
    let folder = some_crates().await;
    import(folder.path(), KEEP_AFTER);
    let cache = place(folder.path()).cache;
    fs::write(&cache, "a file, where a folder should be").unwrap();
    for _ in 0..2 {
        let index = open(folder.path(), URL).unwrap();
        assert_eq!(index.snapshot().crate_count(), KEEP_AFTER + 3);
    }
}

#[tokio::test]
async fn what_a_killed_process_left_goes_and_what_it_had_stays() {
    let folder = some_crates().await;
    keep(folder.path());
    let good = fs::read(file(folder.path())).unwrap();
    let half = place(folder.path()).cache.join("tmp_half");
    fs::write(&half, &good[..good.len() / 2]).unwrap();
    assert_eq!(loaded(folder.path()).1, 0);
    assert!(!half.exists());
    assert_eq!(fs::read(file(folder.path())).unwrap(), good);
}

/// The bytes with their hash behind them.
fn hashed(mut bytes: Vec<u8>) -> Vec<u8> {
    let hash = Sha256::digest(&bytes);
    bytes.extend(hash);
    bytes
}

/// The crate that a file with one entry holds.
fn found_in(id: [u8; 20], entry: &[u8]) -> Option<Crate> {
    let length = u32::try_from(entry.len()).unwrap().to_le_bytes();
    let kept = [HEAD.as_bytes(), &id, &length, entry].concat();
    let kept = Kept::parse(hashed(kept)).unwrap();
    let owners = Arc::new(Owners::first("alice".parse().unwrap()));
    kept.find(BlobId::from(id), &owners, &mut Shelf::default())
}

#[test]
fn more_releases_than_have_room_are_not_believed() {
    for release_count in [1, usize::MAX / HASH_BYTES, usize::MAX] {
        let entry = Entry {
            name: "a",
            size: 0,
            gzip: &[],
            release_count,
        };
        let entry = postcard::to_extend(&entry, Vec::new()).unwrap();
        assert!(found_in([0; 20], &entry).is_none());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in any::<Vec<u8>>(),
        entry in any::<Vec<u8>>(),
        id in any::<[u8; 20]>(),
    ) {
        prop_assert!(Kept::parse(bytes.clone()).is_err());
        let strange = Kept::parse(hashed([HEAD.as_bytes(), &bytes].concat()));
        prop_assert!(strange.is_err() || bytes.is_empty() || bytes.len() >= 24);
        let found = found_in(id, &entry);
        prop_assert!(found.is_none(), "{:?}", found);
    }
}
