//! Who is expected, who is there, and what they have applied.

use super::arrivals::Arrivals;
use super::errors::Ended;
use super::listed::Listed;
use super::nodes::{ExpectedNode, Joined, Session, SessionId};
use super::published::{PublishedLog, Unsaved};
use crate::journal::{Life, NodeRecord};
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
        let before = node.record.applied;
        node.record = NodeRecord { applied: before, ..record };
        node.hear(now);
        let reported = hello.sites.as_deref();
        let same = node.sites.as_deref() == reported;
        if let Some(earlier) = node.session.take() {
            earlier.ended.send_replace(Some(Ended::Replaced));
            self.sessions.remove(&earlier.id);
        }
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let (ended, listener) = watch::channel(None);
        node.session = Some(Session { id: session, instance: hello.instance.clone(), ended });
        let member = node.record.member.clone();
        if is_new || !same {
            self.report_sites(&name, reported.map(Arc::from));
        }
        self.sessions.insert(session, name.clone());
        if keep {
            // When it applied what it has, while nobody listened, is not known. That may be more
            // than it goes on after: it shows nothing from before until it is there again.
            self.advance(&name, hello.standing.applied, None);
        }
        if let Some(node) = self.nodes.get_mut(&name) {
            node.record.applied = after;
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

    pub(super) fn heard(&mut self, session: SessionId, now: Instant, stats: Option<Stats>) {
        let Some(node) = self.of_session(session) else { return };
        node.hear(now);
        if stats.is_some() {
            node.stats = stats;
        }
    }

    pub(super) fn applied(&mut self, session: SessionId, seq: Seq, now: Instant) {
        // A node cannot have applied what was not published.
        let seq = seq.min(self.head);
        let Some(name) = self.sessions.get(&session).cloned() else { return };
        let Some(node) = self.nodes.get_mut(&name) else { return };
        node.hear(now);
        self.advance(&name, seq, Some(now));
    }

    /// Notes that everything up to `seq` holds on the node, since `now` where that is known.
    fn advance(&mut self, name: &Arc<str>, seq: Seq, now: Option<Instant>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let before = node.record.applied;
        if seq <= before {
            return;
        }
        node.record.applied = seq;
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
        node.session = None;
        self.sessions.remove(&session);
        self.unsaved.nodes = true;
        self.tell_incomplete();
    }

    /// Expects the node no more; whether it was.
    pub(super) fn forget_node(&mut self, name: &str, now: Instant) -> bool {
        let Some(node) = self.nodes.remove(name) else { return false };
        if let Some(session) = node.session {
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
            node.record.applied = self.base.seq;
            if let Some(session) = node.session.take() {
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
