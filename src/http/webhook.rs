//! `POST /R/webhook`: the forge tells of what happened there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tracing::{Instrument, warn};
use warp::Reply;
use warp::http::StatusCode;
use warp::http::header::HeaderName;

use super::body::BodyLimits;
use super::context::Response;
use super::error::ApiError;
use super::request::{RawBody, Request};
use crate::review;
use crate::webhook::{Signature, WebhookFault};

/// The largest event that is read, in bytes.
const EVENT_BYTES_MAX: u64 = 1024 * 1024;
/// The largest that is read beside any number of others, in bytes: most have less.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// The most larger ones that are read at one time.
const LARGE_MAX: usize = 8;
/// How long one of those waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(3);
/// The forges wait five seconds for an answer.
const LOOK_TIME: Duration = Duration::from_secs(4);

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const EVENT: HeaderName = HeaderName::from_static("x-github-event");

/// Turns of large events: until all of one was read nobody knows who sent it, and strangers must not fill the memory.
#[derive(Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_MAX)))
    }
}

impl Turns {
    /// One for `request`, unless others want its place meanwhile.
    async fn take(&self, request: &Request) -> Result<SemaphorePermit<'_>, ApiError> {
        let turn = tokio::select! {
            biased;
            turn = timeout(TURN_WAIT, self.0.acquire()) => turn.ok(),
            () = request.asked.room_wanted() => None,
        };
        let turn = turn.ok_or_else(|| {
            let others = "as many large events as there is room for are being read; tell of this one again, or the next look at the forge finds what happened";
            ApiError::unavailable(others)
        })?;
        Ok(turn.expect("the semaphore is never closed"))
    }

    /// The whole body, if it has the signature.
    async fn read(
        &self,
        request: &Request,
        body: RawBody,
        signature: &Signature,
    ) -> Result<Bytes, ApiError> {
        let length = request.content_length();
        let is_small = length.is_some_and(|length| length <= SMALL_BYTES_MAX);
        let (bytes_max, _turn) = match is_small {
            true => (SMALL_BYTES_MAX, None),
            false => (EVENT_BYTES_MAX, Some(self.take(request).await?)),
        };
        let limits = BodyLimits::of_small(bytes_max, &request.app.config.http);
        limits.admit(length)?;
        let body = limits.bound(body).read_all().await?;
        signature.check(&body)?;
        Ok(body)
    }
}

/// Looks at the branch at once when somebody pushed, and judges a pull request. An event tells nothing that is believed
/// but that it happened, so one that comes late, twice or never does no harm.
pub async fn event(turns: Turns, request: Request, body: RawBody) -> Result<Response, ApiError> {
    let forge = request.app.config.forge.as_ref();
    let secret = forge.and_then(|forge| forge.webhook_secret_file.as_deref());
    // Before the body, for which there must be room.
    let signature = Signature::read(secret, request.header(SIGNATURE))?;
    let body = turns.read(&request, body, &signature).await?;
    match request.header(EVENT) {
        Some("push") => {
            let deadline = tokio::time::Instant::now() + LOOK_TIME;
            let looked = request.app.index.look(deadline).await;
            // Whatever came of it; but what is shared may be slow.
            tokio::spawn(review::hear_of_push(Arc::clone(&request.app)));
            looked?;
        }
        Some("pull_request") => {
            let event = serde_json::from_slice(&body).map_err(|fault| {
                ApiError::bad_request(format!("not an event of a pull request: {fault}"))
            })?;
            // The forge does not wait so long.
            let judging = review::review(Arc::clone(&request.app), event);
            tokio::spawn(judging.in_current_span());
        }
        // It may have become another's to read.
        Some("repository") => {
            if let Some(watch) = &request.app.watch {
                watch.hasten();
            }
        }
        _ => {}
    }
    Ok(warp::reply::with_status("ok\n", StatusCode::OK).into_response())
}

impl From<WebhookFault> for ApiError {
    fn from(fault: WebhookFault) -> Self {
        match fault {
            WebhookFault::NotSetUp => Self::not_found(fault.to_string()),
            WebhookFault::NotSigned => Self::new(StatusCode::UNAUTHORIZED, fault.to_string()),
            WebhookFault::Secret(_) | WebhookFault::Short => {
                warn!(%fault, "an event of the forge was not heard");
                Self::unavailable(fault)
            }
        }
    }
}
