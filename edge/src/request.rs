//! THE SPINE: one request, from its head to its response. Read this first.
//!
//! 1. [`Spine::begin`]: refuse invalid requests, find the site, write the cache key, look it up. A
//!    fresh stored response is the answer: no await, no allocation for the key, no copy of the
//!    request's head. Any other request becomes a [`Visit`] there.
//! 2. [`fetch`]: wait for a running fill or start one, then answer from it, from the response that
//!    it validated, or, if the rules allow, from a stale one.
//! 3. [`pass`]: a request that is never answered from the store is passed through.
//! 4. [`Spine::end`]: the [`RequestRecord`] becomes Cache-Status, the metrics and the access log.

mod facts;
mod fetch;
mod head_update;
mod invalidate;
mod pass;
mod post;
mod purge;
mod record;
mod sender;
#[cfg(test)]
mod sizes;
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
use crate::failure::{Failure, MEMORY_LIMIT};
use crate::forward;
use crate::lookup::{Lookup, Stale, lookup};
use crate::memory::{self, HTTP1_BYTES, REQUEST_BYTES, Use};
use crate::metrics::WorkerMetrics;
use crate::respond::{self, Heads, Values, Wish};
use crate::server::{
    Arrival, Connection, Handler, Intake, NoMemory, Protocol, intake, spell_target,
};
use crate::state::{Live, NodeState, Site};
use crate::store::Stored;
use crate::tier::{self, Asker, NodeFields, Requester};
use crate::trace::{Trace, Tracer};
use facts::RequestFacts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use sender::Sender;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use visit::{Keyed, Visit};
use weir_rules::cookies;
use weir_rules::key::{KeyParts, write_key};
use weir_rules::outcome::{Handling, Outcome};
use weir_rules::tier::Claim;
use weir_rules::time::Time;

/// Hits after which a stored response counts as popular, so that it is refreshed before it expires.
const POPULAR: u32 = 3;

/// Detail of a hit that is read from disk.
const ON_DISK: &str = "disk";

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

/// A request and what it came with.
struct Arrived<'a> {
    connection: &'a Rc<Connection>,
    request: Request<Incoming>,
    notes: Option<&'a Notes>,
}

/// What follows from the head of a request.
enum Disposition {
    /// The response is ready.
    Answered(Response<ResponseBody>),
    /// A fill, or a stored response as the lookup found it, will answer.
    Fetch(Lookup, Box<Visit>),
    /// The upstream answers, and gets this body.
    Pass(Rc<Visit>, Incoming),
    /// Control answers a purge by method.
    Purge(PurgeAsk),
    /// A node gets this once what it had invalidated is gone for good.
    Told(Response<ResponseBody>, Removal),
    /// The node that asks has applied more than this one.
    CatchUp(Box<(Request<Incoming>, Claim, bool)>),
}

/// A wait for a response.
type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Failure>> + 'a>>;

impl Handler for Spine {
    type Body = ResponseBody;

