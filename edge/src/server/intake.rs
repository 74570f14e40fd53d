//! From a request as hyper parsed it to what the spine works with: one host, path and query,
//! however the client wrote them. Where errors of the request's meaning (not of its framing) are
//! found, for HTTP/1 and HTTP/2 alike.

use super::connection::Connection;
use crate::error::ClientError;
use crate::host::Authority;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderName, MAX_FORWARDS};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use std::borrow::Cow;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// Methods by which clients of other caches purge. An origin that answers them with 200 would let
/// those clients believe that something was purged.
const PURGE_METHODS: [&str; 9] = [
    "BAN",
    "FULLBAN",
    "BANTAGS",
    "PURGEKEYS",
    "PURGETAGS",
    "PURGEALL",
    "SOFTPURGE",
    "SOFTPURGEKEYS",
    "XKEYPURGE",
];
/// Longest method passed on; none registered has more than 17 bytes.
const METHOD_BYTES: usize = 64;

/// What a request's connection and node say about it.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// The connection; `None` judges the request by itself, in the clear.
    pub(crate) connection: Option<&'a Connection>,
    /// This node's name, by which CDN-Loop knows it.
    pub(crate) node: &'a str,
    /// `limits.body_bytes`.
    pub(crate) body_bytes: u64,
}

/// A request, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intake<'a> {
    /// `http` or `https`: how the client connected.
    pub(crate) scheme: &'static str,
    /// Lower case, without trailing dot and default port: for the key.
    pub(crate) host: Cow<'a, str>,
    /// Absolute path as sent; `*` only with [`LocalAnswer::Options`].
    pub(crate) path: &'a str,
    /// Query without `?`, as sent; `Some("")` for a bare `?`.
    pub(crate) query: Option<&'a str>,
    /// Max-Forwards to send upstream, one less than received (OPTIONS only).
    pub(crate) max_forwards: Option<u32>,
    /// Answered by the node itself, when set.
    pub(crate) local: Option<LocalAnswer>,
}

impl Intake<'_> {
    /// The host without its port: what sites are told apart by.
    pub(crate) fn host_name(&self) -> &str {
        match self.host.rfind(':') {
            Some(at) if !self.host.ends_with(']') => &self.host[..at],
            _ => &self.host,
        }
    }
}

/// Requests that the node itself answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalAnswer {
    /// OPTIONS for the node (`*`), or with Max-Forwards: 0: 204 with Allow.
    Options,
}

/// Understands `request`. Allocates only when the host is not in its usual spelling.
///
/// Errors: 400 Host or target, 405 CONNECT and TRACE, 413 Content-Length, 421 misdirected,
/// 501 over-long method, 508 loop.
pub(crate) fn intake<'a, B>(
    request: &'a Request<B>,
    arrival: &Arrival<'_>,
) -> Result<Intake<'a>, ClientError> {
    check_method(request.method())?;
    let secure = arrival.connection.is_some_and(Connection::tls);
    let host = host(request, arrival, secure)?;
    let uri = request.uri();
    let path = uri.path();
    let mut local = None;
    let mut max_forwards = None;
    let options = request.method() == Method::OPTIONS;
    if options {
        max_forwards = forwards_left(request.headers())?;
        // RFC 9110 §9.3.7, §7.6.2
        if path == "*" || max_forwards == Some(0) {
            local = Some(LocalAnswer::Options);
        }
    }
    let asterisk = options && path == "*";
    if !asterisk && !path.starts_with('/') {
        return Err(bad_target("The target is a path that begins with `/`, or a URL."));
    }
    check_loop(request.headers(), arrival.node)?;
    // The guard did this for HTTP/1.
    if request.version() >= Version::HTTP_2 || arrival.connection.is_none() {
        check_length(request.headers(), arrival.body_bytes)?;
        if let Some(connection) = arrival.connection {
            check_count(request.headers(), connection.worker.limits().header_fields)?;
        }
    }
    let intake = Intake {
        scheme: if secure { "https" } else { "http" },
        host,
        path,
        query: uri.query(),
        max_forwards: max_forwards.map(|left| left.saturating_sub(1)),
        local,
    };
    if let Some(connection) = arrival.connection
        && secure
        && connection.misdirected(intake.host_name())
    {
        return Err(ClientError::refused(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "The connection was made for another host name; connect again for this one.",
        ));
    }
    Ok(intake)
}

