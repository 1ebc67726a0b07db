//! Backups of a running registry, and what is restored from them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::get;
use crate::common::person::{self, Person};
use crate::common::project::Project;
use crate::common::ran::{Ran, run};
use crate::common::registry::{Registry, program};
use crate::common::tools;
use crate::common::upload::Release;

/// Runs the program, wherever it is told to.
#[must_use]
fn sidecargo(words: &[&str]) -> Ran {
    run(Command::new(program()).args(words), b"")
}

/// Ends a loop of another thread, also when this one panics.
struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn folder(parent: &TempDir, name: &str) -> (PathBuf, String) {
    let path = parent.path().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

/// The index and the crates in `data`, proved by the registry's own command.
#[track_caller]
fn verify(data: &str) {
    sidecargo(&["verify", "--data", data]).succeeds();
}

fn crate_file(data: &Path, release: &Release) -> PathBuf {
    let cksum = release.cksum();
    data.join("blobs").join(&cksum[..2]).join(cksum)
}

#[test]
fn copies_that_share_their_files_stay_as_they_are() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let mut patch = 0;
    let mut publish = |registry: &Registry| {
        let release = Release::new("krate", &format!("1.0.{patch}"));
        release.publish(registry.port, &token).succeeds();
        patch += 1;
    };
    let scratch = TempDir::new().unwrap();
    let ((_, backup), (_, older)) = (folder(&scratch, "backup"), folder(&scratch, "older"));
    let (_, resting) = folder(&scratch, "resting");
    let share = |from: &str, to: &str| {
        run(Command::new("cp").args(["-al", from, to]), b"").succeeds();
    };
    let back_up = |registry: &Registry| registry.run(&["backup", &backup]).succeeds();
    for _ in 0..2 {
        publish(&registry);
        back_up(&registry);
    }
    share(&backup, &older);
    registry.stop();
    share(registry.data().to_str().unwrap(), &resting);
    registry.start_again();
    for _ in 0..3 {
        publish(&registry);
        back_up(&registry);
    }
    for copy in [&older, &resting, &backup] {
        verify(copy);
    }
}

#[test]
fn a_backup_of_a_running_registry_is_restored_verified_and_served() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let first = Release::new("first", "1.0.0");
    first.publish(registry.port, &token).succeeds();
    let scratch = TempDir::new().unwrap();
    let (_, backup) = folder(&scratch, "backup");

    // Taken again and again while publishes go on; each is whole.
    let is_over = AtomicBool::new(false);
    let port = registry.port;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                let release = Release::new("busy", &format!("1.0.{number}"));
                release.publish(port, &token).succeeds();
                number += 1;
            }
        });
        let _end = EndOf(&is_over);
        for round in 0..4 {
            let ran = registry.run(&["backup", &backup]).succeeds();
            assert!(ran.stdout.starts_with("the backup is at "), "{ran}");
            if round == 2 {
                registry.run(&["key", "rotate"]).succeeds();
            }
            verify(&backup);
        }
    });
    let revoked = registry.token("mallory");
    let id = super::id_of(&revoked);
    registry.run(&["token", "revoke", &id]).succeeds();
    let last = Release::new("last", "1.0.0");
    last.publish(registry.port, &token).succeeds();
    registry.run(&["backup", &backup]).succeeds();
    let served = git::tip(&registry.repository());

    // The machine is gone; what comes back is all of it.
    registry.stop();
    let data = registry.data();
    fs::remove_dir_all(&data).unwrap();
    let ran = registry.run(&["restore", &backup]).succeeds();
    assert!(ran.stdout.contains(&served), "{ran}");
    registry.start_again();
    assert_eq!(git::tip(&registry.repository()), served);
    for release in [&first, &last] {
        let reply = get(release.download_path()).send(registry.port).succeeds();
        assert_eq!(reply.body, release.crate_file);
    }
    super::assert_revoked(&registry, "mallory", &revoked);
    let more = Release::new("more", "1.0.0").publish(registry.port, &token);
    more.succeeds();
    verify(data.to_str().unwrap());

    let cargo = Sandbox::stable(&registry, View::Git);
    let user = Project::program("user", "").depends_on("last", "1");
    cargo
        .cargo(&user.write(&cargo.work()), &["generate-lockfile"])
        .succeeds();
}

