//! THE SPINE: one request, from its head to its response. Read this first.
//!
//! 1. [`Spine::begin`]: refuse invalid requests, find the site, write the cache key, look it up. A
//!    fresh stored response is the answer: no await, no allocation for the key, no copy of the
//!    request's head. Any other request becomes a [`Visit`] there.
//! 2. [`fetch`]: wait for a running fill or start one, then answer from it, from the response that
//!    it validated, or, if the rules allow, from a stale one.
//! 3. [`pass`]: a request that is never answered from the store is passed through.
//! 4. [`Spine::end`]: the [`RequestRecord`] becomes Cache-Status, the metrics and the access log.

mod access;
mod coded;
mod error_page;
mod facts;
mod fetch;
mod head_update;
mod https;
mod invalidate;
mod pass;
mod post;
mod purge;
mod record;
mod relayed;
mod rules;
mod sender;
#[cfg(test)]
mod sizes;
mod slices;
mod upgrade;
mod visit;

pub(crate) use purge::Purger;
pub use purge::{OnPurge, PurgeAnswer, PurgeAsk};

use crate::access_log::{AccessLog, RequestRecord, Traffic};
use crate::body::ResponseBody;
use crate::byte_budget::NoRoom;
use crate::clock::wall;
use crate::closing::Notes;
use crate::disk::Removal;
use crate::error::ClientError;
use crate::error_page::Replacement;
use crate::failure::{Failure, MEMORY_LIMIT};
use crate::forward;
use crate::lookup::{Lookup, Stale, lookup};
use crate::memory::{self, REQUEST_BYTES, Use};
use crate::metrics::{Event, WorkerMetrics};
use crate::respond::{self, Heads, Values, Wish};
use crate::rewrite::{self, Asked};
use crate::server::{
    Arrival, Connection, Handler, Intake, NoMemory, Received, intake, spell_target,
};
use crate::state::{Live, NodeState, Site};
use crate::store::{KeyText, Stored};
use crate::tier::{self, Asker, NodeFields, Requester};
use crate::trace::{Trace, Tracer};
use access::{Admission, Visitor};
use bytes::Bytes;
use facts::RequestFacts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use sender::Sender;
use std::borrow::Cow;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use visit::{Keyed, Visit, is_for_everyone};
use weir_rules::coding::marks;
use weir_rules::cookies;
use weir_rules::key::{KeyParts, write_key};
use weir_rules::outcome::{Handling, Outcome};
use weir_rules::tier::Claim;
use weir_rules::time::Time;

/// Hits after which a stored response counts as popular, so that it is refreshed before it expires.
const POPULAR: u32 = 3;

/// A proxy of this machine has not said whose request it is.
const NOT_INTRODUCED: ClientError = ClientError::closing(
    StatusCode::BAD_REQUEST,
    "proxy-protocol",
    "This connection must begin with the PROXY protocol.",
);

/// Detail of a hit that is read from disk.
const ON_DISK: &str = "disk";

/// Detail of a request that skips the store because of a cookie.
pub(crate) const BYPASS_COOKIE: &str = "bypass-cookie";

/// Detail of a hit that a purge may have removed without this node's knowledge (invariant I5).
const CONTROL_LOST: &str = "control-lost";

/// Answers the requests of one worker.
pub(crate) struct Spine {
    state: Arc<NodeState>,
    worker: usize,
    values: Values,
    heads: Heads,
    metrics: Arc<WorkerMetrics>,
    log: Arc<AccessLog>,
    tracer: Arc<Tracer>,
    /// Whether the log or a collector is on: only then are there [`Notes`].
    notes: bool,
    purger: Arc<Purger>,
    /// The buffer that keys are written to, so that a hit allocates none.
    key: RefCell<Vec<u8>>,
}

/// The body of a request: a client's, or none of one that the node makes itself.
type RequestBody = Either<Received, Empty<Bytes>>;

