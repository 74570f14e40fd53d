//! Writes the counts of all workers as Prometheus text (version 0.0.4). Every metric has its HELP
//! and TYPE; label values are escaped.

use crate::certificate::Certificate;
use crate::coding::CodingCounts;
use crate::disk::DiskCounts;
use crate::geo::GeoCounts;
use crate::memory::USES;
use crate::metrics::{
    ACCESS_SETTINGS, Event, Histogram, SiteCounters, SiteSlot, SiteSlots, UPSTREAM_ERRORS,
    WorkerMetrics,
};
use crate::purge::Held;
use crate::standing::FollowStatus;
use crate::trace::Counts;
use crate::upstream::MemberCounts;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use strum::VariantArray;
use weir_protocol::stats::{LATENCY_BUCKETS, RESULTS, latency_bound_micros};
use weir_rules::invalidation::IndexKind;

mod certificates;
mod compression;
mod disk;
mod geo;
mod members;

/// What is not counted by workers but read at the scrape.
#[derive(Clone, Debug)]
pub(crate) struct Gauges<'a> {
    /// The node's name.
    pub(crate) node: &'a str,
    /// Its region.
    pub(crate) region: &'a str,
    /// Its tier: `edge` or `parent`.
    pub(crate) tier: &'a str,
    /// Since the node started.
    pub(crate) uptime: Duration,
    /// Open client connections.
    pub(crate) connections_open: u64,
    /// Client connections taken since the start.
    pub(crate) connections_taken: u64,
    /// Client connections refused because of `limits.connections`, since the start.
    pub(crate) connections_refused: u64,
    /// Client connections refused because of their client prefix's share, since the start.
    pub(crate) connections_refused_for_share: u64,
    /// Idle client connections closed to take new ones.
    pub(crate) connections_closed_idle: u64,
    /// Fills running now.
    pub(crate) fills_running: u64,
    /// Bytes of everything outside the store.
    pub(crate) memory_used: u64,
    /// Those that it may have.
    pub(crate) memory_bound: u64,
    /// How often each [use](USES) of it was refused.
    pub(crate) memory_refused: [u64; USES.len()],
    /// Bytes of bodies on their way into the store.
    pub(crate) filling_bytes: u64,
    /// Bytes in memory that clients have not taken yet, of bodies that are not stored.
    pub(crate) read_ahead_bytes: u64,
    /// Such bytes in files.
    pub(crate) spool_bytes: u64,
    /// Bytes the memory store takes, overhead included.
    pub(crate) store_bytes: u64,
    /// Bytes it may take.
    pub(crate) store_bytes_limit: u64,
    /// Stored responses.
    pub(crate) store_objects: u64,
    /// Stored responses removed to make room, since the start.
    pub(crate) evictions: u64,
    /// What was compressed.
    pub(crate) coding: CodingCounts,
    /// What the disk store does, if there is one.
    pub(crate) disk: Option<DiskCounts>,
    /// Fetches of which nothing was stored, by reason, since the start.
    pub(crate) not_stored: Vec<(&'static str, u64)>,
    /// How the node stands with control.
    pub(crate) followed: &'a FollowStatus,
    /// Edges that follow control through this node, and those that were cut off.
    pub(crate) relay: (usize, u64),
    /// How it bears what is purged.
    pub(crate) purged: Purged,
    /// Access log lines dropped because its queue was full, since the start.
    pub(crate) log_lines_dropped: u64,
    /// What became of spans.
    pub(crate) spans: Counts,
    /// The members of all pools.
    pub(crate) members: Vec<MemberCounts>,
    /// How certificates stand.
    pub(crate) certificates: &'a [Certificate],
    /// How the database of countries stands, if there is one.
    pub(crate) geo: Option<GeoCounts>,
}

/// How the sweep and the index bear what is purged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purged {
    /// Purges that wait for the sweep.
    pub(crate) waiting: u64,
    /// Purges of which nobody will know what they took: too many came at once.
    pub(crate) uncounted: u64,
    /// The invalidation index.
    pub(crate) held: Held,
}

