//! `DELETE /R/api/v1/crates/{name}/{version}/yank` and `PUT …/unyank`

use super::{Done, json};
use crate::http::context::Response;
use crate::http::error::ApiError;
use crate::http::request::{Request, VersionPath};

/// Yanks a version.
pub async fn yank(path: VersionPath, request: Request) -> Result<Response, ApiError> {
    set_yanked(path, request, true).await
}

/// Takes a yank back.
pub async fn unyank(path: VersionPath, request: Request) -> Result<Response, ApiError> {
    set_yanked(path, request, false).await
}

async fn set_yanked(
    path: VersionPath,
    request: Request,
    yanked: bool,
) -> Result<Response, ApiError> {
    let caller = request.caller().await?;
    let (name, version) = path.parse()?;
    crate::yank::set_yanked(&request.app, &caller, name, version, yanked).await?;
    Ok(json(&Done {
        ok: true,
        msg: None,
    }))
}
