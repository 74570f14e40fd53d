//! The calls of control. [`calls`] is the table of contents: router and OpenAPI are made of it.

mod ask;
mod events;
mod explain;
mod follow;
mod node;
mod nodes;
mod page;
mod popular;
mod purges;
mod releases;
mod state;
mod stats;
mod traffic;
mod uncached;
mod warm;

pub(crate) use node::router as node_router;

use super::dialects;
use super::errors::{ApiError, in_one_form};
use super::{Control, Process};
use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post, put};
use http::{StatusCode, Uri};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use weir_edge::config::nearest::{did_you_mean, nearest};

/// Bytes of a body.
pub(super) const LARGEST_BODY: usize = 1 << 20;

/// Calls at once; further ones are refused with 429.
const MOST_CALLS: usize = 256;

/// Longer than the longest wait for a purge.
const LONGEST_CALL: Duration = Duration::from_secs(75);

pub(super) type Shared = Arc<Control>;

/// What calls are answered from, whatever the process is.
pub(super) trait OfProcess: Clone + Send + Sync + 'static {
    /// The process.
    fn process(&self) -> &Process;
}

impl OfProcess for Shared {
    fn process(&self) -> &Process {
        &self.process
    }
}

impl OfProcess for Arc<Process> {
    fn process(&self) -> &Process {
        self
    }
}

/// One call: where it is, what answers it, and its entry in the OpenAPI document.
pub(super) struct Call<S = Shared> {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    pub(super) kind: Kind,
    pub(super) handler: MethodRouter<S>,
}

/// What holds for a call beside what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Open to everyone: says nothing but whether the process lives.
    Open,
    /// For callers who are let in; so many at once.
    Guarded,
    /// Likewise, but it goes on: counted by itself.
    Lasting,
}

impl<S> Call<S> {
    pub(super) fn new(method: &'static str, path: &'static str, handler: MethodRouter<S>) -> Self {
        Self { path, method, kind: Kind::Guarded, handler }
    }

    fn open(path: &'static str, handler: MethodRouter<S>) -> Self {
        Self { path, method: "get", kind: Kind::Open, handler }
    }

    fn lasting(path: &'static str, handler: MethodRouter<S>) -> Self {
        Self { path, method: "get", kind: Kind::Lasting, handler }
    }
}

/// All calls of control.
pub(super) fn calls() -> Vec<Call> {
    let own = vec![
        Call::new("post", "/v1/purges", post(purges::purge)),
        Call::new("get", "/v1/purges", get(purges::list)),
        Call::new("get", "/v1/purges/{id}", get(purges::one)),
        Call { kind: Kind::Lasting, ..Call::new("post", "/v1/warm", post(warm::warm)) },
        Call::new("get", "/v1/nodes", get(nodes::all)),
        Call::new("get", "/v1/nodes/{name}", get(nodes::one)),
        Call::new("delete", "/v1/nodes/{name}", delete(nodes::forget)),
        Call::new("get", "/v1/stats", get(stats::stats)),
        Call::new("get", "/v1/traffic", get(traffic::traffic)),
        Call::new("get", "/v1/popular", get(popular::popular)),
        Call::new("get", "/v1/uncached", get(uncached::uncached)),
        Call::new("get", "/v1/explain", get(explain::explain)),
        Call::new("get", "/v1/sites/{id}/release", get(releases::current)),
        Call::new("put", "/v1/sites/{id}/release", put(releases::switch)),
        Call::new("post", "/v1/reload", post(state::reload)),
        Call::new("get", "/metrics", get(state::metrics)),
        Call::lasting("/v1/events", get(events::events)),
        Call::lasting("/v1/follow", get(follow::follow)),
        Call::open("/healthz", get(state::healthz)),
        Call::open("/readyz", get(state::readyz::<Shared>)),
        Call::open("/openapi.json", get(state::document)),
    ];
    own.into_iter().chain(dialects::calls()).collect()
}

/// The router of all calls of control.
pub(crate) fn router(control: Shared) -> Router {
    let calls = bounded(calls(), control.process.clone());
    framed(calls.merge(page::router()).fallback(no_such_call)).with_state(control)
}

/// A router of `calls`, with the bounds that hold for each.
fn bounded<S: OfProcess>(calls: Vec<Call<S>>, process: Arc<Process>) -> Router<S> {
    let (mut unbounded, mut guarded) = (Router::new(), Router::new());
    for call in calls {
        // Not over what is open: a health check must not fail because many purges wait.
        let router = if call.kind == Kind::Guarded { &mut guarded } else { &mut unbounded };
        *router = std::mem::take(router).route(call.path, call.handler);
    }
    let guarded = guarded.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(move |_| {
                process.count_shed();
                std::future::ready(ApiError::busy())
            }))
            .load_shed()
            .layer(GlobalConcurrencyLimitLayer::new(MOST_CALLS)),
    );
    unbounded.merge(guarded)
}

/// What holds for every call, from the innermost outwards. What goes on after its answer began
/// (events, and what was upgraded) is not cut by the timeout.
fn framed<S: OfProcess>(router: Router<S>) -> Router<S> {
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, LONGEST_CALL);
    router
        .layer(RequestBodyLimitLayer::new(LARGEST_BODY))
        .layer(timeout)
        .layer(CatchPanicLayer::custom(|_| ApiError::internal().into_response()))
        .layer(axum::middleware::map_response(in_one_form))
        .layer(axum::middleware::from_fn(dialects::in_their_form))
        .layer(TraceLayer::new_for_http())
}

async fn no_such_call(uri: Uri) -> ApiError {
    let calls = calls();
    let known = calls.iter().map(|call| call.path);
    let hint = match nearest(uri.path(), known) {
        Some(meant) => did_you_mean(meant),
        None => "/openapi.json lists the calls".to_owned(),
    };
    ApiError::not_found(format!("no such call; {hint}"))
}
