//! One request on its way, as the steps after the first wait need it.

use super::purge::named_client;
use super::record::Entry;
use super::{Spine, Start};
use crate::body::ResponseBody;
use crate::collapsing::Fill;
use crate::derived::Stamps;
use crate::failure::Failure;
use crate::fill::{FetchContext, FillContext, FillTask};
use crate::forward::{self, Origin};
use crate::lookup::Query;
use crate::purge::Stamp;
use crate::respond::Wish;
use crate::server::{Connection, Intake};
use crate::state::{Live, NodeState, Site};
use crate::store::{Digest, KeyText, Stored};
use crate::tier::{Asker, NodeFields};
use crate::trace::Trace;
use crate::upstream::{Ask, For, digest};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use weir_rules::cache_control::RequestDirectives;
use weir_rules::invalidation::{Seq, Validity};
use weir_rules::key::origin_query;
use weir_rules::time::Time;

/// A request on its way.
pub(crate) struct Visit {
    /// The client's connection.
    pub(super) connection: Rc<Connection>,
    /// The configuration it began under.
    pub(super) live: Arc<Live>,
    /// Its site.
    pub(super) site: Arc<Site>,
    /// Its method.
    pub(super) method: Method,
    /// Its fields, as the client sent them.
    pub(super) headers: HeaderMap,
    /// Path and query for the origin.
    pub(super) target: PathAndQuery,
    /// How the client reached us.
    pub(super) scheme: Scheme,
    /// The host, as keyed.
    pub(super) host: Box<str>,
    /// The key.
    pub(super) key: Box<[u8]>,
    /// Its digest.
    pub(super) digest: Digest,
    /// What its fields ask for.
    pub(super) facts: Facts,
    /// Its Cache-Control.
    pub(super) directives: RequestDirectives,
    /// Max-Forwards for the upstream.
    pub(super) max_forwards: Option<u32>,
    /// The node that asks, if it is one.
    pub(super) asker: Option<Asker>,
    /// Whether nobody but a parent is to be asked.
    pub(super) parents_only: bool,
    /// Its place in a trace.
    pub(super) trace: Option<Trace>,
}

impl Visit {
    pub(super) fn new<B>(
        connection: Rc<Connection>,
        request: Request<B>,
        start: Start,
        entry: Option<&Entry>,
    ) -> Self {
        let trace = match entry {
            Some(entry) => entry.trace().cloned(),
            None => Trace::continued(request.headers()),
        };
        let (parts, _) = request.into_parts();
        let target = parts.uri.path_and_query().cloned();
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Self {
            target: origin_target(target, &start.site),
            connection,
            live: start.live,
            site: start.site,
            method: parts.method,
            headers: parts.headers,
            scheme: start.scheme,
            host: start.host,
            key: start.key,
            digest: start.digest,
            facts: start.facts,
            directives: start.directives,
            max_forwards: start.max_forwards,
            asker: start.asker,
            parents_only: start.parents_only,
            trace,
        }
    }

    /// The fields for an upstream request for this client alone.
    pub(super) fn fields_for_pass(&self, state: &NodeState) -> HeaderMap {
        let mut headers = forward::for_pass(&self.headers, &self.origin(state));
        if let Some(left) = self.max_forwards {
            headers.insert(header::MAX_FORWARDS, HeaderValue::from(left));
        }
        headers
    }

    /// The fields for an upstream request whose response may be stored.
    pub(super) fn fields_for_fill(&self, state: &NodeState) -> HeaderMap {
        forward::for_fill(&self.headers, &self.origin(state))
    }

    /// A fetch of what this request asks for. The response to a POST is there already when it turns
    /// out that it may be stored: nothing is sent for it.
    pub(super) fn fill_task(
        &self,
        spine: &Spine,
        method: Method,
        fill: Arc<Fill>,
        base: Option<Arc<Stored>>,
        stamp: Stamp,
    ) -> FillTask {
        FillTask { context: self.fill_context(spine, method), fill, base, stamp }
    }

