//! The catalog over a real index and real blobs.

use std::fs;
use std::future::pending;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::domain::{Cksum, CrateVersion, Features, IndexLine, RegistryName, Visibility};
use crate::index;
use crate::index::{Action, Branch, Change, Index, Settings};
use crate::places::Place;
use crate::publish::tarball_builder::Tarball;

const PEER: [u8; 4] = [192, 0, 2, 1];
const OTHER: [u8; 4] = [192, 0, 2, 2];

/// A registry without its doors.
pub(crate) struct Fixture {
    folder: TempDir,
    pub(crate) index: Index,
    pub(crate) blobs: Arc<Blobs>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path().join("blobs")).unwrap());
        let place = index::Place {
            git_dir: folder.path().join("index.git"),
            keys: folder.path().join("keys"),
            cache: folder.path().join("cache"),
        };
        let settings = Settings {
            name: RegistryName::default(),
            public_url: "http://localhost:1".parse().unwrap(),
            visibility: Visibility::Public,
            keeps_visibility: false,
            capability_downloads: false,
        };
        let index = Index::open(
            &place,
            &settings,
            &blobs,
            Branch::Here {
                poll: Duration::from_secs(60),
            },
        )
        .unwrap();
        Self {
            folder,
            index,
            blobs,
        }
    }

    /// A catalog as a new process has it.
    pub(super) fn catalog(&self) -> Arc<Catalog> {
        let folder = self.folder.path().join("cache");
        let blobs = Arc::clone(&self.blobs);
        Arc::new(Catalog::new(blobs, self.index.moves(), folder))
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache/catalog")
    }

    pub(crate) async fn publish(&self, name: &str, version: &str, description: &str) -> Cksum {
        let manifest = format!("[package]\ndescription = \"{description}\"\n");
        let bytes = Tarball::of_crate(name, version, &manifest).finish();
        self.publish_bytes(name, version, &bytes).await
    }

    async fn publish_bytes(&self, name: &str, version: &str, bytes: &[u8]) -> Cksum {
        let cksum = Cksum::from(<[u8; 32]>::from(Sha256::digest(bytes)));
        let mut file = self.blobs.incoming().unwrap();
        file.file().write_all(bytes).unwrap();
        self.blobs.keep(file, &cksum).unwrap();
        self.publish_kept(name, version, cksum).await
    }

    /// Publishes a file that is in the store.
    pub(crate) async fn publish_kept(&self, name: &str, version: &str, cksum: Cksum) -> Cksum {
        let line = IndexLine::new(
            name.parse().unwrap(),
            version.parse().unwrap(),
            Vec::new(),
            Features::new(),
            cksum,
            "2026-11-22T10:00:00Z".parse().unwrap(),
        );
        self.submit(Action::Publish {
            line: Box::new(line),
            source_commit: None,
            policy: Arc::default(),
        })
        .await;
        cksum
    }

    async fn yank(&self, name: &str, version: &str, yanked: bool) {
        let version: CrateVersion = version.parse().unwrap();
        self.submit(Action::Yank {
            name: name.parse().unwrap(),
            version,
            yanked,
        })
        .await;
    }

    async fn submit(&self, action: Action) {
        let change = Change {
            action,
            by: crate::domain::Standing::local("alice".parse().unwrap(), [0; 16].into(), true),
            request_id: "0123".parse().unwrap(),
            at: jiff::Timestamp::from_second(1_790_000_000).unwrap(),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        self.index.submit(change, deadline).await.unwrap();
    }

    fn remove_blob(&self, cksum: &Cksum) {
        let hex = cksum.to_string();
        let folder = self.folder.path().join("blobs").join(&hex[..2]);
        fs::remove_file(folder.join(hex)).unwrap();
    }
}

impl Catalog {
    /// Lets each search wait for its turn as long as `turn_wait`.
    pub(crate) fn let_wait(&mut self, turn_wait: Duration) {
        self.turn_wait = turn_wait;
    }

    /// Takes all turns.
    pub(crate) async fn all_turns(&self) -> Vec<Place> {
        let mut turns = Vec::new();
        loop {
            let place = self.searches.of_address(PEER.into(), Instant::now()).await;
            match place.unwrap().in_pool(Instant::now()).await {
                Some(turn) => turns.push(turn),
                None => return turns,
            }
        }
    }

    async fn search_of(self: &Arc<Self>, peer: [u8; 4]) -> Result<Found, SearchFault> {
        self.search("", FOUND_MAX, peer.into(), pending()).await
    }
}

