//! Answers that are kept in memory: many machines clone the same commit by the same request.
//!
//! An answer without anything that the client has depends on nothing but the request and the commit that is served.
//! So it is kept, whole or not at all, until another commit is served, and sent again byte by byte.
//! There is room for so many bytes; what finds none is answered by a process, as ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{Instrument, Span, warn};

use super::request;
use super::stream::{self, Chunk, FetchStream, Sent};
use super::{FetchFault, FetchLimits, GitProtocol};
use crate::domain::CommitId;
use crate::places::AddressPlace;

/// The largest request whose answer is kept, in bytes: a clone's has some hundred.
const QUESTION_BYTES_MAX: usize = 4 * 1024;
/// What is asked for at once to read an answer into, in bytes, and the unit in which room is counted.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// Which commit is served at this moment.
pub type Served = Box<dyn Fn() -> CommitId + Send + Sync>;

/// The answers, and the room for them.
pub(super) struct Remembered {
    served: Served,
    /// One permit for each buffer.
    room: Arc<Semaphore>,
    buffers_max: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    /// The commit that all answers are of.
    commit: CommitId,
    answers: HashMap<Question, Arc<Answer>>,
}

/// A request whose answer another client with the same request may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    protocol: GitProtocol,
    request: Bytes,
    commit: CommitId,
}

/// A whole answer.
pub(super) struct Answer {
    /// A chunk for each buffer.
    chunks: Vec<Chunk>,
    /// Given back when nobody sends the answer any more.
    room: Option<OwnedSemaphorePermit>,
}

/// An answer on its way from a process to a client, of which a copy may be kept.
pub(super) struct Recording {
    memory: Arc<Remembered>,
    question: Question,
    answer: Answer,
}

impl Remembered {
    pub(super) fn new(bytes_max: usize, served: Served) -> Self {
        let buffers_max = (bytes_max / BUFFER_BYTES).min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(buffers_max)),
            buffers_max,
            kept: Mutex::new(Kept {
                commit: served(),
                answers: HashMap::new(),
            }),
            served,
        }
    }

    /// The question that `request` is, if its answer may be kept.
    pub(super) fn question(&self, request: &Bytes, protocol: GitProtocol) -> Option<Question> {
        let commit = (self.served)();
        let may_be_kept = self.buffers_max > 0
            && request.len() <= QUESTION_BYTES_MAX
            && request::is_clone_of(request, protocol, &commit.to_string());
        may_be_kept.then(|| Question {
            protocol,
            request: request.clone(),
            commit,
        })
    }

    /// The answer that is kept.
    pub(super) fn answer(&self, question: &Question) -> Option<Arc<Answer>> {
        let kept = self.kept_of((self.served)());
        kept.answers.get(question).map(Arc::clone)
    }

    /// Drops what is kept of a commit that is not served any more.
    pub(super) fn forget_older(&self) {
        drop(self.kept_of((self.served)()));
    }

    /// How many bytes all answers hold, those that are being kept and those that are still sent too.
    pub(super) fn bytes(&self) -> usize {
        (self.buffers_max - self.room.available_permits()) * BUFFER_BYTES
    }

    pub(super) fn record(self: &Arc<Self>, question: Question) -> Recording {
        Recording {
            memory: Arc::clone(self),
            question,
            answer: Answer {
                chunks: Vec::new(),
                room: None,
            },
        }
    }

    fn kept_of(&self, commit: CommitId) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.commit != commit {
            kept.answers.clear();
            kept.commit = commit;
        }
        kept
    }
}

impl Recording {
    /// Whether there is room for one more buffer, which is taken.
    pub(super) fn takes_buffer(&mut self) -> bool {
        let Ok(more) = Arc::clone(&self.memory.room).try_acquire_owned() else {
            return false;
        };
        match &mut self.answer.room {
            Some(room) => room.merge(more),
            room => *room = Some(more),
        }
        self.answer.chunks.push(Chunk::new());
        true
    }

    /// The next piece of the answer; it lies in the buffer that was taken last.
    pub(super) fn add(&mut self, piece: Bytes) {
        if let Some(chunk) = self.answer.chunks.last_mut() {
            chunk.push(piece);
        }
    }

    /// Keeps the answer, which is whole, if its commit is still the one that is served.
    pub(super) fn keep(self) {
        let mut kept = self.memory.kept_of((self.memory.served)());
        if kept.commit == self.question.commit {
            // Of two at the same time, the bytes may differ: one stays.
            let answers = &mut kept.answers;
            answers
                .entry(self.question)
                .or_insert(Arc::new(self.answer));
        }
    }
}

/// An answer that is sent from memory, under the limits of any other; the future sends it, in the caller's span.
pub(super) fn send(
    answer: Arc<Answer>,
    limits: FetchLimits,
    place: AddressPlace,
) -> (impl Future<Output = ()>, FetchStream) {
    let (chunks, receiver) = mpsc::channel(1);
    let (outcome, told) = oneshot::channel();
    let sending = async move {
        let deadline = Instant::now() + limits.total;
        let mut ended = Ok(());
        for chunk in &answer.chunks {
            match stream::pass_on(chunk.clone(), &chunks, deadline, limits.stall).await {
                Sent::Taken => {}
                Sent::ClientGone => break,
                Sent::OutOfTime => {
                    warn!("a fetch ended: its client took too long");
                    ended = Err(FetchFault::Stalled);
                    break;
                }
            }
        }
        // The place first, as after a process.
        drop((answer, place));
        let _ = outcome.send(ended);
    };
    let stream = FetchStream::new(receiver, told);
    (sending.instrument(Span::current()), stream)
}
