//! Trouble that passes, and what is whole again after it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::trouble::{Plan, Trouble};
use super::{Target, is_root, system, wait_until};
use crate::common::git::{self, Clone};
use crate::common::http::{connect, get};
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;
use crate::operate::ready::wait_for;

/// Ways to lose a file: altogether, its content, its end, its bytes.
const LOSSES: [fn(&Path); 4] = [
    |path| fs::remove_file(path).unwrap(),
    |path| fs::write(path, b"").unwrap(),
    |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    },
    |path| {
        let length = fs::read(path).unwrap().len();
        fs::write(path, vec![0; length]).unwrap();
    },
];

#[test]
fn a_lost_crate_file_is_told_hinders_nothing_else_and_comes_back_with_the_next_upload() {
    let mut target = Target::new();
    let early = Release::new("early", "1.0.0");
    let other = Release::new("other", "1.0.0");
    target.publish(&other).succeeds();
    let cksum = early.cksum();
    let blob = target.registry.blob(&cksum);
    for lose in LOSSES {
        // What was asked for lately is still in memory.
        target.registry.stop();
        target.registry.start_again();
        lose(&blob);
        let download = get(early.download_path()).send(target.registry.port);
        match blob.exists() {
            // Cargo refuses it by its checksum.
            true => assert!(download.body != early.crate_file),
            false => {
                assert_eq!(download.status, 500, "{download:?}");
                let why = download.refusal();
                let path = format!("`blobs/{}/{cksum}`", &cksum[..2]);
                assert!(why.contains(&path) && why.contains("backup"), "{why}");
            }
        }
        target.has_once(&other);
        target.publish(&Release::new("other", "1.0.0")).refusal();
        target.registry.stop();
        target.registry.start_again();
        let log = target.registry.log();
        let path = blob.display().to_string();
        let told = log
            .lines()
            .filter(|line| line.contains("a crate file cannot be served") && line.contains(&path));
        assert!(told.count() > 0, "{log}");
        // Somebody else's bytes do not take its place.
        let strange = Release::with_source("early", "1.0.0", "pub fn strange() {}\n");
        assert_eq!(target.publish(&strange).status, 409);
        assert!(get(early.download_path()).send(target.registry.port).body != early.crate_file);

        target.has_already(&early);
        target.has_once(&early);
    }
}

/// A folder that nobody can write to, until it is dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(folder: &Path) -> Self {
        let mount = |options: &str, paths: &[&Path]| {
            let options = [Path::new("-o"), Path::new(options)];
            system("mount", &[&options[..], paths].concat());
        };
        mount("bind", &[folder, folder]);
        let read_only = Self(folder.to_owned());
        mount("remount,bind,ro", &[folder]);
        read_only
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_download_that_a_damaged_file_ends_is_in_the_log_with_its_request() {
    let target = Target::new();
    let release = Release::large("large", "1.0.0", 8 << 20);
    target.publish(&release).succeeds();
    let cksum = release.cksum();
    let path = target.registry.blob(&cksum);
    let file = File::options().write(true).open(&path).unwrap();
    let mut stream = connect(target.registry.port).unwrap();
    let ask = format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        release.download_path()
    );
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = vec![0; 4096];
    stream.read_exact(&mut answer).unwrap();
    // What is on the way is less than half of it.
    file.set_len(4 << 20).unwrap();
    let count = stream.read_to_end(&mut answer).unwrap();
    assert!(count < release.crate_file.len(), "{count}");
    let head = String::from_utf8_lossy(&answer[..4096]);
    let (_, id) = head.split_once("x-request-id: ").unwrap();
    let id = id.lines().next().unwrap();
    let words = "a file that the index names cannot be read";
    wait_until("the log tells of it", || {
        let log = target.registry.log();
        let mut lines = log.lines();
        lines.any(|line| [words, &cksum, id].iter().all(|part| line.contains(part)))
    });
}

