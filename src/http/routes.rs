//! Every route in one table.
//!
//! A route is a path, a method, what its handler needs, and the handler. Each is boxed, so that types stay small.
//! The path comes before the method: only then is a wrong method told from a wrong path.
//! A rejection only ever means "not my route"; what the registry refuses is an answer of a handler.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Buf;
use futures_util::{Stream, TryStreamExt};
use prometheus::IntGauge;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::path::{end, param, path, tail};
use warp::reject::{MethodNotAllowed, Rejection};
use warp::{Filter, delete, ext, get, head, post, put};

use super::answered::{Answered, AnsweredBy};
use super::context::{Asked, Response};
use super::error::ApiError;
use super::proxies::Proxies;
use super::request::{CapabilityPath, NamePath, RawBody, Request, VersionPath};
use super::{access, api, browse, download, git, login, pages, sparse, webhook};
use crate::app::App;
use crate::measure;
use crate::metrics::Metrics;

type Route = BoxedFilter<(Response,)>;

/// All that the server answers to.
#[derive(Clone)]
pub struct Routes {
    pub(super) filter: Route,
    /// Answers that are given around the routes.
    pub(super) outside: Arc<AnsweredBy>,
    /// Connections that are served.
    pub(super) connections: IntGauge,
    /// Who may say for whom they ask.
    pub(super) proxies: Proxies,
}

/// The table of routes; what no route takes gets the error envelope too.
#[rustfmt::skip]
pub fn routes(app: Arc<App>) -> Routes {
    let answered = Answered::new();
    let outside = Arc::new(answered.by_none());
    let not_taken = Arc::clone(&outside);
    let connections = measure::level("sidecargo_http_connections", "Connections that are served, also those that idle.");
    let metrics = Arc::new(Metrics::new(&app, answered.measure(), connections.clone()));
    let route = |name, handled| route(answered.by(name), handled);
    let events = webhook::Turns::default();
    let proxies = Proxies::new(&app.config.http.trusted_proxies);
    let r = path(app.config.name.to_string());
    let request = request(Arc::clone(&app));

    let crates = r.clone().and(path("api")).and(path("v1")).and(path("crates")).boxed();
    let version = param().and(param()).map(VersionPath).boxed();
    let owners = crates.clone().and(param().map(NamePath)).and(path("owners")).and(end()).boxed();
    let yank = crates.clone().and(version.clone()).and(path("yank")).and(end());
    let unyank = crates.clone().and(version.clone()).and(path("unyank")).and(end());
    let new = crates.clone().and(path("new")).and(end());
    let tokens = r.clone().and(path("api")).and(path("v1")).and(path("trusted_publishing")).and(path("tokens")).and(end()).boxed();
    let git = r.clone().and(path("git")).boxed();
    let info_refs = git.clone().and(path("info")).and(path("refs")).and(end());
    let upload_pack = git.clone().and(path("git-upload-pack")).and(end());
    let receive_pack = git.and(path("git-receive-pack")).and(end());
    let dl = r.clone().and(path("dl")).boxed();
    let download = dl.clone().and(version.clone()).and(path("download")).and(end());
    let by_capability = dl.and(param()).and(version).and(param()).and(end())
        .map(|capability, version, cksum| CapabilityPath { capability, version, cksum });

    // The index first: it is what Cargo asks for most.
    let filter = any_of([
        route("index_file", r.clone().and(path("index")).and(tail()).and(read()).and(request.clone()).then(sparse::index_file).boxed()),
        route("download", download.and(read()).and(request.clone()).then(download::download).boxed()),
        route("download_by_capability", by_capability.and(read()).and(request.clone()).then(download::download_by_capability).boxed()),

        route("info_refs", info_refs.and(get()).and(request.clone()).and(query()).then(git::info_refs).boxed()),
        route("upload_pack", upload_pack.and(post()).and(request.clone()).and(body()).then(git::upload_pack).boxed()),
        route("receive_pack", receive_pack.and(post()).and(request.clone()).then(git::receive_pack).boxed()),

        route("publish", new.and(put()).and(request.clone()).and(body()).then(api::publish).boxed()),
        route("yank", yank.and(delete()).and(request.clone()).then(api::yank).boxed()),
        route("unyank", unyank.and(put()).and(request.clone()).then(api::unyank).boxed()),
        route("list_owners", owners.clone().and(read()).and(request.clone()).then(api::list_owners).boxed()),
        route("add_owners", owners.clone().and(put()).and(request.clone()).and(body()).then(api::add_owners).boxed()),
        route("remove_owners", owners.and(delete()).and(request.clone()).and(body()).then(api::remove_owners).boxed()),
        route("search", crates.and(end()).and(read()).and(request.clone()).and(query()).then(api::search).boxed()),

        route("exchange_token", tokens.clone().and(post()).and(request.clone()).and(body()).then(api::exchange).boxed()),
        route("give_token_back", tokens.and(delete()).and(request.clone()).then(api::give_back).boxed()),

        route("webhook", r.clone().and(path("webhook")).and(end()).and(post()).and(request.clone()).map(move |request| (events.clone(), request)).untuple_one().and(body()).then(webhook::event).boxed()),
        route("crates", r.clone().and(end()).and(read()).and(request.clone()).and(query()).then(browse::crates).boxed()),
        route("of_repository", r.clone().and(path("repositories")).and(param()).and(end()).and(read()).and(request.clone()).then(browse::of_repository).boxed()),
        route("login", r.clone().and(path("login")).and(end()).and(read()).and(request.clone()).then(login::login).boxed()),
        route("me", r.and(path("me")).and(end()).and(read()).and(request.clone()).then(pages::me).boxed()),
        route("healthz", path("healthz").and(end()).and(read()).and(request.clone()).then(pages::health).boxed()),
        route("readyz", path("readyz").and(end()).and(read()).and(request.clone()).then(pages::ready).boxed()),
        route("metrics", path("metrics").and(end()).and(read()).and(request).map(move |request| (Arc::clone(&metrics), request)).untuple_one().then(pages::metrics).boxed()),
    ])
    .recover(move |rejection| not_routed(rejection, Arc::clone(&not_taken)))
    .unify()
    .map(move |response| access::keep_private(&app, response))
    .boxed();
    Routes { filter, outside, connections, proxies }
}

