//! What a node tells control of its traffic and its store.

use crate::metrics;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The cache results that a node counts by: the words of `weir_requests_total`.
pub const RESULTS: [&str; metrics::RESULTS.len()] = metrics::RESULTS;

/// Buckets of [`Stats::latency`].
pub const LATENCY_BUCKETS: usize = metrics::Histogram::BOUNDS + 1;

/// The upper bound of a bucket of [`Stats::latency`], in microseconds; the last has none.
pub fn latency_bound_micros(bucket: usize) -> Option<u64> {
    (bucket < metrics::Histogram::BOUNDS).then(|| metrics::Histogram::bound_micros(bucket))
}

/// What a node tells of itself with each heartbeat; counters since its start. What an older node
/// does not tell is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Requests answered.
    pub requests: u64,
    /// Of them, from the store.
    pub hits: u64,
    /// Requests answered by cache result ([`RESULTS`]); those never met are left out.
    pub results: BTreeMap<String, u64>,
    /// Requests that waited on, or read from, a fill begun for another.
    pub collapsed: u64,
    /// Requests answered with a 5xx.
    pub errors: u64,
    /// Bytes of bodies sent to clients.
    pub bytes: u64,
    /// Requests sent to upstreams.
    pub upstream_requests: u64,
    /// Requests that no upstream answered.
    pub upstream_errors: u64,
    /// Requests answered from the store or an upstream, by how long they took to the end of the
    /// answer ([`latency_bound_micros`]).
    pub latency: Vec<u64>,
    /// Client connections open now.
    pub connections: u64,
    /// Responses stored now.
    pub stored: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Bytes that they may take.
    pub capacity_bytes: u64,
    /// Stored responses removed to make room for others.
    pub evictions: u64,
}

/// A URL that is stored, and how often it was answered from the store since it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredUrl {
    /// Absolute.
    pub url: String,
    /// The site it belongs to.
    pub site: String,
    /// Answers, of all its variants together.
    pub hits: u64,
    /// Bytes of body held, of the newest variant as all that follows.
    pub bytes: u64,
    /// Its status.
    pub status: u16,
    /// Its age.
    pub age_seconds: u64,
    /// Seconds of freshness left; negative once stale.
    pub ttl_seconds: i64,
    /// Its first cache tags.
    pub tags: Vec<String>,
    /// Variants stored.
    pub variants: u64,
}

/// What was not stored, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStored {
    /// How often for which reason since the node's start.
    pub reasons: Vec<NotStoredReason>,
    /// The last URLs, most recent first.
    pub urls: Vec<NotStoredUrl>,
}

/// How often nothing was stored for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStoredReason {
    /// A stable word, kebab-case.
    pub reason: String,
    /// In a sentence, as it was the last time.
    pub sentence: String,
    /// Times.
    pub count: u64,
}

/// A URL that was not stored when it was fetched last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStoredUrl {
    /// Absolute.
    pub url: String,
    /// The site it belongs to.
    pub site: String,
    /// A stable word, kebab-case.
    pub reason: String,
    /// In a sentence.
    pub sentence: String,
    /// The upstream's status, when there was one.
    pub status: Option<u16>,
    /// Seconds since.
    pub seconds_ago: u64,
}
