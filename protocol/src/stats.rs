//! What a node reports of its traffic and its store with each heartbeat.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How requests are told apart: `hit`, `hit-stale` (served from store past its freshness),
/// `stale-on-error` (likewise, because the origin failed),
/// otherwise the word of [`Handling`](weir_rules::outcome::Handling). The labels of
/// `weir_requests_total`.
pub const RESULTS: [&str; 13] = [
    "hit",
    "hit-stale",
    "bypass",
    "method",
    "uri-miss",
    "vary-miss",
    "miss",
    "request",
    "stale",
    "partial",
    "refused",
    "undecided",
    "stale-on-error",
];

/// Buckets of latency that have an upper bound; one without follows.
pub const LATENCY_BOUNDS: usize = 22;

/// Buckets of [`Stats::latency`].
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS + 1;

/// The upper bound of a bucket of latency, inclusive, in microseconds: powers of two from 16 µs to
/// 34 s. The last bucket has none.
pub const fn latency_bound_micros(bucket: usize) -> Option<u64> {
    if bucket < LATENCY_BOUNDS { Some(16 << bucket) } else { None }
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
    /// Probes answered; not among the requests.
    pub probes: u64,
    /// Requests of the node to itself to warm a store; not among the requests.
    pub warm_ups: u64,
    /// Requests sent to upstreams.
    pub upstream_requests: u64,
    /// Requests that no upstream answered.
    pub upstream_errors: u64,
    /// Requests answered from the store or an upstream, by how long they took to the end of the
    /// answer ([`latency_bound_micros`]).
    pub latency: Vec<u64>,
    /// Open client connections.
    pub connections: u64,
    /// Responses stored now.
    pub stored: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Bytes that they may take.
    pub capacity_bytes: u64,
    /// Stored responses evicted to make room.
    pub evictions: u64,
}
