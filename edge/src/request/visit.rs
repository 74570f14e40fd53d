//! One request that is not answered at once, as the steps after the first wait need it.

use super::Spine;
use super::facts::RequestFacts;
use super::sender::Sender;
use crate::body::ResponseBody;
use crate::collapsing::Fill;
use crate::derived::Stamps;
use crate::failure::Failure;
use crate::fill::{FetchContext, FillContext, FillTask, Withdrawable};
use crate::forward::{Forwarded, Outgoing};
use crate::lookup::Query;
use crate::purge::Stamp;
use crate::respond::Wish;
use crate::server::Connection;
use crate::state::{Live, NodeState, Site};
use crate::store::{Digest, KeyText, Stored, url_name_of};
use crate::tier::NodeFields;
use crate::trace::Trace;
use crate::upstream::{Ask, For, digest};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use weir_rules::assets;
use weir_rules::client_share::Prefix;
use weir_rules::invalidation::{Seq, Validity};
use weir_rules::key::origin_query;

/// A request that waits for a fill or an upstream. Made once, at the end of [`Spine::begin`]; a hit
/// never has one.
pub(crate) struct Visit {
    /// The client's connection.
    pub(super) connection: Rc<Connection>,
    /// The configuration in force when it arrived.
    pub(super) live: Arc<Live>,
    /// Its site.
    pub(super) site: Arc<Site>,
    /// Its method.
    pub(super) method: Method,
    /// Its headers, as the client sent them. A fill that it starts shares them.
    pub(super) headers: Arc<HeaderMap>,
    /// The headers of an anonymous request, if it is one for a static asset that is fetched for
    /// everyone and has headers that such a request must not have.
    pub(super) anonymous: Option<Arc<HeaderMap>>,
    /// Path and query for the origin.
    pub(super) target: PathAndQuery,
    /// Its cache key.
    pub(super) key: Box<[u8]>,
    /// Digest of the key.
    pub(super) digest: Digest,
    /// What its head says.
    pub(super) facts: RequestFacts,
    /// Who sent it.
    pub(super) sender: Sender,
    /// Its place in a trace.
    pub(super) trace: Option<Trace>,
}

/// The site and the cache key of a request, borrowed: a hit needs no more.
#[derive(Clone, Copy)]
pub(super) struct Keyed<'a> {
    /// The configuration in force.
    pub(super) live: &'a Arc<Live>,
    /// The site.
    pub(super) site: &'a Arc<Site>,
    /// The key.
    pub(super) key: &'a [u8],
    /// Its digest.
    pub(super) digest: Digest,
}

impl<'a> Keyed<'a> {
    /// The question to the lookup.
    pub(super) fn query(
        &self,
        state: &NodeState,
        headers: &'a HeaderMap,
        facts: &'a RequestFacts,
        sender: &Sender,
    ) -> Query<'a> {
        let plain = Query::new(state, self.site, self.digest, self.key, headers);
        sender.query(plain, facts.honoured(&self.site.config))
    }
}

/// The stored response that a request found.
#[derive(Clone, Default)]
pub(super) struct Held {
    /// The one to validate or to complete, if it may be.
    pub(super) base: Option<Arc<Stored>>,
    /// The one that the request selected.
    pub(super) selected: Option<Arc<Stored>>,
}

impl Visit {
    /// Takes over the head of a request.
    pub(super) fn new(
        connection: &Rc<Connection>,
        head: Parts,
        keyed: Keyed<'_>,
        facts: RequestFacts,
        sender: Sender,
        trace: Option<Trace>,
    ) -> Self {
        let anonymous = anonymous(&head, keyed.site, &sender);
        let target = head.uri.path_and_query().cloned();
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Self {
            connection: Rc::clone(connection),
            live: Arc::clone(keyed.live),
            site: Arc::clone(keyed.site),
            method: head.method,
            headers: Arc::new(head.headers),
            anonymous: anonymous.map(Arc::new),
            target: origin_target(target, keyed.site),
            key: Box::from(keyed.key),
            digest: keyed.digest,
            facts,
            sender,
            trace,
        }
    }

    /// The host, as in the key.
    pub(super) fn host(&self) -> &str {
        KeyText::of(&self.key).host
    }

    /// The headers of an upstream request for this client alone.
    pub(super) fn fields_for_pass(&self, state: &NodeState) -> Outgoing {
        let mut headers = self.outgoing(state, &self.headers, false);
        if let Some(left) = self.facts.max_forwards {
            headers.set(header::MAX_FORWARDS, HeaderValue::from(left));
        }
        headers
    }

    /// The headers of an upstream request whose response may be stored.
    fn fields_for_fill(&self, state: &NodeState) -> Outgoing {
        self.outgoing(state, self.anonymous.as_ref().unwrap_or(&self.headers), true)
    }

    fn outgoing(&self, state: &NodeState, client: &Arc<HeaderMap>, for_fill: bool) -> Outgoing {
        Outgoing::of(Forwarded {
            client: Arc::clone(client),
            for_fill,
            peer: self.connection.peer(),
            trusted: self.sender.trusted,
            scheme: self.facts.scheme.as_str(),
            node: Arc::clone(&state.name),
            via: state.via.of(self.facts.received).clone(),
        })
    }

