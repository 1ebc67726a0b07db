//! Peers that give or take their bytes too slowly.
//!
//! hyper bounds how long a request head may take, but not how long an answer may wait for its reader.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::exchange::Progress;

/// How much the kernel takes beyond what is on its way: it would take megabytes, and a peer that takes them slowly would
/// look like one that takes nothing.
const UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// How often it is looked whether the kernel takes more: by itself it only says so once half of that is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a peer has to do while others want its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// The least that it has to give or take in a second, in bytes.
    pace: u32,
    /// How far it may be behind.
    grace: Duration,
}

impl Terms {
    /// For whoever is known, and for whoever takes an answer.
    pub(super) const PATIENT: Self = Self {
        pace: 2_000,
        grace: Duration::from_secs(5),
    };
    /// For whoever gives a body before anybody knows who it is: the little that strangers have to say comes at once, and
    /// they could hold all places with it.
    pub(super) const OF_STRANGERS: Self = Self {
        pace: 64_000,
        grace: Duration::from_secs(1),
    };
}

/// When a peer that is waited for will be too far behind.
#[derive(Default)]
pub(super) struct Stalled(Mutex<Option<Instant>>);

impl Stalled {
    /// Resolves once the peer is too far behind.
    pub(super) async fn for_long(&self) {
        loop {
            let now = Instant::now();
            match self.get() {
                Some(over) if over <= now => return,
                Some(over) => sleep_until(over).await,
                // Nobody is too far behind before that.
                None => sleep_until(now + Terms::OF_STRANGERS.grace).await,
            }
        }
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, over: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = over;
    }
}

/// How far behind a peer is: the time for which it was waited for, less the time that its bytes may take.
pub(super) struct Pace {
    terms: Terms,
    waits_since: Option<Instant>,
    behind: Duration,
}

impl Pace {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            waits_since: None,
            behind: Duration::ZERO,
        }
    }

    /// The peer is waited for.
    pub(super) fn waits(&mut self, stalled: &Stalled) {
        if self.waits_since.is_none() {
            stalled.set(Some(self.waits_from(Instant::now())));
        }
    }

    /// Other terms hold from now on.
    pub(super) fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// The peer is waited for no longer: it has given or taken so many bytes, or there is nothing more to wait for.
    pub(super) fn goes_on(&mut self, bytes: usize, stalled: &Stalled) {
        // An ordinary answer costs no look at the clock.
        if self.waits_since.is_some() || !self.behind.is_zero() {
            self.went_on_at(Instant::now(), bytes);
            stalled.set(None);
        }
    }

    /// When it will have been waited for too long.
    fn waits_from(&mut self, now: Instant) -> Instant {
        self.waits_since = Some(now);
        now + self.terms.grace - self.behind
    }

    fn went_on_at(&mut self, now: Instant, bytes: usize) {
        if let Some(since) = self.waits_since.take() {
            self.behind += now - since;
        }
        let may_take = Duration::from_secs(bytes as u64) / self.terms.pace;
        self.behind = self.behind.saturating_sub(may_take);
    }
}

/// A TCP stream whose writes fail when the peer takes nothing for `idle`.
pub(super) struct StallGuard {
    tcp: TcpStream,
    idle: Duration,
    pace: Pace,
    waiting: Option<Waiting>,
    progress: Arc<Progress>,
    /// What was written while no answer was under way: at most one head of hyper's own.
    bare: Vec<u8>,
}

/// A write that waits: an ordinary answer costs no timer.
struct Waiting {
    until: Instant,
    look_again: Pin<Box<Sleep>>,
}

impl Waiting {
    fn until(until: Instant) -> Self {
        Self {
            until,
            look_again: Box::pin(sleep_until(until.min(Instant::now() + LOOK_AGAIN))),
        }
    }
}

