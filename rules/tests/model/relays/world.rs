//! What control, relays and edges hold at one moment.

use super::{Budget, Scene};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::log::{LogId, Mark, Position};
use weir_rules::relay::{AppliedBehind, Attached, Behind, Link, Passing};

/// Relays and edges, at most.
pub(super) const NODES: usize = 4;
pub(super) const RELAYS: usize = 2;

/// A set of purges, a bit each.
pub(super) type Purges = u8;

/// A session of a node with control; none has the number 0.
pub(super) type Session = u8;

pub(super) fn bit(number: u8) -> Purges {
    1 << number
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// Durable.
    pub(super) log: Arc<Log>,
    pub(super) backup: Option<Arc<Log>>,
    /// What control knows that nodes have applied, and their sessions.
    pub(super) acked: [Seq; NODES],
    pub(super) sessions: [Session; NODES],
    pub(super) sessions_made: Session,
    pub(super) attached: [Attached<(usize, Session)>; RELAYS],
    pub(super) nodes: [Node; NODES],
    pub(super) relays: [Relay; RELAYS],
    /// Purges so far.
    pub(super) placed: u8,
    /// Log ids given, and starts of control from a backup.
    pub(super) logs: u8,
    pub(super) lives: u8,
    pub(super) left: Budget,
    pub(super) broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// `completed`, and an expected node had not applied.
    CompletedEarly,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    pub(super) id: u8,
    pub(super) entries: Vec<Entry>,
    pub(super) members: [Option<u8>; NODES],
    pub(super) members_made: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) number: u8,
    pub(super) mark: Mark,
    /// Nodes, a bit each.
    pub(super) expected: u8,
    pub(super) completed: bool,
}

/// A relay or an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) position: Arc<Position>,
    /// Purges from before which it has nothing.
    pub(super) holds: Purges,
    /// What it acknowledged in this process and membership, once it has.
    pub(super) acked: Option<Seq>,
    /// All that it acknowledged, in whichever process.
    pub(super) owed: Purges,
    pub(super) session: Session,
    /// An edge: the session in which it showed a ticket, and where; the link that it follows.
    pub(super) shown: Option<Via>,
    pub(super) via: Option<Via>,
    /// What a start finds, and a copy of that.
    pub(super) kept: Arc<Kept>,
    pub(super) saved: Option<Arc<Kept>>,
}

/// What a node has made durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    pub(super) position: Arc<Position>,
    pub(super) holds: Purges,
}

/// A link of a relay: which, in which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Via {
    pub(super) relay: usize,
    pub(super) process: u8,
    pub(super) link: Link,
}

/// What a relay has besides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Relay {
    pub(super) process: u8,
    /// On their way to control, in order.
    pub(super) up: VecDeque<Up>,
    pub(super) passing: Passing<(u8, Mark)>,
    pub(super) behind: Behind,
    pub(super) links: BTreeMap<Link, LinkEnd>,
    pub(super) last: Link,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkEnd {
    pub(super) edge: usize,
    /// What the edge showed.
    pub(super) after: Seq,
    /// Control has attached it.
    pub(super) session: Option<Session>,
}

/// What a relay says to control.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Up {
    Link { link: Link, edge: usize, session: Session },
    Unlink(Link),
    Applied(AppliedBehind),
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            process: 0,
            up: VecDeque::new(),
            // Each entry counts as one: an edge falls behind what is kept.
            passing: Passing::new(2),
            behind: Behind::default(),
            links: BTreeMap::new(),
            last: 0,
        }
    }
}

impl Relay {
    pub(super) fn drop_link(&mut self, link: Link) {
        self.links.remove(&link);
        self.behind.end(link);
    }
}

impl Log {
    pub(super) fn head(&self) -> Seq {
        self.entries.len() as Seq
    }

    pub(super) fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    pub(super) fn mark_of(&self, seq: Seq) -> Option<Mark> {
        self.entry(seq).map(|entry| entry.mark)
    }

    pub(super) fn log_id(&self) -> LogId {
        LogId(self.id.to_string())
    }

    fn completed(&self) -> Purges {
        let completed = self.entries.iter().filter(|entry| entry.completed);
        completed.fold(0, |set, entry| set | bit(entry.number))
    }
}

impl World {
    /// All nodes are connected, directly, and nothing was purged yet.
    pub(super) fn new(scene: &Scene) -> Self {
        let mut world = Self {
            log: Arc::default(),
            backup: None,
            acked: [0; NODES],
            sessions: [0; NODES],
            sessions_made: 0,
            attached: Default::default(),
            nodes: Default::default(),
            relays: Default::default(),
            placed: 0,
            logs: 1,
            lives: 0,
            left: scene.budget,
            broken: None,
        };
        for n in scene.nodes() {
            world.connect(n, scene);
            world.acknowledge(n, scene);
        }
        world
    }

    /// Whether the node is connected, for all that it can see.
    pub(super) fn is_connected(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        match node.via {
            Some(via) => self.link_end(via).is_some(),
            None => node.session != 0 && node.session == self.sessions[n],
        }
    }

    /// The relay's side of a link, while it is open.
    pub(super) fn link_end(&self, via: Via) -> Option<&LinkEnd> {
        let relay = &self.relays[via.relay];
        relay.links.get(&via.link).filter(|_| relay.process == via.process)
    }

    /// Whether an edge still has this link, or waits for it.
    pub(super) fn is_wanted(&self, relay: usize, link: Link) -> bool {
        let is_this = |via: Via| via.relay == relay && via.link == link;
        let mut nodes = self.nodes.iter();
        nodes.any(|node| node.via.is_some_and(is_this) || node.shown.is_some_and(is_this))
    }

    /// Whether an edge that shows its ticket can hear that it is attached.
    pub(super) fn may_hear_attached(&self, n: usize) -> bool {
        let shown = self.nodes[n].shown;
        shown.and_then(|via| self.link_end(via)).is_some_and(|end| end.session.is_some())
    }

    /// A node that may answer from its store has nothing in it from before what it acknowledged,
    /// and, if it is expected, nothing from before what was completed.
    pub(super) fn holds_its_promises(&self, n: usize, scene: &Scene) -> bool {
        let node = &self.nodes[n];
        let position = &node.position;
        let member = self.log.members[n].map(|member| member.to_string());
        let is_expected = position.standing().member == member;
        let completed = if is_expected { self.log.completed() } else { 0 };
        let is_seen = position.caught_up(position.applied()) || scene.faults.visible_at_once;
        !is_seen || (node.owed | completed) & !node.holds == 0
    }

    /// Whoever is connected follows this log, and its past is the log's. Through a relay: while that is
    /// connected itself.
    pub(super) fn follows(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let standing = node.position.standing();
        let mark = match standing.applied {
            0 => Some(0),
            seq => self.log.mark_of(seq),
        };
        let is_over = node.via.is_some_and(|via| !self.is_connected(via.relay));
        !self.is_connected(n)
            || is_over
            || (standing.log == Some(self.log.log_id()) && mark == Some(standing.mark))
    }
}

/// Whether what a connected relay would pass on is what control has.
pub(super) fn relay_entries(world: &World, relay: usize) -> bool {
    let passing = &world.relays[relay].passing;
    let kept = (0..=passing.at()).find_map(|after| passing.after(after).ok());
    kept.into_iter().flatten().all(|(seq, (_, mark))| world.log.mark_of(seq) == Some(*mark))
}
