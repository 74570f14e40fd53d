//! What is told of purges and releases, as JSON.

use crate::ledger::{Arrival, Count, Listed, NodeProgress, Progress, Warmed};
use crate::timestamp::rfc3339;
use http::StatusCode;
use serde::{Serialize, Serializer};
use std::time::{Duration, Instant};
use weir_rules::invalidation::{Seq, TargetKind};

/// Fewer nodes than these are listed all; of more, so many of those that lag.
pub(crate) const MOST_NODES: usize = 100;

/// How far an entry of the log has come.
#[derive(Debug, Serialize)]
pub(crate) struct EntryReport {
    id: String,
    seq: Seq,
    status: &'static str,
    reference: Option<String>,
    created_at: String,
    elapsed_ms: f64,
    /// Those of them that lag where there are [`MOST_NODES`] or more, and so many at most.
    nodes: Vec<NodeReport>,
    /// All of them.
    nodes_total: usize,
    /// Those that have not applied it.
    nodes_lagging: usize,
    /// All of them, by region and tier.
    counts: Vec<CountReport>,
    /// How many stored responses it took everywhere; `null` until all nodes told.
    matched: Option<u64>,
    /// How far the popular part of it is fetched again; `null` until that is known.
    warmed: Option<Warmed>,
    /// What a caller might not expect, in words.
    note: Option<&'static str>,
}

/// How far the nodes of a region and a tier are.
#[derive(Debug, Serialize)]
struct CountReport {
    region: String,
    tier: &'static str,
    nodes: usize,
    applied: usize,
    pending: usize,
    offline: usize,
    lease_over: usize,
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
        let total = progress.nodes.len();
        let lags = |node: &&NodeProgress| node.state != Arrival::Applied;
        let nodes = progress.nodes.iter().filter(|node| total < MOST_NODES || lags(node));
        Self {
            id: listed.id.clone(),
            seq: listed.seq(),
            status: if completed.is_some() { "completed" } else { "in_progress" },
            reference: listed.reference.clone(),
            created_at: rfc3339(listed.created_at),
            elapsed_ms: millis(completed.unwrap_or_else(|| listed.elapsed(now))),
            nodes: nodes.take(MOST_NODES).map(NodeReport::of).collect(),
            nodes_total: total,
            nodes_lagging: progress.nodes.iter().filter(lags).count(),
            counts: progress.counts().into_iter().map(CountReport::of).collect(),
            matched: listed.purge().and_then(|_| progress.matched()),
            warmed: listed.warmed(),
            note: note(listed, progress),
        }
    }

    /// 200 once every expected node applied it, 202 before.
    pub(crate) fn status(&self) -> StatusCode {
        if self.status == "completed" { StatusCode::OK } else { StatusCode::ACCEPTED }
    }
}

impl CountReport {
    fn of(((region, tier), count): ((&str, &'static str), Count)) -> Self {
        let [applied, pending, offline, lease_over] = count.by_state;
        let (region, nodes) = (region.to_owned(), count.nodes);
        Self { region, tier, nodes, applied, pending, offline, lease_over }
    }
}

/// A page of the nodes that a purge is for.
#[derive(Debug, Serialize)]
pub(crate) struct PurgeNodes {
    id: String,
    nodes: Vec<NodeReport>,
    /// The name after which the next page begins; `null` after the last.
    next: Option<String>,
}

impl PurgeNodes {
    /// At most `limit` of them, in `state` if there is one, whose name comes after `after`.
    pub(crate) fn of(
        listed: &Listed,
        progress: &Progress,
        state: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Self {
        let is_wanted = |node: &&NodeProgress| {
            state.is_none_or(|state| node.state.as_str() == state)
                && after.is_none_or(|after| *node.name > *after)
        };
        let mut wanted = progress.nodes.iter().filter(is_wanted);
        let nodes: Vec<_> = wanted.by_ref().take(limit).map(NodeReport::of).collect();
        let more = wanted.next().is_some();
        let next = nodes.last().filter(|_| more).map(|last| last.name.clone());
        Self { id: listed.id.clone(), nodes, next }
    }
}

impl NodeReport {
    fn of(node: &NodeProgress) -> Self {
        Self {
            name: node.name.to_string(),
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
            arrivals: 1000,
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
        let (name, region) = (name.into(), "eu".into());
        NodeProgress { name, tier: Tier::Edge, region, state, applied, matched }
    }

    async fn told(nodes: Vec<NodeProgress>) -> (StatusCode, Value) {
        let done = nodes.iter().all(|node| node.state == Arrival::Applied);
        let completed = done.then_some(Duration::from_millis(2));
        let listed = listed().await;
        let progress = Progress { nodes, completed, sum: None };
        let told = EntryReport::of(&listed, &progress, Instant::now());
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
            "counts",
            "created_at",
            "elapsed_ms",
            "hosts",
            "id",
            "matched",
            "nodes",
            "nodes_lagging",
            "nodes_total",
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
        let count = json!({
            "region": "eu", "tier": "edge", "nodes": 1, "applied": 1, "pending": 0, "offline": 0,
            "lease_over": 0,
        });
        assert_eq!((&told["counts"], &told["matched"]), (&json!([count]), &json!(3)));
    }

    #[tokio::test]
    async fn of_many_nodes_those_that_lag_are_listed() {
        let applied = |at: usize| node(&format!("n{at:04}"), Arrival::Applied, Some(1));
        let (_, few) = told((0..MOST_NODES - 1).map(applied).collect()).await;
        assert_eq!(few["nodes"].as_array().unwrap().len(), MOST_NODES - 1);
        let mut nodes: Vec<_> = (0..MOST_NODES).map(applied).collect();
        let (_, told_all) = told(nodes.clone()).await;
        assert_eq!((&told_all["nodes"], &told_all["nodes_total"]), (&json!([]), &json!(100)));
        assert_eq!(told_all["matched"], 100);
        nodes.extend((0..150).map(|at| node(&format!("late{at}"), Arrival::Pending, None)));
        let (status, told) = told(nodes).await;
        assert_eq!((status.as_u16(), &told["nodes_lagging"]), (202, &json!(150)));
        assert_eq!((&told["nodes_total"], &told["matched"]), (&json!(250), &Value::Null));
        let listed = told["nodes"].as_array().unwrap();
        assert!(listed.len() == MOST_NODES && listed.iter().all(|node| node["state"] == "pending"));
        let counts = &told["counts"][0];
        assert_eq!((&counts["applied"], &counts["pending"]), (&json!(100), &json!(150)));
    }

    #[tokio::test]
    async fn pages_of_nodes_go_on_after_a_name() {
        let listed = listed().await;
        let nodes: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|name| {
                let state = if name == "c" { Arrival::Offline } else { Arrival::Applied };
                node(name, state, None)
            })
            .into();
        let progress = Progress { nodes, completed: None, sum: None };
        let page = |state, after, limit| {
            let page = PurgeNodes::of(&listed, &progress, state, after, limit);
            let names: Vec<_> = page.nodes.iter().map(|node| node.name.clone()).collect();
            (names.concat(), page.next.as_deref().map(str::to_owned))
        };
        assert_eq!(page(None, None, 2), ("ab".into(), Some("b".into())));
        assert_eq!(page(None, Some("b"), 3), ("cde".into(), None));
        assert_eq!(page(Some("applied"), Some("b"), 1), ("d".into(), Some("d".into())));
        assert_eq!(page(Some("pending"), None, 9), (String::new(), None));
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
