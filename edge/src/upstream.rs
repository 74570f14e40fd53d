//! The way to a site's origins, or to the parents of a node: choose a member of the pool, send,
//! and give back its head and body, or say whose fault it was.
//!
//! Another member is tried while no byte of an answer went out: whatever the method where nothing
//! was sent (no connection, no place), and for safe methods without a body also where a request
//! was sent, and then only on another member. Each further try is paid from the site's budget.
//!
//! An idle connection may be closed at any time, also while a request is on its way (RFC 9112
//! §9.3.1): a safe request that meets a closed one is sent again to the same member, once, on a
//! connection opened for it. That is no failure of the member, and costs nothing of the budget.

mod ask;
mod balance;
mod body;
mod budget;
mod client;
mod dialer;
mod endpoint;
mod error;
mod fetched;
mod head;
mod health;
mod link;
mod member;
mod places;
mod pool;
mod probe;
mod trouble;

pub(crate) use ask::{Ask, Asking};
pub(crate) use balance::{ConsistentHash, For, digest};
pub(crate) use body::{ClientBody, UpstreamBody};
pub(crate) use endpoint::{tls, tls_with};
pub(crate) use error::innermost;
pub(crate) use fetched::{Fetched, FetchedBody};
pub(crate) use member::{Address, Counts, Member, MemberCounts, Role};
pub(crate) use pool::{Candidate, Choosing, Pool};
pub(crate) use probe::{Prober, Probing, Target};

use crate::error::UpstreamError;
use crate::metrics::{Event, WorkerMetrics};
use crate::source::Source;
use crate::trace::{self, Hop};
use body::Progress;
use budget::Budget;
use client::{Client, InUse};
use dialer::Dialer;
use endpoint::Endpoint;
use fetched::AnsweredBy;
use head::HeadLimits;
use health::Attempt;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use link::{Link, Stream};
use member::{Slot, is_gateway_error};
use std::iter::repeat;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use trouble::Trouble;
use weir_config::{Limits, Protocol};
use weir_rules::trace_context::TRACEPARENT;

/// A pool with all that is needed to ask it.
pub(crate) struct Upstream {
    pool: Pool,
    settings: Settings,
    budget: Arc<Budget>,
    /// For each member, one a worker: a connection lives on the runtime of the worker that opened it.
    clients: Vec<Vec<Client>>,
    head_limits: HeadLimits,
    /// For each member that is asked over HTTP/2, one a worker.
    links: Vec<Vec<Link>>,
    /// How its members are probed.
    probing: Option<Probing>,
    /// One a worker.
    metrics: Vec<Arc<WorkerMetrics>>,
    trouble: Arc<Trouble>,
    queue: usize,
    slow_client_rate: u64,
}

/// How a pool is asked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Names the pool in the log: the site's id, or `parents`.
    pub(crate) name: Arc<str>,
    /// Which member is chosen.
    pub(crate) choosing: Choosing,
    /// Waits.
    pub(crate) timeouts: weir_config::Timeouts,
    /// What certificates of members are held against.
    pub(crate) tls: rustls::ClientConfig,
    /// Further tries.
    pub(crate) retries: weir_config::Retries,
    /// Whether members that are not in health are tried where none is; else it is an error.
    pub(crate) last_resort: bool,
    /// Whether 502, 503 and 504 count against the member. A parent only passes them on.
    pub(crate) judges_status: bool,
    /// How members are probed.
    pub(crate) probe: Option<weir_config::Probe>,
}

impl Upstream {
    /// The origins of a site, with a client for each worker that counts into `metrics`. What
    /// `known`, the upstream before a reload, knows of members that stay is kept.
    pub(crate) fn new(
        site: &weir_config::Site,
        limits: &Limits,
        metrics: &[Arc<WorkerMetrics>],
        known: Option<&Upstream>,
    ) -> Result<Self, String> {
        let choosing = Choosing {
            balance: site.balance,
            virtual_nodes: ConsistentHash::VIRTUAL_NODES,
            ejection: site.health.ejection,
            connections: limits.origin_connections,
        };
        let settings = Settings {
            name: Arc::from(site.id.as_str()),
            choosing,
            timeouts: site.timeouts,
            tls: tls(),
            retries: site.retries,
            last_resort: true,
            judges_status: true,
            probe: site.health.probe.clone(),
        };
        let origins = site.origins.iter().map(Address::of).collect::<Result<_, _>>()?;
        Self::of(origins, settings, limits, metrics, known)
    }

