//! THE SPINE: one request, from its head to its answer. Read this first.
//!
//! 1. [`Spine::begin`]: refuse what is no request, find the site, name the resource, look it up.
//!    A fresh stored response is answered right there, without an await.
//! 2. [`fetch`]: wait on a running fill or start one, then answer from it, from the response it
//!    validated, or, where the rules allow, from a stale one.
//! 3. [`pass`]: what is never answered from the store goes straight through.
//! 4. [`Spine::end`]: one [`Outcome`] becomes the Cache-Status field, the access log and the
//!    metrics.

mod fetch;
mod pass;
mod purge;
mod record;
mod visit;

pub(crate) use purge::Purger;
pub use purge::{OnPurge, PurgeAnswer, PurgeAsk};

use crate::access_log::AccessLog;
use crate::body::ResponseBody;
use crate::config::Tier;
use crate::failure::Failure;
use crate::fill::Sources;
use crate::forward;
use crate::lookup::{Lookup, Query, lookup};
use crate::metrics::WorkerMetrics;
use crate::respond::{self, Heads, Values, Wish};
use crate::server::{Arrival, Connection, Handler, Intake, intake};
use crate::state::{Live, NodeState, Site};
use crate::store::Stored;
use crate::tier::{self, Asker, NodeFields, Requester};
use crate::trace::Tracer;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use record::Known;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use visit::{Facts, Scheme, Visit};
use weir_rules::cache_control::RequestDirectives;
use weir_rules::key::{KeyParts, write_key};
use weir_rules::outcome::{Handling, Outcome};
use weir_rules::time::Time;

/// Answers from the store after which a response counts as popular, so that it is refreshed ahead
/// of its end.
const POPULAR: u32 = 3;

/// Detail of a hit that a purge may have taken unseen (invariant I5).
const CONTROL_LOST: &str = "control-lost";

/// What one worker answers requests with.
pub(crate) struct Spine {
    state: Arc<NodeState>,
    worker: usize,
    /// Where responses come from that are not in memory.
    sources: Sources,
    values: Values,
    heads: Heads,
    metrics: Arc<WorkerMetrics>,
    log: Arc<AccessLog>,
    tracer: Arc<Tracer>,
    /// Whether anything is noted of a request: by the log, or of a trace.
    notes: bool,
    purger: Arc<Purger>,
    /// Where keys are written; a hit needs no key of its own.
    key: RefCell<Vec<u8>>,
}

/// What the first look at a request leads to.
enum Step {
    /// Answered.
    Answer(Response<ResponseBody>),
    /// To be fetched, unless a fill is running: what the store offered is at hand.
    Fetch(Lookup, Box<Start>),
    /// To be passed through.
    Pass(Box<Start>),
    /// A purge by method.
    Purge(PurgeAsk),
}

/// What a request that is not answered at once takes along.
struct Start {
    live: Arc<Live>,
    site: Arc<Site>,
    scheme: Scheme,
    host: Box<str>,
    key: Box<[u8]>,
    digest: u128,
    facts: Facts,
    directives: RequestDirectives,
    max_forwards: Option<u32>,
    asker: Option<Asker>,
    /// Whether nobody but a parent is to be asked.
    parents_only: bool,
}

impl Handler for Spine {
    type Body = ResponseBody;

