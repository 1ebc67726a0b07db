//! `GET /R/` and `GET /R/repositories/ID`: crates as people look through them, and where the pages of a forge lead to.

use std::fmt::Write;

use warp::Reply;

use super::access::Challenge;
use super::context::Response;
use super::error::ApiError;
use super::html::{self, escape};
use super::request::Request;
use crate::app::App;
use crate::catalog::{Entry, FOUND_MAX, Found};

/// All crates, or those that fit `?q=…`.
pub async fn crates(request: Request, query: String) -> Result<Response, ApiError> {
    request.read(Challenge::Basic).await?;
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let wanted = pairs.into_iter().find(|(key, _)| key == "q");
    let wanted = wanted
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    let (peer, hurry) = (request.asked.peer.0.ip(), request.asked.room_wanted());
    let catalog = &request.app.catalog;
    let found = catalog.search(&wanted, FOUND_MAX, peer, hurry).await?;
    let name = &request.app.config.name;
    let form = format!(
        r#"<form><input type="search" name="q" value="{}" aria-label="Search" autofocus> <button>Search</button></form>
{}"#,
        escape(&wanted),
        intro(&request.app, &found)
    );
    Ok(answer(
        &request.app,
        &format!("Crates of {name}"),
        &form,
        &found,
    ))
}

/// The crates that belong to a repository of the forge.
pub async fn of_repository(id: u64, request: Request) -> Result<Response, ApiError> {
    request.read(Challenge::Basic).await?;
    let (peer, hurry) = (request.asked.peer.0.ip(), request.asked.room_wanted());
    let catalog = &request.app.catalog;
    let found = catalog.of_repository(id, FOUND_MAX, peer, hurry).await?;
    if found.total == 0 {
        return Err(ApiError::not_found(format!(
            "no crate belongs to the repository with the number {id}"
        )));
    }
    let intro = intro(&request.app, &found);
    Ok(answer(
        &request.app,
        "Crates of this repository",
        &intro,
        &found,
    ))
}

/// How many there are, and the way to all else.
fn intro(app: &App, found: &Found) -> String {
    let root = app.public_url.registry_root(&app.config.name);
    let me = escape(&format!("{root}/me"));
    format!(
        "<p>{}. <a href=\"{me}\">How to use this registry</a></p>\n",
        count(found)
    )
}

fn count(found: &Found) -> String {
    match (found.total, found.crates.len()) {
        (1, _) => "1 crate".to_owned(),
        (total, shown) if total > shown => format!("{total} crates, the first {shown} of them"),
        (total, _) => format!("{total} crates"),
    }
}

fn answer(app: &App, title: &str, intro: &str, found: &Found) -> Response {
    let mut body = intro.to_owned();
    for entry in &found.crates {
        write_entry(&mut body, app, entry);
    }
    warp::reply::html(html::page(title, &body)).into_response()
}

fn write_entry(body: &mut String, app: &App, entry: &Entry) {
    let (krate, version) = (entry.name(), entry.version());
    let description = escape(entry.description().unwrap_or_default());
    let registry = &app.config.name;
    let added = escape(&format!("cargo add {krate} --registry {registry}"));
    write!(
        body,
        "<h2>{krate} {version}</h2>\n<p>{description}</p>\n<pre>{added}</pre>\n"
    )
    .expect("a string takes everything");
}
