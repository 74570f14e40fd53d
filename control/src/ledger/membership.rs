//! Who is expected, who is there, and what they have applied.

use super::errors::Ended;
use super::nodes::{
    AttachedSession, DepartedNode, ExpectedNode, Joined, Moved, Session, SessionId,
};
use super::published::PublishedLog;
use crate::journal::{Life, NodeRecord};
use std::sync::Arc;
use std::time::Instant;
use weir_protocol::frame::{Hello, Welcomed};
use weir_protocol::stats::Stats;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Mark, Welcome};

/// A node that is let in, and is on record.
#[derive(Debug)]
pub(super) struct NodeAdmission {
    pub(super) hello: Box<Hello>,
    pub(super) record: NodeRecord,
    /// The entry after which it goes on, and its mark; `None` where it may keep nothing.
    pub(super) after: Option<(Seq, Mark)>,
    pub(super) now: Instant,
}

impl PublishedLog {
    /// Begins a node's session.
    pub(super) fn admit(&mut self, admission: NodeAdmission) -> Joined {
        let NodeAdmission { hello, record, after, now } = admission;
        let name: Arc<str> = record.name.as_str().into();
        let keep = after.is_some();
        let (after, mark) = after.unwrap_or((self.base.seq, self.base.mark));
        let is_new = !self.nodes.contains_key(&name);
        if is_new {
            // It has nothing of what came before it, and holds none of that back.
            let node = ExpectedNode::new(record.clone(), self.columns.take(), now);
            self.applied.add(node.record.counted);
            self.settled.add(node.settled());
            self.nodes.insert(name.clone(), Box::new(node));
        }
        let Some(node) = self.nodes.get_mut(&name) else { unreachable!("it is there") };
        let before = std::mem::replace(&mut node.record, record);
        node.record.applied = before.applied;
        node.record.counted = before.counted;
        node.record.excused = before.excused;
        if *node.region != *node.record.region {
            node.region = node.record.region.as_str().into();
        }
        // What its other processes have applied may have moved on since this was staged.
        for process in &mut node.record.processes {
            let known = before.processes.iter().find(|known| known.instance == process.instance);
            process.applied = known.map_or(process.applied, |known| known.applied);
            process.before =
                process.before.take().filter(|_| known.is_none_or(|known| known.before.is_some()));
            let is_emptied = process.instance == hello.instance && !keep;
            process.checked =
                known.map_or(process.checked, |known| known.checked).filter(|_| !is_emptied);
        }
        let reported = hello.sites.as_deref();
        let same = node.sites.as_deref() == reported;
        let (processes, sessions) = (&node.record.processes, &mut self.sessions);
        node.sessions.retain_mut(|earlier| {
            let is_other = earlier.instance != hello.instance;
            let stays =
                is_other && processes.iter().any(|process| process.instance == earlier.instance);
            if !stays {
                earlier.end(Ended::Replaced);
                sessions.remove(&earlier.id);
            }
            stays
        });
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let (begun, listener) = Session::new(session, hello.instance.clone(), now);
        node.sessions.push(begun);
        // The newest process speaks for the node, also where an older one comes again.
        let nth = |session: &Session| {
            processes.iter().position(|process| process.instance == session.instance)
        };
        node.sessions.sort_by_key(nth);
        self.sessions.insert(session, name.clone());
        self.hear(&name, session, now);
        self.watch(&name);
        if is_new || !same {
            self.report_sites(&name, reported.map(Arc::from));
        }
        if keep {
            // When it applied what it has, while nobody listened, is not known. That may be more
            // than it goes on after: it shows nothing from before until it is there again.
            self.advance(&name, session, hello.standing.applied, None);
        }
        let mut member = String::new();
        if let Some(node) = self.nodes.get_mut(&name) {
            if let Some(process) = node.process_of(session) {
                process.applied = after;
                member.clone_from(&process.member);
            }
            node.record.settle();
        }
        self.hold(&name);
        self.unsaved.nodes = true;
        let place =
            Welcome { log: self.life.log.clone(), member, after, mark, keep, head: self.head };
        let releases = self.releases_at(after);
        let lease_ms = u64::try_from(self.bounds.lease.as_millis()).unwrap_or(u64::MAX);
        let welcomed = Welcomed { place, releases, tier_key: self.life.tier_key.clone(), lease_ms };
        Joined { welcomed, session, ended: listener }
    }

