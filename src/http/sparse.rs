//! The sparse index: `/R/index/…`
//!
//! The protocol is that of the
//! [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-index.html#sparse-protocol).

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use warp::Reply;
use warp::http::StatusCode;
use warp::http::header::{self, HeaderValue};
use warp::path::Tail;

use super::access::Challenge;
use super::context::Response;
use super::error::ApiError;
use super::request::Request;
use crate::domain::encode_hex;
use crate::index::Body;

/// The largest file that is inflated as a whole, in bytes.
const INFLATED_BYTES_MAX: usize = 64 * 1024;

/// Answers with one file of the index.
pub async fn index_file(path: Tail, request: Request) -> Result<Response, ApiError> {
    let path = path.as_str();
    let snapshot = request.read(Challenge::Cargo).await?;
    let visibility = request.app.visibility(&snapshot);
    let Some(body) = snapshot.file_as(path, visibility) else {
        return Err(missing(&request, path));
    };
    let body = &*body;
    let takes_gzip = accepts_gzip(request.header(header::ACCEPT_ENCODING).unwrap_or(""));
    let tag = Tag::of(body);
    let is_known = request.has_current(tag.strong());
    let content_type = match path.ends_with(".json") {
        true => "application/json",
        false => "text/plain; charset=utf-8",
    };
    let mut response = match is_known {
        true => Response::new(Bytes::new().into()),
        false => whole(body, takes_gzip, content_type),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    // The gzip form is another representation of the same bytes, so it only has the weak form of the tag.
    let tag = match takes_gzip {
        true => tag.weak(),
        false => tag.strong(),
    };
    let tag = HeaderValue::from_str(tag).expect("a tag is plain ASCII");
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    for (name, value) in [
        (header::VARY, "Accept-Encoding"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn whole(body: &Body, takes_gzip: bool, content_type: &'static str) -> Response {
    let mut response = match takes_gzip {
        true => Response::new(body.gzip().clone().into()),
        false if body.size() <= INFLATED_BYTES_MAX => Response::new(body.inflate().into()),
        false => in_pieces(body),
    };
    let headers = response.headers_mut();
    if takes_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The bytes of a large file, of which only those are in memory that the client takes next.
fn in_pieces(body: &Body) -> Response {
    let pieces = stream::iter(body.pieces().map(Ok::<_, Infallible>));
    let mut response = warp::reply::stream(pieces).into_response();
    let length = HeaderValue::from(body.size());
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    response
}

/// The tag of a file (RFC 9110, 8.8.3): the id of its blob in quotes, in both forms.
struct Tag([u8; 44]);

impl Tag {
    fn of(body: &Body) -> Self {
        let mut text = *b"W/\"........................................\"";
        encode_hex(body.blob().as_bytes(), &mut text[3..43]);
        Self(text)
    }

    fn weak(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a tag is plain ASCII")
    }

    fn strong(&self) -> &str {
        &self.weak()[2..]
    }
}

fn missing(request: &Request, path: &str) -> ApiError {
    let url = request
        .app
        .public_url
        .sparse_index(&request.app.config.name);
    if path == "info/refs" || path.starts_with("git-") {
        return ApiError::not_found(format!(
            "this is the sparse index, not a git repository; write its URL as `{url}`"
        ));
    }
    ApiError::not_found("there is no such file in the index")
}

/// Whether a client takes gzip (RFC 9110, 12.5.3).
fn accepts_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        is_gzip && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_when_offered() {
        for offer in ["gzip", "deflate, gzip", "GZIP;q=0.5", "br, gzip; q=1"] {
            assert!(accepts_gzip(offer), "{offer}");
        }
        for offer in ["", "identity", "gzip;q=0", "deflate, gzip; q=0.0", "xgzip"] {
            assert!(!accepts_gzip(offer), "{offer}");
        }
    }
}
