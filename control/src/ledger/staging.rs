//! A batch on its way: what it will change, judged job by job against the published state and what
//! is staged before it. Nothing of it is seen, and nobody is answered, until the journal holds it.

use super::errors::{JoinError, Refusal};
use super::listed::{Accepted, Listed, Order, Reference, Referrer};
use super::membership::NodeAdmission;
use super::nodes::{Joined, SessionId};
use super::published::{PublishedLog, expecting};
use super::queue::{Appended, Departing, Job, Reply};
use super::random;
use super::sites::SiteList;
use crate::journal::{Batch, JournalError, NodeRecord};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use weir_protocol::frame::Hello;
use weir_rules::invalidation::{Purge, Seq};
use weir_rules::log::{Change, Entry, Resume, resume};

/// A batch on its way.
#[derive(Debug, Default)]
pub(super) struct Staging {
    entries: Vec<Arc<Listed>>,
    references: HashMap<Reference, Arc<Listed>>,
    /// The nodes on record, once this batch changes them.
    records: Option<BTreeMap<String, NodeRecord>>,
    /// What each node reported of its sites, once this batch changes that.
    sites: Option<BTreeMap<String, SiteList>>,
    /// The processes that joined in this batch, by their nodes' names.
    instances: HashMap<String, String>,
    steps: Vec<Step>,
    /// Orders among the jobs.
    pub(super) orders: usize,
}

/// What becomes of a job when the batch is durable, in the order of the jobs.
#[derive(Debug)]
enum Step {
    Append(Arc<Listed>, Reply<Arc<Listed>, Refusal>),
    /// An order that this batch appends already.
    Repeat(Arc<Listed>, Reply<Arc<Listed>, Refusal>),
    /// Its reference is another order's of this batch, which gets this id.
    Reused(String, Reply<Arc<Listed>, Refusal>),
    Admit(NodeAdmission, Reply<Joined, JoinError>),
    Forget(Vec<String>, Instant, Reply<Vec<String>, JournalError>),
}

/// An answer that is due.
#[derive(Debug)]
pub(super) enum Answer {
    Listed(Result<Arc<Listed>, Refusal>, Reply<Arc<Listed>, Refusal>),
    Joined(Result<Joined, JoinError>, Reply<Joined, JoinError>),
    Forgotten(Result<Vec<String>, JournalError>, Reply<Vec<String>, JournalError>),
}

/// What is to be done with a job at once.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is staged.
    Staged,
    /// Its answer depends on nothing that is staged.
    Answered(Answer),
    /// A node showed that the log was restored: all that is staged comes first, then a new life.
    Restored(Reply<Joined, JoinError>),
}

impl Staging {
    /// Judges the next job.
    pub(super) fn take(&mut self, state: &PublishedLog, job: Job) -> Verdict {
        match job {
            Job::Append(Appended::Purge(order, referrer, accepted), reply) => {
                self.orders += 1;
                self.purge(state, order, referrer, accepted, reply)
            }
            Job::Append(Appended::Release(release, accepted), reply) => {
                self.orders += 1;
                let listed = self.list(state, accepted, |_| Change::Release(release));
                self.append(listed, reply)
            }
            Job::Join(hello, now, reply) => self.join(state, hello, now, reply),
            Job::Forget(departing, now, reply) => {
                let names = self.departing(state, &departing, now);
                if names.is_empty() {
                    return Verdict::Answered(Answer::Forgotten(Ok(names), reply));
                }
                let records = self.records_mut(state);
                for name in &names {
                    records.remove(name);
                }
                if self.sites.is_some() || names.iter().any(|name| state.reports_sites(name)) {
                    let sites = self.sites.get_or_insert_with(|| state.sites_by_node());
                    sites.retain(|name, _| !names.contains(name));
                }
                self.steps.push(Step::Forget(names, now, reply));
                Verdict::Staged
            }
        }
    }

    fn purge(
        &mut self,
        state: &PublishedLog,
        order: Order,
        referrer: Referrer,
        accepted: Accepted,
        reply: Reply<Arc<Listed>, Refusal>,
    ) -> Verdict {
        let reference = order.reference.clone().map(|name| (referrer, name));
        if let Some(reference) = &reference {
            if let Some(first) = state.referenced(reference) {
                let same = first.is_of(&order).then(|| first.clone());
                let answer = same.ok_or_else(|| Refusal::ReferenceReused(first.id.clone()));
                return Verdict::Answered(Answer::Listed(answer, reply));
            }
            if let Some(first) = self.references.get(reference) {
                self.steps.push(match first.is_of(&order) {
                    true => Step::Repeat(first.clone(), reply),
                    false => Step::Reused(first.id.clone(), reply),
                });
                return Verdict::Staged;
            }
        }
        let Order { targets, site, soft, versions, warm, reference: _ } = order;
        let change = |seq| Change::Purge(Purge { seq, targets, site, soft, versions });
        let listed = self.list(state, accepted, change).named(reference, warm);
        self.append(listed, reply)
    }

