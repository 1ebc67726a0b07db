//! Files of the repository that a disk or a person has hurt, and what the next start makes of it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use tempfile::TempDir;

use super::tests::{change, open, place, publish};
use super::*;
use crate::domain::CommitId;

const URL: &str = "http://localhost:1";

/// A registry that has ended, with the versions 1.0.0 and 2.0.0 of the crate `a`.
struct Hurt {
    folder: TempDir,
    tip: CommitId,
}

/// Makes other bytes of those of a file.
type Tear = fn(&[u8]) -> Vec<u8>;

/// Ways to spoil the end of a file.
const TEARS: [Tear; 4] = [
    |_| Vec::new(),
    |bytes| vec![0; bytes.len()],
    |bytes| bytes[..bytes.len() / 2].to_vec(),
    |bytes| {
        let mut torn = bytes.to_vec();
        torn[bytes.len() / 2..].fill(0);
        torn
    },
];

impl Hurt {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path(), URL).unwrap();
        let tip = index.snapshot().commit();
        let mut hurt = Self { folder, tip };
        for version in ["1.0.0", "2.0.0"] {
            hurt.tip = publish_on(&index, version).await;
        }
        hurt
    }

    fn path(&self, name: &str) -> PathBuf {
        place(self.folder.path()).git_dir.join(name)
    }

    fn tear(&self, path: &Path, tear: Tear) {
        fs::write(path, tear(&fs::read(path).unwrap())).unwrap();
    }

    /// Clients of git were shown this commit last, and nobody remembers another.
    fn was_shown(&self, commit: &str) {
        for path in [refs::SERVED, refs::SHOWN] {
            fs::write(self.path(path), format!("{commit}\n")).unwrap();
        }
    }

    /// The file of the pack in which the tip is.
    fn newest(&self, extension: &str) -> PathBuf {
        self.pack_of(&self.tip.to_string(), extension)
    }

    fn pack_of(&self, commit: &str, extension: &str) -> PathBuf {
        let indices = fs::read_dir(self.path("objects/pack")).unwrap();
        let indices = indices.map(|entry| entry.unwrap().path());
        let mut indices = indices.filter(|path| path.extension().is_some_and(|it| it == "idx"));
        let index = indices.find(|index| {
            let listing = Command::new("git")
                .arg("show-index")
                .stdin(fs::File::open(index).unwrap())
                .output()
                .unwrap();
            String::from_utf8_lossy(&listing.stdout).contains(commit)
        });
        index.unwrap().with_extension(extension)
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .arg("--git-dir")
            .arg(place(self.folder.path()).git_dir)
            .args(["-c", "user.name=mallory", "-c", "user.email=m@example.org"])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "git {args:?}: {said}");
        assert_eq!(said, "", "git {args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A commit of somebody else's on `parent`, which changes nothing and which no branch has.
    fn strange_child(&self, parent: CommitId) -> CommitId {
        let (tree, parent) = (format!("{parent}^{{tree}}"), parent.to_string());
        let child = self.git(&["commit-tree", &tree, "-p", &parent, "-m", "by hand"]);
        child.parse().unwrap()
    }

    /// Panics unless a start has everything, and writes on it.
    async fn is_whole(&self) {
        let index = open(self.folder.path(), URL).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(index.snapshot().commit(), self.tip);
        assert_eq!(index.stall().map(|stall| stall.reason.clone()), None);
        publish_on(&index, "3.0.0").await;
        drop(index);
        self.git(&["fsck", "--strict", "--no-dangling"]);
        self.git(&["rev-parse", "refs/heads/main", refs::SERVED]);
    }

    /// Panics unless one more start finds nothing to say.
    async fn is_whole_again(&self) {
        drop(open(self.folder.path(), URL).unwrap_or_else(|fault| panic!("{fault}")));
        self.git(&["fsck", "--strict", "--no-dangling"]);
    }

    fn refusal(&self) -> String {
        match open(self.folder.path(), URL) {
            Ok(_) => panic!("it starts"),
            Err(fault) => fault.to_string(),
        }
    }
}

async fn publish_on(index: &Index, version: &str) -> CommitId {
    let deadline = Instant::now() + Duration::from_secs(60);
    let change = change("alice", publish("a", version, 1));
    index.submit(change, deadline).await.unwrap().commit
}

#[tokio::test]
async fn a_torn_tip_is_found_again_from_what_clients_of_git_saw() {
    for tear in TEARS {
        let hurt = Hurt::new().await;
        hurt.tear(&hurt.path(refs::TIP), tear);
        hurt.is_whole().await;
    }
    let hurt = Hurt::new().await;
    fs::remove_file(hurt.path(refs::TIP)).unwrap();
    hurt.is_whole().await;
}

