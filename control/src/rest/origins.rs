//! `/v1/origins`: the members of the pools of sites' origins, as the nodes that ask them know them.

use super::ask::{Answer, ask_for, asked, nodes};
use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::extract::{Parameters, one, only};
use crate::operation::Operation;
use crate::traffic::quantile;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_config::Scope;
use weir_protocol::question::{OriginMember, OriginState, ProbeCounts, Question};

/// Members that a node tells of, at most, and that an answer has.
const MOST: usize = 1000;

/// Nodes that are asked at once, at most: a page that is open asks again and again.
const MOST_ASKED: usize = 100;

/// A member as all nodes that were asked know it.
#[derive(Debug, Default)]
struct Known {
    member: OriginMember,
    nodes: Vec<(String, OriginState)>,
}

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("The origins of all sites, and how they are")
        .described(
            "Each node judges origins by its own requests and probes. state is mixed where nodes differ. Requests, \
             errors and probes are counted since the nodes started, of all of them together; first_byte_ms is the \
             time to the head of the answer. Of more than 100 expected nodes, 100 or fewer are asked, spread over the \
             list of all.",
        )
        .query("node", "As this node knows them; default: all nodes.")
        .answer_as("200", "By site, pool and URL; at most 1,000.", "Origins")
        .answer_as("404", "No such node is expected.", "Error");
    vec![Call::new("get", "/v1/origins", get(origins), operation)]
}

async fn origins(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let node = one(&parameters, "node")?;
    only(&parameters, &["node"])?;
    let nodes = nodes(&control, node)?;
    let nodes_total = nodes.len();
    let nodes = spread(nodes);
    let question = Question::Origins { most: MOST, sites: caller.sites().to_vec() };
    let answers: Vec<Answer<Vec<OriginMember>>> = ask_for(&control, &nodes, &question).await?;
    let asked = asked(&nodes, &answers);
    let told = nodes.into_iter().map(|node| node.name).zip(answers);
    let told = told.filter_map(|(node, answer)| Some((node, answer.ok()?)));
    let known = merged(told, |site| caller.may_touch(Some(site)));
    let origins: Vec<_> = known.iter().take(MOST).map(Known::told).collect();
    Ok(Json(json!({"nodes_total": nodes_total, "nodes": asked, "origins": origins})))
}

/// As many of them as are asked, at even distances.
fn spread<T>(nodes: Vec<T>) -> Vec<T> {
    let each = nodes.len().div_ceil(MOST_ASKED).max(1);
    nodes.into_iter().step_by(each).collect()
}

/// What nodes told, by site, pool and URL.
fn merged(
    told: impl Iterator<Item = (String, Vec<OriginMember>)>,
    may_touch: impl Fn(&str) -> bool,
) -> Vec<Known> {
    let mut known: BTreeMap<(String, String, String), Known> = BTreeMap::new();
    for (node, members) in told {
        for member in members.into_iter().filter(|member| may_touch(&member.site)) {
            let key = (member.site.clone(), member.pool.clone(), member.url.clone());
            known.entry(key).or_default().add(&node, member);
        }
    }
    known.into_values().collect()
}

impl Known {
    fn add(&mut self, node: &str, more: OriginMember) {
        self.nodes.push((node.to_owned(), more.state));
        let sum = &mut self.member;
        if self.nodes.len() == 1 {
            *sum = more;
            return;
        }
        // What nodes say is anything that a number can be.
        sum.requests = sum.requests.saturating_add(more.requests);
        sum.errors = sum.errors.saturating_add(more.errors);
        sum.ejections = sum.ejections.saturating_add(more.ejections);
        sum.running = sum.running.saturating_add(more.running);
        sum.first_byte.resize(sum.first_byte.len().max(more.first_byte.len()), 0);
        for (sum, count) in sum.first_byte.iter_mut().zip(more.first_byte) {
            *sum = sum.saturating_add(count);
        }
        sum.probe = match (sum.probe.take(), more.probe) {
            (Some(one), Some(other)) => Some(both(one, other)),
            (one, other) => one.or(other),
        };
    }

