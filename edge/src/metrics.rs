//! What a node counts. Each worker counts into its own [`WorkerMetrics`]; a scrape adds them up
//! and writes Prometheus text ([`crate::exposition`]).
//!
//! Invariant: only the worker's own thread writes into its `WorkerMetrics`. A count is therefore a
//! plain load, add and store of an atomic, never a contended read-modify-write, and a scrape on
//! another thread reads values that are whole, if a moment apart. A second writer would lose
//! counts, nothing worse.
//!
//! Name, unit and meaning stand beside each metric: for events below, for the rest in
//! [`crate::exposition`].

mod stats;

pub(crate) use stats::{counted, counted_of, counted_of_others, up_to_last};

use crate::error::UpstreamError;
use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use weir_protocol::stats::{LATENCY_BOUNDS, LATENCY_BUCKETS, RESULTS};
use weir_rules::outcome::{Handling, Outcome};
use weir_rules::site_rules::Setting;

/// Places for sites: one for no site, one (`(other)`) shared by all that find no place of their
/// own. Every [`SiteSlot`] has one.
pub(crate) const SITES: usize = 1 << u8::BITS;

/// The label of those that share one.
const OTHER_SITES: &str = "(other)";

/// A number that one thread raises and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// What it is raised to.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Defines [`Event`] with the metric that each event is counted in.
macro_rules! events {
    ($($event:ident: $name:literal, $help:literal;)*) => {
        /// Something that is counted by itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Event { $(#[doc = concat!("`", $name, "`: ", $help)] $event,)* }

        impl Event {
            /// Metric name and help of each event, in the order of the variants.
            pub(crate) const METRICS: &[(&str, &str)] = &[$(($name, $help)),*];
        }
    };
}

events! {
    Fill: "weir_fills_total",
        "Fills started, including background refreshes and validations.";
    Collapsed: "weir_collapsed_requests_total",
        "Requests collapsed into the fill of another request.";
    EarlyRefresh: "weir_early_refreshes_total",
        "Background refreshes of responses that were still fresh; also counted as fills.";
    HitForMiss: "weir_hit_for_miss_total",
        "Requests not collapsed because their URL is known to be uncacheable.";
    CookieBypass: "weir_cookie_bypasses_total",
        "Requests that skipped the store because of a cookie (cookies.bypass).";
    Compressed: "weir_compressed_responses_total",
        "Responses sent in a form that this node compressed.";
    Decompressed: "weir_decompressed_responses_total",
        "Responses decompressed for a client that takes no compressed ones.";
    ErrorPageFailed: "weir_error_pages_failed_total",
        "Errors sent without their error page because that could not be fetched.";
    Shed: "weir_shed_requests_total",
        "Requests answered with 503 because a limit of this node was reached, whoever sent them.";
    ClientShare: "weir_client_share_refused_requests_total",
        "Requests not sent to an upstream because their client prefix held too large a share of \
         limits.origin_queue.";
    ParentPassed: "weir_parents_passed_total",
        "Requests sent elsewhere because a parent failed or could not vouch for its response.";
    UpstreamRequest: "weir_upstream_requests_total",
        "Requests sent to an upstream, including each retry.";
    UpstreamRetry: "weir_upstream_retries_total",
        "Retries of requests that a member of a pool did not answer.";
    RetryBudgetExhausted: "weir_upstream_retry_budget_exhausted_total",
        "Retries not made because the site's retry budget was exhausted.";
    SlowClientShed: "weir_slow_clients_shed_total",
        "Responses cut because their client was slow while others waited for the upstream.";
    Probe: "weir_probes_total",
        "Probes answered (OPTIONS for the node itself); not among the requests.";
    WarmUp: "weir_warm_up_requests_total",
        "Requests of the node to itself to warm its store or a parent's; not among the requests.";
}

/// Kinds of upstream errors: the words of [`UpstreamError::word`], and one for those that are the
/// client's own.
pub(crate) const UPSTREAM_ERRORS: [&str; 14] = [
    "origin-connect",
    "origin-connect-timeout",
    "origin-first-byte-timeout",
    "origin-idle-timeout",
    "origin-bad-head",
    "origin-bad-body",
    "origin-busy",
    "no-parent",
    "loop",
    "client",
    "origin-total-timeout",
    "origin-head-too-large",
    "origin-reset",
    "client-share",
];

/// The settings of site rules that refuse requests.
pub(crate) const ACCESS_SETTINGS: [Setting; 6] = [
    Setting::Allow,
    Setting::Deny,
    Setting::Referer,
    Setting::Signed,
    Setting::Rate,
    Setting::BasicAuth,
];

/// Which of [`UPSTREAM_ERRORS`] an error is.
pub(crate) fn upstream_error_index(error: &UpstreamError) -> usize {
    match error {
        UpstreamError::Connect(_) => 0,
        UpstreamError::ConnectTimeout => 1,
        UpstreamError::FirstByteTimeout => 2,
        UpstreamError::IdleTimeout => 3,
        UpstreamError::BadHead(_) => 4,
        UpstreamError::BadBody(_) => 5,
        UpstreamError::Busy => 6,
        UpstreamError::NoParent => 7,
        UpstreamError::Loop => 8,
        UpstreamError::Client(_) => 9,
        UpstreamError::TotalTimeout => 10,
        UpstreamError::HeadTooLarge => 11,
        UpstreamError::Reset(_) => 12,
        UpstreamError::ClientShare => 13,
    }
}

