//! How far an entry has come.

use std::time::Duration;
use weir_rules::tier::Tier;

/// How far an entry has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The nodes that were expected when it was appended, except those that were forgotten before
    /// they applied it; by name.
    pub(crate) nodes: Vec<NodeProgress>,
    /// From acceptance until all of them had applied it, but those whose lease was surely over;
    /// `None` until they have. After a restart
    /// of control it may be the time at which that was noticed.
    pub(crate) completed: Option<Duration>,
}

/// How far an entry has come on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeProgress {
    /// The node.
    pub(crate) name: String,
    /// Its tier.
    pub(crate) tier: Tier,
    /// Whether it has applied it.
    pub(crate) state: Arrival,
    /// From acceptance until it had; `None` until it has, or where that is not known.
    pub(crate) applied: Option<Duration>,
    /// How many stored responses the purge took there, once that is known.
    pub(crate) matched: Option<u64>,
}

/// Whether a node has applied an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It has.
    Applied,
    /// Not yet; it is connected.
    Pending,
    /// Not yet, and it is not connected.
    Offline,
    /// Not yet, and nobody waits for it: its lease is surely over, so it validates each stored
    /// response before it sends it.
    LeaseOver,
}

impl Arrival {
    /// `applied`, `pending`, `offline` or `lease_over`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Offline => "offline",
            Self::LeaseOver => "lease_over",
        }
    }
}

impl Progress {
    /// No node was expected to apply it, or all of them were forgotten: it is completed, but
    /// nobody heard it.
    pub(crate) fn expects_nobody(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether all nodes that are waited for told how many stored responses the purge took.
    pub(crate) fn is_counted(&self) -> bool {
        let awaited = self.nodes.iter().filter(|node| node.state != Arrival::LeaseOver);
        awaited.map(|node| node.matched).all(|matched| matched.is_some())
    }

    /// How many stored responses the purge took everywhere; `None` until all nodes told.
    pub(crate) fn matched(&self) -> Option<u64> {
        self.nodes.iter().map(|node| node.matched).sum()
    }
}
