//! Leases in the model. Its clock moves by one whenever a lease passes: a lease that was renewed
//! since holds, any other is over. Frames are received when they are sent. What renews a lease is
//! decided by the real `lease::Renewals`.

use crate::scene::Scene;
use crate::world::World;
use weir_rules::invalidation::Seq;
use weir_rules::lease::Renewals;
use weir_rules::time::Time;

fn time(clock: u8) -> Time {
    Time::from_millis(u64::from(clock))
}

impl World {
    /// The node was welcomed: entries follow after this seq.
    pub(crate) fn begin_lease(&mut self, n: usize, after: Seq, scene: &Scene) {
        if scene.lease {
            self.nodes[n].renewals = Renewals::begin(after);
            self.nodes[n].named = None;
            self.hear_head(n, scene);
        }
    }

    /// A heartbeat.
    pub(crate) fn beat(&mut self, n: usize, scene: &Scene) {
        self.hear_head(n, scene);
    }

    /// A welcome or a heartbeat names the log's head.
    fn hear_head(&mut self, n: usize, scene: &Scene) {
        let (clock, head) = (self.clock, self.control.published);
        let node = &mut self.nodes[n];
        node.named.get_or_insert(head);
        let at = node.position.at();
        if scene.faults.last_head_only {
            node.renewals = Renewals::begin(at);
        }
        let said = if scene.faults.name_what_was_sent { at } else { head };
        let renewed = node.renewals.named(said, time(clock));
        let at_once = scene.faults.renew_at_once.then(|| time(clock));
        self.renew(n, renewed.or(at_once));
    }

    /// Everything up to this seq holds on the node.
    pub(crate) fn reach(&mut self, n: usize, seq: Seq, scene: &Scene) {
        if scene.lease {
            let renewed = self.nodes[n].renewals.applied(seq);
            let now = time(self.clock);
            let late = scene.faults.renew_when_reached && renewed.is_some();
            let wrongly = (late || scene.faults.renew_by_entry).then_some(now);
            self.renew(n, wrongly.or(renewed));
        }
    }

    fn renew(&mut self, n: usize, as_of: Option<Time>) {
        // No clock of a scene goes beyond a few.
        let as_of = as_of.and_then(|at| u8::try_from(at.as_millis()).ok());
        self.nodes[n].renewed = as_of.or(self.nodes[n].renewed);
    }

    /// A lease passes in which nothing was renewed.
    pub(crate) fn pass_lease(&mut self) {
        self.clock += 1;
        self.answered_before = self.answered;
        for node in &mut self.nodes {
            node.named = None;
        }
    }

    /// The node's session breaks.
    pub(crate) fn cut(&mut self, n: usize) {
        self.nodes[n].connected = false;
        self.nodes[n].named = None;
    }

    /// A node that has applied up to a head that was named since the last lease passed has one.
    pub(crate) fn keeps_lease(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let has = |head: Seq| node.position.at() >= head;
        node.applying.is_some() || !node.named.is_some_and(has) || node.renewed == Some(self.clock)
    }
}