/// The exposition of `workers`.
pub(crate) fn render(
    workers: &[Arc<WorkerMetrics>],
    slots: &SiteSlots,
    gauges: &Gauges<'_>,
) -> String {
    let mut text = Text { out: String::with_capacity(16 * 1024) };
    node(&mut text, gauges);
    sites(&mut text, workers, slots, gauges.tier);
    latencies(&mut text, workers);
    events(&mut text, workers);
    access(&mut text, workers);
    fills(&mut text, gauges);
    connections(&mut text, gauges);
    upstream(&mut text, workers);
    members::members(&mut text, &gauges.members);
    store(&mut text, gauges);
    compression::compression(&mut text, &gauges.coding);
    if let Some(counts) = &gauges.disk {
        disk::disk(&mut text, counts);
    }
    not_stored(&mut text, &gauges.not_stored);
    following(&mut text, gauges.followed);
    relaying(&mut text, gauges.relay);
    purged(&mut text, &gauges.purged);
    traces(&mut text, &gauges.spans);
    certificates::certificates(&mut text, gauges.certificates);
    if let Some(counts) = &gauges.geo {
        geo::geo(&mut text, counts);
    }
    text.out
}

fn node(text: &mut Text, gauges: &Gauges<'_>) {
    let labels = [
        ("node", gauges.node),
        ("region", gauges.region),
        ("tier", gauges.tier),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    text.metric("weir_node_info", "gauge", "Always 1; the labels identify the node.");
    text.sample("weir_node_info", &labels, 1);
    text.metric("weir_uptime_seconds", "gauge", "Seconds since the node started.");
    text.sample("weir_uptime_seconds", &[], gauges.uptime.as_secs());
}

fn sites(text: &mut Text, workers: &[Arc<WorkerMetrics>], slots: &SiteSlots, tier: &str) {
    let labels = slots.labels();
    let sum = |slot: SiteSlot, count: &dyn Fn(&SiteCounters) -> u64| -> u64 {
        let counted = workers.iter().filter_map(|worker| worker.sites[slot.index()].get());
        counted.map(|site| count(site)).fold(0, u64::wrapping_add)
    };

    let name = "weir_requests_total";
    text.metric(
        name,
        "counter",
        "Finished requests by site (empty if no site matched), tier and cache result in the \
         words of RFC 9211. hit-stale is a stale hit; refused is an error before the lookup.",
    );
    for (slot, site) in &labels {
        for (at, result) in RESULTS.iter().enumerate() {
            let value = sum(*slot, &|counted| counted.results[at].value());
            if value > 0 || *result == "hit" {
                text.sample(name, &[("site", site), ("tier", tier), ("cache", result)], value);
            }
        }
    }

    let name = "weir_responses_total";
    text.metric(name, "counter", "Finished requests by site and class of the status sent.");
    for (slot, site) in &labels {
        for (at, class) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().enumerate() {
            let value = sum(*slot, &|counted| counted.classes[at + 1].value());
            text.sample(name, &[("site", site), ("class", class)], value);
        }
    }

    let name = "weir_client_received_bytes_total";
    text.metric(name, "counter", "Bytes of request bodies received from clients, by site.");
    for (slot, site) in &labels {
        text.sample(name, &[("site", site)], sum(*slot, &|counted| counted.bytes_in.value()));
    }

    let name = "weir_client_sent_bytes_total";
    text.metric(name, "counter", "Bytes of response bodies sent to clients, by site.");
    for (slot, site) in &labels {
        text.sample(name, &[("site", site)], sum(*slot, &|counted| counted.bytes_out.value()));
    }
}

fn latencies(text: &mut Text, workers: &[Arc<WorkerMetrics>]) {
    let of = |kind: usize, total: bool| {
        let sites = workers.iter().flat_map(|worker| worker.sites.iter().filter_map(OnceLock::get));
        sites.map(move |site| {
            let latency = &site.latency[kind];
            if total { &latency.total } else { &latency.first_byte }
        })
    };
    let name = "weir_request_duration_seconds";
    text.metric(
        name,
        "histogram",
        "Seconds from a request's head to the end of its response, for hits and for forwarded \
         requests.",
    );
    text.histogram(name, &[("cache", "hit")], of(0, true));
    text.histogram(name, &[("cache", "forwarded")], of(1, true));
    let name = "weir_first_byte_seconds";
    text.metric(
        name,
        "histogram",
        "Seconds from a request's head to the first byte of its response, for hits and for \
         forwarded requests.",
    );
    text.histogram(name, &[("cache", "hit")], of(0, false));
    text.histogram(name, &[("cache", "forwarded")], of(1, false));
}

fn events(text: &mut Text, workers: &[Arc<WorkerMetrics>]) {
    let sum = |at: usize| {
        workers.iter().map(|worker| worker.events[at].value()).fold(0, u64::wrapping_add)
    };
    for (at, (name, help)) in Event::METRICS.iter().enumerate() {
        text.metric(name, "counter", help);
        text.sample(name, &[], sum(at));
    }
}

fn fills(text: &mut Text, gauges: &Gauges<'_>) {
    let name = "weir_connection_memory_bytes";
    let help = "Memory used outside the store, in bytes: connections, requests in progress, uploads, and \
                bodies for slow clients.";
    text.metric(name, "gauge", help);
    text.sample(name, &[], gauges.memory_used);
    let name = "weir_connection_memory_limit_bytes";
    let help = "Memory that may be used outside the store (memory.connections), in bytes.";
    text.metric(name, "gauge", help);
    text.sample(name, &[], gauges.memory_bound);
    let name = "weir_connection_memory_refused_total";
    let help = "Refusals because memory.connections was used up, by use: connection, protocol (TLS, HTTP/2 \
                or an upgrade), stream, request, upload.";
    text.metric(name, "counter", help);
    for (what, value) in USES.iter().zip(gauges.memory_refused) {
        text.sample(name, &[("use", what)], value);
    }
    text.metric("weir_fills_running", "gauge", "Fills running now.");
    text.sample("weir_fills_running", &[], gauges.fills_running);
    let help = "Bytes of bodies that are being stored.";
    text.metric("weir_filling_bytes", "gauge", help);
    text.sample("weir_filling_bytes", &[], gauges.filling_bytes);
    let help = "Bytes in memory that clients have not taken yet, of bodies that are not stored.";
    text.metric("weir_read_ahead_bytes", "gauge", help);
    text.sample("weir_read_ahead_bytes", &[], gauges.read_ahead_bytes);
    let help = "Such bytes in files below spool.path.";
    text.metric("weir_spool_bytes", "gauge", help);
    text.sample("weir_spool_bytes", &[], gauges.spool_bytes);
}

fn connections(text: &mut Text, gauges: &Gauges<'_>) {
    text.metric("weir_connections_open", "gauge", "Open client connections.");
    text.sample("weir_connections_open", &[], gauges.connections_open);
    let name = "weir_connections_refused_total";
    let help = "Client connections refused because limits.connections was reached.";
    text.metric(name, "counter", help);
    text.sample(name, &[], gauges.connections_refused);
    let name = "weir_client_share_refused_connections_total";
    let help = "Client connections refused because their client prefix held too large a share of \
                limits.connections.";
    text.metric(name, "counter", help);
    text.sample(name, &[], gauges.connections_refused_for_share);
    let name = "weir_idle_connections_closed_total";
    let help = "Idle client connections closed to take new ones.";
    text.metric(name, "counter", help);
    text.sample(name, &[], gauges.connections_closed_idle);
    let name = "weir_connections_total";
    text.metric(name, "counter", "Accepted client connections, including those that are open.");
    text.sample(name, &[], gauges.connections_taken);
}

fn traces(text: &mut Text, spans: &Counts) {
    let name = "weir_trace_spans_exported_total";
    text.metric(name, "counter", "Spans accepted by the collector of log.otlp.");
    text.sample(name, &[], spans.exported);
    let name = "weir_trace_spans_dropped_total";
    text.metric(
        name,
        "counter",
        "Spans lost, by reason: queue-full (log.otlp_queue), export-failed (the collector did \
         not accept them), rejected (by the collector).",
    );
    for (why, value) in [
        ("queue-full", spans.crowded),
        ("export-failed", spans.failed),
        ("rejected", spans.rejected),
    ] {
        text.sample(name, &[("why", why)], value);
    }
}

fn access(text: &mut Text, workers: &[Arc<WorkerMetrics>]) {
    let name = "weir_access_refused_requests_total";
    text.metric(name, "counter", "Requests refused by an access setting of a site's rules.");
    for (at, setting) in ACCESS_SETTINGS.iter().enumerate() {
        let refused = workers.iter().map(|worker| worker.refused[at].value());
        text.sample(name, &[("setting", setting.word())], refused.fold(0, u64::wrapping_add));
    }
}

fn upstream(text: &mut Text, workers: &[Arc<WorkerMetrics>]) {
    let name = "weir_upstream_errors_total";
    text.metric(name, "counter", "Upstream requests that failed, by kind of failure.");
    for (at, kind) in UPSTREAM_ERRORS.iter().enumerate() {
        let failed = workers.iter().map(|worker| worker.upstream_errors[at].value());
        text.sample(name, &[("kind", kind)], failed.fold(0, u64::wrapping_add));
    }
    let name = "weir_upstream_received_bytes_total";
    text.metric(name, "counter", "Bytes of response bodies received from upstreams.");
    let bytes = workers.iter().map(|worker| worker.upstream_bytes.value());
    text.sample(name, &[], bytes.fold(0, u64::wrapping_add));
    let name = "weir_upstream_first_byte_seconds";
    let help = "Seconds from sending a request to an upstream to the head of its response.";
    text.metric(name, "histogram", help);
    text.histogram(name, &[], workers.iter().map(|worker| &worker.upstream_first_byte));
}

fn store(text: &mut Text, gauges: &Gauges<'_>) {
    text.singles(&[
        (
            "weir_store_bytes",
            "gauge",
            "Memory used by stored responses, including overhead, in bytes.",
            gauges.store_bytes,
        ),
        (
            "weir_store_limit_bytes",
            "gauge",
            "Memory that stored responses may use (memory.size), in bytes.",
            gauges.store_bytes_limit,
        ),
        ("weir_store_objects", "gauge", "Stored responses.", gauges.store_objects),
        (
            "weir_evictions_total",
            "counter",
            "Stored responses evicted to make room.",
            gauges.evictions,
        ),
        (
            "weir_access_log_dropped_lines_total",
            "counter",
            "Access log lines dropped because the log could not keep up.",
            gauges.log_lines_dropped,
        ),
    ]);
}

fn not_stored(text: &mut Text, counts: &[(&str, u64)]) {
    let name = "weir_not_stored_total";
    text.metric(
        name,
        "counter",
        "Fetched responses that were not stored, by reason; the same words as in explain and in \
         the detail of Cache-Status.",
    );
    for (reason, count) in counts {
        text.sample(name, &[("reason", reason)], *count);
    }
}

fn purged(text: &mut Text, purged: &Purged) {
    let held = &purged.held;
    text.singles(&[
        (
            "weir_sweep_waiting_purges",
            "gauge",
            "Applied purges for which the store has not been searched yet.",
            purged.waiting,
        ),
        (
            "weir_sweep_uncounted_purges_total",
            "counter",
            "Applied purges without a count of removed responses, because too many came at once.",
            purged.uncounted,
        ),
        ("weir_purge_index_targets", "gauge", "Targets in the invalidation index.", held.targets),
        (
            "weir_purge_floor_seq",
            "gauge",
            "Responses of at least one site fetched before the node applied this number are invalid; 0 \
             for none.",
            held.floor,
        ),
    ]);
    let name = "weir_purge_index_fullness_ratio";
    text.metric(
        name,
        "gauge",
        "How much of limits.purge_targets or limits.patterns is used up, by the site that has used up \
         most.",
    );
    text.series(name, &[]);
    let _ = writeln!(text.out, " {:.4}", held.fullness);
    let name = "weir_purge_floors_total";
    text.metric(
        name,
        "counter",
        "Times that purges of a site had to be forgotten before all it has stored was held against them, \
         by kind of target: what such a target could have taken is fetched again.",
    );
    for kind in IndexKind::VARIANTS {
        text.sample(name, &[("kind", kind.name())], held.floors[*kind as usize]);
    }
}

fn following(text: &mut Text, followed: &FollowStatus) {
    let behind = followed.head.saturating_sub(followed.applied);
    text.singles(&[
        (
            "weir_purge_applied_seq",
            "gauge",
            "The highest seq of the invalidation log that this node applied.",
            followed.applied,
        ),
        (
            "weir_purge_lag",
            "gauge",
            "Entries of the invalidation log that this node has not applied yet.",
            behind,
        ),
        (
            "weir_control_connected",
            "gauge",
            "1 while this node is connected to control, else 0.",
            followed.connected.into(),
        ),
        (
            "weir_control_refused",
            "gauge",
            "1 while control refuses this node, so that it is not ready and validates every \
             stored response, else 0.",
            followed.refusal.is_some().into(),
        ),
        (
            "weir_control_partitioned",
            "gauge",
            "1 while the node's lease (control.lease) is over, so that it may have missed \
             purges, else 0; always 0 with built-in control.",
            followed.partitioned.into(),
        ),
        (
            "weir_control_reconnects_total",
            "counter",
            "Reconnections to control.",
            followed.reconnects,
        ),
        (
            "weir_control_through_relay",
            "gauge",
            "1 while this node follows control through a parent, else 0.",
            followed.via.is_some().into(),
        ),
    ]);
}

fn relaying(text: &mut Text, (edges, dropped): (usize, u64)) {
    text.singles(&[
        ("weir_relay_edges", "gauge", "Edges that follow control through this node.", edges as u64),
        (
            "weir_relay_dropped_total",
            "counter",
            "Edges that were disconnected because more than control.relay_queue waited for them.",
            dropped,
        ),
    ]);
}

/// The exposition as it grows. Writing to a String cannot fail, so results are dropped.
struct Text {
    out: String,
}

impl Text {
    /// Metrics of one sample without labels: name, kind, help and value.
    fn singles(&mut self, metrics: &[(&str, &str, &str, u64)]) {
        for (name, kind, help, value) in metrics {
            self.metric(name, kind, help);
            self.sample(name, &[], *value);
        }
    }

    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.series(name, labels);
        let _ = writeln!(self.out, " {value}");
    }

    fn series(&mut self, name: &str, labels: &[(&str, &str)]) {
        self.out.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            for character in value.chars() {
                match character {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    plain => self.out.push(plain),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
    }

    fn histogram<'a>(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        histograms: impl Iterator<Item = &'a Histogram>,
    ) {
        let mut counts = [0u64; LATENCY_BUCKETS];
        let mut micros = 0u64;
        for histogram in histograms {
            for (sum, bucket) in counts.iter_mut().zip(&histogram.buckets) {
                *sum = sum.wrapping_add(bucket.value());
            }
            micros = micros.wrapping_add(histogram.sum_micros.value());
        }
        let bucket = format!("{name}_bucket");
        let mut cumulative = 0;
        for (at, count) in counts.iter().enumerate() {
            cumulative += count;
            let bound = latency_bound_micros(at).map_or_else(|| "+Inf".to_owned(), seconds);
            self.sample(&bucket, &[labels, &[("le", &*bound)]].concat(), cumulative);
        }
        self.series(&format!("{name}_sum"), labels);
        let _ = writeln!(self.out, " {}", seconds(micros));
        self.sample(&format!("{name}_count"), labels, cumulative);
    }
}

/// Microseconds as decimal seconds, exactly.
fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests;
