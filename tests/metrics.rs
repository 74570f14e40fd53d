//! What alerts, dashboard and guides ask for, held against what is exposed.

mod program;

use program::{ADMIN_TOKEN, Folder, TextFile, Weir};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const ALERTS: &str = include_str!("../deploy/prometheus/weir-alerts.yml");
const PROMETHEUS: &str = include_str!("../deploy/prometheus/prometheus.yml");
const DASHBOARD: &str = include_str!("../deploy/grafana/dashboards/weir.json");
const PROVIDER: &str = include_str!("../deploy/grafana/provisioning/dashboards/weir.yml");
const OBSERVABILITY: &str = include_str!("../docs/observability.md");
const TUNING: &str = include_str!("../docs/tuning.md");
const DISK: &str = include_str!("../docs/disk.md");
const HIGH_AVAILABILITY: &str = include_str!("../docs/high-availability.md");

/// Control over a log in etcd, where there is none.
const SHARED: &str = "[control]\nlog = \"etcd\"\n[control.etcd]\nendpoints = [\"http://127.0.0.1:9\"]\n\
                      [[token]]\nname = \"me\"\nsecret = \"aaaaaaaaaaaaaaaa\"\nscopes = [\"read\"]\n";

/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["instance", "job"];

/// Every series' name with its labels, of a node with a disk store that has just failed to reach its origin.
struct Exposed(BTreeMap<String, BTreeSet<String>>, String);

impl Exposed {
    fn scrape(of: &str) -> Self {
        let folders = ["log", "disk", "certificates"];
        let [log, disk, certificates] = folders.map(|what| Folder::new(&format!("{of}-{what}")));
        let config = format!(
            "[control]\ndata = {:?}\n[disk]\npath = {:?}\nsize = \"64MiB\"\n\
             [tls]\nlisten = \"127.0.0.1:0\"\n\
             [tls.acme]\ndirectory = \"https://127.0.0.1:9/\"\nstate = {:?}\n\
             secret = \"control-orders-and-its-node-receives\"\n\
             [[site]]\nid = \"default\"\norigins = [\"http://127.0.0.1:9\"]\n\
             [[site]]\nid = \"secure\"\nhosts = [\"secure.test\"]\ntls = \"auto\"\n\
             origins = [\"http://127.0.0.1:9\"]\n",
            log.path(),
            disk.path(),
            certificates.path()
        );
        let config = TextFile::new("metrics.toml", &config);
        let weir = Weir::serve(&["--config", config.path()]);
        assert_eq!(weir.get("/a").status, 502);
        let mut text = weir.call("GET /metrics", &[("Host", "localhost")], "").body;
        // Of control that shares its log, which it says whether or not etcd is there.
        let shared = TextFile::new(&format!("metrics-{of}-control.toml"), SHARED);
        let shared = Weir::control_at("127.0.0.1:0", &shared);
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let fields = [("Host", "control"), ("Authorization", bearer.as_str())];
        text.push_str(&shared.call("GET /metrics", &fields, "").body);
        let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for sample in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = sample.rsplit_once(' ').expect("a sample");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            // Label values hold no `="` here.
            let labels = labels.split("=\"").filter_map(|part| part.rsplit([',', '"']).next());
            let known = metrics.entry(name.to_owned()).or_default();
            known.extend(labels.filter(|label| *label != "}").map(str::to_owned));
        }
        Self(metrics, text)
    }

    /// Whether a name is that of a series, or of a histogram.
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name) || self.0.contains_key(&format!("{name}_bucket"))
    }

    /// Holds a query against the series; returns every label that its result may have.
    fn check(&self, query: &str) -> BTreeSet<String> {
        let mut labels: BTreeSet<String> = ADDED.map(str::to_owned).into();
        for (at, _) in query.match_indices("weir_") {
            let rest = &query[at..];
            let (name, rest) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            let known = self.0.get(name).unwrap_or_else(|| panic!("no {name}: {query}"));
            let asked = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            for matcher in asked.map(|(asked, _)| matchers(asked)).unwrap_or_default() {
                let label = matcher.split(|c| !is_word(c)).next().unwrap_or_default();
                let added = ADDED.contains(&label);
                assert!(added || known.contains(label), "{name} has no {label}: {query}");
            }
            labels.extend(known.iter().cloned());
        }
        for list in query.split("by (").skip(1) {
            let (list, _) = list.split_once(')').expect("a closed list");
            for label in list.split(',').map(str::trim) {
                assert!(labels.contains(label), "no label {label}: {query}");
            }
        }
        labels
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `a="b"` and `c=~"d|e"` of what stands in braces.
fn matchers(text: &str) -> Vec<&str> {
    let (mut found, mut quoted, mut begin) = (Vec::new(), false, 0);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                found.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[begin..].trim());
    found.retain(|matcher| !matcher.is_empty());
    found
}