    /// What a fetch of what this request asks for needs once the client has gone.
    pub(super) fn fill_context(&self, spine: &Spine, method: Method) -> FillContext {
        let headers = match method {
            Method::GET => self.fields_for_fill(&spine.state),
            _ => HeaderMap::new(),
        };
        FillContext {
            state: Arc::clone(&spine.state),
            sources: spine.sources.clone(),
            site: Arc::clone(&self.site),
            worker: spine.worker,
            digest: self.digest,
            key: self.key.clone(),
            scheme: self.scheme.as_str(),
            host: self.host.clone(),
            client: self.headers.clone(),
            ask: Ask {
                method,
                target: self.target.clone(),
                headers,
                client_host: self.client_host(),
                interim: None,
                upgrade: None,
                whom: self.whom(),
                trace: self.trace.clone(),
            },
        }
    }

    /// The client's Host as it wrote it.
    pub(super) fn client_host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.host).ok()
    }

    /// The client's address: the peer's or, behind trusted proxies, the one that they name.
    pub(super) fn client_address(&self) -> IpAddr {
        let (peer, config) = (self.connection.peer().ip(), &self.live.config);
        let trusted = forward::contains(&config.node.trusted_proxies, peer);
        trusted.then(|| named_client(config, &self.headers)).flatten().unwrap_or(peer)
    }

    /// What the choice of a member of a pool may depend on.
    pub(super) fn whom(&self) -> For {
        For { hash: digest(&self.key), client: self.client_address() }
    }

    /// What decides the form of the answer.
    pub(super) fn wish(&self) -> Wish<'_> {
        self.facts.wish(&self.method, &self.headers)
    }

    /// What the store is asked.
    pub(super) fn query(&self, state: &NodeState, now: Time) -> Query<'_> {
        let honoured = self.site.config.client_cache_control && self.facts.cache_control;
        Query {
            digest: self.digest,
            key: &self.key,
            request: &self.headers,
            now,
            client: honoured.then_some(&self.directives),
            when_unreachable: self.site.config.stale_when_unreachable,
            fresh_only: self.asker.is_some(),
            least: self.least(),
            validate: state.lease.validates(now),
        }
    }

    /// Nothing that began to be fetched below this will do; 0 is no bound.
    pub(super) fn least(&self) -> Seq {
        self.asker.as_ref().map_or(0, Asker::least)
    }

    /// Has a response say what it is worth, where a node asks.
    pub(super) fn vouch(
        &self,
        state: &NodeState,
        response: &mut Response<ResponseBody>,
        filled_at: Seq,
        told: NodeFields<'_>,
    ) -> Result<(), Failure> {
        match &self.asker {
            Some(asker) => asker.vouch(state, response.headers_mut(), filled_at, told),
            None => Ok(()),
        }
    }

    /// What the sources need to know to pass this request on, at the own number `begun`.
    pub(super) fn fetch_context<'a>(
        &'a self,
        state: &'a NodeState,
        worker: usize,
        begun: Seq,
    ) -> FetchContext<'a> {
        FetchContext {
            state,
            site: &self.site,
            worker,
            key: &self.key,
            begun,
            tags: &[],
            selects: None,
            parents_only: self.parents_only,
        }
    }

    /// Whether no purge takes a response of these stamps and tags (invariant I1).
    pub(super) fn is_valid(&self, state: &NodeState, stamps: Stamps, tags: &[Box<str>]) -> bool {
        if state.purges.applied() == stamps.valid_at {
            return true;
        }
        let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
        let subject = KeyText::of(&self.key).subject(&self.site.id, &tags, stamps.filled_at);
        state.purges.judge_since(&subject, stamps.valid_at) == Validity::Valid
    }

    fn origin<'a>(&'a self, state: &'a NodeState) -> Origin<'a> {
        let peer = self.connection.peer();
        Origin {
            peer,
            trusted: self.asker.is_some()
                || forward::contains(&self.live.config.node.trusted_proxies, peer.ip()),
            scheme: self.scheme.as_str(),
            host: &self.host,
            node: &state.name,
            via: &state.via,
        }
    }
}

