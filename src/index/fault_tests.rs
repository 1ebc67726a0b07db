//! The writer when a disk fails under it: who is told what, and what is done after all.

use std::fs;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, sync_channel};
use std::task::{Context, Wake, Waker};

use tempfile::TempDir;

use crate::domain::CommitId;

use super::follow::{Seen, Stall};
use super::group::Group;
use super::maintenance::PACKS_MAX;
use super::tests::{blobs, change, open, place, publish, yank};
use super::written::Failure;
use super::*;

type Asking = Pin<Box<dyn Future<Output = Result<Landed, WriteFault>>>>;

/// A registry whose writer has not begun: what is asked now becomes one group.
struct Waiting {
    folder: TempDir,
    writer: Writer,
    queue: SyncSender<Ticket>,
    tickets: Receiver<Ticket>,
    tell: mpsc::Sender<()>,
    answered: Receiver<()>,
}

/// Hears, on the writer's own thread, that somebody is answered.
struct Hears {
    tell: mpsc::Sender<()>,
    /// A folder that is in the way until then.
    in_the_way: Option<PathBuf>,
}

impl Wake for Hears {
    fn wake(self: Arc<Self>) {
        if let Some(folder) = &self.in_the_way {
            fs::remove_dir(folder).unwrap();
        }
        self.tell.send(()).unwrap();
    }
}

impl Waiting {
    /// On a registry with these versions of the crate `a`, of alice.
    async fn new(versions: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path(), "http://localhost:1").unwrap();
        for version in versions {
            let change = change("alice", publish("a", version, 1));
            let deadline = Instant::now() + Duration::from_secs(60);
            index.submit(change, deadline).await.unwrap();
        }
        drop(index);
        let place = place(folder.path());
        let tip = load::load(&place.git_dir, place.tip().unwrap()).unwrap();
        let writer = Writer {
            packs: Packs::new(place.packs()),
            measures: Measures::new(),
            git_dir: place.git_dir,
            key: SigningKey::open_or_create(&place.keys).unwrap(),
            keys: place.keys,
            cache: place.cache,
            shown: Arc::new(ArcSwap::from_pointee(tip.clone())),
            moved: watch::channel(Arc::clone(&tip.snapshot)).0,
            tip,
            unkept: 0,
            unproven: Vec::new(),
            is_proven: Arc::new(AtomicBool::new(true)),
            stalled: Arc::new(ArcSwapOption::empty()),
            pushed: None,
            unpushed: Arc::default(),
            violation: None,
            blobs: blobs(folder.path()),
            upstream: None,
            looked: std::time::Instant::now(),
            look_due: std::time::Instant::now(),
            poll: Duration::from_secs(60),
            flights: maintenance::Flights::new(sync_channel(1).0),
        };
        let (queue, tickets) = sync_channel(QUEUE_MAX);
        let (tell, answered) = mpsc::channel();
        Self {
            folder,
            writer,
            queue,
            tickets,
            tell,
            answered,
        }
    }

    /// Puts a change into the queue.
    fn ask(&self, action: Action) -> Asking {
        self.ask_with(action, None)
    }

    /// As [`Waiting::ask`]; the folder `in_the_way` goes in the moment of the answer.
    fn ask_with(&self, action: Action, in_the_way: Option<PathBuf>) -> Asking {
        self.ask_for(Ask::Change(change("alice", action)), in_the_way)
    }

    fn ask_for(&self, ask: Ask, in_the_way: Option<PathBuf>) -> Asking {
        let queue = self.queue.clone();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut asking: Asking =
            Box::pin(async move { queue::submit(&queue, ask, Blob::Kept, deadline).await });
        let tell = self.tell.clone();
        let waker = Waker::from(Arc::new(Hears { tell, in_the_way }));
        let polled = asking.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "nobody has answered yet");
        asking
    }

    /// Lets the writer do all that was asked and end; gives the registry's folder and the answers.
    async fn run(self, asked: Vec<Asking>) -> (TempDir, Vec<Result<Landed, WriteFault>>) {
        let Self {
            folder,
            writer,
            queue,
            tickets,
            tell: _tell,
            answered,
        } = self;
        drop(queue);
        let writing = thread::spawn(move || writer.run(&tickets));
        for _ in &asked {
            answered.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        let mut answers = Vec::new();
        for asking in asked {
            answers.push(asking.await);
        }
        // Each asker held the queue open until it had its answer.
        writing.join().unwrap();
        (folder, answers)
    }
}

fn is_unavailable(answer: &Result<Landed, WriteFault>, because: &str) -> bool {
    matches!(answer, Err(WriteFault::Unavailable(reason)) if reason.contains(because))
}

fn versions(folder: &Path) -> Vec<String> {
    let index = open(folder, "http://localhost:1").unwrap();
    let snapshot = index.snapshot();
    let krate = snapshot.find(&"a".parse().unwrap());
    let releases = krate.iter().flat_map(|krate| krate.releases());
    releases
        .map(|release| release.version.to_string())
        .collect()
}