    /// The members at these addresses.
    pub(crate) fn of(
        addresses: Vec<Address>,
        settings: Settings,
        limits: &Limits,
        metrics: &[Arc<WorkerMetrics>],
        known: Option<&Upstream>,
    ) -> Result<Self, String> {
        let pool = Pool::new(addresses, &settings.choosing, known.map(|known| &known.pool))?;
        let budget = match known {
            Some(known) => Arc::clone(&known.budget),
            None => Arc::new(Budget::new(&settings.retries, std::time::Instant::now())),
        };
        let h2 = Link::tls(settings.tls.clone());
        let tls = Arc::new(settings.tls.clone());
        let dialer = Dialer::new(settings.timeouts.connect);
        let links = |member: &Arc<Member>| {
            let wanted = metrics.iter().filter(|_| member.address.protocol == Protocol::H2);
            let endpoints = wanted.map(|_| Endpoint::of(&member.address, &h2, &dialer));
            endpoints.map(|to| Ok(Link::new(to?, limits))).collect::<Result<_, String>>()
        };
        let links = pool.members().iter().map(links).collect::<Result<_, _>>()?;
        let clients = |member: &Arc<Member>| {
            let endpoints = metrics.iter().map(|_| Endpoint::of(&member.address, &tls, &dialer));
            endpoints.map(|to| Ok(Client::new(to?, limits))).collect::<Result<_, String>>()
        };
        let clients = pool.members().iter().map(clients).collect::<Result<_, _>>()?;
        Ok(Self {
            pool,
            budget,
            links,
            probing: settings
                .probe
                .clone()
                .map(|probe| Probing::new(probe, &settings.tls))
                .transpose()?,
            clients,
            head_limits: HeadLimits::of(limits),
            metrics: metrics.to_vec(),
            trouble: Trouble::new(&settings.name),
            queue: limits.origin_queue,
            slow_client_rate: limits.slow_client_rate,
            settings,
        })
    }

