//! What monitoring is told of, held against the program that it watches.

mod program;

use program::Weir;
use std::collections::BTreeSet;

const ALERTS: &str = include_str!("../deploy/prometheus/weir-alerts.yml");
const README: &str = include_str!("../README.md");

#[test]
fn every_metric_that_is_named_is_there() {
    let weir = Weir::in_front_of("http://127.0.0.1:9");
    let exposed = weir.call("GET /metrics", &[("Host", "localhost")], "").body;
    let known: BTreeSet<_> = exposed
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for (file, text) in [("weir-alerts.yml", ALERTS), ("README.md", README)] {
        let named = metrics(text);
        assert!(named.len() >= 3, "{file}: {named:?}");
        for name in named {
            let histogram = ["_bucket", "_sum", "_count"];
            let whole = histogram.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            assert!(known.contains(name) || known.contains(whole), "{file} names {name}");
        }
    }
}

#[test]
fn the_labels_that_alerts_ask_for_are_there() {
    let weir = Weir::in_front_of("http://127.0.0.1:9");
    assert_eq!(weir.get("/a").status, 502);
    let exposed = weir.call("GET /metrics", &[("Host", "localhost")], "").body;
    for series in [
        "weir_responses_total{site=\"default\",class=\"5xx\"} 1",
        "weir_requests_total{site=\"default\",tier=\"edge\",cache=\"hit\"} 0",
        "weir_upstream_errors_total{kind=\"origin-connect\"} 1",
        "weir_upstream_errors_total{kind=\"client\"} 0",
    ] {
        assert!(exposed.lines().any(|line| line == series), "{series}\n{exposed}");
    }
}

/// The names of weir's metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|name| name.starts_with("weir_")).collect()
}