    /// The process of a session speaks through a relay from now on: the session ends, and another
    /// one begins in its place. `None` where it is over already. Who is expected does not change, so
    /// that this needs no order among the entries but that under the lock: what is appended before
    /// waits for the process, and what is appended after.
    pub(super) fn attach(
        &mut self,
        session: SessionId,
        relay: &Arc<str>,
        now: Instant,
    ) -> Option<AttachedSession> {
        let name = self.sessions.remove(&session)?;
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let node = self.nodes.get_mut(&name)?;
        let known = node.sessions.iter_mut().find(|known| known.id == session)?;
        let listener = known.attach(id, relay.clone());
        let sites = node.sites.clone();
        self.sessions.insert(id, name.clone());
        self.hear(&name, id, now);
        Some(AttachedSession { session: id, ended: listener, sites })
    }

    /// Up to where processes behind a relay have applied everything, as the relay says. Only who has
    /// come further was heard: the relay repeats the others. The names of the nodes of those; `None`
    /// where that cannot be.
    pub(super) fn applied_behind(
        &mut self,
        told: &[(SessionId, Seq)],
        now: Instant,
    ) -> Option<Vec<(Arc<str>, Seq)>> {
        if told.iter().any(|(_, seq)| *seq > self.head) {
            return None;
        }
        let mut moved = Vec::new();
        for (session, seq) in told {
            let Some((name, node, known)) = self.known(*session) else { continue };
            let mut processes = node.record.processes.iter();
            let process = processes.find(|process| process.instance == known.instance);
            // The first word of a process counts although it is no further: it has its membership.
            if process.is_none_or(|process| process.applied >= *seq && process.before.is_none()) {
                continue;
            }
            let name = Arc::clone(name);
            self.hear(&name, *session, now);
            self.advance(&name, *session, *seq, Some(now));
            moved.push((name, *seq));
        }
        Some(moved)
    }

    /// Whether the session is that of the process that speaks for its node: of two, the newer.
    pub(super) fn heard(
        &mut self,
        session: SessionId,
        now: Instant,
        stats: Option<Arc<Stats>>,
    ) -> bool {
        let Some(name) = self.sessions.get(&session).cloned() else { return false };
        let speaks = self.hear(&name, session, now);
        if stats.is_some()
            && speaks
            && let Some(node) = self.nodes.get_mut(&name)
        {
            node.stats = stats;
        }
        speaks
    }

    fn hear(&mut self, name: &Arc<str>, session: SessionId, now: Instant) -> bool {
        let Some(node) = self.nodes.get_mut(name) else { return false };
        let speaks = node.hear(session, now);
        node.record.away = false;
        if std::mem::take(&mut node.lease_over) {
            // The next purge waits for it again.
            node.record.excused = self.head;
            self.settled.add(node.settled());
            self.watch(name);
        }
        speaks
    }

    /// Whether `seq` can have been applied: nothing above the head was sent to anybody.
    pub(super) fn applied(&mut self, session: SessionId, seq: Seq, now: Instant) -> bool {
        if seq > self.head {
            return false;
        }
        if let Some(name) = self.sessions.get(&session).cloned() {
            self.hear(&name, session, now);
            self.advance(&name, session, seq, Some(now));
        }
        true
    }

    /// A session that is not over, and its node.
    fn known(&self, session: SessionId) -> Option<(&Arc<str>, &ExpectedNode, &Session)> {
        let name = self.sessions.get(&session)?;
        let node = self.nodes.get(name)?;
        let known = node.sessions.iter().find(|known| known.id == session)?;
        Some((name, node, known))
    }

