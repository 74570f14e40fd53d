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

/// Classes of statuses, from 1xx to 5xx.
pub const STATUS_CLASSES: usize = 5;

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
    /// The disk store; `None` without one, and of an older node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskStats>,
    /// What is counted by site, by the id of each site that the process had since its start; `None` for a site
    /// that the node does not count by itself, because it has too many. `None` altogether of an older node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<BTreeMap<String, Option<SiteStats>>>,
    /// What is counted of requests that no site took, and of sites that are not counted by themselves, together.
    /// `None` of an older node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<SiteStats>,
}

/// What a node tells of its disk store. What an older node does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskStats {
    /// Responses on disk now.
    pub stored: u64,
    /// Bytes in use on disk.
    pub stored_bytes: u64,
    /// Bytes that all directories may take.
    pub capacity_bytes: u64,
    /// Requests since the start of the node for which a response was found on disk and not in memory, stale
    /// ones included.
    pub hits: u64,
    /// Directories.
    pub directories: u64,
    /// Of them, those that the node goes on without.
    pub set_aside: u64,
    /// Within how many microseconds 99 in 100 of the last reads were over that had to wait for a device; `None` where
    /// there were none in the last seconds.
    pub read_p99_micros: Option<u64>,
}

impl std::iter::Sum for DiskStats {
    fn sum<I: Iterator<Item = Self>>(disks: I) -> Self {
        disks.fold(Self::default(), |sum, disk| Self {
            stored: sum.stored.saturating_add(disk.stored),
            stored_bytes: sum.stored_bytes.saturating_add(disk.stored_bytes),
            capacity_bytes: sum.capacity_bytes.saturating_add(disk.capacity_bytes),
            hits: sum.hits.saturating_add(disk.hits),
            directories: sum.directories.saturating_add(disk.directories),
            set_aside: sum.set_aside.saturating_add(disk.set_aside),
            // Of the one that is slowest.
            read_p99_micros: sum.read_p99_micros.max(disk.read_p99_micros),
        })
    }
}

impl Stats {
    /// Whether the node has one of these sites, or had it since its start.
    pub fn has_any(&self, ids: &[String]) -> bool {
        self.sites.as_ref().is_some_and(|known| ids.iter().any(|id| known.contains_key(id)))
    }

    /// What the node counts of these sites together; what it does not count by site is left as it is by default.
    /// `None` if it does not count one of them by itself.
    pub fn of_sites(&self, ids: &[String]) -> Option<Stats> {
        let counted = self.sites.as_ref()?;
        let mut sum = Stats { uptime_ms: self.uptime_ms, ..Stats::default() };
        // A site that the node does not have has no requests.
        for site in ids.iter().filter_map(|id| counted.get(id)) {
            let site = site.as_ref()?;
            sum.requests += site.requests;
            sum.hits += site.hits;
            sum.collapsed += site.collapsed;
            sum.errors += site.errors;
            sum.bytes += site.bytes;
            sum.upstream_requests += site.upstream_requests;
            sum.upstream_errors += site.upstream_errors;
            for (word, count) in &site.results {
                *sum.results.entry(word.clone()).or_default() += count;
            }
            sum.latency.resize(sum.latency.len().max(site.latency.len()), 0);
            for (sum, count) in sum.latency.iter_mut().zip(&site.latency) {
                *sum += count;
            }
        }
        Some(sum)
    }
}

/// What a node counts of one site since its start; each as in [`Stats`]. What is 0 is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteStats {
    /// Requests answered.
    #[serde(skip_serializing_if = "is_zero")]
    pub requests: u64,
    /// Of them, from the store.
    #[serde(skip_serializing_if = "is_zero")]
    pub hits: u64,
    /// Requests answered by cache result.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub results: BTreeMap<String, u64>,
    /// Requests that waited on, or read from, a fill begun for another.
    #[serde(skip_serializing_if = "is_zero")]
    pub collapsed: u64,
    /// Requests answered with a 5xx.
    #[serde(skip_serializing_if = "is_zero")]
    pub errors: u64,
    /// Bytes of bodies sent to clients.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Of them, those of hits.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_saved: u64,
    /// Requests answered by class of status, from 1xx on, up to the last class that has any; at most
    /// [`STATUS_CLASSES`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u64>,
    /// Requests sent to upstreams.
    #[serde(skip_serializing_if = "is_zero")]
    pub upstream_requests: u64,
    /// Of them, those sent to origins, not to parents.
    #[serde(skip_serializing_if = "is_zero")]
    pub origin_requests: u64,
    /// Requests that no upstream answered.
    #[serde(skip_serializing_if = "is_zero")]
    pub upstream_errors: u64,
    /// Requests by how long they took, up to the last bucket that has any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<u64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn some_sites_are_added_up_and_others_left_out() {
        let site = |requests, latency: &[u64]| {
            let results = BTreeMap::from([("hit".to_owned(), requests)]);
            Some(SiteStats { requests, results, latency: latency.to_vec(), ..SiteStats::default() })
        };
        let sites = [("a", site(1, &[1])), ("b", site(2, &[0, 2])), ("c", site(4, &[4]))];
        let sites = sites.map(|(id, site)| (id.to_owned(), site)).into_iter();
        let sites = sites.chain([("many".to_owned(), None)]).collect();
        let stats = Stats { uptime_ms: 9, stored: 5, sites: Some(sites), ..Stats::default() };
        let of = |ids: &[&str]| {
            stats.of_sites(&ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>())
        };
        let told = of(&["a", "b", "elsewhere"]).unwrap();
        assert_eq!((told.requests, told.results["hit"], told.latency), (3, 3, vec![1, 2]));
        assert_eq!((told.uptime_ms, told.stored, told.sites), (9, 0, None));
        assert_eq!(of(&["elsewhere"]).unwrap().requests, 0);
        assert!(
            stats.has_any(&["a".into(), "elsewhere".into()])
                && !stats.has_any(&["elsewhere".into()])
        );
        assert_eq!(of(&["a", "many"]), None, "it is not known");
        assert_eq!(Stats::default().of_sites(&["a".to_owned()]), None, "of an older node");
        let line = serde_json::to_string(&stats).unwrap();
        assert!(
            line.contains("\"a\":{\"requests\":1,\"results\":{\"hit\":1},\"latency\":[1]}"),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<Stats>(&line).unwrap(), stats);
    }

    #[test]
    fn disks_are_added_up_and_not_told_of_sites() {
        let disk = |stored, set_aside| DiskStats { stored, set_aside, ..DiskStats::default() };
        let slow = DiskStats { read_p99_micros: Some(9), ..disk(2, 1) };
        let sum = DiskStats { read_p99_micros: Some(9), ..disk(3, 1) };
        assert_eq!([disk(1, 0), slow].into_iter().sum::<DiskStats>(), sum);
        let sites = Some(BTreeMap::from([("a".to_owned(), Some(SiteStats::default()))]));
        let stats = Stats { disk: Some(disk(7, 0)), sites, ..Stats::default() };
        assert_eq!(stats.of_sites(&["a".to_owned()]).unwrap().disk, None);
        let line = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<Stats>(&line).unwrap(), stats);
        assert_eq!(serde_json::from_str::<Stats>("{}").unwrap().disk, None, "an older node");
        let newer = "{\"disk\": {\"stored\": 7, \"later\": 1}}";
        assert_eq!(serde_json::from_str::<Stats>(newer).unwrap().disk, Some(disk(7, 0)));
    }
}