    async fn handle(
        self: Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let begun = Instant::now();
        let now = self.state.now();
        let mut outcome = Outcome::default();
        let mut known = Known::default();
        let entry = self.notes.then(|| self.entry(&request));
        let asker = match tier::admit(&self.state, request.headers()) {
            Ok(Requester::Stranger) => Ok(None),
            Ok(Requester::Asker(asker)) => Ok(Some(asker)),
            Ok(Requester::Ahead(claim, past)) => {
                Box::pin(tier::catch_up(&self.state, claim, past)).await.map(Some)
            }
            Err(failure) => Err(failure),
        };
        known.of_node = !matches!(asker, Ok(None));
        let first = asker.and_then(|asker| {
            self.begin(&connection, &request, asker, now, &mut outcome, &mut known)
        });
        let answer = match first {
            Ok(Step::Answer(response)) => Ok(response),
            // Boxed, so that the future of a hit stays small.
            Ok(Step::Fetch(lookup, start)) => {
                let visit = Visit::new(Rc::clone(&connection), request, *start, entry.as_deref());
                let source = &mut known.source;
                Box::pin(fetch::fetch(&self, visit, lookup, &mut outcome, source)).await
            }
            Ok(Step::Pass(start)) => {
                let (parts, body) = request.into_parts();
                let request = Request::from_parts(parts, ());
                let visit = Visit::new(Rc::clone(&connection), request, *start, entry.as_deref());
                let source = &mut known.source;
                Box::pin(pass::pass(&self, &visit, Some(body), &mut outcome, source)).await
            }
            Ok(Step::Purge(ask)) => Ok(self.purger.answer(ask, now).await),
            Err(failure) => Err(failure),
        };
        self.end(&connection, answer, outcome, known, begun, entry)
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
            sources: Sources::with_stores([]),
            notes: log.is_on() || tracer.is_on(),
            log,
            tracer,
            purger,
            key: RefCell::new(Vec::with_capacity(256)),
        }
    }

    /// Everything up to the first wait.
    fn begin<B: http_body::Body>(
        &self,
        connection: &Rc<Connection>,
        request: &Request<B>,
        asker: Option<Asker>,
        now: Time,
        outcome: &mut Outcome,
        known: &mut Known,
    ) -> Result<Step, Failure> {
        outcome.handling = Handling::Refused;
        if let Some(defect) = connection.defect() {
            return Err(Failure::Client(defect));
        }
        let live = self.state.live.load();
        let arrival = Arrival {
            connection: Some(connection),
            node: &self.state.name,
            body_bytes: live.limits().body_bytes,
        };
        let mut intake = intake(request, &arrival).map_err(Failure::Client)?;
        if intake.local.is_some() {
            return Ok(Step::Answer(options(now)));
        }
        if asker.is_some()
            && let Some(host) = forward::forwarded_host(request.headers())
        {
            // As the node that asks has it in its key, whatever port this one listens on.
            intake.host = host.into();
        }
        let site = live.sites.of(&intake.host).ok_or(Failure::UnknownHost)?;
        let facts = Facts::of(request).with_body(request.body());
        known.site = site.slot;
        known.bytes_in = record::announced(request, &facts);
        let peer = connection.peer();
        let warms = self.state.own.warms(request.headers());
        let trusted = asker.is_some()
            || warms.is_some()
            || forward::contains(&live.config.node.trusted_proxies, peer.ip());
        let scheme = Scheme::of(&intake, trusted, request.headers());
        if request.method().as_str() == "PURGE" {
            let ask = purge::ask(&live.config, site, &intake, request.headers(), peer, trusted)?;
            return Ok(Step::Purge(ask));
        }
        // Taken once: whatever is switched meanwhile, this request stays with it.
        let release = match &asker {
            Some(_) => tier::release(site, request.headers())?,
            None => self.state.release_of(site),
        };
        let mut key = self.key.borrow_mut();
        let parts = KeyParts {
            scheme: scheme.as_str(),
            host: &intake.host,
            path: intake.path,
            query: intake.query,
            release: release.as_deref(),
        };
        write_key(&mut key, &parts, &site.config.key, request.headers());
        let digest = self.state.digest(&key);
        known.key_hash = Some(digest);
        let directives = match facts.cache_control {
            true => RequestDirectives::from_headers(request.headers()),
            false => RequestDirectives::default(),
        };
        let start = |directives: RequestDirectives, intake: &Intake<'_>, key: &[u8]| {
            Box::new(Start {
                live: Arc::clone(&live),
                site: Arc::clone(site),
                scheme,
                host: Box::from(&*intake.host),
                key: Box::from(key),
                digest,
                facts,
                directives,
                max_forwards: intake.max_forwards,
                asker: asker.clone(),
                parents_only: warms == Some(Tier::Parent),
            })
        };
        outcome.handling = passes(request.method(), &facts);
        if outcome.handling != Handling::Undecided {
            return Ok(Step::Pass(start(directives, &intake, &key)));
        }
        if warms == Some(Tier::Parent) {
            outcome.handling = Handling::Request;
            return Ok(Step::Pass(start(directives, &intake, &key)));
        }
        let honoured = site.config.client_cache_control && facts.cache_control;
        if honoured && directives.no_store {
            outcome.handling = Handling::Request;
            return Ok(Step::Pass(start(directives, &intake, &key)));
        }
        let query = Query {
            digest,
            key: &key,
            request: request.headers(),
            now,
            client: honoured.then_some(&directives),
            when_unreachable: site.config.stale_when_unreachable,
            fresh_only: asker.is_some(),
            least: asker.as_ref().map_or(0, Asker::least),
            validate: self.state.lease.validates(now),
        };
        let found = lookup(&self.state.store, &self.state.purges, &query);
        if let Lookup::Fresh { stored, early } = &found
            && !(*early && is_due(stored))
        {
            let wish = facts.wish(request.method(), request.headers());
            let mut response = self.hit(stored, &wish, now, outcome);
            if let Some(asker) = &asker {
                let told = NodeFields::of_stored(stored);
                asker.vouch(&self.state, response.headers_mut(), stored.filled_at, told)?;
            }
            return Ok(Step::Answer(response));
        }
        Ok(Step::Fetch(found, start(directives, &intake, &key)))
    }

    /// Answers from a stored response, fresh or (where allowed) stale.
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
        stored.served.count();
        let mut response = respond::from_stored(stored, &self.heads, wish);
        response.headers_mut().insert(header::AGE, self.values.age(age));
        response
    }

    /// The one place where a request ends, well or not.
    fn end(
        &self,
        connection: &Connection,
        answer: Result<Response<ResponseBody>, Failure>,
        mut outcome: Outcome,
        known: Known,
        begun: Instant,
        entry: Option<Box<record::Entry>>,
    ) -> Response<ResponseBody> {
        let mut response = match answer {
            Ok(response) => response,
            Err(failure) => {
                outcome.detail = Some(failure.word());
                if failure.closes() {
                    connection.close_after();
                }
                let word = known.of_node.then(|| failure.word());
                let mut response = failure.into_response(self.state.now());
                if let Some(word) = word.and_then(|word| HeaderValue::from_str(word).ok()) {
                    response.headers_mut().insert(weir_rules::tier::FAILURE, word);
                }
                response
            }
        };
        if outcome.handling == Handling::Undecided {
            outcome.handling = Handling::Refused;
        }
        respond::sign(&mut response, self.values.cache_status(&outcome));
        self.record(connection, response, outcome, known, begun, entry)
    }
}

/// Whether a popular response in the last tenth of its lifetime is to be refreshed by this
/// request: once a stored response.
fn is_due(stored: &Stored) -> bool {
    stored.served.times() >= POPULAR && stored.served.begin_refresh()
}

/// Why a request is never answered from the store; [`Handling::Undecided`] where it may be.
fn passes(method: &Method, facts: &Facts) -> Handling {
    match *method {
        Method::GET | Method::HEAD => {}
        _ => return Handling::Method,
    }
    if facts.body || facts.upgrade {
        return Handling::Bypass;
    }
    // Only the origin may judge If-Match and If-Unmodified-Since (RFC 9111 §4.3.2).
    if facts.precondition { Handling::Request } else { Handling::Undecided }
}

fn options(now: Time) -> Response<ResponseBody> {
    let mut response = respond::empty(StatusCode::NO_CONTENT, now);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(respond::ALLOWED));
    response
}
