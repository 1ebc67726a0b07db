//! `sidecargo verify`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::id_of;
use super::ready::wait_for;
use crate::common::git::{self, git};
use crate::common::http::request;
use crate::common::person::{Person, Receive};
use crate::common::ran::{Ran, run};
use crate::common::registry::{Registry, program};
use crate::common::upload::Release;

pub(super) const LINES: &str = "1/a";

/// A registry with the versions 1.0.0 and 1.1.0 of the crate `a`, and a token of its owner.
pub(super) fn registry() -> (Registry, String) {
    let registry = Registry::start();
    let token = registry.token("alice");
    for version in ["1.0.0", "1.1.0"] {
        Release::new("a", version)
            .publish(registry.port, &token)
            .succeeds();
    }
    (registry, token)
}

fn blob(registry: &Registry, version: &str) -> PathBuf {
    registry.blob(&Release::new("a", version).cksum())
}

fn commit_of(registry: &Registry, revision: &str) -> String {
    let parsed = git(&registry.repository(), &["rev-parse", revision]).succeeds();
    parsed.stdout.trim().to_owned()
}

/// Runs a command of the report as a person does who pastes it.
fn paste(look: &str) -> Ran {
    run(Command::new("sh").args(["-c", look]), b"")
}

/// Panics unless exactly this is found, in this commit; gives what the command to look at it shows.
#[track_caller]
pub(super) fn finds(registry: &Registry, commit: &str, what: &str) -> String {
    let looked = finds_and_looks(registry, commit, what).succeeds();
    looked.stdout
}

#[track_caller]
fn finds_and_looks(registry: &Registry, commit: &str, what: &str) -> Ran {
    let report = registry.run(&["verify", "--json"]);
    assert!(!report.is_success(), "{report}");
    let json: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(json["faults_found"], 1, "{report}");
    let fault = &json["faults"][0];
    assert_eq!(fault["commit"], commit, "{report}");
    let said = fault["what"].as_str().unwrap();
    assert!(said.contains(what), "this should say `{what}`: {said}");
    let look = fault["look"].as_str().unwrap();

    let text = registry.run(&["verify"]);
    assert!(!text.is_success());
    let text = text.prints("is not as it must be").prints(said);
    text.prints(commit).prints(look);
    paste(look)
}

#[test]
fn a_registry_verifies_whether_its_server_runs_or_not() {
    let (mut registry, _) = registry();
    let first = commit_of(&registry, "main~1");
    let tip = git::tip(&registry.repository());
    let verifies = |registry: &Registry| {
        let sentence = format!(
            "the index is as it must be at {tip}; commits: 3, signed by the registry: 3, versions with their crate files: 2"
        );
        registry.run(&["verify"]).succeeds().prints(&sentence);
        let json = registry.run(&["verify", "--json"]).succeeds();
        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        let expected = json!({
            "tip": tip, "commits": 3, "signed": 3, "versions": 2, "faults": [], "faults_found": 0,
        });
        assert_eq!(json, expected);
        let since = registry.run(&["verify", "--since", &first]).succeeds();
        since.prints("commits: 1, signed by the registry: 1, versions with their crate files: 1");
    };
    verifies(&registry);
    registry.stop();
    verifies(&registry);
    registry
        .run(&["verify", "--since", "main"])
        .fails_with("`--since` is not the full id of a commit");
    let nowhere = "1".repeat(40);
    registry
        .run(&["verify", "--since", &nowhere])
        .fails_with(&format!("cannot be verified from {nowhere} on"));
    for since in ["main", &nowhere] {
        let report = registry.run(&["verify", "--json", "--since", since]);
        assert!(!report.is_success(), "{report}");
        let json: Value = serde_json::from_str(&report.stdout).unwrap();
        let detail = json["errors"][0]["detail"].as_str().unwrap();
        assert!(report.stderr.contains(detail), "{report}");
    }
}

#[test]
fn a_torn_file_by_which_git_goes_is_found() {
    let (mut registry, _) = registry();
    registry.stop();
    let repository = registry.repository();
    git(&repository, &["commit-graph", "write", "--reachable"]).succeeds();
    registry.run(&["verify"]).succeeds();
    let graph = repository.join("objects/info/commit-graph");
    let whole = fs::read(&graph).unwrap();
    // Git writes it for nobody to change.
    fs::remove_file(&graph).unwrap();
    fs::write(&graph, &whole[..whole.len() - 1]).unwrap();
    finds(&registry, &git::tip(&repository), "it is torn");
    assert!(!graph.exists(), "the command that was named removes it");
    registry.run(&["verify"]).succeeds();
}