#[tokio::test]
async fn files_that_never_change_are_written_again() {
    let blank: Tear = |bytes| [&bytes[..bytes.len() * 2 / 3], &[b'\n'; 99]].concat();
    for file in ["HEAD", refs::SERVED_HEAD, "config"] {
        for tear in TEARS.into_iter().chain([blank]) {
            let hurt = Hurt::new().await;
            let path = hurt.path(file);
            let before = fs::read(&path).unwrap();
            hurt.tear(&path, tear);
            hurt.is_whole().await;
            assert_eq!(fs::read(&path).unwrap(), before, "{file}");
        }
    }
    let hurt = Hurt::new().await;
    fs::remove_file(hurt.path("HEAD")).unwrap();
    hurt.is_whole().await;
    for folder in ["refs", "refs/heads", "refs/tags", "objects/info"] {
        let hurt = Hurt::new().await;
        fs::remove_dir_all(hurt.path(folder)).unwrap();
        hurt.is_whole().await;
        assert!(hurt.path(folder).exists());
    }
    // Settings that somebody added stay.
    let hurt = Hurt::new().await;
    hurt.git(&["config", "user.name", "olga"]);
    hurt.is_whole().await;
    assert_eq!(hurt.git(&["config", "user.name"]), "mallory");
    let config = fs::read_to_string(hurt.path("config")).unwrap();
    assert!(config.contains("olga"), "{config}");
}

#[tokio::test]
async fn settings_that_are_missing_are_added_to_those_of_somebody() {
    for end in ["", "\n", "\n[more]\n"] {
        let hurt = Hurt::new().await;
        let path = hurt.path("config");
        let whole = fs::read_to_string(&path).unwrap();
        let text = whole
            .replace("\tfsync = all\n", "")
            .replace("auto = 0", "auto = 100")
            .replace("[transfer]\n", "[transfer]\n\tadvertiseSID = true\n");
        fs::write(&path, text.trim_end().to_owned() + end).unwrap();
        hurt.is_whole().await;
        for (name, value) in [
            ("core.fsync", "all"),
            ("gc.auto", "0"),
            ("transfer.advertiseSID", "true"),
            ("receive.hideRefs", "refs/namespaces"),
        ] {
            assert_eq!(hurt.git(&["config", name]), value, "{name}");
        }
        let completed = fs::read_to_string(&path).unwrap();
        assert_eq!(completed.matches("hideRefs").count(), 1, "{completed}");
        let inode = fs::metadata(&path).unwrap().ino();
        hurt.is_whole_again().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), completed);
        let is_left = fs::metadata(&path).unwrap().ino() == inode;
        assert!(is_left, "what lacks nothing is not written");
        // What git cannot read is not worth keeping.
        fs::write(&path, completed + "[more\n").unwrap();
        hurt.is_whole_again().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }
}

#[tokio::test]
async fn a_torn_tip_is_found_again_though_clients_of_git_saw_an_older_one_or_nothing() {
    let hurt = Hurt::new().await;
    let before = hurt.git(&["rev-parse", "main~1"]);
    hurt.tear(&hurt.path(refs::TIP), TEARS[1]);
    hurt.was_shown(&before);
    hurt.is_whole().await;

    let hurt = Hurt::new().await;
    hurt.tear(&hurt.path(refs::TIP), TEARS[0]);
    hurt.tear(&hurt.path(refs::SERVED), TEARS[1]);
    hurt.is_whole().await;
}

#[tokio::test]
async fn without_what_clients_of_git_saw_the_newest_commit_of_our_own_key_is_good() {
    let hurt = Hurt::new().await;
    let child = hurt.strange_child(hurt.tip);
    fs::write(hurt.path(refs::TIP), format!("{child}\n")).unwrap();
    for path in [refs::SERVED, refs::SHOWN] {
        fs::remove_file(hurt.path(path)).unwrap();
    }
    let place = place(hurt.folder.path());
    let key = SigningKey::open_or_create(&place.keys).unwrap();
    let signer = key.signer().unwrap();
    assert_eq!(place.good_commit(Some(&signer)).unwrap(), hurt.tip);
    // Without a key the first of all is.
    let first = hurt.git(&["rev-list", "--max-parents=0", "main"]);
    let good = place.good_commit(None).unwrap();
    assert_eq!(good.to_string(), first.trim());
}

#[tokio::test]
async fn what_was_shown_is_known_from_the_ref_if_its_file_is_torn() {
    let hurt = Hurt::new().await;
    let place = place(hurt.folder.path());
    let child = hurt.strange_child(hurt.tip);
    fs::write(hurt.path(refs::TIP), format!("{child}\n")).unwrap();
    for tear in TEARS {
        hurt.tear(&hurt.path(refs::SHOWN), tear);
        assert_eq!(refs::shown(&place.git_dir).unwrap(), Some(hurt.tip));
        assert_eq!(place.good_commit(None).unwrap(), hurt.tip);
    }

    // What is lost was acknowledged.
    let hurt = Hurt::new().await;
    let lost = "1".repeat(40);
    fs::write(hurt.path(refs::SHOWN), &lost).unwrap();
    let said = hurt.refusal();
    assert!(
        said.contains(&lost) && said.contains("sidecargo restore"),
        "{said}"
    );
}