/// The names of weir's metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|c| !is_word(c)).filter(|name| name.starts_with("weir_")).collect()
}

/// The labels in `{{label}}` and `{{ $labels.label }}`; not `{{ $value }}`.
fn templated(text: &str) -> Vec<&str> {
    let inner = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let labels = inner.map(|inner| inner.trim().trim_start_matches("$labels."));
    labels.filter(|label| !label.starts_with('$')).collect()
}

#[test]
fn what_the_guides_name_is_exposed() {
    let exposed = Exposed::scrape("guides");
    for (file, text) in [
        ("docs/observability.md", OBSERVABILITY),
        ("docs/tuning.md", TUNING),
        ("docs/disk.md", DISK),
        ("docs/high-availability.md", HIGH_AVAILABILITY),
    ] {
        let named = named(text);
        assert!(named.len() >= 3, "{file}: {named:?}");
        for name in named {
            assert!(exposed.has(name), "{file} names {name}");
        }
    }
    for series in [
        "weir_responses_total{site=\"default\",class=\"5xx\"} 1",
        "weir_requests_total{site=\"default\",tier=\"edge\",cache=\"hit\"} 0",
        "weir_upstream_errors_total{kind=\"origin-connect\"} 1",
        "weir_upstream_errors_total{kind=\"client\"} 0",
    ] {
        assert!(exposed.1.lines().any(|line| line == series), "{series}\n{}", exposed.1);
    }
}

#[test]
fn alerts_ask_for_what_is_exposed() {
    let exposed = Exposed::scrape("alerts");
    let rules: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    assert!(rules.len() >= 15, "{}", rules.len());
    for rule in rules {
        let (name, rest) = rule.split_once('\n').expect("more lines");
        let (_, rest) = rest.split_once("expr: ").unwrap_or_else(|| panic!("{name}: no query"));
        let end = [" for: ", " labels: "].iter().filter_map(|key| rest.find(key)).min();
        let (query, told) = rest.split_at(end.unwrap_or_else(|| panic!("{name}: no labels")));
        let labels = exposed.check(query);
        for label in templated(told) {
            assert!(labels.contains(label), "{name}: no label {label}");
        }
        assert!(told.contains("severity: page") || told.contains("severity: ticket"), "{name}");
        assert!(told.contains("summary: "), "{name}");
    }
    assert!(PROMETHEUS.contains("rule_files: [weir-alerts.yml]"));
    assert!(PROMETHEUS.contains("job_name: weir\n") && ALERTS.contains("up{job=\"weir\"}"));
}

#[test]
fn the_dashboard_asks_for_what_is_exposed() {
    let exposed = Exposed::scrape("dashboard");
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut queries = 0;
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let labels = exposed.check(target["expr"].as_str().expect("a query"));
            for label in templated(target["legendFormat"].as_str().unwrap_or_default()) {
                assert!(labels.contains(label), "{title}: no label {label}");
            }
            queries += 1;
        }
    }
    assert!(queries >= 50, "{queries}");
    for list in ["templating", "annotations"] {
        for one in dashboard[list]["list"].as_array().expect("a list") {
            exposed.check(one["expr"].as_str().unwrap_or_default());
            let query = one["definition"].as_str().unwrap_or("label_values(weir_node_info, node)");
            let (metric, label) = query["label_values(".len()..]
                .trim_end_matches(')')
                .split_once(", ")
                .expect("a metric and a label");
            let labels = exposed.check(metric);
            assert!(labels.contains(label), "{query}");
        }
    }
}

#[test]
fn the_dashboard_can_be_loaded_as_it_is() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "two panels have one id: {}", panel["title"]);
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    assert!(PROVIDER.contains("path: /etc/grafana/dashboards\n"));
}
