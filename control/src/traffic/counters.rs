//! What a node counts, in as many numbers for every node.

use weir_protocol::stats::{LATENCY_BUCKETS, RESULTS, Stats};

/// A counter's place; results and latencies follow.
pub(super) const REQUESTS: usize = 0;
pub(super) const HITS: usize = 1;
pub(super) const COLLAPSED: usize = 2;
pub(super) const ERRORS: usize = 3;
pub(super) const BYTES: usize = 4;
pub(super) const UPSTREAM: usize = 5;
pub(super) const UPSTREAM_ERRORS: usize = 6;
pub(super) const BY_RESULT: usize = 7;
pub(super) const LATENCY: usize = BY_RESULT + RESULTS.len();
pub(super) const COUNTERS: usize = LATENCY + LATENCY_BUCKETS;

/// Counters, by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters(pub(super) [u64; COUNTERS]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

impl Counters {
    /// What a node told. A result that this version does not know is part of the requests only.
    pub(super) fn of(stats: &Stats) -> Self {
        let mut counters = Self::default();
        let Self(places) = &mut counters;
        places[REQUESTS] = stats.requests;
        places[HITS] = stats.hits;
        places[COLLAPSED] = stats.collapsed;
        places[ERRORS] = stats.errors;
        places[BYTES] = stats.bytes;
        places[UPSTREAM] = stats.upstream_requests;
        places[UPSTREAM_ERRORS] = stats.upstream_errors;
        for (place, word) in places[BY_RESULT..LATENCY].iter_mut().zip(RESULTS) {
            *place = stats.results.get(word).copied().unwrap_or(0);
        }
        for (place, count) in places[LATENCY..].iter_mut().zip(&stats.latency) {
            *place = *count;
        }
        counters
    }

    /// What was counted since `before`. Where a counter went back all of them began again: then
    /// what they show now.
    pub(super) fn since(&self, before: &Self) -> Self {
        let went_back = self.0.iter().zip(&before.0).any(|(now, before)| now < before);
        if went_back { *self } else { self.less(before) }
    }

    pub(super) fn plus(&self, more: &Self) -> Self {
        self.each(more, u64::saturating_add)
    }

    pub(super) fn less(&self, less: &Self) -> Self {
        self.each(less, u64::saturating_sub)
    }

    fn each(&self, other: &Self, of: fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|at| of(self.0[at], other.0[at])))
    }
}
