//! The git index, for reading only: `/R/git/info/refs` and `/R/git/git-upload-pack`.
//!
//! This is git's [smart HTTP protocol](https://git-scm.com/docs/http-protocol); what travels in it is for git alone.

use std::time::Duration;

use warp::Reply;
use warp::http::StatusCode;
use warp::http::header::{self, HeaderName, HeaderValue};

use super::access::Challenge;
use super::body::BodyLimits;
use super::context::Response;
use super::error::ApiError;
use super::request::{RawBody, Request};
use crate::fetch::{BodyCoding, FetchStream, GitProtocol, REQUEST_BYTES_MAX};

/// How long a client may take to send what it wants.
const SEND_MAX: Duration = Duration::from_secs(60);
/// By which version of its protocol a git client wants to talk.
const GIT_PROTOCOL: HeaderName = HeaderName::from_static("git-protocol");

/// Tells a client which refs there are.
pub async fn info_refs(request: Request, query: String) -> Result<Response, ApiError> {
    request.read(Challenge::Basic).await?;
    match query.as_str() {
        "service=git-upload-pack" => {}
        "service=git-receive-pack" => return Err(read_only()),
        _ => {
            return Err(ApiError::bad_request(
                "only git's smart protocol is spoken here; ask with `?service=git-upload-pack`",
            ));
        }
    }
    let stream = request
        .app
        .fetches
        .advertise(
            request.asked.peer.0.ip(),
            protocol(&request),
            request.asked.room_wanted(),
        )
        .await?;
    Ok(answer(
        stream,
        "application/x-git-upload-pack-advertisement",
    ))
}

/// Sends a client the commits that it lacks.
pub async fn upload_pack(request: Request, body: RawBody) -> Result<Response, ApiError> {
    request.read(Challenge::Basic).await?;
    let bytes_max = REQUEST_BYTES_MAX as u64;
    let mut limits = BodyLimits::new(bytes_max, &request.app.config.http);
    // It is small: who takes long to send it only holds a connection.
    limits.total = limits.total.min(SEND_MAX);
    limits.admit(request.content_length())?;
    let coding = match request.header(header::CONTENT_ENCODING) {
        None | Some("identity") => BodyCoding::Identity,
        Some("gzip" | "x-gzip") => BodyCoding::Gzip,
        Some(_) => {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body of a fetch may be encoded with gzip, or not at all",
            ));
        }
    };
    let (peer, protocol) = (request.asked.peer.0.ip(), protocol(&request));
    let hurry = request.asked.room_wanted();
    let stream = request
        .app
        .fetches
        .upload_pack(peer, protocol, coding, limits.bound(body), hurry)
        .await?;
    Ok(answer(stream, "application/x-git-upload-pack-result"))
}

/// A push: the index is changed by publishing.
pub async fn receive_pack(request: Request) -> Result<Response, ApiError> {
    request.read(Challenge::Basic).await?;
    Err(read_only())
}

fn read_only() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "this index cannot be pushed to; use `cargo publish`, `cargo yank` and `cargo owner`",
    )
}

fn protocol(request: &Request) -> GitProtocol {
    GitProtocol::from_header(
        request
            .asked
            .headers
            .get(GIT_PROTOCOL)
            .map(HeaderValue::as_bytes),
    )
}

fn answer(stream: FetchStream, content_type: &'static str) -> Response {
    let mut response = warp::reply::stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