    /// The next entry.
    fn list(
        &self,
        state: &PublishedLog,
        accepted: Accepted,
        change: impl FnOnce(Seq) -> Change,
    ) -> Listed {
        let seq = self.head(state) + 1;
        let arrivals = match &self.records {
            Some(records) => expecting(records.values(), seq),
            None => expecting(state.nodes.values().map(|node| &node.record), seq),
        };
        let entry = Entry { seq, mark: random::mark(seq), change: change(seq) };
        Listed::new(entry, state.life.log.clone(), accepted, arrivals)
    }

    fn append(&mut self, listed: Listed, reply: Reply<Arc<Listed>, Refusal>) -> Verdict {
        let listed = Arc::new(listed);
        if let Some(reference) = listed.reference() {
            self.references.insert(reference, listed.clone());
        }
        self.entries.push(listed.clone());
        self.steps.push(Step::Append(listed, reply));
        Verdict::Staged
    }

    fn join(
        &mut self,
        state: &PublishedLog,
        hello: Box<Hello>,
        now: Instant,
        reply: Reply<Joined, JoinError>,
    ) -> Verdict {
        let refused = |error, reply| Verdict::Answered(Answer::Joined(Err(error), reply));
        let known = self.record(state, &hello.name).cloned();
        if known.is_some()
            && let Some(heard) = self.other_instance(state, &hello, now)
        {
            return refused(JoinError::NameTaken { name: hello.name, heard }, reply);
        }
        let member = known.as_ref().map(|record| record.member.as_str());
        let resume = resume(&hello.standing, member, &state.reach(), |seq| state.mark_of(seq));
        let after = match resume {
            Resume::Restored => return Verdict::Restored(reply),
            Resume::After(seq) => Some((seq, state.mark_at(seq))),
            Resume::Empty(_) => None,
        };
        let most = state.bounds.nodes;
        let count = self.records.as_ref().map_or(state.nodes.len(), BTreeMap::len);
        if known.is_none() && count >= most {
            return refused(JoinError::TooMany(most), reply);
        }
        let record = match self.admitted(state, &hello, known.as_ref(), after.is_some()) {
            Ok(record) => record,
            Err(error) => return refused(JoinError::Journal(error), reply),
        };
        if known.as_ref() != Some(&record) {
            self.records_mut(state).insert(record.name.clone(), record.clone());
        }
        self.report(state, &hello);
        self.instances.insert(hello.name.clone(), hello.instance.clone());
        self.steps.push(Step::Admit(NodeAdmission { hello, record, after, now }, reply));
        Verdict::Staged
    }

    /// Notes what a node reports, where that is news.
    fn report(&mut self, state: &PublishedLog, hello: &Hello) {
        let known = match &self.sites {
            Some(sites) => sites.get(&hello.name).cloned(),
            None => state.nodes.get(hello.name.as_str()).and_then(|node| node.sites.clone()),
        };
        if known.as_deref() == hello.sites.as_deref() {
            return;
        }
        let sites = self.sites.get_or_insert_with(|| state.sites_by_node());
        match &hello.sites {
            Some(reported) => drop(sites.insert(hello.name.clone(), reported.as_slice().into())),
            None => drop(sites.remove(&hello.name)),
        }
    }

    /// Since when another living process of the same name was heard.
    fn other_instance(
        &self,
        state: &PublishedLog,
        hello: &Hello,
        now: Instant,
    ) -> Option<Duration> {
        if let Some(joined) = self.instances.get(&hello.name) {
            return (*joined != hello.instance).then_some(Duration::ZERO);
        }
        let node = state.nodes.get(hello.name.as_str())?;
        let session = node.session.as_ref()?;
        let silence = node.silence(now);
        (session.instance != hello.instance && silence < state.bounds.lease).then_some(silence)
    }

