//! A member of a pool: an origin, or a parent. What is known of it outlives a reload that keeps
//! it, and requests hold on to one that a reload takes away until they have ended.

use super::balance::{Share, digest};
use super::client::Client;
use super::health::{Attempt, Change, Health, Verdict};
use super::link::Link;
use super::places::{Place, Places};
use crate::error::UpstreamError;
use crate::metrics::{latency_bucket, up_to_last};
use crate::place::PlaceReaders;
use crate::shares::{Held, Shares};
use crate::source::Source;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, StatusCode};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;
use weir_config::{Ejection, Origin, Probe, Protocol};
use weir_protocol::question::{OriginMember, OriginState, ProbeCounts};
use weir_protocol::stats::LATENCY_BUCKETS;
use weir_rules::client_share::{self, Prefix};

/// What the members of a pool are to the node. Names them in the node's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An origin of a site.
    Origin,
    /// A parent of this node.
    Parent,
}

impl Role {
    /// `origin` or `parent`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Parent => "parent",
        }
    }
}

/// How often one that waits for a place asks for a client to be shed, and whether it is wanted itself.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How a member is reached, and how it stands to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// What it is to the node.
    pub(crate) role: Role,
    /// `http` or `https`.
    pub(crate) scheme: Scheme,
    /// Host and port.
    pub(crate) authority: Authority,
    /// Its share, where the balance looks at weights.
    pub(crate) weight: u32,
    /// Members at a greater distance are asked when none at a smaller is left.
    pub(crate) distance: u8,
    /// What it is spoken to in.
    pub(crate) protocol: Protocol,
    /// Whether it is asked with the visitor's Host.
    pub(crate) visitors_host: bool,
    /// What is connected to.
    pub(crate) at: At,
    /// What is put before each path: empty, or a path that does not end with a slash.
    pub(crate) prefix: Arc<str>,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The host of the authority: a name is looked up for each connection.
    Authority,
    /// One of several addresses that the host has.
    One(IpAddr),
    /// A Unix socket.
    Socket(Arc<Path>),
}

impl Address {
    /// An origin's.
    pub(crate) fn of(origin: &Origin) -> Result<Self, String> {
        let authority = origin.authority.parse::<Authority>();
        Ok(Self {
            role: Role::Origin,
            scheme: if origin.tls { Scheme::HTTPS } else { Scheme::HTTP },
            authority: authority
                .map_err(|error| format!("origin {}: {error}", origin.authority))?,
            weight: origin.weight,
            distance: 0,
            protocol: origin.protocol,
            visitors_host: origin.visitors_host,
            at: match &origin.socket {
                Some(path) => At::Socket(Arc::from(path.as_path())),
                None => At::Authority,
            },
            prefix: Arc::from(origin.prefix.as_str()),
        })
    }

    /// The port that is connected to.
    pub(super) fn port(&self) -> u16 {
        let default = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }

    /// The name that is looked up, if it is one; `localhost` is one machine, whatever its addresses (RFC 6761 §6.3).
    pub(super) fn host_name(&self) -> Option<&str> {
        let host = self.authority.host().trim_matches(['[', ']']);
        let is_local = host == "localhost" || host.ends_with(".localhost");
        let is_name = self.at == At::Authority && !is_local && host.parse::<IpAddr>().is_err();
        is_name.then_some(host)
    }

    /// Where a path is asked for there.
    pub(super) fn target(&self, target: &PathAndQuery) -> PathAndQuery {
        if self.prefix.is_empty() || !target.path().starts_with('/') {
            return target.clone();
        }
        // Both are valid, and so is one after the other.
        PathAndQuery::try_from(format!("{}{target}", self.prefix))
            .unwrap_or_else(|_| target.clone())
    }
}

/// Its URL, and which of its addresses is meant.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scheme, authority, prefix, .. } = self;
        match &self.at {
            At::Authority => write!(f, "{scheme}://{authority}{prefix}"),
            At::One(ip) => write!(f, "{scheme}://{authority}{prefix} ({ip})"),
            At::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The ways to a member.
#[derive(Default)]
pub(super) struct Ways {
    /// One a worker: a connection lives on the runtime of the worker that opened it.
    pub(super) clients: Vec<Client>,
    /// The same, of one that is asked over HTTP/2.
    pub(super) links: Vec<Link>,
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ways").finish_non_exhaustive()
    }
}

/// A member of a pool.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) address: Address,
    pub(super) ways: Ways,
    /// Its own authority, for Host.
    pub(super) host: HeaderValue,
    /// `http://10.0.0.5:3000`: names it in metrics, and to consistent hashing ([`Address`]).
    pub(super) name: Arc<str>,
    pub(super) standing: Arc<Standing>,
    ejection: Ejection,
    places: Arc<Places>,
    /// For whose sake its places are held.
    pub(super) readers: Arc<PlaceReaders>,
}

