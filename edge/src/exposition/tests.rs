#![allow(clippy::unwrap_used)]

use super::*;
use crate::error::UpstreamError;
use crate::metrics::{RequestMetrics, SITES, result_index, upstream_error_index};
use http::StatusCode;
use std::collections::{HashMap, HashSet};
use strum::EnumCount;
use weir_rules::outcome::{Handling, Outcome};

const GAUGES: Gauges<'_> = Gauges {
    node: "edge-1",
    region: "r\"1\\\n",
    tier: "edge",
    uptime: Duration::from_secs(7),
    fills_running: 11,
    memory_used: 13,
    memory_bound: 14,
    memory_refused: [1, 2, 3, 4, 5],
    filling_bytes: 12,
    read_ahead_bytes: 13,
    coding: CodingCounts {
        waiting: 3,
        made: [1, 2, 0],
        bytes_in: 9000,
        bytes_out: 2000,
        micros: 1_500_000,
        undone: [0, 1, 0, 4],
    },
    spool_bytes: 14,
    connections_open: 6,
    connections_taken: 20,
    connections_refused: 8,
    connections_refused_for_share: 18,
    connections_closed_idle: 9,
    disk: None,
    store_bytes: 100,
    store_bytes_limit: 1000,
    store_objects: 3,
    evictions: 2,
    not_stored: Vec::new(),
    followed: &FollowStatus {
        log: None,
        applied: 41,
        head: 44,
        connected: true,
        partitioned: false,
        reconnects: 2,
        refusal: None,
        via: None,
    },
    relay: (12, 3),
    purged: Purged {
        waiting: 7,
        uncounted: 1,
        held: Held { targets: 9, fullness: 0.25, floor: 4, floors: [5; IndexKind::COUNT] },
    },
    log_lines_dropped: 5,
    spans: Counts { exported: 30, crowded: 3, failed: 2, rejected: 1 },
    members: Vec::new(),
    geo: None,
    certificates: &[],
};

fn outcome(handling: Handling, ttl: Option<i64>) -> Outcome {
    Outcome { handling, ttl, ..Outcome::default() }
}

fn record<'a>(slots: &SiteSlots, outcome: &'a Outcome, micros: u64) -> RequestMetrics<'a> {
    RequestMetrics {
        site: slots.slot("shop"),
        outcome,
        status: StatusCode::OK,
        bytes_in: 10,
        bytes_out: 1000,
        first_byte: Some(Duration::from_micros(micros / 2)),
        total: Duration::from_micros(micros),
    }
}

/// Two workers that saw some of everything.
fn busy() -> (Vec<Arc<WorkerMetrics>>, SiteSlots) {
    let workers: Vec<Arc<WorkerMetrics>> = (0..2).map(|_| Arc::default()).collect();
    let slots = SiteSlots::default();
    let (hit, stale) = (outcome(Handling::Hit, Some(9)), outcome(Handling::Hit, Some(-1)));
    let miss = outcome(Handling::UriMiss, None);
    let refused = outcome(Handling::Refused, None);
    for worker in &workers {
        for micros in [0, 16, 17, 1000] {
            worker.record(&record(&slots, &hit, micros));
        }
        worker.record(&record(&slots, &stale, 1));
        worker.record(&record(&slots, &miss, 100_000_000));
        let nobody = SiteSlot::NONE;
        let status = StatusCode::MISDIRECTED_REQUEST;
        worker.record(&RequestMetrics { site: nobody, status, ..record(&slots, &refused, 1) });
        worker.upstream_request(slots.slot("shop"), true);
        worker.collapsed(slots.slot("shop"));
        worker.upstream_error(slots.slot("shop"), &UpstreamError::ConnectTimeout);
        worker.upstream_bytes(500);
        worker.upstream_first_byte(Duration::from_micros(17));
    }
    (workers, slots)
}

