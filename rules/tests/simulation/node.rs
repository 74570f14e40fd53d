//! A node: what it follows, keeps and forgets, and what a client's request meets.

use crate::control::Line;
use crate::judge::Need;
use crate::origin::{Body, Key};
use crate::relay::{Relay, Via};
use crate::tiers::Fill;
use crate::world::{Event, Faults, PARENTS, World};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use weir_rules::invalidation::{Bounds, Index, Seq, Validity};
use weir_rules::log::{Change, Entry, Mark, Position, Standing};

/// So small that purges have to be forgotten.
const BOUNDS: Bounds = Bounds { targets: 8, patterns: 2 };

#[derive(Debug)]
pub(crate) struct Node {
    /// Grows with each restart.
    pub(crate) process: u64,
    pub(crate) position: Position,
    pub(crate) index: Index,
    /// As lookups see it.
    pub(crate) applied: Seq,
    releases: BTreeMap<String, Option<String>>,
    pub(crate) store: BTreeMap<Key, Stored>,
    pub(crate) fills: BTreeMap<u64, Fill>,
    /// What fetches past the store began with, which run too.
    pub(crate) passes: Vec<Seq>,
    pub(crate) session: Option<u64>,
    /// Control has let it in on that session.
    pub(crate) let_in: bool,
    /// The relay through which that is.
    pub(crate) via: Option<Via>,
    /// The session in which it showed a relay a ticket, until it hears what comes of that; and whether
    /// control has ended that session meanwhile.
    pub(crate) shown: Option<u64>,
    pub(crate) closed: bool,
    /// The last seq that it acknowledged.
    pub(crate) acked: Seq,
    /// What it has for edges, if it is a parent.
    pub(crate) relay: Relay,
    /// Not reached by control, nor reaching it, until then.
    cut_until: u64,
    /// The store outlives the process, with this.
    disk: Option<Disk>,
    /// Entries and the like on their way in, not to be overtaken by those after them.
    entered: u64,
    /// The store is from before the restart.
    survivor: bool,
    /// What any process of this node has acknowledged.
    pub(crate) owed: Rc<BTreeSet<usize>>,
    /// It knows that it is expected.
    pub(crate) counted: bool,
}

/// What is durable of a node's place in the log.
#[derive(Clone, Debug, Default)]
struct Disk {
    standing: Standing,
    base: Seq,
    /// In the log's numbers.
    checked: Seq,
    /// The mark of that entry, for a fault.
    checked_mark: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) body: Body,
    pub(crate) stamp: Seq,
    /// The applied seq at which it was last found valid.
    valid_at: Seq,
    /// A soft purge was noted on it.
    soft: bool,
    expires: u64,
}

/// An entry on its way through a node.
#[derive(Clone, Debug)]
pub(crate) struct Entering {
    step: usize,
    seq: Seq,
    mark: Mark,
    own: Seq,
    change: Change,
    order: Option<usize>,
}

/// A client's request between the two steps of its lookup.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) need: Need,
    applied: Seq,
}

/// What a request meets.
pub(crate) enum Met {
    Fresh(Stored),
    /// May be served stale where that is allowed, and validated.
    Stale(Stored),
    Nothing,
}

impl Node {
    pub(crate) fn new(persistent: bool) -> Self {
        Self {
            process: 0,
            position: Position::default(),
            index: Index::new(BOUNDS),
            applied: 0,
            releases: BTreeMap::new(),
            store: BTreeMap::new(),
            fills: BTreeMap::new(),
            passes: Vec::new(),
            session: None,
            let_in: false,
            via: None,
            shown: None,
            closed: false,
            acked: 0,
            relay: Relay::default(),
            cut_until: 0,
            disk: persistent.then(Disk::default),
            entered: 0,
            survivor: false,
            owed: Rc::default(),
            counted: false,
        }
    }

    /// The key of a URL under the release that this node shows.
    fn keyed(&self, url: Key) -> Key {
        let release = self.releases.get(url.site()).cloned().flatten();
        let release = release.and_then(|name| name.parse().ok()).map_or(0, |name: u64| 1 + name);
        url.under(release)
    }

    pub(crate) fn validity(&self, key: Key, tags: u8, stamp: Seq, faults: &Faults) -> Validity {
        key.judged(tags, stamp, |subject| match self.index.validity(subject) {
            Validity::Hard(seq) if seq == self.index.floor_over(subject) => {
                match faults.floor_ignored || faults.floor_for_tags && tags == 0 {
                    true => Validity::Valid,
                    false => Validity::Hard(seq),
                }
            }
            validity => validity,
        })
    }

