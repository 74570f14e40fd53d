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
mod bucket;
mod budget;
mod client;
mod dialer;
mod endpoint;
mod error;
mod fetched;
mod h2_io;
mod head;
mod health;
mod link;
mod lookup;
mod member;
mod names;
mod orders;
mod places;
mod pool;
mod probe;
mod proxied;
mod resting;
mod roster;
mod trouble;
mod trust;

pub(crate) use ask::{Ask, Asking};
pub(crate) use balance::{ConsistentHash, For, digest};
pub(crate) use body::{Arrival, ClientBody, UpstreamBody};
pub(crate) use bucket::READ_ONLY;
pub(crate) use error::innermost;
pub(crate) use fetched::{Fetched, FetchedBody};
pub(crate) use lookup::Lookup;
pub(crate) use member::{Address, Counts, Member, MemberCounts, Role};
pub(crate) use names::{Named, Names, OnChange};
pub(crate) use pool::{Candidate, Choosing, Pool};
pub(crate) use probe::{Prober, Target};
pub(crate) use trust::{tls, tls_with};

use crate::error::{ClientError, UpstreamError};
use crate::metrics::{Event, WorkerMetrics};
use crate::source::Source;
use crate::trace::{self, Hop};
use arc_swap::ArcSwap;
use body::Progress;
use bucket::Bucket;
use budget::Budget;
use client::{Exchange, InUse, Resting};
use dialer::Dialer;
use endpoint::Manner;
use fetched::AnsweredBy;
use head::HeadLimits;
use health::Attempt;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use link::{Link, Stream};
use member::{At, Slot, is_gateway_error};
use names::{Addresses, Name};
use pool::MOST_MEMBERS;
use probe::Probing;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use trouble::Trouble;
use weir_config::{Limits, OriginPool, ProxyProtocol};
use weir_protocol::question::OriginMember;
use weir_rules::trace_context::TRACEPARENT;

/// An exchange that has waited for its answer for so long is likely to wait for longer.
const RESTS_AFTER: Duration = Duration::from_secs(1);

/// Further addresses of names that a request is tried at because others took no connection: each may take its time.
const MOST_ELSEWHERE: u32 = 8;

/// A pool with all that is needed to ask it.
pub(crate) struct Upstream {
    /// The members of now. Replaced as a whole when a name has other addresses.
    pool: ArcSwap<Pool>,
    /// The members as the configuration names them.
    addresses: Vec<Address>,
    /// The addresses that their names had last.
    resolved: Mutex<Addresses>,
    /// Told when an address takes no connection.
    unreachable: Notify,
    settings: Settings,
    budget: Arc<Budget>,
    /// How connections are opened, in the clear or with HTTP/1.1 over TLS.
    manner: Manner,
    /// The same for HTTP/2.
    h2: Manner,
    bucket: Option<Bucket>,
    head_limits: HeadLimits,
    limits: Limits,
    /// How its members are probed.
    probing: Option<Probing>,
    /// One a worker.
    metrics: Vec<Arc<WorkerMetrics>>,
    trouble: Arc<Trouble>,
    queue: usize,
    slow_client_rate: u64,
}

