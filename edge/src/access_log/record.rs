//! The record of one request. It is filled in from the request's head to the last byte of the
//! response; then the request is counted, logged and exported from it.
//!
//! A new field of the log is declared here, in [`RequestHead`] or [`RequestRecord`], and written in
//! `format.rs`.

use crate::error_page::Replacement;
use crate::memory::Charge;
use crate::metrics::SiteSlot;
use crate::source::Source;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version, header};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use weir_rules::outcome::Outcome;
use weir_rules::site_rules::MatchedRules;
use weir_rules::trace_context::TraceContext;

/// Whose a request is. Only what visitors cause counts as traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// A client's, or a node's that asks for its clients.
    #[default]
    Visitors,
    /// OPTIONS that the node answers itself, such as the probe of a node that has it as a parent; and the
    /// connection of an edge that follows control through it.
    Probe,
    /// The node's own, to warm its store or a parent's.
    WarmUp,
}

/// How one request went. Every request has one; none of its fields is copied from the request.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    /// When its head arrived.
    pub(crate) begun: Instant,
    /// Whose it is.
    pub(crate) traffic: Traffic,
    /// The site that it is for; [`SiteSlot::NONE`] if there is none.
    pub(crate) site: SiteSlot,
    /// Digest of the cache key, if the request got as far as having one.
    pub(crate) key_hash: Option<u128>,
    /// Bytes of body that the client announced.
    pub(crate) bytes_in: u64,
    /// Whether the response is for this client alone, by the access settings that it satisfied. Not logged.
    pub(crate) is_private: bool,
    /// How the cache handled it.
    pub(crate) outcome: Outcome,
    /// The upstream that the response is from; `None` if it is from the store or the node itself.
    pub(crate) source: Option<Arc<Source>>,
    /// The status sent.
    pub(crate) status: StatusCode,
    /// Bytes of body sent.
    pub(crate) bytes_out: u64,
    /// From the request's head to the head of the response.
    pub(crate) first_byte: Duration,
    /// From the request's head to the end of the response.
    pub(crate) total: Duration,
    /// Strict-Transport-Security, if it is to be sent. Not logged.
    pub(crate) hsts: Option<Arc<HeaderValue>>,
    /// The rules of the site that it matches, if the end of the request needs them.
    pub(crate) rules: Option<Box<MatchedRules>>,
    /// What an error page in place of the body needs of the request. Not logged.
    pub(crate) replacement: Option<Box<Replacement>>,
    /// What it has of `memory.connections` until it ends; `None` if it was answered at once. Not logged.
    pub(crate) memory: Option<Arc<Charge>>,
}

impl RequestRecord {
    /// The record of a request whose head arrived at `begun`.
    pub(crate) fn new(begun: Instant) -> Self {
        Self {
            begun,
            traffic: Traffic::Visitors,
            site: SiteSlot::NONE,
            key_hash: None,
            bytes_in: 0,
            is_private: false,
            outcome: Outcome::default(),
            source: None,
            status: StatusCode::OK,
            bytes_out: 0,
            first_byte: Duration::ZERO,
            total: Duration::ZERO,
            hsts: None,
            rules: None,
            replacement: None,
            memory: None,
        }
    }
}

/// What the access log and traces need of a request's head. Copied only if either is on.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    /// When it arrived.
    pub(crate) time: SystemTime,
    /// The client's address and port.
    pub(crate) peer: SocketAddr,
    /// `http` or `https`, on the client's connection.
    pub(crate) scheme: &'static str,
    /// The method.
    pub(crate) method: Box<str>,
    /// The host, as sent.
    pub(crate) host: Box<str>,
    /// The target, as sent.
    pub(crate) target: Box<str>,
    /// The protocol: `HTTP/1.1`, `HTTP/2.0`.
    pub(crate) protocol: &'static str,
    /// User-Agent.
    pub(crate) user_agent: Option<Box<[u8]>>,
    /// Referer.
    pub(crate) referer: Option<Box<[u8]>>,
    /// The request line, if the head was refused before there was a request: what else is here of it
    /// is then that of a stand-in.
    pub(crate) refused: Option<Box<[u8]>>,
    /// The request's place in a trace.
    pub(crate) trace: Option<TraceContext>,
}

impl RequestHead {
    /// Copies the head of a request from `peer`, on a connection that is `secure` if it uses TLS.
    pub(crate) fn of<B>(
        request: &Request<B>,
        peer: SocketAddr,
        secure: bool,
        trace: Option<TraceContext>,
    ) -> Self {
        let headers = request.headers();
        let host = request.uri().host().map(Box::from).or_else(|| {
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(Box::from)
        });
        Self {
            time: SystemTime::now(),
            peer,
            scheme: if secure { "https" } else { "http" },
            method: Box::from(request.method().as_str()),
            host: host.unwrap_or_default(),
            target: request.uri().path_and_query().map_or("*", |target| target.as_str()).into(),
            protocol: match request.version() {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_3 => "HTTP/3.0",
                _ => "HTTP/1.1",
            },
            user_agent: bytes(headers, &header::USER_AGENT),
            referer: bytes(headers, &header::REFERER),
            refused: None,
            trace,
        }
    }
}

fn bytes(headers: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    headers.get(name).map(HeaderValue::as_bytes).map(Box::from)
}

/// A finished request that is logged, exported to a collector, or both.
#[derive(Clone, Debug)]
pub(crate) struct LoggedRequest {
    /// Its head.
    pub(crate) head: RequestHead,
    /// How it went.
    pub(crate) record: RequestRecord,
    /// The id of its site, if it has one.
    pub(crate) site: Option<Arc<str>>,
}
