//! The way of a person's or the operator's change to the writer and of the answer back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::change::{Change, Refusal};
use super::edit::Verdict;
use super::operator::Operation;
use super::snapshot::Snapshot;
use super::written::{Landed, WriteFault};

/// How much longer than its deadline a change that is being written is waited for.
///
/// With the default deadline of 20 seconds the answer comes before Cargo gives up, after 30 (`http.timeout`).
pub const OUTCOME_WAIT: Duration = Duration::from_secs(5);

/// How long the writer waits for a `.crate` file to be kept: with all who are in its group, and those behind it.
const BLOB_WAIT: Duration = Duration::from_secs(5);

/// The share of a group's duration that the next one waits for company.
const WAIT_SHARE: u32 = 8;

/// The most changes of one group.
pub(super) const GROUP_MAX: usize = 256;

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Ask {
    /// A person's change of a crate.
    Change(Change),
    /// The operator's change of the registry's own files, and when it was asked.
    Operation(Operation, Timestamp),
    /// Nothing but that the branch is looked at, as it is before every group.
    Look,
}

/// How it is with the `.crate` file that a change needs.
#[derive(Debug)]
pub enum Blob {
    /// It is in the store, or none is needed.
    Kept,
    /// It is on its way there; whoever keeps it tells when it is durable.
    Coming(Receiver<io::Result<()>>),
    /// It was not kept, and this is why.
    Lost(String),
}

/// A change in the queue.
pub(super) struct Ticket {
    ask: Ask,
    asked: std::time::Instant,
    deadline: Instant,
    blob: Blob,
    state: Arc<AtomicU8>,
    answer: oneshot::Sender<Result<Landed, WriteFault>>,
}

/// Who goes together in the next group.
#[derive(Default)]
pub(super) struct Company {
    /// Those that came while the last group was on its way.
    came: Vec<Ticket>,
    /// How many go together if all come that are waited for.
    expected: usize,
    /// How long they are waited for.
    wait: Duration,
}

/// The asking side: a change that is not yet in a group is withdrawn when this is dropped.
struct Asker(Arc<AtomicU8>);

impl Ask {
    /// Judges it on a snapshot.
    pub(super) fn judge(&self, on: &Snapshot) -> Result<Verdict, Refusal> {
        match self {
            Self::Change(change) => change.judge(on),
            Self::Operation(operation, at) => Ok(operation.judge(on, *at)?),
            Self::Look => Ok(Verdict::Unchanged),
        }
    }

    /// The id of the request that asks for it, if one does.
    pub(super) fn request_id(&self) -> Option<&str> {
        match self {
            Self::Change(change) => Some(change.request_id.as_str()),
            Self::Operation(..) | Self::Look => None,
        }
    }

    /// When it was asked.
    pub(super) fn at(&self) -> Timestamp {
        match self {
            Self::Change(change) => change.at,
            Self::Operation(_, at) => *at,
            Self::Look => Timestamp::now(),
        }
    }
}

impl Ticket {
    pub(super) fn ask(&self) -> &Ask {
        &self.ask
    }

    /// When its time is over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When it came.
    pub(super) fn asked(&self) -> std::time::Instant {
        self.asked
    }

    /// Puts the change into a group, the first or one after another that did not land; false if it was withdrawn before.
    pub(super) fn take(&self) -> bool {
        !self.answer.is_closed()
            && (move_on(&self.state, TAKEN) || self.state.load(Ordering::Acquire) == TAKEN)
    }

    /// How it is with the `.crate` file.
    pub(super) fn blob(&self) -> &Blob {
        &self.blob
    }

    fn wait_for_blob(&mut self, until: std::time::Instant) -> bool {
        if let Blob::Coming(told) = &self.blob {
            let left = until.saturating_duration_since(std::time::Instant::now());
            self.blob = match told.recv_timeout(left) {
                Ok(Ok(())) => Blob::Kept,
                Ok(Err(cause)) => Blob::Lost(cause.to_string()),
                Err(_) => Blob::Lost("the disk does not answer".to_owned()),
            };
        }
        matches!(self.blob, Blob::Kept)
    }

    pub(super) fn answer(self, answer: Result<Landed, WriteFault>) {
        // An asker who left misses the answer; what was done stays done.
        let _ = self.answer.send(answer);
    }
}

impl Asker {
    fn withdraw(&self) -> bool {
        move_on(&self.0, WITHDRAWN)
    }

