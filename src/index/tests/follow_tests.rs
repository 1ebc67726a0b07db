//! Commits that people push, judged while the registry runs.

use std::os::unix::fs::PermissionsExt;

use super::*;

impl Fixture {
    /// A clone of the repository.
    fn clone_of(&self) -> Clone {
        let folder = tempfile::tempdir().unwrap();
        let clone = Clone {
            path: folder.path().join("clone"),
            _folder: folder,
        };
        let origin = self.folder.path().join("index.git");
        git_in(
            folder_of(&clone.path),
            &["clone", "--quiet", origin.to_str().unwrap(), "clone"],
        );
        clone
    }

    /// Whether a change of the registry's own can be written; the reason if not.
    async fn writes(&self) -> Result<(), String> {
        match self.submit("alice", yank("a", "1.0.0", false)).await {
            Ok(_) => Ok(()),
            Err(WriteFault::Unavailable(reason)) => Err(reason),
            Err(other) => panic!("{other}"),
        }
    }

    fn tip(&self) -> String {
        self.git(&["rev-parse", "main"]).trim().to_owned()
    }

    fn served(&self) -> String {
        self.git(&["rev-parse", refs::SERVED]).trim().to_owned()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap()
}

struct Clone {
    path: PathBuf,
    _folder: TempDir,
}

impl Clone {
    fn git(&self, args: &[&str]) -> String {
        git_in(&self.path, args)
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        fs::write(self.path.join(path), text).unwrap();
        self
    }

    fn replace(&self, path: &str, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.path.join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from}");
        self.write(path, &text.replace(from, to))
    }

    /// Pushes what is no fast-forward, as somebody can who reaches the files.
    fn force(&self, what: &str) {
        let receive = "--receive-pack=git -c receive.denyNonFastForwards=false receive-pack";
        self.git(&["push", "--quiet", "--force", receive, "origin", what]);
    }

    /// Commits all that differs; the commit.
    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "by hand"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// The same, and pushes it.
    fn push(&self) -> String {
        let commit = self.commit();
        self.git(&["push", "--quiet", "origin", "HEAD:main"]);
        commit
    }
}

fn git_in(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args([
            "-c",
            "user.name=admin",
            "-c",
            "user.email=admin@example.com",
        ])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// With `a 1.0.0`, which is yanked.
async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    for action in [publish("a", "1.0.0", 1), yank("a", "1.0.0", true)] {
        fixture.lands("alice", action).await;
    }
    fixture
}

#[tokio::test]
async fn what_people_may_do_is_followed_and_built_upon() {
    let fixture = fixture().await;
    let clone = fixture.clone_of();
    clone.replace("1/a", "\"yanked\":true", "\"yanked\":false");
    clone.replace("owners/1/a.toml", "alice", "bob");
    let theirs = clone.push();

    // The push is seen before the change is judged: alice is no longer an owner.
    let refusal = fixture.is_refused("alice", publish("a", "1.1.0", 2)).await;
    assert!(matches!(refusal, Refusal::NotAnOwner { .. }), "{refusal}");
    assert_eq!(fixture.served(), theirs);
    let snapshot = fixture.index.snapshot();
    assert_eq!(snapshot.commit().to_string(), theirs);
    let krate = snapshot.find(&"a".parse().unwrap()).unwrap();
    assert!(!krate.releases()[0].yanked);

    fixture.lands("bob", publish("a", "1.1.0", 2)).await;
    assert_eq!(fixture.git(&["rev-parse", "main^"]).trim(), theirs);
    fixture.git(&["fsck", "--strict"]);
}

