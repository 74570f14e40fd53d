//! How control and the node beside it are: metrics and health; and reload.

use crate::auth::Caller;
use crate::call::{Call, Kind, OfProcess, SharedControl};
use crate::errors::ApiError;
use crate::extract::Body;
use crate::fields::Fields;
use crate::metrics as control_metrics;
use crate::operation::Operation;
use crate::process::Process;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::sync::Arc;
use weir_config::Scope;

pub(super) fn calls() -> Vec<Call> {
    own_calls(post(reload), get(metrics))
}

pub(super) fn calls_of_node() -> Vec<Call<Arc<Process>>> {
    own_calls(post(node_reload), get(node_metrics))
}

/// The calls that every process has.
fn own_calls<S: OfProcess>(reload: MethodRouter<S>, metrics: MethodRouter<S>) -> Vec<Call<S>> {
    let reloads = Operation::new("Reload the configuration, all or nothing")
        .described("Needs a token without sites.")
        .answer("200", "The keys that take effect only after a restart.");
    let text = json!({"type": "string"});
    let counts = Operation::new("Metrics")
        .described("Needs a token with the scope metrics or read, and without sites.")
        .answer_in("200", "Prometheus text.", "text/plain", text)
        .without_refusal();
    let lives = Operation::new("Liveness").answer("200", "It does.");
    let serves = Operation::new("Readiness").answer("200", "Ready; otherwise 503.");
    vec![
        Call::new("post", "/v1/reload", reload, reloads),
        Call::new("get", "/metrics", metrics, counts),
        Call::new("get", "/healthz", get(healthz), lives).of_kind(Kind::Open),
        Call::new("get", "/readyz", get(readyz::<S>), serves).of_kind(Kind::Open),
    ]
}

async fn metrics(
    State(control): State<SharedControl>,
    caller: Caller,
) -> Result<Response, ApiError> {
    may_scrape(&caller)?;
    let mut text = control.process.program().metrics();
    text.push_str(&control_metrics::exposition(&control));
    text.push_str(&control_metrics::exposition_of_calls(&control.process));
    Ok(exposition(text))
}

async fn node_metrics(
    State(process): State<Arc<Process>>,
    caller: Caller,
) -> Result<Response, ApiError> {
    may_scrape(&caller)?;
    let mut text = process.program().metrics();
    text.push_str(&control_metrics::exposition_of_calls(&process));
    Ok(exposition(text))
}

/// Metrics name every site.
pub(crate) fn may_scrape(caller: &Caller) -> Result<(), ApiError> {
    caller.needs(Scope::Metrics).or_else(|_| caller.needs(Scope::Read))?;
    caller.needs_all_sites("the metrics")
}

pub(crate) fn exposition(text: String) -> Response {
    let form = HeaderValue::from_static(control_metrics::MEDIA_TYPE);
    ([(CONTENT_TYPE, form)], text).into_response()
}

async fn reload(
    State(control): State<SharedControl>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    reloaded(&caller, &body, move || control.reload()).await
}

async fn node_reload(
    State(process): State<Arc<Process>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    reloaded(&caller, &body, move || process.reload()).await
}

pub(crate) async fn reloaded(
    caller: &Caller,
    body: &[u8],
    reload: impl FnOnce() -> Result<Vec<&'static str>, String> + Send + 'static,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Admin)?;
    caller.needs_all_sites("a reload")?;
    if !body.is_empty() {
        Fields::parse(body)?.finish()?;
    }
    tracing::info!(caller = caller.name(), "reload");
    // Reads files and rebuilds what runs by them: not for a thread that others wait on.
    let reloaded = tokio::task::spawn_blocking(reload).await;
    let restart = reloaded.map_err(|_| ApiError::internal())?.map_err(ApiError::config)?;
    Ok(Json(json!({"reloaded": true, "needs_restart": restart})))
}

pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn readyz<S: OfProcess>(State(state): State<S>) -> Result<Json<Value>, ApiError> {
    match state.process().program().not_ready() {
        None => Ok(Json(json!({"status": "ready"}))),
        Some(reason) => Err(ApiError::unavailable(reason)),
    }
}
