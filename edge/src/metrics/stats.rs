//! The counts of all workers as control is told them.

use super::{Counter, Event, HITS, Histogram, SiteCounters, SiteSlot, WorkerMetrics};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use weir_protocol::stats::{LATENCY_BUCKETS, RESULTS, STATUS_CLASSES, SiteStats, Stats};

/// What `workers` counted; the rest of it is left as it is by default.
pub(crate) fn counted(workers: &[Arc<WorkerMetrics>]) -> Stats {
    let mut results = [0; RESULTS.len()];
    let (mut errors, mut bytes) = (0, 0);
    let mut latency = [0; LATENCY_BUCKETS];
    for site in workers.iter().flat_map(|worker| worker.sites.iter().filter_map(OnceLock::get)) {
        add(&mut results, &site.results);
        errors += site.classes[5].value();
        bytes += site.bytes_out.value();
        for Histogram { buckets, .. } in totals_of(site) {
            add(&mut latency, buckets);
        }
    }
    let event = |event: Event| -> u64 {
        workers.iter().map(|worker| worker.events[event as usize].value()).sum()
    };
    let failed = workers.iter().flat_map(|worker| worker.upstream_errors.iter());
    Stats {
        requests: results.iter().sum(),
        hits: results[..HITS].iter().sum(),
        results: met(&results),
        collapsed: event(Event::Collapsed),
        errors,
        bytes,
        probes: event(Event::Probe),
        warm_ups: event(Event::WarmUp),
        upstream_requests: event(Event::UpstreamRequest),
        upstream_errors: failed.map(Counter::value).sum(),
        latency: latency.to_vec(),
        ..Stats::default()
    }
}

/// What `workers` counted of the site that has this slot alone.
pub(crate) fn counted_of(workers: &[Arc<WorkerMetrics>], slot: SiteSlot) -> SiteStats {
    counted_in(workers, &[slot])
}

/// What `workers` counted of no site, and of sites that share a slot.
pub(crate) fn counted_of_others(workers: &[Arc<WorkerMetrics>]) -> SiteStats {
    counted_in(workers, &[SiteSlot::NONE, SiteSlot::OTHER])
}

fn counted_in(workers: &[Arc<WorkerMetrics>], slots: &[SiteSlot]) -> SiteStats {
    let mut results = [0; RESULTS.len()];
    let mut statuses = [0; STATUS_CLASSES];
    let mut latency = [0; LATENCY_BUCKETS];
    let mut told = SiteStats::default();
    let places =
        workers.iter().flat_map(|worker| slots.iter().map(|slot| &worker.sites[slot.index()]));
    for site in places.filter_map(OnceLock::get) {
        add(&mut results, &site.results);
        add(&mut statuses, &site.classes[1..=STATUS_CLASSES]);
        for Histogram { buckets, .. } in totals_of(site) {
            add(&mut latency, buckets);
        }
        told.collapsed += site.collapsed.value();
        told.errors += site.classes[5].value();
        told.bytes += site.bytes_out.value();
        told.bytes_saved += site.bytes_saved.value();
        told.upstream_requests += site.upstream_requests.value();
        told.origin_requests += site.origin_requests.value();
        told.upstream_errors += site.upstream_errors.value();
    }
    SiteStats {
        requests: results.iter().sum(),
        hits: results[..HITS].iter().sum(),
        results: met(&results),
        statuses: up_to_last(&statuses),
        latency: up_to_last(&latency),
        ..told
    }
}

/// Without the zeros at the end.
pub(crate) fn up_to_last(counts: &[u64]) -> Vec<u64> {
    let used = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    counts[..used].to_vec()
}

fn met(results: &[u64; RESULTS.len()]) -> BTreeMap<String, u64> {
    let met = RESULTS.iter().zip(results).filter(|(_, count)| **count > 0);
    met.map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

fn totals_of(site: &SiteCounters) -> impl Iterator<Item = &Histogram> {
    site.latency.iter().map(|latency| &latency.total)
}

fn add(sums: &mut [u64], counters: &[Counter]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.value();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RequestMetrics, SiteSlot, SiteSlots};
    use super::*;
    use http::StatusCode;
    use std::time::Duration;
    use weir_rules::outcome::{Handling, Outcome};

    #[test]
    fn the_counts_of_all_workers_are_added_up() {
        let workers: Vec<Arc<WorkerMetrics>> = (0..2).map(|_| Arc::default()).collect();
        let outcome = |handling, ttl| Outcome { handling, ttl, ..Outcome::default() };
        for worker in &workers {
            for (outcome, status, millis) in [
                (outcome(Handling::Hit, Some(9)), StatusCode::OK, 0),
                (outcome(Handling::Hit, Some(-1)), StatusCode::OK, 0),
                (outcome(Handling::UriMiss, None), StatusCode::BAD_GATEWAY, 40_000),
                (outcome(Handling::Refused, None), StatusCode::BAD_REQUEST, 1),
            ] {
                let total = Duration::from_millis(millis);
                worker.record(&RequestMetrics {
                    site: SiteSlot::NONE,
                    outcome: &outcome,
                    status,
                    bytes_in: 1,
                    bytes_out: 10,
                    first_byte: None,
                    total,
                });
            }
            worker.collapsed(SiteSlot::NONE);
            worker.count(Event::Probe);
            worker.count(Event::WarmUp);
            worker.upstream_request(SiteSlot::NONE, true);
            worker.upstream_request(SiteSlot::NONE, false);
            worker.upstream_error(SiteSlot::NONE, &crate::error::UpstreamError::Busy);
        }
        let told = counted(&workers);
        assert_eq!((told.requests, told.hits, told.errors, told.bytes), (8, 4, 2, 80));
        assert_eq!((told.probes, told.warm_ups), (2, 2));
        assert_eq!((told.collapsed, told.upstream_requests, told.upstream_errors), (2, 4, 2));
        let results: Vec<_> = told.results.iter().map(|(word, count)| (&**word, *count)).collect();
        assert_eq!(results, [("hit", 2), ("hit-stale", 2), ("refused", 2), ("uri-miss", 2)]);
        // What was refused was neither answered from the store nor by an upstream.
        assert_eq!((told.latency[0], told.latency[LATENCY_BUCKETS - 1]), (4, 2));
        assert_eq!(told.latency.iter().sum::<u64>(), 6);
        // All of it was of one place, and none of another.
        let site = counted_of(&workers, SiteSlot::NONE);
        assert_eq!((site.requests, site.hits, site.errors, site.bytes), (8, 4, 2, 80));
        assert_eq!((site.collapsed, site.upstream_requests, site.upstream_errors), (2, 4, 2));
        // What was answered from the store is saved; half of what was asked went to origins.
        assert_eq!((site.bytes_saved, site.origin_requests), (40, 2));
        assert_eq!(site.statuses, [0, 4, 0, 2, 2]);
        assert_eq!(counted_of_others(&workers), site);
        assert_eq!((site.results, site.latency), (told.results, told.latency));
        let other = SiteSlots::default().slot("other");
        assert_eq!(counted_of(&workers, other), SiteStats::default());
    }
}