    /// What all nodes say, if they agree.
    fn state(&self) -> &'static str {
        let first = self.nodes.first().map(|(_, state)| *state).unwrap_or_default();
        let agree = self.nodes.iter().all(|(_, state)| *state == first);
        if agree { first.word() } else { "mixed" }
    }

    fn told(&self) -> Value {
        let OriginMember { site, pool, url, weight, requests, errors, ejections, running, .. } =
            &self.member;
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|(name, state)| json!({"name": name, "state": state.word()}))
            .collect();
        json!({
            "site": site, "pool": pool, "url": url, "state": self.state(), "weight": weight,
            "requests": requests, "errors": errors, "ejections": ejections, "running": running,
            "first_byte_ms": quantile(&self.member.first_byte, 0.5),
            "first_byte_p99_ms": quantile(&self.member.first_byte, 0.99),
            "probe": self.member.probe, "nodes": nodes,
        })
    }
}

/// The probes of two nodes; the last of them is told.
fn both(one: ProbeCounts, other: ProbeCounts) -> ProbeCounts {
    let (good, bad) = (one.good.saturating_add(other.good), one.bad.saturating_add(other.bad));
    // None is later than any.
    let is_later = |seconds: Option<u64>| seconds.map_or(u64::MAX, |seconds| seconds);
    let last = if is_later(other.seconds_ago) < is_later(one.seconds_ago) { other } else { one };
    ProbeCounts { good, bad, ..last }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_many_nodes_some_are_asked_from_the_first_to_the_last() {
        for (all, asked) in [(0, 0), (1, 1), (100, 100), (101, 51), (4000, 100), (4001, 98)] {
            let nodes = spread((0..all).collect());
            assert_eq!(nodes.len(), asked, "{all}");
            assert!(nodes.windows(2).all(|pair| pair[1] - pair[0] == nodes[1] - nodes[0]));
        }
    }

    #[test]
    fn numbers_of_nodes_never_overflow() {
        let most = || OriginMember {
            requests: u64::MAX,
            errors: u64::MAX,
            ejections: u64::MAX,
            first_byte: vec![u64::MAX],
            probe: Some(ProbeCounts { good: u64::MAX, bad: u64::MAX, ..ProbeCounts::default() }),
            ..OriginMember::default()
        };
        let told = ["a", "b"].map(|node| (node.to_owned(), vec![most()]));
        let known = merged(told.into_iter(), |_| true);
        assert_eq!(known[0].told()["requests"], u64::MAX);
    }

    #[test]
    fn what_several_nodes_know_of_an_origin_is_added_up() {
        let probe = |good, bad, error: Option<&str>, ago| {
            Some(ProbeCounts { good, bad, error: error.map(str::to_owned), seconds_ago: Some(ago) })
        };
        let member = |site: &str, requests, state, probe| OriginMember {
            site: site.into(),
            pool: site.into(),
            url: "http://o".into(),
            weight: 3,
            requests,
            errors: 1,
            first_byte: vec![requests],
            state,
            probe,
            ..OriginMember::default()
        };
        let (healthy, out) = (OriginState::Healthy, OriginState::Out);
        let told = [
            ("a".to_owned(), vec![member("shop", 2, healthy, probe(3, 0, None, 9))]),
            (
                "b".to_owned(),
                vec![
                    member("shop", 4, out, probe(1, 2, Some("refused"), 1)),
                    member("blog", 1, healthy, None),
                ],
            ),
        ];
        let known = merged(told.clone().into_iter(), |_| true);
        let known: Vec<_> = known.iter().map(Known::told).collect();
        assert_eq!(known[0]["site"], "blog");
        assert_eq!((&known[0]["state"], &known[0]["probe"]), (&json!("healthy"), &Value::Null));
        assert_eq!(
            known[1],
            json!({
                "site": "shop", "pool": "shop", "url": "http://o", "state": "mixed", "weight": 3,
                "requests": 6, "errors": 2, "ejections": 0, "running": 0,
                "first_byte_ms": 0.008, "first_byte_p99_ms": 0.016,
                "probe": {"good": 4, "bad": 2, "error": "refused", "seconds_ago": 1},
                "nodes": [{"name": "a", "state": "healthy"}, {"name": "b", "state": "out"}],
            })
        );
        assert_eq!(merged(told.into_iter(), |site| site == "blog").len(), 1);
    }
}
