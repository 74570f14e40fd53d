//! Control: the log, who is expected, which session counts for which edge.

use super::Scene;
use super::world::{Broken, Entry, Log, NODES, Up, World, bit};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Reach, Resume, Welcome, resume};
use weir_rules::relay::Attached;

impl World {
    fn log_mut(&mut self) -> &mut Log {
        Arc::make_mut(&mut self.log)
    }

    pub(super) fn purge(&mut self, scene: &Scene) {
        let number = self.placed;
        self.placed += 1;
        let mark = 1 + u64::from(number) + 8 * u64::from(self.lives);
        let log = self.log_mut();
        let expected = (0..NODES).filter(|n| log.members[*n].is_some());
        let expected = expected.fold(0, |set, n| set | 1 << n);
        log.entries.push(Entry { number, mark, expected, completed: false });
        self.complete(scene);
    }

    /// A node's hello, and what control answers.
    pub(super) fn connect(&mut self, n: usize, scene: &Scene) {
        self.leave(n, scene);
        let log = self.log.clone();
        let (id, head) = (log.log_id(), log.head());
        let reach = Reach { log: &id, forgotten: 0, forgotten_mark: 0, head };
        let member = log.members[n].map(|member| member.to_string());
        let standing = self.nodes[n].position.standing();
        let mark_of = |seq| log.mark_of(seq);
        let (after, keep) = match resume(standing, member.as_deref(), &reach, mark_of, |_, _| true)
        {
            Resume::After(after) => (after, true),
            Resume::Empty(after) => (after, false),
            Resume::Restored => {
                let id = self.logs;
                self.logs += 1;
                self.log_mut().id = id;
                return self.drop_sessions(scene);
            }
        };
        let member = match member.filter(|_| keep) {
            Some(member) => member,
            None => {
                let log = self.log_mut();
                let made = log.members_made;
                log.members_made += 1;
                log.members[n] = Some(made);
                made.to_string()
            }
        };
        let mark = if after == 0 { 0 } else { log.mark_of(after).unwrap_or_default() };
        self.sessions_made += 1;
        self.sessions[n] = self.sessions_made;
        self.acked[n] = after;
        self.welcome(n, &Welcome { log: id, member, after, mark, keep, head });
        self.complete(scene);
    }

    /// Control hears the next thing that a relay says.
    pub(super) fn hear_up(&mut self, relay: usize, scene: &Scene) {
        match self.relays[relay].up.pop_front() {
            Some(Up::Link { link, edge, session }) => {
                let new = self.sessions_made + 1;
                let is_good =
                    self.sessions[edge] == session && self.attached[relay].begin(link, (edge, new));
                if !is_good {
                    return self.relays[relay].drop_link(link);
                }
                self.sessions_made = new;
                self.sessions[edge] = new;
                self.linked(relay, link, new, scene);
            }
            Some(Up::Unlink(_)) if scene.faults.counted_at_relay_before => {}
            Some(Up::Unlink(link)) => {
                if let Some((edge, session)) = self.attached[relay].end(link) {
                    self.part_if(edge, session);
                }
            }
            Some(Up::Applied(said)) => {
                let told = self.attached[relay].acknowledged(&said);
                let told: Vec<_> = told.into_iter().map(|(edge, seq)| (*edge, seq)).collect();
                for ((edge, session), seq) in told {
                    if self.sessions[edge] == session || scene.faults.counted_at_relay_before {
                        self.acknowledged(edge, seq, scene);
                    }
                }
            }
            None => {}
        }
    }

    /// A node's session ends; if it is a relay's, those of its edges with it.
    pub(super) fn part(&mut self, n: usize, scene: &Scene) {
        self.sessions[n] = 0;
        if scene.relays().contains(&n) && !scene.faults.attachments_outlive_relay {
            let attached: Attached<_> = std::mem::take(&mut self.attached[n]);
            for (edge, session) in attached.into_edges() {
                self.part_if(edge, session);
            }
        }
    }

    fn part_if(&mut self, edge: usize, session: u8) {
        if self.sessions[edge] == session {
            self.sessions[edge] = 0;
        }
    }

    pub(super) fn acknowledged(&mut self, n: usize, seq: Seq, scene: &Scene) {
        self.acked[n] = self.acked[n].max(seq);
        self.complete(scene);
    }

    /// Calls completed what every expected node has acknowledged, and holds that against the truth.
    fn complete(&mut self, scene: &Scene) {
        let (acked, log) = (self.acked, self.log.clone());
        for (seq, entry) in (1..).zip(&log.entries).filter(|(_, entry)| !entry.completed) {
            let mut expected = scene.nodes().filter(|n| entry.expected & (1 << n) != 0);
            if expected.clone().any(|n| acked[n] < seq) {
                continue;
            }
            self.log_mut().entries[(seq - 1) as usize].completed = true;
            if expected.any(|n| self.nodes[n].owed & bit(entry.number) == 0) {
                self.broken = Some(Broken::CompletedEarly);
            }
        }
    }

    fn drop_sessions(&mut self, scene: &Scene) {
        self.acked = [0; NODES];
        for n in scene.nodes() {
            self.part(n, scene);
        }
        for relay in scene.relays() {
            self.relay_ends(relay, scene);
        }
    }

    /// Control starts from its backup.
    pub(super) fn restore_control(&mut self, scene: &Scene) {
        self.lives += 1;
        self.log = self.backup.clone().unwrap_or_default();
        self.drop_sessions(scene);
    }
}