#[test]
fn a_pack_that_the_disk_does_not_give_is_named() {
    let (mut registry, _) = registry();
    registry.stop();
    // Of a folder no byte can be read.
    let name = format!("pack-{}.pack", "0".repeat(40));
    let pack = registry.repository().join("objects/pack").join(&name);
    fs::create_dir(&pack).unwrap();
    fs::write(pack.with_extension("idx"), "").unwrap();
    let what = format!("{name}`: it cannot be read: Is a directory");
    finds_and_looks(&registry, &git::tip(&registry.repository()), &what)
        .fails_with("Is a directory");
    let backup = tempfile::tempdir().unwrap();
    let backup = backup.path().join("backup");
    registry
        .run(&["backup", backup.to_str().unwrap()])
        .fails_with(&what);
    fs::remove_dir(&pack).unwrap();
    fs::remove_file(pack.with_extension("idx")).unwrap();
    registry.run(&["verify"]).succeeds();
}

#[test]
fn crate_files_are_hashed() {
    let (mut registry, _) = registry();
    registry.stop();
    let path = blob(&registry, "1.0.0");
    let commit = commit_of(&registry, "main~1");
    let bytes = fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, damaged).unwrap();
    let shown = finds(&registry, &commit, "the crate file of `a 1.0.0` is damaged");
    let (hash, _) = shown.split_once(' ').unwrap();
    assert!(!path.ends_with(hash) && hash.len() == 64, "{shown}");
    // What stands before is not looked at.
    registry.run(&["verify", "--since", &commit]).succeeds();

    fs::remove_file(&path).unwrap();
    let missing = format!("the crate file of `a 1.0.0` is missing: {}", path.display());
    let shown = finds(&registry, &commit, &missing);
    assert!(shown.contains("publish a 1.0.0"), "{shown}");
    fs::write(&path, bytes).unwrap();
    registry.run(&["verify"]).succeeds();
}

#[test]
fn a_line_that_people_changed_is_found_with_its_commit() {
    let (mut registry, _) = registry();
    registry.stop();
    let person = Person::of(&registry);
    let other = Release::new("a", "1.1.0").cksum();
    person.replace(LINES, &Release::new("a", "1.0.0").cksum(), &other);
    let commit = person.commit("another checksum");
    person.push("HEAD:main", Receive::Packed).succeeds();
    let shown = finds(
        &registry,
        &commit,
        "`1/a` has another line for version `1.0.0`",
    );
    assert!(shown.contains(&other), "{shown}");

    // Together with its revert it is no step.
    person.revert();
    person.push("HEAD:main", Receive::Packed).succeeds();
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

#[test]
fn a_signature_that_was_copied_is_found() {
    let (mut registry, _) = registry();
    registry.stop();
    let good = git::tip(&registry.repository());
    let person = Person::of(&registry);
    let forged = person.commit_with_a_copied_signature();
    // That it is not the last one hides nothing.
    person.commit("after it");
    person.push("HEAD:main", Receive::Packed).succeeds();
    let shown = finds(
        &registry,
        &forged,
        "bears a signature of the registry that is not its own",
    );
    assert!(shown.contains("publish a 1.1.0"), "{shown}");
    git(
        &registry.repository(),
        &["update-ref", "refs/heads/main", &good],
    )
    .succeeds();
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

#[test]
fn a_damaged_object_is_found() {
    let (mut registry, _) = registry();
    registry.stop();
    let commit = commit_of(&registry, "main~1");
    let object = commit_of(&registry, &format!("{commit}:{LINES}"));
    let packs = registry.repository().join("objects/pack");
    let index = fs::read_dir(&packs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "idx"))
        .find(|path| {
            let shown = git(&packs, &["verify-pack", "-v", path.to_str().unwrap()]);
            shown.stdout.contains(&object)
        })
        .unwrap();
    let shown = git(&packs, &["verify-pack", "-v", index.to_str().unwrap()]).succeeds();
    let line = shown
        .stdout
        .lines()
        .find(|line| line.starts_with(&object))
        .unwrap();
    let number = |at: usize| -> usize { line.split_whitespace().nth(at).unwrap().parse().unwrap() };
    let (packed_bytes, offset) = (number(3), number(4));
    let pack = index.with_extension("pack");
    let whole = fs::read(&pack).unwrap();
    let mut permissions = fs::metadata(&pack).unwrap().permissions();
    #[allow(
        clippy::permissions_set_readonly_false,
        reason = "a test damages its own file"
    )]
    permissions.set_readonly(false);
    fs::set_permissions(&pack, permissions).unwrap();
    for at in [offset + packed_bytes / 2, offset + packed_bytes - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&pack, damaged).unwrap();
        let looked = finds_and_looks(&registry, &commit, "cannot be followed");
        // Git names what it cannot read.
        assert!(looked.to_string().contains(&object), "{looked}");
    }
    fs::write(&pack, whole).unwrap();
    registry.run(&["verify"]).succeeds();
}

