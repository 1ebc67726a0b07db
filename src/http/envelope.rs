//! The one shape of every answer that is not a success.

use serde::Serialize;
use warp::http::{HeaderValue, StatusCode, header};

use super::context::Response;

#[derive(Serialize)]
struct Envelope<'a> {
    errors: Vec<Fault<'a>>,
}

#[derive(Serialize)]
struct Fault<'a> {
    detail: &'a str,
}

/// An answer of `status` with `{"errors":[{"detail":"…"}]}`, the only shape whose text Cargo shows.
///
/// See <https://doc.rust-lang.org/cargo/reference/registry-web-api.html>.
pub fn envelope(status: StatusCode, detail: &str) -> Response {
    envelope_of_all(status, &[detail])
}

/// As [`envelope`], with a sentence for each fault.
pub fn envelope_of_all(status: StatusCode, details: &[impl AsRef<str>]) -> Response {
    let mut response = Response::new(envelope_bytes(details).into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// The JSON alone.
pub(super) fn envelope_bytes(details: &[impl AsRef<str>]) -> Vec<u8> {
    let fault = |detail| Fault { detail };
    let envelope = Envelope {
        errors: details.iter().map(AsRef::as_ref).map(fault).collect(),
    };
    serde_json::to_vec(&envelope).expect("a struct of strings is always JSON")
}
