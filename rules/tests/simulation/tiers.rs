//! Fills: edges that ask parents, parents that answer, wait, pass on or fetch.

use crate::judge::Need;
use crate::node::Met;
use crate::origin::{Body, Key};
use crate::world::{Event, PARENTS, World};
use std::collections::VecDeque;
use weir_rules::invalidation::{Seq, Validity};
use weir_rules::tier::{Admission, Asking, Claim, Provenance, admit, received, stamp};

/// How long an edge waits for a parent, and a parent for its log.
const PATIENCE: u64 = 60;
const CATCH_UP: u64 = 30;

/// A fetch that may be stored.
#[derive(Debug)]
pub(crate) struct Fill {
    key: Key,
    /// The stamp held meanwhile.
    pub(crate) begun: Seq,
    /// What it validates.
    base: Option<Body>,
    /// Clients that wait.
    needs: Vec<Need>,
    /// Edges that wait.
    asks: Vec<Ask>,
    asking: Option<Asking>,
    /// Parents to try, after which the origin is asked.
    parents: VecDeque<usize>,
    attempt: u64,
    past: bool,
}

/// A request of an edge to a parent.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    edge: usize,
    process: u64,
    fill: u64,
    attempt: u64,
    key: Key,
    claim: Claim,
    base: Option<Body>,
    past: bool,
    /// When the parent stops waiting for its log.
    until: u64,
}

/// What a parent answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Response(Body, Provenance),
    Refused,
}

impl World {
    pub(crate) fn join_or_start(&mut self, node: usize, key: Key, need: Need, base: Option<Body>) {
        let unchecked = self.faults.join_unchecked;
        let here = &mut self.nodes[node];
        let known = |fill: &&mut Fill| fill.key == key && fill.asks.is_empty();
        // A request may always go alone.
        if !self.random.once_in(10)
            && let Some(fill) = here.fills.values_mut().find(known)
            && (unchecked
                || key.judged(0, fill.begun, |s| here.index.validity(s)) == Validity::Valid)
        {
            fill.needs.push(need);
            return;
        }
        self.begin_fill(node, key, vec![need], base, false);
    }

    fn begin_fill(
        &mut self,
        node: usize,
        key: Key,
        needs: Vec<Need>,
        base: Option<Body>,
        past: bool,
    ) {
        let region = |edge: usize| usize::from(edge >= PARENTS + 2);
        let mut parents = VecDeque::new();
        if node >= PARENTS {
            parents.extend([region(node), 1 - region(node)]);
            parents.truncate(self.random.below(4).min(2) as usize);
        }
        let here = &mut self.nodes[node];
        let seen = match self.faults.claim_ahead {
            true => here.position.applied(),
            false => here.applied,
        };
        let asking = Asking::begin(&here.position, seen).filter(|_| !parents.is_empty());
        let begun = asking.as_ref().map_or(here.applied, |asking| asking.begun());
        // Judged again: a purge may have come since the lookup.
        let base = base.filter(|base| {
            let valid = |stamp| here.validity(key, base.tags(), stamp, &self.faults);
            let held = here.store.get(&key).map(|held| valid(held.stamp));
            self.faults.validate_purged
                || held.is_some_and(|validity| !matches!(validity, Validity::Hard(_)))
        });
        let fill = self.random.mark();
        let asks = Vec::new();
        let new = Fill { key, begun, base, needs, asks, asking, parents, attempt: 0, past };
        self.nodes[node].fills.insert(fill, new);
        self.attempt(node, fill);
    }

    /// Asks the next parent or, after the last, the origin.
    fn attempt(&mut self, node: usize, fill: u64) {
        let here = &mut self.nodes[node];
        let process = here.process;
        let Some(known) = here.fills.get_mut(&fill) else { return };
        known.attempt += 1;
        let parent = known.parents.pop_front();
        if let (Some(parent), Some(asking)) = (parent, &known.asking) {
            let ask = Ask {
                edge: node,
                process,
                fill,
                attempt: known.attempt,
                key: known.key,
                claim: asking.claim().clone(),
                base: known.base.clone(),
                past: known.past,
                until: self.now + CATCH_UP,
            };
            self.at(self.now + PATIENCE, Event::TimedOut { ask: ask.clone() });
            if !self.random.once_in(self.loss) {
                self.after(5, Event::Asked { parent, ask });
            }
        } else {
            known.asking = None;
            let body = self.origin.fetch(known.key, self.step, &mut self.random);
            self.after(15, Event::Fetched { node, process, fill, body });
        }
    }

    pub(crate) fn timed_out(&mut self, ask: &Ask) {
        if self.awaits(ask) {
            self.attempt(ask.edge, ask.fill);
        }
    }

    fn awaits(&self, ask: &Ask) -> bool {
        let edge = &self.nodes[ask.edge];
        edge.process == ask.process
            && edge.fills.get(&ask.fill).is_some_and(|fill| fill.attempt == ask.attempt)
    }

    /// An edge's request reaches a parent, or is looked at again.
    pub(crate) fn asked(&mut self, parent: usize, ask: Ask) {
        let (position, applied) = (&self.nodes[parent].position, self.nodes[parent].applied);
        match admit(position, applied, &ask.claim) {
            Admission::OtherLog => self.answer(ask, Answer::Refused),
            Admission::Behind if self.now < ask.until => {
                self.at(self.now + 3, Event::Asked { parent, ask });
            }
            Admission::Behind | Admission::Apart => self.pass(parent, ask),
            Admission::Ordinary if ask.past => self.pass(parent, ask),
            Admission::Ordinary => self.answer_from_store(parent, ask),
        }
    }