/// Spells the target as keys and origins get it. The guard did this for HTTP/1.
pub(crate) fn spell_target<B>(request: &mut Request<B>) {
    if request.version() < Version::HTTP_2 {
        return;
    }
    let target = request.uri().path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    let Some(spelled) = weir_rules::target::spelled(target.as_bytes()) else { return };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    // What is percent-encoded is valid.
    parts.path_and_query = PathAndQuery::try_from(spelled).ok();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

fn check_method(method: &Method) -> Result<(), ClientError> {
    match *method {
        // The connection closes: a client that asked for a tunnel may send anything next.
        Method::CONNECT => Err(ClientError::closing(
            StatusCode::METHOD_NOT_ALLOWED,
            "connect",
            "CONNECT is not supported.",
        )),
        // RFC 9110 §9.3.8: it would show a client what others' proxies added.
        Method::TRACE => Err(ClientError::refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "trace",
            "TRACE is not supported.",
        )),
        _ if PURGE_METHODS.contains(&method.as_str()) => Err(ClientError::refused(
            StatusCode::NOT_IMPLEMENTED,
            "purge-method",
            "This method of other caches is not supported; use PURGE for one URL, or POST /v1/purges \
             or weir purge for tags, prefixes and paths with *.",
        )),
        _ if method.as_str().len() > METHOD_BYTES => Err(ClientError::refused(
            StatusCode::NOT_IMPLEMENTED,
            "method-too-long",
            "A method has at most 64 bytes.",
        )),
        _ => Ok(()),
    }
}

/// The one host the request is for (RFC 9110 §7.1, §7.2).
fn host<'a, B>(
    request: &'a Request<B>,
    arrival: &Arrival<'_>,
    secure: bool,
) -> Result<Cow<'a, str>, ClientError> {
    let default_port = if secure { 443 } else { 80 };
    let headers = request.headers();
    let repeated = headers.len() > headers.keys_len();
    if repeated && headers.get_all(HOST).iter().count() > 1 {
        return Err(bad_host("Host must be given once."));
    }
    let field = match headers.get(HOST) {
        Some(value) => Some(known_or_canonical(value.as_bytes(), arrival, default_port)?),
        None => None,
    };
    let Some(authority) = request.uri().authority() else {
        return match field {
            Some(host) => Ok(host),
            None if request.version() <= Version::HTTP_10 => Ok(own_host(arrival, default_port)),
            None => Err(bad_host("The request has no host.")),
        };
    };
    check_scheme(request, secure)?;
    let named = canonical(authority.as_str().as_bytes(), default_port)?;
    match field {
        // RFC 9113 §8.3.1. In HTTP/1 the target decides, and the next server gets its host as Host
        // (RFC 9112 §3.2.2).
        Some(field) if field != named && request.version() >= Version::HTTP_2 => {
            Err(bad_host("Host and the authority of the target differ."))
        }
        None if request.version() == Version::HTTP_11 => Err(bad_host("Host is missing.")),
        _ => Ok(named),
    }
}

/// Like [`canonical`], and remembers the usual case for the connection's next request.
fn known_or_canonical<'a>(
    text: &'a [u8],
    arrival: &Arrival<'_>,
    default_port: u16,
) -> Result<Cow<'a, str>, ClientError> {
    let Some(connection) = arrival.connection else { return canonical(text, default_port) };
    let known = connection.known_host.get().of(text);
    if let Some(host) = known.and_then(|length| str::from_utf8(&text[..length]).ok()) {
        return Ok(Cow::Borrowed(host));
    }
    let host = canonical(text, default_port)?;
    if let Cow::Borrowed(beginning) = host {
        let mut known = connection.known_host.get();
        known.set(text, beginning.len());
        connection.known_host.set(known);
    }
    Ok(host)
}