    /// What a lookup finds that read this applied seq.
    pub(crate) fn meet(&mut self, key: Key, applied: Seq, now: u64, faults: &Faults) -> Met {
        if self.survivor && !self.position.caught_up(self.applied) && !faults.visible_at_once {
            return Met::Nothing;
        }
        let Some(stored) = self.store.get(&key).cloned() else { return Met::Nothing };
        let validity = match stored.valid_at == applied {
            true => Validity::Valid,
            false => self.validity(key, stored.body.tags(), stored.stamp, faults),
        };
        if matches!(validity, Validity::Hard(_)) {
            return if faults.validate_purged { Met::Stale(stored) } else { Met::Nothing };
        }
        let soft = stored.soft || matches!(validity, Validity::Soft(_));
        if let Some(held) = self.store.get_mut(&key) {
            held.valid_at = applied;
            held.soft = soft;
        }
        if soft || stored.expires < now { Met::Stale(stored) } else { Met::Fresh(stored) }
    }

    /// Stores what is valid; returns whether it is.
    pub(crate) fn keep(&mut self, body: Body, stamp: Seq, expires: u64, faults: &Faults) -> bool {
        let key = body.key();
        if self.validity(key, body.tags(), stamp, faults) != Validity::Valid {
            return false;
        }
        let body = if faults.new_tags_only { body.with_last_tags() } else { body };
        if self.store.get(&key).is_none_or(|held| held.stamp <= stamp) {
            let stored = Stored { body, stamp, valid_at: stamp, soft: false, expires };
            self.store.insert(key, stored);
        }
        true
    }
}

impl World {
    pub(crate) fn connect(&mut self, node: usize, process: u64) {
        let here = &self.nodes[node];
        if here.process != process || here.session.is_some() || !self.goes_on() {
            return;
        }
        // What came in over the last session goes its way first.
        let ready = here.cut_until.max(here.entered + 1);
        if ready > self.now {
            return self.at(ready, Event::Connect { node, process });
        }
        let session = self.random.mark();
        self.nodes[node].session = Some(session);
        self.nodes[node].let_in = false;
        let standing = self.nodes[node].position.standing().clone();
        self.hello(node, session, &standing);
    }

    /// Nothing goes between a node and control for a while.
    pub(crate) fn cut(&mut self, node: usize, until: u64) {
        self.nodes[node].cut_until = until;
        self.hang_up(node);
    }

    pub(crate) fn hang_up(&mut self, node: usize) {
        self.relay_ends(node);
        let here = &mut self.nodes[node];
        here.session = None;
        here.shown = None;
        here.closed = false;
        if let Some(via) = here.via.take() {
            self.unlink_later(via);
        }
        let process = self.nodes[node].process;
        // A relay may be back before its edges know that it was away.
        let usual = if self.relays && node < PARENTS { 4 } else { 40 };
        self.after(usual, Event::Connect { node, process });
    }

    /// A line of control's reaches a node.
    pub(crate) fn line_came(&mut self, node: usize, session: u64, line: Line) {
        let here = &mut self.nodes[node];
        if here.session != Some(session) {
            return;
        }
        match line {
            Line::Closed if here.shown == Some(session) => here.closed = true,
            Line::Closed => self.hang_up(node),
            Line::Linked { link, session } => self.linked(node, link, session),
            Line::Entry(entry, order) => match here.position.take(entry.seq, entry.mark) {
                Ok(None) => {}
                Err(_) => self.hang_up(node),
                Ok(Some(own)) => {
                    let Entry { seq, mark, change } = entry;
                    let entering = Entering { step: 0, seq, mark, own, change, order };
                    self.step_on(node, entering);
                }
            },
            Line::Welcome { welcome, releases, gone } => {
                here.releases = releases;
                here.let_in = true;
                if let Some(floor) = here.position.welcomed(&welcome) {
                    here.index.raise_floor(floor);
                    here.applied = here.position.applied();
                    Rc::make_mut(&mut here.owed).extend(gone);
                }
                // Not where control has lost all memory of it since.
                here.counted = self.control.ledger().knows(node, &welcome.member);
                if let Some(disk) = &mut here.disk {
                    disk.standing = here.position.standing().clone();
                    disk.base = here.position.base();
                    disk.checked = disk.checked.min(here.position.at());
                    if !welcome.keep {
                        (disk.checked, disk.checked_mark) = (welcome.after, welcome.mark);
                    }
                }
                self.relay_begins(node);
                self.acknowledge(node, welcome.after);
            }
        }
    }

    /// The next step of an entry, after those before it.
    fn step_on(&mut self, node: usize, entering: Entering) {
        let at = (self.now + self.random.below(3)).max(self.nodes[node].entered + 1);
        self.nodes[node].entered = at;
        let process = self.nodes[node].process;
        self.at(at, Event::Enter { node, process, entering });
    }

