//! Pages for people: `/R/me`, and the answer that says the server serves.

use warp::Reply;

use super::context::Response;
use super::error::ApiError;
use super::request::Request;
use crate::domain::{PublicUrl, RegistryName};

/// `/healthz`: this process serves.
pub async fn health(_request: Request) -> Result<Response, ApiError> {
    Ok(warp::reply::with_status("ok\n", warp::http::StatusCode::OK).into_response())
}

/// `/R/me`: what to paste, and how to get a token.
pub async fn me(request: Request) -> Result<Response, ApiError> {
    let app = &request.app;
    Ok(warp::reply::html(page(&app.config.name, &app.public_url)).into_response())
}

/// What to write into `.cargo/config.toml` for modern Cargo.
pub fn sparse_snippet(name: &RegistryName, public_url: &PublicUrl) -> String {
    format!(
        "[registries.{name}]\nindex = \"{}\"\n",
        public_url.sparse_index(name)
    )
}

/// What to write into `.cargo/config.toml` where Cargo before 1.68 is in use too.
pub fn git_snippet(name: &RegistryName, public_url: &PublicUrl) -> String {
    format!(
        "[registries.{name}]\nindex = \"{}\"\n",
        public_url.git_index(name)
    )
}

fn page(name: &RegistryName, public_url: &PublicUrl) -> String {
    let sparse = escape(&sparse_snippet(name, public_url));
    let git = escape(&git_snippet(name, public_url));
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Registry {name}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}}pre{{background:#8881;padding:1rem;overflow:auto}}</style>
<h1>Registry {name}</h1>
<p>Paste this into <code>.cargo/config.toml</code> of your project, or of your home:</p>
<pre>{sparse}</pre>
<p>If Cargo before 1.68 works on the same projects, use the git index with every Cargo, so that all write the same lock files:</p>
<pre>{git}</pre>
<h2>A token</h2>
<p>Publishing, yanking and changing owners needs a token. Whoever runs this registry makes it with</p>
<pre>sidecargo token create YOUR-NAME</pre>
<p>and you give it to Cargo:</p>
<pre>cargo login --registry {name}</pre>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
