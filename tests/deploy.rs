//! The files in deploy/, held against the program that they deploy.

mod program;

use program::{TextFile, Weir, run};
use std::collections::BTreeSet;

const COMPOSE: &str = include_str!("../docker-compose.yml");
const COMPOSE_NODE: &str = include_str!("../deploy/compose/node.toml");
const UNIT: &str = include_str!("../deploy/systemd/weir.service");
const ALERTS: &str = include_str!("../deploy/prometheus/weir-alerts.yml");
const README: &str = include_str!("../README.md");
const TUNING: &str = include_str!("../docs/tuning.md");

#[test]
fn every_metric_that_is_named_is_there() {
    let weir = Weir::in_front_of("http://127.0.0.1:9");
    let exposed = weir.call("GET /metrics", &[("Host", "localhost")], "").body;
    let known: BTreeSet<_> = exposed
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for (file, text) in [("weir-alerts.yml", ALERTS), ("README.md", README), ("tuning.md", TUNING)]
    {
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

#[test]
fn the_node_of_docker_compose_starts_and_asks_for_its_token() {
    let token = TextFile::new("compose-token", "0123456789abcdef0123456789abcdef\n");
    let secret = "/run/secrets/weir-token";
    assert!(COMPOSE_NODE.contains(secret) && COMPOSE.contains("secrets: [weir-token]"));
    let config = COMPOSE_NODE.replace(secret, token.path());
    let config = TextFile::new("compose-node.toml", &config);
    let weir = Weir::serve(&["--config", config.path(), "--origin", "http://127.0.0.1:9"]);
    assert_eq!(weir.run(&["healthcheck"]).status, Some(0));
    assert_eq!(weir.run(&["purge", "/a"]).status, Some(1));
    let variables = [
        ("WEIR_CONTROL", weir.control()),
        ("WEIR_TOKEN", "0123456789abcdef0123456789abcdef".to_owned()),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ran = run(&["purge", "/a"], &variables);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
}

#[test]
fn nobody_is_killed_while_the_node_drains() {
    let grace = seconds_after(COMPOSE, "stop_grace_period: ");
    assert!(grace > seconds_after(COMPOSE_NODE, "drain = \""), "docker-compose.yml");
    let sample = include_str!("../deploy/node.toml");
    assert!(seconds_after(UNIT, "TimeoutStopSec=") > seconds_after(sample, "drain = \""));
}

#[test]
fn no_secret_stands_in_a_file_that_is_kept() {
    assert!(!COMPOSE_NODE.contains("secret = "));
    assert!(include_str!("../.gitignore").lines().any(|line| line == "/deploy/secrets"));
}

/// The names of weir's metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|name| name.starts_with("weir_")).collect()
}

/// The number of seconds that stands after `what`.
fn seconds_after(text: &str, what: &str) -> u32 {
    let (_, rest) = text.split_once(what).unwrap_or_else(|| panic!("no {what:?}"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number after {what:?}"))
}