#[test]
fn a_backup_leaves_a_bad_branch_out() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
    let good = git::tip(&registry.repository());
    person::commit_file(&registry, "config.json", "{}");
    let scratch = TempDir::new().unwrap();
    let (_, backup) = folder(&scratch, "backup");
    let ran = registry.run(&["backup", &backup]).succeeds();
    assert!(ran.stdout.contains(&good), "{ran}");
    verify(&backup);
    // Where no server says so, it does.
    registry.knows_its_files();
    registry.stop();
    let ran = registry.run(&["backup", &backup]).succeeds();
    let bad = git::tip(&registry.repository());
    let said = format!("the branch is at {bad}, and what it has beyond {good} is left out");
    assert!(ran.stderr.contains(&said), "{ran}");
    git::git(
        &registry.repository(),
        &["update-ref", "refs/heads/main", &good],
    )
    .succeeds();
    let ran = registry.run(&["backup", &backup]).succeeds();
    assert!(ran.stderr.is_empty(), "{ran}");
}

#[test]
fn a_backup_has_what_git_finds_fault_with_and_the_index_does_not() {
    let mut registry = Registry::start();
    let person = Person::of(&registry);
    // Longer than git reads.
    person.write(".gitattributes", &format!("*.md {}\n", "a".repeat(3000)));
    person.commit("change by hand");
    let repository = registry.repository();
    let receive = "--receive-pack=git -c receive.fsckObjects=false receive-pack";
    person.git(&[
        "push",
        "--quiet",
        receive,
        repository.to_str().unwrap(),
        "HEAD:main",
    ]);
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    // Where one was killed as it began.
    fs::create_dir_all(path.join("index.git")).unwrap();
    let ran = registry.run(&["backup", &backup]).succeeds();
    assert!(ran.stdout.contains(&git::tip(&repository)), "{ran}");
    verify(&backup);
    let (_, copy) = folder(&scratch, "copy");
    sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
    verify(&copy);
    registry.knows_its_files();
}

#[test]
fn no_backup_is_made_without_a_signing_key_and_none_loses_its_own() {
    let registry = Registry::start();
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    let kept = path.join("keys/signing-ed25519");
    let (key, away) = (
        registry.data().join("keys/signing-ed25519"),
        scratch.path().join("away"),
    );
    fs::rename(&key, &away).unwrap();
    let said = registry
        .run(&["backup", &backup])
        .fails_with("no signing key");
    assert!(said.stderr.contains(key.to_str().unwrap()), "{said}");
    assert!(kept.exists());
    // One that lies elsewhere is copied all the same.
    std::os::unix::fs::symlink(&away, &key).unwrap();
    let (other, second) = folder(&scratch, "second");
    registry.run(&["backup", &second]).succeeds();
    let copied = fs::read(other.join("keys/signing-ed25519")).unwrap();
    assert_eq!(copied, fs::read(&away).unwrap());
    fs::remove_file(&key).unwrap();
    fs::rename(&away, &key).unwrap();
}

#[test]
fn what_is_closed_is_closed_in_its_backup_and_where_that_is_restored() {
    let registry = Registry::start();
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    let mark = registry.data().join("closed");
    for (number, is_closed) in [true, false, true].into_iter().enumerate() {
        match is_closed {
            true => fs::write(&mark, "").unwrap(),
            false => fs::remove_file(&mark).unwrap(),
        }
        registry.run(&["backup", &backup]).succeeds();
        assert_eq!(path.join("closed").exists(), is_closed);
        let (restored, copy) = folder(&scratch, &number.to_string());
        let said = sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
        assert_eq!(restored.join("closed").exists(), is_closed);
        assert_eq!(said.stdout.contains("nobody reads it"), is_closed, "{said}");
        // What was closed where it is restored stays so.
        let (restored, copy) = folder(&scratch, &format!("closed-{number}"));
        fs::create_dir(&restored).unwrap();
        fs::write(restored.join("closed"), "").unwrap();
        sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
        assert!(restored.join("closed").exists());
    }
}

