//! How far an entry has come.

use crate::journal::SumRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use weir_rules::tier::Tier;

/// How far an entry has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The nodes that were expected when it was appended, except those that were forgotten before
    /// they applied it; by name. Of an entry whose arrivals are not kept one by one any more, those
    /// of them that control still knows.
    pub(crate) nodes: Vec<NodeProgress>,
    /// From acceptance until all of them had applied it, but those whose lease was surely over;
    /// `None` until they have.
    pub(crate) completed: Option<Duration>,
    /// What is kept of its arrivals where they are not kept one by one.
    pub(crate) sum: Option<SumRecord>,
}

/// How far an entry has come on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeProgress {
    /// The node.
    pub(crate) name: Arc<str>,
    /// Its tier.
    pub(crate) tier: Tier,
    /// Its region.
    pub(crate) region: Arc<str>,
    /// Whether it has applied it.
    pub(crate) state: Arrival,
    /// From acceptance until it had; `None` until it has, or where that is not known.
    pub(crate) applied: Option<Duration>,
    /// How many stored responses the purge took there, once that is known.
    pub(crate) matched: Option<u64>,
}

/// How many nodes of a region and a tier are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// All of them.
    pub(crate) nodes: usize,
    /// Those in each state, as [`Arrival::ALL`] has them.
    pub(crate) by_state: [usize; Arrival::ALL.len()],
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
    /// All of them, as they are counted.
    pub(crate) const ALL: [Self; 4] =
        [Self::Applied, Self::Pending, Self::Offline, Self::LeaseOver];

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
        self.nodes.is_empty() && self.sum.is_none_or(|sum| sum.nodes == 0)
    }

    /// Whether all nodes that are waited for told how many stored responses the purge took, or
    /// nobody listens to it any more.
    pub(crate) fn is_counted(&self) -> bool {
        let mut awaited = self.nodes.iter().filter(|node| node.state != Arrival::LeaseOver);
        self.sum.is_some() || awaited.all(|node| node.matched.is_some())
    }

    /// How many stored responses the purge took everywhere; `None` until all nodes told.
    pub(crate) fn matched(&self) -> Option<u64> {
        match self.sum {
            Some(sum) => sum.matched,
            None => self.nodes.iter().map(|node| node.matched).sum(),
        }
    }

    /// How many nodes are how far, by region and tier.
    pub(crate) fn counts(&self) -> BTreeMap<(&str, &'static str), Count> {
        let mut counts = BTreeMap::<_, Count>::new();
        for node in &self.nodes {
            let count = counts.entry((&*node.region, node.tier.as_str())).or_default();
            count.nodes += 1;
            if let Some(at) = Arrival::ALL.iter().position(|state| *state == node.state) {
                count.by_state[at] += 1;
            }
        }
        counts
    }
}