#[test]
fn a_crate_file_that_could_not_be_flushed_is_told_until_the_disk_flushes_again() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    let store = registry.data().join("blobs");
    let folders = [store.join(&release.cksum()[..2]), store.join("incoming")];
    let plan = Plan {
        inject: Some("fsync:error=EIO"),
        paths: &folders.each_ref().map(PathBuf::as_path),
    };
    let trouble = Trouble::of_all(&strace, &registry, &plan);
    assert_eq!(wait_for(&registry, 200), "ok\n", "none was flushed yet");
    let cannot = release.publish(registry.port, &token);
    assert_eq!(cannot.status, 503, "{cannot:?}");
    let why = wait_for(&registry, 503);
    assert!(why.contains(folders[1].to_str().unwrap()), "{why}");
    drop(trouble);
    wait_for(&registry, 200);
    release.publish(registry.port, &token).succeeds();
}

#[test]
fn a_ref_that_could_not_be_flushed_is_told_until_the_disk_flushes_again() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let target = Target::new();
    let release = Release::new("krate", "1.0.0");
    let locks =
        ["spare", "probe"].map(|name| target.heads().join(format!("sidecargo-{name}.lock")));
    let plan = Plan {
        inject: Some("fsync:error=EIO"),
        paths: &locks.each_ref().map(PathBuf::as_path),
    };
    let trouble = Trouble::of_all(&strace, &target.registry, &plan);
    target.cannot_publish(&release, "nothing was done");
    let why = wait_for(&target.registry, 503);
    assert!(why.contains(target.heads().to_str().unwrap()), "{why}");
    assert!(!locks[1].exists());
    drop(trouble);
    wait_for(&target.registry, 200);
    target.publish(&release).succeeds();
}

#[test]
fn after_a_power_cut_the_newest_crate_files_are_looked_at_also_beyond_what_was_shown() {
    let mut target = Target::new();
    let shown = target.registry.repository().join("sidecargo-shown");
    let before = fs::read(&shown).unwrap();
    let release = Release::new("krate", "1.0.0");
    target.publish(&release).succeeds();
    target.registry.kill();
    // Nobody flushes it.
    fs::write(&shown, before).unwrap();
    let cksum = release.cksum();
    let blob = target.registry.blob(&cksum);
    LOSSES[3](&blob);
    target.registry.start_again();
    let log = target.registry.log();
    assert!(
        log.lines()
            .any(|line| line.contains("a crate file cannot be served") && line.contains(&cksum)),
        "{log}"
    );
}

#[test]
fn a_mount_that_turns_read_only_takes_nothing_and_gives_everything_until_it_is_mended() {
    if !is_root() {
        tools::skip("only root can make a mount read-only");
        return;
    }
    let mut target = Target::new();
    let early = Release::new("early", "1.0.0");
    let late = Release::new("late", "1.0.0");
    let tip = git::tip(&target.registry.repository());
    // First neither the crate file nor the commit has a place, then the commit has none.
    for (folder, words) in [
        (target.registry.data(), "Read-only file system"),
        (target.registry.repository(), "the pack was not written"),
    ] {
        let read_only = ReadOnly::new(&folder);
        target.cannot_publish(&late, words);
        target.has_once(&early);
        assert_eq!(git::tip(&target.registry.repository()), tip);
        drop(read_only);
    }
    // Somebody must act, so it is more than a warning.
    let log = target.registry.log();
    let mut lines = log
        .lines()
        .filter(|line| line.contains("a pack was not written"));
    assert!(lines.next().unwrap().contains("ERROR"), "{log}");
    target.publish(&late).succeeds();
    target.has_once(&late);

    // It does not start on one, and says why.
    target.registry.stop();
    let read_only = ReadOnly::new(&target.registry.data());
    let said = target.registry.run_rival();
    let data = target.registry.data().display().to_string();
    assert!(
        said.contains(&data) && said.contains("Read-only file system"),
        "{said}"
    );
    drop(read_only);
    target.registry.start_again();
    target.has_once(&late);
    target.publish(&Release::new("later", "1.0.0")).succeeds();
}

