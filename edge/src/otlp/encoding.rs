//! Spans in the words of OTLP and of OpenTelemetry's semantic conventions for HTTP. What is weir's
//! own begins with `weir.`.

use crate::access_log::LoggedRequest;
use crate::host::without_port;
use crate::trace::{Finished, Hopped, SpanPlace};
use http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Code;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_config as config;

/// Methods that stand in a span's name; others are the client's invention.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// Who exports.
pub(super) fn resource(node: &config::Node) -> Resource {
    let mut of = Attributes::default();
    of.text("service.name", "weir");
    of.text("service.instance.id", &node.name);
    of.text("service.version", env!("CARGO_PKG_VERSION"));
    of.text("weir.tier", node.tier.as_str());
    of.text("weir.region", &node.region);
    Resource { attributes: of.0, ..Resource::default() }
}

/// The message that carries these spans.
pub(super) fn request(
    resource: &Resource,
    spans: impl Iterator<Item = Finished>,
) -> ExportTraceServiceRequest {
    let spans = spans.map(|span| match span {
        Finished::Served(place, logged) => served(place, &logged),
        Finished::Hopped(place, hopped) => hop(place, &hopped),
    });
    let scope = InstrumentationScope {
        name: "weir".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let scope_spans =
        ScopeSpans { scope: Some(scope), spans: spans.collect(), ..ScopeSpans::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// A request that this node answered.
fn served(place: SpanPlace, logged: &LoggedRequest) -> Span {
    let LoggedRequest { head, record, site } = logged;
    let outcome = &record.outcome;
    let mut of = Attributes::default();
    of.method(&head.method);
    of.text("url.scheme", head.scheme);
    let (path, query) = split(&head.target);
    of.text("url.path", path);
    of.optional("url.query", query);
    of.address(&head.host);
    of.text("client.address", &head.peer.ip().to_string());
    of.text("network.peer.address", &head.peer.ip().to_string());
    of.number("network.peer.port", head.peer.port().into());
    of.text("network.protocol.version", version(head.protocol));
    let agent = head.user_agent.as_deref().map(String::from_utf8_lossy);
    of.optional("user_agent.original", agent.as_deref());
    of.number("http.response.status_code", record.status.as_u16().into());
    of.number("http.response.body.size", record.bytes_out as i64);
    of.optional("weir.site", site.as_deref());
    of.text("weir.cache", outcome.handling.word());
    of.flag("weir.cache.stored", outcome.stored);
    of.flag("weir.cache.collapsed", outcome.collapsed);
    of.optional("weir.cache.detail", outcome.detail);
    if let Some(ttl) = outcome.ttl {
        of.number("weir.cache.ttl", ttl);
    }
    if let Some(status) = outcome.fwd_status {
        of.number("weir.cache.fwd_status", status.as_u16().into());
    }
    if let Some(key) = record.key_hash {
        of.text("weir.cache.key", &format!("{key:032x}"));
    }
    of.optional("weir.upstream", record.source.as_ref().map(|source| &*source.member));
    let failed = record.status.is_server_error();
    // The detail says why this node failed, or else why what came was not stored.
    let why = outcome.detail.filter(|_| failed && outcome.fwd_status.is_none());
    if failed {
        of.text("error.type", why.unwrap_or(record.status.as_str()));
    }
    let mut span = span(place, SpanKind::Server, &head.method, head.time, record.total);
    span.attributes = of.0;
    span.status = status(failed, why);
    span
}

/// A request that this node sent.
fn hop(place: SpanPlace, hopped: &Hopped) -> Span {
    let Hopped { scheme, authority, target, .. } = hopped;
    let mut of = Attributes::default();
    of.method(hopped.method.as_str());
    of.text("url.full", &format!("{scheme}://{authority}{target}"));
    of.address(authority.as_str());
    of.text("weir.pool", &hopped.pool);
    if let Some(status) = hopped.status {
        of.number("http.response.status_code", status.as_u16().into());
        of.number("http.response.body.size", hopped.bytes as i64);
    }
    let refused = hopped.status.filter(|s| s.is_client_error() || s.is_server_error());
    let error = hopped.error.or(refused.as_ref().map(StatusCode::as_str));
    of.optional("error.type", error);
    let method = hopped.method.as_str();
    let mut span = span(place, SpanKind::Client, method, hopped.begun, hopped.lasted);
    span.attributes = of.0;
    span.status = status(error.is_some(), hopped.error);
    span
}

fn span(
    place: SpanPlace,
    kind: SpanKind,
    method: &str,
    begun: SystemTime,
    lasted: Duration,
) -> Span {
    let context = place.context;
    // The span that a request names is always another program's.
    let remote = match (kind, place.parent) {
        (SpanKind::Server, Some(_)) => SpanFlags::ContextIsRemoteMask as u32,
        _ => 0,
    };
    Span {
        trace_id: context.trace_id.to_be_bytes().to_vec(),
        span_id: context.span_id.to_be_bytes().to_vec(),
        parent_span_id: place.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: u32::from(context.flags) | SpanFlags::ContextHasIsRemoteMask as u32 | remote,
        name: if METHODS.contains(&method) { method } else { "HTTP" }.into(),
        kind: kind as i32,
        start_time_unix_nano: nanos(begun),
        end_time_unix_nano: nanos(begun + lasted),
        ..Span::default()
    }
}

fn status(failed: bool, why: Option<&str>) -> Option<Status> {
    let message = why.unwrap_or_default().to_owned();
    failed.then_some(Status { message, code: Code::Error as i32 })
}

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// Path and query of a target.
fn split(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// `HTTP/1.1` as `1.1`, `HTTP/2.0` as `2`.
fn version(protocol: &str) -> &str {
    let version = protocol.trim_start_matches("HTTP/");
    if version == "2.0" { "2" } else { version }
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn add(&mut self, key: &str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.into(), value, ..KeyValue::default() });
    }

    fn text(&mut self, key: &str, value: &str) {
        self.add(key, Value::StringValue(value.into()));
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: &str, value: i64) {
        self.add(key, Value::IntValue(value));
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.add(key, Value::BoolValue(value));
    }

    fn method(&mut self, method: &str) {
        if METHODS.contains(&method) {
            return self.text("http.request.method", method);
        }
        self.text("http.request.method", "_OTHER");
        self.text("http.request.method_original", method);
    }

    /// `server.address` and `server.port` of a host with or without one.
    fn address(&mut self, authority: &str) {
        let host = without_port(authority);
        let port = authority[host.len()..].strip_prefix(':').and_then(|port| port.parse().ok());
        self.optional("server.address", Some(host).filter(|host| !host.is_empty()));
        if let Some(port) = port {
            self.number("server.port", port);
        }
    }
}
