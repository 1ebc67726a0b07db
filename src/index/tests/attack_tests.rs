//! Commits that no honest git makes: nothing of them is ever served, and the writer goes on after them.

use std::process::Stdio;

use super::*;

/// One entry of a folder: mode, name and object.
type Entry = (Vec<u8>, Vec<u8>, String);

impl Fixture {
    /// Runs git with bytes as its input.
    fn feed(&self, args: &[&str], input: &[u8]) -> String {
        let mut child = Command::new("git")
            .arg("--git-dir")
            .arg(self.folder.path().join("index.git"))
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes an object as it is, however broken.
    fn object(&self, kind: &str, bytes: &[u8]) -> String {
        let args = ["hash-object", "--literally", "-t", kind, "-w", "--stdin"];
        self.feed(&args, bytes)
    }

    fn tree(&self, entries: &[Entry]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(mode);
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            let hex = |at: usize| u8::from_str_radix(&id[at..at + 2], 16).unwrap();
            bytes.extend((0..40).step_by(2).map(hex));
        }
        self.object("tree", &bytes)
    }

    /// The entries of a folder of the branch.
    fn entries(&self, folder: &str) -> Vec<Entry> {
        let listing = self.git(&["ls-tree", &format!("main:{folder}")]);
        let entry = |line: &str| {
            let (head, name) = line.split_once('\t').unwrap();
            let words: Vec<&str> = head.split(' ').collect();
            let mode = words[0].trim_start_matches('0').as_bytes().to_vec();
            (mode, name.as_bytes().to_vec(), words[2].to_owned())
        };
        listing.lines().map(entry).collect()
    }

    /// The bytes of a commit with this folder on the branch.
    fn commit_on_branch(&self, tree: &str, more: &str, message: &str) -> String {
        let parent = self.git(&["rev-parse", "main"]);
        let who = "admin <admin@localhost> 1790000000 +0000";
        format!("tree {tree}\nparent {parent}author {who}\ncommitter {who}\n{more}\n{message}")
    }

    fn blob_of(&self, path: &str) -> String {
        self.git(&["rev-parse", &format!("main:{path}")])
            .trim()
            .to_owned()
    }

    async fn look(&self) -> Result<Landed, WriteFault> {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.index.look(deadline).await
    }

    /// Panics unless the branch is not followed to the commit, and is once it is back; gives the reason.
    async fn refuses(&self, commit: &str) -> String {
        let good = self.git(&["rev-parse", "main"]);
        self.git(&["update-ref", "refs/heads/main", commit]);
        let looked = self.look().await;
        let Err(WriteFault::Unavailable(reason)) = looked else {
            panic!("{looked:?}");
        };
        assert_eq!(self.git(&["rev-parse", refs::SERVED]), good);
        assert_eq!(self.index.snapshot().commit().to_string(), good.trim());
        self.git(&["update-ref", "refs/heads/main", good.trim()]);
        self.look().await.unwrap();
        reason
    }

    async fn refuses_root(&self, root: &[Entry], said: &str) {
        let tree = self.tree(root);
        let commit = self.commit_on_branch(&tree, "", "by hand\n");
        let commit = self.object("commit", commit.as_bytes());
        let reason = self.refuses(&commit).await;
        assert!(reason.contains(said), "{reason}");
    }
}

fn entry(mode: &str, name: &[u8], id: &str) -> Entry {
    (mode.into(), name.to_vec(), id.to_owned())
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|(mode, name, _)| {
        let end: &[u8] = if mode == b"40000" { b"/" } else { b"" };
        [name, end].concat()
    });
    entries
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let action = publish("a", "1.0.0", 1);
    fixture.lands("alice", action).await;
    fixture
}

const NOT_A_FOLDER: &str = "`/` cannot be used: it is not a folder as git writes it";

#[tokio::test]
async fn a_name_with_a_slash_is_no_way_into_another_folder() {
    let fixture = fixture().await;
    let owners = fixture.object("blob", b"users = [{ login = \"mallory\" }]\n");
    let lines = fixture.git(&["show", "main:1/a"]);
    let flipped = lines.replace("\"yanked\":false", "\"yanked\":true");
    assert_ne!(lines, flipped);
    let flipped = fixture.object("blob", flipped.as_bytes());
    for (name, id) in [("owners/1/a.toml", &owners), ("1/a", &flipped)] {
        let mut root = fixture.entries("");
        root.push(entry("100644", name.as_bytes(), id));
        fixture.refuses_root(&sorted(root), NOT_A_FOLDER).await;
    }
    let snapshot = fixture.index.snapshot();
    let krate = snapshot.find(&"a".parse().unwrap()).unwrap();
    assert_eq!(krate.owners.names(), "alice");
    assert!(!krate.releases()[0].yanked);
}