/// A handler's result as an answer, which is counted.
fn route(answered: AnsweredBy, handled: BoxedFilter<(Result<Response, ApiError>,)>) -> Route {
    let answered = Arc::new(answered);
    handled
        .map(move |result: Result<Response, ApiError>| {
            let response = result.unwrap_or_else(ApiError::into_response);
            answered.count(response.status());
            response
        })
        .boxed()
}

/// The first route of the table is tried first, and once it has answered, no other is passed.
fn any_of<const N: usize>(routes: [Route; N]) -> Route {
    routes
        .into_iter()
        .rev()
        .reduce(|later, route| route.or(later).unify().boxed())
        .expect("the table has a route")
}

/// What every handler needs of a request.
fn request(
    app: Arc<App>,
) -> impl Filter<Extract = (Request,), Error = Rejection> + Clone + Send + Sync + 'static {
    ext::get::<Arc<Asked>>().map(move |asked| Request {
        app: Arc::clone(&app),
        asked,
    })
}

/// Methods that only read; the server leaves the body of an answer to HEAD out.
fn read() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static {
    get().or(head()).unify()
}

fn body() -> BoxedFilter<(RawBody,)> {
    fn erase<B: Buf>(
        chunks: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
    ) -> RawBody {
        Box::pin(chunks.map_ok(|mut chunk| chunk.copy_to_bytes(chunk.remaining())))
    }
    warp::body::stream().map(erase).boxed()
}

/// The query as it was sent, empty if there is none.
fn query() -> BoxedFilter<(String,)> {
    let none = warp::any().map(String::new);
    warp::query::raw().or(none).unify().boxed()
}

async fn not_routed(
    rejection: Rejection,
    answered: Arc<AnsweredBy>,
) -> Result<Response, Infallible> {
    let error = if rejection.is_not_found() {
        ApiError::not_found("there is nothing at this address of the registry")
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this address does not take requests of this method",
        )
    } else {
        tracing::error!(?rejection, "a request was rejected by the framework");
        ApiError::bad_request("the request cannot be understood")
    };
    let response = error.into_response();
    answered.count(response.status());
    Ok(response)
}
