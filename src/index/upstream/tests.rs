//! The index on a forge that can fail, judged by what the forge has in the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::super::tests::{blobs, change, place, publish, settings, yank};
use super::super::{
    Action, Branch, Index, Landed, OpenFault, Place, ReviewFault, Scope, WriteFault, refs,
};
use super::forge_for_tests::{Forge, Trouble};
use super::{ARRIVED, Limits, Quarantine, UpstreamFault};

async fn open_in(folder: &Path, forge: &Forge) -> Result<Index, OpenFault> {
    open_at("http://localhost:1", folder, forge).await
}

/// As [`open_in`], with another URL.
async fn open_at(url: &'static str, folder: &Path, forge: &Forge) -> Result<Index, OpenFault> {
    let (folder, upstream) = (folder.to_owned(), forge.upstream());
    let open = move || {
        let settings = settings(url);
        Index::open(
            &place(&folder),
            &settings,
            &blobs(&folder),
            Branch::Forge(upstream),
        )
    };
    spawn_blocking(open).await.unwrap()
}

/// A server beside the forge.
struct Sidecar {
    folder: TempDir,
    index: Index,
}

impl Sidecar {
    async fn start(forge: &Forge) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = open_in(folder.path(), forge).await.unwrap();
        Self { folder, index }
    }

    /// Another one with the same keys and the same store.
    async fn beside(&self, forge: &Forge) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for shared in ["keys", "blobs"] {
            let (here, there) = (self.folder.path().join(shared), folder.path().join(shared));
            std::os::unix::fs::symlink(here, there).unwrap();
        }
        let index = open_in(folder.path(), forge).await.unwrap();
        Self { folder, index }
    }

    async fn submit(&self, action: Action) -> Result<Landed, WriteFault> {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.index.submit(change("alice", action), deadline).await
    }

    async fn look(&self) -> Result<Landed, WriteFault> {
        self.index
            .look(Instant::now() + Duration::from_secs(60))
            .await
    }

    fn commit(&self) -> String {
        self.index.snapshot().commit().to_string()
    }

    /// What clients of git see.
    fn served(&self) -> String {
        let git_dir = self.folder.path().join("index.git");
        refs::read(&git_dir, refs::SERVED)
            .unwrap()
            .unwrap()
            .to_string()
    }
}