#[test]
fn a_torn_tip_is_healed_at_the_start_and_a_torn_pack_named() {
    let mut target = Target::new();
    let early = Release::new("early", "1.0.0");
    let tip = target.heads().join("main");
    target.registry.kill();
    let length = fs::read(&tip).unwrap().len();
    fs::write(&tip, vec![0; length]).unwrap();
    target.registry.start_again();
    target.has_once(&early);
    target.publish(&Release::new("later", "1.0.0")).succeeds();
    target.registry.stop();

    let packs = || {
        fs::read_dir(target.packs())
            .unwrap()
            .map(|entry| entry.unwrap())
    };
    let newest = packs()
        .filter(|entry| entry.path().extension().is_some_and(|it| it == "pack"))
        .max_by_key(|entry| entry.metadata().unwrap().modified().unwrap())
        .unwrap()
        .path();
    let whole = fs::read(&newest).unwrap();
    fs::remove_file(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
    let said = target.registry.run_rival();
    let path = newest.to_str().unwrap();
    for part in [
        "a file of the index is damaged",
        path,
        "it is torn",
        "sidecargo restore",
    ] {
        assert!(said.contains(part), "{said}");
    }
    fs::write(&newest, whole).unwrap();
    target.registry.start_again();
    target.has_once(&early);
}

#[test]
fn commands_know_what_was_acknowledged_before_the_first_start_after_a_power_cut() {
    let mut target = Target::new();
    let repository = target.registry.repository();
    let shown = repository.join("sidecargo-shown");
    let before = fs::read(&shown).unwrap();
    let listed = target.registry.run(&["token", "list"]).succeeds().stdout;
    let id = listed.lines().nth(1).unwrap().split(' ').next().unwrap();
    target.publish(&Release::new("later", "1.0.0")).succeeds();
    target.registry.run(&["token", "revoke", id]).succeeds();
    target.registry.kill();
    let files = fs::read_dir(target.packs()).unwrap();
    let mut indices: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    indices.retain(|path| path.extension().is_some_and(|it| it == "idx"));
    // Nothing of this is flushed.
    let cut = |loss: fn(&Path)| {
        fs::write(&shown, &before).unwrap();
        indices.iter().for_each(|index| loss(index));
    };
    let is_named = |path: &PathBuf, said: &str| said.contains(path.to_str().unwrap());
    for loss in LOSSES {
        cut(loss);
        let said = target.registry.run(&["verify"]);
        assert!(!said.is_success(), "{said}");
        let of_each = |path| is_named(path, &said.stdout);
        assert!(indices.iter().all(of_each), "{said}");
        assert!(said.stdout.contains("a start of the server makes it again"));
        let listed = target.registry.run(&["token", "list"]).succeeds().stdout;
        assert!(listed.contains("revoked"), "{listed}");

        cut(loss);
        target.registry.run(&["token", "create", "bob"]).succeeds();

        cut(loss);
        let backup = tempfile::TempDir::new().unwrap();
        let words = ["backup", backup.path().to_str().unwrap()];
        let said = target.registry.run(&words).succeeds();
        assert!(said.stdout.contains(&git::tip(&repository)), "{said}");
        assert!(said.stdout.contains("crate files: 2"), "{said}");
    }
    cut(LOSSES[0]);
    // The index tells its id.
    fs::remove_file(target.registry.data().join("blobs/store-id")).unwrap();
    target.registry.start_again();
    target.has_once(&Release::new("early", "1.0.0"));
    target.has_once(&Release::new("later", "1.0.0"));
    target.registry.run(&["verify"]).succeeds();
}

#[test]
fn a_command_keeps_the_settings_of_the_branch_though_older_ones_were_shown_last() {
    let mut target = Target::new();
    let repository = target.registry.repository();
    let shown = repository.join("sidecargo-shown");
    let before = fs::read(&shown).unwrap();
    target.registry.stop();
    let moved = "public_url = \"http://moved.example\"\n";
    target.registry.start_again_with(moved);
    target.registry.kill();
    let settings = || git::git(&repository, &["show", "main:config.json"]).succeeds();
    let written = settings().stdout;
    assert!(written.contains("moved.example"), "{written}");
    fs::write(&shown, before).unwrap();
    target.registry.run(&["key", "rotate"]).succeeds();
    assert_eq!(settings().stdout, written);
}

#[test]
fn copies_of_keys_that_a_killed_command_left_go_at_the_next_start() {
    let mut target = Target::new();
    target.registry.stop();
    let data = target.registry.data();
    let copy = data.join("keys/tmp_0123");
    let is_key = |path: &PathBuf| path.extension().is_some_and(|it| it == "pk8");
    let keys = fs::read_dir(data.join("keys")).unwrap();
    let mut keys = keys.map(|entry| entry.unwrap().path());
    fs::hard_link(keys.find(is_key).unwrap(), &copy).unwrap();
    target.registry.start_again();
    wait_until("the copy is gone", || !copy.exists());
    target.publish(&Release::new("later", "1.0.0")).succeeds();
}

#[test]
fn no_registry_is_begun_on_the_crate_files_of_one_whose_index_is_gone() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    registry.stop();
    let away = registry.data().join("away.git");
    fs::rename(registry.repository(), &away).unwrap();
    for words in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["token", "create", "alice"],
    ] {
        let said = registry.run(words).fails_with("there is no index at");
        assert!(said.stderr.contains("sidecargo restore"), "{said}");
    }
    assert!(!registry.repository().exists());
    fs::rename(&away, registry.repository()).unwrap();
    registry.start_again();
    get(release.download_path()).send(registry.port).succeeds();
}

