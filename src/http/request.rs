//! A request as handlers see it: no type of the web framework in their signatures but bodies.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use percent_encoding::percent_decode_str;
use warp::http::header::{self, HeaderName};

use super::access::Challenge;
use super::context::Asked;
use super::error::ApiError;
use crate::app::{App, Caller};
use crate::domain::{CrateName, CrateVersion};

/// What every handler gets.
pub struct Request {
    /// The registry.
    pub app: Arc<App>,
    /// What stands around the request.
    pub asked: Arc<Asked>,
}

/// The body of a request as it comes in: without any bound yet.
pub type RawBody = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// The crate in a path, as it was sent.
pub struct NamePath(pub String);

/// The crate and the version in a path, as they were sent.
pub struct VersionPath(pub String, pub String);

/// The path of a download without a token: the secret, the crate, the version and the checksum, as they were sent.
pub struct CapabilityPath {
    pub capability: String,
    pub version: VersionPath,
    pub cksum: String,
}

impl Request {
    /// Who asks, if their token is good.
    pub async fn caller(&self) -> Result<Caller, ApiError> {
        let visitor = self.visitor(Challenge::Cargo).await?;
        let request_id = self
            .asked
            .id
            .as_str()
            .parse()
            .expect("a request id is hexadecimal digits");
        Ok(Caller {
            visitor,
            request_id,
        })
    }

    /// What the request says of the length of its body.
    pub fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.parse().ok()
    }

    /// Whether the client has the representation with this tag already.
    pub fn has_current(&self, etag: &str) -> bool {
        self.header(header::IF_NONE_MATCH)
            .is_some_and(|known| matches_weakly(known, etag))
    }

    /// A header whose value is text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.asked.headers.get(name)?.to_str().ok()
    }
}

impl NamePath {
    /// The name, decoded and checked.
    pub fn parse(&self) -> Result<CrateName, ApiError> {
        decode(&self.0)?.parse().map_err(ApiError::bad_request)
    }
}

impl VersionPath {
    /// The name and the version, decoded and checked.
    pub fn parse(&self) -> Result<(CrateName, CrateVersion), ApiError> {
        let name = NamePath(self.0.clone()).parse()?;
        let version = decode(&self.1)?.parse().map_err(ApiError::bad_request)?;
        Ok((name, version))
    }
}

/// A part of a path without its percent-encoding. A `+` is a `+`: versions contain it.
fn decode(part: &str) -> Result<String, ApiError> {
    match percent_decode_str(part).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ApiError::bad_request(
            "the path is not UTF-8 once it is percent-decoded",
        )),
    }
}

/// Whether a list of tags names this one, weak forms included (RFC 9110, 13.1.2).
fn matches_weakly(known: &str, etag: &str) -> bool {
    known
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_match_weakly_and_in_lists() {
        let etag = "\"abc\"";
        for known in ["\"abc\"", "W/\"abc\"", "\"x\", W/\"abc\"", "*"] {
            assert!(matches_weakly(known, etag), "{known}");
        }
        for known in ["", "abc", "\"ab\"", "\"abcd\""] {
            assert!(!matches_weakly(known, etag), "{known}");
        }
    }
}