#[tokio::test]
async fn folders_that_git_would_not_write_are_refused() {
    let fixture = fixture().await;
    let readme = fixture.blob_of("README.md");
    let folder = fixture.blob_of("1");
    let root = || fixture.entries("");
    let with = |more: Entry| sorted([root(), vec![more]].concat());
    let moded = |name: &str, mode: &str| {
        let mut root = root();
        let entry = root.iter_mut().find(|entry| entry.1 == name.as_bytes());
        entry.unwrap().0 = mode.into();
        root
    };
    let not_a_file = "is not a plain file";
    let reversed = root().into_iter().rev().collect::<Vec<_>>();
    let twice = [root(), root()].concat();
    let no_commit = "1".repeat(40);
    let cases = [
        (with(entry("100644", b"", &readme)), NOT_A_FOLDER),
        (reversed, NOT_A_FOLDER),
        (twice, NOT_A_FOLDER),
        (
            with(entry("100644", b".git", &readme)),
            "`.git` does not belong",
        ),
        (
            with(entry("40000", b"..", &folder)),
            "`../a` does not belong",
        ),
        (
            with(entry("40000", b"README.md", &folder)),
            "`README.md/a` does not belong",
        ),
        (with(entry("100644", b"1", &readme)), "`1` was removed"),
        (moded("README.md", "100664"), not_a_file),
        (moded("README.md", "0100644"), not_a_file),
        (moded("README.md", "120000"), not_a_file),
        (moded("1", "040000"), not_a_file),
        (with(entry("160000", b"module", &no_commit)), not_a_file),
        (vec![], "`.gitattributes` was removed"),
        (
            with(entry("100644", b"\x1b[2J\xff\n", &readme)),
            "`\\u{1b}[2J\u{fffd}\\n` does not belong",
        ),
    ];
    for (root, said) in cases {
        fixture.refuses_root(&root, said).await;
    }
    // A file where an object is no file, and a folder that is not there.
    let mut root = root();
    let lines = root.iter_mut().find(|entry| entry.1 == b"README.md");
    lines.unwrap().2 = folder;
    fixture.refuses_root(&root, "it is a tree of").await;
    let mut root = fixture.entries("");
    root.iter_mut().find(|entry| entry.1 == b"1").unwrap().2 = no_commit;
    fixture.refuses_root(&root, "is not there").await;
}

#[tokio::test]
async fn a_small_push_that_names_one_file_many_times_ends_at_the_first() {
    let fixture = fixture().await;
    // 300 folders of 300 folders of 300 files, all the same: three objects.
    let file = fixture.object("blob", b"");
    let many = |mode: &str, id: &str| -> Vec<Entry> {
        let name = |at: usize| format!("{:02}{at:03}", at % 89);
        let entry = |at| entry(mode, name(at).as_bytes(), id);
        sorted((0..300).map(entry).collect())
    };
    let files = fixture.tree(&many("100644", &file));
    let folders = fixture.tree(&many("40000", &files));
    let root = [fixture.entries(""), many("40000", &folders)].concat();
    let said = "`00000/00000/00000` does not belong into an index";
    fixture.refuses_root(&sorted(root), said).await;
}

#[tokio::test]
async fn what_a_commit_says_of_itself_makes_it_not_the_registrys() {
    let fixture = fixture().await;
    let ours = fixture.git(&["cat-file", "commit", "main"]);
    let (_, signature) = ours.split_once("gpgsig ").unwrap();
    let (signature, _) = signature.split_once("\n\n").unwrap();
    let signature = format!("gpgsig {signature}\n");
    let config = fixture.object("blob", b"{\"dl\":\"http://localhost:9\"}\n");
    let mut root = fixture.entries("");
    let entry = root.iter_mut().find(|entry| entry.1 == b"config.json");
    entry.unwrap().2 = config;
    let root = fixture.tree(&root);
    let twice = signature.repeat(2);
    let unended = signature.replace("-----END SSH SIGNATURE-----\n", "\n");
    let huge = format!("gpgsig {}\n", "A".repeat(100_000));
    for header in [
        "",
        &signature,
        &twice,
        &unended,
        &huge,
        "gpgsig\n",
        "mergetag x\n",
    ] {
        let commit = fixture.commit_on_branch(&root, header, "publish a 1.1.0\n\nCrate: a\n");
        let commit = fixture.object("commit", commit.as_bytes());
        let reason = fixture.refuses(&commit).await;
        let said = [
            "`config.json` was changed",
            "object parsing failed",
            "bears a signature of the registry that is not its own",
        ];
        assert!(said.iter().any(|said| reason.contains(said)), "{reason}");
    }
    // Not even a commit: said so, and no end of the writer.
    let times = ["-1", "99999999999999999999", "", "x"];
    for time in times {
        let commit = fixture.commit_on_branch(&root, "", "by\0hand\n");
        let commit = commit.replace("1790000000", time);
        let commit = fixture.object("commit", commit.as_bytes());
        fixture.refuses(&commit).await;
    }
    for bytes in ["", "tree x\n", "\0", "tree \nparent \n\n"] {
        let commit = fixture.object("commit", bytes.as_bytes());
        fs::write(
            fixture.folder.path().join("index.git").join(refs::TIP),
            format!("{commit}\n"),
        )
        .unwrap();
        assert!(fixture.look().await.is_err());
    }
}

