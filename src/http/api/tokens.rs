//! `POST` and `DELETE /R/api/v1/trusted_publishing/tokens`
//!
//! Paths and shapes are those of the public registry, so that what is written for its
//! [trusted publishing](https://crates.io/docs/trusted-publishing) works here. What may stand beside `jwt` is our own.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use warp::Reply;
use warp::http::StatusCode;

use super::json;
use crate::domain::{Only, Secret};
use crate::exchange::{self, Wanted};
use crate::http::body::BodyLimits;
use crate::http::context::Response;
use crate::http::error::ApiError;
use crate::http::request::{RawBody, Request};

/// The largest body that is read, in bytes: an id-token names groups, and there may be many.
const BODY_BYTES_MAX: u64 = 64 * 1024;

#[derive(Deserialize)]
struct Asked {
    jwt: String,
    can: Option<Vec<String>>,
    crates: Option<Vec<String>>,
    vers: Option<String>,
    cksum: Option<String>,
}

#[derive(Serialize)]
struct Made<'a> {
    token: &'a str,
}

/// Exchanges what the forge signed for a token of ours.
pub async fn exchange(request: Request, body: RawBody) -> Result<Response, ApiError> {
    if request.app.gate.is_none() {
        // Before the body, for which there must be room.
        return Err(exchange::ExchangeFault::NoForge.into());
    }
    let limits = BodyLimits::of_small(BODY_BYTES_MAX, &request.app.config.http);
    limits.admit(request.content_length())?;
    let body = limits.bound(body).read_all().await?;
    let asked = Asked::read(&body)?;
    let jwt = Secret::new(asked.jwt.clone());
    let minted = exchange::exchange(&request.app, &jwt, asked.wanted()?).await?;
    let token = minted.token.expose();
    Ok(json(&Made { token }))
}

/// Takes a token back that was got so, before its time is over.
pub async fn give_back(request: Request) -> Result<Response, ApiError> {
    let caller = request.caller().await?;
    exchange::give_back(&request.app, &caller).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Asked {
    /// Nothing of the body is repeated: a secret stands in it.
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|fault| {
            ApiError::bad_request(format!(
                "the body must be `{{\"jwt\":\"…\"}}`, with `can` and `crates` as lists of texts and `vers` and `cksum` as texts beside it if they are wanted; it is not in line {}, column {}",
                fault.line(),
                fault.column()
            ))
        })
    }

    fn wanted(&self) -> Result<Wanted, ApiError> {
        Ok(Wanted {
            can: all(self.can.as_deref())?,
            crates: all(self.crates.as_deref())?,
            only: Only {
                version: one(self.vers.as_deref())?,
                cksum: one(self.cksum.as_deref())?,
            },
        })
    }
}

fn all<T: FromStr<Err: ToString>>(texts: Option<&[String]>) -> Result<Option<Vec<T>>, ApiError> {
    let parse = |text: &String| text.parse().map_err(ApiError::bad_request);
    texts
        .map(|texts| texts.iter().map(parse).collect())
        .transpose()
}

fn one<T: FromStr<Err: ToString>>(text: Option<&str>) -> Result<Option<T>, ApiError> {
    text.map(|text| text.parse().map_err(ApiError::bad_request))
        .transpose()
}