/// Samples by series, after checking that each line is well-formed and announced.
fn parse(text: &str) -> HashMap<&str, f64> {
    let mut help = HashSet::new();
    let mut kinds = HashMap::new();
    let mut samples = HashMap::new();
    for line in text.lines() {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            assert!(!words.is_empty() && help.insert(name), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            assert!(["counter", "gauge", "histogram"].contains(&kind.1), "{line}");
            assert!(kinds.insert(kind.0, kind.1).is_none(), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffixes = ["_bucket", "_sum", "_count"];
            let family = suffixes.iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            let family = if kinds.contains_key(family) { family } else { name };
            assert!(name.starts_with("weir_") && help.contains(family), "{line}");
            assert_eq!(kinds[family] == "histogram", family != name, "{line}");
            assert_eq!(kinds[family] == "counter", name.ends_with("_total"), "{line}");
            assert!(samples.insert(series, value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    assert!(help.iter().all(|name| kinds.contains_key(name)));
    samples
}

#[test]
fn every_metric_is_announced_and_the_workers_are_added_up() {
    let (workers, slots) = busy();
    let text = render(&workers, &slots, &GAUGES);
    let samples = parse(&text);
    let site = |result: &str| {
        let series =
            format!("weir_requests_total{{site=\"shop\",tier=\"edge\",cache=\"{result}\"}}");
        samples[series.as_str()]
    };
    assert_eq!((site("hit"), site("hit-stale"), site("uri-miss")), (8.0, 2.0, 2.0));
    for (series, value) in [
        ("weir_requests_total{site=\"\",tier=\"edge\",cache=\"refused\"}", 2.0),
        ("weir_responses_total{site=\"shop\",class=\"2xx\"}", 12.0),
        ("weir_responses_total{site=\"\",class=\"4xx\"}", 2.0),
        ("weir_client_received_bytes_total{site=\"shop\"}", 120.0),
        ("weir_client_sent_bytes_total{site=\"shop\"}", 12_000.0),
        ("weir_upstream_errors_total{kind=\"origin-connect-timeout\"}", 2.0),
        ("weir_upstream_errors_total{kind=\"client\"}", 0.0),
        ("weir_upstream_received_bytes_total", 1000.0),
        ("weir_collapsed_requests_total", 2.0),
        ("weir_upstream_requests_total", 2.0),
        ("weir_fills_running", 11.0),
        ("weir_connection_memory_bytes", 13.0),
        ("weir_connection_memory_limit_bytes", 14.0),
        ("weir_connection_memory_refused_total{use=\"upload\"}", 5.0),
        ("weir_filling_bytes", 12.0),
        ("weir_read_ahead_bytes", 13.0),
        ("weir_spool_bytes", 14.0),
        ("weir_connections_open", 6.0),
        ("weir_connections_refused_total", 8.0),
        ("weir_client_share_refused_connections_total", 18.0),
        ("weir_idle_connections_closed_total", 9.0),
        ("weir_connections_total", 20.0),
        ("weir_upstream_first_byte_seconds_bucket{le=\"0.000016\"}", 0.0),
        ("weir_upstream_first_byte_seconds_bucket{le=\"0.000032\"}", 2.0),
        ("weir_upstream_first_byte_seconds_sum", 0.000034),
        ("weir_upstream_first_byte_seconds_count", 2.0),
        ("weir_trace_spans_exported_total", 30.0),
        ("weir_trace_spans_dropped_total{why=\"queue-full\"}", 3.0),
        ("weir_trace_spans_dropped_total{why=\"export-failed\"}", 2.0),
        ("weir_trace_spans_dropped_total{why=\"rejected\"}", 1.0),
        ("weir_store_bytes", 100.0),
        ("weir_evictions_total", 2.0),
        ("weir_purge_applied_seq", 41.0),
        ("weir_sweep_waiting_purges", 7.0),
        ("weir_sweep_uncounted_purges_total", 1.0),
        ("weir_purge_index_targets", 9.0),
        ("weir_purge_floor_seq", 4.0),
        ("weir_purge_index_fullness_ratio", 0.25),
        ("weir_purge_floors_total{kind=\"any_case_tag\"}", 5.0),
        ("weir_purge_lag", 3.0),
        ("weir_control_connected", 1.0),
        ("weir_control_refused", 0.0),
        ("weir_control_partitioned", 0.0),
        ("weir_control_reconnects_total", 2.0),
        ("weir_access_log_dropped_lines_total", 5.0),
        ("weir_uptime_seconds", 7.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    assert!(text.contains(r#"region="r\"1\\\n""#), "label values are escaped");
}

#[test]
fn histograms_are_cumulative_and_in_seconds() {
    let (workers, slots) = busy();
    let text = render(&workers, &slots, &GAUGES);
    let samples = parse(&text);
    for name in ["weir_request_duration_seconds", "weir_first_byte_seconds"] {
        for cache in ["hit", "forwarded"] {
            let beginning = format!("{name}_bucket{{cache=\"{cache}\",le=\"");
            let buckets = text.lines().filter_map(|line| line.strip_prefix(&beginning));
            let (mut bound, mut below, mut inf) = (0.0, 0.0, None);
            for bucket in buckets {
                let (le, value) = bucket.split_once("\"} ").unwrap();
                let (le, value) =
                    (le.replace("+Inf", "inf").parse().unwrap(), value.parse().unwrap());
                assert!(le > bound && value >= below, "{name} {bucket}");
                (bound, below, inf) = (le, value, Some(value));
            }
            assert_eq!(bound, f64::INFINITY, "{name}");
            let count = format!("{name}_count{{cache=\"{cache}\"}}");
            assert_eq!(inf, samples.get(count.as_str()).copied(), "{count}");
        }
    }
    let hits = |le| {
        samples
            [format!("weir_request_duration_seconds_bucket{{cache=\"hit\",le=\"{le}\"}}").as_str()]
    };
    // 0, 1 and 16 µs; then 17 µs; then 1000 µs; by two workers.
    assert_eq!((hits("0.000016"), hits("0.000032"), hits("0.000512")), (6.0, 8.0, 8.0));
    assert_eq!((hits("0.001024"), hits("+Inf")), (10.0, 10.0));
    assert_eq!(samples["weir_request_duration_seconds_sum{cache=\"hit\"}"], 0.002068);
    assert_eq!(samples["weir_request_duration_seconds_sum{cache=\"forwarded\"}"], 200.0);
}

#[test]
fn errors_and_results_are_counted_under_their_own_words() {
    let text = String::new;
    for error in [
        UpstreamError::Connect(text()),
        UpstreamError::ConnectTimeout,
        UpstreamError::FirstByteTimeout,
        UpstreamError::IdleTimeout,
        UpstreamError::BadHead(text()),
        UpstreamError::BadBody(text()),
        UpstreamError::Busy,
        UpstreamError::TotalTimeout,
        UpstreamError::HeadTooLarge,
        UpstreamError::Reset(text()),
        UpstreamError::ClientShare,
    ] {
        assert_eq!(UPSTREAM_ERRORS[upstream_error_index(&error)], error.word());
    }
    for handling in [
        Handling::Hit,
        Handling::Bypass,
        Handling::Method,
        Handling::UriMiss,
        Handling::VaryMiss,
        Handling::Miss,
        Handling::Request,
        Handling::Stale,
        Handling::Partial,
        Handling::Refused,
        Handling::Undecided,
    ] {
        let index = result_index(&outcome(handling, Some(0)));
        assert_eq!(RESULTS[index], handling.word());
    }
}

#[test]
fn a_site_keeps_its_slot_and_too_many_share_one() {
    let slots = SiteSlots::default();
    let first = slots.slot("a");
    let many: HashSet<usize> = (0..1000).map(|n| slots.slot(&n.to_string()).index()).collect();
    assert_eq!(slots.slot("a"), first);
    assert_eq!(many.len(), SITES - 2, "all but none and the first");
    assert_eq!(slots.slot("999"), slots.slot("998"), "what does not fit is counted together");
    assert!(!many.contains(&0) && !many.contains(&first.index()));
}

#[test]
fn members_beyond_the_bound_are_summed_up() {
    let member = |n: usize| MemberCounts {
        pool: "shop".into(),
        member: format!("http://10.0.0.1:{n}").into(),
        counts: crate::upstream::Counts {
            requests: 2,
            errors: 1,
            ejections: 0,
            running: 3,
            healthy: true,
        },
    };
    let gauges = Gauges { members: (1..=1010).map(member).collect(), ..GAUGES };
    let text = render(&[], &SiteSlots::default(), &gauges);
    let requests = "weir_upstream_member_requests_total{";
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(requests)).collect();
    assert_eq!(lines.len(), 1001);
    assert_eq!(lines[0], format!("{requests}pool=\"shop\",member=\"http://10.0.0.1:1\"}} 2"));
    assert_eq!(lines[1000], format!("{requests}pool=\"(other)\",member=\"(other)\"}} 20"));
}
