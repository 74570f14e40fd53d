//! The world of the model: what control, the parent and the edges hold at one moment, and what
//! the judge of it all knows besides.
//!
//! There is one resource. Each order changes its content at the origin and then purges it, so the
//! number of orders that were placed is the content's version, and a body is known by the number
//! of orders placed before its fetch began.

use crate::control::Control;
use crate::scene::{Budget, Faults, Kind, Scene};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::lease::Renewals;
use weir_rules::log::Position;
use weir_rules::tier::{Asking, Provenance};

/// Nodes: the parent and two edges. A scene may do with fewer.
pub(crate) const NODES: usize = 3;
pub(crate) const PARENT: usize = 0;

/// A set of orders, a bit each.
pub(crate) type Orders = u8;

pub(crate) fn order(number: u8) -> Orders {
    1 << number
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) nodes: [Node; NODES],
    /// Orders placed so far: each changed the content first.
    pub(crate) placed: u8,
    /// Orders that their client saw accepted.
    pub(crate) answered: Orders,
    /// Orders that were, before control lost them to a backup that is older.
    pub(crate) thrown_away: Orders,
    /// How often control was restored or wiped: what it calls random differs from life to life.
    pub(crate) lives: u8,
    /// Leases that have passed: the clock of nodes that have one.
    pub(crate) clock: u8,
    /// Orders that were answered before the last of them began.
    pub(crate) answered_before: Orders,
    pub(crate) left: Budget,
    pub(crate) broken: Option<Broken>,
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// A request that came after an acknowledgement (or after `completed`) got what was fetched
    /// before that purge.
    OldBody,
    /// `completed`, and an expected node had not applied.
    CompletedEarly,
    /// A valid stored response gave way to one that was fetched earlier.
    Regressed,
    /// A node sent what it has stored, unasked, longer than a lease after that was purged.
    PastLease,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) position: Arc<Position>,
    pub(crate) index: Index,
    /// As published to lookups.
    pub(crate) applied: Seq,
    pub(crate) stored: Option<Stored>,
    pub(crate) fills: [Option<Fill>; 2],
    pub(crate) connected: bool,
    /// Up to here, in the log's numbers, everything stored was held against the log.
    pub(crate) checked: Seq,
    /// The store outlived a restart.
    pub(crate) survivor: bool,
    pub(crate) applying: Option<Applying>,
    pub(crate) looking: Option<Looking>,
    /// What the node, in whichever process, has acknowledged.
    pub(crate) owed: Orders,
    /// It was let in, and neither forgotten nor replaced since.
    pub(crate) counted: bool,
    pub(crate) renewals: Renewals,
    /// As of when its lease was renewed, by the world's clock.
    pub(crate) renewed: Option<u8>,
    /// The first head that this connection named since the clock last moved.
    pub(crate) named: Option<Seq>,
}

/// An entry on its way through a node, where that is cut into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Applying {
    pub(crate) own: Seq,
    pub(crate) order: u8,
    pub(crate) steps_done: u8,
}

/// A lookup between its two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Looking {
    pub(crate) need: Orders,
    pub(crate) applied: Seq,
    /// Where the rule is broken, the answer of the index comes first.
    pub(crate) validity: Option<Judged>,
}

/// What the index finds; [`weir_rules::invalidation::Validity`] without its seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Judged {
    Valid,
    Soft,
    Hard,
}

/// Orders placed before its fetch began, and before it was last found unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Body {
    pub(crate) born: u8,
    pub(crate) proved: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    pub(crate) body: Body,
    pub(crate) stamp: Seq,
    /// The applied seq at which it was last found valid.
    pub(crate) valid_at: Seq,
    /// Its lifetime is over, or a soft purge was noted on it.
    pub(crate) stale: bool,
}

/// A fetch that may be stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fill {
    /// The stamp held meanwhile.
    pub(crate) begun: Seq,
    pub(crate) asking: Option<Arc<Asking>>,
    pub(crate) past: bool,
    /// What it validates.
    pub(crate) base: Option<Body>,
    /// What the requests that wait for it were promised.
    pub(crate) need: Orders,
    pub(crate) place: Place,
}

/// Where a fill is to get its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Parent,
    /// From the parent, past its store.
    Past,
    Origin,
}

