//! One request that is not answered at once, as the steps after the first wait need it.

use super::Spine;
use super::facts::RequestFacts;
use super::sender::Sender;
use crate::body::ResponseBody;
use crate::collapsing::Fill;
use crate::derived::Stamps;
use crate::failure::Failure;
use crate::fill::{FetchContext, FillContext, FillTask, Withdrawable};
use crate::forward::{ClientFields, Forwarded, Outgoing, compact};
use crate::lookup::Query;
use crate::purge::Stamp;
use crate::respond::Wish;
use crate::server::Connection;
use crate::state::{Live, NodeState, Site};
use crate::store::{Digest, KeyText, Stored, UrlHash};
use crate::tier::NodeFields;
use crate::trace::Trace;
use crate::upstream::{Ask, For, digest};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use weir_config::Site as SiteConfig;
use weir_rules::assets;
use weir_rules::client_share::Prefix;
use weir_rules::coding::marks;
use weir_rules::invalidation::{Seq, Validity, url_name};
use weir_rules::key::{KeyRules, origin_query};
use weir_rules::site_rules::RuleSet;

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
    /// What its fills have of these: the anonymous headers, if there are any, or else its own.
    lent: ClientFields,
    /// Whether all of these let go of the buffer that the head was read into.
    is_compact: bool,
    /// The headers of an anonymous request, if it is one for a static asset that is fetched for
    /// everyone and has headers that such a request must not have.
    pub(super) anonymous: Option<Arc<HeaderMap>>,
    /// Path and query for the upstream, as keyed.
    pub(super) target: PathAndQuery,
    /// What the client asked for, where a rule has rewritten that before the key was written.
    pub(super) client_target: Option<Box<str>>,
    /// Its cache key.
    pub(super) key: Box<[u8]>,
    /// Digest of the key.
    pub(super) digest: Digest,
    /// The host in the key as a field value, for origins that are asked with it.
    pub(super) client_host: Option<HeaderValue>,
    /// The hash of the URL in the key.
    pub(super) url: UrlHash,
    /// What the choice of a member of a pool may depend on. All keys of a URL have one member, so that
    /// an unsafe request passes through the parent that stores the URL under another key.
    pub(super) chosen_by: For,
    /// The rules of the site that it matches.
    pub(super) rules: RuleSet,
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
    /// The rules of the site that the request matches.
    pub(super) rules: RuleSet,
    /// What the client asked for, where the key has something else.
    pub(super) client_target: Option<&'a PathAndQuery>,
    /// What the origins are asked for, where that is not what is keyed.
    pub(super) origin_target: Option<&'a PathAndQuery>,
}