#[tokio::test]
async fn odd_refs_are_no_branch() {
    let fixture = fixture().await;
    let good = fixture.git(&["rev-parse", "main"]).trim().to_owned();
    let path = fixture.folder.path().join("index.git").join(refs::TIP);
    fixture.git(&["update-ref", "refs/heads/other", "main"]);
    let blob = fixture.blob_of("README.md");
    let odd = [
        "ref: refs/heads/other\n",
        "",
        "0",
        blob.trim(),
        &"1".repeat(40),
        "\0",
    ];
    for text in odd {
        fs::write(&path, text).unwrap();
        let fault = fixture.look().await.unwrap_err().to_string();
        if text.len() == 40 {
            let way_back = format!(
                "no commit that is here; put it back: `git update-ref refs/heads/main {good}`"
            );
            assert!(fault.contains(&way_back), "{fault}");
            fixture.git(&["update-ref", "refs/heads/main", &good]);
            fixture.look().await.unwrap();
        }
        assert_eq!(fixture.index.snapshot().commit().to_string(), good);
    }
    fs::remove_file(&path).unwrap();
    let gone = fixture.look().await.unwrap_err().to_string();
    assert!(
        gone.contains(&format!(
            "the branch refs/heads/main is gone; put it back: `git update-ref refs/heads/main {good}`"
        )),
        "{gone}"
    );
    fs::create_dir(&path).unwrap();
    let odd = fixture.look().await.unwrap_err().to_string();
    let parts = [
        &path.display().to_string(),
        "move away what is there",
        &good,
    ];
    assert!(parts.iter().all(|part| odd.contains(*part)), "{odd}");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, format!("{good}\n")).unwrap();
    fixture.look().await.unwrap();
    // Git packs refs away.
    fixture.git(&["pack-refs", "--all"]);
    assert!(!path.exists());
    fixture.look().await.unwrap();
    let action = publish("a", "1.1.0", 2);
    fixture.lands("alice", action).await;
}

#[tokio::test]
async fn what_clients_of_git_see_is_put_back_if_somebody_moves_it() {
    let fixture = fixture().await;
    let good = fixture.git(&["rev-parse", "main"]);
    let first = fixture.git(&["rev-parse", "main^"]);
    fixture.git(&["update-ref", refs::SERVED, first.trim()]);
    let head = fixture
        .folder
        .path()
        .join("index.git")
        .join(refs::SERVED_HEAD);
    let points = fs::read(&head).unwrap();
    fs::remove_file(&head).unwrap();
    fixture.look().await.unwrap();
    assert_eq!(fixture.git(&["rev-parse", refs::SERVED]), good);
    assert_eq!(fs::read(&head).unwrap(), points);
}

#[tokio::test]
async fn who_moves_all_refs_moves_nothing_that_is_served() {
    let mut fixture = fixture().await;
    let good = fixture.git(&["rev-parse", "main"]);
    // Without the crate, and unsigned, as a filter makes it.
    let entries = fixture.entries("");
    let rest: Vec<Entry> = { entries.into_iter() }
        .filter(|(_, name, _)| {
            !["1", "owners"]
                .map(str::as_bytes)
                .contains(&name.as_slice())
        })
        .collect();
    let tree = fixture.tree(&rest);
    let on = fixture.commit_on_branch(&tree, "", "filtered\n");
    let alone = on.lines().filter(|line| !line.starts_with("parent"));
    let alone = alone.map(|line| format!("{line}\n")).collect::<String>();
    for commit in [on, alone] {
        let commit = fixture.object("commit", commit.as_bytes());
        for name in ["refs/heads/main", refs::SERVED] {
            fixture.git(&["update-ref", name, &commit]);
        }
        for _ in 0..2 {
            let fault = fixture.look().await.unwrap_err().to_string();
            assert!(fault.contains(&commit), "{fault}");
            assert_eq!(fixture.git(&["rev-parse", refs::SERVED]), good);
            assert_eq!(fixture.index.snapshot().commit().to_string(), good.trim());
            // Now while nobody looks.
            let Fixture { folder, index } = fixture;
            drop(index);
            let moved = Command::new("git")
                .arg("--git-dir")
                .arg(folder.path().join("index.git"))
                .args(["update-ref", refs::SERVED, &commit])
                .status();
            assert!(moved.unwrap().success());
            let index = open(folder.path(), "http://localhost:1").unwrap();
            fixture = Fixture { folder, index };
        }
        fixture.git(&["update-ref", "refs/heads/main", good.trim()]);
        fixture.look().await.unwrap();
    }
}

