//! `POST /R/webhook`: the forge tells of what happened there.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
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
/// The forges wait five seconds for an answer.
const LOOK_TIME: Duration = Duration::from_secs(4);

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const EVENT: HeaderName = HeaderName::from_static("x-github-event");

/// Looks at the branch at once when somebody pushed, and judges a pull request. An event tells nothing that is believed but that it happened, so
/// one that comes late, twice or never does no harm.
pub async fn event(request: Request, body: RawBody) -> Result<Response, ApiError> {
    let forge = request.app.config.forge.as_ref();
    let secret = forge.and_then(|forge| forge.webhook_secret_file.as_deref());
    // Before the body, for which there must be room.
    let signature = Signature::read(secret, request.header(SIGNATURE))?;
    let limits = BodyLimits::of_small(EVENT_BYTES_MAX, &request.app.config.http);
    limits.admit(request.content_length())?;
    let body = limits.bound(body).read_all().await?;
    signature.check(&body)?;
    match request.header(EVENT) {
        Some("push") => {
            let deadline = tokio::time::Instant::now() + LOOK_TIME;
            request.app.index.look(deadline).await?;
        }
        Some("pull_request") => {
            let event = serde_json::from_slice(&body).map_err(|fault| {
                ApiError::bad_request(format!("not an event of a pull request: {fault}"))
            })?;
            // The forge does not wait so long.
            tokio::spawn(review::review(Arc::clone(&request.app), event));
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