    /// What is counted of each member, with the pool's name and its own.
    pub(crate) fn counts(&self) -> impl Iterator<Item = MemberCounts> + '_ {
        self.pool.members().iter().map(|member| MemberCounts {
            pool: Arc::clone(&self.settings.name),
            member: Arc::clone(&member.name),
            counts: member.counts(),
        })
    }

    /// The members, where they are to be probed.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        let members = self.pool.members().iter();
        let probed =
            self.probing.iter().flat_map(move |probing| members.clone().zip(repeat(probing)));
        probed.map(|(member, probing)| probing.target(member))
    }

    /// Asks a member, and others where one brings no answer, or one that says that it cannot
    /// answer. After an error `body` may still be sent where it [is unread](UpstreamBody::is_unread).
    pub(crate) async fn fetch(
        &self,
        worker: usize,
        ask: &Ask,
        body: &UpstreamBody,
    ) -> Result<Box<Fetched>, UpstreamError> {
        let Settings { retries, last_resort, .. } = &self.settings;
        self.budget.earn(retries);
        let end = self.end();
        // What has no body can be sent any number of times.
        let repeatable = ask.is_repeatable() && body.is_empty();
        let mut candidates = self.pool.candidates(ask.chosen_by, repeatable && retries.most > 0);
        let mut next =
            || candidates.next().filter(|c| *last_resort || c.attempt != Attempt::LastResort);
        let mut this = next().ok_or_else(nobody)?;
        let mut left = retries.most;
        let mut refusal = None;
        loop {
            let outcome = self.exchange(&this, worker, ask, body, end).await;
            let following = match (left, NextCandidate::after(&outcome, repeatable, body)) {
                (0, _) | (_, NextCandidate::Nobody) => None,
                (_, NextCandidate::Healthy) => next().filter(|c| c.attempt != Attempt::LastResort),
                (_, NextCandidate::Other) => next(),
                (_, NextCandidate::Anybody) => next().or_else(|| Some(this.again())),
            };
            match following {
                Some(following) if self.may_try_again(worker) => {
                    left -= 1;
                    // Should nobody say better, it is passed on after all.
                    refusal = outcome.ok().or(refusal);
                    this = following;
                }
                _ => {
                    return outcome.or_else(|failed| match refusal {
                        Some(refusal) => Ok(refusal),
                        None => Err(self.told(&this, ask, failed.error)),
                    });
                }
            }
        }
    }

    /// The members that may be asked, in order, by whoever judges for itself whether an answer will
    /// do ([`Upstream::fetch_from`]).
    pub(crate) fn candidates(
        &self,
        ask: &Ask,
        body: &UpstreamBody,
    ) -> impl Iterator<Item = Candidate<'_>> + use<'_> {
        let last_resort = self.settings.last_resort;
        let candidates =
            self.pool.candidates(ask.chosen_by, ask.is_repeatable() && body.is_empty());
        candidates.filter(move |c| last_resort || c.attempt != Attempt::LastResort)
    }

    /// Asks one member. The error comes with whether another may be asked.
    pub(crate) async fn fetch_from(
        &self,
        candidate: &Candidate<'_>,
        worker: usize,
        ask: &Ask,
        body: &UpstreamBody,
    ) -> Result<Box<Fetched>, (UpstreamError, bool)> {
        let end = self.end();
        let repeatable = ask.is_repeatable() && body.is_empty();
        let outcome = self.exchange(candidate, worker, ask, body, end).await;
        let following = NextCandidate::after(&outcome, repeatable, body);
        outcome.map_err(|failed| {
            (self.told(candidate, ask, failed.error), following != NextCandidate::Nobody)
        })
    }

    fn may_try_again(&self, worker: usize) -> bool {
        let paid = self.budget.spend(&self.settings.retries, Instant::now().into_std());
        self.metrics[worker].count(match paid {
            true => Event::UpstreamRetry,
            false => Event::RetryBudgetExhausted,
        });
        paid
    }

    fn told(&self, this: &Candidate<'_>, ask: &Ask, error: UpstreamError) -> UpstreamError {
        self.trouble.tell(&this.member.address, &ask.target, &error);
        error
    }

    /// When an exchange that begins now has to have ended.
    fn end(&self) -> Option<Instant> {
        let total = self.settings.timeouts.total;
        (!total.is_zero()).then(|| Instant::now() + total)
    }

    /// Asks one member; if a kept connection closes in place of an answer, once more on a new one.
    async fn exchange(
        &self,
        candidate: &Candidate<'_>,
        worker: usize,
        ask: &Ask,
        body: &UpstreamBody,
        end: Option<Instant>,
    ) -> Result<Box<Fetched>, Failed> {
        let outcome = self.exchange_on(Connection::Any, candidate, worker, ask, body, end).await;
        match outcome {
            Err(Failed { reached: Reached::ClosingConnection, .. })
                if ask.is_repeatable() && body.is_empty() =>
            {
                let new = Connection::OpenedAfter(Instant::now().into_std());
                // Boxed, as it is rare: the first try needs no room for it.
                Box::pin(self.exchange_on(new, candidate, worker, ask, body, end)).await
            }
            outcome => outcome,
        }
    }

    async fn exchange_on(
        &self,
        connection: Connection,
        candidate: &Candidate<'_>,
        worker: usize,
        ask: &Ask,
        body: &UpstreamBody,
        end: Option<Instant>,
    ) -> Result<Box<Fetched>, Failed> {
        let member = candidate.member;
        let shed = || self.metrics[worker].count(Event::SlowClientShed);
        let (wait, floor) = (self.wait(end), self.slow_client_rate);
        let wanted = || ask.is_wanted();
        let place = member.place(self.queue, wait, ask.counts_for, floor, shed, wanted).await;
        let place = place.map_err(|error| {
            if error == UpstreamError::ClientShare {
                self.metrics[worker].count(Event::ClientShare);
            }
            Failed::unsent(error)
        })?;
        // Boxed, so that a request which still waits for a place has no room for it.
        Box::pin(self.send(place, connection, candidate, worker, ask, body, end)).await
    }

    /// Asks one member, of which the request has a place.
    #[expect(
        clippy::too_many_arguments,
        reason = "the second half of a step that waits in between"
    )]
    async fn send(
        &self,
        place: Slot,
        connection: Connection,
        candidate: &Candidate<'_>,
        worker: usize,
        ask: &Ask,
        body: &UpstreamBody,
        end: Option<Instant>,
    ) -> Result<Box<Fetched>, Failed> {
        let (member, attempt) = (candidate.member, candidate.attempt);
        let body_again = body.again().unwrap_or_else(|| body.clone());
        // Only HTTP/1.1 can switch to another protocol in this way (RFC 9113 §8.6).
        let link = self.links[member.index].get(worker).filter(|_| ask.upgrade.is_none());
        let mut request = request(member, ask, body_again, link.is_some())?;
        let mut hop = None;
        if let Some(trace) = &ask.trace {
            let (traceparent, span) = Hop::begin(trace, self.attempt(member, ask));
            request.headers_mut().insert(&TRACEPARENT, traceparent);
            hop = span;
        }
        let metrics = Arc::clone(&self.metrics[worker]);
        metrics.upstream_request(ask.site);
        member.sent();
        let sent = Instant::now();
        let progress = body.progress();
        let answer: Pin<Box<dyn Future<Output = Answer> + Send + '_>> = match link {
            Some(link) => Box::pin(link.send(request, connection)),
            None => Box::pin(self.send_http1(member, worker, request, connection)),
        };
        let answer = self.head(answer, progress, end).await;
        let answer = answer.and_then(|(response, held)| {
            let checked = self.head_limits.check(response.version(), response.headers());
            checked.map(|()| (response, held)).map_err(Failed::sent)
        });
        let (mut response, held) = answer.inspect_err(|failed| {
            // A member that ends a connection, in good order or while it is idle, has failed nobody.
            if !matches!(failed.reached, Reached::Unprocessed | Reached::ClosingConnection) {
                member.failed(attempt, &failed.error);
            }
            if let Some(hop) = &mut hop {
                hop.failed(&failed.error);
            }
        })?;
        let waited = sent.elapsed();
        metrics.upstream_first_byte(waited);
        if let Some(hop) = &mut hop {
            hop.answered(response.status());
        }
        let status = Some(response.status()).filter(|_| self.settings.judges_status);
        member.answered(attempt, status.unwrap_or(StatusCode::OK));
        let upgraded = hyper::upgrade::on(&mut response);
        let (head, incoming) = response.into_parts();
        let answered_by = AnsweredBy {
            trouble: Arc::clone(&self.trouble),
            member: Arc::clone(member),
            attempt,
            target: ask.target.clone(),
        };
        let idle = self.settings.timeouts.idle;
        let body = FetchedBody {
            incoming,
            idle,
            end,
            alarm: None,
            metrics,
            answered_by,
            hop,
            _place: place,
            _connection: held,
        };
        let source = Source::of(&member.name, waited, &head.headers);
        let response = Response::from_parts(head, ());
        Ok(Box::new(Fetched { response, body, upgraded, source }))
    }

    fn attempt<'a>(&'a self, member: &'a Member, ask: &'a Ask) -> trace::HopRequest<'a> {
        trace::HopRequest {
            pool: &self.settings.name,
            scheme: &member.address.scheme,
            authority: &member.address.authority,
            method: &ask.method,
            target: &ask.target,
        }
    }

    /// Sends a request over HTTP/1.1.
    async fn send_http1(
        &self,
        member: &Member,
        worker: usize,
        request: Request<UpstreamBody>,
        connection: Connection,
    ) -> Answer {
        if !request.method().is_safe() {
            // It cannot be sent again if it meets a closed connection: what the system knows of
            // closed ones is looked at first.
            tokio::task::yield_now().await;
        }
        let answer = self.clients[member.index][worker].send(request, connection).await;
        answer.map(|(response, in_use)| (response, Held::Connection(in_use)))
    }

    /// Waits for the head of an answer.
    async fn head(
        &self,
        mut answer: Pin<Box<dyn Future<Output = Answer> + Send + '_>>,
        progress: Option<Progress>,
        end: Option<Instant>,
    ) -> Answer {
        let first_byte = self.settings.timeouts.first_byte;
        let mut deadline = Instant::now() + self.wait(end);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = sleep_until(deadline) => {
                    if end.is_some_and(|end| end <= deadline) {
                        return Err(Failed::sent(UpstreamError::TotalTimeout));
                    }
                    // While the client's body still moves, the origin owes no answer yet.
                    let moved = progress.as_ref().map(|progress| progress.last() + first_byte);
                    match moved {
                        Some(later) if later > deadline => {
                            deadline = end.map_or(later, |end| end.min(later));
                        }
                        _ => return Err(Failed::sent(UpstreamError::FirstByteTimeout)),
                    }
                }
            }
        }
    }

    /// How long a head may be waited for from now.
    fn wait(&self, end: Option<Instant>) -> Duration {
        let first_byte = self.settings.timeouts.first_byte;
        end.map_or(first_byte, |end| first_byte.min(end.saturating_duration_since(Instant::now())))
    }
}