#[test]
fn an_object_that_the_first_commit_lacks_is_the_fault_and_not_its_signature() {
    let (mut registry, _) = registry();
    registry.stop();
    let repository = registry.repository();
    let first = commit_of(&registry, "main~2");
    let object = commit_of(&registry, "main~2:policy.toml");
    let objects = repository.join("objects");
    let away = objects.join("away");
    fs::rename(objects.join("pack"), &away).unwrap();
    fs::create_dir(objects.join("pack")).unwrap();
    let unpack =
        "for pack in \"$1\"/*.pack; do git --git-dir \"$2\" unpack-objects -q <\"$pack\"; done";
    let mut shell = Command::new("sh");
    shell.args(["-c", unpack, "sh"]).args([&away, &repository]);
    run(&mut shell, b"").succeeds();
    registry.run(&["verify"]).succeeds();
    let file = objects.join(&object[..2]).join(&object[2..]);
    fs::remove_file(file).unwrap();
    let looked = finds_and_looks(&registry, &first, "cannot be read");
    assert!(looked.to_string().contains(&object), "{looked}");
}

#[test]
fn what_people_committed_and_took_back_is_read_too() {
    let (mut registry, _) = registry();
    let person = Person::of(&registry);
    // What no index may have is cloned all the same.
    person
        .write("README.md", "hello\n")
        .write("run.sh", "#!/bin/sh\n");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(person.path().join("run.sh"), executable).unwrap();
    symlink("README.md", person.path().join("link")).unwrap();
    let lost = person.commit("hello");
    person.revert();
    registry.stop();
    person.push("HEAD:main", Receive::Loose).succeeds();
    registry.run(&["verify"]).succeeds();
    for name in ["README.md", "run.sh", "link"] {
        let object = commit_of(&registry, &format!("{lost}:{name}"));
        let (folder, file) = object.split_at(2);
        let file = registry
            .repository()
            .join("objects")
            .join(folder)
            .join(file);
        let away = registry.data().join("away");
        fs::rename(&file, &away).unwrap();
        let looked = finds_and_looks(&registry, &lost, &object);
        assert!(looked.to_string().contains(&object), "{looked}");
        fs::rename(&away, &file).unwrap();
    }
    registry.knows_its_files();
}

#[test]
fn a_file_too_large_for_an_index_that_was_taken_back_is_read_and_no_fault() {
    let (mut registry, _) = registry();
    let person = Person::of(&registry);
    let bytes = fs::File::create(person.path().join("README.md")).unwrap();
    bytes.set_len(129 << 20).unwrap();
    person.commit("much");
    person.push("HEAD:main", Receive::Packed).succeeds();
    let why = wait_for(&registry, 503);
    assert!(
        why.contains("none may have more than") && why.contains("revert it"),
        "{why}"
    );
    person.revert();
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    wait_for(&registry, 200);
    registry.stop();
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
    // Its bytes are hashed all the same.
    let packs = fs::read_dir(registry.repository().join("objects/pack")).unwrap();
    let packs = packs.map(|entry| entry.unwrap().path());
    let is_large = |path: &PathBuf| fs::metadata(path).unwrap().len() > 100_000;
    // The one that was pushed, and our own.
    for pack in packs.filter(is_large) {
        let mut bytes = fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, bytes).unwrap();
    }
    let said = registry.run(&["verify"]).fails_with("");
    assert!(said.stdout.contains("is not whole"), "{said}");
}

