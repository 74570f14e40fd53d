//! `/v1/traffic`: the course of the last minutes, a point every few seconds.

use super::nodes::no_such_node;
use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::extract::{Parameters, one, only};
use crate::fields::word;
use crate::operation::Operation;
use crate::traffic::STEP;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};
use std::time::Instant;
use weir_config::Scope;
use weir_rules::tier::Tier;

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("Traffic of the last ten minutes")
        .described("A token that is limited to some sites gets the traffic of these together.")
        .query("node", "Of this node.")
        .query("tier", "Only this tier, edge or parent; default: edge.")
        .answer_as("200", "Oldest first. Steps without a report are left out.", "Traffic")
        .answer_as("404", "No such node is expected.", "Error");
    vec![Call::new("get", "/v1/traffic", get(traffic), operation)]
}

async fn traffic(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let (node, tier) = (one(&parameters, "node")?, one(&parameters, "tier")?);
    only(&parameters, &["node", "tier"])?;
    let seen = control.traffic.of(&caller);
    let points = match (node, tier) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "tier",
                "node and tier exclude each other; accepted: one of the two",
            ));
        }
        (Some(name), None) => {
            let nodes = control.ledger.nodes(Instant::now());
            if !nodes.iter().any(|node| node.name == name) {
                return Err(no_such_node());
            }
            seen.map(|traffic| traffic.points_of(name))
        }
        (None, None) => seen.map(|traffic| traffic.points(Tier::Edge)),
        (None, Some(tier)) => {
            let tier = word("tier", tier)?;
            seen.map(|traffic| traffic.points(tier))
        }
    };
    let points = points.unwrap_or_default();
    Ok(Json(json!({"step_seconds": STEP.as_secs(), "points": points})))
}
