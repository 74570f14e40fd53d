//! The end of a request: counted and logged once, when its last byte has gone or it broke off.

use super::Spine;
use super::visit::Facts;
use crate::access_log::{AccessLog, AccessRecord};
use crate::body::ResponseBody;
use crate::metrics::{Event, Record, SiteSlot, WorkerMetrics};
use crate::server::Connection;
use crate::source::Source;
use crate::trace::Trace;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use weir_rules::outcome::Outcome;

/// What access log and trace want of a request's head; taken only where either is on.
pub(super) struct Entry {
    time: SystemTime,
    /// `None` of a request that is neither logged nor exported.
    head: Option<Head>,
    trace: Option<Trace>,
}

struct Head {
    method: Box<str>,
    host: Box<str>,
    target: Box<str>,
    protocol: &'static str,
    user_agent: Option<Box<[u8]>>,
    referer: Option<Box<[u8]>>,
}

impl Entry {
    /// Its place in a trace.
    pub(super) fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }
}

impl Head {
    fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        let host = request.uri().host().map(Box::from).or_else(|| {
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(Box::from)
        });
        Self {
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
    /// Whom the answer is from, where it is from another.
    pub(super) source: Option<Arc<Source>>,
    /// Whether it came, or claimed to come, from a node that takes this one for its parent.
    pub(super) of_node: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { site: SiteSlot::NONE, bytes_in: 0, key_hash: None, source: None, of_node: false }
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
    source: Option<Arc<Source>>,
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
    noted: Option<Box<Noted>>,
}

/// A request that is logged, exported, or both.
struct Noted {
    head: Head,
    time: SystemTime,
    trace: Option<Trace>,
    peer: SocketAddr,
    scheme: &'static str,
    site: Arc<str>,
    log: Arc<AccessLog>,
}

impl Noted {
    fn end(self, end: &mut End) {
        let Self { head, time, trace, peer, scheme, site, log } = self;
        let record = AccessRecord {
            time,
            peer,
            scheme,
            method: head.method,
            host: head.host,
            target: head.target,
            protocol: head.protocol,
            status: end.status,
            bytes: end.bytes,
            site,
            outcome: end.outcome.clone(),
            source: end.source.take(),
            first_byte: end.first_byte,
            total: end.begun.elapsed(),
            user_agent: head.user_agent,
            referer: head.referer,
            trace: trace.as_ref().map(|trace| trace.place.context),
            key_hash: end.key_hash,
        };
        if log.is_on() {
            log.record(record.clone());
        }
        if let Some(trace) = trace {
            trace.served(record);
        }
    }
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
        if let Some(noted) = self.noted.take() {
            noted.end(&mut self.end);
        }
    }
}

impl Spine {
    /// What is wanted of a request's head.
    #[inline(never)]
    pub(super) fn entry<B>(&self, request: &Request<B>) -> Box<Entry> {
        let trace = self.tracer.place(request.headers());
        let wanted = self.log.is_on() || trace.as_ref().is_some_and(Trace::is_exported);
        let head = wanted.then(|| Head::of(request));
        Box::new(Entry { time: SystemTime::now(), head, trace })
    }

    /// Counts and logs a request: at once where its whole answer is at hand, else with its end.
    pub(super) fn record(
        &self,
        connection: &Connection,
        response: Response<ResponseBody>,
        outcome: Outcome,
        known: Known,
        begun: Instant,
        entry: Option<Box<Entry>>,
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
            source: known.source,
        };
        let noted = entry.and_then(|entry| self.noted(*entry, connection, end.site));
        if noted.is_none() && response.body().at_hand().is_some() {
            end.count(&self.metrics, end.first_byte);
            return response;
        }
        let mut closing = Closing { end, metrics: Arc::clone(&self.metrics), noted };
        closing.end.bytes = 0;
        response.map(|body| body.closing_with(closing))
    }

    #[inline(never)]
    fn noted(&self, entry: Entry, connection: &Connection, site: SiteSlot) -> Option<Box<Noted>> {
        Some(Box::new(Noted {
            head: entry.head?,
            time: entry.time,
            trace: entry.trace,
            peer: connection.peer(),
            scheme: if connection.tls() { "https" } else { "http" },
            site: self.state.slots.label(site),
            log: Arc::clone(&self.log),
        }))
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
