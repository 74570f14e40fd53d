//! `/v1/nodes`: the nodes that are expected to apply what is appended.

use super::Shared;
use crate::auth::Caller;
use crate::errors::ApiError;
use crate::ledger::NodeView;
use crate::timestamp::rfc3339;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::time::Instant;
use weir_config::Scope;

pub(super) async fn all(
    State(control): State<Shared>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let head = control.ledger.head();
    let nodes: Vec<_> = control.ledger.nodes(Instant::now()).iter().map(told).collect();
    Ok(Json(json!({"head": head, "nodes": nodes})))
}

pub(super) async fn one(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let nodes = control.ledger.nodes(Instant::now());
    let node = nodes.iter().find(|node| node.name == name).ok_or_else(no_such_node)?;
    Ok(Json(told(node)))
}

pub(super) async fn forget(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Admin)?;
    let forgotten = control.ledger.forget(&name).await;
    if !forgotten.map_err(|error| ApiError::journal(error.to_string()))? {
        return Err(no_such_node());
    }
    tracing::info!(node = name, caller = caller.name(), "node forgotten");
    control.events.forgotten(&name);
    Ok(Json(json!({"forgotten": name})))
}

pub(super) fn no_such_node() -> ApiError {
    ApiError::not_found("no such node is expected; GET /v1/nodes lists those that are")
}

fn told(node: &NodeView) -> Value {
    json!({
        "name": node.name,
        "tier": node.tier,
        "region": node.region,
        "state": node.state.as_str(),
        "listen": node.listen,
        "version": node.version,
        "applied_seq": node.applied,
        "lag": node.lag,
        "heard_at": rfc3339(node.heard),
        "since": rfc3339(node.since),
        // What it told of itself last; nothing before its first heartbeat.
        "stats": node.stats.as_ref().map(|stats| json!({
            "requests": stats.requests,
            "hits": stats.hits,
            "stored": stats.stored,
            "stored_bytes": stats.stored_bytes,
        })),
    })
}
