//! The calls of control. [`calls`] is the table of contents: router and OpenAPI are made of it.

use super::Control;
use super::auth::Caller;
use super::errors::{ApiError, in_one_form};
use super::extract::{Body, Parameters, explain_fields, number, one, only};
use super::openapi;
use super::purges::{PurgeRequest, may_purge, may_see};
use super::told::{Recorded, Told};
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use weir_edge::config::Scope;
use weir_edge::node::Node;

/// Bytes of a body.
pub(super) const LARGEST_BODY: usize = 1 << 20;

/// Calls at once; further ones are refused with 429.
const MOST_CALLS: usize = 256;

/// Longer than the longest wait for a purge.
const LONGEST_CALL: Duration = Duration::from_secs(75);

/// Most purges in one listing, and how many without `limit`.
const MOST_LISTED: usize = 1000;
const LISTED: usize = 100;

pub(super) type Shared = Arc<Control>;

/// One call: where it is, what answers it, and its entry in the OpenAPI document.
pub(super) struct Call {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    /// Open to everyone: says nothing but whether the process lives.
    pub(super) open: bool,
    pub(super) handler: MethodRouter<Shared>,
}

/// All calls.
pub(super) fn calls() -> Vec<Call> {
    let open = |path, handler| Call { path, method: "get", open: true, handler };
    let read = |path, handler| Call { path, method: "get", open: false, handler };
    let act = |path, handler| Call { path, method: "post", open: false, handler };
    vec![
        act("/v1/purges", post(purge)),
        read("/v1/purges", get(list_purges)),
        read("/v1/purges/{id}", get(one_purge)),
        read("/v1/nodes", get(nodes)),
        read("/v1/stats", get(stats)),
        read("/v1/explain", get(explain)),
        act("/v1/reload", post(reload)),
        read("/metrics", get(metrics)),
        open("/healthz", get(healthz)),
        open("/readyz", get(readyz)),
        open("/openapi.json", get(document)),
    ]
}

/// The router of all calls, with the bounds that hold for each.
pub(crate) fn router(control: Shared) -> Router {
    let (mut open, mut guarded) = (Router::new(), Router::new());
    for call in calls() {
        let router = if call.open { &mut open } else { &mut guarded };
        *router = std::mem::take(router).route(call.path, call.handler);
    }
    let shed = control.clone();
    // Not over what is open: a health check must not fail because many purges wait.
    let guarded = guarded.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(move |_| {
                shed.count_shed();
                std::future::ready(ApiError::busy())
            }))
            .load_shed()
            .layer(GlobalConcurrencyLimitLayer::new(MOST_CALLS)),
    );
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, LONGEST_CALL);
    // From the innermost outwards.
    open.merge(guarded)
        .fallback(no_such_call)
        .layer(RequestBodyLimitLayer::new(LARGEST_BODY))
        .layer(timeout)
        .layer(CatchPanicLayer::custom(|_| ApiError::internal().into_response()))
        .layer(axum::middleware::map_response(in_one_form))
        .layer(TraceLayer::new_for_http())
        .with_state(control)
}

async fn purge(
    State(control): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Purge)?;
    let config = control.config();
    let PurgeRequest { order, wait } = PurgeRequest::parse(&body, &config)?;
    may_purge(&caller, &order.targets, order.site.as_deref(), &config)?;
    let entry = control.purge(order)?;
    tracing::info!(id = entry.id, caller = caller.name(), "purge");
    control.until_matched(&entry, wait).await;
    let told = Told::of(&entry, &config.node.name, control.matched(&entry));
    Ok((told.status(), Json(told)).into_response())
}

