//! What hyper answers by itself to bytes that are no request, or not a whole one, in the form of all other answers.
//!
//! hyper writes such an answer before anybody is asked, without a body. The socket keeps back what is written while no
//! answer of ours is under way, and what was kept back is sent in our form once hyper is done with the connection.

use std::sync::atomic::{AtomicU8, Ordering};

use warp::http::StatusCode;

use super::context::RequestId;
use super::envelope::envelope_bytes;

/// The most headers of a request that hyper reads, unless it is told otherwise.
const HEADERS_MAX: usize = 100;
/// The largest request head that is read, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What hyper would answer to a request whose body comes so slowly that others get its place.
pub(super) const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How hyper writes that it gives no body.
const NO_BODY: &str = "content-length: 0\r\n";

const NONE: u8 = 0;
const BEGUN: u8 = 1;
const HANDED_OVER: u8 = 2;

/// How far the latest answer of a connection is: what is written while there is none is hyper's own.
#[derive(Default)]
pub(super) struct AnswerState(AtomicU8);

impl AnswerState {
    /// A request was read; what is written from now on answers it.
    pub(super) fn begin(&self) {
        self.0.store(BEGUN, Ordering::Relaxed);
    }

    /// hyper has all of the answer.
    pub(super) fn hand_over(&self) {
        self.0.store(HANDED_OVER, Ordering::Relaxed);
    }

    /// hyper keeps nothing that it was given. Only its buffer can hold the end of an answer.
    pub(super) fn flushed(&self) {
        let (from, to) = (HANDED_OVER, NONE);
        // In any other state there is more to come.
        let _ = self
            .0
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NONE
    }
}

/// The status of hyper's answer `bare`.
pub(super) fn status_of(bare: &[u8]) -> StatusCode {
    let status = bare.split(|byte| *byte == b' ').nth(1);
    let status = status.and_then(|status| StatusCode::from_bytes(status).ok());
    status.unwrap_or(StatusCode::BAD_REQUEST)
}

/// hyper's answer `bare` with a body that says what would be right, and the request's `id`.
pub(super) fn in_our_form(bare: &[u8], id: &RequestId) -> Vec<u8> {
    let head = String::from_utf8_lossy(bare);
    let detail = match head.split(' ').nth(1) {
        Some("408") => "the request body came so slowly that others got its place, of which there was none left; send it again later".to_owned(),
        Some("414") => "the address is too long".to_owned(),
        Some("431") => format!(
            "the head of the request is larger than {HEAD_BYTES_MAX} bytes or has more than {HEADERS_MAX} headers"
        ),
        _ => "this is not a request of HTTP/1.1 that can be read".to_owned(),
    };
    let body = envelope_bytes(&[detail]);
    let Some((before, after)) = head.split_once(NO_BODY) else {
        return bare.to_vec();
    };
    let about_body = format!(
        "content-type: application/json\r\nx-content-type-options: nosniff\r\nx-request-id: {id}\r\ncontent-length: {}\r\n",
        body.len()
    );
    let head = [before, &about_body, after].concat();
    [head.as_bytes(), &body].concat()
}