/// What is known of a member, whatever the configuration.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(super) health: Health,
    running: AtomicUsize,
    waiting: AtomicUsize,
    /// Those of each client prefix.
    waiting_shares: Arc<Shares>,
    requests: AtomicU64,
    errors: AtomicU64,
    /// How long heads of answers took.
    first_byte: [AtomicU64; LATENCY_BUCKETS],
    probes: Mutex<Probed>,
}

/// What probes came to.
#[derive(Clone, Debug, Default)]
struct Probed {
    good: u64,
    bad: u64,
    /// When the last one was, and why it failed.
    last: Option<(Instant, Option<String>)>,
}

/// What is counted of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests sent, each try by itself.
    pub(crate) requests: u64,
    /// Those that failed, or were answered 502, 503 or 504.
    pub(crate) errors: u64,
    /// Times it was ejected.
    pub(crate) ejections: u64,
    /// Requests it is working on.
    pub(crate) running: usize,
    /// Whether it is asked like any other.
    pub(crate) healthy: bool,
}

/// The counts of a member, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberCounts {
    /// The site's id, or `parents`.
    pub(crate) pool: Arc<str>,
    /// Its URL.
    pub(crate) member: Arc<str>,
    /// What is counted.
    pub(crate) counts: Counts,
}

impl Member {
    /// A member; `known` is what was known of it before.
    pub(super) fn new(
        address: Address,
        ways: Ways,
        ejection: Ejection,
        connections: usize,
        known: Option<Arc<Standing>>,
    ) -> Result<Self, String> {
        let host = HeaderValue::from_str(address.authority.as_str())
            .map_err(|error| format!("{}: {error}", address.authority))?;
        let name: Arc<str> = address.to_string().into();
        let standing = known.unwrap_or_else(|| Arc::new(Standing::new(&name)));
        let places = Places::new(connections);
        Ok(Self { address, ways, host, name, standing, ejection, places, readers: Arc::default() })
    }

    /// Whether it sent an answer.
    pub(crate) fn is(&self, source: &Source) -> bool {
        source.member == self.name
    }

    /// What a balance knows of it.
    pub(super) fn share(&self) -> Share {
        Share { name: digest(self.name.as_bytes()), weight: self.address.weight }
    }

    /// The port that tests tell it by.
    #[cfg(test)]
    pub(crate) fn port(&self) -> Option<u16> {
        self.address.authority.port_u16()
    }

    /// Requests it is working on.
    pub(super) fn running(&self) -> usize {
        self.standing.running.load(Ordering::Relaxed)
    }

    /// What is counted of it.
    pub(crate) fn counts(&self) -> Counts {
        let Standing { health, running, requests, errors, .. } = &*self.standing;
        Counts {
            requests: requests.load(Ordering::Relaxed),
            errors: errors.load(Ordering::Relaxed),
            ejections: health.ejections(),
            running: running.load(Ordering::Relaxed),
            healthy: health.is_healthy(),
        }
    }

    /// Waits for one of its places, of which a client prefix gets a share, in a queue of bounded length, of
    /// which it gets a share, too, and in which prefixes take turns. Clients that take less than `floor` bytes a second are
    /// [shed](PlaceReaders::shed_slowest) for it, each told to `shed`. A request that is no longer
    /// `wanted` leaves the queue.
    pub(super) async fn place(
        self: &Arc<Self>,
        queue: usize,
        bound: Duration,
        client: Option<Prefix>,
        floor: u64,
        shed: impl Fn(),
        wanted: impl Fn() -> bool,
    ) -> Result<Slot, UpstreamError> {
        let counted = RunningCount::begin(self);
        if let Some(place) = self.places.free(client) {
            return Ok(Slot { _place: place, _counted: counted });
        }
        let _waiting = Waiting::enter(&self.standing, queue, client)?;
        let end = tokio::time::Instant::now() + bound;
        let mut turn = self.places.wait(client);
        loop {
            if !wanted() {
                return Err(UpstreamError::deserted());
            }
            if self.readers.shed_slowest(floor, Instant::now()) {
                shed();
            }
            let now = tokio::time::Instant::now();
            if now >= end {
                return Err(UpstreamError::Busy);
            }
            if let Ok(place) = timeout_at(end.min(now + ASK_EVERY), turn.turn()).await {
                let place = place.ok_or(UpstreamError::Busy)?;
                return Ok(Slot { _place: place, _counted: counted });
            }
        }
    }

