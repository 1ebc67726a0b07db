//! Pages for people: `/R/me`, and the answer that says the server serves.

use std::sync::Arc;
use std::time::Duration;

use warp::Reply;
use warp::http::header;

use super::access::Challenge;
use super::context::Response;
use super::error::ApiError;
use super::html::{self, escape};
use super::request::Request;
use super::snippets::Snippets;
use crate::domain::Visibility;
use crate::index::{OUTCOME_WAIT, WaitsFor};
use crate::metrics::{self, Metrics};

/// `/healthz`: this process serves, and can write. If not, only a new start helps.
pub async fn health(request: Request) -> Result<Response, ApiError> {
    must_have(request.app.index.has_writer())?;
    Ok("ok\n".into_response())
}

fn must_have(has_writer: bool) -> Result<(), ApiError> {
    match has_writer {
        true => Ok(()),
        false => Err(ApiError::unavailable(
            "the registry can be read, but its writer has ended by a fault that the log names; start the server again",
        )),
    }
}

/// Sooner or later nobody writes where nobody merges.
fn must_merge(has_maintenance: bool) -> Result<(), ApiError> {
    match has_maintenance {
        true => Ok(()),
        false => Err(ApiError::unavailable(
            "packs are not merged any more, for what does that has ended by a fault that the log names; start the server again",
        )),
    }
}

/// `/readyz`: reads are served, and what is written would be taken: the branch is good, its history is whole, what is
/// served is durable, packs are merged, the disk takes a small file, nobody left a lock, the writer lives and comes on. If
/// not, the reason.
/// A forge that cannot be reached, or took no push the last time, stops writes alone: that is told, and no fault.
///
/// Of a private registry only those who may read it are told the reason: it can name a crate.
pub async fn ready(request: Request) -> Result<Response, ApiError> {
    let looked = look(&request).await;
    match &looked {
        Ok(Ready::Good) => {}
        _ if request.read(Challenge::Cargo).await.is_ok() => {}
        Ok(Ready::ForReads(_)) => return Ok("ok for reads; nothing is written\n".into_response()),
        Err(_) => {
            return Err(ApiError::unavailable(
                "the registry is not ready; its log says why, and so does this address with a token that may read",
            ));
        }
    }
    Ok(match looked? {
        Ready::Good => "ok\n".into_response(),
        Ready::ForReads(reason) => {
            format!("ok for reads; nothing is written: {reason}\n").into_response()
        }
    })
}

/// How far a registry is ready.
enum Ready {
    Good,
    /// Nothing is written, for this reason, and that is no fault of the registry.
    ForReads(String),
}

async fn look(request: &Request) -> Result<Ready, ApiError> {
    let index = &request.app.index;
    let stall = index.stall();
    if let Some(stall) = stall.as_deref().filter(|stall| !stall.is_away) {
        return Err(ApiError::unavailable(&stall.reason));
    }
    if !index.is_proven() {
        return Err(ApiError::unavailable(
            "it is not known whether the newest commits survive a power cut; they are written again",
        ));
    }
    if let Some(reason) = index.broken_history() {
        return Err(ApiError::unavailable(format!(
            "the index cannot be cloned, for a part of its history is gone or damaged: {reason}; `sidecargo verify` names it"
        )));
    }
    must_merge(index.has_maintenance())?;
    index.check_packs().map_err(ApiError::unavailable)?;
    if let Some(fault) = request.app.disk.fault().await {
        return Err(ApiError::unavailable(fault));
    }
    // Only now, as the disk answers.
    if let Some(reason) = index.stale_lock() {
        return Err(ApiError::unavailable(reason));
    }
    let patience =
        Duration::from_secs(request.app.config.http.publish_deadline_secs) + OUTCOME_WAIT;
    if let Some(reason) = stuck(index.measures().work(), patience)? {
        return Ok(Ready::ForReads(reason));
    }
    match stall {
        // Whoever sends no more reads here would make more of it than it is.
        Some(stall) if index.has_writer() => Ok(Ready::ForReads(stall.reason.clone())),
        _ => {
            must_have(index.has_writer())?;
            let unpushed = index.unpushed();
            Ok(unpushed.map_or(Ready::Good, |reason| Ready::ForReads(reason.to_string())))
        }
    }
}

/// What is said of a writer that does not come on: whoever waited for it was answered meanwhile. That the forge does not
/// answer is no fault of the registry.
fn stuck(
    work: Option<(WaitsFor, Duration)>,
    patience: Duration,
) -> Result<Option<String>, ApiError> {
    let Some((waits_for, age)) = work.filter(|(_, age)| *age > patience) else {
        return Ok(None);
    };
    let said = |what| {
        let secs = age.as_secs();
        format!("the writer has been at one piece of work for {secs} seconds: it waits for {what}")
    };
    match waits_for {
        WaitsFor::Disk => Err(ApiError::unavailable(said("the disk or for git"))),
        WaitsFor::Forge => Ok(Some(said("the forge"))),
    }
}

/// `/metrics`: all measures, for those who may read the registry: they tell how much happens in it.
pub async fn metrics(metrics: Arc<Metrics>, request: Request) -> Result<Response, ApiError> {
    request.read(Challenge::Cargo).await?;
    let text = metrics.text(&request.app).map_err(ApiError::internal)?;
    let kind = metrics::CONTENT_TYPE;
    Ok(warp::reply::with_header(text, header::CONTENT_TYPE, kind).into_response())
}