    /// Raise the index, publish the applied seq, acknowledge; each may be waited for.
    pub(crate) fn enter(&mut self, node: usize, process: u64, entering: Entering) {
        let publish_first = self.faults.publish_first;
        let here = &mut self.nodes[node];
        if here.process != process {
            return;
        }
        match (entering.step, publish_first) {
            (0, false) | (1, true) => {
                if let Some(disk) = &mut here.disk {
                    // Durable before its number is in use.
                    disk.standing = here.position.standing().clone();
                }
                match &entering.change {
                    Change::Purge(purge) => {
                        let mut purge = purge.clone();
                        purge.seq = entering.own;
                        here.index.apply(&Key::keyed(&purge));
                    }
                    Change::Release(release) => {
                        here.releases.insert(release.site.clone(), release.name.clone());
                    }
                }
            }
            (0, true) | (1, false) => here.applied = here.applied.max(entering.own),
            _ => {
                Rc::make_mut(&mut here.owed).extend(entering.order);
                let Entering { seq, mark, change, order, .. } = entering;
                self.acknowledge(node, seq);
                self.relay_applied(node, Entry { seq, mark, change }, order);
                return;
            }
        }
        let step = entering.step + 1;
        self.step_on(node, Entering { step, ..entering });
    }

    /// The process dies; another takes its place.
    pub(crate) fn restart(&mut self, node: usize) {
        self.relay_ends(node);
        if let Some(via) = self.nodes[node].via {
            self.unlink_later(via);
        }
        let old = &self.nodes[node];
        let mut new = Node::new(false);
        new.process = old.process + 1;
        new.cut_until = old.cut_until;
        new.owed = Rc::clone(&old.owed);
        new.counted = old.counted;
        if let Some(mut disk) = old.disk.clone() {
            let Disk { standing, base, checked, checked_mark } = &mut disk;
            if self.faults.only_checked_mark {
                (standing.applied, standing.mark) = (*checked, *checked_mark);
            }
            standing.checked = Some(*checked);
            new.position = Position::restored(standing.clone(), *base);
            new.applied = new.position.applied();
            new.index.raise_floor(*base);
            new.store = old.store.clone();
            for stored in new.store.values_mut() {
                stored.valid_at = 0;
            }
            new.survivor = true;
            new.disk = Some(disk);
        }
        let process = new.process;
        self.nodes[node] = new;
        self.after(20, Event::Connect { node, process });
    }

    /// A walk over the store begins.
    pub(crate) fn walk(&mut self, node: usize) {
        let here = &self.nodes[node];
        let begun = here.fills.values().map(|fill| fill.begun).chain(here.passes.iter().copied());
        let mark = match self.faults.walk_ignores_fills {
            true => here.applied,
            false => begun.fold(here.applied, Seq::min),
        };
        let keys = here.store.keys().copied().collect();
        let process = here.process;
        self.after(20, Event::Walked { node, process, mark, keys });
    }

    /// It has judged everything it saw: the index may forget.
    pub(crate) fn walked(&mut self, node: usize, process: u64, mark: Seq, keys: &[Key]) {
        let faults = self.faults;
        let here = &mut self.nodes[node];
        if here.process != process || here.position.in_log(mark).is_none() {
            return;
        }
        for key in keys {
            let Some(stored) = here.store.get(key) else { continue };
            match here.validity(*key, stored.body.tags(), stored.stamp, &faults) {
                Validity::Valid => {}
                Validity::Hard(_) => drop(here.store.remove(key)),
                Validity::Soft(_) => {
                    if let Some(stored) = here.store.get_mut(key) {
                        stored.soft = true;
                    }
                }
            }
        }
        here.index.forget_below(mark);
        let checked = here.position.in_log(mark);
        if let (Some(disk), Some(checked)) = (&mut here.disk, checked)
            && let Some(mark) = here.position.mark_of(checked)
        {
            (disk.checked, disk.checked_mark) = (checked, mark);
        }
    }

    /// A client's request reaches an edge: the first step of its lookup reads the applied seq.
    pub(crate) fn client(&mut self, node: usize) {
        let url = Key::any(&mut self.random);
        let completed = match self.nodes[node].counted {
            true => self.control.ledger().completed().collect(),
            false => Vec::new(),
        };
        let here = &self.nodes[node];
        let need = Need { acknowledged: Rc::clone(&here.owed), completed };
        let request = Request { key: here.keyed(url), need, applied: here.applied };
        let process = here.process;
        let at = self.now + self.random.below(2);
        self.at(at, Event::Look { node, process, request });
    }

    /// The second judges what is stored.
    pub(crate) fn look(&mut self, node: usize, process: u64, request: Request) {
        if self.nodes[node].process != process {
            return;
        }
        let Request { key, need, applied } = request;
        let base = match self.nodes[node].meet(key, applied, self.now, &self.faults) {
            Met::Fresh(stored) => return self.reply(node, &need, &stored.body, true),
            Met::Stale(stored) => {
                if !self.faults.validate_purged {
                    self.reply(node, &need, &stored.body, false);
                }
                Some(stored.body)
            }
            Met::Nothing => None,
        };
        self.join_or_start(node, key, need, base);
    }

    pub(crate) fn reply(&mut self, node: usize, need: &Need, body: &Body, fresh: bool) {
        if let Some(wrong) = self.judge.answer(need, body, fresh) {
            self.broken(format!("node {node} {wrong}"));
        }
    }
}