#[tokio::test]
async fn what_was_shown_is_named_if_it_is_nowhere_and_nothing_else_is_damaged() {
    let hurt = Hurt::new().await;
    let path = hurt.path(refs::SHOWN);
    fs::write(&path, format!("{}\n", "ab".repeat(20))).unwrap();
    let said = open(hurt.folder.path(), URL).err().unwrap().to_string();
    let tip = hurt.tip.to_string();
    assert_eq!(said.matches(&tip).count(), 2, "{said}");
    assert!(said.contains(&format!("`rm {}`", path.display())), "{said}");
    fs::remove_file(&path).unwrap();
    hurt.is_whole().await;
}

#[tokio::test]
async fn what_a_start_would_show_is_known_before_it() {
    let hurt = Hurt::new().await;
    let there = place(hurt.folder.path());
    let before = hurt.git(&["rev-parse", "main~1"]);
    hurt.was_shown(&before);
    assert_eq!(there.good_commit(None).unwrap().to_string(), before);
    assert_eq!(there.newest_good().unwrap(), hurt.tip);
    // What cannot be read is not passed over.
    let index = hurt.newest("idx");
    let whole = fs::read(&index).unwrap();
    for tear in TEARS {
        hurt.tear(&index, tear);
        let found = there.newest_good();
        assert!(found.is_err(), "{found:?}");
        fs::write(&index, &whole).unwrap();
    }
    // Beyond what is good it does not go.
    let empty = hurt.git(&["mktree"]);
    let tip = hurt.tip.to_string();
    let bad = hurt.git(&["commit-tree", &empty, "-p", &tip, "-m", "all is gone"]);
    hurt.git(&["update-ref", refs::TIP, &bad]);
    assert_eq!(there.newest_good().unwrap(), hurt.tip);
}

#[tokio::test]
async fn a_torn_tip_is_not_guessed() {
    let hurt = Hurt::new().await;
    // It may have been pushed, and its author told so; or lie there for another reason.
    let child = hurt.strange_child(hurt.tip);
    hurt.tear(&hurt.path(refs::TIP), TEARS[2]);
    let said = hurt.refusal();
    for part in [
        &format!("it may have been {child};"),
        "refs/heads/main` names no commit: ",
        "sidecargo restore",
    ] {
        assert!(said.contains(part), "{said}");
    }

    // What it advises helps.
    fs::remove_file(hurt.path(refs::TIP)).unwrap();
    hurt.git(&["update-ref", refs::TIP, &hurt.tip.to_string()]);
    hurt.is_whole().await;

    let hurt = Hurt::new().await;
    let before: CommitId = hurt.git(&["rev-parse", "main~1"]).parse().unwrap();
    let child = hurt.strange_child(before);
    // A sibling of the tip: clients of git were shown the commit before both.
    hurt.was_shown(&before.to_string());
    hurt.tear(&hurt.path(refs::TIP), TEARS[3]);
    let said = hurt.refusal();
    assert!(said.contains(&child.to_string()) && said.contains(&hurt.tip.to_string()));
    // Once they were shown the tip, the sibling is nothing.
    hurt.was_shown(&hurt.tip.to_string());
    hurt.is_whole().await;
}

#[tokio::test]
async fn torn_refs_that_git_packed_are_found_again() {
    for tear in TEARS {
        let hurt = Hurt::new().await;
        hurt.git(&["pack-refs", "--all", "--prune"]);
        assert!(!hurt.path(refs::TIP).exists());
        hurt.tear(&hurt.path("packed-refs"), tear);
        hurt.is_whole().await;
    }
    let hurt = Hurt::new().await;
    hurt.git(&["pack-refs", "--all", "--prune"]);
    let whole = fs::read(hurt.path("packed-refs")).unwrap();
    hurt.is_whole().await;
    assert_eq!(fs::read(hurt.path("packed-refs")).unwrap(), whole);
}

#[tokio::test]
async fn the_torn_index_of_a_pack_is_made_again() {
    for tear in TEARS {
        let hurt = Hurt::new().await;
        let index = hurt.newest("idx");
        let whole = fs::read(&index).unwrap();
        hurt.tear(&index, tear);
        drop(open(hurt.folder.path(), URL).unwrap());
        assert!(fs::read(&index).unwrap() == whole);
        hurt.is_whole().await;
    }
}

#[tokio::test]
async fn what_an_ended_process_left_and_cannot_be_removed_is_told() {
    let hurt = Hurt::new().await;
    let lock = refs::lock_of_tip(&hurt.path("."));
    fs::create_dir(&lock).unwrap();
    assert!(open(hurt.folder.path(), URL).is_err());
    fs::remove_dir(&lock).unwrap();
    // One that can goes without a word.
    fs::write(&lock, "").unwrap();
    hurt.is_whole().await;
    assert!(!lock.exists());
}