/// The target for the origin: byte for byte the client's, less the parameters that the site drops.
fn origin_target(target: PathAndQuery, site: &Site) -> PathAndQuery {
    let kept = origin_query(target.query(), &site.config.key.query);
    if kept.as_deref() == target.query() {
        return target;
    }
    let text = match kept {
        Some(query) => format!("{}?{query}", target.path()),
        None => target.path().to_owned(),
    };
    // What is left of a valid query is valid.
    PathAndQuery::try_from(text).unwrap_or(target)
}

/// The scheme by which the client reached the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS, here or at a trusted proxy.
    Https,
}

impl Scheme {
    /// As the connection says or, from a trusted proxy, as its X-Forwarded-Proto says.
    pub(super) fn of(intake: &Intake<'_>, trusted: bool, headers: &HeaderMap) -> Self {
        let forwarded = trusted.then(|| headers.get("x-forwarded-proto")).flatten();
        match forwarded.map(HeaderValue::as_bytes).unwrap_or(intake.scheme.as_bytes()) {
            b"https" => Self::Https,
            _ => Self::Http,
        }
    }

    /// `http` or `https`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What the fields of a request ask for, found in one pass over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// If-None-Match or If-Modified-Since.
    pub(crate) conditional: bool,
    /// If-Match or If-Unmodified-Since.
    pub(crate) precondition: bool,
    /// Range.
    pub(crate) ranged: bool,
    /// Cache-Control or Pragma.
    pub(crate) cache_control: bool,
    /// A body, even an empty one of unknown length.
    pub(crate) body: bool,
    /// Upgrade to something that may be passed on (never h2c).
    pub(crate) upgrade: bool,
}

impl Facts {
    /// Reads the fields of a request.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        const LISTED: [HeaderName; 9] = [
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_MATCH,
            header::IF_UNMODIFIED_SINCE,
            header::RANGE,
            header::CACHE_CONTROL,
            header::PRAGMA,
            header::UPGRADE,
            header::TRANSFER_ENCODING,
        ];
        let mut facts = Self::default();
        for (name, value) in request.headers() {
            match LISTED.iter().position(|listed| listed == name) {
                None if *name == header::CONTENT_LENGTH => facts.body |= value != "0",
                None => {}
                Some(0 | 1) => facts.conditional = true,
                Some(2 | 3) => facts.precondition = true,
                Some(4) => facts.ranged = true,
                Some(5 | 6) => facts.cache_control = true,
                Some(7) => facts.upgrade = may_upgrade(request, value),
                Some(_) => facts.body = true,
            }
        }
        facts
    }

    /// Whether the request has a body that HTTP/2 did not announce in its fields.
    pub(crate) fn with_body(mut self, body: &impl Body) -> Self {
        self.body |= !body.is_end_stream();
        self
    }

    /// What decides the form of the answer.
    pub(crate) fn wish<'a>(&self, method: &'a Method, headers: &'a HeaderMap) -> Wish<'a> {
        Wish { method, headers, conditional: self.conditional, ranged: self.ranged }
    }
}

/// Whether an Upgrade is one to pass on: asked of this hop (RFC 9110 §7.8), over HTTP/1.1, and
/// not to h2c, which would carry requests past the cache (RFC 9113 dropped it).
fn may_upgrade<B>(request: &Request<B>, protocol: &HeaderValue) -> bool {
    let named = request.headers().get_all(header::CONNECTION).iter().any(|value| {
        let options = value.to_str().unwrap_or_default().split(',');
        options.into_iter().any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
    });
    let protocols = protocol.to_str().unwrap_or("h2c");
    let clear = protocols.split(',').any(|name| name.trim().eq_ignore_ascii_case("h2c"));
    named && !clear && request.version() == http::Version::HTTP_11
}