/// The first so many of them are hits.
const HITS: usize = 2;

/// Which of [`RESULTS`] an outcome is.
pub(crate) fn result_index(outcome: &Outcome) -> usize {
    match outcome.handling {
        Handling::Hit if outcome.ttl.is_some_and(|ttl| ttl < 0) => 1,
        Handling::Hit => 0,
        Handling::Bypass => 2,
        Handling::Method => 3,
        Handling::UriMiss => 4,
        Handling::VaryMiss => 5,
        Handling::Miss => 6,
        Handling::Request => 7,
        // A stale response that stands in for an origin in trouble says which.
        Handling::Stale if outcome.detail.is_some() && outcome.ttl.is_some_and(|ttl| ttl < 0) => 12,
        Handling::Stale => 8,
        Handling::Partial => 9,
        Handling::Refused => 10,
        Handling::Undecided => 11,
    }
}

/// A finished request, as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestMetrics<'a> {
    /// The site that took it; [`SiteSlot::NONE`] when no site did.
    pub(crate) site: SiteSlot,
    /// What became of it.
    pub(crate) outcome: &'a Outcome,
    /// The status sent to the client.
    pub(crate) status: StatusCode,
    /// Bytes of body received from the client.
    pub(crate) bytes_in: u64,
    /// Bytes of body sent to the client.
    pub(crate) bytes_out: u64,
    /// From the request's head to the first byte of the answer, where one was sent.
    pub(crate) first_byte: Option<Duration>,
    /// From the request's head to the end of the answer.
    pub(crate) total: Duration,
}

/// What one worker counted since it started.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    /// By [`SiteSlot::index`]; of sites that had a request.
    pub(crate) sites: [OnceLock<Box<SiteCounters>>; SITES],
    /// By [`Event`].
    pub(crate) events: [Counter; Event::METRICS.len()],
    /// By [`ACCESS_SETTINGS`].
    pub(crate) refused: [Counter; ACCESS_SETTINGS.len()],
    /// By [`upstream_error_index`].
    pub(crate) upstream_errors: [Counter; UPSTREAM_ERRORS.len()],
    /// Bytes of body received from upstreams.
    pub(crate) upstream_bytes: Counter,
    /// From a request to an upstream to the head of its answer.
    pub(crate) upstream_first_byte: Histogram,
}

/// Latencies of hits, or of everything that was forwarded.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// To the end of the answer.
    pub(crate) total: Histogram,
    /// To the head of the answer.
    pub(crate) first_byte: Histogram,
}

/// What is counted of one site.
#[derive(Debug, Default)]
pub(crate) struct SiteCounters {
    /// By [`result_index`].
    pub(crate) results: [Counter; RESULTS.len()],
    /// By the status's hundreds; 16 places, so that any index of four bits has one.
    pub(crate) classes: [Counter; 16],
    /// Bytes of body received from clients.
    pub(crate) bytes_in: Counter,
    /// Bytes of body sent to clients.
    pub(crate) bytes_out: Counter,
    /// Of them, those of hits.
    pub(crate) bytes_saved: Counter,
    /// Requests collapsed into the fill of another request.
    pub(crate) collapsed: Counter,
    /// Requests sent to an upstream.
    pub(crate) upstream_requests: Counter,
    /// Of them, those sent to origins.
    pub(crate) origin_requests: Counter,
    /// Requests that no upstream answered.
    pub(crate) upstream_errors: Counter,
    /// Of hits, and of what was forwarded.
    pub(crate) latency: [Latency; 2],
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            sites: std::array::from_fn(|_| OnceLock::new()),
            events: Default::default(),
            refused: Default::default(),
            upstream_errors: Default::default(),
            upstream_bytes: Counter::default(),
            upstream_first_byte: Histogram::default(),
        }
    }
}

impl WorkerMetrics {
    /// Counts a finished request: about ten additions, and no allocation after a site's first.
    pub(crate) fn record(&self, record: &RequestMetrics<'_>) {
        let site = self.site(record.site);
        site.results[result_index(record.outcome)].add(1);
        site.classes[usize::from(record.status.as_u16() / 100) & 15].add(1);
        site.bytes_in.add(record.bytes_in);
        site.bytes_out.add(record.bytes_out);
        let latency = match record.outcome.handling {
            Handling::Hit => {
                site.bytes_saved.add(record.bytes_out);
                &site.latency[0]
            }
            // Neither from store nor from upstream: its time would blur both.
            Handling::Refused | Handling::Undecided => return,
            _ => &site.latency[1],
        };
        latency.total.observe(record.total);
        if let Some(first_byte) = record.first_byte {
            latency.first_byte.observe(first_byte);
        }
    }

