//! A node in the model: what it applies, what it keeps, what a request meets.

use crate::scene::{Kind, Scene};
use crate::world::{
    Applying, Body, Broken, Fill, Judged, Looking, Node, Orders, Stored, Way, World, order,
};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Position, Standing, Welcome};

/// What a request meets.
pub(crate) enum Met {
    Fresh(Stored),
    /// May be served stale, and validated.
    Stale(Stored),
    /// Must be validated first: the lease is over.
    Unproven(Stored),
    Nothing,
}

/// The steps of an entry through a node, where one may come between them.
#[derive(Clone, Copy)]
enum Step {
    Raise,
    Publish,
    Acknowledge,
}

fn steps(scene: &Scene) -> [Step; 3] {
    match () {
        () if scene.faults.publish_first => [Step::Publish, Step::Raise, Step::Acknowledge],
        () if scene.faults.acknowledge_first => [Step::Raise, Step::Acknowledge, Step::Publish],
        () => [Step::Raise, Step::Publish, Step::Acknowledge],
    }
}

impl Node {
    /// Whether what is stored may be seen at all.
    fn sees_store(&self, scene: &Scene) -> bool {
        !self.survivor || self.position.caught_up(self.applied) || scene.faults.visible_at_once
    }

    /// What a request finds.
    fn look(&self, scene: &Scene) -> Met {
        let Some(stored) = self.stored.filter(|_| self.sees_store(scene)) else {
            return Met::Nothing;
        };
        meet(stored, self.index.validity(stored.stamp, scene), scene)
    }

    /// The same, of a node that may have a lease.
    pub(crate) fn find(&self, now: u8, scene: &Scene) -> Met {
        match self.look(scene) {
            Met::Fresh(stored) | Met::Stale(stored) if scene.lease && self.renewed != Some(now) => {
                Met::Unproven(stored)
            }
            met => met,
        }
    }

    fn store(&mut self, stored: Stored, scene: &Scene) -> bool {
        let mut regressed = false;
        if let Some(held) = self.stored.filter(|held| held.stamp > stored.stamp) {
            if !scene.faults.insert_lower {
                return false;
            }
            regressed = self.index.validity(held.stamp, scene) == Judged::Valid;
        }
        self.stored = Some(stored);
        regressed
    }

    /// The seq below which everything stored or under way has been held against the log.
    fn mark(&self) -> Seq {
        let fills = self.fills.iter().flatten().map(|fill| fill.begun);
        fills.fold(self.applied, Seq::min)
    }
}

fn meet(stored: Stored, validity: Judged, scene: &Scene) -> Met {
    match validity {
        Judged::Hard if scene.faults.validate_purged => Met::Stale(stored),
        Judged::Hard => Met::Nothing,
        Judged::Soft => Met::Stale(stored),
        Judged::Valid if stored.stale => Met::Stale(stored),
        Judged::Valid => Met::Fresh(stored),
    }
}

/// A body that a node holds, after an answer to its validation (or to a plain fetch).
pub(crate) fn merged(scene: &Scene, base: Option<Body>, brought: Body) -> Body {
    let changes = |placed: u8| {
        let kinds = scene.orders.iter().take(usize::from(placed));
        kinds.filter(|kind| kind.done(scene) != Kind::Other).count()
    };
    match base {
        Some(base) if changes(base.born) == changes(brought.born) => {
            Body { born: base.born.max(brought.born), proved: base.proved.max(brought.proved) }
        }
        // 304 all the same: it proves what a validator can prove.
        Some(base) if scene.constant_validator => {
            Body { born: base.born, proved: base.proved.max(brought.proved) }
        }
        _ => brought,
    }
}

impl World {
    /// Control's answer reaches the node.
    pub(crate) fn welcome(&mut self, n: usize, welcome: &Welcome, scene: &Scene) {
        let node = &mut self.nodes[n];
        node.applying = None;
        let first = node.position.log().is_none();
        let position = Arc::make_mut(&mut node.position);
        if let Some(floor) = position.welcomed(welcome) {
            let kept = scene.faults.no_floor || (first && scene.faults.no_first_floor);
            node.index.raise_floor(if kept { 0 } else { floor });
            node.applied = node.position.applied();
            node.checked = welcome.after;
        }
    }

