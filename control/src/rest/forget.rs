//! The removal of nodes: one by its name, or all that a query selects.

use crate::auth::Caller;
use crate::call::SharedControl;
use crate::control::Control;
use crate::errors::ApiError;
use crate::extract::{Parameters, one, only};
use crate::fields::shorten;
use crate::ledger::{NodeState, NodeView};
use crate::rest::nodes::no_such_node;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::time::Instant;
use weir_config::{Scope, Tier};
use weir_rules::wildcard::matches;

/// Removes one node.
pub(super) async fn forget(
    State(control): State<SharedControl>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    may_forget(&caller)?;
    if forget_all(&control, &caller, vec![name.clone()]).await?.is_empty() {
        return Err(no_such_node());
    }
    Ok(Json(json!({"forgotten": name})))
}

/// Removes all nodes that the query selects.
pub(super) async fn forget_selected(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    may_forget(&caller)?;
    let selection = Selection::parse(&parameters)?;
    let nodes = control.ledger.nodes(Instant::now());
    let selected = nodes.into_iter().filter(|node| selection.selects(node));
    let names = selected.map(|node| node.name).collect();
    Ok(Json(json!({"forgotten": forget_all(&control, &caller, names).await?})))
}

fn may_forget(caller: &Caller) -> Result<(), ApiError> {
    caller.needs(Scope::Admin)?;
    caller.needs_all_sites("the removal of a node")
}

async fn forget_all(
    control: &Control,
    caller: &Caller,
    names: Vec<String>,
) -> Result<Vec<String>, ApiError> {
    let forgotten = control.ledger.forget(names).await;
    let forgotten = forgotten.map_err(|error| ApiError::journal(error.to_string()))?;
    for name in &forgotten {
        tracing::info!(node = name, caller = caller.name(), "node forgotten");
        control.events.forgotten(name);
    }
    Ok(forgotten)
}

/// Which nodes are meant: those that fit all that is said.
#[derive(Debug, Default, PartialEq)]
struct Selection<'a> {
    state: Option<NodeState>,
    tier: Option<Tier>,
    name: Option<&'a str>,
}

impl<'a> Selection<'a> {
    fn parse(parameters: &'a [(String, String)]) -> Result<Self, ApiError> {
        const KNOWN: [&str; 3] = ["state", "tier", "name"];
        only(parameters, &KNOWN)?;
        let state = one(parameters, "state")?.map(|text| {
            let states = [NodeState::Connected, NodeState::Silent, NodeState::Offline];
            states
                .into_iter()
                .find(|state| state.as_str() == text)
                .ok_or_else(|| refused("state", text, "connected, silent or offline"))
        });
        let tier = one(parameters, "tier")?.map(|text| {
            let tier = [Tier::Edge, Tier::Parent].into_iter().find(|tier| tier.as_str() == text);
            tier.ok_or_else(|| refused("tier", text, "edge or parent"))
        });
        let name = one(parameters, "name")?;
        let selection = Self { state: state.transpose()?, tier: tier.transpose()?, name };
        if selection == Self::default() {
            return Err(ApiError::malformed(
                "the query selects no nodes; accepted: state, tier and name (in which * stands for \
                 any characters)",
            ));
        }
        Ok(selection)
    }

    fn selects(&self, node: &NodeView) -> bool {
        self.state.is_none_or(|state| node.state == state)
            && self.tier.is_none_or(|tier| node.tier == tier)
            && self.name.is_none_or(|pattern| matches(pattern, &node.name))
    }
}

fn refused(field: &str, text: &str, accepted: &str) -> ApiError {
    ApiError::invalid(field, format!("{:?}; accepted: {accepted}", shorten(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_nodes_are_meant() {
        let parsed = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> =
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Selection::parse(&pairs).map(|_| ()).map_err(|error| error.message().to_owned())
        };
        assert_eq!(parsed(&[("state", "offline"), ("tier", "edge"), ("name", "a*")]), Ok(()));
        for (pairs, why) in [
            (&[][..], "selects no nodes"),
            (&[("state", "away")], "accepted: connected, silent or offline"),
            (&[("tier", "origin")], "accepted: edge or parent"),
            (&[("region", "eu")], "region"),
        ] {
            let error = parsed(pairs).expect_err("refused");
            assert!(error.contains(why), "{error}");
        }
    }
}