    /// What a process of the node has on disk was held against the log up to `seq`: it needs no entry
    /// up to there at its next start. `false` where that cannot be.
    pub(super) fn checked(&mut self, session: SessionId, seq: Seq) -> bool {
        if seq > self.head {
            return false;
        }
        let Some(name) = self.sessions.get(&session).cloned() else { return true };
        let node = self.nodes.get_mut(&name);
        if let Some(process) = node.and_then(|node| node.process_of(session)) {
            process.checked = Some(seq);
        }
        self.hold(&name);
        self.unsaved.nodes = true;
        self.forget();
        true
    }

    /// Counts up to where what the node has on disk was checked, as its processes say.
    pub(super) fn hold(&mut self, name: &str) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let checked = node.record.checked();
        let before = std::mem::replace(&mut node.held, checked);
        before.into_iter().for_each(|seq| self.checked.remove(seq));
        checked.into_iter().for_each(|seq| self.checked.add(seq));
    }

    /// Notes that everything up to `seq` holds on the process of the node's session, since `now` where
    /// that is known.
    fn advance(&mut self, name: &Arc<str>, session: SessionId, seq: Seq, now: Option<Instant>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(process) = node.process_of(session) else { return };
        process.applied = process.applied.max(seq);
        // It acknowledges only under the membership that it has durably.
        process.before = process.before.take().filter(|_| now.is_none());
        let moved = node.settle(self.head, &mut self.applied, &mut self.settled);
        self.note(moved, now);
    }

    /// Notes how far a node has come, since `now` where that is known.
    fn note(&mut self, moved: Option<Moved>, now: Option<Instant>) {
        self.unsaved.nodes = true;
        let Some(Moved { seqs, column, excused }) = moved else { return };
        if let Some(now) = now {
            self.note_arrivals(seqs, column, excused, now);
        }
        self.complete(now.unwrap_or_else(Instant::now));
    }

    /// Completes what no node has yet to apply.
    pub(super) fn complete(&mut self, at: Instant) {
        let open = [
            (&mut self.open_purges, self.settled.all()),
            (&mut self.open_releases, self.applied.all()),
        ];
        let mut some = false;
        for (open, all) in open {
            while let Some(first) = open.first_entry().filter(|first| *first.key() <= all) {
                let listed = first.remove();
                listed.complete(listed.elapsed(at));
                self.unsaved.arrivals.insert(listed.seq());
                // Why it is complete: what nodes applied, or whose lease is over.
                self.unsaved.nodes = true;
                some = true;
            }
        }
        if some {
            self.completes.notify_one();
        }
    }

    /// Has it looked when the lease of the node may be over.
    pub(super) fn watch(&mut self, name: &Arc<str>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(ends) = node.lease_ends() else { return };
        if node.watched.is_none_or(|watched| ends < watched) {
            node.watched = Some(ends);
            self.leases.watch(name.clone(), ends);
        }
    }

    /// Waits no more for the nodes that validate all they have stored, once their lease is surely
    /// over. A switch of releases waits for them: they show the previous release.
    pub(super) fn note_leases(&mut self, now: Instant) {
        let mut over = false;
        while let Some((at, name)) = self.leases.next(now) {
            let Some(node) = self.nodes.get_mut(&name).filter(|node| node.watched == Some(at))
            else {
                continue;
            };
            node.watched = None;
            if node.lease_over {
                continue;
            }
            if node.is_lease_over(now) {
                node.lease_over = true;
                self.settled.remove(node.settled());
                over = true;
            } else {
                self.watch(&name);
            }
        }
        if over {
            self.unsaved.nodes = true;
            self.complete(now);
        }
    }

    /// The process of an instance is not expected any more; its node has others.
    pub(super) fn retire(&mut self, name: &str, instance: &str, now: Instant) {
        let Some((name, node)) = self.nodes.get_key_value(name) else { return };
        let name = name.clone();
        let ended: Vec<_> = node
            .sessions
            .iter()
            .filter(|session| session.instance == instance)
            .map(|session| session.id)
            .collect();
        for session in ended {
            self.sessions.remove(&session);
        }
        let Some(node) = self.nodes.get_mut(&name) else { return };
        node.record.processes.retain(|process| process.instance != instance);
        node.sessions.retain_mut(|session| {
            let stays = session.instance != instance;
            if !stays {
                session.end(Ended::Forgotten);
            }
            stays
        });
        let moved = node.settle(self.head, &mut self.applied, &mut self.settled);
        self.note(moved, Some(now));
        self.hold(&name);
        // The lease of those that are left may be another.
        self.watch(&name);
    }

    pub(super) fn matched(&mut self, session: SessionId, counts: &[(Seq, u64)]) {
        let Some(name) = self.sessions.get(&session).cloned() else { return };
        let Some(column) = self.nodes.get(&name).map(|node| node.column) else { return };
        for (seq, count) in counts {
            let Some(listed) = self.entry(*seq).filter(|listed| listed.purge().is_some()).cloned()
            else {
                continue;
            };
            if self.recent.matched(*seq, column, *count) {
                self.unsaved.arrivals.insert(*seq);
                listed.told.notify_waiters();
            }
        }
    }

    pub(super) fn parted(&mut self, session: SessionId) {
        let Some(node) = self.of_session(session) else { return };
        node.sessions.retain(|known| known.id != session);
        self.sessions.remove(&session);
        self.unsaved.nodes = true;
    }

    /// The node has ended and shows nothing before it has caught up: no purge waits for it until then.
    /// `false` if it has other processes.
    pub(super) fn away(&mut self, session: SessionId, now: Instant) -> bool {
        let Some(name) = self.sessions.get(&session).cloned() else { return false };
        if self.nodes.get(&name).is_none_or(|node| node.record.processes.len() > 1) {
            return false;
        }
        self.parted(session);
        let Some(node) = self.nodes.get_mut(&name) else { return false };
        node.record.away = true;
        if !std::mem::replace(&mut node.lease_over, true) {
            self.settled.remove(node.settled());
        }
        self.unsaved.nodes = true;
        self.complete(now);
        true
    }

    /// Expects the node no more; whether it was.
    pub(super) fn forget_node(&mut self, name: &str, now: Instant) -> bool {
        let Some(mut node) = self.nodes.remove(name) else { return false };
        for mut session in node.sessions.drain(..) {
            session.end(Ended::Forgotten);
            self.sessions.remove(&session.id);
        }
        self.applied.remove(node.record.counted);
        node.held.into_iter().for_each(|seq| self.checked.remove(seq));
        let excused = node.excused(self.head);
        if !node.lease_over {
            self.settled.remove(node.record.counted.max(node.record.excused));
        }
        self.depart(DepartedNode {
            name: node.record.name.as_str().into(),
            tier: node.record.tier,
            region: node.region,
            column: node.column,
            joined_at: node.record.joined_at,
            counted: node.record.counted,
            excused,
        });
        self.complete(now);
        self.gather_sites();
        true
    }

    /// Keeps in mind a node that is not expected any more, if a listed entry is told with it.
    pub(super) fn depart(&mut self, node: DepartedNode) {
        // From now on only the entries themselves say how they came to it.
        let from = node.joined_at.saturating_add(1).max(self.recent.first());
        self.unsaved.arrivals.extend(from..=node.counted.max(node.excused));
        self.departed.push_back(node);
        let most = self.bounds.nodes;
        let mut over = self.departed.len().saturating_sub(most);
        let (base, columns) = (self.base.seq, &mut self.columns);
        self.departed.retain(|node| {
            let is_told = node.counted.max(node.excused) > node.joined_at.max(base);
            let stays = is_told && over == 0;
            over = over.saturating_sub(1);
            if !stays {
                columns.give_back(node.column);
            }
            stays
        });
    }

    /// Begins a new life: nobody can go on from where they are.
    pub(super) fn revive(&mut self, life: Life) {
        self.life = life;
        self.sessions.clear();
        for node in self.nodes.values_mut() {
            for process in &mut node.record.processes {
                process.applied = self.base.seq;
                process.checked = None;
            }
            node.record.settle();
            node.held.take().into_iter().for_each(|seq| self.checked.remove(seq));
            for mut session in node.sessions.drain(..) {
                session.end(Ended::Restored);
            }
        }
    }

    fn of_session(&mut self, session: SessionId) -> Option<&mut ExpectedNode> {
        self.nodes.get_mut(self.sessions.get(&session)?).map(|node| &mut **node)
    }
}