#[tokio::test]
async fn a_push_that_holds_the_lock_is_waited_for() {
    let fixture = fixture().await;
    let lock = refs::lock_of_tip(&place(fixture.folder.path()).git_dir);
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    fs::write(&lock, "").unwrap();
    let release = std::thread::spawn({
        let lock = lock.clone();
        move || {
            receiver.recv().unwrap();
            fs::remove_file(lock).unwrap();
        }
    });
    let submit = fixture.submit("alice", publish("a", "1.1.0", 2));
    let mut submit = std::pin::pin!(submit);
    assert!(futures_util::poll!(&mut submit).is_pending());
    sender.send(()).unwrap();
    submit.await.unwrap();
    release.join().unwrap();
    // One that stays is named.
    fs::write(&lock, "").unwrap();
    let held = fixture.submit("alice", publish("a", "1.2.0", 3)).await;
    let held = held.unwrap_err().to_string();
    assert!(held.contains("main.lock is there"), "{held}");
}

#[tokio::test]
async fn a_history_that_does_not_begin_with_an_index_is_a_fault_of_its_first_commit() {
    let fixture = fixture().await;
    let who = "admin <admin@localhost> 1790000000 +0000";
    let tree = fixture.tree(&[]);
    let bytes = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\nnothing\n");
    let first = fixture.object("commit", bytes.as_bytes());
    fixture.git(&["update-ref", "refs/heads/main", &first]);
    let (place, first) = (place(fixture.folder.path()), first.parse().unwrap());
    let blobs = blobs(fixture.folder.path());
    let report = verify(&place, &blobs, None, &mut |_| {}).unwrap();
    // It bears no signature either, but nothing in it says whose that should be.
    assert_eq!(report.faults_found, 1);
    assert_eq!(report.faults[0].commit, first);
    assert!(report.faults[0].look.contains(" fsck "));
    let since = verify(&place, &blobs, Some(first), &mut |_| {});
    assert!(matches!(since, Err(VerifyFault::Since { since, .. }) if since == first));
}

#[tokio::test]
async fn what_people_took_back_is_read_in_all_its_folders_unless_it_is_taken_for_good() {
    // Without crates, whose files would be looked for too.
    let fixture = Fixture::new();
    let place = place(fixture.folder.path());
    let blobs = blobs(fixture.folder.path());
    let commit = |tree: &str| {
        let bytes = fixture.commit_on_branch(tree, "", "by hand");
        let id = fixture.object("commit", bytes.as_bytes());
        fixture.git(&["update-ref", "refs/heads/main", &id]);
        id.parse::<crate::domain::CommitId>().unwrap()
    };
    let good = fixture.git(&["rev-parse", "main^{tree}"]).trim().to_owned();
    let mut entries = fixture.entries("");
    let lost = fixture.tree(&[entry("100644", b"lost", &"1".repeat(40))]);
    let folder = fixture.tree(&[entry("40000", b"deep", &lost)]);
    entries.push(entry("40000", b"more", &folder));
    let bad = commit(&fixture.tree(&sorted(entries)));
    let reverted = commit(&good);
    let last = commit(&good);
    let report = verify(&place, &blobs, None, &mut |_| {}).unwrap();
    assert_eq!(report.tip, Some(last));
    assert_eq!(report.faults_found, 1, "{:?}", report.faults);
    assert_eq!(report.faults[0].commit, bad);
    assert!(
        report.faults[0].what.contains("`lost`"),
        "{:?}",
        report.faults
    );
    let report = verify(&place, &blobs, Some(reverted), &mut |_| {}).unwrap();
    assert_eq!(report.faults_found, 0, "{:?}", report.faults);
}