#[test]
fn a_backup_is_served_only_where_it_was_restored() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let first = Release::new("first", "1.0.0");
    first.publish(registry.port, &token).succeeds();
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    // Another backup holds it.
    let lock = fs::File::open(path.join("lock")).unwrap();
    lock.lock().unwrap();
    let ran = registry.run(&["backup", &backup]);
    ran.fails_with(&format!(
        "the backup {backup} is in use by another sidecargo"
    ));
    drop(lock);
    let tip = git::tip(&path.join("index.git"));
    for words in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["token", "create", "alice"],
        &["key", "rotate"],
    ] {
        let words = [words, &["--data", &backup]].concat();
        let refused = sidecargo(&words).fails_with("is a backup, and one that is served");
        let way = format!("`sidecargo restore {backup} --data OTHER`");
        assert!(refused.stderr.contains(&way), "{refused}");
    }
    assert_eq!(git::tip(&path.join("index.git")), tip);

    let second = Release::new("second", "1.0.0");
    second.publish(registry.port, &token).succeeds();
    registry.run(&["backup", &backup]).succeeds();
    verify(&backup);
    let (restored, copy) = folder(&scratch, "restored");
    sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
    assert!(!restored.join("sidecargo-backup").exists());
    sidecargo(&["key", "rotate", "--data", &copy]).succeeds();
    // As a copy is that was served: it went its own way. It stays what it is, a registry.
    registry
        .run(&["backup", &copy])
        .fails_with("or the copy was served and went its own way");
    assert!(!restored.join("sidecargo-backup").exists());
}

#[test]
fn no_registry_begins_where_a_restore_ended_in_the_middle() {
    let registry = Registry::start();
    let scratch = TempDir::new().unwrap();
    let (_, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    let (path, copy) = folder(&scratch, "copy");
    // As one that is killed leaves it.
    fs::create_dir_all(path.join("index.restoring/objects")).unwrap();
    let way = format!("`sidecargo restore BACKUP --data {copy}`");
    let said = registry.run_rival_on(&path);
    assert!(said.contains(&way), "{said}");
    sidecargo(&["token", "create", "alice", "--data", &copy]).fails_with(&way);
    assert!(!path.join("index.git").exists());

    sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
    verify(&copy);
    sidecargo(&["token", "create", "alice", "--data", &copy]).succeeds();
}

#[test]
fn no_registry_begins_where_a_restore_failed() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let scratch = TempDir::new().unwrap();
    let (bad, faulty) = folder(&scratch, "faulty");
    let (_, backup) = folder(&scratch, "backup");
    for to in [&faulty, &backup] {
        registry.run(&["backup", to]).succeeds();
    }
    fs::remove_file(crate_file(&bad, &release)).unwrap();
    let (path, copy) = folder(&scratch, "copy");
    let way = format!("`sidecargo restore BACKUP --data {copy}`");
    let begins_none = || {
        sidecargo(&["token", "create", "alice", "--data", &copy]).fails_with(&way);
    };
    let (_, unmounted) = folder(&scratch, "unmounted");
    sidecargo(&["restore", &unmounted, "--data", &copy]).fails_with("there is no backup in");
    assert!(!path.join("index.restoring").exists());
    sidecargo(&["restore", &faulty, "--data", &copy]).fails_with("is not as it must be");
    begins_none();
    // As a full disk ends it: nothing has come by then.
    fs::write(path.join("blobs"), "").unwrap();
    sidecargo(&["restore", &backup, "--data", &copy]).fails_with("blobs");
    fs::remove_file(path.join("blobs")).unwrap();
    begins_none();

    sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
    verify(&copy);
    sidecargo(&["token", "create", "alice", "--data", &copy]).succeeds();
}

