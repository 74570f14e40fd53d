//! Edges and the parent in the model: what they ask, what is answered, with what provenance. The
//! judgements are the real `tier::{admit, received, stamp}`.

use crate::node::{Met, merged};
use crate::scene::Scene;
use crate::world::{Body, Fill, Judged, Orders, PARENT, Place, Way, World};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Position, Welcome};
use weir_rules::tier::{Admission, Asking, Claim, Provenance, admit, received, stamp};

/// The stamp of a fetch of a node's own.
fn stamped(begun: Seq, ended: Seq, scene: &Scene) -> Seq {
    if scene.faults.stamp_at_end { ended } else { stamp(begun, ended) }
}

/// A claim without the wait that a node which has not caught up owes.
fn asking_too_early(position: &Position) -> Option<Asking> {
    let (log, at) = (position.log()?.clone(), position.at());
    let standing = position.standing();
    let mark = position.mark_of(at)?;
    let mut early = Position::restored(
        weir_rules::log::Standing { applied: at, mark, checked: None, ..standing.clone() },
        position.base(),
    );
    let member = standing.member.clone()?;
    early.welcomed(&Welcome { log, member, after: at, mark, keep: true, head: at });
    Asking::begin(&early, early.applied())
}

impl World {
    pub(crate) fn begin_fill(
        &self,
        n: usize,
        need: Orders,
        base: Option<Body>,
        way: Way,
        scene: &Scene,
    ) -> Fill {
        let node = &self.nodes[n];
        let asks = scene.parent && n != PARENT && way != Way::Origin;
        let ahead = scene.faults.claim_ahead;
        let seen = if ahead { node.position.applied() } else { node.applied };
        let asking = match Asking::begin(&node.position, seen) {
            None if scene.faults.ask_too_early => asking_too_early(&node.position),
            asking => asking,
        };
        let asking = asking.filter(|_| asks).map(Arc::new);
        let begun = asking.as_ref().map_or(node.applied, |asking| asking.begun());
        let place = match asking {
            Some(_) => Place::ToParent,
            None => Place::Fetching(self.origin()),
        };
        let judged = |body: &Body| {
            let held = node.stored.filter(|stored| stored.body == *body);
            scene.faults.base_unjudged
                || scene.faults.validate_purged
                || held.is_some_and(|held| node.index.validity(held.stamp, scene) != Judged::Hard)
        };
        let base = base.filter(judged);
        Fill { begun, asking, past: way == Way::Past, base, need, place }
    }

    /// How the parent meets an edge's request.
    pub(crate) fn admission(&self, fill: &Fill, scene: &Scene) -> Admission {
        let position = &self.nodes[PARENT].position;
        let Some(asking) = &fill.asking else { return Admission::OtherLog };
        let mut claim: Claim = asking.claim().clone();
        let faults = &scene.faults;
        if faults.answer_other_log {
            claim.log = position.log().cloned().unwrap_or(claim.log);
        }
        if faults.claim_without_mark || faults.answer_other_log {
            claim.mark = position.mark_of(claim.applied).unwrap_or(claim.mark);
        }
        match admit(position, self.nodes[PARENT].applied, &claim) {
            Admission::Behind if faults.parent_answers_behind => Admission::Ordinary,
            admission => admission,
        }
    }

    /// An edge's request reaches the parent, which answers, fetches or refuses.
    pub(crate) fn reach_parent(&mut self, n: usize, slot: usize, scene: &Scene) {
        let Some(fill) = self.nodes[n].fills[slot].clone() else { return };
        let place = match self.admission(&fill, scene) {
            // To the origin, past all parents.
            Admission::OtherLog => {
                return self.set_place(n, slot, Place::Fetching(self.origin()), true);
            }
            Admission::Behind | Admission::Apart => self.passing(&fill, scene),
            Admission::Ordinary if fill.past => self.passing(&fill, scene),
            Admission::Ordinary => match self.nodes[PARENT].find(self.clock, scene) {
                Met::Fresh(stored) => {
                    self.hit(scene, stored.body);
                    self.response(&fill, stored.body, stored.stamp, scene)
                }
                Met::Stale(stored) | Met::Unproven(stored) => {
                    self.join_at_parent(Some(stored.body), scene)
                }
                Met::Nothing => self.join_at_parent(None, scene),
            },
        };
        if let Some(place) = place {
            self.set_place(n, slot, place, false);
        }
    }

    fn set_place(&mut self, n: usize, slot: usize, place: Place, forget_asking: bool) {
        if let Some(fill) = &mut self.nodes[n].fills[slot] {
            fill.place = place;
            if forget_asking {
                fill.asking = None;
            }
        }
    }

    /// The parent fetches for this request alone.
    pub(crate) fn passing(&self, fill: &Fill, scene: &Scene) -> Option<Place> {
        let parent = &self.nodes[PARENT];
        let claimed = fill.asking.as_ref()?.claim().applied;
        let lent = parent.position.base() + claimed;
        let own = if scene.faults.lent_stamp { lent.max(parent.applied) } else { parent.applied };
        Some(Place::Passing(merged(scene, fill.base, self.origin()), own))
    }