#[test]
fn a_store_that_lost_its_id_gets_it_back_and_an_empty_folder_does_not() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let store = registry.data().join("blobs");
    let file = store.join("store-id");
    let id = fs::read_to_string(&file).unwrap();
    for torn in [None, Some(""), Some("0123"), Some("\0\0\0\0")] {
        registry.stop();
        match torn {
            None => fs::remove_file(&file).unwrap(),
            Some(text) => fs::write(&file, text).unwrap(),
        }
        // What only looks goes by the index meanwhile, and writes nothing.
        registry.run(&["verify"]).succeeds();
        let backup = tempfile::TempDir::new().unwrap();
        let words = ["backup", backup.path().to_str().unwrap()];
        registry.run(&words).succeeds();
        assert_ne!(fs::read_to_string(&file).ok().as_ref(), Some(&id));
        let copied = fs::read_to_string(backup.path().join("blobs/store-id"));
        assert_eq!(copied.unwrap(), id);
        registry.start_again();
        assert_eq!(fs::read_to_string(&file).unwrap(), id);
        get(release.download_path()).send(registry.port).succeeds();
    }

    // As if its disk were not mounted.
    registry.stop();
    let away = registry.data().join("away");
    fs::rename(&store, &away).unwrap();
    fs::create_dir(&store).unwrap();
    let said = registry
        .run(&["serve", "--listen", "127.0.0.1:0"])
        .fails_with("holds no file and no `store-id`");
    assert!(said.stderr.contains(id.trim_end()), "{said}");
    assert_eq!(fs::read_dir(&store).unwrap().count(), 0);
    fs::remove_dir(&store).unwrap();
    fs::rename(&away, &store).unwrap();
    registry.start_again();
    get(release.download_path()).send(registry.port).succeeds();
    registry.knows_its_files();
}

