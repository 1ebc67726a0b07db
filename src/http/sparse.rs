//! The sparse index: `/R/index/…`
//!
//! The protocol is that of the
//! [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-index.html#sparse-protocol).

use bytes::Bytes;
use warp::http::header::{self, HeaderValue};
use warp::http::{HeaderName, StatusCode};
use warp::path::Tail;

use super::access::Challenge;
use super::context::Response;
use super::error::ApiError;
use super::request::Request;
use crate::index::Body;

/// Answers with one file of the index.
pub async fn index_file(path: Tail, request: Request) -> Result<Response, ApiError> {
    let path = path.as_str();
    let snapshot = request.read(Challenge::Cargo)?;
    let Some(body) = snapshot.file(path) else {
        return Err(missing(&request, path));
    };
    let takes_gzip = accepts_gzip(request.header(header::ACCEPT_ENCODING).unwrap_or(""));
    let etag = format!("\"{}\"", body.blob());
    let is_known = request.has_current(&etag);
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
    let etag = if takes_gzip {
        format!("W/{etag}")
    } else {
        etag
    };
    set(&mut response, header::ETAG, &etag);
    set(&mut response, header::VARY, "Accept-Encoding");
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    Ok(response)
}

fn whole(body: &Body, takes_gzip: bool, content_type: &'static str) -> Response {
    let mut response = match takes_gzip {
        true => Response::new(body.gzip().clone().into()),
        false => Response::new(body.inflate().into()),
    };
    if takes_gzip {
        set(&mut response, header::CONTENT_ENCODING, "gzip");
    }
    set(&mut response, header::CONTENT_TYPE, content_type);
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("the values are plain ASCII");
    response.headers_mut().insert(name, value);
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
