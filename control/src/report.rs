//! What is told of purges and releases, as JSON.

use crate::ledger::{Arrival, Listed, NodeProgress, Progress, Warmed};
use crate::timestamp::rfc3339;
use http::StatusCode;
use serde::{Serialize, Serializer};
use std::time::{Duration, Instant};
use weir_rules::invalidation::{Seq, TargetKind};

/// How far an entry of the log has come.
#[derive(Debug, Serialize)]
pub(crate) struct EntryReport {
    id: String,
    seq: Seq,
    status: &'static str,
    reference: Option<String>,
    created_at: String,
    elapsed_ms: f64,
    nodes: Vec<NodeReport>,
    /// How far the popular part of it is fetched again; `null` until that is known.
    warmed: Option<Warmed>,
    /// What a caller might not expect, in words.
    note: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct NodeReport {
    name: String,
    tier: &'static str,
    state: &'static str,
    applied_ms: Option<f64>,
    matched: Option<u64>,
}

impl EntryReport {
    /// An entry with what is known of it at `now`.
    pub(crate) fn of(listed: &Listed, progress: &Progress, now: Instant) -> Self {
        let completed = progress.completed;
        Self {
            id: listed.id.clone(),
            seq: listed.seq(),
            status: if completed.is_some() { "completed" } else { "in_progress" },
            reference: listed.reference.clone(),
            created_at: rfc3339(listed.created_at),
            elapsed_ms: millis(completed.unwrap_or_else(|| listed.elapsed(now))),
            nodes: progress.nodes.iter().map(NodeReport::of).collect(),
            warmed: listed.warmed(),
            note: note(listed, progress),
        }
    }

    /// 200 once every expected node applied it, 202 before.
    pub(crate) fn status(&self) -> StatusCode {
        if self.status == "completed" { StatusCode::OK } else { StatusCode::ACCEPTED }
    }
}

impl NodeReport {
    fn of(node: &NodeProgress) -> Self {
        Self {
            name: node.name.clone(),
            tier: node.tier.as_str(),
            state: node.state.as_str(),
            applied_ms: node.applied.map(millis),
            matched: node.matched,
        }
    }
}

/// What nodes that are offline do about a purge that they have not applied. Each node has an
/// `on_partition` of its own, which control does not know.
const PURGED_WITHOUT: &str = "a node is offline: until it reconnects and applies this, it may \
     serve what it has stored, up to its TTL; with on_partition = \"validate\", only until its \
     lease ends";

/// What nodes do about a purge that was completed without them.
const LEASE_OVER: &str = "the lease of a node is over: until it reconnects and applies this, it \
     validates each stored response before it serves it";

/// The same of a switch of releases.
const SWITCHED_WITHOUT: &str =
    "a node is offline: it shows the previous release until it reconnects and applies this";

fn note(listed: &Listed, progress: &Progress) -> Option<&'static str> {
    if progress.expects_nobody() {
        return Some(
            "no node is expected: the entry is in the log, but no node has stored \
             anything",
        );
    }
    let any = |state| progress.nodes.iter().any(|node| node.state == state);
    if any(Arrival::Offline) {
        return Some(if listed.purge().is_some() { PURGED_WITHOUT } else { SWITCHED_WITHOUT });
    }
    if any(Arrival::LeaseOver) {
        return Some(LEASE_OVER);
    }
    let none = listed.purge().is_some() && progress.matched() == Some(0);
    none.then_some("no stored response matched")
}

/// A purge of the history: what is told of it, and what it named, as a body names it.
#[derive(Debug, Serialize)]
pub(crate) struct RecordedPurge {
    #[serde(flatten)]
    told: EntryReport,
    #[serde(flatten)]
    named: NamedTargets,
}

/// What a purge named, as a body names it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct NamedTargets {
    #[serde(flatten)]
    lists: TargetLists,
    all: bool,
    site: Option<String>,
    soft: bool,
    versions: bool,
    warm: bool,
}

impl RecordedPurge {
    /// A purge with what is told of it.
    pub(crate) fn of(listed: &Listed, told: EntryReport) -> Self {
        Self { told, named: NamedTargets::of(listed) }
    }
}

impl NamedTargets {
    /// What `listed` named; nothing where that is no purge.
    pub(crate) fn of(listed: &Listed) -> Self {
        let Some(purge) = listed.purge() else { return Self::default() };
        let mut named = Self {
            site: purge.site.clone(),
            soft: purge.soft,
            versions: purge.versions,
            warm: listed.warm,
            ..Self::default()
        };
        for target in &purge.targets {
            match target.kind() {
                Some(kind) => named.lists.0.push((kind, target.text().to_owned())),
                None => named.all = true,
            }
        }
        named
    }
}

