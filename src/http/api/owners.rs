//! `GET`, `PUT` and `DELETE /R/api/v1/crates/{name}/owners`

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Done, json};
use crate::domain::{Can, CrateName};
use crate::http::access::Challenge;
use crate::http::body::BodyLimits;
use crate::http::context::Response;
use crate::http::error::ApiError;
use crate::http::request::{NamePath, RawBody, Request};
use crate::owners::{self, Edit};

/// The largest list of owners that is read, in bytes.
const BODY_BYTES_MAX: u64 = 64 * 1024;
/// Who a repository among the owners stands for.
const OF_A_REPOSITORY: &str = "whoever pushes to this repository, and its jobs";

#[derive(Serialize)]
struct Users {
    users: Vec<User>,
}

#[derive(Serialize)]
struct User {
    id: u32,
    login: String,
    /// What Cargo shows beside the login: the forge's number, where several are recorded under one, and who a
    /// repository stands for.
    name: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    users: Vec<String>,
}

/// Who owns the crate.
pub async fn list_owners(path: NamePath, request: Request) -> Result<Response, ApiError> {
    request.read(Challenge::Cargo).await?;
    let owners = owners::list(&request.app, &path.parse()?)?;
    let named: Vec<(String, Option<u64>)> = owners.named().collect();
    let is_shared = |login: &str| {
        let is_it = |(other, _): &&(String, _)| other.eq_ignore_ascii_case(login);
        named.iter().filter(is_it).count() > 1
    };
    let users = named.iter().map(|(login, id)| User {
        id: number_of(login, *id),
        name: is_shared(login).then(|| in_words(*id)),
        login: login.clone(),
    });
    let repository = owners.repository().map(|(name, id)| User {
        id: number_of(name, Some(id)),
        name: Some(OF_A_REPOSITORY.to_owned()),
        login: name.to_owned(),
    });
    let users = users.chain(repository);
    Ok(json(&Users {
        users: users.collect(),
    }))
}

/// Adds owners.
pub async fn add_owners(
    path: NamePath,
    request: Request,
    body: RawBody,
) -> Result<Response, ApiError> {
    change(path, request, body, Edit::Add).await
}

/// Removes owners.
pub async fn remove_owners(
    path: NamePath,
    request: Request,
    body: RawBody,
) -> Result<Response, ApiError> {
    change(path, request, body, Edit::Remove).await
}

async fn change(
    path: NamePath,
    request: Request,
    body: RawBody,
    edit: Edit,
) -> Result<Response, ApiError> {
    let caller = request.caller().await?;
    let name = path.parse()?;
    // Before the body, for which there must be room.
    caller.require_on(Can::Own, &name)?;
    let limits = BodyLimits::of_small(BODY_BYTES_MAX, &request.app.config.http);
    limits.admit(request.content_length())?;
    let body = limits.bound(body).read_all().await?;
    let named: Named = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request(format!(
            "the body must be `{{\"users\":[\"login\"]}}`: {error}"
        ))
    })?;
    owners::change(&request.app, &caller, name.clone(), edit, &named.users).await?;
    let msg = match edit {
        Edit::Add => added(&named.users, &name),
        Edit::Remove => {
            let list = named.users.join(", ");
            format!("{list} can no longer publish, yank or own `{name}`")
        }
    };
    Ok(json(&Done {
        ok: true,
        msg: Some(msg),
    }))
}

/// What those can who were added; only people change owners.
fn added(names: &[String], krate: &CrateName) -> String {
    let (teams, people): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| name.contains(':'));
    [
        (people, "publish, yank and own"),
        (teams, "publish and yank"),
    ]
    .into_iter()
    .filter(|(names, _)| !names.is_empty())
    .map(|(names, rights)| format!("{} can now {rights} `{krate}`", names.join(", ")))
    .collect::<Vec<_>>()
    .join("; ")
}

/// `number 7`
fn in_words(id: Option<u64>) -> String {
    id.map_or_else(
        || "without a number".to_owned(),
        |id| format!("number {id}"),
    )
}

/// A number for Cargo, which wants one of 32 bits: the forge's, or always the same for the same login.
fn number_of(login: &str, id: Option<u64>) -> u32 {
    if let Some(Ok(id)) = id.map(u32::try_from) {
        return id;
    }
    let hash = Sha256::digest(login.to_ascii_lowercase());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}