fn reason(result: Result<Landed, WriteFault>) -> String {
    match result {
        Err(WriteFault::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_on_the_forge() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    assert_eq!(forge.tip(), sidecar.commit(), "the first commit");
    for version in ["1.0.0", "1.0.1"] {
        let landed = sidecar.submit(publish("a", version, 1)).await.unwrap();
        assert_eq!(forge.tip(), landed.commit.to_string());
        assert_eq!(sidecar.served(), forge.tip());
    }
    assert_eq!(
        forge.git(&["log", "--format=%s", "main"]),
        "publish a 1.0.1\npublish a 1.0.0\nfound the registry crates"
    );
    forge.git(&["fsck", "--strict", "--full"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_with_nothing_has_the_forges_index() {
    let forge = Forge::start().await;
    let first = Sidecar::start(&forge).await;
    first.submit(publish("a", "1.0.0", 1)).await.unwrap();
    let second = first.beside(&forge).await;
    assert_eq!(second.commit(), first.commit());
    assert_eq!(second.served(), forge.tip());
    // Each publishes on what the other did, and refuses nothing because of what it does not know yet.
    second.submit(publish("a", "1.0.1", 2)).await.unwrap();
    first.submit(yank("a", "1.0.1", true)).await.unwrap();
    // Nor does it find anything done that is undone.
    second.submit(yank("a", "1.0.1", false)).await.unwrap();
    first.submit(yank("a", "1.0.1", true)).await.unwrap();
    second.submit(publish("b", "1.0.0", 3)).await.unwrap();
    first.look().await.unwrap();
    assert_eq!(first.commit(), second.commit());
    assert_eq!(
        forge.git(&["log", "--format=%s", "-5", "main"]),
        "publish b 1.0.0\nyank a 1.0.1\nunyank a 1.0.1\nyank a 1.0.1\npublish a 1.0.1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_did_is_no_ground_for_a_refusal() {
    let forge = Forge::start().await;
    let first = Sidecar::start(&forge).await;
    let second = first.beside(&forge).await;
    first.submit(publish("a", "1.0.0", 1)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let change = change("alice", yank("a", "1.0.0", true));
    assert_eq!(second.index.refusals(&change, deadline).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_here_first_is_put_onto_an_empty_forge() {
    let forge = Forge::start().await;
    let folder = tempfile::tempdir().unwrap();
    let index = super::super::tests::open(folder.path(), "http://localhost:1").unwrap();
    let before = index.snapshot().commit();
    drop(index);
    let index = open_in(folder.path(), &forge).await.unwrap();
    assert_eq!(index.snapshot().commit(), before);
    assert_eq!(forge.tip(), before.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_that_found_an_index_at_once_the_second_takes_that_of_the_first() {
    let forge = Forge::start().await;
    let first = Sidecar::start(&forge).await;
    forge.git(&["update-ref", "refs/heads/other", "main"]);
    forge.git(&["update-ref", "-d", "refs/heads/main"]);
    forge.expect(&[Trouble::Overtake]);
    let second = first.beside(&forge).await;
    assert_eq!(second.commit(), first.commit());
    // But what one holds already stays, and is not mixed with it.
    let alone = tempfile::tempdir().unwrap();
    let index = super::super::tests::open(alone.path(), "http://localhost:1").unwrap();
    let before = index.snapshot().commit();
    drop(index);
    forge.git(&["update-ref", "-d", "refs/heads/main"]);
    forge.expect(&[Trouble::Overtake]);
    let fault = open_in(alone.path(), &forge).await.err().unwrap();
    assert!(matches!(fault, OpenFault::NotEmpty(_)), "{fault}");
    assert_eq!(place(alone.path()).tip().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_commit_that_did_not_arrive_is_in_nobodys_way() {
    let forge = Forge::start().await;
    let folder = tempfile::tempdir().unwrap();
    forge.expect(&[Trouble::Status(403)]);
    let fault = open_in(folder.path(), &forge).await.err().unwrap();
    assert!(matches!(fault, OpenFault::Found(_)), "{fault}");
    // As a kill leaves it.
    let settings = settings("http://localhost:1");
    let beside = Place {
        git_dir: folder.path().join("index.founding"),
        ..place(folder.path())
    };
    beside
        .ensure(&settings, blobs(folder.path()).id(), None)
        .unwrap();
    let second = Sidecar::start(&forge).await;
    for shared in ["keys", "blobs"] {
        let (here, there) = (
            second.folder.path().join(shared),
            folder.path().join(shared),
        );
        let _ = std::fs::remove_dir_all(&there);
        std::os::unix::fs::symlink(here, there).unwrap();
    }
    let index = open_in(folder.path(), &forge).await.unwrap();
    assert_eq!(index.snapshot().commit().to_string(), second.commit());
    assert!(!beside.git_dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_takes_no_settings_hinders_no_start() {
    let forge = Forge::start().await;
    let Sidecar { folder, index } = Sidecar::start(&forge).await;
    let before = index.snapshot().commit();
    drop(index);
    forge.hook("exit 1");
    let url = "http://localhost:2";
    let index = open_at(url, folder.path(), &forge).await.unwrap();
    assert_eq!(index.snapshot().commit(), before);
    drop(index);
    forge.hook("exit 0");
    let index = open_at(url, folder.path(), &forge).await.unwrap();
    assert_ne!(index.snapshot().commit(), before);
    assert_eq!(forge.tip(), index.snapshot().commit().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_forge_took_is_followed_once_this_machine_can() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    let lock = refs::lock_of_tip(&sidecar.folder.path().join("index.git"));
    std::fs::create_dir(&lock).unwrap();
    let unknown = sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap_err();
    assert!(
        matches!(unknown, WriteFault::OutcomeUnknown(_)),
        "{unknown}"
    );
    assert_ne!(forge.tip(), sidecar.commit());
    std::fs::remove_dir(&lock).unwrap();
    sidecar.look().await.unwrap();
    assert_eq!(forge.tip(), sidecar.commit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_is_shown_by_its_url_and_without_its_token() {
    let forge = Forge::start().await;
    let shown = format!("{:?}", forge.upstream());
    assert!(shown.contains("/acme/crates.git"), "{shown}");
    assert!(!shown.contains("Basic"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_at_once_lose_nothing() {
    let forge = Forge::start().await;
    let first = Sidecar::start(&forge).await;
    first.submit(publish("a", "0.1.0", 1)).await.unwrap();
    let second = first.beside(&forge).await;
    let versions: Vec<String> = (0..6).map(|number| format!("1.{number}.0")).collect();
    let publishes = versions.iter().enumerate().map(|(number, version)| {
        let sidecar = if number % 2 == 0 { &first } else { &second };
        sidecar.submit(publish("a", version, 1))
    });
    for done in futures_util::future::join_all(publishes).await {
        done.unwrap();
    }
    let file = forge.git(&["show", "main:1/a"]);
    for version in &versions {
        let count = file.matches(&format!("\"vers\":\"{version}\"")).count();
        assert_eq!(count, 1, "{version} in\n{file}");
    }
    assert_eq!(forge.git(&["rev-list", "--count", "main"]), "8");
    assert_eq!(
        forge.git(&["rev-list", "--count", "--min-parents=2", "main"]),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_merge_on_the_forge_is_served() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    let edited = forge.edit("main", "1/a", "\"yanked\":false", "\"yanked\":true");
    let landed = sidecar.look().await.unwrap();
    assert_eq!(landed.commit.to_string(), edited);
    assert_eq!(sidecar.served(), edited);
    let snapshot = sidecar.index.snapshot();
    assert!(snapshot.find(&"a".parse().unwrap()).unwrap().releases()[0].yanked);
    // And one that comes just before our own push.
    forge.edit("other", "1/a", "\"yanked\":true", "\"yanked\":false");
    forge.expect(&[Trouble::Overtake]);
    sidecar.submit(publish("a", "1.0.1", 2)).await.unwrap();
    assert_eq!(
        forge.git(&["log", "--format=%s", "-3", "main"]),
        "publish a 1.0.1\nedit by hand\nedit by hand"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_answer_is_lost_is_looked_for() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    forge.expect(&[Trouble::CutAfter]);
    let landed = sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    assert_eq!(forge.tip(), landed.commit.to_string());
    assert_eq!(forge.pushes(), 2, "it is not sent again");
    // Also where somebody was quick to build on it: it is not made twice, and not refused for being there.
    forge.expect(&[Trouble::CutBelowOthers]);
    sidecar.submit(publish("a", "1.1.0", 1)).await.unwrap();
    assert_eq!(
        forge.git(&["log", "--format=%s", "-3", "main"]),
        "more\npublish a 1.1.0\npublish a 1.0.0"
    );
    assert_eq!(
        (sidecar.commit(), sidecar.served()),
        (forge.tip(), forge.tip())
    );
    // One that never came is not answered by a guess, and can be made again.
    let before = forge.tip();
    // Nor is one that a proxy answers, which may have passed it on.
    let proxied = [Trouble::Status(503), Trouble::Status(408), Trouble::Page];
    for trouble in [Trouble::CutBefore].into_iter().chain(proxied) {
        forge.expect(&[trouble]);
        let unknown = sidecar.submit(publish("a", "1.0.1", 1)).await.unwrap_err();
        assert!(
            matches!(unknown, WriteFault::OutcomeUnknown(_)),
            "{unknown}"
        );
    }
    assert_eq!((forge.tip(), sidecar.served()), (before.clone(), before));
    sidecar.submit(publish("a", "1.0.1", 1)).await.unwrap();
    assert_eq!(forge.tip(), sidecar.commit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_still_on_its_way_is_waited_for() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    forge.expect(&[Trouble::Late]);
    let landed = sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    assert_eq!(forge.tip(), landed.commit.to_string());
    assert_eq!(forge.pushes(), 2, "it is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_taken_is_found_whatever_was_answered() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    for status in [200, 302, 401, 403, 408, 413] {
        let pushes = forge.pushes();
        forge.expect(&[Trouble::StatusAfter(status)]);
        let landed = sidecar
            .submit(publish("a", &format!("1.0.{status}"), 1))
            .await;
        assert_eq!(landed.unwrap().commit.to_string(), forge.tip(), "{status}");
        assert_eq!(forge.pushes(), pushes + 1, "{status}");
    }
    assert_eq!(sidecar.served(), forge.tip());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_knows_of_a_push_while_the_forge_is_too_busy_to_be_asked() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    forge.expect(&[Trouble::WaitAfter]);
    let unknown = sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap_err();
    assert!(
        matches!(unknown, WriteFault::OutcomeUnknown(_)),
        "{unknown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_found_late_was_taken_too() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    forge.hook("echo 'no such names here' >&2; exit 1");
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap_err();
    forge.hook("exit 0");
    forge.expect(&[Trouble::DownAfter(403)]);
    let unknown = sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap_err();
    assert!(
        matches!(unknown, WriteFault::OutcomeUnknown(_)),
        "{unknown}"
    );
    assert!(sidecar.index.unpushed().is_some());
    forge.set_down(false);
    sidecar.look().await.unwrap();
    assert_eq!(sidecar.commit(), forge.tip());
    assert_eq!(sidecar.index.unpushed(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_came_twice_or_has_no_answer_is_done_if_the_branch_is_there() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    let before = sidecar.index.snapshot().commit();
    let landed = sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    // The forge has all objects, so nothing is sent with it.
    let output = std::process::Command::new("git")
        .args(["pack-objects", "--stdout", "-q"])
        .current_dir(forge.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let push = || {
        let (upstream, pack) = (forge.upstream(), output.stdout.clone());
        spawn_blocking(move || upstream.push(Some(before), landed.commit, pack))
    };
    push().await.unwrap().unwrap();
    forge.git(&["update-ref", "refs/heads/main", &before.to_string()]);
    forge.expect(&[Trouble::CutAfter]);
    push().await.unwrap().unwrap();
    assert_eq!(forge.tip(), landed.commit.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_is_down_stops_writes_and_nothing_else() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    let before = sidecar.commit();
    assert!(sidecar.index.has_forge());
    forge.set_down(true);
    let failed = sidecar.submit(publish("a", "1.0.1", 1)).await.unwrap_err();
    // Of a request that may have come through it is not known.
    assert!(matches!(failed, WriteFault::OutcomeUnknown(_)), "{failed}");
    let why = reason(sidecar.look().await);
    assert!(why.contains("the forge cannot be reached"), "{why}");
    assert!(sidecar.index.stall().unwrap().is_away);
    assert_eq!(
        (sidecar.commit(), sidecar.served()),
        (before.clone(), before.clone())
    );
    // A start needs no forge either, once there is a copy.
    let Sidecar { folder, index } = sidecar;
    drop(index);
    let index = open_in(folder.path(), &forge).await.unwrap();
    let sidecar = Sidecar { folder, index };
    assert_eq!(sidecar.commit(), before);
    forge.set_down(false);
    sidecar
        .look()
        .await
        .unwrap_or_else(|fault| panic!("{fault}"));
    sidecar.submit(publish("a", "1.0.1", 1)).await.unwrap();
    assert_eq!(forge.tip(), sidecar.commit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_lets_nobody_in_says_so() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    for (trouble, word) in [
        (Trouble::Status(403), "403 Forbidden no"),
        (Trouble::Status(401), "401 Unauthorized"),
        (Trouble::Status(429), "busy (429"),
    ] {
        forge.expect(&[trouble]);
        let why = reason(sidecar.submit(publish("a", "1.0.0", 1)).await);
        assert!(why.contains(word) && !why.contains('\u{1b}'), "{why}");
    }
    forge.hook("echo 'error: Not allowed to push to protected branch main' >&2; exit 1");
    let why = reason(sidecar.submit(publish("a", "1.0.0", 1)).await);
    assert!(
        why.contains("Not allowed to push to protected branch main"),
        "{why}"
    );
    forge.hook("exit 0");
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    assert_eq!(forge.tip(), sidecar.commit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_wants_to_be_left_alone_is() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    forge.expect(&[Trouble::Wait]);
    // It would take the second.
    for version in ["1.0.0", "1.0.1"] {
        let why = sidecar.submit(publish("a", version, 1)).await.unwrap_err();
        assert!(why.to_string().contains("busy (429"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_group_the_one_that_the_forge_refuses_stands_alone() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    // It does not take that crate, whoever comes with it, and repeats what the commit says.
    forge.hook(
        "while read old new ref; do\n\
         git log --format=%s $old..$new | grep ' archived-logs ' >&2 && { echo 'permission denied: no such names here' >&2; exit 1; }\n\
         done\nexit 0",
    );
    let names = ["a", "b", "archived-logs", "c", "d"];
    let publishes = names.map(|name| sidecar.submit(publish(name, "1.0.0", 1)));
    let done = futures_util::future::join_all(publishes).await;
    for (name, done) in names.iter().zip(done) {
        match done {
            Ok(_) => assert_ne!(*name, "archived-logs"),
            Err(WriteFault::ForgeRefused(words)) => {
                assert_eq!(*name, "archived-logs");
                assert!(words.contains("no such names here"), "{words}");
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
    assert_eq!(forge.git(&["rev-list", "--count", "main"]), "5");
    assert_eq!(forge.tip(), sidecar.commit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_has_trouble_for_a_moment_is_tried_again() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    let before = forge.pushes();
    forge.hook("[ -e ../failed ] || { echo Internal Server Error >&2; : > ../failed; exit 1; }");
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    assert_eq!(forge.pushes() - before, 2);
    assert_eq!(forge.tip(), sidecar.commit());
    assert_eq!(sidecar.index.unpushed(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_sees_that_the_forge_took_no_push_until_it_takes_one() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    assert_eq!(sidecar.index.unpushed(), None);
    for words in [
        "no such names here",
        "Not allowed to push to protected branch main",
        "branch main is protected from unverified commit 1234",
    ] {
        forge.hook(&format!("echo '{words}' >&2; exit 1"));
        sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap_err();
        let told = sidecar.index.unpushed().unwrap();
        assert!(told.contains(words), "{told}");
    }
    forge.hook("exit 0");
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    assert_eq!(sidecar.index.unpushed(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_was_rewritten_is_not_followed_until_it_is_put_back() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    let good = forge.tip();
    let edited = forge.edit("other", "1/a", "\"name\":\"a\"", "\"name\":\"b\"");
    let mut moves = sidecar.index.moves();
    for (bad, is_rewound) in [("main~1", true), (edited.as_str(), false)] {
        moves.mark_unchanged();
        forge.git(&["update-ref", "refs/heads/main", bad]);
        let why = reason(sidecar.look().await);
        // Whoever judges by it is told once.
        assert!(moves.has_changed().unwrap());
        moves.mark_unchanged();
        assert!(why.contains(&good) || why.contains(bad), "{why}");
        // A line that was changed is nothing to adopt.
        assert_eq!(
            why.contains("or adopt what the forge has"),
            is_rewound,
            "{why}"
        );
        assert_eq!(
            (sidecar.commit(), sidecar.served()),
            (good.clone(), good.clone())
        );
        let refused = reason(sidecar.submit(publish("a", "1.0.1", 1)).await);
        assert_eq!(refused, why);
        let known = sidecar.index.stall().unwrap();
        assert!(known.strayed.is_some());
        // While nobody knows where it is, it is taken for where it was.
        forge.set_down(true);
        reason(sidecar.look().await);
        let stall = sidecar.index.stall().unwrap();
        assert!(stall.is_away);
        assert_eq!((stall.strayed, stall.seen), (known.strayed, known.seen));
        forge.set_down(false);
        assert_eq!(reason(sidecar.look().await), why);
        assert!(sidecar.index.stall().unwrap().seen > known.seen);
        assert!(!moves.has_changed().unwrap());
        forge.git(&["update-ref", "refs/heads/main", &good]);
        sidecar.look().await.unwrap();
        assert!(sidecar.index.stall().is_none());
    }
    sidecar.submit(publish("a", "1.0.1", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_breaks_a_rule_is_that_of_the_index_and_one_that_does_not_lead_on_is_not() {
    let forge = Forge::start().await;
    let first = Sidecar::start(&forge).await;
    first.submit(publish("a", "1.0.0", 1)).await.unwrap();
    let good = forge.tip();
    let is_proven = Arc::new(AtomicBool::new(false));
    let proven = Arc::clone(&is_proven);
    let upstream = forge.upstream();
    let upstream = upstream.proving(Arc::new(move || proven.store(true, Ordering::Relaxed)));
    let Sidecar { folder, index } = first;
    drop(index);
    let path = folder.path().to_owned();
    let open = move || {
        let settings = settings("http://localhost:1");
        let branch = Branch::Forge(upstream);
        Index::open(&place(&path), &settings, &blobs(&path), branch).unwrap()
    };
    let index = spawn_blocking(open).await.unwrap();
    let sidecar = Sidecar { folder, index };
    let broken = forge.edit("other", "1/a", "\"name\":\"a\"", "\"name\":\"b\"");
    let elsewhere = forge.commit_file("main~1", "README.md", b"read this");
    for (found, is_it) in [
        ("main~1", false),
        (elsewhere.as_str(), false),
        (broken.as_str(), true),
    ] {
        forge.git(&["update-ref", "refs/heads/main", found]);
        is_proven.store(false, Ordering::Relaxed);
        reason(sidecar.look().await);
        assert_eq!(is_proven.load(Ordering::Relaxed), is_it, "{found}");
        forge.git(&["update-ref", "refs/heads/main", &good]);
        sidecar.look().await.unwrap();
        assert!(is_proven.load(Ordering::Relaxed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_to_be_fetched_is_refused_as_that() {
    const LIMITS: Limits = Limits {
        time: Duration::from_secs(60),
        file_bytes: 1 << 20,
        memory_bytes: 1 << 30,
    };
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    let small = forge.commit_noise("main", "small", 1000);
    forge.git(&["update-ref", "refs/pull/1/head", &small]);
    let large = forge.commit_noise("main", "large", 2 << 20);
    forge.git(&["update-ref", "refs/pull/2/head", &large]);
    forge.git(&["update-ref", "refs/heads/main", &large]);
    let too_large = Err(UpstreamFault::TooLarge(1 << 20));
    let expected = [Ok(()), too_large.clone(), too_large];
    assert_eq!(fetched(&sidecar, &forge, LIMITS).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_much_memory_to_be_fetched_is_refused_as_that() {
    const LIMITS: Limits = Limits {
        time: Duration::from_secs(60),
        file_bytes: 1 << 20,
        memory_bytes: 48 << 20,
    };
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    let small = forge.commit_noise("main", "small", 1000);
    forge.git(&["update-ref", "refs/pull/1/head", &small]);
    let large = forge.commit_file("main", "large", &vec![b'\n'; 64 << 20]);
    forge.git(&["update-ref", "refs/pull/2/head", &large]);
    forge.git(&["update-ref", "refs/heads/main", &large]);
    let too_much = Err(UpstreamFault::TooMuchMemory(48 << 20));
    let expected = [Ok(()), too_much.clone(), too_much];
    assert_eq!(fetched(&sidecar, &forge, LIMITS).await, expected);
}

/// What becomes of two pull requests and the branch, if they are fetched within these limits.
async fn fetched(
    sidecar: &Sidecar,
    forge: &Forge,
    limits: Limits,
) -> [Result<(), UpstreamFault>; 3] {
    let upstream = forge.upstream();
    let git_dir = sidecar.folder.path().join("index.git");
    let fetched = spawn_blocking(move || {
        let objects = git_dir.join("review");
        std::fs::create_dir_all(objects.join("pack")).unwrap();
        let quarantine = Quarantine {
            git_dir: &git_dir,
            objects: &objects,
        };
        let apart = |name| upstream.fetch_apart(&quarantine, name, limits);
        let branch = upstream.fetch(&git_dir, limits).map(drop);
        [apart("refs/pull/1/head"), apart("refs/pull/2/head"), branch]
    });
    fetched.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_many_lines_takes_no_more_memory_than_it_may() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    let line_feeds = forge.commit_file("main", "1/a", &vec![b'\n'; 30_000_000]);
    forge.git(&["update-ref", "refs/pull/1/head", &line_feeds]);
    // Both sides have the file otherwise, so git compares its lines.
    sidecar.submit(publish("a", "1.0.1", 1)).await.unwrap();
    let (upstream, head) = (forge.upstream(), line_feeds.parse().unwrap());
    let Sidecar { folder, index } = sidecar;
    let judged =
        spawn_blocking(move || index.judge_merge(&blobs(folder.path()), &upstream, 1, head));
    let fault = judged.await.unwrap().told.unwrap_err();
    assert!(matches!(fault, ReviewFault::TooMuchMemory(_)), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_touches_what_it_does_and_not_what_it_was_updated_by() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    for name in ["a", "b"] {
        sidecar.submit(publish(name, "1.0.0", 1)).await.unwrap();
    }
    let proposed = forge.commit_file("main", "README.md", b"read this");
    forge.edit("main", "owners/1/a.toml", "users", "# 1\nusers");
    sidecar.look().await.unwrap();
    let commit = |parents: &[&str], tree: &str| {
        let who = ["-c", "user.name=Bob", "-c", "user.email=bob@example.com"];
        let parents = parents.iter().flat_map(|parent| ["-p", parent]);
        let words = ["commit-tree", "-m", "by hand", tree];
        forge.git(
            &who.into_iter()
                .chain(words)
                .chain(parents)
                .collect::<Vec<_>>(),
        )
    };
    let both = [proposed.as_str(), "main"];
    let merged = forge.git(&["merge-tree", "--write-tree", &proposed, "main"]);
    let updated = commit(&both, &merged);
    let ours = commit(&both, &format!("{proposed}^{{tree}}"));
    let other = forge.commit_file(&updated, "owners/1/b.toml", b"# 2\n");
    let hidden = commit(&both, &format!("{other}^{{tree}}"));
    let hidden = commit(&[&hidden], &merged);
    let cases = [
        (proposed.clone(), ""),
        (updated, ""),
        (ours, "a"),
        (hidden, "b"),
        (other, "b"),
    ];
    for (at, (head, _)) in cases.iter().enumerate() {
        forge.git(&["update-ref", &format!("refs/pull/{at}/head"), head]);
    }
    let upstream = forge.upstream();
    let Sidecar { folder, index } = sidecar;
    let judge = move || {
        let blobs = blobs(folder.path());
        for (at, (head, touched)) in cases.iter().enumerate() {
            let head = head.parse().unwrap();
            let merge = index.judge_merge(&blobs, &upstream, at as u64, head);
            match merge.basis.scope {
                Scope::Part { owners, .. } => {
                    let names = owners.iter().map(|(name, _)| name.to_string());
                    assert_eq!(names.collect::<String>(), *touched, "{at}");
                }
                whole => panic!("{at}: {whole:?}"),
            }
        }
    };
    spawn_blocking(judge).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_broke_leaves_nothing_and_is_made_again() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    let packs = sidecar.folder.path().join("index.git/objects/pack");
    let names = || -> BTreeSet<_> {
        let entries = std::fs::read_dir(&packs).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    // The next pack has its place by then.
    sidecar.look().await.unwrap();
    let before = names();
    let readme = forge.commit_noise("main", "README.md", 100_000);
    forge.git(&["update-ref", "refs/heads/main", &readme]);
    forge.cut_fetches(true);
    let why = reason(sidecar.look().await);
    assert!(
        why.contains("git fails on the commits of the forge"),
        "{why}"
    );
    let stall = sidecar.index.stall().unwrap();
    let is_known = stall.is_away || stall.strayed.is_some();
    assert!(!is_known, "nobody knows what it is");
    assert_eq!(names(), before);
    // As a git that was killed leaves it.
    let lock = sidecar
        .folder
        .path()
        .join("index.git/refs/sidecargo/upstream.lock");
    std::fs::write(&lock, "").unwrap();
    forge.cut_fetches(false);
    // What costs much is not tried again at once.
    for _ in 0..3000 {
        if sidecar.look().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(sidecar.commit(), readme);
    assert!(!lock.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_that_broke_leaves_nothing_of_what_came() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    let readme = forge.commit_noise("main", "README.md", 100_000);
    forge.git(&["update-ref", "refs/heads/main", &readme]);
    forge.cut_fetches(true);
    let folder = tempfile::tempdir().unwrap();
    for shared in ["keys", "blobs"] {
        let (here, there) = (
            sidecar.folder.path().join(shared),
            folder.path().join(shared),
        );
        std::os::unix::fs::symlink(here, there).unwrap();
    }
    let fault = open_in(folder.path(), &forge).await.err().unwrap();
    assert!(matches!(fault, OpenFault::Upstream(_)), "{fault}");
    let packs = folder.path().join("index.git/objects/pack");
    assert_eq!(std::fs::read_dir(packs).unwrap().count(), 0);
    forge.cut_fetches(false);
    let index = open_in(folder.path(), &forge).await.unwrap();
    assert_eq!(index.snapshot().commit().to_string(), readme);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_was_renamed_is_found_unless_it_is_sent_in_a_circle() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    // Its owner, too.
    forge.rename("acme/crates.git", "corp/crates.git");
    forge.rename("corp/crates.git", "corp/boxes");
    sidecar.submit(publish("a", "1.0.0", 1)).await.unwrap();
    forge.edit("main", "1/a", "\"yanked\":false", "\"yanked\":true");
    sidecar.look().await.unwrap();
    assert_eq!(forge.tip(), sidecar.commit());
    forge.rename("corp/boxes", "acme/crates.git");
    let fault = sidecar.look().await.unwrap_err();
    assert!(fault.to_string().contains("from place to place"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_was_renamed_is_found_where_a_proxy_shows_it_below_a_path() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    // At the path of people it would send from place to place.
    forge.rename("acme/crates.git", "git/corp/crates");
    forge.rename("git/corp/crates", "git/corp/crates");
    let upstream = forge.upstream_shown_at("https://example.com/git");
    let commit = sidecar.commit();
    let found = spawn_blocking(move || upstream.tip());
    let found = found.await.unwrap().unwrap().unwrap();
    assert_eq!(found.to_string(), commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_no_index_is_left_alone_until_it_is_gone() {
    let forge = Forge::start().await;
    let tree = forge.git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let who = ["-c", "user.name=Bob", "-c", "user.email=bob@example.com"];
    let readme = ["commit-tree", "-m", "a README", &tree];
    let readme = forge.git(&[who.as_slice(), &readme].concat());
    forge.git(&["update-ref", "refs/heads/main", &readme]);
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let fault = open_in(folder.path(), &forge).await.err().unwrap();
        assert!(matches!(fault, OpenFault::NotAnIndex(_)), "{fault}");
        assert_eq!(forge.tip(), readme);
    }
    forge.git(&["update-ref", "-d", "refs/heads/main"]);
    let index = open_in(folder.path(), &forge).await.unwrap();
    assert_eq!(forge.tip(), index.snapshot().commit().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_its_own_is_not_mixed_with_that_of_a_forge() {
    let forge = Forge::start().await;
    let sidecar = Sidecar::start(&forge).await;
    let alone = tempfile::tempdir().unwrap();
    drop(super::super::tests::open(alone.path(), "http://localhost:1").unwrap());
    for _ in 0..2 {
        let fault = open_in(alone.path(), &forge).await.err().unwrap();
        assert!(matches!(fault, OpenFault::NotEmpty(_)), "{fault}");
    }
    // Nor is a copy of a forge's branch written to without it.
    let Sidecar { folder, index } = sidecar;
    drop(index);
    // A backup of it is one as well.
    let backup = tempfile::tempdir().unwrap();
    let to = place(backup.path());
    let from = place(folder.path());
    let commit = from.good_commit(None).unwrap();
    from.copy_to(commit, &to).unwrap().accept().unwrap();
    for copy in [folder.path(), backup.path()] {
        let fault = super::super::tests::open(copy, "http://localhost:1")
            .err()
            .unwrap();
        assert!(matches!(fault, OpenFault::FollowsForge(_)), "{fault}");
        let way = format!("update-ref -d {ARRIVED}`");
        assert!(fault.to_string().contains(&way), "{fault}");
    }
    // Once it has left the forge, so has the backup when it is brought up to date.
    fs::remove_file(from.git_dir.join(ARRIVED)).unwrap();
    from.copy_to(commit, &to).unwrap().accept().unwrap();
    assert!(!to.has_forge().unwrap());
    drop(super::super::tests::open(folder.path(), "http://localhost:1").unwrap());
}
