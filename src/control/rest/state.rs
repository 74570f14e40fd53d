//! How control and the node beside it are: metrics, health, the document of all calls; and reload.

use super::{OfProcess, Shared, calls};
use crate::control::auth::Caller;
use crate::control::errors::ApiError;
use crate::control::extract::Body;
use crate::control::fields::Fields;
use crate::control::{Process, metrics as control_metrics, openapi};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::sync::Arc;
use weir_edge::config::Scope;
use weir_edge::node::Node;

pub(super) async fn metrics(
    State(control): State<Shared>,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    let mut text = control.process.node().map(|node| node.metrics()).unwrap_or_default();
    text.push_str(&control_metrics::exposition(&control));
    Ok(exposition(text))
}

pub(super) async fn node_metrics(
    State(process): State<Arc<Process>>,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    Ok(exposition(process.node().map(|node| node.metrics()).unwrap_or_default()))
}

fn exposition(text: String) -> Response {
    let form = HeaderValue::from_static(Node::METRICS_TYPE);
    ([(CONTENT_TYPE, form)], text).into_response()
}

pub(super) async fn reload(
    State(control): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    reloaded(&caller, &body, move || control.reload()).await
}

pub(super) async fn node_reload(
    State(process): State<Arc<Process>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    reloaded(&caller, &body, move || process.reload()).await
}

async fn reloaded(
    caller: &Caller,
    body: &[u8],
    reload: impl FnOnce() -> Result<Vec<&'static str>, String> + Send + 'static,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Admin)?;
    if !body.is_empty() {
        Fields::parse(body)?.finish()?;
    }
    tracing::info!(caller = caller.name(), "reload");
    // Reads files and rebuilds what runs by them: not for a thread that others wait on.
    let reloaded = tokio::task::spawn_blocking(reload).await;
    let restart = reloaded.map_err(|_| ApiError::internal())?.map_err(ApiError::config)?;
    Ok(Json(json!({"reloaded": true, "needs_restart": restart})))
}

pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

pub(super) async fn readyz<S: OfProcess>(State(state): State<S>) -> Result<Json<Value>, ApiError> {
    if state.process().node().is_none_or(|node| node.ready()) {
        return Ok(Json(json!({"status": "ready"})));
    }
    Err(ApiError::unavailable("the node does not accept connections"))
}

pub(super) async fn document() -> Json<Value> {
    Json(openapi::document(&calls()))
}
