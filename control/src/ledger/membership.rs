//! Who is expected, who is there, and what they have applied.

use super::arrivals::Arrivals;
use super::errors::Ended;
use super::listed::Listed;
use super::nodes::{ExpectedNode, Joined, Session, SessionId};
use super::published::{PublishedLog, Unsaved};
use crate::journal::{Life, NodeRecord, ProcessRecord};
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
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
        let node = self
            .nodes
            .entry(name.clone())
            .or_insert_with(|| ExpectedNode::new(record.clone(), now));
        let before = std::mem::replace(&mut node.record, record);
        node.record.applied = before.applied;
        // What its other processes have applied may have moved on since this was staged.
        for process in &mut node.record.processes {
            let known = before.processes.iter().find(|known| known.instance == process.instance);
            process.applied = known.map_or(process.applied, |known| known.applied);
        }
        let reported = hello.sites.as_deref();
        let same = node.sites.as_deref() == reported;
        let (processes, sessions) = (&node.record.processes, &mut self.sessions);
        node.sessions.retain(|earlier| {
            let is_other = earlier.instance != hello.instance;
            let stays =
                is_other && processes.iter().any(|process| process.instance == earlier.instance);
            if !stays {
                earlier.ended.send_replace(Some(Ended::Replaced));
                sessions.remove(&earlier.id);
            }
            stays
        });
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let (ended, listener) = watch::channel(None);
        let instance = hello.instance.clone();
        node.sessions.push(Session { id: session, instance, heard: now, ended });
        // The newest process speaks for the node, also where an older one comes again.
        let nth = |session: &Session| {
            processes.iter().position(|process| process.instance == session.instance)
        };
        node.sessions.sort_by_key(nth);
        node.hear(session, now);
        self.sessions.insert(session, name.clone());
        if is_new || !same {
            self.report_sites(&name, reported.map(Arc::from));
        }
        if keep {
            // When it applied what it has, while nobody listened, is not known. That may be more
            // than it goes on after: it shows nothing from before until it is there again.
            self.advance(&name, &hello.instance, hello.standing.applied, None);
        }
        let mut member = String::new();
        if let Some(node) = self.nodes.get_mut(&name) {
            if let Some(process) = process_mut(node, &hello.instance) {
                process.applied = after;
                member.clone_from(&process.member);
            }
            node.record.settle();
        }
        self.unsaved.nodes = true;
        self.tell_incomplete();
        let place =
            Welcome { log: self.life.log.clone(), member, after, mark, keep, head: self.head };
        let releases = self.releases_at(after);
        let lease_ms = u64::try_from(self.bounds.lease.as_millis()).unwrap_or(u64::MAX);
        let welcomed = Welcomed { place, releases, tier_key: self.life.tier_key.clone(), lease_ms };
        Joined { welcomed, session, ended: listener }
    }

    /// Whether the session is that of the process that speaks for its node: of two, the newer.
    pub(super) fn heard(&mut self, session: SessionId, now: Instant, stats: Option<Stats>) -> bool {
        let Some(node) = self.of_session(session) else { return false };
        let speaks = node.hear(session, now);
        if stats.is_some() && speaks {
            node.stats = stats;
        }
        speaks
    }

    pub(super) fn applied(&mut self, session: SessionId, seq: Seq, now: Instant) {
        // A node cannot have applied what was not published.
        let seq = seq.min(self.head);
        let Some(name) = self.sessions.get(&session).cloned() else { return };
        let Some(node) = self.nodes.get_mut(&name) else { return };
        node.hear(session, now);
        let instance = node.sessions.iter().find(|known| known.id == session);
        if let Some(instance) = instance.map(|known| known.instance.clone()) {
            self.advance(&name, &instance, seq, Some(now));
        }
    }

    /// Notes that everything up to `seq` holds on a process of the node, since `now` where that is
    /// known.
    fn advance(&mut self, name: &Arc<str>, instance: &str, seq: Seq, now: Option<Instant>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(process) = process_mut(node, instance) else { return };
        process.applied = process.applied.max(seq);
        self.settle(name, now);
    }

    /// Notes what all processes of the node have applied, since `now` where that is known.
    fn settle(&mut self, name: &Arc<str>, now: Option<Instant>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let before = node.record.applied;
        node.record.settle();
        let seq = node.record.applied;
        if seq <= before {
            return;
        }
        self.unsaved.nodes = true;
        let Self { incomplete, unsaved, propagation, .. } = self;
        let at = now.unwrap_or_else(Instant::now);
        change(incomplete, unsaved, before + 1..=seq, at, |listed, arrivals| {
            let took = now.map(|now| listed.elapsed(now));
            let news = arrivals.applied(name, took);
            if let (true, Some(took), true) = (news, took, listed.purge().is_some()) {
                propagation.record(took);
            }
            news
        });
        // What was completed without it, it has applied by now.
        for seq in (before + 1).max(self.base.seq + 1)..=seq {
            let Some(listed) = self.entry(seq).cloned() else { continue };
            let took = now.map(|now| listed.elapsed(now));
            if !self.incomplete.contains_key(&seq) && listed.arrivals().applied(name, took) {
                self.unsaved.arrivals.insert(seq);
                listed.changed.notify_waiters();
            }
        }
    }

    /// Waits no more for the nodes that validate all they have stored, once their lease is surely
    /// over. A switch of releases waits for them: they show the previous release.
    pub(super) fn note_leases(&mut self, now: Instant) {
        let Self { nodes, incomplete, unsaved, .. } = self;
        for (name, node) in nodes {
            if node.lease_over || !node.is_lease_over(now) {
                continue;
            }
            node.lease_over = true;
            change(incomplete, unsaved, .., now, |listed, arrivals| {
                listed.purge().is_some() && arrivals.lease_over(name)
            });
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
        node.sessions.retain(|session| {
            let stays = session.instance != instance;
            if !stays {
                session.ended.send_replace(Some(Ended::Forgotten));
            }
            stays
        });
        self.settle(&name, Some(now));
        self.tell_incomplete();
    }

    pub(super) fn matched(&mut self, session: SessionId, counts: &[(Seq, u64)]) {
        let Some(name) = self.sessions.get(&session).cloned() else { return };
        for (seq, count) in counts {
            let Some(listed) = self.entry(*seq).cloned() else { continue };
            let news = listed.purge().is_some() && listed.arrivals().matched(&name, *count);
            if news {
                self.unsaved.arrivals.insert(*seq);
                listed.changed.notify_waiters();
            }
        }
    }

    pub(super) fn parted(&mut self, session: SessionId) {
        let Some(node) = self.of_session(session) else { return };
        node.sessions.retain(|known| known.id != session);
        self.sessions.remove(&session);
        self.unsaved.nodes = true;
        self.tell_incomplete();
    }

    /// Expects the node no more; whether it was.
    pub(super) fn forget_node(&mut self, name: &str, now: Instant) -> bool {
        let Some(node) = self.nodes.remove(name) else { return false };
        for session in node.sessions {
            session.ended.send_replace(Some(Ended::Forgotten));
            self.sessions.remove(&session.id);
        }
        let Self { incomplete, unsaved, .. } = self;
        change(incomplete, unsaved, .., now, |_, arrivals| arrivals.forget(name));
        self.gather_sites();
        true
    }

    /// Begins a new life: nobody can go on from where they are.
    pub(super) fn revive(&mut self, life: Life) {
        self.life = life;
        self.sessions.clear();
        for node in self.nodes.values_mut() {
            for process in &mut node.record.processes {
                process.applied = self.base.seq;
            }
            node.record.settle();
            for session in node.sessions.drain(..) {
                session.ended.send_replace(Some(Ended::Restored));
            }
        }
        self.tell_incomplete();
    }

    fn of_session(&mut self, session: SessionId) -> Option<&mut ExpectedNode> {
        self.nodes.get_mut(self.sessions.get(&session)?)
    }

    /// A node came or went: whoever waits for an entry may be content with that.
    fn tell_incomplete(&self) {
        for listed in self.incomplete.values() {
            listed.changed.notify_waiters();
        }
    }
}

fn process_mut<'a>(node: &'a mut ExpectedNode, instance: &str) -> Option<&'a mut ProcessRecord> {
    node.record.processes.iter_mut().find(|process| process.instance == instance)
}

/// Changes who has arrived at incomplete entries, by what says whether it changed anything; those
/// that then wait for nobody are completed as of `at`.
fn change(
    incomplete: &mut BTreeMap<Seq, Arc<Listed>>,
    unsaved: &mut Unsaved,
    seqs: impl RangeBounds<Seq>,
    at: Instant,
    mut change: impl FnMut(&Listed, &mut Arrivals) -> bool,
) {
    let mut completed = Vec::new();
    for (seq, listed) in incomplete.range(seqs) {
        let mut arrivals = listed.arrivals();
        if !change(listed, &mut arrivals) {
            continue;
        }
        if arrivals.complete(listed.elapsed(at)) {
            completed.push(*seq);
        }
        drop(arrivals);
        unsaved.arrivals.insert(*seq);
        listed.changed.notify_waiters();
    }
    for seq in completed {
        incomplete.remove(&seq);
    }
}
