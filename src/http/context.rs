//! What every request knows of itself: it travels as request extensions.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use warp::http::HeaderMap;

use super::exchange::Progress;
use crate::domain::encode_hex;

/// The one type of answer that every route gives.
pub type Response = warp::reply::Response;

/// The address at the other end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// What stands around a request, taken off it before a route is found: a route gets all of it at once.
pub struct Asked {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its name.
    pub id: RequestId,
    /// Who is connected.
    pub peer: PeerAddr,
    /// How it is with the connection.
    pub(super) progress: Arc<Progress>,
}

impl Asked {
    /// Whoever sent this is nobody who may hold the place of others by being slow.
    pub(super) fn sender_is_known(&self) {
        self.progress.is_known.store(true, Ordering::Relaxed);
    }

    /// Resolves when others want the place of this connection: whoever only waits for something then gives it up.
    pub fn room_wanted(&self) -> impl Future<Output = ()> + Send + use<> {
        self.progress.room_wanted()
    }
}

/// A request's own name: 128 random bits in lower-case hex, always ours and never the client's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// A fresh id.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let bytes = AHEAD.with_borrow_mut(Ahead::take)?;
        let mut digits = [0; 32];
        encode_hex(&bytes, &mut digits);
        Ok(Self(digits))
    }

    /// The 32 hex digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }
}

/// Random bytes for some ids of this thread: asking the system for each would cost as much as finding an answer.
struct Ahead {
    bytes: [u8; 1024],
    used: usize,
}

thread_local! {
    static AHEAD: RefCell<Ahead> = const { RefCell::new(Ahead { bytes: [0; 1024], used: 1024 }) };
}

impl Ahead {
    fn take(&mut self) -> Result<[u8; 16], getrandom::Error> {
        if self.used == self.bytes.len() {
            getrandom::fill(&mut self.bytes)?;
            self.used = 0;
        }
        let (taken, _) = self.bytes[self.used..]
            .split_first_chunk()
            .expect("the bytes are a whole number of ids");
        self.used += taken.len();
        Ok(*taken)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