/// Targets that are named by a text, written as a list of each kind.
#[derive(Debug, Default)]
struct TargetLists(Vec<(TargetKind, String)>);

impl Serialize for TargetLists {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = |kind| self.0.iter().filter(move |(of, _)| *of == kind).map(|(_, text)| text);
        let lists = TargetKind::ALL.map(|kind| (kind.plural(), of(kind).collect::<Vec<_>>()));
        serializer.collect_map(lists)
    }
}

/// Milliseconds to three places: a node beside its control applies in microseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::Caller;
    use crate::journal::memory::Memory;
    use crate::ledger::{Bounds, Ledger, Order};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use weir_rules::invalidation::Target;
    use weir_rules::tier::Tier;

    async fn listed() -> Arc<Listed> {
        let hour = Duration::from_secs(3600);
        let bounds = Bounds {
            retention: 10,
            bytes: 1 << 20,
            lease: hour,
            forget_after: hour,
            nodes: 10,
            join_rate: 10,
            waiting: 10,
        };
        let ledger = Ledger::open(Box::<Memory>::default(), bounds).unwrap();
        let order = Order {
            targets: vec![Target::Path("/a".into()), Target::Tag("t".into())],
            site: None,
            soft: false,
            versions: false,
            warm: false,
            reference: Some("r".into()),
        };
        ledger.purge(order, Caller::Local.referrer(None)).await.unwrap()
    }

    fn node(name: &str, state: Arrival, matched: Option<u64>) -> NodeProgress {
        let applied = (state == Arrival::Applied).then_some(Duration::from_micros(1500));
        NodeProgress { name: name.into(), tier: Tier::Edge, state, applied, matched }
    }

    async fn told(nodes: Vec<NodeProgress>) -> (StatusCode, Value) {
        let done = nodes.iter().all(|node| node.state == Arrival::Applied);
        let completed = done.then_some(Duration::from_millis(2));
        let listed = listed().await;
        let told = EntryReport::of(&listed, &Progress { nodes, completed }, Instant::now());
        let status = told.status();
        (status, serde_json::to_value(RecordedPurge::of(&listed, told)).unwrap())
    }

    #[tokio::test]
    async fn what_is_told_has_the_documented_form() {
        let (status, told) = told(vec![node("weir", Arrival::Applied, Some(3))]).await;
        assert_eq!(status, 200);
        let names: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
        let documented = [
            "all",
            "created_at",
            "elapsed_ms",
            "hosts",
            "id",
            "nodes",
            "note",
            "paths",
            "prefixes",
            "reference",
            "seq",
            "site",
            "soft",
            "status",
            "tags",
            "urls",
            "versions",
            "warm",
            "warmed",
        ];
        assert_eq!(names, documented);
        assert_eq!((&told["seq"], &told["status"]), (&json!(1), &json!("completed")));
        assert_eq!((&told["paths"], &told["tags"]), (&json!(["/a"]), &json!(["t"])));
        let node = json!({
            "name": "weir", "tier": "edge", "state": "applied", "applied_ms": 1.5, "matched": 3,
        });
        assert_eq!((&told["nodes"], &told["note"]), (&json!([node]), &Value::Null));
        assert_eq!(told["elapsed_ms"], 2.0);
    }

    #[tokio::test]
    async fn who_has_not_applied_it_is_named() {
        let nodes = vec![
            node("a", Arrival::Applied, Some(0)),
            node("b", Arrival::Pending, None),
            node("c", Arrival::Offline, None),
        ];
        let (status, told) = told(nodes).await;
        assert_eq!((status.as_u16(), &told["status"]), (202, &json!("in_progress")));
        let states: Vec<_> = (0..3).map(|n| told["nodes"][n]["state"].clone()).collect();
        assert_eq!(states, ["applied", "pending", "offline"]);
        let note = told["note"].as_str().unwrap();
        assert!(note.contains("a node is offline: until it reconnects and applies this"), "{note}");
        assert!(note.contains("it may serve what it has stored, up to its TTL"), "{note}");
        assert!(note.contains("\"validate\", only until its lease ends"), "{note}");
    }

    #[tokio::test]
    async fn what_a_caller_might_not_expect_is_said() {
        let note = |nodes| async { told(nodes).await.1["note"].clone() };
        let none = |name| node(name, Arrival::Applied, Some(0));
        let words = note(vec![none("a"), none("b")]).await;
        assert_eq!(words, "no stored response matched");
        assert_eq!(note(vec![none("a"), node("b", Arrival::Applied, None)]).await, Value::Null);
        assert_eq!(note(vec![none("a"), node("b", Arrival::Applied, Some(1))]).await, Value::Null);
        assert!(note(vec![]).await.as_str().unwrap().starts_with("no node is expected"));
    }
}
