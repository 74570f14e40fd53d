//! `/v1/traffic`: the course of the last minutes, a point every few seconds.

use super::Shared;
use super::nodes::no_such_node;
use crate::control::auth::Caller;
use crate::control::errors::ApiError;
use crate::control::extract::{Parameters, one, only};
use crate::control::fields::word;
use crate::control::traffic::STEP;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::time::Instant;
use weir_edge::config::Scope;
use weir_edge::follow::frame::Tier;

pub(super) async fn traffic(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let (node, tier) = (one(&parameters, "node")?, one(&parameters, "tier")?);
    only(&parameters, &["node", "tier"])?;
    let points = match (node, tier) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("tier", "a node is named; accepted: one of the two"));
        }
        (Some(name), None) => {
            let nodes = control.ledger.nodes(Instant::now());
            if !nodes.iter().any(|node| node.name == name) {
                return Err(no_such_node());
            }
            control.traffic.points_of(name)
        }
        (None, None) => control.traffic.points(Tier::Edge),
        (None, Some(tier)) => control.traffic.points(word("tier", tier)?),
    };
    Ok(Json(json!({"step_seconds": STEP.as_secs(), "points": points})))
}