    /// Notes that a request was sent.
    pub(super) fn sent(&self) {
        self.standing.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// What control is told of it, as a member of a pool of this site; `is_probed` where its pool is.
    pub(super) fn told(&self, site: &str, pool: &str, is_probed: bool) -> OriginMember {
        let counts = self.counts();
        let Standing { health, first_byte, probes, .. } = &*self.standing;
        let first_byte: Vec<_> =
            first_byte.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let Probed { good, bad, last } =
            probes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let probe = is_probed.then(|| ProbeCounts {
            good,
            bad,
            seconds_ago: last.as_ref().map(|(at, _)| at.elapsed().as_secs()),
            error: last.and_then(|(_, error)| error),
        });
        OriginMember {
            site: site.to_owned(),
            pool: pool.to_owned(),
            url: self.name.to_string(),
            state: match counts.healthy {
                true => OriginState::Healthy,
                false if health.is_out() => OriginState::Out,
                false => OriginState::Ejected,
            },
            weight: self.address.weight,
            requests: counts.requests,
            errors: counts.errors,
            ejections: counts.ejections,
            running: counts.running as u64,
            first_byte: up_to_last(&first_byte),
            probe,
        }
    }

    /// Notes that a head came, and how long it took since the request was sent.
    pub(super) fn answered(
        &self,
        attempt: Attempt,
        status: StatusCode,
        sent: Instant,
        waited: Duration,
    ) {
        self.standing.first_byte[latency_bucket(waited)].fetch_add(1, Ordering::Relaxed);
        let verdict = if is_gateway_error(status) { Verdict::Bad } else { Verdict::Good };
        self.note(attempt, verdict, sent + waited);
    }

    /// Notes that no head came, or that the body broke off. Not every error is the member's.
    pub(super) fn failed(&self, attempt: Attempt, error: &UpstreamError) {
        let verdict = match error {
            UpstreamError::Client(_)
            | UpstreamError::NoParent
            | UpstreamError::Loop
            | UpstreamError::Busy
            | UpstreamError::ClientShare
            | UpstreamError::HeadTooLarge
            | UpstreamError::TotalTimeout => return,
            UpstreamError::IdleTimeout | UpstreamError::BadBody(_) => Verdict::BrokeOff,
            UpstreamError::Connect(_)
            | UpstreamError::ConnectTimeout
            | UpstreamError::FirstByteTimeout
            | UpstreamError::BadHead(_)
            | UpstreamError::Reset(_) => Verdict::Bad,
        };
        self.note(attempt, verdict, Instant::now());
    }

    fn note(&self, attempt: Attempt, verdict: Verdict, now: Instant) {
        if verdict != Verdict::Good {
            self.standing.errors.fetch_add(1, Ordering::Relaxed);
        }
        let health = &self.standing.health;
        let change = health.note(&self.ejection, attempt, verdict, now);
        self.tell(change, "");
    }

    /// Notes what a probe found.
    pub(super) fn probed(&self, found: Result<(), String>, probe: &Probe, now: Instant) {
        let mut probes = self.standing.probes.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(()) => probes.good += 1,
            Err(_) => probes.bad += 1,
        }
        probes.last = Some((now, found.as_ref().err().cloned()));
        drop(probes);
        let health = &self.standing.health;
        let change = health.note_probe(found.is_ok(), probe.healthy, probe.unhealthy, now);
        self.tell(change, &found.err().unwrap_or_default());
    }

    /// Brings it back where probes took it out: there are none any more.
    pub(super) fn forget_probes(&self) {
        self.standing.health.forget_probes(Instant::now());
    }

    fn tell(&self, change: Option<Change>, why: &str) {
        let (member, role) = (&self.name, self.address.role.word());
        match change {
            Some(Change::Out) => tracing::warn!(%member, "{role} out: its probes failed: {why}"),
            Some(Change::Back) => tracing::info!(%member, "{role} back"),
            Some(Change::Ejected(length)) => {
                tracing::warn!(%member, ?length, "{role} ejected: its requests failed");
            }
            None => {}
        }
    }
}

impl Standing {
    fn new(name: &str) -> Self {
        Self {
            health: Health::new(digest(name.as_bytes()), Instant::now()),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            waiting_shares: Arc::default(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            first_byte: std::array::from_fn(|_| AtomicU64::new(0)),
            probes: Mutex::default(),
        }
    }
}

/// Whether a status says that who was asked cannot answer now, while another may.
pub(super) fn is_gateway_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// One of a member's places, kept until the answer has ended.
#[derive(Debug)]
pub(super) struct Slot {
    _place: Place,
    _counted: RunningCount,
}

/// Counts one more running request while it lives, also while it waits for a place: a member
/// before which a queue stands has the more to do.
#[derive(Debug)]
struct RunningCount(Arc<Standing>);

impl RunningCount {
    fn begin(member: &Member) -> Self {
        member.standing.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&member.standing))
    }
}

impl Drop for RunningCount {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one more in a queue while it lives.
struct Waiting<'a> {
    queue: &'a AtomicUsize,
    _held: Option<Held>,
}

impl<'a> Waiting<'a> {
    fn enter(
        standing: &'a Standing,
        bound: usize,
        client: Option<Prefix>,
    ) -> Result<Self, UpstreamError> {
        let queue = &standing.waiting;
        let used = queue.fetch_add(1, Ordering::Relaxed);
        let held = client.map(|client| standing.waiting_shares.hold(client, 1));
        let others = held.as_ref().map_or(0, |held| held.total().saturating_sub(1));
        let waiting = Self { queue, _held: held };
        if client.is_some() && !client_share::admits(others, 1, used as u64, bound as u64) {
            return Err(UpstreamError::ClientShare);
        }
        if used >= bound { Err(UpstreamError::Busy) } else { Ok(waiting) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.fetch_sub(1, Ordering::Relaxed);
    }
}