    fn join_at_parent(&mut self, base: Option<Body>, scene: &Scene) -> Option<Place> {
        let index = self.nodes[PARENT].index;
        let fills = &self.nodes[PARENT].fills;
        let joined = fills.iter().position(|fill| {
            fill.as_ref().is_some_and(|fill| {
                scene.faults.join_unchecked || index.validity(fill.begun, scene) == Judged::Valid
            })
        });
        let slot = match joined {
            Some(slot) => slot,
            None => {
                let slot = fills.iter().position(Option::is_none)?;
                let fill = self.begin_fill(PARENT, 0, base, Way::Origin, scene);
                self.nodes[PARENT].fills[slot] = Some(fill);
                slot
            }
        };
        Some(Place::AtParent(slot))
    }

    /// What the parent sends of what it holds; nothing where that is from before its log.
    fn response(&self, fill: &Fill, body: Body, own: Seq, scene: &Scene) -> Option<Place> {
        let position = &self.nodes[PARENT].position;
        let claim = fill.asking.as_ref()?.claim();
        let mut provenance = Provenance {
            log: position.log()?.clone(),
            filled_at: position.in_log(own)?,
            checked: position.in_log(self.nodes[PARENT].applied)?,
        };
        if scene.faults.answer_other_log {
            provenance.log = claim.log.clone();
        }
        Some(Place::Back(body, provenance))
    }

    /// A fill has been fetched, or an edge has a response of its parent.
    pub(crate) fn land(&mut self, n: usize, slot: usize, scene: &Scene) {
        let Some(fill) = self.nodes[n].fills[slot].clone() else { return };
        let node = &self.nodes[n];
        match fill.place.clone() {
            Place::ToParent | Place::AtParent(_) => {}
            Place::Passing(body, own) => self.passed(n, slot, &fill, (body, own), scene),
            Place::Fetching(brought) => {
                let body = merged(scene, fill.base, brought);
                let stamp = stamped(fill.begun, node.applied, scene);
                if n == PARENT {
                    self.land_at_parent(slot, body, stamp, scene);
                } else {
                    self.finish(n, slot, &fill, (body, stamp), scene);
                }
            }
            Place::Back(brought, provenance) => {
                let body = merged(scene, fill.base, brought);
                match self.judged(n, &fill, &provenance, scene) {
                    Some(stamp) => self.finish(n, slot, &fill, (body, stamp), scene),
                    None => {
                        let again = self.begin_fill(n, fill.need, None, Way::Past, scene);
                        self.nodes[n].fills[slot] = Some(again);
                    }
                }
            }
        }
    }

    /// The stamp that an edge gives what its parent sent.
    fn judged(&self, n: usize, fill: &Fill, provenance: &Provenance, scene: &Scene) -> Option<Seq> {
        let node = &self.nodes[n];
        let asking = fill.asking.as_ref()?;
        if scene.faults.stamp_uncut || scene.faults.edge_unchecking {
            return Some(node.position.base() + provenance.filled_at);
        }
        received(asking, node.index.reach(), Some(provenance))
    }

    fn land_at_parent(&mut self, slot: usize, body: Body, stamp: Seq, scene: &Scene) {
        self.nodes[PARENT].fills[slot] = None;
        let valid = self.keep(PARENT, body, stamp, scene) || scene.faults.join_unchecked;
        for n in scene.edges() {
            for waiting in 0..2 {
                let Some(fill) = self.nodes[n].fills[waiting].clone() else { continue };
                if fill.place != Place::AtParent(slot) {
                    continue;
                }
                let sent = if valid { self.response(&fill, body, stamp, scene) } else { None };
                // What is of no use is looked for again.
                self.set_place(n, waiting, sent.unwrap_or(Place::ToParent), false);
            }
        }
    }

    fn passed(
        &mut self,
        n: usize,
        slot: usize,
        fill: &Fill,
        (body, own): (Body, Seq),
        scene: &Scene,
    ) {
        let Some(asking) = &fill.asking else { return };
        let claim = asking.claim();
        let ended = self.nodes[PARENT].applied;
        // What an edge validated of its own is not the parent's to keep.
        if fill.base.is_none() {
            self.keep(PARENT, body, stamped(own, ended, scene), scene);
        }
        let provenance =
            Provenance { log: claim.log.clone(), filled_at: claim.applied, checked: claim.applied };
        self.set_place(n, slot, Place::Back(body, provenance), false);
    }

    /// A message between an edge and the parent is lost; the clients get an error.
    pub(crate) fn lose(&mut self, n: usize, slot: usize) {
        self.nodes[n].fills[slot] = None;
    }

    /// The parent's process is gone, and whatever it did for edges.
    pub(crate) fn abandon_at_parent(&mut self, n: usize) {
        if n != PARENT {
            return;
        }
        for fill in self.nodes.iter_mut().flat_map(|node| node.fills.iter_mut().flatten()) {
            if matches!(fill.place, Place::AtParent(_) | Place::Passing(..)) {
                fill.place = Place::ToParent;
            }
        }
    }
}