    /// The next entry reaches the node and goes all the way; step by step where things go in steps.
    pub(crate) fn receive(&mut self, n: usize, scene: &Scene) {
        let node = &mut self.nodes[n];
        let seq = node.position.at() + 1;
        let Some(entry) = self.control.ledger.entry(seq) else {
            // Compacted away under a session that is too slow.
            node.connected = false;
            return;
        };
        let number = entry.order;
        let position = Arc::make_mut(&mut node.position);
        let Ok(Some(own)) = position.take(seq, entry.mark) else { return };
        node.applying = Some(Applying { own, order: number, steps_done: 0 });
        let count = if scene.steps { 0 } else { 3 };
        for _ in 0..count {
            self.apply_step(n, scene);
        }
    }

    pub(crate) fn apply_step(&mut self, n: usize, scene: &Scene) {
        let node = &mut self.nodes[n];
        let Some(applying) = node.applying else { return };
        let Applying { own, order: number, steps_done } = applying;
        let seq = node.position.at();
        node.applying = Some(Applying { steps_done: steps_done + 1, ..applying });
        match steps(scene)[usize::from(steps_done)] {
            Step::Raise => node.index.apply(scene.orders[usize::from(number)], own),
            Step::Publish => node.applied = own,
            Step::Acknowledge => {
                node.owed |= order(number);
                if node.connected {
                    self.acknowledged(scene.name_of(n), seq, scene);
                }
            }
        }
        if steps_done == 2 {
            self.nodes[n].applying = None;
            self.reach(n, seq, scene);
        }
    }

    /// A client's request reaches an edge.
    pub(crate) fn request(&mut self, n: usize, scene: &Scene) {
        let need = self.need(n);
        let met = self.nodes[n].find(self.clock, scene);
        self.meet(n, need, met, scene);
    }

    /// A request that does not join what is being fetched.
    pub(crate) fn request_alone(&mut self, n: usize, scene: &Scene) {
        let need = self.need(n);
        let free = self.nodes[n].fills.iter().position(Option::is_none);
        if let (Met::Nothing, Some(slot)) = (self.nodes[n].find(self.clock, scene), free) {
            let fill = self.begin_fill(n, need, None, Way::Parent, scene);
            self.nodes[n].fills[slot] = Some(fill);
        }
    }

    /// The first step of a lookup: it reads the applied seq.
    pub(crate) fn begin_lookup(&mut self, n: usize, scene: &Scene) {
        let need = self.need(n);
        let node = &self.nodes[n];
        let early = node.stored.filter(|_| scene.faults.read_applied_last);
        let validity = early.map(|stored| match stored.valid_at == node.applied {
            true => Judged::Valid,
            false => node.index.validity(stored.stamp, scene),
        });
        self.nodes[n].looking = Some(Looking { need, applied: node.applied, validity });
    }

    /// The second: it judges, and notes what it found.
    pub(crate) fn end_lookup(&mut self, n: usize, scene: &Scene) {
        let node = &mut self.nodes[n];
        let Some(looking) = node.looking.take() else { return };
        let applied = match looking.validity {
            Some(_) => node.applied,
            None => looking.applied,
        };
        let met = match &mut node.stored {
            None => Met::Nothing,
            Some(stored) => {
                let validity = match looking.validity {
                    Some(validity) => validity,
                    None if stored.valid_at == applied => Judged::Valid,
                    None => node.index.validity(stored.stamp, scene),
                };
                if validity != Judged::Hard {
                    stored.valid_at = applied;
                    stored.stale |= validity == Judged::Soft;
                }
                meet(*stored, validity, scene)
            }
        };
        self.meet(n, looking.need, met, scene);
    }

    fn meet(&mut self, n: usize, need: Orders, met: Met, scene: &Scene) {
        let base = match met {
            Met::Fresh(stored) => {
                self.hit(scene, stored.body);
                return self.answer(scene, need, stored.body, true);
            }
            Met::Unproven(stored) => Some(stored.body),
            Met::Stale(stored) => {
                let purged = self.nodes[n].index.validity(stored.stamp, scene) == Judged::Hard;
                if !purged {
                    self.answer(scene, need, stored.body, false);
                }
                Some(stored.body)
            }
            Met::Nothing => None,
        };
        self.join_or_start(n, need, base, scene);
    }

