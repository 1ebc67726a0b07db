//! Request bodies that end: by size, by silence, by time.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::config::HttpConfig;
use crate::fetch::FetchFault;

/// How long a small body may take: who takes longer to send it only holds a connection.
const SMALL_TOTAL: Duration = Duration::from_secs(10);

/// How large a request body may be and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// The most bytes.
    pub bytes_max: u64,
    /// The longest wait for the next chunk.
    pub idle: Duration,
    /// The longest time for the whole.
    pub total: Duration,
}

/// Why a request body did not come whole.
#[derive(Debug, Error)]
pub enum BodyFault {
    /// More bytes than allowed, claimed or sent.
    #[error("the request body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    /// Too long a silence, or too long altogether.
    #[error("the request body stopped for {idle:?} or took longer than {total:?}")]
    TooSlow { idle: Duration, total: Duration },
    /// The connection broke, or the body's framing is wrong.
    #[error("the request body broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A request body as chunks; after an error it yields nothing more.
pub struct BoundedBody(Pin<Box<dyn Stream<Item = Result<Bytes, BodyFault>> + Send>>);

impl BodyLimits {
    /// The limits of a body of at most `bytes_max` bytes.
    pub fn new(bytes_max: u64, config: &HttpConfig) -> Self {
        Self {
            bytes_max,
            idle: Duration::from_secs(config.body_idle_secs),
            total: Duration::from_secs(config.body_total_secs),
        }
    }

    /// The same for a body that an honest client sends at once.
    pub fn of_small(bytes_max: u64, config: &HttpConfig) -> Self {
        let mut limits = Self::new(bytes_max, config);
        limits.total = limits.total.min(SMALL_TOTAL);
        limits
    }

    /// Refuses a `Content-Length` that is too large, before a byte is asked for.
    ///
    /// A client that sent `Expect: 100-continue` then never sends its body.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn admit(self, claimed_bytes: Option<u64>) -> Result<(), BodyFault> {
        match claimed_bytes {
            Some(claimed) if claimed > self.bytes_max => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    /// Bounds what `warp::body::stream()` yields; the total time runs from now.
    pub fn bound<S, B, E>(self, chunks: S) -> BoundedBody
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Buf + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let state = Reading {
            chunks: Box::pin(chunks),
            limits: self,
            bytes_left: self.bytes_max,
            deadline: Instant::now() + self.total,
            is_over: false,
        };
        BoundedBody(Box::pin(stream::unfold(state, Reading::next)))
    }

    fn too_large(self) -> BodyFault {
        BodyFault::TooLarge {
            bytes_max: self.bytes_max,
        }
    }

    fn too_slow(self) -> BodyFault {
        BodyFault::TooSlow {
            idle: self.idle,
            total: self.total,
        }
    }
}

impl BoundedBody {
    /// The whole body in memory, for bodies whose limit is small.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn read_all(self) -> Result<Bytes, BodyFault> {
        let mut whole = BytesMut::new();
        let mut chunks = pin!(self);
        while let Some(chunk) = chunks.next().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole.freeze())
    }
}

impl Stream for BoundedBody {
    type Item = Result<Bytes, BodyFault>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().0.as_mut().poll_next(cx)
    }
}

impl From<BodyFault> for FetchFault {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge { bytes_max } => Self::TooLarge { bytes_max },
            BodyFault::TooSlow { .. } => Self::TooSlow,
            BodyFault::Broken(source) => Self::Interrupted(source),
        }
    }
}

struct Reading<S> {
    chunks: Pin<Box<S>>,
    limits: BodyLimits,
    bytes_left: u64,
    deadline: Instant,
    is_over: bool,
}

impl<S, B, E> Reading<S>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn next(mut self) -> Option<(Result<Bytes, BodyFault>, Self)> {
        if self.is_over {
            return None;
        }
        // The idle time runs only while a chunk is awaited: our own work is not the client's delay.
        let deadline = self.deadline.min(Instant::now() + self.limits.idle);
        let chunk = match timeout_at(deadline, self.chunks.next()).await {
            Ok(Some(Ok(chunk))) => self.counted(chunk),
            Ok(Some(Err(fault))) => Err(BodyFault::Broken(fault.into())),
            Ok(None) => return None,
            Err(_elapsed) => Err(self.limits.too_slow()),
        };
        self.is_over = chunk.is_err();
        Some((chunk, self))
    }

    fn counted(&mut self, mut chunk: B) -> Result<Bytes, BodyFault> {
        let count = chunk.remaining();
        self.bytes_left = u64::try_from(count)
            .ok()
            .and_then(|count| self.bytes_left.checked_sub(count))
            .ok_or_else(|| self.limits.too_large())?;
        Ok(chunk.copy_to_bytes(count))
    }
}