#[test]
fn locks_that_a_killed_copy_left_are_in_the_way_of_no_later_one() {
    let registry = Registry::start();
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    for left in ["packed-refs.lock", "packed-refs.new"] {
        fs::write(path.join("index.git").join(left), "").unwrap();
    }
    registry.run(&["key", "rotate"]).succeeds();
    registry.run(&["backup", &backup]).succeeds();
    verify(&backup);
    let key = |data: &Path| fs::read(data.join("keys/signing-ed25519")).unwrap();
    assert_eq!(key(&path), key(&registry.data()));
}

#[test]
fn a_registry_begins_where_another_start_ended_in_the_middle() {
    let scratch = TempDir::new().unwrap();
    let (path, data) = folder(&scratch, "data");
    // As one that is killed leaves it.
    fs::create_dir_all(path.join("index.unfinished/objects")).unwrap();
    sidecargo(&["token", "create", "alice", "--data", &data]).succeeds();
    verify(&data);
}

#[test]
fn what_is_hidden_while_it_is_copied_is_closed_where_that_is_restored() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    let back_up = |registry: &mut Registry, config: &str| {
        let data = registry.data();
        // The index is copied by then, and its tip not yet taken.
        let mut meanwhile = |_all, _left| {
            registry.stop();
            registry.start_again_with(config);
        };
        sidecargo::backup::back_up(&data, &path, &mut meanwhile).unwrap();
        verify(&backup);
        path.join("closed").exists()
    };
    let [public, private] = ["public", "private"].map(|it| format!("visibility = \"{it}\"\n"));
    assert!(back_up(&mut registry, &private));
    // The index of the next one says it itself.
    assert!(!back_up(&mut registry, &private));
    assert!(!back_up(&mut registry, &public));
}

#[test]
fn which_repository_of_the_forge_is_the_index_is_known_where_a_backup_is_restored() {
    let registry = Registry::start();
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    let number = |data: &Path| fs::read_to_string(data.join("forge-repository")).ok();
    let restore = |name: &str, there: Option<&str>| {
        let (restored, copy) = folder(&scratch, name);
        fs::create_dir(&restored).unwrap();
        if let Some(there) = there {
            fs::write(restored.join("forge-repository"), there).unwrap();
        }
        let said = sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
        let differs = there.is_some() && there.map(str::to_owned) != number(&path);
        let words = "forge-repository was there already and stays";
        assert_eq!(said.stderr.contains(words), differs, "{said}");
        number(&restored)
    };
    registry.run(&["backup", &backup]).succeeds();
    assert_eq!(number(&path), None);
    assert_eq!(restore("none", None), None);
    assert_eq!(restore("left", Some("5\n")).as_deref(), Some("5\n"));
    for known in ["7\n", "12\n"] {
        fs::write(registry.data().join("forge-repository"), known).unwrap();
        registry.run(&["backup", &backup]).succeeds();
        assert_eq!(number(&path).as_deref(), Some(known));
    }
    assert_eq!(restore("new", None).as_deref(), Some("12\n"));
    assert_eq!(restore("same", Some("12\n")).as_deref(), Some("12\n"));
    // Whoever is told another one, is told it later.
    assert_eq!(restore("told", Some("13\n")).as_deref(), Some("13\n"));
}

#[test]
fn a_registry_is_not_copied_into_itself() {
    let registry = Registry::start();
    let data = registry.data();
    let files = registry.files();
    for target in [
        data.join("blobs"),
        data.join("backup"),
        data.clone(),
        data.join(".."),
    ] {
        let said = registry.run(&["backup", target.to_str().unwrap()]);
        said.fails_with("lies in the other; name a place outside");
    }
    assert_eq!(registry.files(), files);
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    let inside = path.join("copy");
    sidecargo(&["restore", &backup, "--data", inside.to_str().unwrap()])
        .fails_with("lies in the other; name a place outside");
}