fn canonical(text: &[u8], default_port: u16) -> Result<Cow<'_, str>, ClientError> {
    match Authority::parse(text) {
        Some(authority) => Ok(authority.canonical(default_port)),
        None => Err(bad_host("The host must be a name or an address, and may have a port.")),
    }
}

/// What a client of HTTP/1.0 that names no host can only mean: the address it connected to.
fn own_host(arrival: &Arrival<'_>, default_port: u16) -> Cow<'static, str> {
    match arrival.connection.map(Connection::local) {
        Some(local) if local.port() == default_port && local.is_ipv4() => {
            Cow::Owned(local.ip().to_string())
        }
        Some(local) if local.port() == default_port => Cow::Owned(format!("[{}]", local.ip())),
        Some(local) => Cow::Owned(local.to_string()),
        None => Cow::Borrowed("localhost"),
    }
}

/// The key's scheme is how the client connected. HTTP/2 clients may be gateways that write
/// another; absolute targets of HTTP/1 have to be http or https.
fn check_scheme<B>(request: &Request<B>, secure: bool) -> Result<(), ClientError> {
    match request.uri().scheme_str() {
        Some("http") if !secure || request.version() < Version::HTTP_2 => Ok(()),
        Some("https") => Ok(()),
        Some("http") => Err(bad_target("The scheme is http on a connection that is https.")),
        _ => Err(bad_target("The target's scheme must be http or https.")),
    }
}

/// RFC 9110 §7.6.2
fn forwards_left(headers: &HeaderMap) -> Result<Option<u32>, ClientError> {
    let mut values = headers.get_all(MAX_FORWARDS).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(MAX_FORWARDS) {
            true => Err(bad_forwards()),
            false => Ok(None),
        };
    };
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad_forwards());
    }
    // More than fits is as good as the most that fits.
    let left = digits
        .iter()
        .fold(0u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    Ok(Some(left))
}

fn bad_forwards() -> ClientError {
    ClientError::refused(
        StatusCode::BAD_REQUEST,
        "bad-max-forwards",
        "Max-Forwards is one decimal number.",
    )
}

/// RFC 8586 §2: our own name among the CDNs that have handled the request is a loop.
fn check_loop(headers: &HeaderMap, node: &str) -> Result<(), ClientError> {
    for value in headers.get_all(CDN_LOOP) {
        let looped = value.as_bytes().split(|&byte| byte == b',').any(|member| {
            let name = member.split(|&byte| byte == b';').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(node.as_bytes())
        });
        if looped {
            return Err(ClientError::refused(
                StatusCode::LOOP_DETECTED,
                "loop",
                "This node has handled the request before: its upstream leads back to it.",
            ));
        }
    }
    Ok(())
}

/// A Cookie header counts once, in however many lines HTTP/2 sends it (RFC 9113 §8.2.3).
fn check_count(headers: &HeaderMap, most: usize) -> Result<(), ClientError> {
    let further_cookies = headers.get_all(COOKIE).iter().count().saturating_sub(1);
    match headers.len() - further_cookies <= most {
        true => Ok(()),
        // Only the stream ends: where the next request begins is certain.
        false => Err(ClientError { closes: false, ..super::head::too_many_fields() }),
    }
}

/// RFC 9110 §8.6
fn check_length(headers: &HeaderMap, most: u64) -> Result<(), ClientError> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(()) };
    let length = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    match length {
        Some(length) if length <= most => Ok(()),
        Some(_) => Err(super::head::body_too_large()),
        None => Err(ClientError::closing(
            StatusCode::BAD_REQUEST,
            "bad-length",
            "Content-Length is one decimal number.",
        )),
    }
}

fn bad_host(message: &'static str) -> ClientError {
    ClientError::refused(StatusCode::BAD_REQUEST, "bad-host", message)
}

fn bad_target(message: &'static str) -> ClientError {
    ClientError::refused(StatusCode::BAD_REQUEST, "bad-target", message)
}
