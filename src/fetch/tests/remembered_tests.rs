//! Answers that are kept in memory.

use super::*;
use crate::fetch::remembered::BUFFER_BYTES;

/// With room for all that these tests ask for.
pub(super) const LIMITS: FetchLimits = FetchLimits {
    remembered_bytes_max: 64 * 1024 * 1024,
    ..super::LIMITS
};

impl Fetches {
    fn remembered(&self) -> u64 {
        self.measures().remembered.get()
    }

    /// How many buffers of answers are in memory.
    fn buffers(&self) -> usize {
        self.bytes_remembered() / BUFFER_BYTES
    }
}

/// The whole answer.
async fn answered(fetches: &Fetches, request: Bytes) -> Result<Vec<u8>, FetchFault> {
    whole(upload(fetches, PEER, request).await?).await
}

#[tokio::test]
async fn a_clone_that_is_asked_for_again_needs_no_process() {
    let repository = Repository::new(3_000_000);
    let fetches = repository.fetches(LIMITS);
    let first = answered(&fetches, repository.request()).await.unwrap();
    assert_eq!(fetches.remembered(), 0);
    assert!(fetches.bytes_remembered() > first.len());
    // Here no process could answer.
    let away = repository.folder.path().join("away");
    fs::rename(repository.git_dir(), &away).unwrap();
    for count in 1..=3 {
        let again = answered(&fetches, repository.request()).await.unwrap();
        assert!(again == first, "every byte is the same");
        assert_eq!(fetches.remembered(), count);
    }
    fs::rename(away, repository.git_dir()).unwrap();
    let body = || stream::iter([Ok::<_, FetchFault>(repository.request())]);
    let other = fetches.upload_pack(
        PEER,
        GitProtocol::V1,
        BodyCoding::Identity,
        body(),
        pending(),
    );
    let other = whole(other.await.unwrap()).await.unwrap();
    assert!(other.starts_with(b"0008NAK\n") && other.len() > 3_000_000);
    assert_eq!(fetches.remembered(), 3, "another version of the protocol");
}

#[tokio::test]
async fn another_commit_ends_what_is_remembered() {
    let repository = Repository::new(300_000);
    let fetches = repository.fetches(LIMITS);
    answered(&fetches, repository.request()).await.unwrap();
    assert!(fetches.buffers() > 0);
    let newer = advance(&repository, "newer");
    let refs = fetches
        .advertise(PEER, GitProtocol::V0, pending())
        .await
        .unwrap();
    let refs = String::from_utf8(whole(refs).await.unwrap()).unwrap();
    assert!(refs.contains(&newer));
    assert_eq!(fetches.buffers(), 0);
    // Somebody who was told of the older one a moment ago.
    answered(&fetches, repository.request()).await.unwrap();
    assert_eq!(fetches.buffers(), 0);
    answered(&fetches, request_of(&newer)).await.unwrap();
    assert_eq!(fetches.remembered(), 0);
    answered(&fetches, request_of(&newer)).await.unwrap();
    assert_eq!(fetches.remembered(), 1);
}

#[tokio::test]
async fn an_answer_during_which_the_commit_changes_is_not_kept() {
    let repository = Repository::new(8_000_000);
    let fetches = repository.fetches(LIMITS);
    let held = upload(&fetches, PEER, repository.request()).await.unwrap();
    advance(&repository, "meanwhile");
    assert!(whole(held).await.unwrap().len() > 8_000_000);
    timeout(PATIENCE, fetches.drained()).await.unwrap();
    assert_eq!(fetches.buffers(), 0);
}