#[tokio::test]
async fn a_start_makes_no_file_again_that_is_whole() {
    let hurt = Hurt::new().await;
    let index = hurt.newest("idx");
    let before = fs::metadata(&index).unwrap().ino();
    hurt.is_whole().await;
    assert_eq!(fs::metadata(&index).unwrap().ino(), before);
}

#[tokio::test]
async fn a_tip_that_cannot_be_read_at_all_is_not_taken_for_a_torn_one() {
    let hurt = Hurt::new().await;
    let place = place(hurt.folder.path());
    let key = SigningKey::open_or_create(&place.keys).unwrap();
    fs::remove_file(hurt.path(refs::TIP)).unwrap();
    fs::create_dir(hurt.path(refs::TIP)).unwrap();
    torn_tip::mend(&place.git_dir, &key.signer().unwrap(), &[]).unwrap();
    assert!(hurt.path(refs::TIP).is_dir());
}

#[tokio::test]
async fn the_index_of_a_pack_that_is_gone_is_made_again() {
    let hurt = Hurt::new().await;
    let index = hurt.newest("idx");
    let whole = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    // What else git makes of a pack may be of another one.
    fs::write(index.with_extension("rev"), "RIDX").unwrap();
    drop(open(hurt.folder.path(), URL).unwrap());
    assert!(fs::read(&index).unwrap() == whole);
    assert!(!index.with_extension("rev").exists());
    hurt.is_whole().await;

    // A command that finds no server has it made again, too.
    let hurt = Hurt::new().await;
    fs::remove_file(hurt.newest("idx")).unwrap();
    let place = place(hurt.folder.path());
    assert!(place.identity().is_err());
    place.heal().unwrap();
    assert!(place.identity().is_ok());

    // One of a torn pack is not, and the pack stays.
    let hurt = Hurt::new().await;
    let index = hurt.newest("idx");
    let pack = index.with_extension("pack");
    fs::remove_file(&index).unwrap();
    hurt.tear(&pack, TEARS[2]);
    let said = hurt.refusal();
    assert!(
        said.contains(&format!("`{}`: it is torn", pack.display())),
        "{said}"
    );
    assert!(pack.exists() && !index.exists());

    // One that is arriving gets it once the pack is whole: who brings it may have ended.
    let hurt = Hurt::new().await;
    let index = hurt.newest("idx");
    let whole = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    let keep = index.with_extension("keep");
    fs::write(&keep, "receive-pack 1 on here\n").unwrap();
    let half = hurt.path(&format!("objects/pack/pack-{}.pack", "0".repeat(40)));
    let bytes = fs::read(index.with_extension("pack")).unwrap();
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(half.with_extension("keep"), "receive-pack 1 on here\n").unwrap();
    drop(open(hurt.folder.path(), URL).unwrap());
    assert!(fs::read(&index).unwrap() == whole);
    assert!(half.exists() && !half.with_extension("idx").exists());
    assert!(keep.exists(), "a push that is under way keeps its pack");
}

#[tokio::test]
async fn an_index_that_is_not_made_again_though_its_pack_is_whole_is_told() {
    let hurt = Hurt::new().await;
    let index = hurt.newest("idx");
    fs::remove_file(&index).unwrap();
    // No file can take its place.
    fs::create_dir(&index).unwrap();
    let fault = open(hurt.folder.path(), URL).err().unwrap();
    let said = writer::chain(&fault);
    let name = format!("{} was not made again: ", index.display());
    assert!(said.contains(&name), "{said}");
    fs::remove_dir(&index).unwrap();
    hurt.is_whole().await;
}