    /// The record of a node that is let in. One that may not keep what it has gets a new membership,
    /// so that another process that ran under its name is not taken for it.
    fn admitted(
        &self,
        state: &PublishedLog,
        hello: &Hello,
        known: Option<&NodeRecord>,
        keeps: bool,
    ) -> Result<NodeRecord, JournalError> {
        let member = match known.filter(|_| keeps) {
            Some(record) => record.member.clone(),
            None => random::member()?,
        };
        let now = super::millis(SystemTime::now());
        Ok(NodeRecord {
            name: hello.name.clone(),
            tier: hello.tier,
            region: hello.region.clone(),
            listen: hello.listen.clone(),
            version: hello.version.clone(),
            member,
            joined_at: known.map_or_else(|| self.head(state), |record| record.joined_at),
            joined_ms: known.map_or(now, |record| record.joined_ms),
            applied: known.map_or(0, |record| record.applied),
            heard_ms: known.map_or(now, |record| record.heard_ms),
        })
    }

    /// The names of those who are to be forgotten. Whoever joined in this batch is not silent, and
    /// its earlier session says nothing any more.
    fn departing(&self, state: &PublishedLog, departing: &Departing, now: Instant) -> Vec<String> {
        let earlier = |name: &&str| !self.instances.contains_key(*name);
        let names: Vec<&str> = match departing {
            Departing::Session(session) => state
                .sessions
                .get(session)
                .map(|name| &**name)
                .filter(earlier)
                .into_iter()
                .collect(),
            Departing::Named(name) => vec![name.as_str()],
            Departing::Silent => {
                let silent = state
                    .nodes
                    .iter()
                    .filter(|(_, node)| node.silence(now) >= state.bounds.forget_after);
                silent.map(|(name, _)| &**name).filter(earlier).collect()
            }
        };
        let known = names.into_iter().filter(|name| self.record(state, name).is_some());
        known.map(str::to_owned).collect()
    }

    /// The last seq once the batch is durable.
    fn head(&self, state: &PublishedLog) -> Seq {
        state.head + self.entries.len() as Seq
    }

    fn record<'a>(&'a self, state: &'a PublishedLog, name: &str) -> Option<&'a NodeRecord> {
        match &self.records {
            Some(records) => records.get(name),
            None => state.nodes.get(name).map(|node| &node.record),
        }
    }

    fn records_mut(&mut self, state: &PublishedLog) -> &mut BTreeMap<String, NodeRecord> {
        self.records.get_or_insert_with(|| state.node_records())
    }

    /// What the journal is to take; `None` where nothing of it needs to be durable.
    pub(super) fn batch(&self, state: &PublishedLog) -> Option<Batch> {
        if self.entries.is_empty() && self.records.is_none() && self.sites.is_none() {
            return None;
        }
        Some(Batch {
            follows: state.head,
            entries: self.entries.iter().map(|listed| listed.record()).collect(),
            nodes: self.records.as_ref().map(|records| records.values().cloned().collect()),
            sites: self.sites.as_ref().map(super::sites::records),
            ..Batch::default()
        })
    }

    /// Publishes the batch, which is durable.
    pub(super) fn publish(self, state: &mut PublishedLog, now: Instant) -> Vec<Answer> {
        let publish = |step| match step {
            Step::Append(listed, reply) => {
                state.append(listed.clone(), now);
                Answer::Listed(Ok(listed), reply)
            }
            Step::Repeat(listed, reply) => Answer::Listed(Ok(listed), reply),
            Step::Reused(id, reply) => Answer::Listed(Err(Refusal::ReferenceReused(id)), reply),
            Step::Admit(admission, reply) => Answer::Joined(Ok(state.admit(admission)), reply),
            Step::Forget(names, now, reply) => {
                for name in &names {
                    state.forget_node(name, now);
                }
                Answer::Forgotten(Ok(names), reply)
            }
        };
        self.steps.into_iter().map(publish).collect()
    }

    /// The journal failed: nothing of it happened.
    pub(super) fn fail(self, error: &JournalError) -> Vec<Answer> {
        let fail = |step| match step {
            Step::Append(_, reply) | Step::Repeat(_, reply) | Step::Reused(_, reply) => {
                Answer::Listed(Err(Refusal::Journal(error.clone())), reply)
            }
            Step::Admit(_, reply) => Answer::Joined(Err(JoinError::Journal(error.clone())), reply),
            Step::Forget(_, _, reply) => Answer::Forgotten(Err(error.clone()), reply),
        };
        self.steps.into_iter().map(fail).collect()
    }
}

impl Answer {
    /// Sends it; returns the session of a node that was let in but is gone.
    pub(super) fn send(self) -> Option<SessionId> {
        match self {
            // Whoever does not wait any more finds what was done in the log.
            Self::Listed(answer, reply) => drop(reply.send(answer)),
            Self::Forgotten(answer, reply) => drop(reply.send(answer)),
            Self::Joined(answer, reply) => {
                if let Err(Ok(joined)) = reply.send(answer) {
                    return Some(joined.session);
                }
            }
        }
        None
    }
}