/// The head of an answer, and what it has of a connection.
type Answer = Result<(Response<Incoming>, Held), Failed>;

/// What an answer has of a connection until it has ended.
#[expect(dead_code, reason = "given back when it is dropped")]
enum Held {
    /// All of it.
    Connection(InUse),
    /// A stream.
    Stream(Stream),
}

fn nobody() -> UpstreamError {
    UpstreamError::Connect("no member that may be asked is healthy".into())
}

/// Which connection a request goes on.
#[derive(Clone, Copy, Debug)]
enum Connection {
    /// A kept one, if there is one.
    Any,
    /// One that was opened after this moment.
    OpenedAfter(std::time::Instant),
}

/// A try that brought no answer.
struct Failed {
    error: UpstreamError,
    reached: Reached,
}

/// How far a request came that brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// Nothing was sent.
    Nobody,
    /// A kept connection was closed in place of an answer: perhaps it was closing already.
    ClosingConnection,
    /// The member, who did not process it and says so.
    Unprocessed,
    /// The member, who may have acted upon it.
    Member,
}

impl Failed {
    fn unsent(error: UpstreamError) -> Self {
        Self { error, reached: Reached::Nobody }
    }

    fn sent(error: UpstreamError) -> Self {
        Self { error, reached: Reached::Member }
    }

