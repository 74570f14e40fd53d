//! The end of a request: counted and logged once, when its last byte has gone or it broke off.

use super::Spine;
use super::visit::Facts;
use crate::access_log::{AccessLog, AccessRecord};
use crate::body::ResponseBody;
use crate::metrics::{Event, Record, SiteSlot, WorkerMetrics};
use crate::server::Connection;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use weir_rules::outcome::Outcome;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What the access log wants of a request's head; taken only when the log is on.
pub(super) struct Entry {
    time: SystemTime,
    method: Box<str>,
    host: Box<str>,
    target: Box<str>,
    protocol: &'static str,
    user_agent: Option<Box<[u8]>>,
    referer: Option<Box<[u8]>>,
    traceparent: Option<Box<[u8]>>,
}

impl Entry {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        let host = request.uri().host().map(Box::from).or_else(|| {
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(Box::from)
        });
        Self {
            time: SystemTime::now(),
            method: Box::from(request.method().as_str()),
            host: host.unwrap_or_default(),
            target: request.uri().path_and_query().map_or("*", |target| target.as_str()).into(),
            protocol: match request.version() {
                http::Version::HTTP_10 => "HTTP/1.0",
                http::Version::HTTP_2 => "HTTP/2.0",
                _ => "HTTP/1.1",
            },
            user_agent: bytes(headers, &header::USER_AGENT),
            referer: bytes(headers, &header::REFERER),
            traceparent: bytes(headers, &TRACEPARENT),
        }
    }

    fn into_record(self, peer: SocketAddr, end: &End) -> AccessRecord {
        AccessRecord {
            time: self.time,
            peer,
            method: self.method,
            host: self.host,
            target: self.target,
            protocol: self.protocol,
            status: end.status,
            bytes: end.bytes,
            outcome: end.outcome.clone(),
            upstream: end.upstream,
            total: end.begun.elapsed(),
            user_agent: self.user_agent,
            referer: self.referer,
            traceparent: self.traceparent,
            key_hash: end.key_hash,
        }
    }
}

fn bytes(headers: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    headers.get(name).map(HeaderValue::as_bytes).map(Box::from)
}

/// What is known of a request when its head has been answered.
pub(super) struct Known {
    /// The site that took it.
    pub(super) site: SiteSlot,
    /// Bytes of body the client announced.
    pub(super) bytes_in: u64,
    /// The digest of its key, where one was made.
    pub(super) key_hash: Option<u128>,
    /// From the upstream request to the head of its answer.
    pub(super) upstream: Option<Duration>,
    /// Whether it came, or claimed to come, from a node that takes this one for its parent.
    pub(super) of_node: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { site: SiteSlot::NONE, bytes_in: 0, key_hash: None, upstream: None, of_node: false }
    }
}

/// One request's end, still to be counted.
struct End {
    status: StatusCode,
    outcome: Outcome,
    begun: Instant,
    first_byte: Duration,
    bytes: u64,
    site: SiteSlot,
    bytes_in: u64,
    key_hash: Option<u128>,
    upstream: Option<Duration>,
}

impl End {
    fn count(&self, metrics: &WorkerMetrics, total: Duration) {
        metrics.record(&Record {
            site: self.site,
            outcome: &self.outcome,
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes,
            first_byte: Some(self.first_byte),
            total,
        });
    }
}

/// Counts a request when it is dropped: with its body's last byte, or when that broke off.
pub(crate) struct Closing {
    end: End,
    metrics: Arc<WorkerMetrics>,
    log: Arc<AccessLog>,
    entry: Option<(Entry, SocketAddr)>,
}

impl Closing {
    /// Some bytes of the body went out.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.end.bytes += bytes;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.end.count(&self.metrics, self.end.begun.elapsed());
        if let Some((entry, peer)) = self.entry.take() {
            self.log.record(entry.into_record(peer, &self.end));
        }
    }
}

impl Spine {
    /// Counts and logs a request: at once where its whole answer is at hand, else with its end.
    pub(super) fn record(
        &self,
        connection: &Connection,
        response: Response<ResponseBody>,
        outcome: Outcome,
        known: Known,
        begun: Instant,
        entry: Option<Entry>,
    ) -> Response<ResponseBody> {
        if outcome.collapsed {
            self.metrics.count(Event::Collapsed);
        }
        if response.status() == StatusCode::SERVICE_UNAVAILABLE && outcome.fwd_status.is_none() {
            self.metrics.count(Event::Shed);
        }
        let end = End {
            status: response.status(),
            outcome,
            begun,
            first_byte: begun.elapsed(),
            bytes: response.body().at_hand().unwrap_or(0),
            site: known.site,
            bytes_in: known.bytes_in,
            key_hash: known.key_hash,
            upstream: known.upstream,
        };
        if entry.is_none() && response.body().at_hand().is_some() {
            end.count(&self.metrics, end.first_byte);
            return response;
        }
        let entry = entry.map(|entry| (entry, connection.peer()));
        let (metrics, log) = (Arc::clone(&self.metrics), Arc::clone(&self.log));
        let mut closing = Closing { end, metrics, log, entry };
        closing.end.bytes = 0;
        response.map(|body| body.closing_with(closing))
    }
}

/// Bytes of body that a request announces.
pub(super) fn announced<B>(request: &Request<B>, facts: &Facts) -> u64 {
    if !facts.body {
        return 0;
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0)
}
