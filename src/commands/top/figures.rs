//! The parts of control's answers that are shown. A member is `null` if the node has no figure for it.

use super::words::{bytes, count, millis, share};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `GET /v1/stats`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    pub(super) log: Log,
    /// What clients see.
    pub(super) traffic: Rates,
    pub(super) tiers: Vec<TierFigures>,
    pub(super) by_node: Vec<NodeFigures>,
}

/// The log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Log {
    pub(super) head: u64,
}

/// What happens a second.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rates {
    pub(super) requests_per_second: Option<f64>,
    pub(super) hit_ratio: Option<f64>,
    pub(super) errors_per_second: Option<f64>,
    pub(super) bytes_per_second: Option<f64>,
    pub(super) upstream_per_second: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) results: Option<BTreeMap<String, f64>>,
}

/// A disk store, or those of a tier.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DiskFigures {
    pub(super) stored_bytes: u64,
    pub(super) capacity_bytes: u64,
    pub(super) directories: u64,
    pub(super) set_aside: u64,
}

/// A tier.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TierFigures {
    pub(super) tier: String,
    pub(super) stored: Option<u64>,
    pub(super) stored_bytes: Option<u64>,
    pub(super) capacity_bytes: Option<u64>,
    /// `None` without a disk store.
    pub(super) disk: Option<DiskFigures>,
    #[serde(flatten)]
    pub(super) rates: Rates,
}

/// A node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeFigures {
    pub(super) name: String,
    pub(super) tier: String,
    pub(super) region: String,
    pub(super) state: String,
    pub(super) lag: Option<u64>,
    pub(super) stored: Option<u64>,
    pub(super) stored_bytes: Option<u64>,
    pub(super) capacity_bytes: Option<u64>,
    /// `None` without a disk store.
    pub(super) disk: Option<DiskFigures>,
    pub(super) connections: Option<u64>,
    pub(super) uptime_seconds: Option<u64>,
    #[serde(flatten)]
    pub(super) rates: Rates,
}

/// `GET /v1/traffic`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Traffic {
    /// `None` of an older control.
    pub(super) totals: Option<Totals>,
    pub(super) step_seconds: u64,
    /// Oldest first; steps without any report are missing.
    pub(super) points: Vec<Point>,
}

/// What a range of time came to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Totals {
    requests: u64,
    hit_ratio: Option<f64>,
    bytes: u64,
    bytes_saved: u64,
    origin_requests: u64,
    /// By class: `4xx`, …
    status: BTreeMap<String, u64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Totals {
    /// Each in words, the most important first.
    pub(super) fn words(&self) -> Vec<String> {
        let class = |class: &str| {
            let answers = self.status.get(class).copied().unwrap_or_default();
            format!("{} {class}", count(answers))
        };
        let mut words = vec![format!("{} req", count(self.requests))];
        words.extend(self.hit_ratio.map(|ratio| format!("{} hits", share(ratio))));
        words.push(format!("{} origin", count(self.origin_requests)));
        words.extend(["5xx", "4xx"].map(class));
        words.push(format!("{} saved", bytes(self.bytes_saved as f64)));
        words.extend(self.p99_ms.map(|p99| format!("p99 {} ms", millis(p99))));
        words.extend(self.p50_ms.map(|p50| format!("p50 {} ms", millis(p50))));
        words.push(format!("{} sent", bytes(self.bytes as f64)));
        words
    }
}

/// A point of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Point {
    pub(super) at: String,
    pub(super) requests_per_second: f64,
}

/// `GET /v1/popular`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Popular {
    pub(super) nodes: Vec<AskedNode>,
    pub(super) objects: Vec<Object>,
}

/// A node that was asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AskedNode {
    pub(super) name: String,
    /// Why it did not answer.
    pub(super) error: Option<String>,
}

/// What is stored for a URL.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Object {
    pub(super) url: String,
    pub(super) hits: u64,
    pub(super) bytes: u64,
    pub(super) status: u16,
    pub(super) age_seconds: u64,
    pub(super) ttl_seconds: i64,
    pub(super) tags: Vec<String>,
    pub(super) nodes: Vec<String>,
}

/// `GET /v1/uncached`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Uncached {
    pub(super) nodes: Vec<AskedNode>,
    pub(super) reasons: Vec<Reason>,
    pub(super) urls: Vec<Missed>,
}

/// How often something was not stored for this reason.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reason {
    pub(super) reason: String,
    pub(super) count: u64,
}

/// A URL that was recently not stored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Missed {
    pub(super) url: String,
    pub(super) reason: String,
    pub(super) sentence: String,
    pub(super) status: Option<u16>,
    pub(super) seconds_ago: u64,
    pub(super) nodes: Vec<String>,
}

/// `GET /v1/purges`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Purges {
    pub(super) purges: Vec<Purge>,
}

/// A purge of the history.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Purge {
    pub(super) seq: u64,
    pub(super) status: String,
    pub(super) created_at: String,
    pub(super) elapsed_ms: f64,
    /// Where there are many, those that lag.
    pub(super) nodes: Vec<Arrival>,
    /// All nodes that it is for; `None` of a control that lists them all.
    pub(super) nodes_total: Option<usize>,
    pub(super) nodes_lagging: usize,
    /// How many stored responses it took, where all nodes told; not there likewise.
    #[serde(deserialize_with = "told")]
    pub(super) matched: Option<Option<u64>>,
    /// Its targets, in words.
    #[serde(flatten)]
    pub(super) named: Map<String, Value>,
}

/// What may be `null`, told from what is not there.
fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// `GET /v1/certificates`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Certificates {
    pub(super) certificates: Vec<Certificate>,
}

/// The certificate of a name, or of several from a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Certificate {
    name: String,
    names: Vec<String>,
    pub(super) source: String,
    /// Unix time in seconds; `None` while there is none.
    pub(super) expires: Option<u64>,
    pub(super) renews: Option<u64>,
    /// Of the last order, if that failed.
    pub(super) error: Option<String>,
}

impl Certificate {
    /// What it is for.
    pub(super) fn shown(&self) -> String {
        if self.names.is_empty() { self.name.clone() } else { self.names.join(", ") }
    }
}

/// How far it has come on a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Arrival {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) matched: Option<u64>,
}
