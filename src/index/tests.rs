//! The index as a whole, judged by the git program.

mod attack_tests;
mod follow_tests;
mod forge_tests;
mod operator_tests;
mod race_tests;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use semver::VersionReq;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::domain::*;

use super::*;

/// No test waits for it.
const POLL: Duration = Duration::from_secs(60);

struct Fixture {
    folder: TempDir,
    index: Index,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path(), "http://localhost:1").unwrap();
        Self { folder, index }
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .arg("--git-dir")
            .arg(self.folder.path().join("index.git"))
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    async fn submit(&self, by: &str, action: Action) -> Result<Landed, WriteFault> {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.index.submit(change(by, action), deadline).await
    }

    async fn lands(&self, by: &str, action: Action) -> Landed {
        self.submit(by, action).await.unwrap()
    }

    async fn is_refused(&self, by: &str, action: Action) -> Refusal {
        refusal(self.submit(by, action).await)
    }
}

pub(super) fn place(folder: &Path) -> Place {
    Place {
        git_dir: folder.join("index.git"),
        keys: folder.join("keys"),
        cache: folder.join("cache"),
    }
}

/// A store that has what [`publish`] names: no test looks into the files.
pub(super) fn blobs(folder: &Path) -> Blobs {
    let blobs = Blobs::open(folder.join("blobs")).unwrap();
    for byte in 0..=9 {
        let received = blobs.incoming().unwrap();
        blobs.keep(received, &Cksum::from([byte; 32])).unwrap();
    }
    blobs
}

pub(super) fn open(folder: &Path, url: &str) -> Result<Index, OpenFault> {
    Index::open(
        &place(folder),
        &settings(url),
        &blobs(folder),
        Branch::Here { poll: POLL },
    )
}

pub(super) fn settings(url: &str) -> Settings {
    Settings {
        name: RegistryName::default(),
        public_url: url.parse().unwrap(),
        visibility: Visibility::Public,
        keeps_visibility: false,
        capability_downloads: false,
    }
}

/// Makes so many packs more of one that is there.
pub(super) fn multiply_pack(folder: &Path, times: usize) {
    let is_index = |path: &PathBuf| path.extension() == Some(std::ffi::OsStr::new("idx"));
    let mut paths = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let index = paths.find(is_index).unwrap();
    for number in 0..times {
        let stem = folder.join(format!("pack-{number:040x}"));
        for part in ["pack", "idx"] {
            fs::hard_link(index.with_extension(part), stem.with_extension(part)).unwrap();
        }
    }
}

pub(super) fn change(by: &str, action: Action) -> Change {
    Change {
        action,
        by: crate::domain::Standing::local(by.parse().unwrap(), [0; 16].into(), true),
        request_id: "0123".parse().unwrap(),
        at: jiff::Timestamp::from_second(1_790_000_000).unwrap(),
    }
}

pub(super) fn publish(name: &str, version: &str, cksum: u8) -> Action {
    let dependency = Dependency {
        name: "dep".parse().unwrap(),
        req: VersionReq::parse("1").unwrap(),
        features: vec![],
        optional: false,
        default_features: true,
        target: None,
        kind: DependencyKind::Normal,
        registry: Some(RegistryUrl::public_registry()),
        package: None,
        unknown: Default::default(),
    };
    let pubtime = "2026-11-22T10:00:00Z".parse().unwrap();
    let line = IndexLine::new(
        name.parse().unwrap(),
        version.parse().unwrap(),
        vec![dependency],
        Features::new(),
        Cksum::from([cksum; 32]),
        pubtime,
    );
    Action::Publish {
        line: Box::new(line),
        source_commit: None,
        policy: Arc::default(),
    }
}

/// A version that needs these crates of the registry itself: each a kind and a name.
fn publish_needing(
    name: &str,
    version: &str,
    cksum: u8,
    needed: &[(DependencyKind, &str)],
) -> Action {
    let Action::Publish { mut line, .. } = publish(name, version, cksum) else {
        unreachable!("it publishes")
    };
    let foreign = line.deps[0].clone();
    line.deps
        .extend(needed.iter().map(|(kind, name)| Dependency {
            name: name.parse().unwrap(),
            kind: *kind,
            registry: None,
            ..foreign.clone()
        }));
    Action::Publish {
        line,
        source_commit: None,
        policy: Arc::default(),
    }
}