    fn site(&self, site: SiteSlot) -> &SiteCounters {
        self.sites[site.index()].get_or_init(Box::default)
    }

    /// Counts a request that was collapsed into the fill of another.
    pub(crate) fn collapsed(&self, site: SiteSlot) {
        self.count(Event::Collapsed);
        self.site(site).collapsed.add(1);
    }

    /// Counts a request that is sent to an upstream: to an origin, or to a parent.
    pub(crate) fn upstream_request(&self, site: SiteSlot, to_origin: bool) {
        self.count(Event::UpstreamRequest);
        let site = self.site(site);
        site.upstream_requests.add(1);
        if to_origin {
            site.origin_requests.add(1);
        }
    }

    /// Counts one event.
    pub(crate) fn count(&self, event: Event) {
        self.events[event as usize].add(1);
    }

    /// Counts a request that an access setting refuses.
    pub(crate) fn refused(&self, setting: Setting) {
        if let Some(at) = ACCESS_SETTINGS.iter().position(|counted| *counted == setting) {
            self.refused[at].add(1);
        }
    }

    /// Counts a failed upstream request by its kind.
    pub(crate) fn upstream_error(&self, site: SiteSlot, error: &UpstreamError) {
        self.upstream_errors[upstream_error_index(error)].add(1);
        self.site(site).upstream_errors.add(1);
    }

    /// Counts bytes of body received from upstreams.
    pub(crate) fn upstream_bytes(&self, bytes: u64) {
        self.upstream_bytes.add(bytes);
    }

    /// Counts how long the head of an upstream's answer took.
    pub(crate) fn upstream_first_byte(&self, waited: Duration) {
        self.upstream_first_byte.observe(waited);
    }
}

/// Durations by the buckets of [`latency_bound_micros`](weir_protocol::stats::latency_bound_micros).
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// How many durations fell into each bucket.
    pub(crate) buckets: [Counter; LATENCY_BUCKETS],
    /// The sum of all, in microseconds.
    pub(crate) sum_micros: Counter,
}

impl Histogram {
    fn observe(&self, duration: Duration) {
        self.buckets[latency_bucket(duration)].add(1);
        self.sum_micros.add(micros(duration));
    }
}

/// A duration in microseconds: a difference of two readings of a clock, far from the end of u64.
fn micros(duration: Duration) -> u64 {
    let micros = duration.as_secs().wrapping_mul(1_000_000);
    micros.wrapping_add(u64::from(duration.subsec_micros()))
}

/// The bucket that a duration falls into ([`weir_protocol::stats::latency_bound_micros`]).
pub(crate) fn latency_bucket(duration: Duration) -> usize {
    // The doublings of 16 that reach it; the four low bits all belong to the first bucket.
    let doublings = (micros(duration).saturating_sub(1) | 15).ilog2() - 3;
    (doublings as usize).min(LATENCY_BOUNDS)
}

/// Which place in [`WorkerMetrics`] a site is counted at. Resolved once per configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SiteSlot(u8);

impl SiteSlot {
    /// For requests that no site took.
    pub(crate) const NONE: SiteSlot = SiteSlot(0);
    /// For sites beyond the bound.
    const OTHER: SiteSlot = SiteSlot(u8::MAX);

    /// Its index in [`WorkerMetrics::sites`].
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Whether one site has it alone.
    pub(crate) fn is_own(self) -> bool {
        self != Self::NONE && self != Self::OTHER
    }
}

/// The slot of each site id. A slot is never given to another id, so that counts survive a reload
/// that adds, removes or reorders sites.
#[derive(Debug, Default)]
pub(crate) struct SiteSlots {
    /// The id of slot 1, of slot 2, ...
    ids: Mutex<Vec<Arc<str>>>,
}

impl SiteSlots {
    /// The slot of the site `id`.
    pub(crate) fn slot(&self, id: &str) -> SiteSlot {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ids.iter().position(|known| &**known == id);
        let at = known.unwrap_or(ids.len());
        if at + 1 >= usize::from(SiteSlot::OTHER.0) {
            return SiteSlot::OTHER;
        }
        if known.is_none() {
            ids.push(Arc::from(id));
        }
        SiteSlot(at as u8 + 1)
    }

    /// The label of a slot: empty for no site.
    pub(crate) fn label(&self, slot: SiteSlot) -> Arc<str> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        match slot {
            SiteSlot::NONE => "".into(),
            SiteSlot::OTHER => OTHER_SITES.into(),
            SiteSlot(n) => ids.get(usize::from(n) - 1).cloned().unwrap_or_default(),
        }
    }

    /// The label of each slot in use: empty for no site.
    pub(crate) fn labels(&self) -> Vec<(SiteSlot, Arc<str>)> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let named = ids.iter().enumerate().map(|(at, id)| (SiteSlot(at as u8 + 1), id.clone()));
        let rest = [(SiteSlot::NONE, "".into()), (SiteSlot::OTHER, OTHER_SITES.into())];
        named.chain(rest).collect()
    }
}