    /// A fetch of the resource. For POST nothing is sent: its response has arrived when it turns out
    /// that it may be stored.
    pub(super) fn fill_task(
        &self,
        spine: &Spine,
        method: Method,
        fill: Arc<Fill>,
        held: Held,
        stamp: Stamp,
    ) -> Box<FillTask> {
        let mut context = self.fill_context(spine, method);
        context.ask.asker = Some(fill.clone());
        let withdrawable = self.withdrawable(&spine.state, held.selected);
        Box::new(FillTask { context, fill, base: held.base, withdrawable, stamp })
    }

    /// What the answer to this request, which selected this stored response, may withdraw.
    pub(super) fn withdrawable(
        &self,
        state: &NodeState,
        selected: Option<Arc<Stored>>,
    ) -> Withdrawable {
        Withdrawable { selected, all: state.store.get(self.digest, &self.key) }
    }

    /// What a fetch of what this request asks for needs once the client has gone.
    pub(super) fn fill_context(&self, spine: &Spine, method: Method) -> FillContext {
        let headers = match method {
            Method::GET => self.fields_for_fill(&spine.state),
            _ => Outgoing::default(),
        };
        let client = self.anonymous.as_ref().unwrap_or(&self.headers).clone();
        FillContext {
            state: Arc::clone(&spine.state),
            sources: spine.sources.clone(),
            site: Arc::clone(&self.site),
            worker: spine.worker,
            digest: self.digest,
            key: self.key.clone(),
            scheme: self.facts.scheme.as_str(),
            host: self.host().into(),
            client,
            anonymous: self.anonymous.is_some(),
            ask: Ask {
                method,
                target: self.target.clone(),
                headers,
                client_host: self.client_host(),
                asker: None,
                upgrade: None,
                chosen_by: self.chosen_by(),
                counts_for: self.counts_for(),
                site: self.site.slot,
                trace: self.trace.clone(),
            },
        }
    }

    /// The host as a field value, for origins that are asked with it.
    pub(super) fn client_host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.host()).ok()
    }

    /// The client's address: the peer's or, if the peer is trusted, the one that it names.
    pub(super) fn client_address(&self) -> IpAddr {
        self.sender.address(&self.live.config, self.connection.peer().ip(), &self.headers)
    }

    /// The client prefix that it counts for; `None` if that has no bound.
    pub(super) fn counts_for(&self) -> Option<Prefix> {
        let peer = self.connection.peer().ip();
        self.sender.counts_for(&self.live.config, peer, &self.headers)
    }

    /// What the choice of a member of a pool may depend on. All keys of a URL have one member, so that
    /// an unsafe request passes through the parent that stores the URL under another key.
    pub(super) fn chosen_by(&self) -> For {
        For { hash: digest(url_name_of(&self.key).as_bytes()), client: self.client_address() }
    }

    /// What decides the form of the response.
    pub(super) fn wish(&self) -> Wish<'_> {
        self.facts.wish(&self.method, &self.headers)
    }

    /// The question to the lookup, asked again now.
    pub(super) fn query(&self, state: &NodeState) -> Query<'_> {
        let keyed =
            Keyed { live: &self.live, site: &self.site, key: &self.key, digest: self.digest };
        keyed.query(state, &self.headers, &self.facts, &self.sender)
    }

    /// The lowest filled_at_seq of a response that may answer it; 0 is no bound.
    pub(super) fn least(&self) -> Seq {
        self.sender.least()
    }

    /// States in a response to a node what the response is worth.
    pub(super) fn vouch(
        &self,
        state: &NodeState,
        response: &mut Response<ResponseBody>,
        filled_at: Seq,
        told: NodeFields<'_>,
    ) -> Result<(), Failure> {
        self.sender.vouch(state, response, filled_at, told)
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
            parents_only: self.sender.warms_parents(),
            personal: self.sender.personal || self.anonymous.is_some(),
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
}

/// The headers of the anonymous request for a static asset; `None` if the rules of static assets do
/// not apply, or the request is anonymous as it is.
fn anonymous(head: &Parts, site: &Site, sender: &Sender) -> Option<HeaderMap> {
    let applies = head.method == Method::GET
        && site.config.anonymous_assets
        && !sender.personal
        && !head.headers.contains_key(header::AUTHORIZATION)
        && assets::is_asset(head.uri.path());
    applies.then(|| assets::anonymous(&head.headers, &site.config.key)).flatten()
}

/// The target for the origin: byte for byte the client's, without the parameters that the site
/// drops.
fn origin_target(target: PathAndQuery, site: &Site) -> PathAndQuery {
    let kept = origin_query(target.query(), &site.config.key.query);
    if kept.as_deref() == target.query() {
        return target;
    }
    let text = match kept {
        Some(query) => format!("{}?{query}", target.path()),
        None => target.path().to_owned(),
    };
    // The rest of a valid query is valid.
    PathAndQuery::try_from(text).unwrap_or(target)
}
