//! The router of control: every call of weir's own and of the dialects, and the page. The OpenAPI
//! document is made of the same list.

mod node;

pub use node::router as node_router;

use crate::attempts::shows_credentials;
use crate::call::{Call, Kind, LARGEST_BODY, OfProcess};
use crate::control::Control;
use crate::errors::{ApiError, in_one_form};
use crate::listener::Peer;
use crate::operation::Operation;
use crate::process::Process;
use crate::{dialects, openapi, rest};
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, Uri};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use tower_http::trace::{DefaultOnFailure, TraceLayer};
use weir_config::nearest::{did_you_mean, nearest};

/// Calls at once; further ones are refused with 429.
const MOST_CALLS: usize = 256;

/// Longer than the longest wait for a purge.
const LONGEST_CALL: Duration = Duration::from_secs(75);

/// From one piece of a call's body to the next.
const BODY_PIECE: Duration = Duration::from_secs(10);

/// All calls of control.
fn calls() -> Vec<Call> {
    let document = Operation::new("This document").answer("200", "It.");
    let document = Call::new("get", "/openapi.json", get(document_of_calls), document);
    let own = rest::calls().into_iter().chain([document.of_kind(Kind::Open)]);
    own.chain(dialects::calls()).collect()
}

/// The router of all calls of control.
pub fn router(control: Arc<Control>) -> Router {
    let calls = bounded(calls(), control.process.clone());
    let process = control.process.clone();
    framed(calls.merge(rest::page()).fallback(no_such_call), process).with_state(control)
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
pub(crate) fn framed<S: OfProcess>(router: Router<S>, process: Arc<Process>) -> Router<S> {
    // Each refusal has a line already, and not every 5xx is an error: a node that is not ready yet answers 503.
    let trace = TraceLayer::new_for_http();
    let trace = trace.on_failure(DefaultOnFailure::new().level(tracing::Level::DEBUG));
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, LONGEST_CALL);
    router
        .layer(RequestBodyTimeoutLayer::new(BODY_PIECE))
        .layer(RequestBodyLimitLayer::new(LARGEST_BODY))
        .layer(timeout)
        .layer(CatchPanicLayer::custom(|_| ApiError::internal().into_response()))
        .layer(axum::middleware::map_response(in_one_form))
        .layer(axum::middleware::from_fn_with_state(process, told))
        .layer(axum::middleware::from_fn(dialects::in_their_form))
        .layer(trace)
}

/// Has calls that are refused stand in the log with their request line. Those that fail to
/// authenticate do already.
async fn told(State(process): State<Arc<Process>>, request: Request, next: Next) -> Response {
    let call = format!("{} {}", request.method(), request.uri());
    let peer = request.extensions().get::<Peer>().map(|Peer(peer)| peer.ip().to_canonical());
    let shown = shows_credentials(request.headers());
    let response = next.run(request).await;
    if let Some(error) = response.extensions().get::<ApiError>()
        && !(shown && error.status() == StatusCode::UNAUTHORIZED)
        && let Some(others) = process.attempts.line(Instant::now())
    {
        let source = peer.map(tracing::field::display);
        let (status, reason) = (error.status().as_u16(), error.message());
        tracing::info!(source, call, status, reason, others, "refused");
    }
    response
}

async fn document_of_calls() -> Json<Value> {
    Json(openapi::document(&calls()))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::openapi::{document, schemas, template};

    #[test]
    fn every_call_is_described() {
        let calls = calls();
        let document = document(&calls);
        assert!(calls.len() >= 17);
        for call in &calls {
            let operation = &document["paths"][template(call.path)][call.method];
            assert!(operation["summary"].is_string(), "{} {}", call.method, call.path);
            let done = ["101", "200", "201", "202"];
            let done = done.iter().any(|status| operation["responses"][status].is_object());
            assert!(done, "{} {}", call.method, call.path);
            let open = call.kind == Kind::Open;
            assert_eq!(operation.get("security").is_none(), open, "{}", call.path);
        }
        let described: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|p| p.as_object().unwrap().len())
            .sum();
        assert_eq!(described, calls.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = document(&calls()).to_string();
        let schemas = schemas();
        let names: Vec<_> = text
            .split("#/components/schemas/")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(names.len() > 10);
        for name in names {
            assert!(schemas[name].is_object(), "{name}");
        }
    }
}
