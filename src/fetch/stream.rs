//! The answer of a fetch as it comes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::FetchFault;

/// The next bytes of an answer, in pieces that lie there already: they are sent without waking anybody in between.
pub(super) type Chunk = Vec<Bytes>;

/// The bytes of an answer; dropping it ends the process behind it, if there is one.
///
/// An error is the last item, and means that the answer is not whole.
pub struct FetchStream {
    /// What goes out before `chunks`.
    ready: VecDeque<Bytes>,
    chunks: mpsc::Receiver<Chunk>,
    /// How the answer ended; None once that was told.
    outcome: Option<oneshot::Receiver<Result<(), FetchFault>>>,
}

/// What became of a chunk of an answer.
pub(super) enum Sent {
    /// The client takes it.
    Taken,
    /// Nobody wants it.
    ClientGone,
    /// The client was too slow.
    OutOfTime,
}

/// Waits until the client has room for `chunk`, for `stall` and until `deadline` at most.
pub(super) async fn pass_on(
    chunk: Chunk,
    chunks: &mpsc::Sender<Chunk>,
    deadline: Instant,
    stall: Duration,
) -> Sent {
    let patience = deadline.min(Instant::now() + stall);
    match timeout_at(patience, chunks.send(chunk)).await {
        Ok(Ok(())) => Sent::Taken,
        Ok(Err(_closed)) => Sent::ClientGone,
        Err(_elapsed) => Sent::OutOfTime,
    }
}

impl FetchStream {
    pub(super) fn new(
        chunks: mpsc::Receiver<Chunk>,
        outcome: oneshot::Receiver<Result<(), FetchFault>>,
    ) -> Self {
        Self {
            ready: VecDeque::new(),
            chunks,
            outcome: Some(outcome),
        }
    }

    /// Waits for the first bytes, so that a process which fails at once is an error and not a broken answer.
    pub(super) async fn checked(mut self) -> Result<Self, FetchFault> {
        match self.chunks.recv().await {
            Some(chunk) => self.ready.extend(chunk),
            None => {
                if let Some(outcome) = self.outcome.take() {
                    outcome.await.unwrap_or(Err(FetchFault::Failed))?;
                }
            }
        }
        Ok(self)
    }

    /// The same answer with `head` before it.
    pub(super) fn after(mut self, head: &'static [u8]) -> Self {
        self.ready.push_front(Bytes::from_static(head));
        self
    }
}

impl Stream for FetchStream {
    type Item = Result<Bytes, FetchFault>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            match std::task::ready!(this.chunks.poll_recv(cx)) {
                Some(chunk) => this.ready = chunk.into(),
                None => break,
            }
        }
        let Some(outcome) = this.outcome.as_mut() else {
            return Poll::Ready(None);
        };
        // A task that vanished without a word was cut: its answer is not whole.
        let outcome = std::task::ready!(Pin::new(outcome).poll(cx));
        this.outcome = None;
        Poll::Ready(outcome.unwrap_or(Err(FetchFault::Failed)).err().map(Err))
    }
}
