//! One connection, from its first byte to its last.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, error_span, info};

use super::bare::{HEAD_BYTES_MAX, TOO_SLOW, in_our_form, status_of};
use super::context::RequestId;
use super::exchange::{Progress, answer};
use super::routes::Routes;
use super::serve::ServeLimits;
use super::stall::StallGuard;

/// The most bytes of a connection that are buffered.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// How long a new connection may wait with its first request while others want its place: the oldest go first.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// How long, and for how many bytes, a refused upload is read after its answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Whether connections may stay; one without a whole request has none that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// As long as they like.
    Never,
    /// Others want in: go after the running request, or at once if its client gives or takes it too slowly. One that
    /// only waits for its turn is answered.
    MakeRoom,
    /// The server ends: go after the running request.
    Ending,
}

/// A connection that was accepted and may be served.
pub(super) struct Connection {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) routes: Routes,
    pub(super) limits: ServeLimits,
    pub(super) leave: watch::Receiver<Leave>,
}

impl Connection {
    /// Answers requests until the client, a time limit or the server ends it.
    pub(super) async fn run(self) {
        let accepted = Instant::now();
        let progress = Arc::new(Progress::new(self.leave.clone()));
        let (routes, peer, seen) = (self.routes, self.peer, Arc::clone(&progress));
        let outside = Arc::clone(&routes.outside);
        let service = service_fn(move |request| {
            let answer = answer(routes.clone(), peer, Arc::clone(&seen), request);
            let handing_over = HandOver(Arc::clone(&seen));
            // The body takes it along: hyper drops a body once it has taken all of it.
            let hand_over = move |fault| {
                let _ = &handing_over;
                fault
            };
            Box::pin(async move {
                let answer = answer.await.map(|body| body.map_err(hand_over));
                Ok::<_, std::convert::Infallible>(answer)
            })
        });
        let io = TokioIo::new(StallGuard::new(
            self.tcp,
            self.limits.response_idle,
            Arc::clone(&progress),
        ));
        let mut http = http1::Builder::new();
        // Without `half_close`: a client that has only ended its own side and waits is the same on the wire as one that
        // left until something is written to it, and who left while a change waits for its turn must leave nothing.
        // This time limit also runs while the connection idles between two requests.
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.header)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX);
        let mut connection = http.serve_connection(io, service);
        // At the end of the server a running request has its time, however slowly it comes.
        let present = self.leave.clone();
        let is_ending = || *present.borrow() == Leave::Ending;
        let mut leaving = pin!(told_to_leave(self.leave, accepted, &progress));
        let mut takes_too_slowly = pin!(progress.taking.for_long());
        let mut gives_too_slowly = pin!(progress.giving.for_long());
        let (mut is_leaving, mut makes_room) = (false, false);
        let ended = loop {
            tokio::select! {
                // What has come is read before anybody is sent away.
                biased;
                // The socket is left open, whatever hyper thinks: see the guard.
                ended = &mut connection => break ended,
                () = &mut leaving, if !is_leaving => {
                    (is_leaving, makes_room) = (true, true);
                    // hyper would wait for the rest of a head that came in part.
                    if !progress.answer.is_under_way() {
                        break Ok(());
                    }
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
                () = &mut takes_too_slowly, if makes_room => match is_ending() {
                    true => makes_room = false,
                    false => break Ok(()),
                },
                () = &mut gives_too_slowly, if makes_room => match is_ending() {
                    true => makes_room = false,
                    false => {
                        progress.is_cut.store(true, Ordering::Relaxed);
                        break Ok(());
                    }
                },
            }
        };
        if let Err(fault) = ended {
            debug!(%peer, %fault, "a connection ended early");
        }
        let mut io = connection.into_parts().io.into_inner();
        let bare = match progress.is_cut.load(Ordering::Relaxed) {
            true => TOO_SLOW.to_vec(),
            false => io.take_bare(),
        };
        let has_unread = !bare.is_empty() || progress.has_unread_body.load(Ordering::Relaxed);
        // What is written from here on is ours.
        progress.answer.begin();
        let closed = async {
            if !bare.is_empty() {
                let (id, status) = (RequestId::random()?, status_of(&bare));
                outside.count(status);
                let status = status.as_u16();
                let span = error_span!("request", request_id = %id, %peer);
                info!(parent: &span, status, "answered what is no whole request");
                // What the socket does not take soon, nobody reads.
                let told = timeout(LINGER, io.write_all(&in_our_form(&bare, &id))).await;
                told.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))?;
            }
            close(io.into_inner(), has_unread).await
        };
        if let Err(fault) = closed.await {
            debug!(%peer, %fault, "a connection closed badly");
        }
    }
}

/// Tells that hyper has taken all of an answer.
struct HandOver(Arc<Progress>);

impl Drop for HandOver {
    fn drop(&mut self) {
        self.0.answer.hand_over();
    }
}

/// Resolves when this connection should end after its running request.
async fn told_to_leave(mut leave: watch::Receiver<Leave>, accepted: Instant, progress: &Progress) {
    // An error means that the server is gone: then leave, too.
    let Ok(()) = leave.changed().await else {
        return;
    };
    let is_new = !progress.has_served.load(Ordering::Relaxed);
    if *leave.borrow_and_update() == Leave::MakeRoom && is_new {
        let deadline = accepted + FIRST_REQUEST_GRACE;
        let ending = leave.wait_for(|leave| *leave == Leave::Ending);
        // Either outcome means the same: the wait is over.
        let _ = timeout_at(deadline, ending).await;
    }
}

/// Closes so that the client can still read the last answer.
///
/// Closing while bytes of an upload are under way makes the kernel send a reset, which can throw away
/// the answer in the client's hands: so the rest is read for a moment.
async fn close(mut tcp: TcpStream, has_unread_body: bool) -> io::Result<()> {
    tcp.shutdown().await?;
    if !has_unread_body {
        return Ok(());
    }
    let drain = async {
        let mut scrap = vec![0; 64 * 1024];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match tcp.read(&mut scrap).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok(())
    };
    timeout(LINGER, drain).await.unwrap_or(Ok(()))
}
