//! What surrounds every request: its id, its span, one line of log, headers, and a net under panics.
//!
//! It stands outside the routes, so that it also covers what no route answers.
//! Neither a query nor an `Authorization` header is ever read here: both may carry a secret. A path may too.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tracing::{Instrument, Level, Span, enabled, error, error_span, field, info};
use warp::http::{HeaderValue, Request, StatusCode, Version, header};

use super::bare::AnswerState;
use super::connection::Leave;
use super::context::{Asked, PeerAddr, RequestId, Response};
use super::envelope::envelope;
use super::routes::Routes;
use super::stall::{Pace, Stalled, Terms};

/// The longest request target that is answered, in bytes.
const URI_BYTES_MAX: usize = 8 * 1024;
/// The largest sum of names and values of a request's headers, in bytes.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// The most bytes of a path or a User-Agent that are logged.
const LOGGED_BYTES_MAX: usize = 200;

/// What a connection and its requests tell one another.
pub(super) struct Progress {
    /// Whether the connection may stay.
    leave: watch::Receiver<Leave>,
    /// Whether a request has come.
    pub(super) has_served: AtomicBool,
    /// Whether it is known who sent the latest one.
    pub(super) is_known: AtomicBool,
    /// Whether the body of the latest request was left unread.
    pub(super) has_unread_body: AtomicBool,
    /// How far the latest answer is.
    pub(super) answer: AnswerState,
    /// Whether the client takes it too slowly.
    pub(super) taking: Stalled,
    /// Whether the client gives the body of its request too slowly.
    pub(super) giving: Stalled,
    /// Whether it was sent away for that.
    pub(super) is_cut: AtomicBool,
}

impl Progress {
    pub(super) fn new(leave: watch::Receiver<Leave>) -> Self {
        Self {
            leave,
            has_served: AtomicBool::default(),
            is_known: AtomicBool::default(),
            has_unread_body: AtomicBool::default(),
            answer: AnswerState::default(),
            taking: Stalled::default(),
            giving: Stalled::default(),
            is_cut: AtomicBool::default(),
        }
    }

    /// Resolves when others have wanted the place of this connection since it came.
    pub(super) fn room_wanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut leave = self.leave.clone();
        async move {
            // An error means that the server is gone.
            while leave.changed().await.is_ok() && *leave.borrow_and_update() != Leave::MakeRoom {}
        }
    }
}

