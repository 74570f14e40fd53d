//! What happens a second.

use super::counters::{
    BY_RESULT, BYTES, COLLAPSED, COUNTERS, Counters, ERRORS, HITS, LATENCY, REQUESTS, UPSTREAM,
    UPSTREAM_ERRORS,
};
use serde_json::{Map, Value, json};
use std::iter::Sum;
use std::time::Duration;
use weir_protocol::stats::{RESULTS, latency_bound_micros};

/// Counts a second, by place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates([f64; COUNTERS]);

impl Default for Rates {
    fn default() -> Self {
        Self([0.0; COUNTERS])
    }
}

impl Rates {
    /// From one total to a later one, `time` apart; `None` where no time passed.
    pub(super) fn between(before: &Counters, after: &Counters, time: Duration) -> Option<Self> {
        let more = after.less(before);
        let seconds = time.as_secs_f64();
        (seconds > 0.0).then(|| Self(more.0.map(|count| count as f64 / seconds)))
    }

    pub(super) fn plus(&self, more: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] + more.0[at]))
    }

    pub(super) fn requests(&self) -> f64 {
        self.0[REQUESTS]
    }

    pub(super) fn hits(&self) -> f64 {
        self.0[HITS]
    }

    /// The time within which this share of requests was answered, in milliseconds.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        within(&self.0[LATENCY..], share)
    }

    /// As members of a JSON object; all `null` where there are none.
    pub(crate) fn members(rates: Option<&Self>) -> Map<String, Value> {
        let rate = |at: usize| rates.map(|rates| rounded(rates.0[at]));
        let quantile = |share| rates.and_then(|rates| rates.quantile(share)).map(rounded);
        let hit_ratio = rates.filter(|rates| rates.requests() > 0.0);
        let hit_ratio = hit_ratio.map(|rates| rounded(rates.hits() / rates.requests()));
        let results = rates.map(|rates| {
            let by_word = RESULTS.into_iter().zip(&rates.0[BY_RESULT..LATENCY]);
            let met = by_word.filter(|(_, rate)| **rate > 0.0);
            met.map(|(word, rate)| (word.to_owned(), json!(rounded(*rate)))).collect::<Map<_, _>>()
        });
        let members = [
            ("requests_per_second", json!(rate(REQUESTS))),
            ("hit_ratio", json!(hit_ratio)),
            ("hits_per_second", json!(rate(HITS))),
            ("collapsed_per_second", json!(rate(COLLAPSED))),
            ("errors_per_second", json!(rate(ERRORS))),
            ("bytes_per_second", json!(rate(BYTES))),
            ("upstream_per_second", json!(rate(UPSTREAM))),
            ("upstream_errors_per_second", json!(rate(UPSTREAM_ERRORS))),
            ("p50_ms", json!(quantile(0.5))),
            ("p99_ms", json!(quantile(0.99))),
            ("results", json!(results)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The time within which this share of what fell into these buckets was over, in milliseconds.
pub(crate) fn quantile(buckets: &[u64], share: f64) -> Option<f64> {
    let buckets: Vec<_> = buckets.iter().map(|count| *count as f64).collect();
    within(&buckets, share).map(rounded)
}

/// The same; within a bucket as if they were spread evenly, in the last one its lower bound.
fn within(buckets: &[f64], share: f64) -> Option<f64> {
    let all: f64 = buckets.iter().sum();
    if all <= 0.0 {
        return None;
    }
    let wanted = all * share;
    let (mut passed, mut lower) = (0.0, 0.0);
    for (at, count) in buckets.iter().enumerate() {
        let Some(upper) = latency_bound_micros(at).map(|micros| micros as f64 / 1e3) else {
            break;
        };
        if *count > 0.0 && passed + count >= wanted {
            return Some(lower + (upper - lower) * ((wanted - passed) / count).clamp(0.0, 1.0));
        }
        passed += count;
        lower = upper;
    }
    Some(lower)
}

impl<'a> Sum<&'a Rates> for Rates {
    fn sum<I: Iterator<Item = &'a Rates>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum.plus(one))
    }
}

/// To three places.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
