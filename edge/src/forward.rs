//! The fields of a request as the upstream gets them: what travels, what weir sets itself, and
//! what a fill must not carry from the one client that happened to start it.

use crate::host::is_authority;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use weir_config::Network;
use weir_rules::trace_context::{TRACEPARENT, TRACESTATE, TraceContext, is_tracestate};
use weir_rules::{fields, tier, vary};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What a request's own fields do not say about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// Whether the peer's own forwarding fields are believed.
    pub(crate) trusted: bool,
    /// `http` or `https`.
    pub(crate) scheme: &'a str,
    /// The host as the key has it.
    pub(crate) host: &'a str,
    /// This node's name.
    pub(crate) node: &'a str,
    /// What this node appends to Via.
    pub(crate) via: &'a HeaderValue,
}

/// The fields of an upstream request, as long as it waits. They are made when it is sent, so that a request that
/// waits for its turn holds no more than its client's.
#[derive(Clone, Default)]
pub(crate) struct Outgoing {
    base: Base,
    /// What is set after that, or removed.
    changes: Vec<(HeaderName, Option<HeaderValue>)>,
}

/// What the fields of an upstream request are made of.
#[derive(Clone, Default)]
enum Base {
    /// None.
    #[default]
    Empty,
    /// A client's request, as it is passed on.
    Client(Arc<Forwarded>),
}

/// A client's request that is passed on.
pub(crate) struct Forwarded {
    /// Its fields.
    pub(crate) client: Arc<HeaderMap>,
    /// Whether the response may be stored for others.
    pub(crate) for_fill: bool,
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// Whether the peer's own forwarding fields are believed.
    pub(crate) trusted: bool,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// This node's name.
    pub(crate) node: Arc<str>,
    /// What this node appends to Via.
    pub(crate) via: HeaderValue,
}

impl Outgoing {
    /// Those of a client's request that is passed on.
    pub(crate) fn of(forwarded: Forwarded) -> Self {
        Self { base: Base::Client(Arc::new(forwarded)), changes: Vec::new() }
    }

    /// Sets one, in place of all of this name.
    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.changes.push((name, Some(value)));
    }

    /// Removes all of a name.
    pub(crate) fn remove(&mut self, name: HeaderName) {
        self.changes.push((name, None));
    }

    /// The fields, of a request for this host.
    pub(crate) fn make(&self, host: Option<&HeaderValue>) -> HeaderMap {
        let mut headers = match &self.base {
            Base::Empty => HeaderMap::new(),
            Base::Client(forwarded) => {
                let origin = Origin {
                    peer: forwarded.peer,
                    trusted: forwarded.trusted,
                    scheme: forwarded.scheme,
                    host: host.and_then(|host| host.to_str().ok()).unwrap_or_default(),
                    node: &forwarded.node,
                    via: &forwarded.via,
                };
                match forwarded.for_fill {
                    true => for_fill(&forwarded.client, &origin),
                    false => for_pass(&forwarded.client, &origin),
                }
            }
        };
        for (name, value) in &self.changes {
            match value {
                Some(value) => drop(headers.insert(name, value.clone())),
                None => drop(headers.remove(name)),
            }
        }
        headers
    }
}

/// The fields of a request that is passed on for its client alone.
pub(crate) fn for_pass(client: &HeaderMap, origin: &Origin<'_>) -> HeaderMap {
    let mut headers = client.clone();
    // Read before the forwarding fields go: they are among those that origins believe.
    let chain = origin.trusted.then(|| joined(client, &X_FORWARDED_FOR)).flatten();
    let trailers = client.get(header::TE).is_some_and(accepts_trailers);
    fields::remove_hop_by_hop(&mut headers);
    let traced = client.contains_key(&TRACESTATE)
        && TraceContext::of(client).is_some()
        && is_tracestate(client);
    fields::remove_where(&mut headers, |name| {
        matches!(*name, header::HOST | header::EXPECT)
            // Each upstream request gets one of its own.
            || *name == TRACEPARENT
            || (*name == TRACESTATE && !traced)
            || fields::is_poisonous(name)
            || tier::is_own(name)
    });
    let peer = origin.peer.ip().to_canonical().to_string();
    let chain = chain.map_or(peer.clone(), |chain| format!("{chain}, {peer}"));
    set(&mut headers, &X_FORWARDED_FOR, &chain);
    set(&mut headers, &X_FORWARDED_HOST, origin.host);
    set(&mut headers, &X_FORWARDED_PROTO, origin.scheme);
    headers.append(header::VIA, origin.via.clone());
    // RFC 8586 §2: each CDN adds its identifier, the latest last.
    if let Ok(node) = HeaderValue::from_str(origin.node) {
        headers.append(&CDN_LOOP, node);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    headers
}

/// The fields of a request whose response may be stored for others: as passed on, less what
/// makes it this client's own (conditions, ranges, cache directives), and with Accept-Encoding
/// reduced to the bucket that the key of variants knows.
pub(crate) fn for_fill(client: &HeaderMap, origin: &Origin<'_>) -> HeaderMap {
    let mut headers = for_pass(client, origin);
    fields::remove_where(&mut headers, |name| {
        matches!(
            *name,
            header::IF_MATCH
                | header::IF_NONE_MATCH
                | header::IF_MODIFIED_SINCE
                | header::IF_UNMODIFIED_SINCE
                | header::IF_RANGE
                | header::RANGE
                | header::CACHE_CONTROL
                | header::PRAGMA
                | header::MAX_FORWARDS
        )
    });
    if let Some(bucket) = vary::accept_encoding_bucket(client) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(bucket));
    }
    headers
}

