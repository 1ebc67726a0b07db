//! `PUT /R/api/v1/crates/new`

use serde::Serialize;

use super::json;
use crate::http::body::BodyLimits;
use crate::http::context::Response;
use crate::http::error::ApiError;
use crate::http::request::{RawBody, Request};

/// What Cargo expects after a publish; it prints the texts of `other`.
#[derive(Serialize)]
struct Published {
    warnings: Warnings,
}

#[derive(Serialize, Default)]
struct Warnings {
    invalid_categories: Vec<String>,
    invalid_badges: Vec<String>,
    other: Vec<String>,
}

/// Publishes a version.
pub async fn publish(request: Request, body: RawBody) -> Result<Response, ApiError> {
    let caller = request.caller().await?;
    let app = &request.app;
    let bytes_max = app
        .index
        .snapshot()
        .registry()
        .policy
        .limits
        .upload_bytes_max();
    let body_limits = BodyLimits::new(bytes_max, &app.config.http);
    body_limits.admit(request.content_length())?;
    let published = crate::publish::publish(app, &caller, body_limits.bound(body)).await?;
    let warnings = Warnings {
        other: published.warnings,
        ..Warnings::default()
    };
    Ok(json(&Published { warnings }))
}
