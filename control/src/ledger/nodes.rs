//! The expected nodes.

use super::behind::Behind;
use super::errors::Ended;
use crate::journal::{NodeRecord, ProcessRecord};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;
use weir_protocol::frame::{SiteHosts, Welcomed};
use weir_protocol::stats::Stats;
use weir_rules::invalidation::Seq;
use weir_rules::lease::{is_surely_over, surely_over_after};
use weir_rules::tier::Tier;

/// A node's connection, from its welcome on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(super) u64);

impl SessionId {
    /// The session that has this number, if there is one.
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }

    /// Its number: of no other session of this process.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// An edge is attached to a relay.
#[derive(Debug)]
pub(crate) struct AttachedSession {
    /// What to name its session by from now on.
    pub(crate) session: SessionId,
    /// As in [`Joined`].
    pub(crate) ended: oneshot::Receiver<Ended>,
    /// What it reported of its sites.
    pub(crate) sites: Option<Arc<[SiteHosts]>>,
}

/// A node was let in.
#[derive(Debug)]
pub(crate) struct Joined {
    /// What to answer it.
    pub(crate) welcomed: Welcomed,
    /// What to name it by.
    pub(crate) session: SessionId,
    /// Why the session is over before its connection is, once it is; an error when the ledger closes.
    pub(crate) ended: oneshot::Receiver<Ended>,
}

/// By what right a process joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    /// The name of the token that it showed.
    pub(crate) token: String,
    /// It may have its name without the node's secret.
    pub(crate) entitled: bool,
}

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeState {
    /// It has a session, and was heard within the lease.
    Connected,
    /// It has a session, but was not heard within the lease.
    Silent,
    /// It has no session.
    Offline,
}

impl NodeState {
    /// `connected`, `silent` or `offline`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Silent => "silent",
            Self::Offline => "offline",
        }
    }
}

/// An expected node, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeView {
    /// Unique.
    pub(crate) name: String,
    /// Its tier.
    pub(crate) tier: Tier,
    /// Its region.
    pub(crate) region: String,
    /// Where clients connect.
    pub(crate) listen: String,
    /// The program's.
    pub(crate) version: String,
    /// Whether it is there.
    pub(crate) state: NodeState,
    /// The last seq that it applied.
    pub(crate) applied: Seq,
    /// How many entries that is behind the head.
    pub(crate) lag: u64,
    /// When it was last heard.
    pub(crate) heard: SystemTime,
    /// What it told of itself last, since control started.
    pub(crate) stats: Option<Arc<Stats>>,
    /// Since when it is expected.
    pub(crate) since: SystemTime,
    /// The session of its newest process that is connected.
    pub(crate) session: Option<SessionId>,
    /// Its processes: more than one while one takes over from another.
    pub(crate) processes: usize,
    /// Whether its name is for who shows its secret.
    pub(crate) is_proven: bool,
    /// Whether it is forgotten once its lease is over.
    pub(crate) ephemeral: bool,
    /// The relay through which that session is.
    pub(crate) via: Option<Arc<str>>,
}

/// An expected node.
#[derive(Debug)]
pub(super) struct ExpectedNode {
    /// As the journal keeps it, but that `applied` and `heard_ms` may be ahead of it.
    pub(super) record: NodeRecord,
    /// When any of its processes was heard, or control began to listen.
    pub(super) heard: Instant,
    /// Of its processes that are connected, one each; the newest last.
    pub(super) sessions: Vec<Session>,
    /// Purges do not wait for it: it validates all it has stored, and its lease is surely over; or it
    /// has ended, and shows nothing before it has caught up.
    pub(super) lease_over: bool,
    /// When its lease is to be looked at.
    pub(super) watched: Option<Instant>,
    /// What [`PublishedLog::checked`](super::published::PublishedLog) counts it at.
    pub(super) held: Option<Seq>,
    /// Its column of the arrivals.
    pub(super) column: usize,
    /// As the record has it.
    pub(super) region: Arc<str>,
    pub(super) stats: Option<Arc<Stats>>,
    /// What it reported last, if it did.
    pub(super) sites: Option<Arc<[SiteHosts]>>,
}

/// A node's connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The node's process.
    pub(super) instance: String,
    /// When it was heard.
    pub(super) heard: Instant,
    /// To its connection; `None` once it was told.
    ended: Option<oneshot::Sender<Ended>>,
    /// The relay that it is through.
    pub(super) via: Option<Arc<str>>,
}

/// A node has come further.
pub(super) struct Moved {
    /// What it has applied.
    pub(super) seqs: RangeInclusive<Seq>,
    /// Its column of the arrivals.
    pub(super) column: usize,
    /// Up to where its lease was over.
    pub(super) excused: Seq,
}

impl Session {
    /// One that begins now, directly; and what tells its connection that it is over.
    pub(super) fn new(
        id: SessionId,
        instance: String,
        heard: Instant,
    ) -> (Self, oneshot::Receiver<Ended>) {
        let (ended, listener) = oneshot::channel();
        (Self { id, instance, heard, ended: Some(ended), via: None }, listener)
    }

    /// Tells its connection that it is over.
    pub(super) fn end(&mut self, why: Ended) {
        if let Some(ended) = self.ended.take() {
            // Fails only when the connection has ended already.
            let _ = ended.send(why);
        }
    }

