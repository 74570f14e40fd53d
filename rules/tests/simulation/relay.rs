//! Parents as relays: edges are attached to them, and leave them, at any time.

use crate::control::Line;
use crate::world::{Event, NODES, PARENTS, World};
use std::collections::BTreeMap;
use weir_rules::invalidation::Seq;
use weir_rules::log::Entry;
use weir_rules::relay::{AppliedBehind, Attached, Behind, Link, Passing};

/// So small that edges fall behind it: each entry counts as one.
const KEPT: usize = 6;

/// A parent's side.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Its session with control.
    up: Option<u64>,
    passing: Passing<(Entry, Option<usize>)>,
    behind: Behind,
    links: BTreeMap<Link, LinkEnd>,
    last: Link,
    /// It will say what its edges have applied.
    says: bool,
    /// When the last line to control arrives.
    last_up: u64,
}

#[derive(Debug)]
struct LinkEnd {
    edge: usize,
    /// The session in which the edge showed its ticket, and the one that control gave it for that.
    shown: u64,
    session: Option<u64>,
    passed: Seq,
    last_arrival: u64,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            up: None,
            passing: Passing::new(KEPT),
            behind: Behind::default(),
            links: BTreeMap::new(),
            last: 0,
            says: false,
            last_up: 0,
        }
    }
}

/// The relay that an edge is attached to: which, in which process, by which link.
pub(crate) type Via = (usize, u64, Link);

/// What a relay says to control, in order.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Link { link: Link, edge: usize, session: u64 },
    Unlink(Link),
    Applied(AppliedBehind),
}

/// Control's side: the edges that it has attached to each relay.
pub(crate) type Links = [Attached<(usize, u64)>; PARENTS];

impl World {
    /// An edge that follows control directly would rather follow a parent.
    pub(crate) fn attach(&mut self, node: usize) {
        let here = &self.nodes[node];
        let is_free = here.let_in && here.via.is_none() && here.shown.is_none();
        let Some(session) = here.session.filter(|_| is_free) else { return };
        let after = match self.faults.received_counts {
            true => here.position.at(),
            false => here.acked,
        };
        self.nodes[node].shown = Some(session);
        self.after(80, Event::GiveUp { node, session });
        let parent = self.random.below(PARENTS as u64) as usize;
        if !self.random.once_in(self.loss) {
            self.after(6, Event::Shown { parent, edge: node, session, after });
        }
    }

    /// A relay is shown a ticket.
    pub(crate) fn shown(&mut self, parent: usize, edge: usize, session: u64, after: Seq) {
        let relay = &mut self.nodes[parent].relay;
        if relay.up.is_none() || relay.passing.after(after).is_err() {
            return;
        }
        relay.last += 1;
        let link = relay.last;
        let end = LinkEnd { edge, shown: session, session: None, passed: after, last_arrival: 0 };
        relay.links.insert(link, end);
        if !self.faults.link_begins_late {
            relay.behind.begin(link, after);
        }
        self.up(parent, Up::Link { link, edge, session });
    }

    /// A relay says something to control.
    fn up(&mut self, relay: usize, what: Up) {
        let arrival = self.now + self.random.delay(6);
        let here = &mut self.nodes[relay].relay;
        let Some(session) = here.up else { return };
        here.last_up = arrival.max(here.last_up + 1);
        let at = here.last_up;
        self.at(at, Event::Up { relay, session, what });
    }

    /// Control hears a relay.
    pub(crate) fn up_came(&mut self, relay: usize, session: u64, what: Up) {
        if self.control.session_of(relay) != Some(session) {
            return;
        }
        match what {
            // Who moved away is taken for one of all.
            Up::Unlink(_) if self.faults.moved_edges_counted => {}
            Up::Unlink(link) => {
                if let Some((edge, session)) = self.control.links[relay].end(link) {
                    self.part(edge, session);
                }
            }
            Up::Applied(said) => {
                let told: Vec<_> = self.control.links[relay]
                    .acknowledged(&said)
                    .into_iter()
                    .map(|((edge, session), seq)| (*edge, *session, seq))
                    .collect();
                for (edge, session, seq) in told {
                    let session = match self.faults.moved_edges_counted {
                        true => self.control.session_of(edge).unwrap_or(session),
                        false => session,
                    };
                    self.acknowledged(edge, session, seq);
                }
            }
            Up::Link { link, edge, session } => {
                if self.control.session_of(edge) != Some(session) {
                    return;
                }
                let new = self.random.mark();
                // The direct connection ends.
                self.line(edge, Line::Closed);
                self.control.attach(edge, new);
                if self.control.links[relay].begin(link, (edge, new)) {
                    self.line(relay, Line::Linked { link, session: new });
                }
            }
        }
    }

    /// A relay hears that control has attached an edge.
    pub(crate) fn linked(&mut self, parent: usize, link: Link, session: u64) {
        let process = self.nodes[parent].process;
        let arrival = self.now + self.random.delay(6);
        let late = self.faults.link_begins_late;
        let relay = &mut self.nodes[parent].relay;
        let Some(end) = relay.links.get_mut(&link) else { return };
        if late {
            relay.behind.begin(link, end.passed);
        }
        end.session = Some(session);
        end.last_arrival = arrival;
        let (node, shown) = (end.edge, end.shown);
        let via = (parent, process, link);
        self.at(arrival, Event::Attached { node, shown, session, via });
        self.pass_on(parent);
    }