    fn handle(
        self: Rc<Self>,
        connection: Rc<Connection>,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Response<ResponseBody>> + 'static {
        let mut record = RequestRecord::new(Instant::now());
        // Here, so that keys, Vary, parents and origins all get the same line, however it was split.
        cookies::combine(request.headers_mut());
        spell_target(&mut request);
        let notes = self.notes.then(|| self.note(&connection, &request));
        let requester = tier::admit(&self.state, request.headers());
        // A node, or one that claims to be.
        let of_node = !matches!(requester, Ok(Requester::Stranger));
        let arrived = Arrived { connection: &connection, request, notes: notes.as_deref() };
        let begun = match requester {
            Ok(Requester::Stranger) => self.begin(arrived, None, &mut record),
            Ok(Requester::Asker(asker)) => self.begin(arrived, Some(asker), &mut record),
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
            let response = ended
                .unwrap_or_else(|failure| self.failed(&connection, failure, of_node, &mut record));
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
            Disposition::CatchUp(ahead) => Box::pin(async move {
                let (request, claim, past) = *ahead;
                let asker = tier::catch_up(&self.state, claim, past).await?;
                let arrived = Arrived { connection, request, notes };
                let begun = self.begin(arrived, Some(asker), record)?;
                match self.go_on(connection, begun, notes, record) {
                    Ok(response) => Ok(response),
                    Err(waiting) => waiting.await,
                }
            }),
        })
    }

    /// Everything up to the first wait: reads the head and writes the cache key.
    fn begin(
        &self,
        arrived: Arrived<'_>,
        asker: Option<Asker>,
        record: &mut RequestRecord,
    ) -> Result<Disposition, Failure> {
        record.outcome.handling = Handling::Refused;
        if asker.is_some() {
            arrived.connection.is_of_node();
        }
        let live = self.state.live.load();
        let request = &arrived.request;
        let intake = self.intake(&arrived, &live, asker.is_some())?;
        if intake.local.is_some() {
            record.traffic = Traffic::Probe;
            if asker.is_some() && request.headers().contains_key(weir_rules::tier::INVALIDATE) {
                let removal = invalidate::as_told(self, &live, &intake);
                return Ok(Disposition::Told(options(wall()), removal));
            }
            return Ok(Disposition::Answered(options(wall())));
        }
        let site = live.sites.of(&intake.host).ok_or(Failure::UnknownHost)?;
        let peer = arrived.connection.peer().ip();
        let sender = Sender::of(&self.state, &live.config, peer, request.headers(), asker);
        if sender.warms.is_some() {
            record.traffic = Traffic::WarmUp;
        }
        if !sender.trusted {
            arrived.connection.note_headers(request.headers());
        }
        let facts = RequestFacts::of(request, &intake, sender.trusted);
        record.site = site.slot;
        record.bytes_in = facts.announced;
        if request.method().as_str() == "PURGE" {
            let ask = purge::ask(&live.config, site, &intake, request.headers(), peer, &sender)?;
            return Ok(Disposition::Purge(ask));
        }
        // Taken once: this request stays with it, whatever the site is switched to meanwhile.
        let release = sender.release(&self.state, site, request.headers())?;
        let parts = KeyParts {
            scheme: facts.scheme.as_str(),
            host: &intake.host,
            path: intake.path,
            query: intake.query,
            release: release.as_deref(),
        };
        let mut key = self.key.borrow_mut();
        write_key(&mut key, &parts, &site.config.key, request.headers());
        let digest = self.state.digest(&key);
        record.key_hash = Some(digest);
        let keyed = Keyed { live: &live, site, key: &key, digest };
        self.dispose(arrived, keyed, facts, sender, record)
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
        record: &mut RequestRecord,
    ) -> Result<Disposition, Failure> {
        let Arrived { connection, request, notes } = arrived;
        let handling = forwarding(request.method(), keyed.site, &facts, &sender);
        record.outcome.handling = handling;
        let query = keyed.query(&self.state, request.headers(), &facts, &sender);
        let found = (handling == Handling::Undecided)
            .then(|| lookup(&self.state.store, &self.state.purges, &query));
        if let Some(Lookup::Fresh { stored, early }) = &found
            && !(*early && is_due(stored))
        {
            let wish = facts.wish(request.method(), request.headers());
            let mut response = self.hit(stored, &wish, query.now, &mut record.outcome);
            if let Some(asker) = &sender.asker {
                let told = NodeFields::of_stored(stored);
                asker.vouch(&self.state, response.headers_mut(), stored.filled_at, told)?;
            }
            return Ok(Disposition::Answered(response));
        }
        let memory = &self.state.memory;
        let of_protocol = match connection.protocol() {
            Protocol::Http1 => HTTP1_BYTES,
            Protocol::Http2 => 0,
        };
        let needed = REQUEST_BYTES + of_protocol + memory::header_bytes(request.headers());
        match memory.take(needed) {
            Some(charge) => record.memory = Some(Arc::new(charge)),
            None => {
                memory.refuse(Use::Request);
                if let Some(found) = &found {
                    record.outcome.handling = fetch::handling(found);
                }
                return match &found {
                    Some(Lookup::Stale { stored, stale: Stale { on_disconnect: true, .. } })
                        if sender.asker.is_none() =>
                    {
                        let wish = facts.wish(request.method(), request.headers());
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
        let (head, body) = request.into_parts();
        let trace = match notes {
            Some(notes) => notes.trace.clone(),
            None => Trace::continued(&head.headers),
        };
        let visit = Box::new(Visit::new(connection, head, keyed, facts, sender, trace));
        Ok(match found {
            Some(found) => Disposition::Fetch(found, visit),
            None => Disposition::Pass(Rc::from(visit), body),
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
        if outcome.handling == Handling::Undecided {
            outcome.handling = Handling::Hit;
        }
        let age = stored.freshness.age(now);
        outcome.ttl = Some(i64::from(stored.freshness.lifetime) - i64::from(age));
        if self.state.lease.is_lost(now) && outcome.handling == Handling::Hit {
            outcome.detail = outcome.detail.or(Some(CONTROL_LOST));
        }
        if stored.body.kept_below().is_some() {
            outcome.detail = outcome.detail.or(Some(ON_DISK));
        }
        stored.served.count();
        let mut response = respond::from_stored(stored, &self.heads, wish);
        response.headers_mut().insert(header::AGE, self.values.age(age));
        response
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
        respond::sign(&mut response, self.values.cache_status(outcome));
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
    if facts.body || facts.upgrade {
        return Handling::Bypass;
    }
    let no_store = facts.honoured(&site.config).is_some_and(|directives| directives.no_store);
    // Only the origin may judge If-Match and If-Unmodified-Since (RFC 9111 §4.3.2).
    if facts.precondition || sender.warms_parents() || no_store {
        return Handling::Request;
    }
    Handling::Undecided
}

fn options(now: Time) -> Response<ResponseBody> {
    let mut response = respond::empty(StatusCode::NO_CONTENT, now);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(respond::ALLOWED));
    response
}
