//! Pushes that the hooks of the repository judge.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use sidecargo::audit;
use tempfile::TempDir;

use crate::common::git::{self, Clone};
use crate::common::http::get;
use crate::common::person::{Person, Receive};
use crate::common::ran::Ran;
use crate::common::registry::{Registry, program};
use crate::common::upload::Release;

const LINES: &str = "1/a";
/// The registry never looks after its branch by itself.
const NO_POLL: &str = "[index]\npoll_secs = 86400\n";

/// Publishes the versions 1.0.0 and 1.1.0 of the crate `a`.
fn publish(registry: &Registry) {
    let token = registry.token("alice");
    for version in ["1.0.0", "1.1.0"] {
        Release::new("a", version)
            .publish(registry.port, &token)
            .succeeds();
    }
}

fn served(registry: &Registry) -> String {
    let lines = get(format!("/crates/index/{LINES}")).send(registry.port);
    lines.succeeds().text().to_owned()
}

/// Pushes with the hooks and panics unless it is refused with these words and nothing moves.
#[track_caller]
fn refused(registry: &Registry, person: &Person, what: &str, said: &str) -> Ran {
    let refs = || {
        git::git(&registry.repository(), &["show-ref"])
            .succeeds()
            .stdout
    };
    let before = refs();
    let ran = person.push(what, Receive::AsSetUp).fails_with(said);
    assert_eq!(refs(), before);
    // Git throws away what a refused push brought.
    let objects = registry.repository().join("objects");
    let names = fs::read_dir(objects)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names
        .filter(|name| name.to_string_lossy().starts_with("tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    ran
}

/// Exchanges both lines, or does something else that nobody may.
fn drop_a_line(person: &Person) -> String {
    let lines = person.read(LINES);
    let (first, _) = lines.split_once('\n').unwrap();
    person
        .write(LINES, &format!("{first}\n"))
        .commit("drop a line")
}

fn yank_by_hand(person: &Person) -> String {
    person.replace(LINES, "\"yanked\":false", "\"yanked\":true");
    person.commit("yank by hand")
}

#[test]
fn a_forbidden_push_is_refused_and_an_allowed_one_is_served_at_once() {
    let registry = Registry::start_with(NO_POLL);
    publish(&registry);
    let before = served(&registry);
    let person = Person::of(&registry);
    let bad = drop_a_line(&person);
    let said = "`1/a` has lost the line of version `1.1.0`; put it back";
    let ran = refused(&registry, &person, "HEAD:main", said);
    assert!(ran.stderr.contains(&bad), "{ran}");
    assert!(ran.stdout.contains("pre-receive hook declined"), "{ran}");
    let advice = "nothing was changed: amend the commit, and push again";
    assert!(ran.stderr.contains(advice), "the branch is good: {ran}");
    assert_eq!(served(&registry), before);
    get("/readyz").send(registry.port).succeeds();

    person.catch_up();
    let forged = person.commit_with_a_copied_signature();
    let said = format!("commit {forged} bears a signature of the registry that is not its own");
    let ran = refused(&registry, &person, "HEAD:main", &said);
    assert!(
        !ran.stderr.contains("update-ref"),
        "the branch is good: {ran}"
    );

    person.catch_up();
    let yanked = yank_by_hand(&person);
    let ran = person.push("HEAD:main", Receive::AsSetUp).succeeds();
    // Nobody waits for anything here: when git ends, all see it.
    assert_eq!(served(&registry), person.read(LINES));
    let clone = Clone::of(&registry);
    assert_eq!(clone.git(&["rev-parse", "HEAD"]), yanked);
    assert!(ran.stderr.contains(&format!("serves {yanked}")), "{ran}");

    // Without the hooks nobody would know yet.
    person.replace(LINES, "\"yanked\":true", "\"yanked\":false");
    person.commit("take it back");
    let lines = served(&registry);
    person.push("HEAD:main", Receive::Packed).succeeds();
    assert_eq!(served(&registry), lines);
}

#[test]
fn other_refs_and_what_is_no_step_forward_are_refused() {
    let registry = Registry::start_with(NO_POLL);
    publish(&registry);
    let person = Person::of(&registry);
    let one_branch = "the index has one branch; push to refs/heads/main";
    for name in ["refs/heads/other", "refs/tags/v1", "refs/replace/x"] {
        refused(&registry, &person, &format!("HEAD:{name}"), one_branch);
    }
    // What clients of git see is nobody's to push, with hooks or without.
    for name in ["refs/heads/main", "refs/heads/evil"] {
        let what = format!("HEAD^:refs/namespaces/served/{name}");
        let hidden = |ran: Ran| {
            assert!(!ran.is_success(), "{ran}");
            assert!(ran.stdout.contains("hidden ref"), "{ran}");
        };
        hidden(person.push(&what, Receive::AsSetUp));
        hidden(person.push(&what, Receive::Packed));
    }
    for what in [":main", "HEAD^:main"] {
        let ran = person.push(what, Receive::AsSetUp);
        assert!(!ran.is_success(), "{ran}");
    }
    person.git(&["checkout", "--quiet", "--orphan", "anew"]);
    person.commit("begin anew");
    let rewritten = "does not contain";
    refused(&registry, &person, "HEAD:main", rewritten);
    // Somebody publishes while a person works.
    person.catch_up();
    yank_by_hand(&person);
    let release = Release::new("a", "1.2.0");
    release
        .publish(registry.port, &registry.token("alice"))
        .succeeds();
    let overtaken = "put your commits onto that one, and push again";
    let ran = refused(&registry, &person, "HEAD:main", overtaken);
    assert!(!ran.stderr.contains("update-ref"), "{ran}");
    // As `git pull` does it where nobody said how.
    person.catch_up();
    person.write("README.md", "hello\n").commit("hello");
    let release = Release::new("a", "1.3.0");
    let token = registry.token("alice");
    release.publish(registry.port, &token).succeeds();
    person.git(&["fetch", "--quiet", "origin"]);
    person.git(&["merge", "--quiet", "--no-edit", "origin/main"]);
    let sideways = "only as the merged side of a merge; nothing was changed";
    let ran = refused(&registry, &person, "HEAD:main", sideways);
    assert!(!ran.stderr.contains("update-ref"), "{ran}");
    person.catch_up();
    let tip = person.git(&["rev-parse", "HEAD"]);
    assert_eq!(git::tip(&registry.repository()), tip);
    registry.run(&["verify"]).succeeds();
}

#[test]
fn a_push_may_not_bring_what_is_too_large_for_an_index_even_if_it_takes_it_off_again() {
    let registry = Registry::start_with(NO_POLL);
    let person = Person::of(&registry);
    let readme = person.read("README.md");
    let large = |bytes: u64| {
        let file = fs::File::create(person.path().join("README.md")).unwrap();
        file.set_len(bytes).unwrap();
        person.commit("large");
        person.write("README.md", &readme).commit("small again");
    };
    large((128 << 20) + 1);
    let object = person.git(&["rev-parse", "HEAD^:README.md"]);
    let said = format!("the object {object} has 134217729 bytes, and none of an index may have");
    // As single objects, and as a pack.
    refused(&registry, &person, "HEAD:main", &said);
    for number in 0..100 {
        person
            .write("README.md", &format!("{number}\n"))
            .commit("more");
    }
    refused(&registry, &person, "HEAD:main", &said);
    person.catch_up();
    large(128 << 20);
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
}

#[test]
fn a_push_is_judged_when_no_server_runs_too() {
    let mut registry = Registry::start();
    publish(&registry);
    registry.stop();
    let person = Person::of(&registry);
    drop_a_line(&person);
    let said = "`1/a` has lost the line of version `1.1.0`";
    refused(&registry, &person, "HEAD:main", said);
    person.catch_up();
    for _ in 0..2 {
        yank_by_hand(&person);
        person.push("HEAD:main", Receive::AsSetUp).succeeds();
        person.replace(LINES, "\"yanked\":true", "\"yanked\":false");
        person.commit("take it back");
    }
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    drop_a_line(&person);
    refused(&registry, &person, "HEAD:main", said);
    registry.start_again();
    person.catch_up();
    assert_eq!(served(&registry), person.read(LINES));
    registry.run(&["verify"]).succeeds();
}

#[test]
fn a_branch_that_is_behind_its_last_push_stays_there_and_is_told() {
    let mut registry = Registry::start();
    publish(&registry);
    registry.stop();
    let before = git::tip(&registry.repository());
    let person = Person::of(&registry);
    let pushed = yank_by_hand(&person);
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    // What is not known to be the last one's: it may have been refused after all.
    registry.run(&["verify"]).succeeds();
    person.write("README.md", "hello\n").commit("hello");
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    let move_to = |commit: &str| {
        git::git(
            &registry.repository(),
            &["update-ref", "refs/heads/main", commit],
        )
        .succeeds();
    };
    let said = format!("the branch is at {before}, and was at {pushed} before the last push");
    let way_on = format!("`git update-ref refs/heads/main {pushed}`");
    move_to(&before);
    let ran = registry.run(&["verify"]);
    assert!(!ran.is_success(), "{ran}");
    let ran = ran.prints(&said).prints(&way_on);
    assert!(!ran.stdout.contains("more;"), "{ran}");
    registry.start_again();
    assert_eq!(git::tip(&registry.repository()), before);
    let log = registry.log();
    assert!(log.contains(&said) && log.contains(&way_on), "{log}");
    get("/readyz").send(registry.port).succeeds();

    git::git(
        &registry.repository(),
        &["update-ref", "refs/heads/main", &pushed],
    )
    .succeeds();
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
    registry.stop();
    let logged = registry.log().len();
    registry.start_again();
    let log = registry.log();
    assert!(!log[logged..].contains("before the last push"), "{log}");
    assert!(served(&registry).contains("\"yanked\":true"));
    registry.knows_its_files();
}

#[test]
fn a_start_tells_that_nobody_can_push_into_a_repository_that_is_a_link() {
    let mut registry = Registry::start();
    let said = "is a symbolic link, and each push into it is refused";
    publish(&registry);
    registry.stop();
    assert!(!registry.log().contains(said), "{}", registry.log());
    let elsewhere = TempDir::new().unwrap();
    let moved = elsewhere.path().join("index.git");
    fs::rename(registry.repository(), &moved).unwrap();
    symlink(&moved, registry.repository()).unwrap();
    registry.start_again();
    assert!(registry.log().contains(said), "{}", registry.log());
    let person = Person::of(&registry);
    yank_by_hand(&person);
    let no_store = "there is no store of crate files in";
    refused(&registry, &person, "HEAD:main", no_store);
    Release::new("a", "1.2.0")
        .publish(registry.port, &registry.token("alice"))
        .succeeds();
    registry.knows_its_files();
    registry.stop();
    fs::remove_file(registry.repository()).unwrap();
    fs::rename(&moved, registry.repository()).unwrap();
    registry.start_again();
    registry.knows_its_files();
    person
        .push("HEAD:main", Receive::AsSetUp)
        .fails_with("nothing was changed");
}

#[test]
fn pushes_while_the_history_is_verified_are_no_faults() {
    let mut registry = Registry::start();
    publish(&registry);
    registry.stop();
    let before = git::tip(&registry.repository());
    let person = Person::of(&registry);
    let mut pushed = 0;
    let report = audit::verify(&registry.data(), None, &mut |_left| {
        pushed += 1;
        let text = format!("{pushed}\n");
        person.write("README.md", &text).commit("by hand");
        person.push("HEAD:main", Receive::AsSetUp).succeeds();
    });
    let report = report.unwrap();
    assert!(report.faults.is_empty(), "{report:?}");
    assert_eq!(report.tip.unwrap().to_string(), before);
    assert_eq!(pushed, 2, "the last push was from beyond what is verified");
}

#[test]
fn a_push_that_heals_a_bad_branch_is_let_in_and_wakes_the_server() {
    let mut registry = Registry::start_with(NO_POLL);
    publish(&registry);
    let token = registry.token("alice");
    let person = Person::of(&registry);
    drop_a_line(&person);
    person.push("HEAD:main", Receive::Loose).succeeds();
    let release = Release::new("a", "1.2.0");
    assert_eq!(release.publish(registry.port, &token).status, 503);
    assert_eq!(get("/readyz").send(registry.port).status, 503);
    person
        .write("README.md", "more of it\n")
        .commit("more of it");
    let said = "`1/a` has lost the line of version `1.1.0`";
    let ran = refused(&registry, &person, "HEAD:main", said);
    let advice = "revert it, and the index goes on";
    assert!(ran.stderr.contains(advice), "the branch is not: {ran}");
    person.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    person.revert();
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    get("/readyz").send(registry.port).succeeds();
    release.publish(registry.port, &token).succeeds();
    registry.knows_its_files();
}

#[test]
fn hooks_of_the_operator_are_left_alone() {
    // Nobody wakes the server, so what it serves does not move beside what is looked at.
    let mut registry = Registry::start_with(NO_POLL);
    publish(&registry);
    let hook = registry.repository().join("hooks/post-receive");
    let installed = fs::read_to_string(&hook).unwrap();
    let own = "#!/bin/sh\necho told the operator\n";
    fs::write(&hook, own).unwrap();
    registry.stop();
    registry.start_again();
    assert_eq!(fs::read_to_string(&hook).unwrap(), own);
    let person = Person::of(&registry);
    yank_by_hand(&person);
    let ran = person.push("HEAD:main", Receive::AsSetUp).succeeds();
    assert!(ran.stderr.contains("told the operator"), "{ran}");
    // The other one judges still, and one that is missing comes back.
    drop_a_line(&person);
    refused(&registry, &person, "HEAD:main", "has lost the line");
    fs::remove_file(&hook).unwrap();
    registry.knows_its_files();
    registry.stop();
    registry.start_again();
    assert_eq!(fs::read_to_string(&hook).unwrap(), installed);
    let mode = fs::metadata(&hook).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    registry.knows_its_files();
}

#[test]
fn where_the_program_moved_the_hooks_run_the_one_on_the_path() {
    let folder = TempDir::new().unwrap();
    let old = folder.path().join("old");
    symlink(program(), &old).unwrap();
    let registry = Registry::start();
    publish(&registry);
    let finder = registry.repository().join("hooks/sidecargo");
    let text = fs::read_to_string(&finder).unwrap();
    let new = program();
    let new = new.to_str().unwrap();
    assert!(text.contains(new), "{text}");
    fs::write(&finder, text.replace(new, old.to_str().unwrap())).unwrap();
    let person = Person::of(&registry);
    let path = format!(
        "PATH={}:{}",
        folder.path().display(),
        env::var("PATH").unwrap()
    );
    let by_path = format!("--receive-pack=env '{path}' git receive-pack");
    let push = || git::git(&person.path(), &["push", &by_path, "origin", "HEAD:main"]);
    yank_by_hand(&person);
    push().succeeds();
    fs::rename(old, folder.path().join("sidecargo")).unwrap();
    assert_eq!(served(&registry), person.read(LINES));
    drop_a_line(&person);
    push().fails_with("has lost the line");
}

#[test]
fn hooks_work_wherever_the_data_lies() {
    let registry = Registry::start_at("it's \"a\" $HOME `pwd`; folder/data");
    publish(&registry);
    let person = Person::of(&registry);
    yank_by_hand(&person);
    let ran = person.push("HEAD:main", Receive::AsSetUp).succeeds();
    assert!(ran.stderr.contains("the registry serves"), "{ran}");
    assert_eq!(served(&registry), person.read(LINES));
    drop_a_line(&person);
    refused(&registry, &person, "HEAD:main", "has lost the line");
}