#[test]
fn a_damaged_crate_file_is_named_and_mends_nothing_in_silence() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    let original = crate_file(&registry.data(), &release);
    let bytes = fs::read(&original).unwrap();
    fs::write(&original, &bytes[1..]).unwrap();
    let ran = registry
        .run(&["backup", &backup])
        .fails_with("is missing or damaged");
    assert!(ran.stderr.contains(original.to_str().unwrap()), "{ran}");
    // It stopped before it had a tip, so it is no registry yet.
    sidecargo(&["verify", "--data", &backup]).fails_with("has no commit");

    fs::write(&original, &bytes).unwrap();
    registry.run(&["backup", &backup]).succeeds();
    // A copy that went bad is copied again.
    let copy = crate_file(&path, &release);
    fs::write(&copy, "rust").unwrap();
    let (_, other) = folder(&scratch, "other");
    let refused = sidecargo(&["restore", &backup, "--data", &other]);
    refused.fails_with("is not restored, because it is not as it must be");
    registry.run(&["backup", &backup]).succeeds();
    assert_eq!(fs::read(&copy).unwrap(), bytes);
    sidecargo(&["restore", &backup, "--data", &other]).succeeds();
    verify(&other);
}

#[test]
fn a_backup_that_stopped_behind_a_rotation_is_as_good_as_before() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let publish = |version: &str| {
        let release = Release::new("krate", version);
        release.publish(registry.port, &token).succeeds();
        release
    };
    publish("1.0.0");
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    let first_key = fs::read(path.join("keys/signing-ed25519")).unwrap();
    registry.run(&["key", "rotate"]).succeeds();
    let lost = crate_file(&registry.data(), &publish("1.0.1"));
    let bytes = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    registry
        .run(&["backup", &backup])
        .fails_with("is missing or damaged");
    assert_eq!(
        fs::read(path.join("keys/signing-ed25519")).unwrap(),
        first_key
    );
    // Its key must be one that its tip trusts, or it could not be opened.
    let (_, copy) = folder(&scratch, "copy");
    sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
    sidecargo(&["key", "rotate", "--data", &copy]).succeeds();

    fs::write(&lost, bytes).unwrap();
    registry.run(&["backup", &backup]).succeeds();
    let keys = |data: &Path| -> BTreeMap<_, _> {
        let entries = fs::read_dir(data.join("keys")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| {
                (
                    path.file_name().unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                )
            })
            .collect()
    };
    assert_eq!(keys(&path), keys(&registry.data()));

    // A key that was taken away to end its tokens does not come back with a restore.
    let current = fs::read_to_string(registry.data().join("keys/token-current")).unwrap();
    let current = format!("token-{}.pk8", current.trim_end());
    for name in keys(&registry.data()).into_keys() {
        let text = name.to_str().unwrap();
        if text.ends_with(".pk8") && text != current {
            fs::remove_file(registry.data().join("keys").join(text)).unwrap();
        }
    }
    registry.run(&["backup", &backup]).succeeds();
    assert_eq!(keys(&path), keys(&registry.data()));
    assert_eq!(
        keys(&path).len(),
        3,
        "one key for commits, one for tokens, and its name"
    );
}

#[test]
fn a_backup_that_was_killed_is_taken_again() {
    let registry = Registry::start();
    let token = registry.token("alice");
    for number in 0..20 {
        let release = Release::new("krate", &format!("1.0.{number}"));
        release.publish(registry.port, &token).succeeds();
    }
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    let data = registry.data();
    // Anywhere, from its first steps to its last.
    for steps in [40, 400, 800, 1200, 1600, 2000] {
        let Some(strace) = tools::strace() else {
            return;
        };
        let inject = format!("inject=all:signal=KILL:when={steps}");
        let mut killed = Command::new(strace);
        killed.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject]);
        killed
            .arg(program())
            .args(["backup", &backup, "--data"])
            .arg(&data);
        let _ = run(&mut killed, b"");
    }
    // What git and we leave when we are killed at the worst moment.
    let repository = path.join("index.git");
    fs::create_dir_all(repository.join("refs/sidecargo")).unwrap();
    for left in ["refs/heads/main.lock", "refs/sidecargo/incoming.lock"] {
        fs::write(repository.join(left), "").unwrap();
    }
    registry.run(&["backup", &backup]).succeeds();
    verify(&backup);
    let (_, copy) = folder(&scratch, "copy");
    sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
    verify(&copy);
}

