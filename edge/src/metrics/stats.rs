//! The counts of all workers as control is told them.

use super::{Counter, Event, HITS, Histogram, WorkerMetrics};
use std::sync::{Arc, OnceLock};
use weir_protocol::stats::{LATENCY_BUCKETS, RESULTS, Stats};

/// What `workers` counted; the rest of it is left as it is by default.
pub(crate) fn counted(workers: &[Arc<WorkerMetrics>]) -> Stats {
    let mut results = [0; RESULTS.len()];
    let (mut errors, mut bytes) = (0, 0);
    for site in workers.iter().flat_map(|worker| worker.sites.iter().filter_map(OnceLock::get)) {
        add(&mut results, &site.results);
        errors += site.classes[5].value();
        bytes += site.bytes_out.value();
    }
    let mut latency = [0; LATENCY_BUCKETS];
    for Histogram { buckets, .. } in totals(workers) {
        add(&mut latency, buckets);
    }
    let event = |event: Event| -> u64 {
        workers.iter().map(|worker| worker.events[event as usize].value()).sum()
    };
    let failed = workers.iter().flat_map(|worker| worker.upstream_errors.iter());
    let met = RESULTS.iter().zip(results).filter(|(_, count)| *count > 0);
    Stats {
        requests: results.iter().sum(),
        hits: results[..HITS].iter().sum(),
        results: met.map(|(word, count)| ((*word).to_owned(), count)).collect(),
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

fn totals(workers: &[Arc<WorkerMetrics>]) -> impl Iterator<Item = &Histogram> {
    workers.iter().flat_map(|worker| worker.latency.iter().map(|latency| &latency.total))
}

fn add(sums: &mut [u64], counters: &[Counter]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.value();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RequestMetrics, SiteSlot};
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
            worker.count(Event::Collapsed);
            worker.count(Event::Probe);
            worker.count(Event::WarmUp);
            worker.count(Event::UpstreamRequest);
            worker.upstream_error(&crate::error::UpstreamError::Busy);
        }
        let told = counted(&workers);
        assert_eq!((told.requests, told.hits, told.errors, told.bytes), (8, 4, 2, 80));
        assert_eq!((told.probes, told.warm_ups), (2, 2));
        assert_eq!((told.collapsed, told.upstream_requests, told.upstream_errors), (2, 2, 2));
        let results: Vec<_> = told.results.iter().map(|(word, count)| (&**word, *count)).collect();
        assert_eq!(results, [("hit", 2), ("hit-stale", 2), ("refused", 2), ("uri-miss", 2)]);
        // What was refused was neither answered from the store nor by an upstream.
        assert_eq!((told.latency[0], told.latency[LATENCY_BUCKETS - 1]), (4, 2));
        assert_eq!(told.latency.iter().sum::<u64>(), 6);
    }
}