#[tokio::test]
async fn what_breaks_off_or_fails_leaves_nothing() {
    let repository = Repository::new(8_000_000);
    let fetches = repository.fetches(LIMITS);
    let left = upload(&fetches, PEER, repository.request()).await.unwrap();
    drop(left);
    timeout(PATIENCE, fetches.drained()).await.unwrap();
    assert_eq!(fetches.buffers(), 0, "its client left");

    let killed = upload(&fetches, PEER, repository.request()).await.unwrap();
    for pid in repository.processes() {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        // The second may end with the first.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let ended = whole(killed).await;
    assert!(matches!(ended, Err(FetchFault::Failed)), "{ended:?}");
    assert_eq!(fetches.buffers(), 0, "its process was killed");

    // The process knows better which commit is served, and says so before it fails.
    *repository.served.lock().unwrap() = repository.hidden.parse().unwrap();
    let hidden = request_of(&repository.hidden);
    let told = answered(&fetches, hidden).await.unwrap();
    assert!(String::from_utf8_lossy(&told).contains("not our ref"));
    assert_eq!(fetches.buffers(), 0, "its process refused");
    assert_eq!(fetches.remembered(), 0);
}

#[tokio::test]
async fn only_clones_are_kept() {
    let repository = Repository::new(300_000);
    let fetches = repository.fetches(LIMITS);
    let newer = advance(&repository, "newer");
    let request = String::from_utf8(request_of(&newer).to_vec()).unwrap();
    let have = format!("0032have {}\n0009done\n", repository.tip);
    let fetch = Bytes::from(request.replace("0009done\n", &have));
    let pack = answered(&fetches, fetch).await.unwrap();
    assert!(pack.windows(4).any(|window| window == b"PACK"));
    assert_eq!(fetches.buffers(), 0);
}

#[tokio::test]
async fn what_finds_no_room_is_sent_and_not_kept() {
    let repository = Repository::new(3_000_000);
    let little = FetchLimits {
        remembered_bytes_max: 4 * BUFFER_BYTES,
        ..LIMITS
    };
    let fetches = repository.fetches(little);
    for _ in 0..2 {
        let pack = answered(&fetches, repository.request()).await.unwrap();
        assert!(pack.len() > 3_000_000);
        assert_eq!((fetches.buffers(), fetches.remembered()), (0, 0));
    }
    // Small ones, until all room is taken.
    let small = Repository::new(10);
    let fetches = small.fetches(little);
    for asked in 0..6_u64 {
        let want = format!("want {} side-band-64k\n", small.tip);
        let length = want.len() + 4;
        let depth = asked + 1;
        let request = format!("{length:04x}{want}000cdeepen {depth}00000009done\n");
        answered(&fetches, request.into()).await.unwrap();
        assert_eq!(
            fetches.buffers(),
            usize::try_from(asked + 1).unwrap().min(4)
        );
    }
    assert_eq!(fetches.remembered(), 0);
}

#[tokio::test]
async fn a_remembered_answer_needs_a_place_of_the_address_alone() {
    let repository = Repository::new(8_000_000);
    let one = FetchLimits {
        children_max: 1,
        per_address_max: 1,
        queue: Duration::from_millis(50),
        ..LIMITS
    };
    let fetches = repository.fetches(one);
    let first = answered(&fetches, repository.request()).await.unwrap();
    // The only place of the pool is taken by a request that is another.
    let other = [&repository.request()[..], b"0000"].concat();
    let holder = [127, 0, 0, 2].into();
    let _held = upload(&fetches, holder, other.into()).await.unwrap();
    assert_eq!(fetches.running(), 1);
    let unread = upload(&fetches, PEER, repository.request()).await.unwrap();
    assert_eq!(fetches.remembered(), 1);
    let refused = upload(&fetches, PEER, repository.request()).await;
    assert!(matches!(refused.err(), Some(FetchFault::Busy { .. })));
    assert!(whole(unread).await.unwrap() == first);
    assert!(answered(&fetches, repository.request()).await.unwrap() == first);
}

#[tokio::test]
async fn a_client_that_stalls_loses_its_remembered_answer() {
    let repository = Repository::new(8_000_000);
    let hasty = FetchLimits {
        stall: Duration::from_millis(100),
        per_address_max: 1,
        ..LIMITS
    };
    let mut fetches = repository.fetches(LIMITS);
    let first = answered(&fetches, repository.request()).await.unwrap();
    fetches.limits = hasty;
    fetches.places = Places::new(hasty.children_max, hasty.per_address_max);
    let unread = upload(&fetches, PEER, repository.request()).await.unwrap();
    // It waits for the place that the other loses, and may itself take its time.
    fetches.limits = LIMITS;
    let next = answered(&fetches, repository.request()).await.unwrap();
    assert!(next == first);
    let ended = whole(unread).await;
    assert!(matches!(ended, Err(FetchFault::Stalled)), "{ended:?}");
    assert_eq!(fetches.remembered(), 2);
}
