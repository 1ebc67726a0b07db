//! `GET /R/login`: where people sign in, for the program that does it for them.

use serde::Serialize;
use warp::Reply;

use super::context::Response;
use super::error::ApiError;
use super::request::Request;

/// What an application asks for: who somebody is, and nothing that it could do in their name.
const SCOPE: &str = "openid profile groups read:user";

#[derive(Serialize)]
struct SignIn<'a> {
    /// The forge's base URL, which is the issuer of its id_tokens.
    forge: &'a str,
    client_id: &'a str,
    scope: &'static str,
}

/// Where people sign in. Everybody may see it: it is for those who have no token yet.
pub async fn login(request: Request) -> Result<Response, ApiError> {
    let forge = request.app.config.forge.as_ref();
    let sign_in = forge.and_then(|forge| {
        Some(SignIn {
            forge: forge.issuer.as_str(),
            client_id: forge.client_id.as_deref()?,
            scope: SCOPE,
        })
    });
    match sign_in {
        Some(sign_in) => Ok(warp::reply::json(&sign_in).into_response()),
        None => Err(ApiError::not_found(
            "nobody signs in at this registry through a forge; get a token of it, or of its forge if it has one, and paste that to `cargo login`",
        )),
    }
}