    fn answer(&mut self, ask: Ask, answer: Answer) {
        if !self.random.once_in(self.loss) {
            self.after(5, Event::Answered { ask, answer });
        }
    }

    /// Fetches for this request alone.
    fn pass(&mut self, parent: usize, ask: Ask) {
        let body = self.origin.fetch(ask.key, self.step, &mut self.random);
        let here = &self.nodes[parent];
        let (process, own) = (here.process, here.applied);
        self.after(15, Event::Passed { parent, process, ask, body, own });
    }

    pub(crate) fn passed(&mut self, parent: usize, process: u64, ask: Ask, body: Body, own: Seq) {
        let here = &mut self.nodes[parent];
        if here.process != process {
            return;
        }
        if ask.base.is_none() {
            let expires = self.now + self.random.delay(150);
            here.keep(body.clone(), stamp(own, here.applied), expires, &self.faults);
        }
        let (log, applied) = (ask.claim.log.clone(), ask.claim.applied);
        let provenance = Provenance { log, filled_at: applied, checked: applied };
        self.answer(ask, Answer::Response(body, provenance));
    }

    fn answer_from_store(&mut self, parent: usize, ask: Ask) {
        let now = self.now;
        let faults = self.faults;
        let here = &mut self.nodes[parent];
        let applied = here.applied;
        let base = match here.meet(ask.key, applied, now, &faults) {
            Met::Fresh(stored) => match self.provenance(parent, stored.stamp) {
                Some(provenance) => {
                    return self.answer(ask, Answer::Response(stored.body, provenance));
                }
                None => None,
            },
            Met::Stale(stored) => Some(stored.body),
            Met::Nothing => None,
        };
        let unchecked = self.faults.join_unchecked;
        let here = &mut self.nodes[parent];
        let index = &here.index;
        let joined = here.fills.values_mut().find(|fill| {
            let valid = || ask.key.judged(0, fill.begun, |s| index.validity(s)) == Validity::Valid;
            fill.key == ask.key && (unchecked || valid())
        });
        match joined {
            Some(fill) => fill.asks.push(ask),
            None => {
                let before: Vec<u64> = here.fills.keys().copied().collect();
                self.begin_fill(parent, ask.key, Vec::new(), base, false);
                let fills = &mut self.nodes[parent].fills;
                if let Some((_, fill)) = fills.iter_mut().find(|(id, _)| !before.contains(id)) {
                    fill.asks.push(ask);
                }
            }
        }
    }

    /// What a parent says of something it holds; nothing of what is from before its log.
    fn provenance(&self, parent: usize, own: Seq) -> Option<Provenance> {
        let here = &self.nodes[parent];
        Some(Provenance {
            log: here.position.log()?.clone(),
            filled_at: here.position.in_log(own)?,
            checked: here.position.in_log(here.applied)?,
        })
    }

    /// The origin has answered a node.
    pub(crate) fn fetched(&mut self, node: usize, process: u64, fill: u64, body: Body) {
        let here = &mut self.nodes[node];
        if here.process != process {
            return;
        }
        let Some(known) = here.fills.remove(&fill) else { return };
        let ended = here.applied;
        let own = if self.faults.stamp_at_end { ended } else { stamp(known.begun, ended) };
        let body = match known.base.clone() {
            Some(base) => base.validated(body),
            None => body,
        };
        self.finish(node, known, body, own);
    }

    /// A parent's answer reaches an edge.
    pub(crate) fn answered(&mut self, ask: &Ask, answer: Answer) {
        if !self.awaits(ask) {
            return;
        }
        let edge = &mut self.nodes[ask.edge];
        let Answer::Response(body, provenance) = answer else {
            return self.attempt(ask.edge, ask.fill);
        };
        let Some(fill) = edge.fills.remove(&ask.fill) else { return };
        let Some(asking) = &fill.asking else { return };
        let own = match self.faults.stamp_uncut {
            true => Some(edge.position.base() + provenance.filled_at),
            false => received(asking, edge.index.reach(fill.key.site()), Some(&provenance)),
        };
        let body = match fill.base.clone() {
            Some(base) => base.validated(body),
            None => body,
        };
        match own {
            Some(own) => self.finish(ask.edge, fill, body, own),
            None => self.begin_fill(ask.edge, fill.key, fill.needs, None, true),
        }
    }

    /// A fill has its response: it is stored and answers whoever waits, or is of no use.
    fn finish(&mut self, node: usize, fill: Fill, body: Body, own: Seq) {
        let expires = self.now + self.random.delay(150);
        let valid = self.nodes[node].keep(body.clone(), own, expires, &self.faults);
        if valid || self.faults.join_unchecked {
            for need in &fill.needs {
                self.reply(node, need, &body, true);
            }
        } else if !fill.needs.is_empty() {
            self.begin_fill(node, fill.key, fill.needs, None, true);
        }
        for ask in fill.asks {
            match self.provenance(node, own) {
                Some(provenance) if valid && provenance.log == ask.claim.log => {
                    self.answer(ask, Answer::Response(body.clone(), provenance));
                }
                _ => self.at(self.now, Event::Asked { parent: node, ask }),
            }
        }
    }
}