pub(super) fn yank(name: &str, version: &str, yanked: bool) -> Action {
    let version: CrateVersion = version.parse().unwrap();
    Action::Yank {
        name: name.parse().unwrap(),
        version,
        yanked,
    }
}

fn refusal(result: Result<Landed, WriteFault>) -> Refusal {
    match result {
        Err(WriteFault::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn every_change_is_one_commit_that_git_accepts() {
    let fixture = Fixture::new();
    fixture.lands("alice", publish("Serde", "1.0.0", 1)).await;
    fixture
        .lands("alice", publish("Serde", "1.0.1+build", 2))
        .await;
    fixture.lands("alice", publish("a", "0.1.0", 3)).await;
    fixture.lands("alice", yank("Serde", "1.0.0", true)).await;
    fixture.lands("alice", yank("Serde", "1.0.0", false)).await;
    let owners = vec!["bob".parse().unwrap()];
    let name: CrateName = "Serde".parse().unwrap();
    fixture
        .lands("alice", Action::AddOwners { name, owners })
        .await;

    assert_eq!(fixture.git(&["fsck", "--strict", "--full"]), "");
    assert_eq!(
        fixture.git(&["log", "--format=%s", "--first-parent", "main"]),
        "own Serde +bob\nunyank Serde 1.0.0\nyank Serde 1.0.0\npublish a 0.1.0\npublish Serde 1.0.1+build\n\
         publish Serde 1.0.0\nfound the registry crates\n"
    );
    let tip = fixture.git(&["rev-parse", "main"]);
    assert_eq!(tip, fixture.git(&["rev-parse", refs::SERVED]));
    assert_eq!(tip.trim(), fixture.index.snapshot().commit().to_string());
}

#[tokio::test]
async fn a_restart_serves_the_same_and_snapshot_and_tree_agree() {
    let fixture = Fixture::new();
    for version in ["0.2.0", "0.1.0", "0.10.0-rc.1"] {
        fixture
            .lands("alice", publish("some-crate", version, 7))
            .await;
    }
    fixture
        .lands("alice", yank("some_crate", "0.2.0", true))
        .await;
    let Fixture { folder, index } = fixture;
    let before = index.snapshot();
    drop(index);
    let index = open(folder.path(), "http://localhost:1").unwrap();
    let after = index.snapshot();
    assert_eq!(before.commit(), after.commit());
    let path = "so/me/some-crate";
    let (a, b) = (before.file(path).unwrap(), after.file(path).unwrap());
    assert_eq!((a.blob(), a.inflate()), (b.blob(), b.inflate()));
    let krate = after.find(&"Some_Crate".parse().unwrap()).unwrap();
    let versions: Vec<_> = krate
        .releases()
        .iter()
        .map(|r| r.version.to_string())
        .collect();
    assert_eq!(versions, ["0.1.0", "0.2.0", "0.10.0-rc.1"]);
    assert_eq!(krate.newest().version.to_string(), "0.1.0");
    assert!(
        after.file("so/me/some_crate").is_none(),
        "a twin's path is not the crate's"
    );
    let fixture = Fixture { folder, index };
    let shown = fixture.git(&["show", &format!("main:{path}")]);
    assert_eq!(shown.into_bytes(), after.file(path).unwrap().inflate());
}

#[tokio::test]
async fn what_may_not_happen_is_refused_and_leaves_no_commit() {
    let fixture = Fixture::new();
    let landed = fixture
        .lands("alice", publish("my-crate", "1.0.0", 1))
        .await;
    let mut sentences = Vec::new();
    for (by, action) in [
        ("alice", publish("my-crate", "1.0.0", 1)),
        ("alice", publish("my-crate", "1.0.0+x", 1)),
        ("alice", publish("my_crate", "2.0.0", 1)),
        ("alice", publish("My-Crate", "2.0.0", 1)),
        ("mallory", publish("my-crate", "2.0.0", 1)),
        ("alice", publish("nul", "1.0.0", 1)),
        ("alice", publish("std", "1.0.0", 1)),
        ("alice", yank("my-crate", "3.0.0", true)),
        ("alice", yank("other", "1.0.0", true)),
        ("mallory", yank("my-crate", "1.0.0", true)),
    ] {
        sentences.push(fixture.is_refused(by, action).await.to_string());
    }
    insta::assert_snapshot!(sentences.join("\n"), @r"
    crate version `my-crate 1.0.0` is already uploaded with this same checksum
    crate version `my-crate 1.0.0` is already uploaded; a version cannot be changed, and build metadata does not make another, so publish under a new number
    the crate `my_crate` exists under the spelling `my-crate`; use that name
    the crate `My-Crate` exists under the spelling `my-crate`; use that name
    `mallory` is not an owner of the crate `my-crate`; its owners are alice
    the name `nul` is the name of a device on Windows; choose another
    the name `std` is reserved for the Rust toolchain; choose another
    the crate `my-crate` has no version `3.0.0`
    there is no crate `other` in this registry
    `mallory` is not an owner of the crate `my-crate`; its owners are alice
    ");
    assert_eq!(fixture.index.snapshot().commit(), landed.commit);
    assert_eq!(fixture.git(&["rev-list", "--count", "main"]).trim(), "2");
}

#[tokio::test]
async fn all_that_is_against_a_version_is_told_at_once() {
    use DependencyKind::{Dev, Normal};
    let fixture = Fixture::new();
    fixture
        .lands("alice", publish("my-crate", "1.0.0", 1))
        .await;
    let mut snapshot = Snapshot::clone(&fixture.index.snapshot());
    let mut files = snapshot.registry().clone();
    files.policy = Policy::parse("create = ['alice']\nreserved = ['kept']").unwrap();
    snapshot.registry = Arc::new(files);
    let needed = [(Normal, "absent"), (Dev, "my_crate")];
    let mut said = String::new();
    for (by, name, version, cksum) in [
        ("alice", "my-crate", "1.0.0+x", 2),
        ("alice", "My-Crate", "1.0.0", 1),
        ("alice", "std", "1.0.0", 2),
        ("alice", "kept", "1.0.0", 2),
        // The same file again is that alone.
        ("alice", "my-crate", "1.0.0", 1),
        // Whoever lacks the right is not told of versions and other crates.
        ("mallory", "my-crate", "1.0.0", 1),
        ("mallory", "my_crate", "1.0.0", 2),
        ("mallory", "kept", "1.0.0", 2),
    ] {
        let asked = change(by, publish_needing(name, version, cksum, &needed));
        let refusals = asked.refusals(&snapshot);
        said += &format!("{by}: {name} {version}\n");
        for refusal in &refusals {
            said += &format!("  {refusal}\n");
        }
        assert_eq!(asked.judge(&snapshot).err().as_ref(), refusals.first());
    }
    insta::assert_snapshot!(said, @r"
    alice: my-crate 1.0.0+x
      crate version `my-crate 1.0.0` is already uploaded; a version cannot be changed, and build metadata does not make another, so publish under a new number
      the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one
      the dependency `my_crate` is spelled `my-crate` in this registry
    alice: My-Crate 1.0.0
      the crate `My-Crate` exists under the spelling `my-crate`; use that name
      crate version `my-crate 1.0.0` is already uploaded; a version cannot be changed, and build metadata does not make another, so publish under a new number
      the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one
      the dependency `my_crate` is spelled `my-crate` in this registry
    alice: std 1.0.0
      the name `std` is reserved for the Rust toolchain; choose another
      the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one
      the dependency `my_crate` is spelled `my-crate` in this registry
    alice: kept 1.0.0
      the name `kept` is reserved by the policy of this registry; choose another
      the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one
      the dependency `my_crate` is spelled `my-crate` in this registry
    alice: my-crate 1.0.0
      crate version `my-crate 1.0.0` is already uploaded with this same checksum
    mallory: my-crate 1.0.0
      `mallory` is not an owner of the crate `my-crate`; its owners are alice
    mallory: my_crate 1.0.0
      the crate `my_crate` exists under the spelling `my-crate`; use that name
      `mallory` is not an owner of the crate `my-crate`; its owners are alice
    mallory: kept 1.0.0
      the name `kept` is reserved by the policy of this registry; choose another
      the policy of this registry does not let `mallory` create crates; who may: alice
    ");
}

#[tokio::test]
async fn a_repeated_yank_succeeds_without_a_commit() {
    let fixture = Fixture::new();
    fixture.lands("alice", publish("c", "1.0.0", 1)).await;
    let first = fixture.lands("alice", yank("c", "1.0.0", true)).await;
    let second = fixture.lands("alice", yank("c", "1.0.0", true)).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_yank_may_leave_build_metadata_out_but_not_name_another() {
    let fixture = Fixture::new();
    fixture.lands("alice", publish("c", "1.0.0+one", 1)).await;
    let other = fixture.is_refused("alice", yank("c", "1.0.0+two", true));
    assert!(matches!(other.await, Refusal::NoSuchVersion { .. }));
    fixture.lands("alice", yank("c", "1.0.0", true)).await;
    fixture.lands("alice", yank("c", "1.0.0+one", false)).await;
    let krate = fixture
        .index
        .snapshot()
        .find(&"c".parse().unwrap())
        .cloned()
        .unwrap();
    assert!(!krate.releases()[0].yanked);
}

#[tokio::test]
async fn a_commit_of_owners_says_what_changed_and_no_more() {
    let fixture = Fixture::new();
    fixture.lands("alice", publish("c", "1.0.0", 1)).await;
    let named = ["bob", "Bob", "alice", "ALICE"].map(|login| login.parse().unwrap());
    let name: CrateName = "c".parse().unwrap();
    let owners = named.to_vec();
    fixture
        .lands(
            "alice",
            Action::AddOwners {
                name: name.clone(),
                owners,
            },
        )
        .await;
    assert_eq!(
        fixture.git(&["log", "-1", "--format=%s", "main"]),
        "own c +bob\n"
    );
    let owners = vec!["BOB".parse().unwrap()];
    fixture
        .lands(
            "Alice",
            Action::RemoveOwners {
                name: name.clone(),
                owners,
            },
        )
        .await;
    assert_eq!(
        fixture.git(&["log", "-1", "--format=%s", "main"]),
        "own c -bob\n"
    );
    let owners = vec!["Alice".parse().unwrap()];
    let last = fixture
        .submit("alice", Action::RemoveOwners { name, owners })
        .await;
    assert!(matches!(
        refusal(last),
        Refusal::Owners(OwnerFault::Last(_))
    ));
}

#[tokio::test]
async fn changes_that_wait_together_land_as_one_chain() {
    let fixture = Fixture::new();
    let names: Vec<_> = (0..40).map(|n| format!("crate-{n}")).collect();
    let landed = futures_util::future::join_all(
        names
            .iter()
            .map(|name| fixture.submit("alice", publish(name, "1.0.0", 1))),
    )
    .await;
    assert!(landed.iter().all(Result::is_ok));
    assert_eq!(fixture.git(&["rev-list", "--count", "main"]).trim(), "41");
    assert_eq!(fixture.git(&["rev-list", "--merges", "main"]), "");
    let packs = std::fs::read_dir(fixture.folder.path().join("index.git/objects/pack")).unwrap();
    assert!(packs.count() < 2 * 41, "some changes shared a pack");
    assert_eq!(fixture.git(&["fsck", "--strict", "--full"]), "");
}

#[tokio::test]
async fn changes_are_measured_from_the_question_to_the_answer() {
    let fixture = Fixture::new();
    let measures = fixture.index.measures().clone();
    let mut asking = Box::pin(fixture.submit("alice", publish("demo", "1.0.0", 1)));
    let done = match futures_util::poll!(&mut asking) {
        Poll::Pending => {
            assert_eq!(measures.waiting.get(), 1);
            asking.await
        }
        // The writer was faster than we are.
        Poll::Ready(done) => done,
    };
    done.unwrap();
    assert_eq!(measures.waiting.get(), 0);
    let asking = Box::pin(fixture.submit("alice", publish("demo", "1.0.1", 2)));
    drop(asking);
    assert_eq!(measures.waiting.get(), 0);
    assert_eq!(measures.group_changes.get_sample_sum(), 1.0);
    assert_eq!(measures.pack_seconds.get_sample_count(), 1);
    assert_eq!(measures.tip_seconds.get_sample_count(), 1);
}

#[tokio::test]
async fn of_twins_in_one_group_one_wins() {
    let fixture = Fixture::new();
    let results = futures_util::future::join_all(
        (0..8).map(|n| fixture.submit("alice", publish("same", "1.0.0", n))),
    )
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let written = &fixture.index.measures().group_changes;
    assert_eq!(written.get_sample_sum(), 1.0);
    for result in results.into_iter().filter(Result::is_err) {
        assert!(matches!(refusal(result), Refusal::VersionTaken { .. }));
    }
}

#[tokio::test]
async fn a_new_url_is_a_commit_and_the_old_one_stays_ours() {
    let fixture = Fixture::new();
    fixture.lands("alice", publish("c", "1.0.0", 1)).await;
    let Fixture { folder, index } = fixture;
    drop(index);
    let index = open(folder.path(), "https://crates.example.com/").unwrap();
    let snapshot = index.snapshot();
    let config = String::from_utf8(snapshot.file("config.json").unwrap().inflate()).unwrap();
    assert_eq!(
        config,
        "{\"dl\":\"https://crates.example.com/crates/dl\",\"api\":\"https://crates.example.com/crates\"}\n"
    );
    let own = snapshot.registry().identity.own_urls();
    for url in [
        "http://localhost:1/crates/git",
        "sparse+https://crates.example.com/crates/index/",
    ] {
        assert!(own.contains(&url.parse().unwrap()), "{url}");
    }
    drop(index);
    let index = open(folder.path(), "https://crates.example.com").unwrap();
    assert_eq!(
        index.snapshot().commit(),
        snapshot.commit(),
        "the same URL is no change"
    );
}

#[test]
fn a_url_under_which_nothing_was_published_is_not_ours_afterwards() {
    let Fixture { folder, index } = Fixture::new();
    drop(index);
    let index = open(folder.path(), "https://crates.example.com").unwrap();
    let own = index.snapshot().registry().identity.own_urls();
    assert!(!own.contains(&"http://localhost:1/crates/git".parse().unwrap()));
}

#[tokio::test]
async fn a_tip_moved_by_somebody_else_is_not_overwritten() {
    let fixture = Fixture::new();
    let first = fixture.index.snapshot().commit().to_string();
    let landed = fixture.lands("alice", publish("c", "1.0.0", 1)).await;
    fixture.git(&["update-ref", refs::TIP, &first]);
    let result = fixture.submit("alice", publish("c", "2.0.0", 1)).await;
    assert!(
        matches!(result, Err(WriteFault::Unavailable(_))),
        "{result:?}"
    );
    assert_eq!(
        fixture.index.snapshot().commit(),
        landed.commit,
        "reads go on"
    );
    fixture.git(&["update-ref", refs::TIP, &landed.commit.to_string()]);
    fixture.lands("alice", publish("c", "2.0.0", 1)).await;
    assert_eq!(fixture.git(&["fsck", "--strict", "--full"]), "");
}

#[test]
fn leftovers_of_an_ended_process_go_at_the_start() {
    let Fixture { folder, index } = Fixture::new();
    drop(index);
    let git_dir = folder.path().join("index.git");
    let left = [
        "objects/pack/tmp_0",
        "refs/heads/main.lock",
        "refs/namespaces/served/refs/heads/tmp_1",
    ];
    for path in left {
        fs::write(git_dir.join(path), b"").unwrap();
    }
    fs::write(git_dir.join(refs::SERVED), b"").unwrap();
    let index = open(folder.path(), "http://localhost:1").unwrap();
    for path in left {
        assert!(!git_dir.join(path).exists(), "{path}");
    }
    let shown = fs::read_to_string(git_dir.join(refs::SERVED)).unwrap();
    assert_eq!(shown.trim(), index.snapshot().commit().to_string());
}

#[tokio::test]
async fn an_index_whose_writer_has_ended_says_so() {
    let mut fixture = Fixture::new();
    assert!(fixture.index.has_writer());
    // Without anybody who could ask it, the writer ends.
    drop(fixture.index.queue.take());
    while fixture.index.has_writer() {
        std::thread::yield_now();
    }
    // What is against a change is told without it.
    let change = change("alice", yank("a", "1.0.0", true));
    let refusals = fixture.index.refusals(&change, Instant::now()).await;
    assert!(!refusals.is_empty());
}

#[test]
fn an_index_whose_packs_nobody_merges_says_so() {
    let fixture = Fixture::new();
    assert!(fixture.index.has_maintenance());
    fixture.index.maintenance.end();
    while fixture.index.has_maintenance() {
        std::thread::yield_now();
    }
}

#[test]
fn settings_that_cannot_be_written_are_no_start() {
    let Fixture { folder, index } = Fixture::new();
    drop(index);
    // In the way of the next tip.
    let spare = place(folder.path())
        .git_dir
        .join("refs/heads/sidecargo-spare.lock");
    let _ = fs::remove_file(&spare);
    fs::create_dir(&spare).unwrap();
    drop(open(folder.path(), "http://localhost:1").unwrap());
    let fault = open(folder.path(), "http://localhost:2").err().unwrap();
    assert!(matches!(fault, OpenFault::Configure(_)), "{fault}");
}

#[test]
fn another_key_name_or_store_is_refused() {
    let Fixture { folder, index } = Fixture::new();
    drop(index);
    let blobs = Blobs::open(folder.path().join("other-blobs")).unwrap();
    let settings = settings("http://localhost:1");
    let place = place(folder.path());
    let store = Index::open(&place, &settings, &blobs, Branch::Here { poll: POLL })
        .err()
        .unwrap();
    assert!(matches!(store, OpenFault::Store { .. }));
    let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
    let other = Settings {
        name: "other".parse().unwrap(),
        ..settings.clone()
    };
    let name = Index::open(&place, &other, &blobs, Branch::Here { poll: POLL })
        .err()
        .unwrap();
    assert!(matches!(name, OpenFault::Name { .. }));
    let place = Place {
        keys: folder.path().join("other-keys"),
        ..place
    };
    let open = || Index::open(&place, &settings, &blobs, Branch::Here { poll: POLL }).err();
    let key = open().unwrap();
    assert!(matches!(key, OpenFault::Key(KeyFault::Gone(_))), "{key}");
    assert!(!place.keys.exists(), "no other key is made");
    SigningKey::open_or_create(&place.keys).unwrap();
    let key = open().unwrap();
    assert!(matches!(key, OpenFault::ForeignKey(_)), "{key}");
}

#[tokio::test]
async fn own_dependencies_must_be_there_in_their_spelling() {
    use DependencyKind::{Build, Dev, Normal};
    let fixture = Fixture::new();
    fixture
        .lands("alice", publish("Some-Crate", "1.0.0", 1))
        .await;
    let needed = [
        (Normal, "absent"),
        (Dev, "absent"),
        (Dev, "some_crate"),
        (Build, "Some-Crate"),
    ];
    let asked = publish_needing("top", "1.0.0", 2, &needed);
    let deadline = Instant::now() + POLL;
    let asking = change("alice", asked.clone());
    let refusals = fixture.index.refusals(&asking, deadline).await;
    let sentences: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(sentences.join("\n"), @r"
    the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one
    the dependency `some_crate` is spelled `Some-Crate` in this registry
    ");
    // The writer asks what has to be mended first.
    assert_eq!(fixture.is_refused("alice", asked).await, refusals[0]);
    let asked = publish_needing("top", "1.0.0", 2, &[(Normal, "Some-Crate")]);
    fixture.lands("alice", asked).await;
}

#[tokio::test]
async fn the_writer_asks_again_whether_own_dependencies_are_there() {
    // Nobody has looked at the snapshot before the change is in the queue.
    let fixture = Fixture::new();
    let before = fixture.index.snapshot();
    let top = publish_needing("top", "1.0.0", 2, &[(DependencyKind::Normal, "leaf")]);
    assert_eq!(change("alice", top.clone()).refusals(&before).len(), 1);
    let (leaf, top) = tokio::join!(
        fixture.submit("alice", publish("leaf", "1.0.0", 1)),
        fixture.submit("alice", top),
    );
    leaf.unwrap();
    top.unwrap();
}

#[tokio::test]
async fn a_crate_may_need_itself_for_tests_or_in_another_version() {
    use DependencyKind::{Dev, Normal};
    let fixture = Fixture::new();
    let lonely = publish_needing("odd-one", "1.0.0", 1, &[(Normal, "odd-one")]);
    assert_eq!(
        fixture.is_refused("alice", lonely).await.to_string(),
        "the crate `odd-one` depends on itself but has no other version; only its tests may need the version itself"
    );
    let twin = publish_needing("odd-one", "1.0.0", 1, &[(Dev, "odd_one")]);
    assert_eq!(
        fixture.is_refused("alice", twin).await.to_string(),
        "the dependency `odd_one` is spelled `odd-one` in this registry"
    );
    let tested = publish_needing("odd-one", "2.0.0", 1, &[(Dev, "odd-one")]);
    fixture.lands("alice", tested).await;
    // An old version may be a face of a newer one.
    let face = publish_needing("odd-one", "1.0.1", 2, &[(Normal, "odd-one")]);
    fixture.lands("alice", face).await;
}

#[test]
fn unknown_dependencies_are_allowed_by_policy() {
    let fixture = Fixture::new();
    let mut snapshot = Snapshot::clone(&fixture.index.snapshot());
    let mut files = snapshot.registry().clone();
    files.policy = Policy::parse("require.known_dependencies = false").unwrap();
    snapshot.registry = Arc::new(files);
    let asked = publish_needing("top", "1.0.0", 1, &[(DependencyKind::Normal, "absent")]);
    assert_eq!(change("alice", asked).refusals(&snapshot), []);
}

#[test]
fn a_manifest_that_was_judged_by_another_policy_is_not_taken() {
    let fixture = Fixture::new();
    let asked = change("alice", publish("a", "1.0.0", 1));
    for (policy, refusals) in [
        ("dependencies_from = []", vec![Refusal::PolicyChanged]),
        ("require.license = true", vec![Refusal::PolicyChanged]),
        (
            "limits.crate_bytes_max = 1000000",
            vec![Refusal::PolicyChanged],
        ),
        // What the index judges itself.
        ("create = ['alice']\nreserved = ['kept']", vec![]),
        ("require.known_dependencies = false", vec![]),
    ] {
        let mut snapshot = Snapshot::clone(&fixture.index.snapshot());
        let mut files = snapshot.registry().clone();
        files.policy = Policy::parse(policy).unwrap();
        snapshot.registry = Arc::new(files);
        assert_eq!(asked.refusals(&snapshot), refusals, "{policy}");
        assert_eq!(
            asked.judge(&snapshot).err().as_slice(),
            refusals,
            "{policy}"
        );
    }
}

#[tokio::test]
async fn crate_files_that_the_newest_commits_name_are_looked_into() {
    let fixture = Fixture::new();
    let blobs = blobs(fixture.folder.path());
    let mut received = blobs.incoming().unwrap();
    received.file().write_all(b"bytes").unwrap();
    let intact = Cksum::from(<[u8; 32]>::from(Sha256::digest(b"bytes")));
    blobs.keep(received, &intact).unwrap();
    for (name, cksum) in [("a", intact), ("b", Cksum::from([9; 32]))] {
        let Action::Publish { mut line, .. } = publish(name, "1.0.0", 1) else {
            unreachable!("it publishes")
        };
        line.cksum = cksum;
        let action = Action::Publish {
            line,
            source_commit: None,
            policy: Arc::default(),
        };
        fixture.lands("alice", action).await;
    }
    let tip = fixture.index.snapshot().commit();
    let damages = recheck::newest_blobs(fixture.index.git_dir(), tip, &blobs);
    assert_eq!(
        damages,
        [recheck::Damage {
            path: blobs.path(&Cksum::from([9; 32])),
            subject: "publish b 1.0.0".to_owned(),
            reason: "it is missing or damaged; bring it back from a backup, or publish the very same file again"
                .to_owned(),
        }]
    );
    let said = damages[0].to_string();
    assert!(
        said.contains("of `publish b 1.0.0`: it is missing"),
        "{said}"
    );
}

#[test]
fn git_does_not_take_away_a_pack_that_no_ref_reaches_yet() {
    let fixture = Fixture::new();
    let packs = fixture.index.git_dir().join("objects/pack");
    let (_, object) = Body::with_object(b"what is being written").unwrap();
    let id = BlobId::from(object.id).to_string();
    let pack = pack::write(&packs, &[object]).unwrap();
    fixture.git(&["repack", "-a", "-d", "-q"]);
    assert_eq!(fixture.git(&["cat-file", "-t", &id]), "blob\n");
    drop(pack);
    fixture.git(&["repack", "-a", "-d", "-q"]);
    let found = Command::new("git")
        .arg("--git-dir")
        .arg(fixture.index.git_dir())
        .args(["cat-file", "-e", &id])
        .output();
    assert!(!found.unwrap().status.success(), "the mark is gone");
}

#[test]
fn marks_of_an_ended_process_go_at_the_start_and_others_stay() {
    let Fixture { folder, index } = Fixture::new();
    let packs = index.git_dir().join("objects/pack");
    drop(index);
    let (_, object) = Body::with_object(b"what was being written").unwrap();
    std::mem::forget(pack::write(&packs, &[object]).unwrap());
    let marks = || {
        let entries = fs::read_dir(&packs).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|it| it == "keep"))
            .count()
    };
    fs::write(packs.join("pack-of-a-person.keep"), "mine").unwrap();
    assert_eq!(marks(), 2);
    drop(open(folder.path(), "http://localhost:1").unwrap());
    assert_eq!(marks(), 1);
}

#[tokio::test]
async fn a_copy_goes_on_from_what_it_holds_and_is_never_mixed_with_another_history() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let source = place(fixture.folder.path());
    let folder = tempfile::tempdir().unwrap();
    let copy = place(folder.path());
    for version in ["1.0.0", "1.1.0"] {
        let landed = fixture.submit("alice", publish("a", version, 1)).await;
        let landed = landed.unwrap().commit;
        let commit = source.copy_to(landed, &copy).unwrap().accept().unwrap();
        assert_eq!(commit, landed);
        assert_eq!(copy.tip().unwrap(), commit);
    }
    // Again, with nothing new; settings that somebody added stay, also where the branch was taken away.
    let tip = source.tip().unwrap();
    let config = copy.git_dir.join("config");
    let settings = fs::read_to_string(&config).unwrap() + "[user]\n\tname = olga\n";
    fs::write(&config, &settings).unwrap();
    for is_gone in [true, false] {
        if is_gone {
            fs::remove_file(copy.git_dir.join(refs::TIP)).unwrap();
        }
        source.copy_to(tip, &copy).unwrap().accept().unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), settings);
    }
    let before = fixture.git(&["rev-parse", "main~1"]);
    let before = before.trim().parse().unwrap();
    let other = place(other.folder.path());
    let strange = other.tip().unwrap();
    for (source, commit) in [(source, before), (other, strange)] {
        let fault = source.copy_to(commit, &copy).unwrap_err();
        assert!(matches!(fault, CopyFault::OtherHistory { .. }), "{fault}");
        assert_eq!(refs::read(&copy.git_dir, copy::INCOMING).unwrap(), None);
    }
    // Nothing of another registry came.
    let objects = objects::Objects::open(&copy.git_dir).unwrap();
    assert!(objects.commit(strange).is_err());
}

#[tokio::test]
async fn a_copy_that_is_brought_up_to_date_again_and_again_has_few_packs() {
    let fixture = Fixture::new();
    let source = place(fixture.folder.path());
    let folder = tempfile::tempdir().unwrap();
    let copy = place(folder.path());
    for minor in 0..40 {
        let version = format!("1.{minor}.0");
        let landed = fixture.lands("alice", publish("a", &version, 1)).await;
        let incoming = source.copy_to(landed.commit, &copy).unwrap();
        incoming.accept().unwrap();
        copy.merge_packs();
    }
    let count = pack::how_many(&copy.packs()).unwrap();
    assert!(count < 32, "{count} packs");
    let report = verify(&copy, &blobs(fixture.folder.path()), None, &mut |_| {}).unwrap();
    // The crate files of these tests are empty.
    let mut faults = report.faults.iter().map(|fault| &fault.what);
    assert_eq!(
        faults.find(|what| !what.starts_with("the crate file")),
        None
    );
    assert_eq!(copy.tip().unwrap(), fixture.index.snapshot().commit());
}