/// What a search answers: name, version and description of each.
async fn found(catalog: &Arc<Catalog>, query: &str) -> Vec<String> {
    let found = catalog.search(query, FOUND_MAX, PEER.into(), pending());
    let found = found.await.unwrap();
    assert_eq!(found.total, found.crates.len());
    let shown = |entry: &Entry| {
        let description = entry.description().unwrap_or("-");
        format!("{} {} {description}", entry.name(), entry.version())
    };
    found.crates.iter().map(shown).collect()
}

/// Waits until the follower has read all.
async fn followed(catalog: &Arc<Catalog>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while catalog.commit().is_none() || catalog.shown.load().unread_count() > 0 {
        assert!(Instant::now() < deadline, "the catalog is not made");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_published_is_found_at_once() {
    let fixture = Fixture::new();
    let catalog = fixture.catalog();
    assert!(found(&catalog, "").await.is_empty());
    fixture.publish("demo", "1.0.0", "first words").await;
    assert_eq!(found(&catalog, "words").await, ["demo 1.0.0 first words"]);
    fixture.publish("demo", "1.1.0", "second words").await;
    fixture.publish("other", "0.1.0", "more words").await;
    assert_eq!(
        found(&catalog, "words").await,
        ["demo 1.1.0 second words", "other 0.1.0 more words"]
    );
    assert!(found(&catalog, "first").await.is_empty());
    assert_eq!(catalog.commit(), Some(fixture.index.snapshot().commit()));
}

#[tokio::test]
async fn the_newest_version_that_is_not_yanked_speaks_for_the_crate() {
    let fixture = Fixture::new();
    let catalog = fixture.catalog();
    fixture.publish("demo", "1.0.0", "old").await;
    fixture.publish("demo", "2.0.0-rc.1", "preview").await;
    assert_eq!(found(&catalog, "demo").await, ["demo 1.0.0 old"]);
    fixture.publish("demo", "1.5.0", "new").await;
    assert_eq!(found(&catalog, "demo").await, ["demo 1.5.0 new"]);
    fixture.yank("demo", "1.5.0", true).await;
    assert_eq!(found(&catalog, "demo").await, ["demo 1.0.0 old"]);
    assert!(found(&catalog, "new").await.is_empty());
    fixture.yank("demo", "1.0.0", true).await;
    assert_eq!(found(&catalog, "demo").await, ["demo 2.0.0-rc.1 preview"]);
    fixture.yank("demo", "1.5.0", false).await;
    assert_eq!(found(&catalog, "demo").await, ["demo 1.5.0 new"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_costs_its_description_only() {
    let fixture = Fixture::new();
    let catalog = fixture.catalog();
    fixture.publish_bytes("broken", "1.0.0", b"no gzip").await;
    let lost = fixture.publish("lost", "1.0.0", "lost words").await;
    fixture.remove_blob(&lost);
    fixture.publish("whole", "1.0.0", "whole words").await;
    assert_eq!(
        found(&catalog, "").await,
        ["broken 1.0.0 -", "lost 1.0.0 -", "whole 1.0.0 whole words"]
    );
    assert_eq!(
        catalog.shown.load().unread_count(),
        0,
        "they are not read again and again"
    );
    fixture.publish("broken", "1.0.1", "mended").await;
    assert_eq!(found(&catalog, "mended").await, ["broken 1.0.1 mended"]);
}

#[tokio::test]
async fn names_are_complete_before_files_are_read() {
    let fixture = Fixture::new();
    for number in 0..=READ_BY_SEARCH_MAX {
        fixture
            .publish(&format!("k{number}"), "1.0.0", "text")
            .await;
    }
    let catalog = fixture.catalog();
    assert_eq!(found(&catalog, "k7").await, ["k7 1.0.0 -"]);
    assert!(found(&catalog, "text").await.is_empty());
    let follower = Follower::start(Arc::clone(&catalog));
    followed(&catalog).await;
    assert_eq!(found(&catalog, "text").await.len(), READ_BY_SEARCH_MAX + 1);
    follower.stop().await;
}

#[tokio::test]
async fn the_follower_reads_what_lands_without_being_asked() {
    let fixture = Fixture::new();
    let catalog = fixture.catalog();
    let follower = Follower::start(Arc::clone(&catalog));
    followed(&catalog).await;
    fixture.publish("demo", "1.0.0", "words").await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_read = || {
        let entries = catalog.shown.load();
        entries
            .iter()
            .any(|entry| entry.description() == Some("words"))
    };
    while !is_read() {
        assert!(Instant::now() < deadline, "it is not followed");
        tokio::task::yield_now().await;
    }
    follower.stop().await;
}

#[tokio::test]
async fn the_follower_ends_with_the_index() {
    let fixture = Fixture::new();
    let catalog = fixture.catalog();
    let follower = follow::Follower::start(Arc::clone(&catalog));
    let Fixture { index, folder, .. } = fixture;
    drop(index);
    follower.ended().await;
    drop(folder);
}

#[tokio::test]
async fn a_new_process_takes_over_what_was_read() {
    let fixture = Fixture::new();
    let kept = fixture.publish("kept", "1.0.0", "kept words").await;
    fixture.publish("newer", "1.0.0", "older words").await;
    run_once(&fixture.catalog()).await;

    // Its description can only come from the cache.
    fixture.remove_blob(&kept);
    fixture.publish("newer", "1.1.0", "newer words").await;
    let catalog = fixture.catalog();
    run_once(&catalog).await;
    let both = ["kept 1.0.0 kept words", "newer 1.1.0 newer words"];
    assert_eq!(found(&catalog, "words").await, both);

    let third = fixture.catalog();
    third.remember();
    assert_eq!(third.shown.load().unread_count(), 0, "both were saved");
    assert_eq!(found(&third, "words").await, both);
}

#[tokio::test]
async fn a_cache_that_is_damaged_or_foreign_is_made_again() {
    let fixture = Fixture::new();
    fixture.publish("demo", "1.0.0", "words").await;
    run_once(&fixture.catalog()).await;
    let good = fs::read(fixture.cache()).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let lie = String::from_utf8(good.clone())
        .unwrap()
        .replace("words", "lies!");
    for bad in [
        Vec::new(),
        b"\n".to_vec(),
        vec![0xff; 4096],
        good[..good.len() / 2].to_vec(),
        lie.into_bytes(),
        flipped(3),
        flipped(good.len() - 1),
    ] {
        fs::write(fixture.cache(), bad).unwrap();
        let catalog = fixture.catalog();
        run_once(&catalog).await;
        assert_eq!(found(&catalog, "words").await, ["demo 1.0.0 words"]);
        assert_eq!(
            fs::read(fixture.cache()).unwrap(),
            good,
            "it is whole again"
        );
    }
    fs::remove_file(fixture.cache()).unwrap();
    fs::create_dir(fixture.cache()).unwrap();
    let catalog = fixture.catalog();
    run_once(&catalog).await;
    assert_eq!(found(&catalog, "words").await, ["demo 1.0.0 words"]);
    assert_eq!(leftovers(fixture.folder.path()), 0);
}

#[tokio::test]
async fn nothing_is_written_when_nothing_was_read() {
    let fixture = Fixture::new();
    run_once(&fixture.catalog()).await;
    assert!(!fixture.cache().exists());
    fixture.publish("demo", "1.0.0", "words").await;
    run_once(&fixture.catalog()).await;
    // A file that is replaced is another file under the same name.
    let inode = || fs::metadata(fixture.cache()).unwrap().ino();
    let first = inode();
    run_once(&fixture.catalog()).await;
    assert_eq!(inode(), first);
}

/// Follows until all is read, and ends as the server does.
async fn run_once(catalog: &Arc<Catalog>) {
    let follower = Follower::start(Arc::clone(catalog));
    followed(catalog).await;
    follower.stop().await;
}

fn leftovers(folder: &Path) -> usize {
    crate::disk::remove_leftovers(&folder.join("cache")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_waits_for_its_turn_for_some_time_and_until_others_want_its_place() {
    let fixture = Fixture::new();
    let mut catalog = fixture.catalog();
    let turns = catalog.all_turns().await;
    let long = Duration::from_secs(600);
    Arc::get_mut(&mut catalog).unwrap().let_wait(long);
    let ready = std::future::ready(());
    let hurried = catalog.search("", FOUND_MAX, OTHER.into(), ready);
    let hurried = tokio::time::timeout(long / 10, hurried).await;
    assert!(matches!(hurried, Ok(Err(SearchFault::Busy))));
    Arc::get_mut(&mut catalog).unwrap().let_wait(Duration::ZERO);
    assert!(matches!(
        catalog.search_of(OTHER).await,
        Err(SearchFault::Busy)
    ));
    drop(turns);
    catalog.search_of(OTHER).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_few_searches() {
    let fixture = Fixture::new();
    let mut catalog = fixture.catalog();
    Arc::get_mut(&mut catalog).unwrap().let_wait(Duration::ZERO);
    let turns = catalog.all_turns().await.len();
    let mut held = Vec::new();
    for _ in 0..2 * turns {
        let place = catalog.searches.of_address(PEER.into(), Instant::now());
        held.push(place.await.unwrap());
    }
    assert!(matches!(
        catalog.search_of(PEER).await,
        Err(SearchFault::Busy)
    ));
    catalog.search_of(OTHER).await.unwrap();
    held.pop();
    catalog.search_of(PEER).await.unwrap();
}
