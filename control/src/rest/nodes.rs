//! `/v1/nodes`: the nodes that are expected to apply what is appended.

use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::ledger::NodeView;
use crate::operation::Operation;
use crate::rest::forget::{forget, forget_selected};
use crate::timestamp::rfc3339;
use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::Instant;
use weir_config::Scope;
use weir_protocol::stats::Stats;

pub(super) fn calls() -> Vec<Call> {
    let expected = Operation::new("The expected nodes")
        .described(
            "A token that is limited to some sites gets the requests and hits of these together, and \
             null for what is stored, which is not counted by site.",
        )
        .answer_as("200", "By name.", "Nodes");
    let node = Operation::new("One expected node")
        .path("name", "The node's name.")
        .answer_as("200", "The current state.", "Node")
        .answer_as("404", "No such node is expected.", "Error");
    let no_more = Operation::new("Remove a node")
        .described(
            "Purges no longer wait for it. If it reconnects, it discards what it has stored. \
             Needs a token without sites.",
        )
        .path("name", "The node's name.")
        .answer("200", "It is no longer expected.")
        .answer_as("404", "No such node is expected.", "Error")
        .answer_as("503", "The log cannot be written; the node is still expected.", "Error");
    let those_no_more = Operation::new("Remove nodes")
        .described(
            "Removes all nodes that fit every parameter, of which at least one is needed. Needs a \
             token without sites.",
        )
        .query("state", "connected, silent or offline.")
        .query("tier", "edge or parent.")
        .query("name", "A name, in which * stands for any characters.")
        .answer("200", "The names of those that are no longer expected.")
        .answer_as("503", "The log cannot be written; the nodes are still expected.", "Error");
    vec![
        Call::new("get", "/v1/nodes", get(all), expected),
        Call::new("get", "/v1/nodes/{name}", get(one), node),
        Call::new("delete", "/v1/nodes/{name}", delete(forget), no_more),
        Call::new("delete", "/v1/nodes", delete(forget_selected), those_no_more),
    ]
}

async fn all(
    State(control): State<SharedControl>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let head = control.ledger.head();
    let nodes = control.ledger.nodes(Instant::now());
    let nodes: Vec<_> = nodes.iter().map(|node| told(node, &caller)).collect();
    Ok(Json(json!({"head": head, "nodes": nodes})))
}

async fn one(
    State(control): State<SharedControl>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let nodes = control.ledger.nodes(Instant::now());
    let node = nodes.iter().find(|node| node.name == name).ok_or_else(no_such_node)?;
    Ok(Json(told(node, &caller)))
}

pub(super) fn no_such_node() -> ApiError {
    ApiError::not_found("no such node is expected; GET /v1/nodes lists the expected nodes")
}

/// What of a node's figures the caller may see: those of its sites. `None` if the node does not count them by
/// site.
pub(super) fn seen<'a>(stats: &'a Stats, caller: &Caller) -> Option<Cow<'a, Stats>> {
    match caller.may_touch(None) {
        true => Some(Cow::Borrowed(stats)),
        false => stats.of_sites(caller.sites()).map(Cow::Owned),
    }
}

fn told(node: &NodeView, caller: &Caller) -> Value {
    let stats = node.stats.as_deref().and_then(|stats| seen(stats, caller));
    // Stored responses are not counted by site.
    let all = caller.may_touch(None);
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
        "proven": node.is_proven,
        "ephemeral": node.ephemeral,
        "processes": node.processes,
        "via": node.via.as_deref(),
        // What it told of itself last; nothing before its first heartbeat.
        "stats": stats.map(|stats| json!({
            "requests": stats.requests,
            "hits": stats.hits,
            "stored": all.then_some(stats.stored),
            "stored_bytes": all.then_some(stats.stored_bytes),
        })),
    })
}