    /// Goes on under another name, through a relay: tells the connection that it had, and returns what
    /// tells the next one.
    pub(super) fn attach(&mut self, id: SessionId, relay: Arc<str>) -> oneshot::Receiver<Ended> {
        self.end(Ended::Attached);
        let (ended, listener) = oneshot::channel();
        (self.id, self.ended, self.via) = (id, Some(ended), Some(relay));
        listener
    }
}

impl ExpectedNode {
    /// Whose `record` the journal has, or will have.
    pub(super) fn new(record: NodeRecord, column: usize, now: Instant) -> Self {
        let record = record.completed();
        Self {
            region: record.region.as_str().into(),
            lease_over: record.away,
            record,
            heard: now,
            sessions: Vec::new(),
            watched: None,
            held: None,
            column,
            stats: None,
            sites: None,
        }
    }

    /// Up to where its lease was over, in a log with this head.
    pub(super) fn excused(&self, head: Seq) -> Seq {
        if self.lease_over { head } else { self.record.excused }
    }

    /// Up to where no purge waits for it.
    pub(super) fn settled(&self) -> Seq {
        self.record.counted.max(self.record.excused)
    }

    /// When its lease may be over, if it is never heard again; `None` for never.
    pub(super) fn lease_ends(&self) -> Option<Instant> {
        self.heard.checked_add(surely_over_after(self.record.validates_after()?))
    }

    /// The process of this session was heard; whether it is the newest that is connected, which
    /// speaks for the node.
    pub(super) fn hear(&mut self, session: SessionId, now: Instant) -> bool {
        self.heard = self.heard.max(now);
        self.record.heard_ms = super::millis(SystemTime::now());
        if let Some(known) = self.sessions.iter_mut().find(|known| known.id == session) {
            known.heard = known.heard.max(now);
        }
        self.sessions.last().is_some_and(|newest| newest.id == session)
    }

    /// The process of a session.
    pub(super) fn process_of(&mut self, session: SessionId) -> Option<&mut ProcessRecord> {
        let known = self.sessions.iter().find(|known| known.id == session)?;
        let processes = &mut self.record.processes;
        processes.iter_mut().find(|process| process.instance == known.instance)
    }

    /// Says of the node what follows from its processes, in a log with this head; how far it has come, if
    /// it has come further.
    ///
    /// What is counted of a node never goes back, also where it comes back with nothing: so what
    /// was completed stays so. What it had yet to apply then, it has yet to apply: it may have asked
    /// a parent that is as far behind, and store what that answered.
    pub(super) fn settle(
        &mut self,
        head: Seq,
        applied: &mut Behind,
        settled: &mut Behind,
    ) -> Option<Moved> {
        self.record.settle();
        let (before, seq) = (self.record.counted, self.record.applied.min(head));
        if seq <= before {
            return None;
        }
        let was_settled = self.settled();
        self.record.counted = seq;
        applied.remove(before);
        applied.add(seq);
        if !self.lease_over {
            settled.remove(was_settled);
            settled.add(self.settled());
        }
        Some(Moved { seqs: before + 1..=seq, column: self.column, excused: self.excused(head) })
    }

    /// How long it was not heard.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Whether it validates all it has stored, since its lease is over by its own clock too.
    pub(super) fn is_lease_over(&self, now: Instant) -> bool {
        let lease = self.record.validates_after();
        lease.is_some_and(|lease| is_surely_over(lease, self.silence(now)))
    }

    /// How long ago a connected process was heard, if that is less than the lease.
    pub(super) fn heard_within(
        &self,
        instance: &str,
        lease: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let session = self.sessions.iter().find(|session| session.instance == instance)?;
        let silence = now.saturating_duration_since(session.heard);
        (silence < lease).then_some(silence)
    }

    pub(super) fn view(&self, head: Seq, lease: Duration, now: Instant) -> NodeView {
        let record = self.record.clone();
        let state = match self.sessions.last() {
            None => NodeState::Offline,
            Some(_) if self.silence(now) >= lease => NodeState::Silent,
            Some(_) => NodeState::Connected,
        };
        NodeView {
            name: record.name,
            tier: record.tier,
            region: record.region,
            listen: record.listen,
            version: record.version,
            state,
            applied: record.applied,
            lag: head.saturating_sub(record.applied),
            heard: SystemTime::UNIX_EPOCH + Duration::from_millis(record.heard_ms),
            stats: self.stats.clone(),
            since: SystemTime::UNIX_EPOCH + Duration::from_millis(record.joined_ms),
            session: self.sessions.last().map(|session| session.id),
            processes: record.processes.len(),
            is_proven: record.secret.is_some(),
            ephemeral: record.ephemeral,
            via: self.sessions.last().and_then(|session| session.via.clone()),
        }
    }
}

/// A node that is not expected any more, for those who read how an entry came to it.
#[derive(Debug)]
pub(super) struct DepartedNode {
    pub(super) name: Arc<str>,
    pub(super) tier: Tier,
    pub(super) region: Arc<str>,
    pub(super) column: usize,
    /// As [`NodeRecord`] has them.
    pub(super) joined_at: Seq,
    pub(super) counted: Seq,
    pub(super) excused: Seq,
}
