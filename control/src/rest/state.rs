//! How control and the node beside it are: metrics, health, the document of all calls; and reload.

use super::{OfProcess, Shared, calls};
use crate::auth::Caller;
use crate::errors::ApiError;
use crate::extract::Body;
use crate::fields::Fields;
use crate::{Process, metrics as control_metrics, openapi};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::sync::Arc;
use weir_config::Scope;

pub(super) async fn metrics(
    State(control): State<Shared>,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    let mut text = control.process.program().metrics();
    text.push_str(&control_metrics::exposition(&control));
    Ok(exposition(text))
}

pub(super) async fn node_metrics(
    State(process): State<Arc<Process>>,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    Ok(exposition(process.program().metrics()))
}

fn exposition(text: String) -> Response {
    let form = HeaderValue::from_static(control_metrics::MEDIA_TYPE);
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
    if state.process().program().ready() {
        return Ok(Json(json!({"status": "ready"})));
    }
    Err(ApiError::unavailable("the node does not accept connections"))
}

pub(super) async fn document() -> Json<Value> {
    Json(openapi::document(&calls()))
}