fn pack_files(folder: &Path) -> Vec<PathBuf> {
    let packs = place(folder).git_dir.join("objects/pack");
    let mut files: Vec<_> = fs::read_dir(packs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_change_that_was_refused_because_of_one_that_failed_is_judged_again() {
    let waiting = Waiting::new(&[]).await;
    let lock = refs::lock_of_tip(&waiting.writer.git_dir);
    fs::create_dir(&lock).unwrap();
    // Two uploads of one version: the second is refused because of the first, which then does not land. With that
    // answer the way is free, and there is no ground left for a refusal.
    let first = waiting.ask_with(publish("a", "1.0.0", 1), Some(lock));
    let second = waiting.ask(publish("a", "1.0.0", 2));
    let (folder, answers) = waiting.run(vec![first, second]).await;
    assert!(is_unavailable(&answers[0], "was not moved"), "{answers:?}");
    assert!(answers[1].is_ok(), "{answers:?}");
    assert_eq!(versions(folder.path()), ["1.0.0"]);
}

#[tokio::test]
async fn no_refusal_stands_on_a_change_that_never_landed() {
    let waiting = Waiting::new(&["0.1.0"]).await;
    let packs = waiting.writer.git_dir.join("objects/pack");
    let away = packs.with_file_name("away");
    fs::rename(&packs, &away).unwrap();
    fs::write(&packs, "a file, where a folder should be").unwrap();
    let asked = vec![
        waiting.ask(publish("a", "1.0.0", 1)),
        waiting.ask(publish("a", "1.0.0", 2)),
        // Refused on what is durable: no group has a part in that.
        waiting.ask(publish("a", "0.1.0", 2)),
        waiting.ask(yank("a", "0.1.0", false)),
    ];
    let git_dir = waiting.writer.git_dir.clone();
    let before = refs::read(&git_dir, refs::TIP).unwrap();
    let measures = waiting.writer.measures.clone();
    let (folder, answers) = waiting.run(asked).await;
    assert_eq!(measures.pack_seconds.get_sample_count(), 0);
    for answer in &answers[..2] {
        assert!(
            is_unavailable(answer, "pack was not written"),
            "{answers:?}"
        );
    }
    assert!(
        matches!(
            &answers[2],
            Err(WriteFault::Refused(Refusal::VersionTaken { .. }))
        ),
        "{answers:?}"
    );
    assert_eq!(refs::read(&git_dir, refs::TIP).unwrap(), before);
    fs::remove_file(&packs).unwrap();
    fs::rename(&away, &packs).unwrap();
    assert_eq!(versions(folder.path()), ["0.1.0"]);
}

#[tokio::test]
async fn a_pack_whose_tip_was_not_moved_goes_and_no_other() {
    let waiting = Waiting::new(&["0.1.0"]).await;
    let before = pack_files(waiting.folder.path());
    let lock = refs::lock_of_tip(&waiting.writer.git_dir);
    fs::create_dir(&lock).unwrap();
    let asked = waiting.ask(publish("a", "1.0.0", 1));
    let measures = waiting.writer.measures.clone();
    let (folder, answers) = waiting.run(vec![asked]).await;
    assert!(is_unavailable(&answers[0], "was not moved"), "{answers:?}");
    assert_eq!(measures.pack_seconds.get_sample_count(), 1);
    assert_eq!(measures.tip_seconds.get_sample_count(), 0);
    assert_eq!(pack_files(folder.path()), before);
}

#[tokio::test]
async fn a_tip_that_somebody_else_moved_is_left_alone() {
    let waiting = Waiting::new(&["0.1.0", "0.2.0"]).await;
    let git_dir = waiting.writer.git_dir.clone();
    let ours = refs::read(&git_dir, refs::TIP).unwrap();
    let theirs = first_commit(&git_dir);
    fs::write(git_dir.join(refs::TIP), format!("{theirs}\n")).unwrap();
    let before = pack_files(waiting.folder.path());
    let asked = waiting.ask(publish("a", "1.0.0", 1));
    let (folder, answers) = waiting.run(vec![asked]).await;
    assert!(is_unavailable(&answers[0], &theirs), "{answers:?}");
    assert_eq!(
        refs::read(&git_dir, refs::TIP)
            .unwrap()
            .unwrap()
            .to_string(),
        theirs
    );
    assert_eq!(refs::read(&git_dir, refs::SERVED).unwrap(), ours);
    assert_eq!(pack_files(folder.path()), before);
}

#[tokio::test]
async fn a_tip_that_somebody_else_moves_after_the_last_look_is_not_overwritten() {
    let mut waiting = Waiting::new(&["0.1.0"]).await;
    let _asked = waiting.ask(publish("a", "1.0.0", 1));
    let mut group = Group::on(waiting.writer.tip.clone());
    group.add(waiting.tickets.recv().unwrap(), &waiting.writer);
    let git_dir = waiting.writer.git_dir.clone();
    let theirs = ["commit-tree", "main^{tree}", "-p", "main", "-m", "x"];
    let theirs = git_in(&git_dir, &theirs);
    git_in(&git_dir, &["update-ref", "refs/heads/main", &theirs]);
    let before = pack_files(waiting.folder.path());
    let done = waiting
        .writer
        .write(group.tip, group.objects, std::iter::empty());
    assert!(matches!(done, Err(Failure::JudgeAgain(_))));
    assert_eq!(git_in(&git_dir, &["rev-parse", "main"]), theirs);
    assert_eq!(pack_files(waiting.folder.path()), before);
}

#[tokio::test]
async fn a_branch_that_moves_on_while_it_is_followed_is_followed_further() {
    let mut waiting = Waiting::new(&["0.1.0"]).await;
    let git_dir = waiting.writer.git_dir.clone();
    let step = || -> CommitId {
        let args = ["commit-tree", "main^{tree}", "-p", "main", "-m", "x"];
        let commit = git_in(&git_dir, &args);
        git_in(&git_dir, &["update-ref", "refs/heads/main", &commit]);
        commit.parse().unwrap()
    };
    let (first, second) = (step(), step());
    assert_eq!(waiting.writer.follow(first), Ok(Seen::Moved));
    assert_eq!(waiting.writer.catch_up(), Ok(()));
    assert_eq!(waiting.writer.tip.snapshot.commit, second);
    assert!(waiting.writer.stalled.load().is_none());
}

#[tokio::test]
async fn what_was_withdrawn_before_its_turn_is_not_done() {
    let waiting = Waiting::new(&[]).await;
    let left = waiting.ask(publish("a", "1.0.0", 1));
    let stayed = waiting.ask(publish("a", "2.0.0", 2));
    drop(left);
    let (folder, answers) = waiting.run(vec![stayed]).await;
    assert!(answers[0].is_ok(), "{answers:?}");
    assert_eq!(versions(folder.path()), ["2.0.0"]);
}

#[tokio::test]
async fn a_group_counts_the_bytes_of_its_objects() {
    let waiting = Waiting::new(&[]).await;
    let _asked = ["1.0.0", "2.0.0"].map(|version| waiting.ask(publish("a", version, 1)));
    let mut group = Group::on(waiting.writer.tip.clone());
    for ticket in waiting.tickets.try_iter() {
        group.add(ticket, &waiting.writer);
    }
    let sizes = group.objects.iter().map(|object| object.size);
    assert!(sizes.len() > 2);
    assert_eq!(group.bytes, sizes.sum::<usize>());
}

#[tokio::test]
async fn a_branch_that_is_not_good_is_looked_at_again_after_a_pause() {
    let mut waiting = Waiting::new(&["0.1.0"]).await;
    let writer = &mut waiting.writer;
    let git_dir = writer.git_dir.clone();
    let theirs = git_in(
        &git_dir,
        &["commit-tree", "main^{tree}", "-p", "main", "-m", "x"],
    );
    let object = git_dir
        .join("objects")
        .join(&theirs[..2])
        .join(&theirs[2..]);
    let away = git_dir.join("away");
    fs::rename(&object, &away).unwrap();
    fs::write(git_dir.join(refs::TIP), format!("{theirs}\n")).unwrap();
    let reason = writer.catch_up().unwrap_err();
    assert!(reason.contains(&theirs), "{reason}");
    fs::rename(&away, &object).unwrap();
    let mut stall = Stall::clone(&writer.stalled.load_full().unwrap());
    stall.again += Duration::from_secs(3600);
    writer.stalled.store(Some(Arc::new(stall.clone())));
    assert_eq!(writer.catch_up(), Err(reason), "nobody looks yet");
    stall.again = std::time::Instant::now();
    writer.stalled.store(Some(Arc::new(stall)));
    assert_eq!(writer.catch_up(), Ok(()));
}

fn first_commit(git_dir: &Path) -> String {
    git_in(git_dir, &["rev-list", "--max-parents=0", "main"])
}

fn git_in(git_dir: &Path, args: &[&str]) -> String {
    let output = crate::git::command(git_dir)
        .args(["-c", "user.name=mallory", "-c", "user.email=m@example.org"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn with_too_many_packs_no_crate_is_changed_and_a_token_can_be_revoked() {
    for (packs, is_written) in [(PACKS_MAX - 1, true), (PACKS_MAX, false)] {
        let waiting = Waiting::new(&["1.0.0"]).await;
        waiting.writer.flights.crowd.note(packs);
        let asked = waiting.ask(publish("a", "1.1.0", 1));
        let at = jiff::Timestamp::UNIX_EPOCH;
        let revoke = Operation::RevokeToken {
            id: [7; 16].into(),
            until: at,
        };
        let revoked = waiting.ask_for(Ask::Operation(revoke, at), None);
        let (_folder, answers) = waiting.run(vec![asked, revoked]).await;
        assert_eq!(answers[0].is_ok(), is_written, "{answers:?}");
        assert!(answers[1].is_ok(), "{answers:?}");
        let is_told = is_unavailable(&answers[0], "packs, which cannot be merged");
        assert_ne!(is_told, is_written, "{answers:?}");
    }
}