/// How a pool is asked.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Names the pool in the log: the site's id, perhaps with the pool's name, or `parents`.
    pub(crate) name: Arc<str>,
    /// What rules and the access log call it, if it has a name.
    pub(crate) named: Option<Arc<str>>,
    /// Which member is chosen.
    pub(crate) choosing: Choosing,
    /// Waits.
    pub(crate) timeouts: weir_config::Timeouts,
    /// What certificates of members are held against.
    pub(crate) tls: rustls::ClientConfig,
    /// The name that they must have, in place of the URL's host.
    pub(crate) server_name: Option<String>,
    /// What each connection begins with.
    pub(crate) proxy: Option<ProxyProtocol>,
    /// Who is asked for the addresses of names.
    pub(crate) lookup: Lookup,
    /// How long addresses of a name are believed at most, where each is a member; `None` makes a name one member.
    pub(crate) resolve: Option<Duration>,
    /// Of a private bucket, how requests are signed.
    pub(crate) s3: Option<weir_config::S3>,
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
    /// The origins of a pool of a site, with a client for each worker that counts into `metrics`. What
    /// `known`, the upstream before a reload, knows of members that stay is kept.
    pub(crate) fn new(
        site: &weir_config::Site,
        pool: &OriginPool,
        limits: &Limits,
        metrics: &[Arc<WorkerMetrics>],
        lookup: &Lookup,
        known: Option<&Upstream>,
    ) -> Result<Self, String> {
        let choosing = Choosing {
            balance: pool.balance,
            virtual_nodes: ConsistentHash::VIRTUAL_NODES,
            ejection: pool.health.ejection,
            connections: limits.origin_connections,
        };
        let is_default = pool.name == OriginPool::DEFAULT;
        let settings = Settings {
            name: match is_default {
                true => Arc::from(site.id.as_str()),
                false => Arc::from(format!("{}/{}", site.id, pool.name)),
            },
            named: (!is_default).then(|| Arc::from(pool.name.as_str())),
            choosing,
            timeouts: pool.timeouts,
            tls: trust::tls_of(&pool.tls)?,
            server_name: pool.tls.server_name.clone(),
            proxy: pool.proxy_protocol,
            lookup: lookup.clone(),
            resolve: Some(pool.resolve),
            s3: pool.s3.clone(),
            retries: pool.retries,
            last_resort: true,
            judges_status: true,
            probe: pool.health.probe.clone(),
        };
        let origins = pool.origins.iter().map(Address::of).collect::<Result<_, _>>()?;
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
        if addresses.len() > MOST_MEMBERS {
            return Err(format!("{} members; a pool has at most {MOST_MEMBERS}", addresses.len()));
        }
        let budget = match known {
            Some(known) => Arc::clone(&known.budget),
            None => Arc::new(Budget::new(&settings.retries, std::time::Instant::now())),
        };
        let dialer = Dialer::new(settings.timeouts.connect, settings.lookup.clone());
        let manner = |tls| Manner {
            tls,
            server_name: settings.server_name.clone(),
            proxy: settings.proxy,
            dialer: dialer.clone(),
        };
        let mut resolved = known.map(|known| known.resolved().clone()).unwrap_or_default();
        let is_named = |name: &Name| {
            addresses.iter().any(|address| address.host_name() == Some(name.0.as_str()))
        };
        resolved.retain(|name, _| is_named(name));
        let upstream = Self {
            pool: ArcSwap::from_pointee(Pool::new(Vec::new(), &settings.choosing)),
            addresses,
            resolved: Mutex::new(resolved),
            unreachable: Notify::new(),
            budget,
            manner: manner(Arc::new(settings.tls.clone())),
            h2: manner(Link::tls(settings.tls.clone())),
            bucket: settings.s3.as_ref().map(Bucket::of),
            probing: settings.probe.clone().map(Probing::new),
            head_limits: HeadLimits::of(limits),
            limits: *limits,
            metrics: metrics.to_vec(),
            trouble: Trouble::new(&settings.name),
            queue: limits.origin_queue,
            slow_client_rate: limits.slow_client_rate,
            settings,
        };
        let addresses = upstream.expanded(&upstream.resolved());
        let known = known.map(|known| known.pool.load_full());
        let standing = |address: &Address| known.as_ref().and_then(|known| known.standing(address));
        let members = addresses.into_iter().map(|address| {
            let standing = standing(&address);
            upstream.member(address, standing)
        });
        let members = members.collect::<Result<_, _>>()?;
        upstream.pool.store(Arc::new(Pool::new(members, &upstream.settings.choosing)));
        Ok(upstream)
    }

    /// How it is named in the log.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// The members of now. They stay what they are while they are held.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        self.pool.load_full()
    }

    /// Why a request is not passed on to these origins, if it is not.
    pub(crate) fn refusal(
        &self,
        method: &Method,
        target: Option<&PathAndQuery>,
        has_body: bool,
    ) -> Option<ClientError> {
        self.bucket.as_ref()?.refusal(method, target, has_body)
    }

    /// What is counted of each member, with the pool's name and its own.
    pub(crate) fn counts(&self) -> Vec<MemberCounts> {
        let pool = self.pool.load();
        let of_member = |member: &Arc<Member>| MemberCounts {
            pool: Arc::clone(&self.settings.name),
            member: Arc::clone(&member.name),
            counts: member.counts(),
        };
        pool.members().iter().map(of_member).collect()
    }

    /// What control is told of each member, where it is a pool of this site.
    pub(crate) fn members(&self, site: &str) -> Vec<OriginMember> {
        let (pool, is_probed) = (self.pool.load(), self.probing.is_some());
        let members = pool.members().iter();
        members.map(|member| member.told(site, &self.settings.name, is_probed)).collect()
    }

    /// The members, where they are to be probed.
    pub(crate) fn targets(self: &Arc<Self>) -> Vec<Target> {
        let Some(probing) = &self.probing else { return Vec::new() };
        let pool = self.pool.load();
        pool.members().iter().map(|member| probing.target(self, member)).collect()
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
        let pool = self.pool.load_full();
        let mut candidates = pool.candidates(ask.chosen_by, repeatable && retries.most > 0);
        let mut next =
            || candidates.next().filter(|c| *last_resort || c.attempt != Attempt::LastResort);
        let mut this = next().ok_or_else(nobody)?;
        let mut left = retries.most;
        let mut elsewhere = MOST_ELSEWHERE;
        let mut refusal = None;
        loop {
            let outcome = self.exchange(&this, worker, ask, body, end).await;
            let at_another =
                self.is_at_another(&this, &outcome) && body.is_unread() && elsewhere > 0;
            let following = match (left, NextCandidate::after(&outcome, repeatable, body)) {
                _ if at_another => next(),
                (0, _) | (_, NextCandidate::Nobody) => None,
                (_, NextCandidate::Healthy) => next().filter(|c| c.attempt != Attempt::LastResort),
                (_, NextCandidate::Other) => next(),
                (_, NextCandidate::Anybody) => next().or_else(|| Some(this.again())),
            };
            match following {
                Some(following) if at_another || self.may_try_again(worker) => {
                    left -= u32::from(!at_another);
                    elsewhere -= u32::from(at_another);
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

    /// Whether one of several addresses of a name took no connection. The next one is tried then, as by any client of
    /// DNS (RFC 1123 §2.3): that is no retry, and costs nothing.
    fn is_at_another(&self, this: &Candidate<'_>, outcome: &Result<Box<Fetched>, Failed>) -> bool {
        let unreached = |failed: &Failed| {
            failed.reached == Reached::Nobody
                && matches!(failed.error, UpstreamError::Connect(_) | UpstreamError::ConnectTimeout)
        };
        let is_one = matches!(this.member.address.at, At::One(_));
        let at_another = is_one && outcome.as_ref().is_err_and(unreached);
        if at_another {
            self.unreachable.notify_waiters();
        }
        at_another
    }

    /// The members of a pool that may be asked, in order, by whoever judges for itself whether an answer
    /// will do ([`Upstream::fetch_from`]).
    pub(crate) fn candidates<'a>(
        &self,
        pool: &'a Pool,
        ask: &Ask,
        body: &UpstreamBody,
    ) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
        let last_resort = self.settings.last_resort;
        let candidates = pool.candidates(ask.chosen_by, ask.is_repeatable() && body.is_empty());
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
        let link = member.ways.links.get(worker).filter(|_| ask.upgrade.is_none());
        let mut request = request(member, self.bucket.as_ref(), ask, body_again, link.is_some())?;
        let mut hop = None;
        if let Some(trace) = &ask.trace {
            let (traceparent, span) = Hop::begin(trace, self.attempt(member, ask));
            request.headers_mut().insert(&TRACEPARENT, traceparent);
            hop = span;
        }
        let metrics = Arc::clone(&self.metrics[worker]);
        metrics.upstream_request(ask.site, member.address.role == Role::Origin);
        member.sent();
        let sent = Instant::now();
        let progress = body.progress();
        let waits_long = AtomicBool::new(false);
        let mut patience = Patience::new(sent, self.wait(end));
        let answer: Waiting<'_, Sent> = match link {
            Some(link) => Box::pin(link.send(request, connection)),
            None => {
                Box::pin(self.send_http1(member, worker, ask, request, connection, &waits_long))
            }
        };
        let answer =
            match self.head(answer, &mut patience, &waits_long, progress.as_ref(), end).await {
                Ok(Sent::Answered(response, held)) => Ok((response, held)),
                Ok(Sent::Rests(resting)) => {
                    let client = &member.ways.clients[worker];
                    let answer = Box::pin(client.rest(resting, || stand_in(ask)));
                    let progress = progress.as_ref();
                    let answer = self.head(answer, &mut patience, &waits_long, progress, end).await;
                    answer.map(|(response, in_use)| (response, Held::Connection(in_use)))
                }
                Err(failed) => Err(failed),
            };
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
        member.answered(attempt, status.unwrap_or(StatusCode::OK), sent.into_std(), waited);
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
        let pool = self.settings.named.clone();
        let source = Source { pool, ..Source::of(&member.name, waited, &head.headers) };
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
        ask: &Ask,
        request: Request<UpstreamBody>,
        connection: Connection,
        waits_long: &AtomicBool,
    ) -> Result<Sent, Failed> {
        if !request.method().is_safe() {
            // It cannot be sent again if it meets a closed connection: what the system knows of
            // closed ones is looked at first.
            tokio::task::yield_now().await;
        }
        let upgrades = ask.upgrade.is_some();
        let client = ask.chosen_by.client;
        let exchange = Exchange { request, waits_long, upgrades, client };
        member.ways.clients[worker].send(exchange, connection).await
    }

    /// Waits for the head of an answer, and says when it has waited for long.
    async fn head<T>(
        &self,
        mut answer: Waiting<'_, T>,
        patience: &mut Patience,
        waits_long: &AtomicBool,
        progress: Option<&Progress>,
        end: Option<Instant>,
    ) -> Result<T, Failed> {
        let first_byte = self.settings.timeouts.first_byte;
        let Patience { begun, rests, deadline } = patience;
        loop {
            let until = (*rests).min(*deadline);
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = sleep_until(until) => {
                    if until < *deadline {
                        // It is polled above. Perhaps its request is still to be sent, and it can rest later.
                        waits_long.store(true, Ordering::Relaxed);
                        *rests += *rests - *begun;
                        continue;
                    }
                    if end.is_some_and(|end| end <= *deadline) {
                        return Err(Failed::sent(UpstreamError::TotalTimeout));
                    }
                    // While the client's body still moves, the origin owes no answer yet.
                    let moved = progress.map(|progress| progress.last() + first_byte);
                    match moved {
                        Some(later) if later > *deadline => {
                            *deadline = end.map_or(later, |end| end.min(later));
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

/// A wait for the head of an answer.
type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failed>> + Send + 'a>>;

/// What became of a request that was sent.
enum Sent {
    /// The head of its answer is here, and what it has of a connection.
    Answered(Response<Incoming>, Held),
    /// It has waited for long, and its connection rests.
    Rests(Resting),
}

/// How long the head of an answer is waited for.
struct Patience {
    begun: Instant,
    /// When its connection is next asked to rest.
    rests: Instant,
    deadline: Instant,
}

impl Patience {
    fn new(begun: Instant, wait: Duration) -> Self {
        Self { begun, rests: begun + RESTS_AFTER, deadline: begun + wait }
    }
}

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
    bucket: Option<&Bucket>,
    ask: &Ask,
    body: UpstreamBody,
    h2: bool,
) -> Result<Request<UpstreamBody>, Failed> {
    let mut request = Request::new(body);
    *request.method_mut() = ask.method.clone();
    let visitors = ask.client_host.as_ref().filter(|_| member.address.visitors_host);
    let host = visitors.unwrap_or(&member.host);
    let mut headers = ask.headers.make(ask.client_host.as_ref());
    let target = match bucket {
        None => member.address.target(&ask.target),
        Some(bucket) => {
            let prefix = &member.address.prefix;
            let signed = bucket.sign(&ask.method, prefix, &ask.target, host, &mut headers);
            signed.map_err(Failed::unsent)?
        }
    };
    if h2 {
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = link::uri(member, &target, host)?;
        link::adapt(&mut headers);
    } else {
        *request.uri_mut() = Uri::from(target);
        headers.insert(header::HOST, host.clone());
    }
    if let Some(protocol) = &ask.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    *request.headers_mut() = headers;
    tell_of_interim(&mut request, ask);
    Ok(request)
}

/// In place of a request over HTTP/1.1 that a member has: what matters for the reading of its answer.
fn stand_in(ask: &Ask) -> Request<UpstreamBody> {
    let mut request = Request::new(UpstreamBody::Empty);
    *request.method_mut() = ask.method.clone();
    tell_of_interim(&mut request, ask);
    request
}

/// Has whoever asks told of interim responses.
fn tell_of_interim(request: &mut Request<UpstreamBody>, ask: &Ask) {
    if let Some(asker) = ask.asker.clone() {
        hyper::ext::on_informational(request, move |interim| {
            asker.interim(interim.status(), interim.headers());
        });
    }
}

#[cfg(test)]
mod tests;
