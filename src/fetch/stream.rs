//! The answer of a fetch as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};

use super::FetchFault;

/// The bytes of an answer; dropping it ends the process behind it.
///
/// An error is the last item, and means that the answer is not whole.
pub struct FetchStream {
    /// What goes out before `chunks`, in reverse.
    ready: Vec<Bytes>,
    chunks: mpsc::Receiver<Bytes>,
    /// How the process ended; None once that was told.
    outcome: Option<oneshot::Receiver<Result<(), FetchFault>>>,
}

impl FetchStream {
    pub(super) fn new(
        chunks: mpsc::Receiver<Bytes>,
        outcome: oneshot::Receiver<Result<(), FetchFault>>,
    ) -> Self {
        Self {
            ready: Vec::new(),
            chunks,
            outcome: Some(outcome),
        }
    }

    /// Waits for the first bytes, so that a process which fails at once is an error and not a broken answer.
    pub(super) async fn checked(mut self) -> Result<Self, FetchFault> {
        match self.chunks.recv().await {
            Some(chunk) => self.ready.push(chunk),
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
        self.ready.push(Bytes::from_static(head));
        self
    }
}

impl Stream for FetchStream {
    type Item = Result<Bytes, FetchFault>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(chunk) = this.ready.pop() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        if let Some(chunk) = std::task::ready!(this.chunks.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(chunk)));
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