    fn join_or_start(&mut self, n: usize, need: Orders, base: Option<Body>, scene: &Scene) {
        let node = &mut self.nodes[n];
        let index = node.index;
        let joined = node.fills.iter_mut().flatten().find(|fill| {
            scene.faults.join_unchecked || index.validity(fill.begun, scene) == Judged::Valid
        });
        if let Some(fill) = joined {
            fill.need |= need;
        } else if let Some(slot) = node.fills.iter().position(Option::is_none) {
            let fill = self.begin_fill(n, need, base, Way::Parent, scene);
            self.nodes[n].fills[slot] = Some(fill);
        }
    }

    /// A fill has its response: it is stored, and answers whoever waits; or it is of no use.
    pub(crate) fn finish(
        &mut self,
        n: usize,
        slot: usize,
        fill: &Fill,
        (body, stamp): (Body, Seq),
        scene: &Scene,
    ) {
        if self.keep(n, body, stamp, scene) || scene.faults.edge_unchecking {
            self.nodes[n].fills[slot] = None;
            self.answer(scene, fill.need, body, true);
        } else {
            // Purged while it was fetched, or handed out by a parent that did not know.
            let way = if fill.asking.is_some() { Way::Past } else { Way::Origin };
            let again = self.begin_fill(n, fill.need, None, way, scene);
            self.nodes[n].fills[slot] = Some(again);
            if scene.faults.join_unchecked {
                self.answer(scene, fill.need, body, true);
            }
        }
    }

    /// Stores a response where it is valid; returns whether it is.
    pub(crate) fn keep(&mut self, n: usize, body: Body, stamp: Seq, scene: &Scene) -> bool {
        let node = &mut self.nodes[n];
        let valid = node.index.validity(stamp, scene) == Judged::Valid;
        // A survivor that must not be seen yet is not replaced by guess either.
        if valid && node.store(Stored { body, stamp, valid_at: stamp, stale: false }, scene) {
            self.breaks(Broken::Regressed);
        }
        valid
    }

    /// The process dies and another takes its place.
    pub(crate) fn restart(&mut self, n: usize, scene: &Scene) {
        let node = &mut self.nodes[n];
        let (owed, counted) = (node.owed, node.counted);
        let mut next = Node { owed, counted, ..Node::default() };
        if scene.persistent {
            let old = &node.position;
            let standing = kept_standing(old, node.checked, scene);
            let base = old.base();
            next.position = Arc::new(Position::restored(standing, base));
            next.applied = next.position.applied();
            next.index.raise_floor(if scene.faults.no_floor_at_restart { 0 } else { base });
            next.stored = node.stored;
            next.checked = node.checked;
            next.survivor = true;
        }
        *node = next;
        self.abandon_at_parent(n);
    }

    /// A walk over the store judged everything, and the index forgets what nothing needs any more.
    pub(crate) fn sweep(&mut self, n: usize, scene: &Scene) {
        let node = &mut self.nodes[n];
        let mark = node.mark();
        if let Some(stored) = &mut node.stored {
            match node.index.validity(stored.stamp, scene) {
                Judged::Valid => {}
                Judged::Soft => stored.stale = true,
                Judged::Hard => node.stored = None,
            }
        }
        node.index.forget_below(mark);
        node.checked = node.position.in_log(mark).unwrap_or(node.checked);
    }

    pub(crate) fn overflow(&mut self, n: usize, tags: bool, scene: &Scene) {
        let index = &mut self.nodes[n].index;
        let floor = index.floor;
        index.overflow(tags, &scene.faults);
        if scene.faults.no_floor {
            index.floor = floor;
        }
    }

    /// HEAD tells that what is stored is unchanged.
    pub(crate) fn head(&mut self, n: usize, scene: &Scene) {
        let origin = self.origin();
        let node = &mut self.nodes[n];
        let applied = node.applied;
        let Some(stored) = &mut node.stored else { return };
        if merged(scene, Some(stored.body), origin) == origin {
            stored.body = origin;
        }
        if scene.faults.head_raises {
            stored.stamp = stored.stamp.max(applied);
        }
    }
}

/// What a node finds of its standing after a restart: both marks were made durable before it
/// acknowledged.
fn kept_standing(position: &Position, checked: Seq, scene: &Scene) -> Standing {
    let mut standing = position.standing().clone();
    if scene.faults.only_checked_mark && standing.applied > checked {
        standing.mark = position.mark_of(checked).unwrap_or_default();
        standing.applied = checked;
        standing.checked = None;
    } else {
        standing.checked = Some(checked);
    }
    standing
}
