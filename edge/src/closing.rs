//! The end of a request: counted, logged and exported once, when its last byte has gone or it broke
//! off.

use crate::access_log::{AccessLog, AccessRecord};
use crate::metrics::{Record, SiteSlot, WorkerMetrics};
use crate::source::Source;
use crate::trace::Trace;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use weir_rules::outcome::Outcome;

/// What access log and trace want of a request's head.
pub(crate) struct Head {
    method: Box<str>,
    host: Box<str>,
    target: Box<str>,
    protocol: &'static str,
    user_agent: Option<Box<[u8]>>,
    referer: Option<Box<[u8]>>,
}

impl Head {
    /// Copies it.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
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

/// One request's end, still to be counted.
pub(crate) struct End {
    /// The status sent.
    pub(crate) status: StatusCode,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// When its head arrived.
    pub(crate) begun: Instant,
    /// From then to the head of the answer.
    pub(crate) first_byte: Duration,
    /// Bytes of body sent.
    pub(crate) bytes: u64,
    /// The site that took it.
    pub(crate) site: SiteSlot,
    /// Bytes of body the client announced.
    pub(crate) bytes_in: u64,
    /// The digest of its key, where one was made.
    pub(crate) key_hash: Option<u128>,
    /// Whom the answer is from, where it is from another.
    pub(crate) source: Option<Arc<Source>>,
}

impl End {
    /// Counts the request, which took `total`.
    pub(crate) fn count(&self, metrics: &WorkerMetrics, total: Duration) {
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
    /// What is counted.
    pub(crate) end: End,
    /// Where.
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// What is noted beside it.
    pub(crate) noted: Option<Box<Noted>>,
}

/// A request that is logged, exported, or both.
pub(crate) struct Noted {
    /// Its head.
    pub(crate) head: Head,
    /// When that arrived.
    pub(crate) time: SystemTime,
    /// Its place in a trace.
    pub(crate) trace: Option<Trace>,
    /// Who sent it.
    pub(crate) peer: SocketAddr,
    /// `http` or `https`, on the client's connection.
    pub(crate) scheme: &'static str,
    /// The id of the site that took it, empty when none did.
    pub(crate) site: Arc<str>,
    /// Where it is logged.
    pub(crate) log: Arc<AccessLog>,
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