/// Answers one request by `routes`, whatever happens inside them.
pub(super) async fn answer(
    routes: Routes,
    peer: SocketAddr,
    progress: Arc<Progress>,
    request: Request<Incoming>,
) -> Response {
    progress.has_served.store(true, Ordering::Relaxed);
    progress.is_known.store(false, Ordering::Relaxed);
    progress.answer.begin();
    // Also if nobody is asked for it: a client that is refused may be sending it all the same.
    let mut request = request.map(|body| WatchedBody::new(body, Arc::clone(&progress)));
    let id = match RequestId::random() {
        Ok(id) => id,
        Err(fault) => {
            error!(%fault, "no randomness for a request id");
            let detail = "the server has no randomness at this moment";
            return envelope(StatusCode::INTERNAL_SERVER_ERROR, detail);
        }
    };
    let peer = routes.proxies.origin(peer, request.headers());
    // An older client asks for a connection that stays, and is told so.
    let is_newer = request.version() == Version::HTTP_11;
    let mut line = LogLine::start(&id, peer, &request, Arc::clone(&progress));
    let span = line.span.clone();
    let response = match oversized(&request) {
        Some(refusal) => {
            routes.outside.count(refusal.status());
            refusal
        }
        None => {
            let asked = Asked {
                headers: std::mem::take(request.headers_mut()),
                id,
                peer: PeerAddr(peer),
                progress: Arc::clone(&progress),
            };
            request.extensions_mut().insert(Arc::new(asked));
            routed(routes, &id, request).instrument(span).await
        }
    };
    line.status = Some(response.status());
    drop(line);
    let mut response = with_headers(response, &id);
    if is_newer && progress.has_unread_body.load(Ordering::Relaxed) {
        // Unless the rest has come by then, hyper closes without a word, and a proxy that sends there again loses that.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

async fn routed(routes: Routes, id: &RequestId, request: Request<WatchedBody>) -> Response {
    let outside = routes.outside;
    // The routes are called inside the future too: a filter may panic before its first await.
    let answer = async {
        let service = TowerToHyperService::new(warp::service(routes.filter));
        service.call(request).await
    };
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(panic) => {
            error!(panic = panic_text(panic.as_ref()), "a handler panicked");
            outside.count(StatusCode::INTERNAL_SERVER_ERROR);
            let detail = format!("the server failed on this request, its id is `{id}`");
            envelope(StatusCode::INTERNAL_SERVER_ERROR, &detail)
        }
    }
}

/// The refusal of a head that hyper still reads but that no client of a registry sends.
///
/// hyper's own limits are wider; what exceeds those is answered without a request.
fn oversized<B>(request: &Request<B>) -> Option<Response> {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > URI_BYTES_MAX {
        let detail = format!("the address is longer than {URI_BYTES_MAX} bytes");
        return Some(envelope(StatusCode::URI_TOO_LONG, &detail));
    }
    let sizes = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    if sizes.sum::<usize>() > HEADER_BYTES_MAX {
        let detail = format!("the request headers are larger than {HEADER_BYTES_MAX} bytes");
        return Some(envelope(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            &detail,
        ));
    }
    None
}

fn with_headers(mut response: Response, id: &RequestId) -> Response {
    let headers = response.headers_mut();
    let value = HeaderValue::from_str(id.as_str()).expect("hex digits are a header value");
    headers.insert("x-request-id", value);
    headers
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    let is_page = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    // Only a page can run, frame or refer: other answers need not carry these bytes.
    if is_page {
        for (name, value) in [
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            ),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_FRAME_OPTIONS, "DENY"),
        ] {
            headers
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        }
    }
    response
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a text")
}

/// The span of a request, and its one line of log when it is over.
struct LogLine {
    span: Span,
    started: Instant,
    /// None until an answer exists: a client that leaves before, or is sent away, drops us.
    status: Option<StatusCode>,
    progress: Arc<Progress>,
}

impl LogLine {
    fn start<B>(
        id: &RequestId,
        peer: SocketAddr,
        request: &Request<B>,
        progress: Arc<Progress>,
    ) -> Self {
        let user_agent = request.headers().get(header::USER_AGENT);
        let user_agent = user_agent.map_or(&b""[..], HeaderValue::as_bytes);
        // Of the highest level, so that no filter takes it from the lines that are left. Where none is written for each
        // request, only trouble needs to know which it is: the rest costs a fifth of a read.
        let span = match enabled!(Level::INFO) {
            false => error_span!("request", request_id = %id),
            true => error_span!(
                "request",
                request_id = %id,
                method = %bounded(request.method().as_str().as_bytes()),
                // As a text, which a log for people quotes and escapes once, as one of JSON does: nobody forges a second line.
                path = bounded(masked(request.uri().path()).as_bytes()),
                user_agent = bounded(user_agent),
                %peer,
                principal = field::Empty,
            ),
        };
        Self {
            span,
            started: Instant::now(),
            status: None,
            progress,
        }
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let micros = u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX);
        let duration_ms = f64::from(micros) / 1000.0;
        match self.status {
            Some(status) => {
                let status = status.as_u16();
                info!(parent: &self.span, status, duration_ms, "answered");
            }
            None if self.progress.is_cut.load(Ordering::Relaxed) => {
                info!(parent: &self.span, duration_ms, "the client gave its request so slowly that others got its place");
            }
            None => info!(parent: &self.span, duration_ms, "the client left before the answer"),
        }
    }
}

