//! A socket that gives up on a peer who takes no bytes.
//!
//! hyper bounds how long a request head may take, but not how long an answer may wait for its reader.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::exchange::Progress;

/// How much the kernel takes beyond what is on its way: it would take megabytes, and ask for more only once a third of
/// them is gone, so a peer that takes them slowly would look like one that takes nothing.
const UNSENT_BYTES_MAX: u32 = 256 * 1024;

/// Since when a peer has taken nothing of what waits for it.
#[derive(Default)]
pub(super) struct Stalled(Mutex<Option<Instant>>);

impl Stalled {
    /// Resolves once the peer has taken nothing for `patience`.
    pub(super) async fn for_long(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let over = self.get().unwrap_or(now) + patience;
            if over <= now {
                return;
            }
            sleep_until(over).await;
        }
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// A TCP stream whose writes fail when the peer takes nothing for `idle`.
pub(super) struct StallGuard {
    tcp: TcpStream,
    idle: Duration,
    /// Runs only while a write waits: an ordinary answer costs no timer.
    waiting: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
    /// What was written while no answer was under way: at most one head of hyper's own.
    bare: Vec<u8>,
}

impl StallGuard {
    pub(super) fn new(tcp: TcpStream, idle: Duration, progress: Arc<Progress>) -> Self {
        // Where the kernel cannot do that, it takes more at a time.
        let _ = SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        Self {
            tcp,
            idle,
            waiting: None,
            progress,
            bare: Vec::new(),
        }
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.tcp
    }

    /// What hyper would have answered by itself; empty if nothing.
    pub(super) fn take_bare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bare)
    }

    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.waiting.take().is_some() {
                self.progress.stalled.set(None);
            }
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            self.progress.stalled.set(Some(Instant::now()));
            Box::pin(sleep(self.idle))
        });
        waiting
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for StallGuard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.progress.answer.is_under_way() {
            this.bare.extend(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut this.tcp).poll_write(cx, bytes);
        this.bounded(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.progress.answer.is_under_way() {
            let before = this.bare.len();
            slices.iter().for_each(|bytes| this.bare.extend(&**bytes));
            return Poll::Ready(Ok(this.bare.len() - before));
        }
        let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, slices);
        this.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.tcp).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            this.progress.answer.flushed();
        }
        this.bounded(cx, flushed)
    }

    /// Does no more than a flush: who sent what nobody read must still be able to read the answer, so whoever has the
    /// socket next closes it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
