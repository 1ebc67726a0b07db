//! Cargo's web API: `/R/api/v1/crates…`.
//!
//! Shapes and paths are those of the [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-web-api.html).

mod owners;
mod publish;
mod search;
mod tokens;
mod yank;

pub use owners::{add_owners, list_owners, remove_owners};
pub use publish::publish;
pub use search::search;
pub use tokens::{exchange, give_back};
pub use yank::{unyank, yank};

use serde::Serialize;

use super::context::Response;

/// The answer to a request that was done.
#[derive(Serialize)]
struct Done {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<String>,
}

fn json(value: &impl Serialize) -> Response {
    use warp::Reply;
    warp::reply::json(value).into_response()
}