impl StallGuard {
    pub(super) fn new(tcp: TcpStream, idle: Duration, progress: Arc<Progress>) -> Self {
        // Where the kernel cannot do that, it takes more at a time.
        let _ = SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        Self {
            tcp,
            idle,
            pace: Pace::new(Terms::PATIENT),
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

    /// What became of a write; `send` is the same one, asked of the kernel whatever it said last.
    fn bounded(
        &mut self,
        cx: &mut Context<'_>,
        mut written: Poll<io::Result<usize>>,
        send: impl Fn(&SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.pace.waits(&self.progress.taking);
            written = self.look_again(cx, send);
        }
        if let Poll::Ready(written) = &written {
            self.waiting = None;
            let bytes = *written.as_ref().unwrap_or(&0);
            self.pace.goes_on(bytes, &self.progress.taking);
        }
        written
    }

    fn look_again(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn(&SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let idle = self.idle;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Waiting::until(Instant::now() + idle));
        loop {
            ready!(waiting.look_again.as_mut().poll(cx));
            match send(&SockRef::from(&self.tcp)) {
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
            if waiting.until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            *waiting = Waiting::until(waiting.until);
        }
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
        this.bounded(cx, written, |tcp| tcp.send(bytes))
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
        this.bounded(cx, written, |tcp| tcp.send_vectored(slices))
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
        flushed
    }

    /// Does no more than a flush: who sent what nobody read must still be able to read the answer, so whoever has the
    /// socket next closes it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::super::connection::Leave;
    use super::*;

    /// Far beyond what any of these tests needs: it only turns a hang into a failure.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_keeps_a_modest_pace_is_never_too_far_behind() {
        // 20 kB/s as a network carries them, and as one process of a machine tells another that it took some; 3 kB/s.
        for (bytes, millis) in [(1_400, 70), (65_536, 3_277), (1_400, 467)] {
            let (mut pace, mut now) = (Pace::new(Terms::PATIENT), Instant::now());
            for _ in 0..10_000 {
                let over = pace.waits_from(now);
                now += Duration::from_millis(millis);
                assert!(now < over, "{bytes} bytes each {millis} ms");
                pace.went_on_at(now, bytes);
            }
        }
    }

    #[test]
    fn whoever_trickles_is_soon_too_far_behind_whatever_came_before() {
        for (terms, bytes) in [(Terms::PATIENT, 1), (Terms::OF_STRANGERS, 5_000)] {
            let (mut pace, start) = (Pace::new(terms), Instant::now());
            pace.waits_from(start);
            pace.went_on_at(start, 10 << 20);
            let mut now = start;
            while now < pace.waits_from(now) {
                now += Duration::from_millis(500);
                pace.went_on_at(now, bytes);
                assert!(now - start < 2 * terms.grace, "{terms:?}");
            }
        }
    }

    #[test]
    fn what_the_server_does_meanwhile_is_no_delay_of_its_client() {
        let (mut pace, mut now) = (Pace::new(Terms::OF_STRANGERS), Instant::now());
        for _ in 0..100 {
            let over = pace.waits_from(now);
            now += Duration::from_millis(1);
            assert!(now < over);
            pace.went_on_at(now, 10);
            now += Duration::from_secs(60);
        }
    }

    /// A guard whose kernel takes no more, and the other end.
    async fn full(idle: Duration) -> (StallGuard, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        // A size of its own does not grow with what is read.
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let client = socket.connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let progress = Arc::new(Progress::new(watch::channel(Leave::Never).1));
        progress.answer.begin();
        let mut guard = StallGuard::new(accepted.unwrap().0, idle, progress);
        let bytes = vec![0; 64 * 1024];
        while poll!(pin!(guard.write(&bytes))).is_ready() {}
        (guard, client.unwrap())
    }

    #[tokio::test]
    async fn a_peer_that_takes_less_than_the_kernel_tells_of_is_no_stalled_one() {
        let (mut guard, mut client) = full(Duration::from_secs(5)).await;
        assert!(guard.progress.taking.get().is_some());
        client.read_exact(&mut vec![0; 60 * 1024]).await.unwrap();
        let written = timeout(PATIENCE, guard.write(&[0; 1])).await.unwrap();
        assert_eq!(written.unwrap(), 1);
        assert!(guard.progress.taking.get().is_none());
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut guard, client) = full(Duration::from_millis(1_500)).await;
        // What the kernel still moves to the other end is little.
        let fault = loop {
            let written = timeout(PATIENCE, guard.write(&[0; 64 * 1024])).await;
            if let Err(fault) = written.unwrap() {
                break fault;
            }
        };
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
