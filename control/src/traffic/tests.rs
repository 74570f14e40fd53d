#![allow(clippy::unwrap_used)]

use super::counters::{COUNTERS, LATENCY, REQUESTS};
use super::*;
use proptest::prelude::*;
use serde_json::json;
use weir_protocol::stats::{LATENCY_BUCKETS, latency_bound_micros};

const SECOND: Duration = Duration::from_secs(1);

fn stats(uptime: u64, requests: u64, hits: u64) -> Stats {
    let mut latency = vec![0; LATENCY_BUCKETS];
    (latency[0], latency[10]) = (hits, requests - hits);
    let results = [("hit".to_owned(), hits), ("uri-miss".to_owned(), requests - hits)].into();
    let uptime_ms = uptime * 1000;
    Stats { uptime_ms, requests, hits, results, latency, ..Stats::default() }
}

fn traffic() -> (Traffic, Instant) {
    (Traffic::default(), Instant::now())
}

/// Has a node heard every second: what it counts after so many.
fn hear(traffic: &Traffic, begun: Instant, seconds: std::ops::RangeInclusive<u32>, rate: u64) {
    for second in seconds {
        let told = stats(1000 + u64::from(second), rate * u64::from(second), 0);
        traffic.hear("a", Tier::Edge, &told, begun + SECOND * second);
    }
}

fn shown(traffic: &Traffic, name: &str) -> serde_json::Value {
    Rates::members(traffic.rates(name).as_ref()).into()
}

#[test]
fn rates_are_over_the_last_ten_seconds() {
    let (traffic, now) = traffic();
    assert_eq!(shown(&traffic, "a")["requests_per_second"], json!(null));
    hear(&traffic, now, 0..=0, 7);
    assert_eq!(shown(&traffic, "a")["requests_per_second"], json!(null), "told only once");
    hear(&traffic, now, 1..=20, 7);
    assert_eq!(shown(&traffic, "a")["requests_per_second"], 7.0);
    // Nothing more for five seconds, of ten that are looked at.
    for second in 21..=25 {
        let told = stats(1000 + second, 140, 0);
        traffic.hear("a", Tier::Edge, &told, now + SECOND * second as u32);
    }
    assert_eq!(shown(&traffic, "a")["requests_per_second"], 3.5);
}

#[test]
fn what_a_node_did_since_a_start_of_late_is_seen_at_once() {
    let (traffic, now) = traffic();
    traffic.hear("a", Tier::Edge, &stats(4, 40, 30), now + SECOND);
    let told = shown(&traffic, "a");
    assert_eq!((&told["requests_per_second"], &told["hit_ratio"]), (&json!(10.0), &json!(0.75)));
    assert_eq!(told["results"], json!({"hit": 7.5, "uri-miss": 2.5}));
}

#[test]
fn a_restart_begins_at_nothing_and_a_long_absence_says_nothing() {
    let (traffic, now) = traffic();
    hear(&traffic, now, 0..=10, 5);
    // More than before, but since a start of one second ago.
    traffic.hear("a", Tier::Edge, &stats(1, 60, 0), now + SECOND * 11);
    let rates = traffic.rates("a").unwrap();
    assert_eq!(rates.requests(), (9.0 * 5.0 + 60.0) / 10.0);
    hear(&traffic, now, 100..=100, 5);
    assert_eq!(traffic.rates("a"), None);
    hear(&traffic, now, 101..=101, 5);
    assert_eq!(traffic.rates("a").unwrap().requests(), 5.0);
    // Away for long, and restarted a second ago.
    traffic.hear("a", Tier::Edge, &stats(1, 3, 0), now + SECOND * 200);
    assert_eq!(traffic.rates("a").unwrap().requests(), 3.0);
}

#[test]
fn a_node_that_is_not_expected_any_more_is_forgotten() {
    let (traffic, now) = traffic();
    hear(&traffic, now, 0..=5, 4);
    traffic.retain(|name| name == "a");
    assert!(traffic.rates("a").is_some());
    traffic.retain(|name| name != "a");
    assert_eq!(traffic.rates("a"), None);
}

#[test]
fn quantiles_lie_within_their_bucket() {
    let rates = |buckets: &[(usize, u64)]| {
        let mut counters = Counters::default();
        for (at, count) in buckets {
            counters.0[LATENCY + at] = *count;
        }
        Rates::between(&Counters::default(), &counters, SECOND).unwrap()
    };
    assert_eq!(rates(&[]).quantile(0.5), None);
    let quantile = |rates: Rates, share| rates.quantile(share).map(super::rates::rounded);
    // All between 16 and 32 µs.
    assert_eq!(quantile(rates(&[(1, 10)]), 0.5), Some(0.024));
    let mixed = rates(&[(0, 98), (6, 2)]);
    assert_eq!((quantile(mixed, 0.49), quantile(mixed, 0.99)), (Some(0.008), Some(0.768)));
    let endless = rates(&[(LATENCY_BUCKETS - 1, 1)]);
    let longest = latency_bound_micros(LATENCY_BUCKETS - 2).unwrap() as f64 / 1e3;
    assert_eq!(endless.quantile(0.5), Some(longest));
}

proptest! {
    /// Whatever a node tells and whenever, restarts included: rates are no less than nothing, and
    /// no more than all that was ever counted in the time since the first it was heard.
    #[test]
    fn rates_are_never_wild(told in prop::collection::vec((0u64..1000, 1u32..30, any::<bool>()), 1..40)) {
        let (traffic, begun) = traffic();
        let (mut now, mut uptime, mut requests, mut most) = (begun, 1000, 0, 0);
        for (more, seconds, restarts) in told {
            now += SECOND * seconds;
            if restarts {
                (uptime, requests) = (u64::from(seconds.min(3)), 0);
            } else {
                uptime += u64::from(seconds);
            }
            requests += more;
            most += more;
            traffic.hear("a", Tier::Edge, &stats(uptime, requests, requests / 2), now);
            if let Some(rates) = traffic.rates("a") {
                prop_assert!(rates.requests() >= 0.0 && rates.requests() <= most as f64);
                prop_assert!(rates.hits() <= rates.requests());
                let (p50, p99) = (rates.quantile(0.5), rates.quantile(0.99));
                prop_assert!(p50 <= p99 && p50.is_some() == (rates.requests() > 0.0));
            }
        }
        let nodes = traffic.told();
        prop_assert!(nodes["a"].window.len() <= SAMPLES);
        prop_assert!(Counters::from(&nodes["a"].total).0[REQUESTS] <= most + requests);
    }

    #[test]
    fn packed_counters_are_the_same(
        counts in prop::collection::vec(prop_oneof![Just(0), 0..300_u64, any::<u64>()], COUNTERS),
    ) {
        let counters = Counters(counts.try_into().unwrap());
        prop_assert_eq!(Counters::from(&Packed::from(&counters)), counters);
    }

    /// Differences add up to what was counted.
    #[test]
    fn differences_add_up(steps in prop::collection::vec(prop::array::uniform4(0u64..9), 1..20)) {
        let mut counted = Counters::default();
        let mut total = Counters::default();
        for step in steps {
            let before = counted;
            for (at, more) in step.into_iter().enumerate() {
                counted.0[at * 9 % COUNTERS] += more;
            }
            total = total.plus(&counted.since(&before));
        }
        prop_assert_eq!(total, counted);
    }
}