/// How far a fill has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The request is on its way to the parent, or waits there for it to catch up.
    ToParent,
    /// It waits for that fill of the parent's.
    AtParent(usize),
    /// The parent fetches past its store, under this stamp of its own.
    Passing(Body, Seq),
    /// This node fetches from the origin.
    Fetching(Body),
    /// The parent's response is on its way.
    Back(Body, Provenance),
}

/// The rules of `invalidation::Index` for one resource, small enough to be part of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Index {
    hard: Seq,
    soft: Seq,
    tag: Seq,
    /// Of all that is stored, whatever it is.
    pub(crate) floor: Seq,
    /// For what has a tag.
    tag_floor: Seq,
    checked: Seq,
}

impl Index {
    pub(crate) fn apply(&mut self, kind: Kind, own: Seq) {
        match kind {
            Kind::Hard => self.hard = own,
            Kind::Soft => self.soft = own,
            Kind::Tag => self.tag = own,
            Kind::Other => {}
        }
    }

    pub(crate) fn validity(&self, stamp: Seq, scene: &Scene) -> Judged {
        let of_tags = if scene.tagged { self.tag.max(self.tag_floor) } else { 0 };
        if self.hard.max(self.floor).max(of_tags) > stamp {
            Judged::Hard
        } else if self.soft > stamp {
            Judged::Soft
        } else {
            Judged::Valid
        }
    }

    pub(crate) fn raise_floor(&mut self, floor: Seq) {
        self.floor = self.floor.max(floor);
    }

    pub(crate) fn reach(&self) -> Seq {
        self.floor.max(self.tag_floor).max(self.checked)
    }

    pub(crate) fn forget_below(&mut self, mark: Seq) {
        self.checked = self.checked.max(mark);
        for seq in [&mut self.hard, &mut self.soft, &mut self.tag, &mut self.tag_floor] {
            if *seq < mark {
                *seq = 0;
            }
        }
    }

    /// It is full, and lets go of everything unchecked, of one kind.
    pub(crate) fn overflow(&mut self, tags: bool, faults: &Faults) {
        if tags {
            let floor = if faults.floor_of_other_kind { 0 } else { self.tag };
            self.tag_floor = self.tag_floor.max(floor);
            self.tag = 0;
        } else {
            self.raise_floor(self.hard.max(self.soft));
            (self.hard, self.soft) = (0, 0);
        }
    }
}

impl World {
    pub(crate) fn new(scene: &Scene) -> Self {
        let mut world = Self {
            control: Control::new(),
            nodes: Default::default(),
            placed: 0,
            answered: 0,
            thrown_away: 0,
            lives: 0,
            clock: 0,
            answered_before: 0,
            left: scene.budget,
            broken: None,
        };
        for n in scene.nodes().filter(|_| scene.joined) {
            world.connect(n, scene);
        }
        for _ in 0..scene.ordered {
            world.place_order(scene);
        }
        world
    }

    pub(crate) fn breaks(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }

    /// What a request that comes now to node `n` must not be answered without: the orders that the
    /// node acknowledged (I1), and those that were called completed while it was expected.
    pub(crate) fn need(&self, n: usize) -> Orders {
        let node = &self.nodes[n];
        let completed = if node.counted { self.control.ledger.completed() } else { 0 };
        node.owed | completed
    }

    /// Holds an answer against what its request was promised.
    pub(crate) fn answer(&mut self, scene: &Scene, need: Orders, body: Body, fresh: bool) {
        if misses(scene, need, body, fresh) {
            self.breaks(Broken::OldBody);
        }
    }

    /// The same of what a node sends unasked, while it has a lease.
    pub(crate) fn hit(&mut self, scene: &Scene, body: Body) {
        if scene.lease && misses(scene, self.answered_before, body, true) {
            self.breaks(Broken::PastLease);
        }
    }

    /// What the origin answers to a fetch that begins now.
    pub(crate) fn origin(&self) -> Body {
        Body { born: self.placed, proved: self.placed }
    }
}

/// Whether a body is older than one of these orders allows.
fn misses(scene: &Scene, need: Orders, body: Body, fresh: bool) -> bool {
    scene.orders.iter().enumerate().any(|(number, kind)| {
        let number = number as u8;
        need & order(number) != 0
            && match kind.done(scene) {
                Kind::Hard => body.born <= number,
                Kind::Soft => fresh && body.proved <= number,
                Kind::Other | Kind::Tag => false,
            }
    })
}
