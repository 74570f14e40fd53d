//! What is told of purges, as JSON.

use super::log::Entry;
use crate::timestamp::rfc3339;
use http::StatusCode;
use serde::Serialize;
use std::time::Duration;
use weir_rules::invalidation::{Seq, Target};

/// What is told of a purge.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    id: String,
    seq: Seq,
    status: &'static str,
    reference: Option<String>,
    created_at: String,
    elapsed_ms: f64,
    nodes: [ToldNode; 1],
}

#[derive(Debug, Serialize)]
struct ToldNode {
    name: String,
    tier: &'static str,
    state: &'static str,
    applied_ms: Option<f64>,
    matched: Option<u64>,
}

impl Told {
    /// The purge as this node has it now.
    pub(crate) fn of(entry: &Entry, node: &str, matched: Option<u64>) -> Self {
        let applied = entry.applied();
        Self {
            id: entry.id.clone(),
            seq: entry.purge.seq,
            status: if applied.is_some() { "completed" } else { "in_progress" },
            reference: entry.reference.clone(),
            created_at: rfc3339(entry.created_at),
            elapsed_ms: millis(applied.unwrap_or_else(|| entry.elapsed())),
            nodes: [ToldNode {
                name: node.to_owned(),
                tier: "edge",
                state: if applied.is_some() { "applied" } else { "pending" },
                applied_ms: applied.map(millis),
                matched,
            }],
        }
    }

    /// 200 once every node applied it, 202 before.
    pub(crate) fn status(&self) -> StatusCode {
        if self.status == "completed" { StatusCode::OK } else { StatusCode::ACCEPTED }
    }
}

/// A purge of the history: what is told of it, and what it named, as a body names it.
#[derive(Debug, Serialize)]
pub(crate) struct Recorded {
    #[serde(flatten)]
    told: Told,
    paths: Vec<String>,
    urls: Vec<String>,
    prefixes: Vec<String>,
    tags: Vec<String>,
    hosts: Vec<String>,
    all: bool,
    site: Option<String>,
    soft: bool,
    versions: bool,
}

impl Recorded {
    pub(crate) fn of(entry: &Entry, told: Told) -> Self {
        let purge = &entry.purge;
        let mut recorded = Self {
            told,
            paths: vec![],
            urls: vec![],
            prefixes: vec![],
            tags: vec![],
            hosts: vec![],
            all: false,
            site: purge.site.clone(),
            soft: purge.soft,
            versions: purge.versions,
        };
        for target in purge.targets.iter().cloned() {
            match target {
                Target::Path(text) | Target::Pattern(text) => recorded.paths.push(text),
                Target::Url(text) => recorded.urls.push(text),
                Target::Prefix(text) => recorded.prefixes.push(text),
                Target::Tag(text) => recorded.tags.push(text),
                Target::Host(text) => recorded.hosts.push(text),
                Target::All => recorded.all = true,
            }
        }
        recorded
    }
}

/// Milliseconds to three places: a node beside its control applies in microseconds.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::control::log::{Log, Order};
    use serde_json::Value;

    #[test]
    fn what_is_told_has_the_documented_form() {
        let order = Order {
            targets: vec![Target::Path("/a".into()), Target::Tag("t".into())],
            site: None,
            soft: false,
            versions: false,
            reference: Some("r".into()),
        };
        let entry = Log::new(1).purge(order, |_| ()).unwrap();
        let told = serde_json::to_value(Told::of(&entry, "weir", None)).unwrap();
        let names: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
        let documented = ["created_at", "elapsed_ms", "id", "nodes", "reference", "seq", "status"];
        assert_eq!(names, documented);
        assert_eq!((&told["seq"], &told["status"]), (&1.into(), &"completed".into()));
        let node = &told["nodes"][0];
        assert_eq!((&node["name"], &node["tier"]), (&"weir".into(), &"edge".into()));
        assert_eq!((&node["state"], &node["matched"]), (&"applied".into(), &Value::Null));
        assert!(node["applied_ms"].is_number());
        let recorded = Recorded::of(&entry, Told::of(&entry, "weir", Some(3)));
        let recorded = serde_json::to_value(recorded).unwrap();
        assert_eq!(recorded["paths"], serde_json::json!(["/a"]));
        assert_eq!((&recorded["tags"][0], &recorded["all"]), (&"t".into(), &false.into()));
        assert_eq!(recorded["nodes"][0]["matched"], 3);
    }
}