#[test]
fn a_commit_too_large_for_an_index_that_was_merged_is_read_and_no_fault() {
    let (mut registry, token) = registry();
    let person = Person::of(&registry);
    person.git(&["checkout", "--quiet", "-b", "side"]);
    let message = registry.data().join("message");
    fs::write(&message, vec![b'a'; 129 << 20]).unwrap();
    person.write("README.md", "hello\n").git(&["add", "--all"]);
    person.git(&["commit", "--quiet", "--file", message.to_str().unwrap()]);
    fs::remove_file(&message).unwrap();
    person.write("README.md", "hello again\n").commit("more");
    person.git(&["checkout", "--quiet", "main"]);
    person.git(&["merge", "--quiet", "--no-ff", "--no-edit", "side"]);
    person.push("HEAD:main", Receive::Packed).succeeds();
    Release::new("a", "1.2.0")
        .publish(registry.port, &token)
        .succeeds();
    registry.stop();
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

#[test]
fn from_a_commit_of_people_on_means_from_that_of_the_registry_before_it() {
    let (mut registry, token) = registry();
    let ours = git::tip(&registry.repository());
    let person = Person::of(&registry);
    // Together they are no step, as the hooks and the whole history know.
    let forged = person
        .replace(LINES, "\"yanked\":false", "\"yanked\": false")
        .commit("forge");
    let reverted = person.revert();
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    Release::new("a", "1.2.0")
        .publish(registry.port, &token)
        .succeeds();
    let tip = git::tip(&registry.repository());
    registry.run(&["verify"]).succeeds();
    for since in [&forged, &reverted] {
        let said = registry.run(&["verify", "--since", since]).succeeds();
        said.prints(&format!(
            "the index is as it must be at {tip}, after {ours}; commits: 3, signed by the registry: 1"
        ));
        let json = registry
            .run(&["verify", "--since", since, "--json"])
            .succeeds();
        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(json["since"], ours);
    }
    let said = registry.run(&["verify", "--since", &tip]).succeeds();
    said.prints(&format!("at {tip}, after {tip}; commits: 0,"));

    // One that people signed with a key which they brought and took off again is theirs.
    let person = Person::of(&registry);
    let key = person.path().join(".git/key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(&key)
        .status();
    if made.is_err() {
        return;
    }
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let signers = person.read("allowed_signers");
    let line = format!("registry namespaces=\"git\" {}\n", public.trim_end());
    person.write("allowed_signers", &(signers + &line));
    let (format, key) = (
        "gpg.format=ssh",
        format!("user.signingKey={}", key.display()),
    );
    person.git(&["add", "--all"]);
    person.git(&[
        "-c", format, "-c", &key, "commit", "--quiet", "-S", "-m", "signed",
    ]);
    let theirs = person.git(&["rev-parse", "HEAD"]);
    person.revert();
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    let said = registry.run(&["verify", "--since", &theirs]).succeeds();
    said.prints(&format!("after {tip}; commits: 2,"));
    registry.knows_its_files();
}

#[test]
fn a_commit_that_was_only_merged_is_no_beginning() {
    let (mut registry, _) = registry();
    let person = Person::of(&registry);
    person.git(&["checkout", "--quiet", "-b", "side"]);
    let side = person.write("README.md", "hello\n").commit("aside");
    person.git(&["checkout", "--quiet", "main"]);
    person.git(&["merge", "--quiet", "--no-ff", "--no-edit", "side"]);
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    // What has another beginning is no index at all.
    person.git(&["checkout", "--quiet", "--orphan", "elsewhere"]);
    person.git(&["rm", "-r", "--force", "--quiet", "."]);
    let elsewhere = person.write("README.md", "hello\n").commit("elsewhere");
    person.git(&["checkout", "--quiet", "main"]);
    let merge = ["merge", "--quiet", "--no-edit", "--strategy=ours"];
    person.git(&[&merge[..], &["--allow-unrelated-histories", "elsewhere"]].concat());
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    for commit in [side, elsewhere] {
        let said = registry.run(&["verify", "--since", &commit]);
        said.fails_with(&format!("{commit} is not a commit of the branch itself"));
    }
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

#[test]
fn a_commit_that_is_not_in_the_history_is_no_beginning_and_no_fault_of_the_branch() {
    let (mut registry, _) = registry();
    registry.stop();
    let repository = registry.repository();
    let good = git::tip(&repository);
    let person = Person::of(&registry);
    let next = person.write("README.md", "hello\n").commit("next");
    person.git(&["checkout", "--quiet", "HEAD~2"]);
    let other = person.write("README.md", "hello\n").commit("aside");
    for commit in [&next, &other] {
        person
            .push(&format!("{commit}:refs/heads/side"), Receive::Packed)
            .succeeds();
        git(&repository, &["update-ref", "-d", "refs/heads/side"]).succeeds();
        let said = registry.run(&["verify", "--since", commit]);
        assert!(!said.to_string().contains("update-ref"), "{said}");
        let words = format!("{commit} is not in the history of the branch, which is at {good}");
        // Of the registry that says nothing.
        said.ends_with_code(2).fails_with(&words);
    }
    // Of a branch that lost what was served the reader hears, whatever the beginning.
    person
        .push("HEAD^:refs/heads/main", Receive::Packed)
        .succeeds();
    let said = registry.run(&["verify", "--since", &good]);
    said.ends_with_code(1)
        .prints("the branch was moved back from");
    person
        .push(&format!("{good}:main"), Receive::Packed)
        .succeeds();
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

#[test]
fn a_file_that_cuts_the_history_off_is_found() {
    let (mut registry, _) = registry();
    registry.stop();
    let tip = git::tip(&registry.repository());
    for name in ["shallow", "info/grafts"] {
        let path = registry.repository().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{tip}\n")).unwrap();
        finds(&registry, &tip, "hides older commits from every clone");
        assert!(!path.exists(), "the command that was named removes it");
        // One without a commit hides none.
        fs::write(&path, "").unwrap();
        registry.run(&["verify"]).succeeds();
        fs::remove_file(&path).unwrap();
        registry.run(&["verify"]).succeeds();
    }
    registry.knows_its_files();
}

#[test]
fn a_branch_that_lost_what_was_served_is_found() {
    let (mut registry, _) = registry();
    registry.stop();
    let good = git::tip(&registry.repository());
    let person = Person::of(&registry);
    let back = person.git(&["rev-parse", "HEAD^"]);
    person.push("HEAD^:main", Receive::Packed).succeeds();
    let shown = finds(&registry, &back, "the branch was moved back from");
    assert!(shown.contains("publish a 1.1.0"), "{shown}");

    person.git(&["checkout", "--quiet", "HEAD^"]);
    let other = person
        .write("README.md", "another\n")
        .commit("another past");
    person.push("HEAD:main", Receive::Packed).succeeds();
    let shown = finds(&registry, &other, "its history was rewritten");
    assert!(
        shown.contains("another past") && shown.contains("publish a 1.1.0"),
        "{shown}"
    );

    person.git(&["checkout", "--quiet", "--orphan", "anew"]);
    let anew = person.commit("begin anew");
    person.push("HEAD:main", Receive::Packed).succeeds();
    let report = registry.run(&["verify", "--json"]);
    let said = format!("{report}");
    assert!(!report.is_success() && said.contains(&anew), "{said}");
    assert!(
        said.contains("the first commit does not bear the signature"),
        "{said}"
    );
    person
        .push(&format!("{good}:main"), Receive::Packed)
        .succeeds();
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

#[test]
fn all_that_a_registry_does_in_its_life_verifies() {
    let (mut registry, token) = registry();
    let api = "/crates/api/v1/crates/a";
    for (method, word) in [("DELETE", "1.0.0/yank"), ("PUT", "1.0.0/unyank")] {
        let path = format!("{api}/{word}");
        request(method, path)
            .token(&token)
            .send(registry.port)
            .succeeds();
    }
    for (method, body) in [("PUT", "bob"), ("DELETE", "alice")] {
        let body = format!("{{\"users\":[\"{body}\"]}}");
        let asked = request(method, format!("{api}/owners"))
            .token(&token)
            .body(body);
        asked.send(registry.port).succeeds();
    }
    let tip = git::tip(&registry.repository());
    registry.run(&["key", "rotate"]).succeeds();
    registry
        .run(&["token", "revoke", &id_of(&token)])
        .succeeds();
    let bob = registry.token("bob");
    Release::new("a", "2.0.0")
        .publish(registry.port, &bob)
        .succeeds();

    let person = Person::of(&registry);
    fs::remove_file(person.path().join(LINES)).unwrap();
    person.commit("bad");
    person.revert();
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    registry.knows_its_files();
    registry.stop();
    let settings = |rest: &str| {
        format!("public_url = \"http://elsewhere.localhost:1\"\nvisibility = \"private\"\n{rest}")
    };
    registry.start_again_with(&settings("capability_downloads = true\n"));
    registry.run(&["downloads", "rotate"]).succeeds();
    registry.stop();
    registry.start_again_with(&settings(""));
    registry.stop();
    registry.start_again_with("visibility = \"public\"\n");
    Release::new("a", "2.1.0")
        .publish(registry.port, &bob)
        .succeeds();
    registry.run(&["verify"]).succeeds();
    registry.run(&["verify", "--since", &tip]).succeeds();
    registry.knows_its_files();
}

#[test]
fn on_a_terminal_a_bar_shows_how_far_it_is() {
    let (registry, _) = registry();
    // `script` gives it a terminal.
    let data = registry.data();
    let words = format!("{} verify --data {}", program().display(), data.display());
    let shown = run(
        Command::new("script")
            .env("TERM", "xterm")
            .args(["-qec", &words, "/dev/null"]),
        b"",
    );
    shown
        .succeeds()
        .prints(" commits, ")
        .prints("the index is as it must be");
}
