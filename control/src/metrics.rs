//! What control counts, as Prometheus text.

use crate::control::Control;
use crate::ledger::{NodeState, Propagation};
use crate::process::Process;
use std::fmt::Write;
use std::time::Instant;

/// Of Prometheus text.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of the calls on the admin address, which every process has.
pub(super) fn exposition_of_calls(process: &Process) -> String {
    let mut text = Text(String::new());
    for (name, help, value) in [
        (
            "weir_admin_failed_authentications_total",
            "Calls of the admin address whose token, or origin without one, was refused.",
            process.attempts.failed(),
        ),
        (
            "weir_admin_throttled_authentications_total",
            "Those of them that were refused because their address had failed too often.",
            process.attempts.throttled(),
        ),
    ] {
        text.metric(name, "counter", help);
        text.sample(name, &[], value);
    }
    text.0
}

/// The metrics of control.
pub(super) fn exposition(control: &Control) -> String {
    let mut text = Text(String::new());
    let counts = control.ledger.counts();
    for (name, kind, help, value) in [
        (
            "weir_control_log_head",
            "gauge",
            "Sequence number of the last entry of the invalidation log.",
            control.ledger.head(),
        ),
        ("weir_control_log_listed", "gauge", "Entries in the purge history.", counts.listed as u64),
        (
            "weir_control_log_bytes",
            "gauge",
            "Memory used by the purge history, in bytes.",
            counts.bytes as u64,
        ),
        (
            "weir_control_log_limit_bytes",
            "gauge",
            "Memory that entries of the purge history may use (control.retention_bytes), in bytes.",
            control.config().control.retention_bytes as u64,
        ),
        (
            "weir_control_history_bytes",
            "gauge",
            "Memory that the traffic history uses at most (bound: control.history), in bytes.",
            control.history.bytes() as u64,
        ),
        (
            "weir_control_log_forgotten_total",
            "counter",
            "Entries removed from the purge history.",
            counts.forgotten,
        ),
        (
            "weir_control_disks_outrun",
            "gauge",
            "Expected nodes whose disk store would be empty after a restart, because the log no longer \
             reaches back to what they have checked.",
            counts.outrun as u64,
        ),
        (
            "weir_control_log_waiting",
            "gauge",
            "Purges and releases waiting to be written to the journal.",
            counts.waiting as u64,
        ),
        (
            "weir_control_log_incomplete",
            "gauge",
            "Entries that at least one expected node has not applied yet.",
            counts.incomplete as u64,
        ),
        (
            "weir_control_journal_commits_total",
            "counter",
            "Batches written to the journal.",
            counts.commits,
        ),
        (
            "weir_control_journal_failures_total",
            "counter",
            "Batches that could not be written to the journal; their callers got 503.",
            counts.failures,
        ),
        (
            "weir_control_calls_shed_total",
            "counter",
            "Calls refused because too many were in progress.",
            control.process.shed(),
        ),
    ] {
        text.metric(name, kind, help);
        text.sample(name, &[], value);
    }
    nodes(&mut text, control);
    certificates(&mut text, control);
    propagation(&mut text, &counts.propagation);
    text.0
}

/// What control orders for edges. Where its node orders for itself, the node tells.
fn certificates(text: &mut Text, control: &Control) {
    if !control.certificates.orders() {
        return;
    }
    let listed = control.certificates.listed();
    for (name, help) in [
        (
            "weir_control_certificate_expires_seconds",
            "When the certificate that control has for a name expires, in seconds since the Unix epoch; 0 while \
             there is none.",
        ),
        (
            "weir_control_certificate_order_failures",
            "Failed orders for the certificate of a name since the last one was issued.",
        ),
        (
            "weir_control_certificates_unrevoked",
            "Certificates of a name that were replaced by a rotation and are still to be revoked.",
        ),
    ] {
        text.metric(name, "gauge", help);
        for one in &listed {
            let value = match name {
                "weir_control_certificate_expires_seconds" => one.expires.unwrap_or(0),
                "weir_control_certificate_order_failures" => one.failures.into(),
                _ => one.unrevoked.into(),
            };
            text.sample(name, &[("name", &one.name)], value);
        }
    }
}

fn nodes(text: &mut Text, control: &Control) {
    let nodes = control.ledger.nodes(Instant::now());
    let name = "weir_control_nodes";
    text.metric(
        name,
        "gauge",
        "Expected nodes by state: connected, silent (not heard for the lease) or offline.",
    );
    for state in [NodeState::Connected, NodeState::Silent, NodeState::Offline] {
        let count = nodes.iter().filter(|node| node.state == state).count();
        text.sample(name, &[("state", state.as_str())], count as u64);
    }
    let name = "weir_control_nodes_limit";
    text.metric(name, "gauge", "Nodes that may be expected (control.nodes).");
    text.sample(name, &[], control.config().control.nodes as u64);
    let name = "weir_control_nodes_unproven";
    text.metric(
        name,
        "gauge",
        "Expected nodes that have shown no secret: any process may take their name.",
    );
    text.sample(name, &[], nodes.iter().filter(|node| !node.is_proven).count() as u64);
    let name = "weir_control_nodes_relayed";
    text.metric(name, "gauge", "Nodes that are connected through a parent.");
    text.sample(name, &[], nodes.iter().filter(|node| node.via.is_some()).count() as u64);
    let name = "weir_control_joins_refused_total";
    text.metric(name, "counter", "Nodes that were refused, by reason.");
    for (reason, count) in control.refused_joins.counts() {
        text.sample(name, &[("reason", reason)], count);
    }
    let name = "weir_control_node_lag";
    text.metric(name, "gauge", "Entries of the log that an expected node has not applied.");
    for node in &nodes {
        let labels =
            [("node", node.name.as_str()), ("tier", node.tier.as_str()), ("region", &node.region)];
        text.sample(name, &labels, node.lag);
    }
}

fn propagation(text: &mut Text, propagation: &Propagation) {
    let name = "weir_control_purge_propagation_seconds";
    text.metric(
        name,
        "histogram",
        "Seconds from the acceptance of an entry to its acknowledgement, for each node.",
    );
    let bucket = format!("{name}_bucket");
    for (bound, count) in propagation.buckets() {
        text.sample(&bucket, &[("le", &bound.to_string())], count);
    }
    text.sample(&bucket, &[("le", "+Inf")], propagation.count);
    let _ = writeln!(text.0, "{name}_sum {}", propagation.sum);
    text.sample(&format!("{name}_count"), &[], propagation.count);
}

/// The exposition as it grows. Writing to a String cannot fail, so results are dropped. Label
/// values are tokens of RFC 9110, which need no escape.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn into_string(self) -> String {
        self.0
    }

    pub(crate) fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}