#[test]
fn a_registry_is_never_restored_over_or_mixed_with_another() {
    let registry = Registry::start();
    let other = Registry::start();
    let scratch = TempDir::new().unwrap();
    let (_, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    let data = registry.data();
    sidecargo(&["restore", &backup, "--data", data.to_str().unwrap()])
        .fails_with("in use by another sidecargo");
    let said = other.run(&["backup", &backup]).fails_with("");
    assert!(
        said.stderr.contains("of another registry") || said.stderr.contains("is the store"),
        "{said}"
    );
    registry.run(&["backup", &backup]).succeeds();
    verify(&backup);
    let (_, copy) = folder(&scratch, "copy");
    sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
    sidecargo(&["restore", &backup, "--data", &copy]).fails_with("restore into an empty folder");
}

#[test]
fn keys_in_a_backup_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let registry = Registry::start();
    registry.token("alice");
    let scratch = TempDir::new().unwrap();
    let (path, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    let mut found = 0;
    for entry in fs::read_dir(path.join("keys")).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
        found += 1;
    }
    assert!(found >= 2, "the keys for commits and for tokens");
}

#[test]
fn nothing_is_restored_among_keys_and_tokens_that_are_not_of_the_backup() {
    let (registry, other) = (Registry::start(), Registry::start());
    registry.token("alice");
    let scratch = TempDir::new().unwrap();
    let (_, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    other.token("mallory");
    for kind in ["keys", "tokens"] {
        let (path, copy) = folder(&scratch, &format!("copy-with-{kind}"));
        fs::create_dir_all(path.join(kind)).unwrap();
        let theirs = fs::read_dir(other.data().join(kind)).unwrap().next();
        let theirs = theirs.unwrap().unwrap();
        let left = path.join(kind).join(theirs.file_name());
        fs::copy(theirs.path(), &left).unwrap();
        let words = format!("{} is not of this backup", left.display());
        sidecargo(&["restore", &backup, "--data", &copy]).fails_with(&words);
        fs::remove_file(left).unwrap();
        // Those of the backup itself are in nobody's way.
        for file in fs::read_dir(scratch.path().join("backup").join(kind)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), path.join(kind).join(file.file_name())).unwrap();
        }
        sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
        verify(&copy);
    }
}

#[test]
fn a_restore_that_finds_no_room_names_the_place_and_leaves_no_index() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::large("krate", "1.0.0", 300_000);
    release.publish(registry.port, &token).succeeds();
    let scratch = TempDir::new().unwrap();
    let (_, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    let (path, copy) = folder(&scratch, "copy");
    // No file has room for more than 128 KiB.
    let script = "trap '' XFSZ; ulimit -f 256; exec \"$0\" \"$@\"";
    let mut restore = Command::new("sh");
    restore.args(["-c", script]).arg(program());
    restore.args(["restore", &backup, "--data", &copy]);
    let target = crate_file(&path, &release);
    let words = format!("{} cannot be written: File too large", target.display());
    run(&mut restore, b"").fails_with(&words);
    let left = fs::read_dir(&path)
        .unwrap()
        .map(|it| it.unwrap().file_name());
    let left: Vec<_> = { left }
        .filter(|name| name != "blobs" && name != "lock")
        .collect();
    // No other registry begins beside it.
    assert_eq!(left, ["index.restoring"]);
    sidecargo(&["restore", &backup, "--data", &copy]).succeeds();
    verify(&copy);
}

#[test]
fn nothing_is_restored_over_a_registry_whose_tip_a_start_finds_again() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let scratch = TempDir::new().unwrap();
    let (_, backup) = folder(&scratch, "backup");
    registry.run(&["backup", &backup]).succeeds();
    let late = Release::new("late", "1.0.0");
    late.publish(registry.port, &token).succeeds();
    registry.stop();
    fs::remove_file(registry.repository().join("refs/heads/main")).unwrap();
    let data = registry.data();
    let restored = sidecargo(&["restore", &backup, "--data", data.to_str().unwrap()]);
    restored.fails_with("there is a registry in");
    registry.start_again();
    get(late.download_path()).send(registry.port).succeeds();
}