    fn unprocessed(error: UpstreamError) -> Self {
        Self { error, reached: Reached::Unprocessed }
    }

    fn closing(error: UpstreamError) -> Self {
        Self { error, reached: Reached::ClosingConnection }
    }
}

/// Who may be asked after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextCandidate {
    /// Nobody: what came is the answer.
    Nobody,
    /// Another member in health.
    Healthy,
    /// Another member.
    Other,
    /// Another member, else the same once more.
    Anybody,
}

impl NextCandidate {
    fn after(
        outcome: &Result<Box<Fetched>, Failed>,
        repeatable: bool,
        body: &UpstreamBody,
    ) -> Self {
        let Failed { error, reached } = match outcome {
            Ok(fetched) if repeatable && is_gateway_error(fetched.response.status()) => {
                return Self::Healthy;
            }
            Ok(_) => return Self::Nobody,
            Err(failed) => failed,
        };
        match (error, reached) {
            (UpstreamError::Client(_) | UpstreamError::TotalTimeout, _) => Self::Nobody,
            // Another member would answer alike.
            (UpstreamError::HeadTooLarge, _) => Self::Nobody,
            // Other members, and the budget of retries, are for others.
            (UpstreamError::ClientShare, _) => Self::Nobody,
            (UpstreamError::Busy, _) if body.is_unread() => Self::Other,
            (_, Reached::Nobody) if body.is_unread() => Self::Anybody,
            (_, Reached::Unprocessed) if body.can_repeat() => Self::Other,
            (_, Reached::ClosingConnection | Reached::Member) if repeatable => Self::Other,
            _ => Self::Nobody,
        }
    }
}

/// The request as a member gets it, over HTTP/2 if that is `h2`.
fn request(
    member: &Member,
    ask: &Ask,
    body: UpstreamBody,
    h2: bool,
) -> Result<Request<UpstreamBody>, Failed> {
    let mut request = Request::new(body);
    *request.method_mut() = ask.method.clone();
    let visitors = ask.client_host.as_ref().filter(|_| member.address.visitors_host);
    let host = visitors.unwrap_or(&member.host);
    let mut headers = ask.headers.make(ask.client_host.as_ref());
    if h2 {
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = link::uri(member, ask, host)?;
        link::adapt(&mut headers);
    } else {
        *request.uri_mut() = Uri::from(ask.target.clone());
        headers.insert(header::HOST, host.clone());
    }
    if let Some(protocol) = &ask.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    *request.headers_mut() = headers;
    if let Some(asker) = ask.asker.clone() {
        hyper::ext::on_informational(&mut request, move |interim| {
            asker.interim(interim.status(), interim.headers());
        });
    }
    Ok(request)
}