#[test]
fn folders_of_the_repository_that_are_gone_are_made_again_or_named() {
    let mut target = Target::new();
    let release = Release::new("kept", "1.0.0");
    target.publish(&release).succeeds();
    target.registry.stop();
    let repository = target.registry.repository();
    let tip = git::tip(&repository);
    // The commits tell which one was the tip.
    fs::remove_dir_all(repository.join("refs")).unwrap();
    target.registry.start_again();
    assert_eq!(git::tip(&repository), tip);
    get(release.download_path())
        .send(target.registry.port)
        .succeeds();
    target.registry.stop();

    let packs = repository.join("objects/pack");
    let away = target.registry.data().join("away");
    fs::rename(&packs, &away).unwrap();
    let said = target
        .registry
        .run(&["serve", "--listen", "127.0.0.1:0"])
        .fails_with("sidecargo restore");
    let named = format!("the folder {} is gone", packs.display());
    assert!(said.stderr.contains(&named), "{said}");
    fs::rename(&away, &packs).unwrap();
    target.registry.start_again();
    target.publish(&Release::new("later", "1.0.0")).succeeds();
}

#[test]
fn an_old_pack_that_is_gone_is_told_until_it_is_back() {
    let mut target = Target::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        target.publish(&Release::new("krate", version)).succeeds();
    }
    target.registry.stop();
    let repository = target.registry.repository();
    let commit = git::git(&repository, &["rev-parse", "main~1"]).succeeds();
    let commit = commit.stdout.trim().to_owned();
    let packs = repository.join("objects/pack");
    let holds_it = |path: &PathBuf| {
        let shown = git::git(&packs, &["verify-pack", "-v", path.to_str().unwrap()]);
        path.extension().is_some_and(|it| it == "idx") && shown.stdout.contains(&commit)
    };
    let files = fs::read_dir(&packs).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    let index = files.find(holds_it).unwrap();
    let pair = [index.with_extension("pack"), index];
    let away = |path: &PathBuf| target.registry.data().join(path.file_name().unwrap());
    for path in &pair {
        fs::rename(path, away(path)).unwrap();
    }
    let aways = pair.each_ref().map(away);
    target.registry.start_again();
    let why = wait_for(&target.registry, 503);
    assert!(
        why.contains("cannot be cloned") && why.contains(&commit),
        "{why}"
    );
    get("/crates/index/kr/at/krate")
        .send(target.registry.port)
        .succeeds();
    let said = target.registry.run(&["verify"]);
    assert!(
        !said.is_success() && said.to_string().contains(&commit),
        "{said}"
    );

    for (path, away) in pair.iter().zip(&aways) {
        fs::rename(away, path).unwrap();
    }
    wait_for(&target.registry, 200);
    Clone::of(&target.registry);
    target.registry.run(&["verify"]).succeeds();
}

#[test]
fn keys_that_are_gone_are_named() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    registry.stop();
    let is_told = |log: &str| log.contains("there was no key for tokens and one is made");
    assert!(!is_told(&registry.log()));
    let keys = registry.data().join("keys");
    let signing = keys.join("signing-ed25519");
    let away = registry.data().join("away");
    fs::rename(&signing, &away).unwrap();
    let said = registry
        .run(&["serve", "--listen", "127.0.0.1:0"])
        .fails_with("there is no signing key");
    let path = signing.to_str().unwrap();
    assert!(
        said.stderr.contains(path) && said.stderr.contains("a backup"),
        "{said}"
    );
    assert!(!signing.exists(), "another would be of no use");
    fs::rename(&away, &signing).unwrap();

    // While a key is there, what it signed is good.
    fs::remove_file(keys.join("token-current")).unwrap();
    registry.start_again();
    let published = Release::new("early", "1.0.0").publish(registry.port, &token);
    published.succeeds();
    assert!(!is_told(&registry.log()));
    registry.stop();

    for file in fs::read_dir(&keys).unwrap() {
        let path = file.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("token-")
        {
            fs::remove_file(path).unwrap();
        }
    }
    registry.start_again();
    let log = registry.log();
    assert!(is_told(&log), "{log}");
    let refused = Release::new("krate", "1.0.0").publish(registry.port, &token);
    assert_eq!(refused.status, 401);
}