/// `/R/me`: what to paste, and how to get a token. Everybody may see it: it is where those without a token are sent.
pub async fn me(request: Request) -> Result<Response, ApiError> {
    let app = &request.app;
    let snippets = Snippets {
        name: &app.config.name,
        public_url: &app.public_url,
        visibility: app.visibility(&app.index.snapshot()),
    };
    let ways = app.config.forge.as_ref().map(|forge| {
        let issuer = forge.issuer.as_str();
        let sign_in = forge.client_id.as_ref().map(|_| sign_in(&snippets, issuer));
        forge_token(issuer) + &sign_in.unwrap_or_default()
    });
    Ok(warp::reply::html(page(&snippets, &ways.unwrap_or_default())).into_response())
}

/// Which token of the forge does in place of one of ours.
fn forge_token(forge: &str) -> String {
    let forge = escape(forge);
    format!(
        r#"<h2>A token of the forge</h2>
<p>An access token that you make in your settings at {forge} does as well as a token from here: with the scopes <code>write:repository</code> and <code>read:user</code> to publish, with <code>read:repository</code> to read alone.</p>
"#
    )
}

/// How people come without a token, if there is a forge where they sign in.
fn sign_in(snippets: &Snippets<'_>, forge: &str) -> String {
    let name = snippets.name;
    let provided = escape(&snippets.provided());
    let forge = escape(forge);
    format!(
        r#"<h2>Sign in</h2>
<p>With Cargo since 1.74 and the program <code>cargo-credential-sidecargo</code> no token is needed: paste this instead,</p>
<pre id="provided">{provided}</pre>
<p>and sign in at {forge}:</p>
<pre>cargo login --registry {name}</pre>
"#
    )
}

/// `ways` tells how people come with what the forge gives them.
fn page(snippets: &Snippets<'_>, ways: &str) -> String {
    let name = snippets.name;
    let body = match snippets.visibility {
        Visibility::Public => public_body(snippets),
        Visibility::Private => private_body(snippets),
    };
    html::page(&format!("Registry {name}"), &format!("{body}{ways}"))
}

fn public_body(snippets: &Snippets<'_>) -> String {
    let name = snippets.name;
    let sparse = escape(&snippets.sparse());
    let git = escape(&snippets.git());
    let replaced = escape(&snippets.replaced());
    format!(
        r#"<p>Paste this into <code>.cargo/config.toml</code> of your project, or of your home:</p>
<pre id="sparse">{sparse}</pre>
<p>If Cargo before 1.68 works on the same projects, use the git index with every Cargo, so that all write the same lock files:</p>
<pre id="git">{git}</pre>
<p>Beside such an older Cargo, a newer one can read the sparse index and still write the git URL to lock files:</p>
<pre id="replaced">{replaced}</pre>
<h2>A token</h2>
<p>Publishing, yanking and changing owners needs a token. Whoever runs this registry makes it with</p>
<pre>sidecargo token create YOUR-NAME</pre>
<p>and you give it to Cargo:</p>
<pre>cargo login --registry {name}</pre>
"#
    )
}

fn private_body(snippets: &Snippets<'_>) -> String {
    let name = snippets.name;
    let sparse = escape(&snippets.sparse());
    let git = escape(&snippets.git());
    let replaced = escape(&snippets.replaced());
    let git_credentials = escape(&snippets.git_credentials());
    format!(
        r#"<p>This registry is private: everything needs a token, reading too. Whoever runs the registry makes it with</p>
<pre>sidecargo token create YOUR-NAME</pre>
<h2>Cargo since 1.74</h2>
<p>Paste this into <code>.cargo/config.toml</code> of your project, or of your home:</p>
<pre id="sparse">{sparse}</pre>
<p>and give Cargo the token:</p>
<pre id="login">cargo login --registry {name}</pre>
<h2>Older Cargo too</h2>
<p>If Cargo before 1.74 works on the same projects, use the git index with every Cargo, so that all write the same lock files:</p>
<pre id="git">{git}</pre>
<p>Cargo reads a git index with the password that git has stored. Git asks for it once: any user name, and the token as the password.</p>
<pre id="git-credentials">{git_credentials}</pre>
<p>Then give the token to Cargo as above: it sends it with everything else. Before 1.74 it sends none with downloads; they work only where whoever runs the registry has switched <code>capability_downloads</code> on.</p>
<h2>Newer Cargo on the sparse index beside older Cargo</h2>
<p>This reads the sparse index and writes the URL of the git index to lock files:</p>
<pre id="replaced">{replaced}</pre>
<p>Cargo now asks for two tokens, one for each name; they may be the same. The first reads, the second publishes, and to publish Cargo also reads the git index, with the password that git has stored:</p>
<pre id="logins">cargo login --registry {name}-sparse
cargo login --registry {name}
</pre>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_waits_for_the_disk_is_a_fault_and_one_that_waits_for_the_forge_is_told() {
        let patience = Duration::from_secs(25);
        let looked =
            |waits_for, secs| stuck(Some((waits_for, Duration::from_secs(secs))), patience);
        for waits_for in [WaitsFor::Disk, WaitsFor::Forge] {
            assert!(matches!(looked(waits_for, 25), Ok(None)));
        }
        let status = looked(WaitsFor::Disk, 26)
            .unwrap_err()
            .into_response()
            .status();
        assert_eq!(status, warp::http::StatusCode::SERVICE_UNAVAILABLE);
        let told = looked(WaitsFor::Forge, 26).unwrap().unwrap();
        assert!(
            told.ends_with("for 26 seconds: it waits for the forge"),
            "{told}"
        );
    }

    #[test]
    fn a_server_without_its_writer_is_not_healthy() {
        assert!(must_have(true).is_ok());
        let status = must_have(false).unwrap_err().into_response().status();
        assert_eq!(status, warp::http::StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_server_that_merges_no_packs_is_not_ready() {
        assert!(must_merge(true).is_ok());
        let status = must_merge(false).unwrap_err().into_response().status();
        assert_eq!(status, warp::http::StatusCode::SERVICE_UNAVAILABLE);
    }
}
