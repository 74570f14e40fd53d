//! The fields of a request as the upstream gets them: what travels, what weir sets itself, and
//! what a fill must not carry from the one client that happened to start it.

use crate::host::is_authority;
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_config::Network;
use weir_rules::trace_context::{TRACEPARENT, TRACESTATE, TraceContext, is_tracestate};
use weir_rules::{fields, tier, vary};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Fields that are added to a request on its way.
const ADDED: usize = 8;

/// What a request's own fields do not say about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// The address of who connected.
    pub(crate) peer: &'a HeaderValue,
    /// Whether the peer's own forwarding fields are believed.
    pub(crate) trusted: bool,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The host as the key has it.
    pub(crate) host: Option<&'a HeaderValue>,
    /// This node's name.
    pub(crate) node: &'a HeaderValue,
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

/// The fields of a client's request, for all that wait with it.
///
/// As they were read, their values are parts of a buffer of the client's connection: that stays as long as one of them
/// does. So those of a request that waits for long are replaced by [compact] ones.
#[derive(Clone)]
pub(crate) struct ClientFields(Arc<Mutex<Arc<HeaderMap>>>);

impl ClientFields {
    /// These, until they are replaced.
    pub(crate) fn new(fields: Arc<HeaderMap>) -> Self {
        Self(Arc::new(Mutex::new(fields)))
    }

    /// The fields.
    pub(crate) fn get(&self) -> Arc<HeaderMap> {
        Arc::clone(&self.lock())
    }

    /// Puts others in their place, which say the same.
    pub(crate) fn replace(&self, fields: Arc<HeaderMap>) {
        *self.lock() = fields;
    }

    fn lock(&self) -> MutexGuard<'_, Arc<HeaderMap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same fields, with their values in one allocation that has just their size.
pub(crate) fn compact(fields: &HeaderMap) -> HeaderMap {
    let mut values = BytesMut::with_capacity(fields.values().map(HeaderValue::len).sum());
    fields.values().for_each(|value| values.extend_from_slice(value.as_bytes()));
    let mut values = values.freeze();
    let mut compact = HeaderMap::with_capacity(fields.keys_len());
    for (name, value) in fields {
        // It is valid, as it was before.
        if let Ok(mut same) = HeaderValue::from_maybe_shared(values.split_to(value.len())) {
            same.set_sensitive(value.is_sensitive());
            compact.append(name.clone(), same);
        }
    }
    compact
}

/// A client's request that is passed on.
pub(crate) struct Forwarded {
    /// Its fields.
    pub(crate) client: ClientFields,
    /// Whether the response may be stored for others.
    pub(crate) for_fill: bool,
    /// The address of who connected.
    pub(crate) peer: HeaderValue,
    /// Whether the peer's own forwarding fields are believed.
    pub(crate) trusted: bool,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// This node's name.
    pub(crate) node: HeaderValue,
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
                    peer: &forwarded.peer,
                    trusted: forwarded.trusted,
                    scheme: forwarded.scheme,
                    host,
                    node: &forwarded.node,
                    via: &forwarded.via,
                };
                let client = forwarded.client.get();
                match forwarded.for_fill {
                    true => for_fill(&client, &origin),
                    false => for_pass(&client, &origin),
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
    passed_on(client, origin, |_| true)
}

/// The fields of a request whose response may be stored for others: as passed on, less what
/// makes it this client's own (conditions, ranges, cache directives), and with Accept-Encoding
/// reduced to the bucket that the key of variants knows.
pub(crate) fn for_fill(client: &HeaderMap, origin: &Origin<'_>) -> HeaderMap {
    let is_for_all = |name: &HeaderName| {
        !matches!(
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
    };
    let mut headers = passed_on(client, origin, is_for_all);
    if let Some(bucket) = vary::accept_encoding_bucket(client) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(bucket));
    }
    headers
}

/// The fields of a client that go on, of those that are `wanted`, and those that are added on the way.
fn passed_on(
    client: &HeaderMap,
    origin: &Origin<'_>,
    wanted: impl Fn(&HeaderName) -> bool,
) -> HeaderMap {
    // Those who forwarded it, where they are believed: the origin gets no other such field.
    let chain = origin.trusted.then(|| joined(client, &X_FORWARDED_FOR)).flatten();
    let traced = client.contains_key(&TRACESTATE)
        && TraceContext::of(client).is_some()
        && is_tracestate(client);
    let is_for_one_hop = fields::for_one_hop(client);
    let goes_on = |name: &HeaderName| {
        wanted(name)
            && !is_for_one_hop(name)
            && !matches!(*name, header::HOST | header::EXPECT)
            // Each upstream request gets one of its own.
            && *name != TRACEPARENT
            && (traced || *name != TRACESTATE)
            && !fields::is_poisonous(name)
            && !tier::is_own(name)
    };
    let mut headers = HeaderMap::with_capacity(client.keys_len() + ADDED);
    for (name, value) in client.iter().filter(|(name, _)| goes_on(name)) {
        headers.append(name, value.clone());
    }
    let forwarded_for = match (chain, origin.peer.to_str()) {
        (Some(chain), Ok(peer)) => HeaderValue::try_from(format!("{chain}, {peer}")).ok(),
        _ => None,
    };
    headers.insert(&X_FORWARDED_FOR, forwarded_for.unwrap_or_else(|| origin.peer.clone()));
    if let Some(host) = origin.host {
        headers.insert(&X_FORWARDED_HOST, host.clone());
    }
    headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(origin.scheme));
    headers.append(header::VIA, origin.via.clone());
    // RFC 8586 §2: each CDN adds its identifier, the latest last.
    headers.append(&CDN_LOOP, origin.node.clone());
    if client.get(header::TE).is_some_and(accepts_trailers) {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
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
    use bytes::Bytes;

    fn client(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn origin(trusted: bool) -> Origin<'static> {
        static VIA: HeaderValue = HeaderValue::from_static("1.1 edge-1");
        static HOST: HeaderValue = HeaderValue::from_static("example.com");
        static NODE: HeaderValue = HeaderValue::from_static("edge-1");
        static PEER: HeaderValue = HeaderValue::from_static("192.0.2.7");
        Origin { peer: &PEER, trusted, scheme: "https", host: Some(&HOST), node: &NODE, via: &VIA }
    }

    #[test]
    fn compact_fields_are_the_same_and_let_go_of_the_buffer_that_they_came_in() {
        let buffer = Bytes::from(b"one, two; three".to_vec());
        let mut fields = HeaderMap::new();
        for (name, part) in [("accept", 0..3), ("cookie", 5..8), ("cookie", 10..15), ("te", 0..0)] {
            let value = HeaderValue::from_maybe_shared(buffer.slice(part)).unwrap();
            fields.append(HeaderName::from_static(name), value);
        }
        fields.get_mut("accept").unwrap().set_sensitive(true);
        let same = compact(&fields);
        assert_eq!(same, fields);
        assert!(same["accept"].is_sensitive() && !same["cookie"].is_sensitive());
        let shared = ClientFields::new(Arc::new(fields));
        shared.clone().replace(Arc::new(same));
        assert_eq!(shared.get()["te"], "");
        assert!(buffer.is_unique());
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
