//! `/v1/stats`: the figures of control and of the nodes, as they are now.

use super::nodes::seen;
use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::ledger::{NodeState, NodeView};
use crate::operation::Operation;
use crate::traffic::{Rates, Traffic, WINDOW};
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Map, Value, json};
use std::time::Instant;
use weir_config::Scope;
use weir_protocol::stats::{DiskStats, Stats};
use weir_rules::tier::Tier;

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("Figures of control and its nodes")
        .described(
            "Rates are averages over at most the last window_seconds; they are null for a node \
             that is not connected. traffic is the client traffic of all edges. For a token that \
             is limited to some sites, they and requests and hits are those of these sites together, and \
             figures that are not counted by site are null. disk is null without a disk store.",
        )
        .answer_as("200", "The current state.", "Stats");
    vec![Call::new("get", "/v1/stats", get(stats), operation)]
}

async fn stats(
    State(control): State<SharedControl>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let config = control.config();
    let sites = config.sites.iter().map(|site| site.id.as_str());
    let sites: Vec<_> = sites.filter(|site| caller.may_touch(Some(site))).collect();
    // What is stored, and the log, are not counted by site.
    let all = caller.may_touch(None);
    let seen_traffic = control.traffic.of(&caller);
    let counts = control.ledger.counts();
    let nodes = control.ledger.nodes(Instant::now());
    let in_state = |state| nodes.iter().filter(|node| node.state == state).count();
    let told = |read: fn(&Stats) -> u64| {
        all.then(|| sum(nodes.iter().filter_map(|node| node.stats.as_deref()), read))
    };
    let counted = |read: fn(&Stats) -> u64| -> Option<u64> {
        let told = nodes.iter().filter_map(|node| node.stats.as_deref());
        told.map(|stats| Some(read(&*seen(stats, &caller)?))).sum()
    };
    let rated: Vec<_> =
        nodes.iter().map(|node| (node, rates(seen_traffic.as_deref(), node))).collect();
    let tiers =
        [Tier::Edge, Tier::Parent].into_iter().filter_map(|tier| of_tier(tier, &rated, all));
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": control.process.uptime().as_secs(),
        "sites": sites.len(),
        "site_ids": sites,
        "log": {
            "id": control.ledger.id(),
            "head": control.ledger.head(),
            "listed": all.then_some(counts.listed),
            "bytes": all.then_some(counts.bytes),
            "forgotten": all.then_some(counts.forgotten),
            "commits": all.then_some(counts.commits),
            "failures": all.then_some(counts.failures),
        },
        "nodes": {
            "expected": nodes.len(),
            "connected": in_state(NodeState::Connected),
            "silent": in_state(NodeState::Silent),
            "offline": in_state(NodeState::Offline),
        },
        // What every expected node has applied.
        "applied_seq": nodes.iter().map(|node| node.applied).min(),
        "requests": counted(|stats| stats.requests),
        "hits": counted(|stats| stats.hits),
        "stored": told(|stats| stats.stored),
        "stored_bytes": told(|stats| stats.stored_bytes),
        "disk": all.then(|| disks(nodes.iter().filter_map(|node| node.stats.as_deref()))).flatten(),
        "calls_shed": all.then(|| control.process.shed()),
        "window_seconds": WINDOW.as_secs(),
        "traffic": Rates::members(Some(&together(Tier::Edge, &rated))),
        "tiers": tiers.collect::<Vec<_>>(),
        "by_node": rated.iter().map(|(node, rates)| of_node(node, rates.as_ref(), all)).collect::<Vec<_>>(),
    })))
}

/// What a node does, if it is there to tell.
fn rates(traffic: Option<&Traffic>, node: &NodeView) -> Option<Rates> {
    let traffic = traffic.filter(|_| node.state == NodeState::Connected)?;
    traffic.rates(&node.name)
}

fn together(tier: Tier, nodes: &[(&NodeView, Option<Rates>)]) -> Rates {
    let of_tier = nodes.iter().filter(|(node, _)| node.tier == tier);
    of_tier.filter_map(|(_, rates)| rates.as_ref()).sum()
}

fn of_tier(tier: Tier, nodes: &[(&NodeView, Option<Rates>)], all: bool) -> Option<Value> {
    let of_tier = || nodes.iter().map(|(node, _)| node).filter(|node| node.tier == tier);
    let connected = of_tier().filter(|node| node.state == NodeState::Connected);
    let told: Vec<_> = connected.filter_map(|node| node.stats.as_deref()).collect();
    let disk = all.then(|| disks(told.iter().copied())).flatten();
    let told = |read: fn(&Stats) -> u64| json!(all.then(|| sum(told.iter().copied(), read)));
    let mut members = Rates::members(Some(&together(tier, nodes)));
    for (name, value) in [
        ("tier", json!(tier)),
        ("nodes", json!(of_tier().count())),
        ("stored", told(|stats| stats.stored)),
        ("stored_bytes", told(|stats| stats.stored_bytes)),
        ("capacity_bytes", told(|stats| stats.capacity_bytes)),
        ("disk", json!(disk)),
    ] {
        members.insert(name.to_owned(), value);
    }
    (of_tier().count() > 0).then_some(Value::Object(members))
}

fn of_node(node: &NodeView, rates: Option<&Rates>, all: bool) -> Map<String, Value> {
    let mut members = Rates::members(rates);
    // What it told last; nothing before its first heartbeat.
    let told = |read: fn(&Stats) -> u64| json!(node.stats.as_deref().filter(|_| all).map(read));
    for (name, value) in [
        ("name", json!(node.name)),
        ("tier", json!(node.tier)),
        ("region", json!(node.region)),
        ("state", json!(node.state.as_str())),
        ("listen", json!(node.listen)),
        ("applied_seq", json!(node.applied)),
        ("lag", json!(node.lag)),
        ("stored", told(|stats| stats.stored)),
        ("stored_bytes", told(|stats| stats.stored_bytes)),
        ("capacity_bytes", told(|stats| stats.capacity_bytes)),
        ("disk", json!(node.stats.as_deref().filter(|_| all).and_then(|stats| stats.disk))),
        ("evictions", told(|stats| stats.evictions)),
        ("connections", told(|stats| stats.connections)),
        ("probes", told(|stats| stats.probes)),
        ("warm_ups", told(|stats| stats.warm_ups)),
        ("uptime_seconds", told(|stats| stats.uptime_ms / 1000)),
    ] {
        members.insert(name.to_owned(), value);
    }
    members
}

/// The disk stores together; `None` if there is none.
fn disks<'a>(told: impl Iterator<Item = &'a Stats>) -> Option<DiskStats> {
    let disks: Vec<_> = told.filter_map(|stats| stats.disk).collect();
    (!disks.is_empty()).then(|| disks.into_iter().sum())
}

fn sum<'a>(told: impl Iterator<Item = &'a Stats>, read: fn(&Stats) -> u64) -> u64 {
    told.map(read).sum()
}
