//! `GET /R/api/v1/crates?q=…&per_page=…`

use serde::Serialize;

use super::json;
use crate::catalog::{Entry, FOUND_MAX};
use crate::domain::CrateName;
use crate::http::access::Challenge;
use crate::http::context::Response;
use crate::http::error::ApiError;
use crate::http::request::Request;

/// How many crates are answered if the request does not say.
const PER_PAGE_DEFAULT: usize = 10;

#[derive(Serialize)]
struct Answer {
    crates: Vec<Hit>,
    meta: Meta,
}

#[derive(Serialize)]
struct Hit {
    name: CrateName,
    max_version: String,
    description: Option<String>,
}

#[derive(Serialize)]
struct Meta {
    total: u32,
}

/// Finds crates by name, keyword and description.
pub async fn search(request: Request, query: String) -> Result<Response, ApiError> {
    request.read(Challenge::Cargo).await?;
    let mut wanted = String::new();
    let mut per_page = PER_PAGE_DEFAULT;
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "q" => wanted = value.into_owned(),
            "per_page" => per_page = parse_per_page(&value)?,
            _ => {}
        }
    }
    let (peer, hurry) = (request.asked.peer.0.ip(), request.asked.room_wanted());
    let catalog = &request.app.catalog;
    let found = catalog.search(&wanted, per_page, peer, hurry).await?;
    let hit = |entry: &Entry| Hit {
        name: entry.name().clone(),
        max_version: entry.version().to_string(),
        description: entry.description().map(str::to_owned),
    };
    let total = u32::try_from(found.total).unwrap_or(u32::MAX);
    Ok(json(&Answer {
        crates: found.crates.iter().map(hit).collect(),
        meta: Meta { total },
    }))
}

fn parse_per_page(text: &str) -> Result<usize, ApiError> {
    match text.parse() {
        Ok(count @ 1..=FOUND_MAX) => Ok(count),
        _ => Err(ApiError::bad_request(format!(
            "`per_page` must be a number from 1 to {FOUND_MAX}"
        ))),
    }
}