/// The path without what may be the capability of a download, or a part of it.
///
/// That is any run of as many hexadecimal digits, percent-encoded or not and whatever stands around it; a checksum has
/// more, and request ids stand in no path.
fn masked(path: &str) -> String {
    let mut shown = String::with_capacity(path.len());
    let mut rest = path;
    while !rest.is_empty() {
        let (mut digits, mut end) = (0, 0);
        while let Some(length) = hex_digit(&rest[end..]) {
            digits += 1;
            end += length;
        }
        let (run, after) = rest.split_at(end);
        shown.push_str(match (16..64).contains(&digits) {
            true => "***",
            false => run,
        });
        // What ends the run, as it was sent.
        let end = after.chars().next().map_or(0, char::len_utf8);
        let (other, after) = after.split_at(end);
        shown.push_str(other);
        rest = after;
    }
    shown
}

/// The length of the hexadecimal digit that a text begins with, which may be percent-encoded.
fn hex_digit(text: &str) -> Option<usize> {
    let length = match text.starts_with('%') {
        true => 3,
        false => 1,
    };
    let digit = percent_decode_str(text.get(..length)?).next()?;
    digit.is_ascii_hexdigit().then_some(length)
}

fn bounded(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(LOGGED_BYTES_MAX)]).into_owned()
}

/// A request body that tells its connection whether it was read to its end, and how slowly it comes.
struct WatchedBody {
    body: Incoming,
    pace: Pace,
    progress: Arc<Progress>,
}

impl WatchedBody {
    fn new(body: Incoming, progress: Arc<Progress>) -> Self {
        let this = Self {
            body,
            pace: Pace::new(Terms::OF_STRANGERS),
            progress,
        };
        this.note();
        this
    }

    fn note(&self) {
        let has_unread = !self.body.is_end_stream();
        self.progress
            .has_unread_body
            .store(has_unread, Ordering::Relaxed);
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.pace.goes_on(0, &self.progress.giving);
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        let Poll::Ready(ready) = &frame else {
            // Only now has whoever asks for the body had the time to know the sender.
            if this.progress.is_known.load(Ordering::Relaxed) {
                this.pace.set_terms(Terms::PATIENT);
            }
            this.pace.waits(&this.progress.giving);
            return Poll::Pending;
        };
        match ready {
            None => this
                .progress
                .has_unread_body
                .store(false, Ordering::Relaxed),
            Some(_) => this.note(),
        }
        let data = ready
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref());
        this.pace
            .goes_on(data.map_or(0, Bytes::len), &this.progress.giving);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_a_path_without_its_capability() {
        let capability = "0123456789abcdef".repeat(2);
        let cksum = "0123456789abcdef".repeat(4);
        for (path, shown) in [
            (
                format!("/crates/dl/{capability}/serde/1.0.0/{cksum}"),
                format!("/crates/dl/***/serde/1.0.0/{cksum}"),
            ),
            (
                format!("//dl/{}/", capability.to_uppercase()),
                "//dl/***/".to_owned(),
            ),
            // Mistyped, it is still nearly the secret.
            (format!("/{}", &capability[1..]), "/***".to_owned()),
            (
                format!("/dl/{capability}./serde/{capability},x/%20{capability}%20"),
                "/dl/***./serde/***,x/%***%20".to_owned(),
            ),
            (
                format!("/{}/%2530{}", "%30%46%63".repeat(11), &capability[1..]),
                "/***/%***".to_owned(),
            ),
        ] {
            assert_eq!(masked(&path), shown);
        }
        for path in [
            "",
            "/",
            "/crates/index/se/rd/serde",
            "/crates/dl/acce55ed-facade/1.0.0-20261129141412+c0ffee/download",
            "/größe/%%3%zz/%ff/100%",
            &format!("/{cksum}./%2F{cksum}"),
        ] {
            assert_eq!(masked(path), path);
        }
    }
}