async fn one_purge(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Recorded>, ApiError> {
    caller.needs(Scope::Read)?;
    let config = control.config();
    let entry = control.log.find(&id).filter(|entry| may_see(&caller, entry, &config));
    let entry = entry.ok_or_else(|| {
        ApiError::not_found("no such purge; the oldest are forgotten (control.retention)")
    })?;
    Ok(Json(recorded(&control, &config.node.name, &entry)))
}

async fn list_purges(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let after = number(&parameters, "after", 0, u64::MAX)?;
    let limit = number(&parameters, "limit", LISTED as u64, MOST_LISTED as u64)?;
    only(&parameters, &["after", "limit"])?;
    let config = control.config();
    let limit = usize::try_from(limit).unwrap_or(MOST_LISTED);
    let entries = control.log.list(after, limit, |entry| may_see(&caller, entry, &config));
    let purges: Vec<_> =
        entries.iter().map(|entry| recorded(&control, &config.node.name, entry)).collect();
    Ok(Json(json!({"log_id": control.log.id(), "head": control.log.head(), "purges": purges})))
}

fn recorded(control: &Control, node: &str, entry: &super::log::Entry) -> Recorded {
    Recorded::of(entry, Told::of(entry, node, control.matched(entry)))
}

async fn nodes(State(control): State<Shared>, caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let config = control.config();
    Ok(Json(json!({"nodes": [{
        "name": config.node.name,
        "tier": "edge",
        "region": config.node.region,
        "state": if control.node.ready() { "ready" } else { "draining" },
        "listen": control.node.listen(),
        "listen_tls": control.node.listen_tls(),
        "applied_seq": control.node.applied(),
    }]})))
}

async fn stats(State(control): State<Shared>, caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let (listed, forgotten) = control.log.counts();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": control.started.elapsed().as_secs(),
        "sites": control.config().sites.len(),
        "log": {
            "id": control.log.id(),
            "head": control.log.head(),
            "listed": listed,
            "forgotten": forgotten,
        },
        "applied_seq": control.node.applied(),
        "calls_shed": control.shed.load(Ordering::Relaxed),
    })))
}

async fn explain(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    let url = one(&parameters, "url")?
        .ok_or_else(|| ApiError::invalid("url", "missing; accepted: a URL or a path"))?;
    only(&parameters, &["url", "header"])?;
    let headers = explain_fields(&parameters)?;
    let explanation = control.node.explain(url, &headers).map_err(|reason| {
        ApiError::invalid("url", format!("{:?}: {reason}", super::fields::shorten(url)))
    })?;
    caller.needs_site(explanation.site.as_deref(), "the site of this URL")?;
    Ok(Json(explanation).into_response())
}

async fn reload(
    State(control): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Admin)?;
    if !body.is_empty() {
        super::fields::Fields::parse(&body)?.finish()?;
    }
    tracing::info!(caller = caller.name(), "reload");
    // Reads files and rebuilds what runs by them: not for a thread that others wait on.
    let reloaded = tokio::task::spawn_blocking(move || control.reload()).await;
    let restart = reloaded.map_err(|_| ApiError::internal())?.map_err(ApiError::config)?;
    Ok(Json(json!({"reloaded": true, "needs_restart": restart})))
}

async fn metrics(State(control): State<Shared>, caller: Caller) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    let (listed, forgotten) = control.log.counts();
    let mut text = control.node.metrics();
    for (name, kind, help, value) in [
        ("weir_control_log_head", "gauge", "Last seq of the invalidation log.", control.log.head()),
        ("weir_control_log_listed", "gauge", "Purges that are listed.", listed as u64),
        ("weir_control_log_forgotten_total", "counter", "Purges no longer listed.", forgotten),
        (
            "weir_control_calls_shed_total",
            "counter",
            "Calls refused because too many ran at once.",
            control.shed.load(Ordering::Relaxed),
        ),
    ] {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
    }
    let form = HeaderValue::from_static(Node::METRICS_TYPE);
    Ok(([(CONTENT_TYPE, form)], text).into_response())
}

async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn readyz(State(control): State<Shared>) -> Result<Json<Value>, ApiError> {
    if control.node.ready() {
        return Ok(Json(json!({"status": "ready"})));
    }
    Err(ApiError::unavailable("the node does not accept connections"))
}

async fn document() -> Json<Value> {
    Json(openapi::document(&calls()))
}

async fn no_such_call(uri: Uri) -> ApiError {
    let calls = calls();
    let known = calls.iter().map(|call| call.path);
    let hint = match weir_edge::config::nearest::nearest(uri.path(), known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "/openapi.json lists the calls".to_owned(),
    };
    ApiError::not_found(format!("no such call; {hint}"))
}