#[tokio::test]
async fn what_was_acknowledged_before_a_bad_commit_is_served_after_a_power_cut() {
    let mut fixture = fixture().await;
    let git_dir = fixture.folder.path().join("index.git");
    // These two are not flushed: a power cut can leave them as they were some changes ago.
    let unflushed = ["sidecargo-shown", refs::SERVED].map(|name| git_dir.join(name));
    let before = unflushed.each_ref().map(|path| fs::read(path).unwrap());
    let operation = Operation::RevokeToken {
        id: [7; 16].into(),
        until: jiff::Timestamp::MAX,
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let (at, index) = (jiff::Timestamp::UNIX_EPOCH, &fixture.index);
    index.operate(operation, at, deadline).await.unwrap();
    let acknowledged = fixture.submit("alice", publish("a", "1.1.0", 2)).await;
    let acknowledged = acknowledged.unwrap().commit;
    let bad = fixture.clone_of().write("config.json", "{}").push();
    assert!(fixture.writes().await.unwrap_err().contains(&bad));

    let folder = std::mem::replace(&mut fixture.folder, tempfile::tempdir().unwrap());
    drop(fixture);
    for (path, bytes) in unflushed.iter().zip(before) {
        fs::write(path, bytes).unwrap();
    }
    let index = open(folder.path(), "http://localhost:1").unwrap();
    let fixture = Fixture { folder, index };
    let snapshot = fixture.index.snapshot();
    assert_eq!(snapshot.commit(), acknowledged);
    assert!(snapshot.registry().revoked.contains(&[7; 16].into()));
    assert_eq!(fixture.served(), acknowledged.to_string());
    assert_eq!(fixture.tip(), bad);
    assert!(fixture.writes().await.unwrap_err().contains(&bad));
    assert_eq!(
        refs::remembered(&fixture.folder.path().join("index.git")),
        Some(acknowledged)
    );
}

#[tokio::test]
async fn a_push_that_is_there_is_not_taken_for_lost() {
    let fixture = fixture().await;
    let place = place(fixture.folder.path());
    let [before, tip] = ["main~1", "main"].map(|it| fixture.git(&["rev-parse", it]));
    let [before, tip] = [before, tip].map(|id| id.trim().parse().unwrap());
    place.remember_push(before, tip).unwrap();
    assert_eq!(place.before_lost_push().unwrap(), None);
    assert_eq!(place.newest_good().unwrap(), tip);
}

#[tokio::test]
async fn a_push_whose_pack_a_power_cut_took_keeps_the_registry_from_nothing_but_writing() {
    let mut fixture = fixture().await;
    let good = fixture.tip();
    let git_dir = fixture.folder.path().join("index.git");
    let all = || {
        let entries = fs::read_dir(git_dir.join("objects/pack")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let packs = paths.filter(|path| path.extension().is_some_and(|it| it == "pack"));
        packs
            .filter(|path| path.with_extension("idx").exists())
            .collect::<Vec<_>>()
    };
    let before = all();
    let bad = fixture.clone_of().write("1/a", "").push();
    fixture.writes().await.unwrap_err();
    let older = fixture.git(&["rev-parse", "main~2"]);
    let folder = std::mem::replace(&mut fixture.folder, tempfile::tempdir().unwrap());
    drop(fixture);
    let theirs = { all().into_iter() }
        .find(|path| !before.contains(path))
        .unwrap();
    fs::remove_file(&theirs).unwrap();
    for unflushed in ["sidecargo-shown", refs::SERVED] {
        fs::write(git_dir.join(unflushed), &older).unwrap();
    }

    // Of all that is known it may be a pack of ours that is gone.
    let said = open(folder.path(), "http://localhost:1").err().unwrap();
    let said = writer::chain(&said);
    assert!(said.contains(theirs.to_str().unwrap()), "{said}");
    let place = place(folder.path());
    let (at, to) = (good.parse().unwrap(), bad.parse().unwrap());
    place.remember_push(at, to).unwrap();
    assert_eq!(place.newest_good().unwrap(), at);
    // Nothing that stands on what is lost takes its place.
    place.remember_push(to, at).unwrap_err();
    assert_eq!(place.newest_good().unwrap(), at);

    let index = open(folder.path(), "http://localhost:1").unwrap();
    let mut fixture = Fixture { folder, index };
    assert_eq!(
        (fixture.served(), fixture.tip()),
        (good.clone(), bad.clone())
    );
    let reason = fixture.writes().await.unwrap_err();
    assert!(reason.contains(&bad) && reason.contains(&good), "{reason}");
    fixture.git(&["update-ref", refs::TIP, &good]);
    fixture.writes().await.unwrap();
    let folder = std::mem::replace(&mut fixture.folder, tempfile::tempdir().unwrap());
    drop(fixture);
    drop(open(folder.path(), "http://localhost:1").unwrap());
    assert!(!theirs.with_extension("idx").exists());
}

#[tokio::test]
async fn what_people_pushed_stands_in_a_pack_of_ours() {
    let fixture = fixture().await;
    // As git does where nobody told it otherwise.
    fixture.git(&["config", "transfer.unpackLimit", "100"]);
    let clone = fixture.clone_of();
    let theirs = clone.write("README.md", "hello\n").push();
    fixture.lands("alice", publish("b", "1.0.0", 2)).await;
    // Without the files that git wrote when it took the push.
    let loose = fixture
        .folder
        .path()
        .join("index.git/objects")
        .join(&theirs[..2]);
    assert!(
        loose.join(&theirs[2..]).exists(),
        "git keeps small pushes loose"
    );
    fixture.git(&["prune-packed"]);
    assert!(!loose.join(&theirs[2..]).exists(), "it is in no pack");
    fixture.git(&["fsck", "--strict"]);
}

#[tokio::test]
async fn what_the_registry_itself_made_stands_in_a_pack_of_ours_too_if_people_push_it() {
    let mut fixture = fixture().await;
    // As after a restore, when somebody has what came later.
    let earlier = fixture.tip();
    fixture.writes().await.unwrap();
    let clone = fixture.clone_of();
    let later = fixture.tip();
    let folder = std::mem::replace(&mut fixture.folder, tempfile::tempdir().unwrap());
    drop(fixture);
    let restored = tempfile::tempdir().unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-a")
        .arg(folder.path().join("."))
        .arg(restored.path());
    assert!(copy.status().unwrap().success());
    let git_dir = restored.path().join("index.git");
    fs::remove_dir_all(&git_dir).unwrap();
    let of_earlier = format!("{earlier}:refs/heads/main");
    git_in(
        restored.path(),
        &[
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            "index.git",
        ],
    );
    clone.git(&["push", "--quiet", git_dir.to_str().unwrap(), &of_earlier]);
    let index = open(restored.path(), "http://localhost:1").unwrap();
    let fixture = Fixture {
        folder: restored,
        index,
    };

    fixture.git(&["config", "transfer.unpackLimit", "100"]);
    let main = "HEAD:refs/heads/main";
    clone.git(&["push", "--quiet", git_dir.to_str().unwrap(), main]);
    let git_dir = fixture.folder.path().join("index.git");
    let loose = git_dir.join("objects").join(&later[..2]).join(&later[2..]);
    assert!(loose.exists(), "git keeps small pushes loose");
    fixture.lands("alice", publish("b", "1.0.0", 2)).await;
    fixture.git(&["prune-packed"]);
    assert!(!loose.exists(), "it is in no pack");
    fixture.git(&["fsck", "--strict"]);
}

#[tokio::test]
async fn what_people_may_not_do_is_never_shown_and_a_revert_heals_it() {
    let fixture = fixture().await;
    let good = fixture.tip();
    let clone = fixture.clone_of();
    let bad = clone.write("1/a", "").push();
    let reason = fixture.writes().await.unwrap_err();
    assert_eq!(
        reason,
        format!(
            "commit {bad} breaks a rule of the index: `1/a` has lost the line of version `1.0.0`; put it back, and yank the version if nobody shall use it; revert it, and the index goes on"
        )
    );
    assert_eq!(fixture.index.stall().unwrap().reason, reason);
    // However often it is looked at.
    fixture.writes().await.unwrap_err();
    assert_eq!(fixture.index.measures().violations.get(), 1);
    assert_eq!((fixture.served(), fixture.tip()), (good.clone(), bad));
    assert_eq!(fixture.index.snapshot().commit().to_string(), good);

    clone.git(&["revert", "--no-edit", "HEAD"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    fixture.writes().await.unwrap();
    assert!(fixture.index.stall().is_none());
    assert_eq!(
        fixture.git(&["rev-parse", "main~2"]).trim(),
        fixture.git(&["rev-parse", "main^^"]).trim()
    );
}

#[tokio::test]
async fn who_waits_for_a_move_hears_that_the_branch_is_good_again_where_it_was() {
    let fixture = fixture().await;
    let good = fixture.tip();
    fixture.clone_of().write("1/a", "").push();
    fixture.writes().await.unwrap_err();
    let mut moves = fixture.index.moves();
    moves.borrow_and_update();
    fixture.git(&["update-ref", refs::TIP, &good]);
    let deadline = Instant::now() + Duration::from_secs(60);
    fixture.index.look(deadline).await.unwrap();
    assert!(moves.has_changed().unwrap());
    assert_eq!(moves.borrow().commit().to_string(), good);
}

#[tokio::test]
async fn of_commits_that_come_together_the_one_is_named_whose_revert_heals() {
    let fixture = fixture().await;
    let clone = fixture.clone_of();
    let line = fs::read_to_string(clone.path.join("1/a")).unwrap();
    let mut commits = Vec::new();
    for (path, text) in [
        ("1/a", ""),
        ("1/a", &*line),
        ("1/a", ""),
        ("README.md", "harmless\n"),
        ("README.md", "harmless, too\n"),
    ] {
        commits.push(clone.write(path, text).commit());
    }
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let reason = fixture.writes().await.unwrap_err();
    assert!(
        reason.starts_with(&format!("commit {} ", commits[2])),
        "{reason}"
    );
    clone.git(&["revert", "--no-edit", &commits[2]]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    fixture.writes().await.unwrap();
}

#[tokio::test]
async fn the_first_of_bad_commits_is_named_also_where_the_registry_went_on_from_them() {
    let fixture = fixture().await;
    let clone = fixture.clone_of();
    let bad = clone.write("1/a", "").commit();
    let last = clone.write("README.md", "harmless\n").push();
    let named = format!("commit {bad} ");
    let reason = fixture.writes().await.unwrap_err();
    assert!(reason.starts_with(&named), "{reason}");
    // As one does whose rules are others.
    let draft = message::Draft {
        tree: { fixture.git(&["rev-parse", "main^{tree}"]).trim().parse() }.unwrap(),
        parent: Some(last.parse().unwrap()),
        author: &message::Author::Registry,
        time: jiff::Timestamp::UNIX_EPOCH,
        message: &message::Message::new("go on".to_owned()),
    };
    let key = SigningKey::open(&place(fixture.folder.path()).keys).unwrap();
    let bytes = draft.sign(|bytes| key.sign(bytes)).unwrap();
    let ours = object::commit_id(&bytes);
    let objects = [object::PackObject::commit(ours, &bytes)];
    pack::write(&fixture.index.git_dir().join("objects/pack"), &objects).unwrap();
    fixture.git(&["update-ref", refs::TIP, &ours.to_string()]);
    let reason = fixture.writes().await.unwrap_err();
    assert!(reason.starts_with(&named), "{reason}");
    assert_eq!(fixture.index.measures().violations.get(), 2);
}

#[tokio::test]
async fn a_bad_branch_survives_a_restart_and_so_does_the_last_good_commit() {
    let mut fixture = fixture().await;
    let good = fixture.tip();
    let clone = fixture.clone_of();
    clone
        .write("config.json", "{\"dl\":\"https://evil.example\"}")
        .push();
    let reason = fixture.writes().await.unwrap_err();
    let folder = fixture.folder.path().to_owned();
    drop(std::mem::replace(
        &mut fixture.index,
        open(tempfile::tempdir().unwrap().path(), "http://localhost:1").unwrap(),
    ));
    fixture.index = open(&folder, "http://localhost:1").unwrap();
    assert_eq!(fixture.index.snapshot().commit().to_string(), good);
    assert_eq!(fixture.index.stall().unwrap().reason, reason);
    assert_eq!(fixture.served(), good);
}

#[tokio::test]
async fn a_branch_that_was_moved_back_or_rewritten_is_not_followed() {
    let fixture = fixture().await;
    let good = fixture.tip();
    let clone = fixture.clone_of();
    let back = clone.git(&["rev-parse", "HEAD^"]).trim().to_owned();
    clone.force("HEAD^:main");
    assert_eq!(
        fixture.writes().await.unwrap_err(),
        format!(
            "the branch was moved back from {good} to {back}; move it forward again: `git update-ref refs/heads/main {good}`, or for a forge `git push` from this server's repository"
        )
    );
    clone.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    let other = clone.write("README.md", "other\n").push();
    assert_eq!(
        fixture.writes().await.unwrap_err(),
        format!(
            "the branch at {other} does not contain {good}, the newest good commit: its history was rewritten; put the branch back: `git update-ref refs/heads/main {good}`, or for a forge `git push --force` from this server's repository"
        )
    );
    assert_eq!(fixture.served(), good);
    fixture.git(&["update-ref", "refs/heads/main", &good]);
    fixture.writes().await.unwrap();
}

#[tokio::test]
async fn a_merge_must_keep_the_branch_as_its_first_parent() {
    let fixture = fixture().await;
    let clone = fixture.clone_of();
    clone.git(&["checkout", "--quiet", "-b", "work"]);
    clone
        .write("README.md", "hello\n")
        .git(&["commit", "--quiet", "-am", "work"]);
    fixture.lands("alice", publish("b", "1.0.0", 2)).await;
    let good = fixture.tip();
    clone.git(&["fetch", "--quiet"]);
    clone.git(&["merge", "--quiet", "--no-edit", "origin/main"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let found = fixture.tip();
    assert_eq!(
        fixture.writes().await.unwrap_err(),
        format!(
            "the branch at {found} has {good} only as the merged side of a merge; put the branch back: `git update-ref refs/heads/main {good}`, or for a forge `git push --force` from this server's repository; then bring the work in by a rebase (`git pull --rebase`) or by merging it into the branch"
        )
    );
    fixture.git(&["update-ref", "refs/heads/main", &good]);

    clone.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    clone.git(&["fetch", "--quiet"]);
    clone.git(&["checkout", "--quiet", "-b", "other", "origin/main"]);
    clone.git(&["merge", "--quiet", "--no-ff", "--no-edit", "work"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    fixture.writes().await.unwrap();
    assert_eq!(fixture.git(&["show", "main:README.md"]), "hello\n");
}

#[tokio::test]
async fn a_bad_merge_together_with_its_revert_is_no_step() {
    let fixture = fixture().await;
    let clone = fixture.clone_of();
    clone.git(&["checkout", "--quiet", "-b", "bad"]);
    clone.write("3", "not a folder").git(&["add", "--all"]);
    clone.git(&["commit", "--quiet", "-m", "bad"]);
    clone.git(&["checkout", "--quiet", "-"]);
    clone.git(&["merge", "--quiet", "--no-ff", "--no-edit", "bad"]);
    clone.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let theirs = fixture.tip();
    fixture.writes().await.unwrap();
    assert_eq!(fixture.git(&["rev-parse", "main^"]).trim(), theirs);
}

#[tokio::test]
async fn signatures_of_others_do_not_make_a_commit_the_registrys() {
    let fixture = fixture().await;
    let clone = fixture.clone_of();
    // A stranger first makes the index trust their key, then signs with it.
    let key = clone.path.join("../key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let line = format!("registry namespaces=\"git\" {}\n", public.trim_end());
    clone.write("allowed_signers", &line).push();
    clone
        .write("revoked.toml", "tokens = []\n# mine\n")
        .git(&["add", "--all"]);
    clone.git(&[
        "-c",
        "gpg.format=ssh",
        "-c",
        &format!("user.signingKey={}", key.display()),
        "commit",
        "--quiet",
        "-S",
        "-m",
        "signed",
    ]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let reason = fixture.writes().await.unwrap_err();
    assert!(
        reason.contains("`allowed_signers` was changed, which only the registry itself may do"),
        "{reason}"
    );
}

#[tokio::test]
async fn links_programs_and_deep_folders_are_refused() {
    let fixture = fixture().await;
    let good = fixture.tip();
    let clone = fixture.clone_of();
    let link = |clone: &Clone| std::os::unix::fs::symlink("a", clone.path.join("1/b")).unwrap();
    let program = |clone: &Clone| {
        let path = clone.path.join("README.md");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let deep = |clone: &Clone| {
        fs::create_dir_all(clone.path.join("owners/ab/cd/ef")).unwrap();
        clone.write("owners/ab/cd/ef/x", "");
    };
    let removed = |clone: &Clone| fs::remove_file(clone.path.join(".gitattributes")).unwrap();
    let folder_removed = |clone: &Clone| fs::remove_dir_all(clone.path.join("1")).unwrap();
    type Case<'a> = (&'a dyn Fn(&Clone), &'a str);
    let cases: [Case<'_>; 5] = [
        (
            &link,
            "`1/b` is not a plain file; an index holds nothing else",
        ),
        (
            &program,
            "`README.md` is not a plain file; an index holds nothing else",
        ),
        (
            &deep,
            "`owners/ab/cd/ef` does not belong into an index; take it out",
        ),
        (&removed, "`.gitattributes` was removed; put it back"),
        (&folder_removed, "`1` was removed; put it back"),
    ];
    for (change, said) in cases {
        change(&clone);
        clone.git(&["add", "--all"]);
        clone.git(&["commit", "--quiet", "-m", "bad"]);
        clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
        let reason = fixture.writes().await.unwrap_err();
        assert!(reason.contains(said), "{reason}");
        clone.git(&["reset", "--quiet", "--hard", &good]);
        clone.force("HEAD:main");
    }
    fixture.writes().await.unwrap();
}

#[tokio::test]
async fn a_walk_tells_of_each_step_and_how_much_is_left() {
    let fixture = fixture().await;
    let clone = fixture.clone_of();
    clone.write("README.md", "one\n").push();
    clone.write("README.md", "two\n").push();
    fixture.writes().await.unwrap();
    let root = fixture.git(&["rev-list", "--max-parents=0", "main"]);
    let git_dir = fixture.index.git_dir();
    let objects = objects::Objects::open(git_dir).unwrap();
    let start = load::load(git_dir, root.trim().parse().unwrap()).unwrap();
    let mut walk = history::Walk::from(start, &objects, &|_| true);
    let mut told = Vec::new();
    let tip = fixture.tip().parse().unwrap();
    walk.to(tip, &mut |judged| {
        told.push((judged.by, judged.commits, judged.left));
    })
    .unwrap();
    use rule::By::{People, Registry};
    assert_eq!(
        told,
        [
            (Registry, 1, 4),
            (Registry, 1, 3),
            (People, 2, 1),
            (Registry, 1, 0)
        ]
    );
    assert_eq!(walk.tip.snapshot.commit, tip);

    let root = root.trim().parse().unwrap();
    assert!(history::leads(&objects, root, tip).is_ok());
    assert!(history::leads(&objects, tip, root).is_err());
}