#[tokio::test]
async fn what_only_makes_git_quicker_is_removed_if_it_is_torn() {
    for (make, folder, end) in [
        (
            "commit-graph write --reachable --no-progress",
            "objects/info",
            "commit-graph",
        ),
        (
            "commit-graph write --reachable --split --no-progress",
            "objects/info/commit-graphs",
            ".graph",
        ),
        (
            "multi-pack-index write --no-progress",
            "objects/pack",
            "multi-pack-index",
        ),
        ("repack -q -a -d -b", "objects/pack", ".bitmap"),
        (
            "-c pack.writeReverseIndex=true repack -q -a -d",
            "objects/pack",
            ".rev",
        ),
    ] {
        let hurt = Hurt::new().await;
        hurt.git(&make.split(' ').collect::<Vec<_>>());
        let paths = fs::read_dir(hurt.path(folder)).unwrap();
        let mut paths = paths.map(|entry| entry.unwrap().path());
        let path = paths
            .find(|path| path.to_str().unwrap().ends_with(end))
            .unwrap();
        drop(open(hurt.folder.path(), URL).unwrap());
        assert!(path.exists(), "a whole one stays");
        // Git leaves it so that nobody may write it.
        let torn = TEARS[3](&fs::read(&path).unwrap());
        fs::remove_file(&path).unwrap();
        let verified = || {
            let (place, blobs) = (place(hurt.folder.path()), tests::blobs(hurt.folder.path()));
            verify(&place, &blobs, None, &mut |_| {}).unwrap()
        };
        let others = verified().faults_found;
        fs::write(&path, torn).unwrap();
        let report = verified();
        assert!(report.faults_found > others);
        assert_eq!(report.faults[0].look, format!("rm {}", path.display()));
        hurt.is_whole().await;
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_chain_of_graphs_that_leads_nowhere_is_removed() {
    let spoils: [fn(&str) -> String; 5] = [
        str::to_owned,
        |text| text[..text.len() - 1].to_owned(),
        |text| format!("{text}{}\n", "0".repeat(40)),
        |text| "\0".repeat(text.len()),
        |_| String::new(),
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let hurt = Hurt::new().await;
        hurt.git(&[
            "commit-graph",
            "write",
            "--reachable",
            "--split",
            "--no-progress",
        ]);
        let chain = hurt.path("objects/info/commit-graphs/commit-graph-chain");
        let text = fs::read_to_string(&chain).unwrap();
        fs::remove_file(&chain).unwrap();
        fs::write(&chain, spoil(&text)).unwrap();
        hurt.is_whole().await;
        // The first leaves it as it is.
        assert_eq!(chain.exists(), number == 0, "{:?}", spoil(&text));
    }
}

#[tokio::test]
async fn an_old_pack_that_is_gone_is_named_and_nothing_is_served_without_it() {
    let hurt = Hurt::new().await;
    // What the snapshot file has need not be read, so only the history misses it.
    let index = open(hurt.folder.path(), URL).unwrap();
    kept::save(&index.snapshot(), &place(hurt.folder.path()).cache).unwrap();
    drop(index);
    let pack = hurt.pack_of(&hurt.git(&["rev-parse", "main~1"]), "pack");
    fs::remove_file(&pack).unwrap();
    let said = hurt.refusal();
    assert!(
        said.contains(&format!("`{}`: it is gone", pack.display())),
        "{said}"
    );
    assert!(said.contains("sidecargo restore"), "{said}");
    let (place, blobs) = (place(hurt.folder.path()), tests::blobs(hurt.folder.path()));
    let report = verify(&place, &blobs, None, &mut |_| {}).unwrap();
    let what = &report.faults[0].what;
    assert!(
        what.contains(&format!("`{}`: it is gone", pack.display())),
        "{what}"
    );
}

#[tokio::test]
async fn a_folder_of_packs_that_is_gone_is_named() {
    let hurt = Hurt::new().await;
    let packs = hurt.path("objects/pack");
    fs::remove_dir_all(&packs).unwrap();
    let said = hurt.refusal();
    let gone = format!("the folder {} is gone", packs.display());
    assert!(said.contains(&gone), "{said}");
    assert!(!packs.exists(), "nothing shall look whole");
}

#[tokio::test]
async fn a_torn_list_of_other_folders_is_named() {
    let hurt = Hurt::new().await;
    let path = hurt.path("objects/info/alternates");
    fs::write(&path, "/nowhere\n\0\0").unwrap();
    let said = hurt.refusal();
    let torn = format!("`{}` is torn", path.display());
    assert!(said.contains(&torn), "{said}");
    fs::write(&path, "/nowhere\n").unwrap();
    open(hurt.folder.path(), URL).unwrap();
}

#[tokio::test]
async fn an_index_without_its_pack_goes() {
    let hurt = Hurt::new().await;
    let stray = hurt.path(&format!("objects/pack/pack-{}.idx", "0".repeat(40)));
    fs::copy(hurt.newest("idx"), &stray).unwrap();
    hurt.is_whole().await;
    assert!(!stray.exists());
}

#[tokio::test]
async fn what_is_torn_and_lies_whole_in_a_pack_is_taken_away() {
    for tear in TEARS {
        let hurt = Hurt::new().await;
        // Each object also as a file of its own, and in one pack with all others.
        let packs = hurt.path("objects/pack");
        let is_pack = |path: &PathBuf| path.extension().is_some_and(|it| it == "pack");
        let files = || {
            fs::read_dir(&packs)
                .unwrap()
                .map(|entry| entry.unwrap().path())
        };
        let before: Vec<PathBuf> = files().filter(is_pack).collect();
        for pack in &before {
            let mut unpack = Command::new("git");
            unpack
                .args(["unpack-objects", "-q"])
                .stdin(fs::File::open(pack).unwrap());
            // Into another repository: git unpacks nothing that is there.
            let other = hurt.folder.path().join("other.git");
            Command::new("git")
                .args(["init", "-q", "--bare"])
                .arg(&other)
                .status()
                .unwrap();
            assert!(unpack.env("GIT_DIR", &other).status().unwrap().success());
            let copied = Command::new("cp")
                .arg("-r")
                .arg(other.join("objects"))
                .arg(hurt.path(""))
                .status();
            assert!(copied.unwrap().success());
            fs::remove_dir_all(other).unwrap();
        }
        hurt.git(&["repack", "-q", "-a"]);
        for pack in &before {
            hurt.tear(pack, tear);
        }
        let loose = || {
            let folders = fs::read_dir(hurt.path("objects"))
                .unwrap()
                .map(Result::unwrap);
            let folders = folders.filter(|folder| folder.file_name().len() == 2);
            let files = folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap());
            files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
        };
        assert!(loose().len() > 10);
        for file in loose() {
            hurt.tear(&file, tear);
        }
        hurt.is_whole().await;
        assert!(
            before
                .iter()
                .all(|pack| !pack.with_extension("idx").exists())
        );
        assert_eq!(loose(), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn packs_that_are_torn_with_their_indices_are_taken_away_if_others_have_everything() {
    let pack_and_index = ["pack", "idx"];
    for tear in TEARS {
        // The old ones, or the new one, which holds all of the same.
        for is_new in [false, true] {
            let hurt = Hurt::new().await;
            let stems = || -> Vec<PathBuf> {
                let files = fs::read_dir(hurt.path("objects/pack")).unwrap();
                let files = files.map(|entry| entry.unwrap().path());
                let files = files.filter(|path| path.extension().is_some_and(|it| it == "idx"));
                files.map(|path| path.with_extension("")).collect()
            };
            let old = stems();
            hurt.git(&["repack", "-q", "-a"]);
            let torn: Vec<PathBuf> = match is_new {
                true => stems().into_iter().filter(|it| !old.contains(it)).collect(),
                false => old,
            };
            for (stem, end) in torn
                .iter()
                .flat_map(|it| pack_and_index.map(|end| (it, end)))
            {
                let path = stem.with_extension(end);
                let bytes = tear(&fs::read(&path).unwrap());
                // Git leaves it so that nobody may write it.
                fs::remove_file(&path).unwrap();
                fs::write(path, bytes).unwrap();
            }
            hurt.is_whole().await;
            hurt.is_whole_again().await;
            for (stem, end) in torn
                .iter()
                .flat_map(|it| pack_and_index.map(|end| (it, end)))
            {
                assert!(
                    !stem.with_extension(end).exists(),
                    "{}.{end}",
                    stem.display()
                );
            }
        }
    }
}

/// Writes other bytes to a file that git leaves so that nobody may write it.
fn spoil(path: &Path, spoil: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    spoil(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_torn_pack_stays_if_what_has_its_objects_too_is_torn() {
    let hurt = Hurt::new().await;
    hurt.git(&["repack", "-q", "-a"]);
    let packs = place(hurt.folder.path()).packs_and_indices("pack").unwrap();
    for pack in &packs {
        spoil(pack, |bytes| *bytes.last_mut().unwrap() ^= 1);
    }
    let newest = hurt.newest("pack");
    let torn = vec![damage::look_into(&newest).unwrap()];
    let left = place(hurt.folder.path())
        .drop_torn_copies(torn, &[])
        .unwrap();
    assert_eq!(left.len(), 1);
    assert!(packs.iter().all(|pack| pack.with_extension("idx").exists()));
}

#[tokio::test]
async fn a_torn_index_tells_nothing_though_it_can_be_opened() {
    let hurt = Hurt::new().await;
    let files = ["pack", "idx"].map(|end| hurt.newest(end));
    hurt.git(&["repack", "-q", "-a"]);
    spoil(&files[0], |bytes| *bytes.last_mut().unwrap() ^= 1);
    // The end of its first id: head and fan stay.
    spoil(&files[1], |bytes| bytes[8 + 256 * 4 + 19] ^= 1);
    let [pack, index] = files
        .each_ref()
        .map(|path| damage::look_into(path).unwrap());
    let place = place(hurt.folder.path());
    let left = place.drop_torn_copies(vec![pack], &[index]).unwrap();
    assert_eq!(left.len(), 0);
    assert!(!files[1].exists());
}

#[tokio::test]
async fn a_pack_that_is_torn_with_its_index_stays_if_it_may_have_held_the_tip() {
    let hurt = Hurt::new().await;
    let files = ["pack", "idx"].map(|end| hurt.newest(end));
    let older = hurt.git(&["rev-parse", "main^"]);
    hurt.was_shown(&older);
    for path in &files {
        let bytes = TEARS[3](&fs::read(path).unwrap());
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let place = place(hurt.folder.path());
    let fault = |path: &Path| damage::look_into(path).unwrap();
    for tip in ["torn", &hurt.tip.to_string()] {
        fs::write(hurt.path(refs::TIP), format!("{tip}\n")).unwrap();
        let torn = vec![fault(&files[0])];
        let left = place.drop_torn_copies(torn, &[fault(&files[1])]).unwrap();
        assert_eq!(left.len(), 1, "{tip}");
        assert!(files.iter().all(|path| path.exists()));
    }
    // Nothing that is known needs it.
    fs::write(hurt.path(refs::TIP), format!("{older}\n")).unwrap();
    let torn = vec![fault(&files[0])];
    let left = place.drop_torn_copies(torn, &[fault(&files[1])]).unwrap();
    assert!(left.is_empty() && !files[1].exists());
}

#[tokio::test]
async fn a_file_of_a_single_object_stays_if_it_is_whole_or_no_pack_has_the_object() {
    let hurt = Hurt::new().await;
    hurt.strange_child(hurt.tip);
    let alone = hurt.strange_child(hurt.tip).to_string();
    let file = |id: &str| hurt.path(&format!("objects/{}/{}", &id[..2], &id[2..]));
    let torn = file(&alone);
    fs::remove_file(&torn).unwrap();
    fs::write(&torn, "torn").unwrap();
    let packed = hurt.tip.to_string();
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let bytes = hurt.git(&["cat-file", "commit", &packed]) + "\n";
    let object = format!("commit {}\0{bytes}", bytes.len());
    std::io::Write::write_all(&mut encoder, object.as_bytes()).unwrap();
    let whole = file(&packed);
    fs::create_dir_all(whole.parent().unwrap()).unwrap();
    fs::write(&whole, encoder.finish().unwrap()).unwrap();
    fs::write(hurt.path("objects/a-file"), "").unwrap();
    // No file at all, under the name of an object that a pack has.
    let parent = hurt.git(&["rev-parse", &format!("{packed}^")]);
    fs::create_dir_all(file(&parent)).unwrap();
    let place = place(hurt.folder.path());
    assert!(place.drop_torn_copies(Vec::new(), &[]).unwrap().is_empty());
    assert!(torn.exists() && whole.exists());
    // The same file is gone once it is torn.
    fs::write(&whole, "torn").unwrap();
    place.drop_torn_copies(Vec::new(), &[]).unwrap();
    assert!(torn.exists() && !whole.exists());
}

#[tokio::test]
async fn a_torn_pack_is_named_and_nothing_is_served_without_it() {
    for tear in TEARS {
        let hurt = Hurt::new().await;
        let pack = hurt.newest("pack");
        hurt.tear(&pack, tear);
        let said = hurt.refusal();
        let name = format!("`{}`: it is torn", pack.display());
        assert!(said.contains(&name), "{said}");
        assert!(said.contains("sidecargo restore"), "{said}");
    }
}

#[tokio::test]
async fn a_start_names_new_packs_that_are_torn_and_looks_into_none_that_are_large() {
    let hurt = Hurt::new().await;
    let named = || {
        let damaged = place(hurt.folder.path()).newest_damaged_packs().unwrap();
        damaged.iter().map(ToString::to_string).collect::<String>()
    };
    assert_eq!(named(), "");
    let path = hurt.newest("pack");
    hurt.tear(&path, TEARS[3]);
    let pack = fs::File::options().write(true).open(&path).unwrap();
    for bytes in [1 << 20, 64 << 20] {
        pack.set_len(bytes).unwrap();
        assert!(named().contains(path.to_str().unwrap()), "{bytes}");
    }
    pack.set_len((64 << 20) + 1).unwrap();
    assert_eq!(named(), "");
}

#[tokio::test]
async fn a_broken_object_of_an_old_pack_is_named_and_what_needs_it_is_not_served() {
    let hurt = Hurt::new().await;
    // A file that the first commit brought and that no later one changed.
    let policy = hurt.git(&["rev-parse", "main:policy.toml"]);
    hurt.git(&["repack", "-a", "-d", "--quiet"]);
    let index = open(hurt.folder.path(), URL).unwrap();
    publish_on(&index, "3.0.0").await;
    drop(index);
    let listing = Command::new("git")
        .args(["verify-pack", "-v"])
        .arg(oldest_of(&hurt))
        .output()
        .unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let entry = listing
        .lines()
        .find(|line| line.starts_with(&policy))
        .unwrap();
    let numbers: Vec<usize> = entry
        .split(' ')
        .filter_map(|part| part.parse().ok())
        .collect();
    let (size, at) = (numbers[numbers.len() - 2], numbers[numbers.len() - 1]);
    let pack = oldest_of(&hurt).with_extension("pack");
    let mut bytes = fs::read(&pack).unwrap();
    bytes[at + size / 2] ^= 0xff;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    let said = hurt.refusal();
    assert!(said.contains("policy.toml"), "{said}");
    assert!(said.contains(&pack.display().to_string()), "{said}");
}

/// The index of the pack with the most objects.
fn oldest_of(hurt: &Hurt) -> PathBuf {
    let entries = fs::read_dir(hurt.path("objects/pack")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let indices = paths.filter(|path| path.extension().is_some_and(|it| it == "idx"));
    indices
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

#[tokio::test]
async fn what_is_wrong_though_every_pack_is_whole_is_blamed_on_no_pack() {
    let hurt = Hurt::new().await;
    let place = place(hurt.folder.path());
    let broken = || {
        OpenFault::Load(LoadFault::Broken {
            path: "1/a".to_owned(),
            reason: "it is odd".to_owned(),
        })
    };
    let closed = || {
        OpenFault::Load(LoadFault::Closed {
            what: "the commit".to_owned(),
            git_dir: place.git_dir.clone(),
            cause: io::Error::other("a file of it may not be read"),
        })
    };
    for fault in [broken(), closed()] {
        assert!(matches!(place.explain(fault), OpenFault::Load(_)));
    }
    // It may be a matter of this machine.
    let unread = OpenFault::Load(LoadFault::Git {
        what: "the commit".to_owned(),
        git_dir: place.git_dir.display().to_string(),
        cause: "too many open files".to_owned(),
    });
    let said = place.explain(unread).to_string();
    assert!(
        said.contains("only if `git fsck` misses something"),
        "{said}"
    );
    hurt.tear(&hurt.newest("pack"), TEARS[1]);
    for fault in [broken(), closed()] {
        let fault = place.explain(fault);
        assert!(!matches!(fault, OpenFault::Load(_)), "{fault}");
    }
}

#[tokio::test]
async fn an_index_that_is_lost_beside_a_whole_pack_is_named_with_its_cure() {
    let hurt = Hurt::new().await;
    let place = place(hurt.folder.path());
    let (pack, index) = (hurt.newest("pack"), hurt.newest("idx"));
    let lost = || {
        let lost = place.lost_indices().into_iter();
        lost.map(|it| (it.path, it.reason)).collect::<Vec<_>>()
    };
    assert_eq!(lost(), []);
    hurt.tear(&index, TEARS[1]);
    let cure = "; a start of the server makes it again";
    let [(path, reason)] = &lost()[..] else {
        panic!("{:?}", lost())
    };
    assert!(*path == index && reason.ends_with(cure), "{reason}");
    fs::remove_file(&index).unwrap();
    assert_eq!(lost(), [(index, format!("it is gone{cure}"))]);
    // What is to blame is the pack.
    hurt.tear(&pack, TEARS[1]);
    assert_eq!(lost(), []);
}

#[tokio::test]
async fn a_missing_pack_is_told_as_one() {
    let hurt = Hurt::new().await;
    let pack = hurt.newest("pack");
    fs::remove_file(&pack).unwrap();
    let said = hurt.refusal();
    assert!(said.contains(&hurt.tip.to_string()), "{said}");
    let name = format!("`{}`: it is gone", pack.display());
    assert!(said.contains(&name), "{said}");
    assert!(said.contains("sidecargo restore"), "{said}");

    // With the tip and what clients of git saw last, only the pack's index still tells of it.
    let hurt = Hurt::new().await;
    let before = hurt.git(&["rev-parse", "main~1"]);
    fs::remove_file(hurt.newest("pack")).unwrap();
    hurt.tear(&hurt.path(refs::TIP), TEARS[0]);
    hurt.was_shown(&before);
    let said = hurt.refusal();
    assert!(said.contains(".idx` is not there"), "{said}");
}

#[tokio::test]
async fn a_clock_that_jumps_hurts_no_commit_and_no_line() {
    let hurt = Hurt::new().await;
    let index = open(hurt.folder.path(), URL).unwrap();
    // A clock without a battery, one of the next century, one that is right again.
    for (number, seconds) in [0, 4_102_444_800, 1_790_000_100].into_iter().enumerate() {
        let action = publish("a", &format!("3.{number}.0"), 1);
        let at = jiff::Timestamp::from_second(seconds).unwrap();
        let change = Change {
            at,
            ..change("alice", action)
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        index.submit(change, deadline).await.unwrap();
        let time = hurt.git(&["log", "-1", "--format=%ct %at", "main"]);
        assert_eq!(time, format!("{seconds} {seconds}"));
    }
    let tip = index.snapshot().commit();
    drop(index);
    let subjects = hurt.git(&["log", "--first-parent", "--format=%s", "main"]);
    assert_eq!(subjects.lines().count(), 6, "{subjects}");
    hurt.git(&["fsck", "--strict", "--full"]);
    // All that git gives a client that has the commit before the jumps.
    let range = format!("{}..main", hurt.tip);
    assert_eq!(hurt.git(&["rev-list", "--count", &range]), "3");
    let index = open(hurt.folder.path(), URL).unwrap();
    assert_eq!(index.snapshot().commit(), tip);
    publish_on(&index, "4.0.0").await;
}

#[test]
fn a_pack_that_went_meanwhile_is_not_damaged_and_one_that_cannot_be_read_is() {
    let folder = tempfile::tempdir().unwrap();
    assert!(damage::look_into(&folder.path().join("pack-0.pack")).is_none());
    let unreadable = damage::look_into(folder.path()).unwrap();
    assert!(
        unreadable.to_string().contains("cannot be read"),
        "{unreadable}"
    );
}

#[test]
fn an_empty_file_cuts_no_history_off() {
    let folder = tempfile::tempdir().unwrap();
    let shallow = folder.path().join("shallow");
    for (text, cuts) in [("", None), ("0\n", Some(shallow.clone()))] {
        fs::write(&shallow, text).unwrap();
        assert_eq!(history::cut_off_by(folder.path()), cuts);
    }
}