/// Names the host of a request to a parent, as its key has it.
pub(crate) fn name_host(headers: &mut Outgoing, host: &str) {
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.set(X_FORWARDED_HOST.clone(), host);
    }
}

/// Whether an address is in one of the networks.
pub(crate) fn contains(networks: &[Network], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(address))
}

/// Whether a request says that it was forwarded for a client (RFC 7239, X-Forwarded-For).
pub(crate) fn is_forwarded(request: &HeaderMap) -> bool {
    request.contains_key(&X_FORWARDED_FOR) || request.contains_key(header::FORWARDED)
}

/// The host that a node names whose word is believed.
pub(crate) fn forwarded_host(request: &HeaderMap) -> Option<String> {
    let host = request.get(&X_FORWARDED_HOST)?;
    is_authority(host.as_bytes()).then(|| host.to_str().ok().map(str::to_owned)).flatten()
}

fn set(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<&str> =
        headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn accepts_trailers(te: &HeaderValue) -> bool {
    te.to_str()
        .is_ok_and(|te| te.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn origin(trusted: bool) -> Origin<'static> {
        static VIA: HeaderValue = HeaderValue::from_static("1.1 edge-1");
        Origin {
            peer: "192.0.2.7:5000".parse().unwrap(),
            trusted,
            scheme: "https",
            host: "example.com",
            node: "edge-1",
            via: &VIA,
        }
    }

    #[test]
    fn a_stranger_cannot_say_whom_it_forwards_for() {
        let spoofed = client(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-host", "evil")]);
        let sent = for_pass(&spoofed, &origin(false));
        assert_eq!(sent["x-forwarded-for"], "192.0.2.7");
        assert_eq!(sent["x-forwarded-host"], "example.com");
        assert_eq!(sent["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_trusted_proxys_chain_is_continued() {
        let chain = client(&[("x-forwarded-for", "10.0.0.1")]);
        assert_eq!(for_pass(&chain, &origin(true))["x-forwarded-for"], "10.0.0.1, 192.0.2.7");
    }

    #[test]
    fn the_fields_of_nodes_are_taken_from_nobody_else() {
        let own = client(&tier::FIELDS.map(|name| (name, "9")));
        let sent = for_pass(&own, &origin(true));
        assert!(tier::FIELDS.iter().all(|name| !sent.contains_key(*name)));
    }

    #[test]
    fn a_tracestate_goes_on_only_with_a_place_in_a_trace() {
        let place = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let state = ("tracestate", "rojo=1");
        for (fields, kept) in [
            (vec![place, state], Some("rojo=1")),
            (vec![place, ("tracestate", "Rojo")], None),
            (vec![state], None),
            (vec![("traceparent", "00-1-1-01"), state], None),
        ] {
            let sent = for_fill(&client(&fields), &origin(false));
            let state = sent.get("tracestate").map(|state| state.to_str().unwrap());
            assert_eq!((state, sent.get("traceparent")), (kept, None), "{fields:?}");
        }
    }

    #[test]
    fn a_fill_carries_no_condition_and_no_range_of_its_starter() {
        let own = client(&[
            ("if-none-match", "\"a\""),
            ("range", "bytes=0-1"),
            ("if-range", "\"a\""),
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("accept-encoding", "gzip, deflate, br"),
            ("x-app", "1"),
        ]);
        let sent = for_fill(&own, &origin(false));
        for gone in ["if-none-match", "range", "if-range", "cache-control", "pragma"] {
            assert!(!sent.contains_key(gone), "{gone} went along");
        }
        assert_eq!(sent["x-app"], "1");
        assert_eq!(sent["cdn-loop"], "edge-1");
        assert_eq!(sent["via"], "1.1 edge-1");
    }
}
