//! The expected nodes.

use super::errors::Ended;
use crate::journal::NodeRecord;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use weir_protocol::frame::{SiteHosts, Welcomed};
use weir_protocol::stats::Stats;
use weir_rules::invalidation::Seq;
use weir_rules::tier::Tier;

/// A node's connection, from its welcome on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(super) u64);

/// A node was let in.
#[derive(Debug)]
pub(crate) struct Joined {
    /// What to answer it.
    pub(crate) welcomed: Welcomed,
    /// What to name it by.
    pub(crate) session: SessionId,
    /// Turns to the reason when the session is over before its connection is; closes when the
    /// ledger does.
    pub(crate) ended: watch::Receiver<Option<Ended>>,
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
    pub(crate) stats: Option<Stats>,
    /// Since when it is expected.
    pub(crate) since: SystemTime,
    /// Its session, where it has one.
    pub(crate) session: Option<SessionId>,
}

/// An expected node.
#[derive(Debug)]
pub(super) struct ExpectedNode {
    /// As the journal keeps it, but that `applied` and `heard_ms` may be ahead of it.
    pub(super) record: NodeRecord,
    /// When it was heard, or control began to listen.
    pub(super) heard: Instant,
    pub(super) session: Option<Session>,
    pub(super) stats: Option<Stats>,
    /// What it reported last, if it did.
    pub(super) sites: Option<Arc<[SiteHosts]>>,
}

/// A node's connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The node's process.
    pub(super) instance: String,
    pub(super) ended: watch::Sender<Option<Ended>>,
}

impl ExpectedNode {
    /// Whose `record` the journal has, or will have.
    pub(super) fn new(record: NodeRecord, now: Instant) -> Self {
        Self { record, heard: now, session: None, stats: None, sites: None }
    }

    /// Whether an entry expects it.
    pub(super) fn is_expected_at(&self, seq: Seq) -> bool {
        is_expected_at(&self.record, seq)
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        self.record.heard_ms = super::millis(SystemTime::now());
    }

    /// How long it was not heard.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    pub(super) fn view(&self, head: Seq, lease: Duration, now: Instant) -> NodeView {
        let record = self.record.clone();
        let state = match &self.session {
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
            session: self.session.as_ref().map(|session| session.id),
        }
    }
}

/// Whether the entry `seq` expects the node of `record`.
pub(super) fn is_expected_at(record: &NodeRecord, seq: Seq) -> bool {
    record.joined_at < seq
}