impl<'a> Keyed<'a> {
    /// Whether a rule takes the request past the store.
    pub(super) fn bypasses(&self) -> bool {
        bypasses(self.site, self.rules)
    }

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
        state: &NodeState,
        connection: &Rc<Connection>,
        head: Parts,
        keyed: Keyed<'_>,
        facts: RequestFacts,
        sender: Sender,
        trace: Option<Trace>,
    ) -> Self {
        let (site, path) = (keyed.site, head.uri.path());
        let anonymous = is_for_everyone(&head.method, path, &head.headers, &site.config, &sender)
            .then(|| assets::anonymous(&head.headers, &key_of(site, keyed.rules)))
            .flatten()
            .map(Arc::new);
        let headers = Arc::new(head.headers);
        let lent = ClientFields::new(Arc::clone(anonymous.as_ref().unwrap_or(&headers)));
        let target = head.uri.path_and_query().cloned();
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        // A copy: what was read is part of a large buffer, which waits as long as it does.
        let target = PathAndQuery::try_from(target.as_str()).unwrap_or(target);
        let KeyText { host, path, query } = KeyText::of(keyed.key);
        let name = url_name(host, path, query);
        let client = sender.address(&keyed.live.config, connection.peer().ip(), &headers);
        Self {
            connection: Rc::clone(connection),
            live: Arc::clone(keyed.live),
            site: Arc::clone(keyed.site),
            method: head.method,
            headers,
            lent,
            is_compact: false,
            anonymous,
            target: origin_target(target, &key_of(keyed.site, keyed.rules)),
            client_target: keyed.client_target.map(|target| target.as_str().into()),
            key: Box::from(keyed.key),
            digest: keyed.digest,
            client_host: HeaderValue::from_str(host).ok(),
            url: state.store.url_named(&name),
            chosen_by: For { hash: digest(name.as_bytes()), client },
            rules: keyed.rules,
            facts,
            sender,
            trace,
        }
    }

    /// Where its fills are listed.
    pub(super) fn place(&self) -> (UrlHash, Digest) {
        (self.url, self.digest)
    }

    /// The host, as in the key.
    pub(super) fn host(&self) -> &str {
        KeyText::of(&self.key).host
    }

    /// Whether it waits on a connection that rests, and still holds the buffer that its head was read into.
    pub(super) fn may_compact(&self) -> bool {
        !self.is_compact && self.connection.rests()
    }

    /// Whether a rule takes it past the store, in both directions.
    pub(super) fn bypasses(&self) -> bool {
        bypasses(&self.site, self.rules)
    }

    /// Lets go of that buffer, here and in the fills that it started.
    pub(super) fn compact(&mut self) {
        self.headers = Arc::new(compact(&self.headers));
        if let Some(anonymous) = &mut self.anonymous {
            *anonymous = Arc::new(compact(anonymous));
        }
        self.lent.replace(Arc::clone(self.anonymous.as_ref().unwrap_or(&self.headers)));
        self.is_compact = true;
    }

    /// The headers of an upstream request for this client alone.
    pub(super) fn fields_for_pass(&self, state: &NodeState) -> Outgoing {
        let mut headers = self.outgoing(state, ClientFields::new(self.headers.clone()), false);
        // No upstream knows the tags of forms.
        if self.facts.codings.is_some() {
            for (name, value) in marks::unmarked_conditions(&self.headers) {
                headers.set(name, value);
            }
        }
        if let Some(left) = self.facts.max_forwards {
            headers.set(header::MAX_FORWARDS, HeaderValue::from(left));
        }
        headers
    }

    /// The headers of an upstream request whose response may be stored.
    fn fields_for_fill(&self, state: &NodeState) -> Outgoing {
        self.outgoing(state, self.lent.clone(), true)
    }

    fn outgoing(&self, state: &NodeState, client: ClientFields, for_fill: bool) -> Outgoing {
        Outgoing::of(Forwarded {
            client,
            for_fill,
            peer: self.connection.peer_field().clone(),
            trusted: self.sender.trusted,
            scheme: self.facts.scheme.as_str(),
            node: state.via.name().clone(),
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
        Withdrawable { selected, all: state.store.get_again(self.digest, &self.key) }
    }

    /// What a fetch of what this request asks for needs once the client has gone.
    pub(super) fn fill_context(&self, spine: &Spine, method: Method) -> FillContext {
        let headers = match method {
            Method::GET => self.fields_for_fill(&spine.state),
            _ => Outgoing::default(),
        };
        FillContext {
            state: Arc::clone(&spine.state),
            site: Arc::clone(&self.site),
            worker: spine.worker,
            digest: self.digest,
            key: self.key.clone(),
            rules: self.rules,
            scheme: self.facts.scheme.as_str(),
            client: self.lent.clone(),
            anonymous: self.anonymous.is_some(),
            codings: self.facts.codings,
            ask: Ask {
                method,
                target: self.target.clone(),
                headers,
                client_host: self.client_host.clone(),
                asker: None,
                upgrade: None,
                chosen_by: self.chosen_by,
                counts_for: self.counts_for(),
                site: self.site.slot,
                trace: self.trace.clone(),
            },
        }
    }

    /// The client prefix that it counts for; `None` if that has no bound.
    pub(super) fn counts_for(&self) -> Option<Prefix> {
        let peer = self.connection.peer().ip();
        self.sender.counts_for(&self.live.config, peer, &self.headers)
    }

    /// What decides the form of the response.
    pub(super) fn wish(&self) -> Wish<'_> {
        self.facts.wish(&self.method, &self.headers, &self.site.config)
    }

    /// The question to the lookup, asked again now.
    pub(super) fn query(&self, state: &NodeState) -> Query<'_> {
        let keyed = Keyed {
            live: &self.live,
            site: &self.site,
            key: &self.key,
            digest: self.digest,
            rules: self.rules,
            client_target: None,
            origin_target: None,
        };
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
            rules: self.rules,
            begun,
            tags: &[],
            parents_only: self.sender.warms_parents(),
            personal: self.sender.personal || self.anonymous.is_some(),
            bypass: self.facts.bypass_cookie || self.facts.skips_store,
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

/// How the key of a request is made that matches these rules.
fn key_of(site: &Site, matching: RuleSet) -> Cow<'_, KeyRules> {
    let rules = &site.config.rules;
    rules.key(rules.applied(matching), &site.config.key)
}

fn bypasses(site: &Site, matching: RuleSet) -> bool {
    let rules = &site.config.rules;
    !matching.is_empty() && rules.bypasses(rules.applied(matching))
}

/// Whether a request is for a static asset that is fetched for everyone, by an anonymous request.
pub(super) fn is_for_everyone(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    site: &SiteConfig,
    sender: &Sender,
) -> bool {
    site.anonymous_assets && !sender.personal && assets::may_be_anonymous(method, path, headers)
}

/// The target for the origin: byte for byte the client's, without the parameters that are not in the
/// key.
fn origin_target(target: PathAndQuery, key: &KeyRules) -> PathAndQuery {
    let kept = origin_query(target.query(), &key.query);
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