    /// What is known when the writer went away without an answer.
    fn unanswered(&self) -> WriteFault {
        if self.withdraw() {
            return stopped();
        }
        WriteFault::OutcomeUnknown("the writer ended in the middle of it".to_owned())
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Whichever side is first decides whether the change is taken or withdrawn.
fn move_on(state: &AtomicU8, to: u8) -> bool {
    state
        .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

/// Gives a change to the writer and waits for its answer.
///
/// When the deadline passes before the change is in a group, it is withdrawn and nothing is done. Once it is in a
/// group the answer is waited for, but not for ever: after [`OUTCOME_WAIT`] more, the outcome is unknown.
pub(super) async fn submit(
    queue: &SyncSender<Ticket>,
    ask: Ask,
    blob: Blob,
    deadline: Instant,
) -> Result<Landed, WriteFault> {
    let (answer, mut answered) = oneshot::channel();
    let state = Arc::new(AtomicU8::new(WAITING));
    let asker = Asker(Arc::clone(&state));
    let ticket = Ticket {
        ask,
        asked: std::time::Instant::now(),
        deadline,
        blob,
        state,
        answer,
    };
    queue.try_send(ticket).map_err(|error| match error {
        TrySendError::Full(_) => WriteFault::Busy,
        TrySendError::Disconnected(_) => stopped(),
    })?;
    let patience = deadline.saturating_duration_since(Instant::now());
    if let Ok(answer) = tokio::time::timeout(patience, &mut answered).await {
        return answer.unwrap_or_else(|_| Err(asker.unanswered()));
    }
    if asker.withdraw() {
        return Err(WriteFault::Late);
    }
    match tokio::time::timeout(OUTCOME_WAIT, answered).await {
        Ok(answer) => answer.unwrap_or_else(|_| Err(asker.unanswered())),
        Err(_) => Err(WriteFault::OutcomeUnknown(
            "the disk does not answer, or the forge".to_owned(),
        )),
    }
}

/// Answers those whose time is over while others were written: nothing of theirs is under way.
pub(super) fn answer_late(tickets: &mut VecDeque<Ticket>) {
    let now = Instant::now();
    for ticket in std::mem::take(tickets) {
        match ticket.deadline() < now {
            true => ticket.answer(Err(WriteFault::Late)),
            false => tickets.push_back(ticket),
        }
    }
}

impl Company {
    /// The next group: all changes that wait now, and for a little while those that are expected. `first` waits for a
    /// change where there is none yet; `None` if none ever comes.
    pub(super) fn gather(
        &mut self,
        queue: &Receiver<Ticket>,
        first: impl FnOnce() -> Option<Ticket>,
    ) -> Option<Vec<Ticket>> {
        let mut tickets = std::mem::take(&mut self.came);
        if tickets.is_empty() {
            tickets.push(first()?);
        }
        let until = std::time::Instant::now() + self.wait;
        while tickets.len() < GROUP_MAX {
            let left = match tickets.len() < self.expected {
                true => until.saturating_duration_since(std::time::Instant::now()),
                false => Duration::ZERO,
            };
            match queue.recv_timeout(left) {
                Ok(ticket) => tickets.push(ticket),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Some(tickets)
    }

    /// A group of so many changes was answered after such a time. Whoever was in it comes again, most likely: to be
    /// waited for together with those that came meanwhile, or each half would for ever wait for the other.
    pub(super) fn ended(&mut self, queue: &Receiver<Ticket>, count: usize, took: Duration) {
        self.came.extend(queue.try_iter().take(GROUP_MAX));
        self.wait = took / WAIT_SHARE;
        self.expected = match count {
            // One that came alone is followed at once.
            1 => 0,
            _ => count + self.came.len(),
        };
    }
}

/// Waits until the `.crate` files of a group are durable; false if one will not be.
///
/// One wait is for all of them, and each is asked: a store that hangs holds the writer once, whatever hangs in it.
pub(super) fn wait_for_blobs<'a>(tickets: impl Iterator<Item = &'a mut Ticket>) -> bool {
    let until = std::time::Instant::now() + BLOB_WAIT;
    let lost = tickets.filter_map(|ticket| (!ticket.wait_for_blob(until)).then_some(()));
    lost.count() == 0
}

fn stopped() -> WriteFault {
    WriteFault::Unavailable("the writer has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::index::Action;

    fn change() -> Ask {
        Ask::Change(Change {
            action: Action::Yank {
                name: "a".parse().unwrap(),
                version: "1.0.0".parse().unwrap(),
                yanked: true,
            },
            by: crate::domain::Standing::local("alice".parse().unwrap(), [0; 16].into(), true),
            request_id: "0123".parse().unwrap(),
            at: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    fn ticket(deadline: Instant, blob: Blob) -> Ticket {
        Ticket {
            ask: change(),
            asked: std::time::Instant::now(),
            deadline,
            blob,
            state: Arc::new(AtomicU8::new(WAITING)),
            answer: oneshot::channel().0,
        }
    }

    fn with_file(told: Receiver<io::Result<()>>) -> Ticket {
        ticket(Instant::now(), Blob::Coming(told))
    }

    #[tokio::test]
    async fn a_change_that_nobody_took_in_time_is_withdrawn() {
        let (queue, tickets) = sync_channel(1);
        assert_eq!(
            submit(&queue, change(), Blob::Kept, Instant::now()).await,
            Err(WriteFault::Late)
        );
        assert!(
            !tickets.recv().unwrap().take(),
            "nothing is done afterwards"
        );
    }

    #[tokio::test]
    async fn a_change_whose_client_left_is_withdrawn() {
        let (queue, tickets) = sync_channel(1);
        let deadline = Instant::now() + OUTCOME_WAIT;
        let mut asking = Box::pin(submit(&queue, change(), Blob::Kept, deadline));
        assert!(futures_util::poll!(&mut asking).is_pending());
        drop(asking);
        assert!(!tickets.recv().unwrap().take());
    }

    #[tokio::test]
    async fn a_change_whose_group_did_not_land_is_taken_again_unless_its_client_left() {
        let (queue, tickets) = sync_channel(1);
        let deadline = Instant::now() + OUTCOME_WAIT;
        let mut asking = Box::pin(submit(&queue, change(), Blob::Kept, deadline));
        assert!(futures_util::poll!(&mut asking).is_pending());
        let ticket = tickets.recv().unwrap();
        assert!(ticket.take() && ticket.take());
        drop(asking);
        assert!(!ticket.take());
    }

    #[tokio::test]
    async fn a_change_that_is_being_written_is_waited_for_beyond_its_deadline() {
        let (queue, tickets) = sync_channel(2);
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut answered = Box::pin(submit(&queue, change(), Blob::Kept, deadline));
        let mut forgotten = Box::pin(submit(&queue, change(), Blob::Kept, deadline));
        assert!(futures_util::poll!(&mut answered).is_pending());
        assert!(futures_util::poll!(&mut forgotten).is_pending());
        let taken = [(); 2].map(|()| tickets.recv().unwrap());
        assert!(taken.iter().all(Ticket::take));
        tokio::time::sleep_until(deadline + Duration::from_millis(1)).await;
        assert!(futures_util::poll!(&mut answered).is_pending());
        let [first, _second] = taken;
        first.answer(Err(WriteFault::Unavailable("its own answer".to_owned())));
        let answer = answered.await.unwrap_err();
        assert!(matches!(answer, WriteFault::Unavailable(_)), "{answer}");
        // But not for ever.
        let answer = forgotten.await.unwrap_err();
        assert!(matches!(answer, WriteFault::OutcomeUnknown(_)), "{answer}");
        assert!(Instant::now() >= deadline + OUTCOME_WAIT);
    }

    #[test]
    fn whoever_was_answered_is_waited_for_together_with_those_who_came_meanwhile() {
        let (queue, tickets) = sync_channel(32);
        let send = |count: usize| {
            for _ in 0..count {
                let sent = queue.try_send(ticket(Instant::now(), Blob::Kept));
                assert!(sent.is_ok());
            }
        };
        let hour = Duration::from_secs(3600);
        let mut company = Company::default();
        let nobody = || panic!("somebody waits already");
        let first = || tickets.recv().ok();
        // Nobody is expected at first.
        send(5);
        assert_eq!(company.gather(&tickets, first).unwrap().len(), 5);
        send(3);
        company.ended(&tickets, 5, hour);
        assert_eq!(company.wait * WAIT_SHARE, hour);
        // Three came meanwhile; the five come again, and no more are waited for.
        std::thread::scope(|scope| {
            scope.spawn(|| send(5));
            assert_eq!(company.gather(&tickets, nobody).unwrap().len(), 8);
        });
        // Not for longer than a share of the time that the group took.
        company.ended(&tickets, 8, Duration::ZERO);
        send(1);
        assert_eq!(company.gather(&tickets, first).unwrap().len(), 1);
        // After one that was alone nobody is.
        send(2);
        company.ended(&tickets, 1, hour);
        assert_eq!(company.gather(&tickets, nobody).unwrap().len(), 2);
        drop(queue);
        company.ended(&tickets, 2, hour);
        assert!(company.gather(&tickets, first).is_none());
    }

    #[test]
    fn whoever_does_not_fit_into_a_group_goes_with_the_next_one() {
        let (queue, tickets) = sync_channel(GROUP_MAX + 1);
        for _ in 0..=GROUP_MAX {
            let sent = queue.try_send(ticket(Instant::now(), Blob::Kept));
            assert!(sent.is_ok());
        }
        let mut company = Company::default();
        for count in [GROUP_MAX, 1] {
            let group = company.gather(&tickets, || tickets.recv().ok()).unwrap();
            assert_eq!(group.len(), count);
        }
    }

    #[test]
    fn each_file_that_was_not_kept_is_known_after_one_wait() {
        let (told, kept) = sync_channel(1);
        told.send(Ok(())).unwrap();
        let (told, failed) = sync_channel(1);
        told.send(Err(io::Error::other("the disk is full")))
            .unwrap();
        let (_, forgotten) = sync_channel(1);
        let mut tickets = [failed, kept, forgotten].map(with_file);
        assert!(!wait_for_blobs(tickets.iter_mut()));
        let is_lost = |ticket: &Ticket, word: &str| matches!(ticket.blob(), Blob::Lost(cause) if cause.contains(word));
        assert!(is_lost(&tickets[0], "full"));
        assert!(matches!(tickets[1].blob(), Blob::Kept));
        assert!(is_lost(&tickets[2], "does not answer"));
        assert!(wait_for_blobs(tickets[1..2].iter_mut()));
    }

    #[test]
    fn files_that_come_one_after_the_other_are_waited_for() {
        // Nothing is told before it is waited for, and each after the one before it.
        let (told, files): (Vec<_>, Vec<_>) = (0..64).map(|_| sync_channel(0)).unzip();
        let mut tickets: Vec<Ticket> = files.into_iter().map(with_file).collect();
        let tell = std::thread::spawn(move || told.iter().all(|told| told.send(Ok(())).is_ok()));
        assert!(wait_for_blobs(tickets.iter_mut()));
        assert!(tell.join().unwrap());
    }

    #[test]
    fn whose_time_is_over_before_their_turn_is_told_and_the_others_keep_their_places() {
        let now = Instant::now();
        let (over, later) = (now - Duration::from_millis(1), now + OUTCOME_WAIT);
        let (mut tickets, mut answers) = (VecDeque::new(), Vec::new());
        let deadlines = [later, over, later + OUTCOME_WAIT, over];
        for deadline in deadlines {
            let (answer, answered) = oneshot::channel();
            let ticket = ticket(deadline, Blob::Kept);
            tickets.push_back(Ticket { answer, ..ticket });
            answers.push(answered);
        }
        answer_late(&mut tickets);
        let left: Vec<Instant> = tickets.iter().map(Ticket::deadline).collect();
        assert_eq!(left, [deadlines[0], deadlines[2]]);
        let told = answers.iter_mut().map(|answered| answered.try_recv().ok());
        let told: Vec<_> = told.collect();
        let late = Some(Err(WriteFault::Late));
        assert_eq!(told, [None, late.clone(), None, late]);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (queue, _tickets) = sync_channel(0);
        let deadline = Instant::now() + OUTCOME_WAIT;
        assert_eq!(
            submit(&queue, change(), Blob::Kept, deadline).await,
            Err(WriteFault::Busy)
        );
    }

    #[tokio::test]
    async fn a_writer_that_ends_in_the_middle_leaves_the_outcome_unknown() {
        let (queue, tickets) = sync_channel(1);
        let deadline = Instant::now() + OUTCOME_WAIT;
        let mut asking = Box::pin(submit(&queue, change(), Blob::Kept, deadline));
        assert!(futures_util::poll!(&mut asking).is_pending());
        let ticket = tickets.recv().unwrap();
        assert!(ticket.take());
        drop(ticket);
        assert!(matches!(asking.await, Err(WriteFault::OutcomeUnknown(_))));
    }
}