/// A request and what it came with.
struct Arrived<'a> {
    connection: &'a Rc<Connection>,
    request: Request<RequestBody>,
    notes: Option<&'a Notes>,
    /// Whether it is the node's own, for an error page: then no rule refuses or redirects it.
    is_page: bool,
}

/// What follows from the head of a request.
enum Disposition {
    /// The response is ready.
    Answered(Response<ResponseBody>),
    /// A fill, or a stored response as the lookup found it, will answer.
    Fetch(Lookup, Box<Visit>),
    /// The upstream answers, and gets this body.
    Pass(Rc<Visit>, RequestBody),
    /// Control answers a purge by method.
    Purge(PurgeAsk),
    /// A node gets this once what it had invalidated is gone for good.
    Told(Response<ResponseBody>, Removal),
    /// A password is checked first.
    Admit(Box<Admission>),
    /// The node that asks has applied more than this one.
    CatchUp(Box<(Request<RequestBody>, Claim, bool)>),
}

/// A wait for a response.
type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Failure>> + 'a>>;

/// A wait for the page in place of an error's body.
type WaitingForPage<'a> = Pin<Box<dyn Future<Output = Response<ResponseBody>> + 'a>>;

impl Handler for Spine {
    type Body = ResponseBody;

    fn handle(
        self: Rc<Self>,
        connection: Rc<Connection>,
        mut request: Request<Received>,
    ) -> impl Future<Output = Response<ResponseBody>> + 'static {
        let mut record = RequestRecord::new(Instant::now());
        // Here, so that keys, Vary, parents and origins all get the same line, however it was split.
        cookies::combine(request.headers_mut());
        spell_target(&mut request);
        let notes = self.notes.then(|| self.note(&connection, &request));
        let requester = tier::admit(&self.state, request.headers());
        // A node, or one that claims to be.
        let of_node = !matches!(requester, Ok(Requester::Stranger));
        let request = request.map(Either::Left);
        let notes_of = notes.as_deref();
        let arrived = Arrived { connection: &connection, request, notes: notes_of, is_page: false };
        let begun = match requester {
            Ok(Requester::Stranger) => self.begin(arrived, None, None, &mut record),
            Ok(Requester::Asker(asker)) => self.begin(arrived, Some(asker), None, &mut record),
            Ok(Requester::Ahead(claim, past)) => {
                Ok(Disposition::CatchUp(Box::new((arrived.request, claim, past))))
            }
            Err(failure) => Err(failure),
        };
        // All that needs no wait is done: what waits has no room for the request's head.
        async move {
            let ended = match begun {
                Ok(begun) => match self.go_on(&connection, begun, notes.as_deref(), &mut record) {
                    Ok(response) => Ok(response),
                    Err(waiting) => waiting.await,
                },
                Err(failure) => Err(failure),
            };
            let mut response = match self.answer(&connection, ended, of_node, &mut record) {
                Ok(response) => response,
                Err(waiting) => waiting.await,
            };
            response.body_mut().send_through(|| connection.outbox());
            #[cfg(feature = "http3")]
            if !of_node {
                connection.advertise(response.headers_mut());
            }
            self.end(response, record, notes)
        }
    }
}

impl Spine {
    /// The spine of one worker.
    pub(crate) fn new(
        state: Arc<NodeState>,
        worker: usize,
        log: Arc<AccessLog>,
        tracer: Arc<Tracer>,
        purger: Arc<Purger>,
    ) -> Self {
        Self {
            values: Values::new(Arc::clone(&state.name)),
            heads: Heads::new(),
            metrics: Arc::clone(&state.metrics[worker]),
            state,
            worker,
            notes: log.is_on() || tracer.is_on(),
            log,
            tracer,
            purger,
            key: RefCell::new(Vec::with_capacity(256)),
        }
    }