    /// An edge hears that it is attached.
    pub(crate) fn attached(&mut self, node: usize, shown: u64, session: u64, via: Via) {
        let here = &mut self.nodes[node];
        if here.shown != Some(shown) {
            return self.unlink_later(via);
        }
        here.shown = None;
        here.closed = false;
        here.session = Some(session);
        here.via = Some(via);
        let seq = here.acked;
        self.acknowledge(node, seq);
    }

    /// An edge waits no longer for a relay's answer.
    pub(crate) fn give_up(&mut self, node: usize, session: u64) {
        let here = &mut self.nodes[node];
        if here.shown == Some(session) {
            here.shown = None;
            if std::mem::take(&mut here.closed) {
                self.hang_up(node);
            }
        }
    }

    /// An edge acknowledges to whom it follows.
    pub(crate) fn acknowledge(&mut self, node: usize, seq: Seq) {
        let here = &mut self.nodes[node];
        here.acked = seq;
        match (here.via, here.session) {
            (Some(via), Some(_)) => self.after(8, Event::AppliedBehind { via, seq }),
            (None, Some(session)) => self.after(4, Event::Acknowledged { node, session, seq }),
            (_, None) => {}
        }
    }

    /// A relay hears what an edge has applied.
    pub(crate) fn applied_behind(&mut self, (parent, process, link): Via, seq: Seq) {
        let here = &mut self.nodes[parent];
        if here.process != process {
            return;
        }
        here.relay.behind.applied(link, seq);
        if !std::mem::replace(&mut here.relay.says, true) {
            self.after(3, Event::Say { parent, process });
        }
    }

    /// A relay says what its edges have applied.
    pub(crate) fn say(&mut self, parent: usize, process: u64) {
        let here = &mut self.nodes[parent];
        if here.process != process {
            return;
        }
        here.relay.says = false;
        if let Some(said) = here.relay.behind.say() {
            self.up(parent, Up::Applied(said));
        }
    }

    /// A parent is let in by control: it relays from here on.
    pub(crate) fn relay_begins(&mut self, node: usize) {
        if node >= PARENTS {
            return;
        }
        self.relay_ends(node);
        let at = self.nodes[node].position.at();
        let session = self.nodes[node].session;
        let renumbered = self.faults.links_renumbered;
        let relay = &mut self.nodes[node].relay;
        relay.up = session;
        relay.behind = Behind::default();
        relay.passing.begin(at);
        if renumbered {
            relay.last = 0;
        }
    }

    /// A parent lost control, or its process ends: its edges hear of it.
    pub(crate) fn relay_ends(&mut self, node: usize) {
        let relay = &mut self.nodes[node].relay;
        relay.up = None;
        for end in std::mem::take(&mut relay.links).into_values() {
            let session = end.session.unwrap_or(end.shown);
            if end.session.is_some() {
                let at = (self.now + self.random.delay(6)).max(end.last_arrival + 1);
                self.at(at, Event::Line { node: end.edge, session, line: Line::Closed });
            }
        }
    }

    /// A parent has applied an entry.
    pub(crate) fn relay_applied(&mut self, node: usize, entry: Entry, order: Option<usize>) {
        if node < PARENTS {
            self.nodes[node].relay.passing.push(entry.seq, (entry, order), 1);
            self.pass_on(node);
        }
    }

    /// A relay passes on what it has applied.
    fn pass_on(&mut self, parent: usize) {
        if self.nodes[parent].relay.links.is_empty() {
            return;
        }
        let delays: Vec<_> = (0..NODES * KEPT).map(|_| self.random.delay(6)).collect();
        let mut delays = delays.into_iter();
        let now = self.now;
        let (mut lines, mut over) = (Vec::new(), Vec::new());
        let Relay { passing, links, .. } = &mut self.nodes[parent].relay;
        for (link, end) in links {
            let Some(session) = end.session else { continue };
            let Ok(entries) = passing.after(end.passed) else {
                over.push((*link, end.edge, session, end.last_arrival + 1));
                continue;
            };
            for (seq, (entry, order)) in entries {
                end.passed = seq;
                end.last_arrival = (now + delays.next().unwrap_or(1)).max(end.last_arrival + 1);
                let line = Line::Entry(entry.clone(), *order);
                lines.push((end.last_arrival, Event::Line { node: end.edge, session, line }));
            }
        }
        lines.into_iter().for_each(|(at, line)| self.at(at, line));
        for (link, node, session, at) in over {
            self.at(at.max(now + 1), Event::Line { node, session, line: Line::Closed });
            self.unlink(parent, link);
        }
    }

    /// An edge goes elsewhere; the relay sees that some time.
    pub(crate) fn unlink_later(&mut self, (parent, process, link): Via) {
        self.after(20, Event::Unlink { parent, process, link });
    }

    pub(crate) fn unlink_came(&mut self, parent: usize, process: u64, link: Link) {
        if self.nodes[parent].process == process {
            self.unlink(parent, link);
        }
    }

    fn unlink(&mut self, parent: usize, link: Link) {
        let relay = &mut self.nodes[parent].relay;
        if relay.links.remove(&link).is_some() {
            relay.behind.end(link);
            self.up(parent, Up::Unlink(link));
        }
    }
}
