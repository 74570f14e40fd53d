//! Relays and edges: what they take, acknowledge, pass on, and find when they start again.

use super::Scene;
use super::world::{Kept, LinkEnd, Node, Relay, Session, Up, Via, World, bit};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Mark, Position, Welcome};
use weir_rules::relay::{Behind, Link};

impl World {
    /// A node turns away from whom it follows; the relay sees that later.
    pub(super) fn leave(&mut self, n: usize, scene: &Scene) {
        if scene.relays().contains(&n) {
            self.part(n, scene);
            self.relay_ends(n, scene);
        }
        let node = &mut self.nodes[n];
        (node.session, node.shown, node.via) = (0, None, None);
    }

    /// Control's answer reaches the node.
    pub(super) fn welcome(&mut self, n: usize, welcome: &Welcome) {
        let placed = self.placed;
        let session = self.sessions[n];
        let node = &mut self.nodes[n];
        node.session = session;
        node.acked = None;
        if Arc::make_mut(&mut node.position).welcomed(welcome).is_some() {
            // It discards all that it has.
            node.holds = bit(placed) - 1;
        }
        // Its hello acknowledges what it has applied, durable or not.
        if welcome.after == node.position.at() {
            node.owed |= node.holds;
        }
        let at = node.position.at();
        if let Some(relay) = self.relays.get_mut(n) {
            relay.passing.begin(at);
        }
    }

    /// The entry that can reach the node now.
    pub(super) fn next_entry(&self, n: usize) -> Option<(Seq, u8, Mark)> {
        let node = &self.nodes[n];
        let at = node.position.at();
        match node.via {
            _ if !self.is_connected(n) => None,
            Some(via) => {
                let next = self.relays[via.relay].passing.after(at).ok()?.next();
                next.map(|(seq, (number, mark))| (seq, *number, *mark))
            }
            None => self.log.entry(at + 1).map(|entry| (at + 1, entry.number, entry.mark)),
        }
    }

    /// The next entry reaches the node, which applies it.
    pub(super) fn receive(&mut self, n: usize, scene: &Scene) {
        let Some((seq, number, mark)) = self.next_entry(n) else { return };
        let node = &mut self.nodes[n];
        if let Ok(Some(_)) = Arc::make_mut(&mut node.position).take(seq, mark) {
            node.holds |= bit(number);
        }
        if scene.relays().contains(&n) {
            // Passed on when it is applied. What a relay acknowledges of itself is of no interest here.
            self.acknowledge(n, scene);
            let relay = &mut self.relays[n];
            relay.passing.push(seq, (number, mark), 1);
            if scene.faults.relay_acknowledges_first {
                relay.links.keys().for_each(|link| relay.behind.applied(*link, seq));
            }
        }
    }

    /// What the node has applied is durable, and whom it follows hears so.
    pub(super) fn acknowledge(&mut self, n: usize, scene: &Scene) {
        let node = &mut self.nodes[n];
        let seq = node.position.at();
        node.acked = Some(seq);
        node.owed |= node.holds;
        node.kept = Arc::new(Kept { position: node.position.clone(), holds: node.holds });
        match node.via {
            Some(via) => self.relays[via.relay].behind.applied(via.link, seq),
            None => self.acknowledged(n, seq, scene),
        }
    }

    /// An edge shows a relay its ticket.
    pub(super) fn show(&mut self, n: usize, r: usize, scene: &Scene) {
        let is_up = self.is_connected(r);
        let node = &mut self.nodes[n];
        let acked = node.acked.unwrap_or_default();
        let after = if scene.faults.received_counts { node.position.at() } else { acked };
        let relay = &mut self.relays[r];
        if !is_up || relay.passing.after(after).is_err() {
            return;
        }
        relay.last += 1;
        let link = relay.last;
        relay.links.insert(link, LinkEnd { edge: n, after, session: None });
        if !scene.faults.link_begins_late {
            relay.behind.begin(link, after);
        }
        relay.up.push_back(Up::Link { link, edge: n, session: node.session });
        node.shown = Some(Via { relay: r, process: relay.process, link });
    }

    /// The relay hears that control has attached an edge.
    pub(super) fn linked(&mut self, r: usize, link: Link, session: Session, scene: &Scene) {
        let relay = &mut self.relays[r];
        let Some(end) = relay.links.get_mut(&link) else { return };
        end.session = Some(session);
        if scene.faults.link_begins_late {
            relay.behind.begin(link, end.after);
        }
    }

    /// An edge hears that it is attached, and says what it has acknowledged.
    pub(super) fn attached(&mut self, n: usize) {
        let Some(via) = self.nodes[n].shown.take() else { return };
        let Some(session) = self.link_end(via).and_then(|end| end.session) else { return };
        let node = &mut self.nodes[n];
        (node.session, node.via) = (session, Some(via));
        if let Some(seq) = node.acked {
            self.relays[via.relay].behind.applied(via.link, seq);
        }
    }

    /// A relay says what its edges have applied.
    pub(super) fn say(&mut self, r: usize) {
        let relay = &mut self.relays[r];
        if let Some(said) = relay.behind.say() {
            relay.up.push_back(Up::Applied(said));
        }
    }

    /// A relay has lost control, and lets its edges go.
    pub(super) fn relay_ends(&mut self, r: usize, scene: &Scene) {
        let relay = &mut self.relays[r];
        relay.up.clear();
        if !scene.faults.links_outlive_connection {
            relay.links.clear();
            relay.behind = Behind::default();
        }
    }

    /// The node's process dies, and another starts with this.
    pub(super) fn start(&mut self, n: usize, kept: Arc<Kept>, scene: &Scene) {
        if scene.relays().contains(&n) {
            self.part(n, scene);
            let relay = &mut self.relays[n];
            // Where control keeps links of before, it would refuse their numbers.
            let last = if scene.faults.attachments_outlive_relay { relay.last } else { 0 };
            let next = Relay { process: relay.process + 1, last, ..Relay::default() };
            if scene.faults.links_outlive_connection {
                relay.up.clear();
            } else {
                *relay = next;
            }
        } else if self.nodes[n].via.is_none() {
            // Control sees the end of its connection.
            self.sessions[n] = 0;
        }
        let (standing, base) = (kept.position.standing().clone(), kept.position.base());
        let Node { owed, saved, .. } = &mut self.nodes[n];
        self.nodes[n] = Node {
            position: Arc::new(Position::restored(standing, base)),
            holds: kept.holds,
            owed: *owed,
            saved: saved.take(),
            kept,
            ..Node::default()
        };
    }
}