    /// The response, if it is ready, or the wait for it. Waits are boxed, so that the future of a hit stays small.
    fn go_on<'a>(
        self: &'a Rc<Self>,
        connection: &'a Rc<Connection>,
        begun: Disposition,
        notes: Option<&'a Notes>,
        record: &'a mut RequestRecord,
    ) -> Result<Response<ResponseBody>, Waiting<'a>> {
        Err(match begun {
            Disposition::Answered(response) => return Ok(response),
            Disposition::Fetch(found, visit) => Box::pin(fetch::fetch(self, visit, found, record)),
            Disposition::Pass(visit, body) => Box::pin(pass::pass(self, visit, body, record)),
            Disposition::Purge(ask) => {
                Box::pin(async move { Ok(self.purger.answer(ask, wall()).await) })
            }
            Disposition::Told(response, removal) => Box::pin(async move {
                invalidate::settle(self, removal).await;
                Ok(response)
            }),
            Disposition::Admit(admission) => Box::pin(async move {
                let begun = self.once_checked(connection, *admission, notes, record).await?;
                match self.go_on(connection, begun, notes, record) {
                    Ok(response) => Ok(response),
                    Err(waiting) => waiting.await,
                }
            }),
            Disposition::CatchUp(ahead) => Box::pin(async move {
                let (request, claim, past) = *ahead;
                let asker = tier::catch_up(&self.state, claim, past).await?;
                let arrived = Arrived { connection, request, notes, is_page: false };
                let begun = self.begin(arrived, Some(asker), None, record)?;
                match self.go_on(connection, begun, notes, record) {
                    Ok(response) => Ok(response),
                    Err(waiting) => waiting.await,
                }
            }),
        })
    }

    /// Everything up to the first wait: reads the head and writes the cache key. A request that was
    /// `admitted` stays with the configuration that it was judged under.
    fn begin(
        &self,
        arrived: Arrived<'_>,
        asker: Option<Asker>,
        admitted: Option<&Arc<Live>>,
        record: &mut RequestRecord,
    ) -> Result<Disposition, Failure> {
        record.outcome.handling = Handling::Refused;
        // What was kept while a password was checked is for a refusal.
        record.replacement = None;
        if asker.is_some() {
            arrived.connection.is_of_node();
        }
        let loaded;
        let live = match admitted {
            Some(live) => live,
            None => {
                loaded = self.state.live.load();
                &loaded
            }
        };
        let request = &arrived.request;
        let intake = self.intake(&arrived, live, asker.is_some())?;
        if intake.local.is_some() {
            record.traffic = Traffic::Probe;
            if asker.is_some() && request.headers().contains_key(weir_rules::tier::INVALIDATE) {
                let removal = invalidate::as_told(self, live, &intake);
                return Ok(Disposition::Told(options(wall()), removal));
            }
            return Ok(Disposition::Answered(options(wall())));
        }
        if asker.is_some() && relayed::is_asked(request.headers()) {
            record.traffic = Traffic::Probe;
            let response = relayed::follow(&self.state, arrived.connection)?;
            return Ok(Disposition::Answered(response));
        }
        let site = live.sites.of(&intake.host).ok_or(Failure::UnknownHost)?;
        let peer = arrived.connection.peer().ip();
        let sender = Sender::of(&self.state, &live.config, peer, request.headers(), asker);
        if arrived.connection.is_of_own() && sender.warms.is_none() {
            return Err(Failure::Client(NOT_INTRODUCED));
        }
        if sender.warms.is_some() {
            record.traffic = Traffic::WarmUp;
        }
        if !sender.trusted {
            arrived.connection.note_headers(request.headers());
        }
        let mut facts = RequestFacts::of(request, &intake, sender.trusted);
        record.site = site.slot;
        record.bytes_in = facts.announced;
        if site.config.rules.look_at_country() && !sender.is_node() {
            let client = sender.address(&live.config, peer, request.headers());
            facts.country = Some(live.country(client));
        }
        // Before access: a CA has no password, and a visitor is not to send one in the clear.
        let is_challenge = https::is_challenge(site, intake.path);
        let asked =
            https::Asked { live, site, request, intake: &intake, facts: &facts, is_challenge };
        let answer = https::answer(&self.state, &asked, &sender);
        if let Some((response, detail)) = answer {
            record.outcome.detail = Some(detail);
            return Ok(Disposition::Answered(response));
        }
        if let Some(hsts) = &site.hsts
            && !sender.is_node()
            && arrived.connection.vouches_for(intake.host_name())
        {
            record.hsts = Some(Arc::clone(hsts));
        }
        let is_judged = admitted.is_none() && !arrived.is_page;
        if site.access.is_asked() && !sender.is_node() && is_judged {
            let visitor = Visitor {
                config: &live.config,
                site,
                method: request.method(),
                headers: request.headers(),
                intake: &intake,
                facts: &facts,
                sender: &sender,
                peer,
            };
            let judged = access::judge(&self.state, &visitor);
            if judged.as_ref().map_or(true, |verdict| verdict.password.is_some()) {
                record.replacement = visitor.replacement();
            }
            let verdict = judged.map_err(|why| self.refused(why))?;
            record.is_private |= verdict.is_private;
            if !verdict.is_plain() {
                return self.admit(arrived, verdict, live, record);
            }
        }
        if request.method().as_str() == "PURGE" {
            let ask = purge::ask(&live.config, site, &intake, request.headers(), peer, &sender)?;
            return Ok(Disposition::Purge(ask));
        }
        let (method, headers) = (request.method(), request.headers());
        let rules =
            rules::matching(&live.config, site, (method, headers), &intake, &facts, &sender, peer)?;
        if !rules.is_empty() {
            // An error page has the rules of its request alone.
            if !arrived.is_page {
                record.rules = rules::for_the_end(site, rules, &sender, headers, self.notes);
            }
            if let Some(response) = rules::maintenance(site, rules, method, &sender) {
                record.outcome.detail = Some(rules::MAINTENANCE);
                return Ok(Disposition::Answered(response));
            }
            if let Some(response) = rules::preflight(site, rules, (method, headers), &sender) {
                record.outcome.detail = Some(rules::PREFLIGHT);
                return Ok(Disposition::Answered(response));
            }
            if !arrived.is_page
                && let Some(response) = rules::redirect(site, rules, &intake, &sender)
            {
                record.outcome.detail = Some(rules::REDIRECT);
                return Ok(Disposition::Answered(response));
            }
        }
        let applied = site.config.rules.applied(rules);
        let key_rules = site.config.rules.key(applied, &site.config.key);
        let mut headers = Cow::Borrowed(headers);
        // Before headers are edited: who takes cookies away does not hide who is logged in.
        let cookies = site.config.rules.cookies(applied, site.config.cookies.as_ref());
        let cookies = cookies.map(|(rules, of_path)| (rules.judge(&key_rules, &headers), of_path));
        if let Some((judged, _)) = &cookies
            && judged.remaining.differs()
        {
            judged.remaining.clone().put(headers.to_mut());
        }
        rules::edit(site, rules, &mut headers, &facts, &sender);
        let most = live.limits().target_bytes;
        let asked = Asked { path: intake.path, query: intake.query };
        let rewritten = match sender.is_node() {
            true => None,
            false => rewrite::for_key(site, rules, asked, most).map_err(Failure::Client)?,
        };
        let (path, query) = match &rewritten {
            Some(target) => (target.path(), target.query()),
            None => (intake.path, intake.query),
        };
        let for_origin = rewrite::for_origin(site, rules, asked, most).map_err(Failure::Client)?;
        // Taken once: this request stays with it, whatever the site is switched to meanwhile.
        let release = sender.release(&self.state, site, request.headers())?;
        facts.skips_store = sender.bypass;
        if let Some((judged, of_path)) = cookies {
            facts.judged(&judged, || {
                !of_path && is_for_everyone(method, path, &headers, &site.config, &sender)
            });
        }
        if site.config.compress.is_some() && !sender.is_node() {
            facts.read_codings(&headers);
        }
        let parts = KeyParts {
            scheme: facts.scheme.as_str(),
            host: &intake.host,
            path,
            query,
            release: release.as_deref(),
        };
        let mut key = self.key.borrow_mut();
        write_key(&mut key, &parts, &key_rules, &headers);
        if !rules.is_empty() {
            site.config.rules.write_key(&mut key, rules);
        }
        let digest = self.state.digest(&key);
        record.key_hash = Some(digest);
        let client_target =
            rewritten.as_ref().and_then(|_| request.uri().path_and_query().cloned());
        let origin_target = for_origin.as_ref();
        let client_target = client_target.as_ref();
        let keyed = Keyed { live, site, key: &key, digest, rules, client_target, origin_target };
        let edited = match headers {
            Cow::Owned(headers) => Some(headers),
            Cow::Borrowed(_) => None,
        };
        let mut arrived = arrived;
        if let Some(headers) = edited {
            *arrived.request.headers_mut() = headers;
        }
        if let Some(target) = rewritten {
            rewrite::put(arrived.request.uri_mut(), target);
        }
        self.dispose(arrived, keyed, facts, sender, is_challenge, record)
    }

    /// Understands a request. One from a node is for the host in the node's key, whatever port this
    /// node listens on.
    fn intake<'a>(
        &self,
        arrived: &'a Arrived<'_>,
        live: &Live,
        of_node: bool,
    ) -> Result<Intake<'a>, Failure> {
        if let Some(defect) = arrived.connection.defect() {
            return Err(Failure::Client(defect));
        }
        if arrived.request.extensions().get::<NoMemory>().is_some() {
            return Err(Failure::NoMemory(NoRoom::Budget));
        }
        let arrival = Arrival {
            connection: Some(arrived.connection),
            node: &self.state.name,
            body_bytes: live.limits().body_bytes,
        };
        let mut intake = intake(&arrived.request, &arrival).map_err(Failure::Client)?;
        if of_node && let Some(host) = forward::forwarded_host(arrived.request.headers()) {
            intake.host = host.into();
        }
        Ok(intake)
    }

    /// Answers with a fresh stored response, or makes the [`Visit`] of a request that goes on.
    fn dispose(
        &self,
        arrived: Arrived<'_>,
        keyed: Keyed<'_>,
        facts: RequestFacts,
        sender: Sender,
        bypasses: bool,
        record: &mut RequestRecord,
    ) -> Result<Disposition, Failure> {
        let Arrived { connection, mut request, notes, is_page } = arrived;
        let mut facts = facts;
        let mut handling = forwarding(request.method(), keyed.site, &facts, &sender);
        if handling == Handling::Undecided && bypasses {
            handling = Handling::Bypass;
        } else if handling == Handling::Undecided && keyed.bypasses() {
            handling = Handling::Bypass;
            record.outcome.detail = Some(rules::BYPASS);
        }
        record.outcome.handling = handling;
        if handling == Handling::Bypass && facts.skips_store {
            record.outcome.detail = Some(BYPASS_COOKIE);
            self.metrics.count(Event::CookieBypass);
        }
        let replaces = keyed.site.config.rules.have_error_pages(keyed.rules)
            && !is_page
            && !sender.is_node()
            && sender.warms.is_none();
        let keep = |request: &Request<RequestBody>| {
            let kept = || {
                let rules = (&keyed.site.config.rules, keyed.rules);
                let host = KeyText::of(keyed.key).host;
                Replacement::of(rules, request.method(), host, request.headers())
            };
            replaces.then(kept).flatten()
        };
        let query = keyed.query(&self.state, request.headers(), &facts, &sender);
        let found = (handling == Handling::Undecided)
            .then(|| lookup(&self.state.store, &self.state.purges, &query));
        if let Some(Lookup::Fresh { stored, early }) = &found
            && !(*early && is_due(stored))
        {
            let wish = facts.wish(request.method(), request.headers(), &keyed.site.config);
            let mut response = self.hit(stored, &wish, query.now, &mut record.outcome);
            if let Some(asker) = &sender.asker {
                let told = NodeFields::of_stored(stored);
                asker.vouch(&self.state, response.headers_mut(), stored.filled_at, told)?;
            }
            if is_error(response.status()) {
                record.replacement = keep(&request);
            }
            return Ok(Disposition::Answered(response));
        }
        record.replacement = keep(&request);
        let method = request.method();
        let target = keyed.origin_target.or(request.uri().path_and_query());
        let (_, origins) = keyed.site.origins(keyed.rules);
        if let Some(refusal) = origins.refusal(method, target, facts.body) {
            record.outcome.handling = Handling::Refused;
            return Err(Failure::Client(refusal));
        }
        let memory = &self.state.memory;
        let needed = REQUEST_BYTES + memory::header_bytes(request.headers());
        let works = connection.begin_work();
        match works.then(|| memory.take(needed)).flatten() {
            Some(charge) => record.memory = Some(Arc::new(charge)),
            None => {
                if works {
                    memory.refuse(Use::Request);
                }
                if let Some(found) = &found {
                    record.outcome.handling = fetch::handling(found);
                }
                return match &found {
                    Some(Lookup::Stale { stored, stale: Stale { on_disconnect: true, .. } })
                        if sender.asker.is_none() =>
                    {
                        let wish =
                            facts.wish(request.method(), request.headers(), &keyed.site.config);
                        let outcome = &mut record.outcome;
                        outcome.handling = Handling::Hit;
                        let response = self.hit(stored, &wish, self.state.now(), outcome);
                        outcome.detail = Some(MEMORY_LIMIT);
                        outcome.ttl = outcome.ttl.map(|ttl| ttl.min(-1));
                        Ok(Disposition::Answered(response))
                    }
                    _ => Err(Failure::NoMemory(NoRoom::Budget)),
                };
            }
        }
        // Only a stored form has what it asks for; no upstream knows its tag.
        if facts.codings.is_some() && facts.ranged && marks::if_range_is_marked(request.headers()) {
            request.headers_mut().remove(header::RANGE);
            request.headers_mut().remove(header::IF_RANGE);
            facts.ranged = false;
        }
        let (head, body) = request.into_parts();
        // The connection rests for the client's request, whatever is fetched for it.
        if !facts.body && !facts.upgrade && !is_page {
            connection.may_rest(&head.method, &head.headers);
        }
        let trace = match notes {
            Some(notes) => notes.trace.clone(),
            None => Trace::continued(&head.headers),
        };
        let visit = Visit::new(&self.state, connection, head, keyed, facts, sender, trace);
        Ok(match found {
            Some(found) => Disposition::Fetch(found, Box::new(visit)),
            None => Disposition::Pass(Rc::new(visit), body),
        })
    }

    /// Answers from a stored response: a fresh one or, if allowed, a stale one.
    fn hit(
        &self,
        stored: &Arc<Stored>,
        wish: &Wish<'_>,
        now: Time,
        outcome: &mut Outcome,
    ) -> Response<ResponseBody> {
        match &wish.codings {
            None => self
                .hit_with(stored, now, outcome, |heads| respond::from_stored(stored, heads, wish)),
            Some(codings) => self.hit_in_form(stored, (wish, codings), now, outcome),
        }
    }

    /// The same with the response that `make` makes.
    fn hit_with(
        &self,
        stored: &Stored,
        now: Time,
        outcome: &mut Outcome,
        make: impl FnOnce(&Heads) -> Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        if outcome.handling == Handling::Undecided {
            outcome.handling = Handling::Hit;
        }
        let age = stored.freshness.age(now);
        outcome.ttl = Some(i64::from(stored.freshness.lifetime) - i64::from(age));
        if self.state.lease.is_lost(now) && outcome.handling == Handling::Hit {
            outcome.detail = outcome.detail.or(Some(CONTROL_LOST));
        }
        if stored.body.kept_below().is_some() && outcome.handling == Handling::Hit {
            outcome.detail = outcome.detail.or(Some(ON_DISK));
        }
        stored.served.count();
        let mut response = make(&self.heads);
        response.headers_mut().insert(header::AGE, self.values.age(age));
        response
    }

    /// The response, or the wait for the page that stands in place of its body.
    fn answer<'a>(
        self: &'a Rc<Self>,
        connection: &'a Rc<Connection>,
        ended: Result<Response<ResponseBody>, Failure>,
        of_node: bool,
        record: &'a mut RequestRecord,
    ) -> Result<Response<ResponseBody>, WaitingForPage<'a>> {
        let is_own = ended.is_err();
        let response =
            ended.unwrap_or_else(|failure| self.failed(connection, failure, of_node, record));
        match record.replacement.take() {
            Some(kept) if is_error(response.status()) => {
                Err(Box::pin(self.with_page(connection, kept, is_own, response, record)))
            }
            _ => Ok(response),
        }
    }

    /// The response to a request that failed. A node that asked gets the reason, too.
    fn failed(
        &self,
        connection: &Connection,
        failure: Failure,
        of_node: bool,
        record: &mut RequestRecord,
    ) -> Response<ResponseBody> {
        let word = failure.word();
        record.outcome.detail = Some(word);
        if failure.closes() {
            connection.close_after();
        }
        let mut response = failure.into_response(wall());
        if of_node && let Ok(word) = HeaderValue::from_str(word) {
            response.headers_mut().insert(weir_rules::tier::FAILURE, word);
        }
        response
    }

    /// The one place where every request ends.
    fn end(
        &self,
        mut response: Response<ResponseBody>,
        mut record: RequestRecord,
        notes: Option<Box<Notes>>,
    ) -> Response<ResponseBody> {
        let outcome = &mut record.outcome;
        if outcome.handling == Handling::Undecided {
            outcome.handling = Handling::Refused;
        }
        if let Some(rules) = &mut record.rules {
            rules.sent(response.status(), response.headers_mut());
        }
        // After the rules: none makes it public again.
        if record.is_private {
            respond::make_private(&mut response);
        }
        respond::sign(&mut response, self.values.cache_status(outcome));
        if let Some(hsts) = record.hsts.take() {
            respond::promise_https(&mut response, &hsts);
        }
        self.close(response, record, notes)
    }
}

/// Whether this request refreshes a response in the last tenth of its lifetime: if it is popular,
/// and only one request for each stored response.
fn is_due(stored: &Stored) -> bool {
    stored.served.times() >= POPULAR && stored.served.begin_refresh()
}

/// Why a request is never answered from the store; [`Handling::Undecided`] if it may be.
fn forwarding(method: &Method, site: &Site, facts: &RequestFacts, sender: &Sender) -> Handling {
    match *method {
        Method::GET | Method::HEAD => {}
        _ => return Handling::Method,
    }
    if facts.body || facts.upgrade || facts.skips_store {
        return Handling::Bypass;
    }
    let no_store = facts.honoured(&site.config).is_some_and(|directives| directives.no_store);
    // Only the origin may judge If-Match and If-Unmodified-Since (RFC 9111 §4.3.2).
    if facts.precondition || sender.warms_parents() || no_store {
        return Handling::Request;
    }
    Handling::Undecided
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn options(now: Time) -> Response<ResponseBody> {
    let mut response = respond::empty(StatusCode::NO_CONTENT, now);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(respond::ALLOWED));
    response
}
