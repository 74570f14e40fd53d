//! A batch on its way: what it will change, judged job by job against the published state and what
//! is staged before it. Nothing of it is seen, and nobody is answered, until the journal holds it.

use super::counts::Bounds;
use super::errors::{JoinError, Refusal};
use super::listed::{Accepted, Listed, Order, Reference, Referrer};
use super::membership::NodeAdmission;
use super::nodes::{ExpectedNode, Joined, Right, SessionId};
use super::published::PublishedLog;
use super::queue::{Appended, Departing, Job, Reply};
use super::sites::SiteList;
use super::{marks, random};
use crate::journal::{Batch, JournalError, NodeRecord, ProcessRecord};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use weir_protocol::frame::Hello;
use weir_protocol::secret::NodeSecret;
use weir_rules::identity::{
    Admission, Claim, Denial, Holder, MOST_PROCESSES, Process, SecretDigest, admit,
};
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
    joined: HashMap<String, Vec<String>>,
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
    Admit(Box<NodeAdmission>, Reply<Joined, JoinError>),
    Forget(Vec<String>, Instant, Reply<Vec<String>, JournalError>),
    /// A process of a node that has others: the node's name, and the instance.
    Retire(String, String, Instant, Reply<Vec<String>, JournalError>),
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
    /// Judges the next job. `new_name` counts a new name of a token, and says whether it is not one
    /// too many of so many a minute.
    pub(super) fn take(
        &mut self,
        state: &PublishedLog,
        job: Job,
        new_name: &mut dyn FnMut(&str, u32) -> bool,
    ) -> Verdict {
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
            Job::Join(hello, right, now, reply) => {
                match self.join(state, hello, &right, now, new_name) {
                    Ok(Some(admission)) => {
                        self.steps.push(Step::Admit(Box::new(admission), reply));
                        Verdict::Staged
                    }
                    Ok(None) => Verdict::Restored(reply),
                    Err(error) => Verdict::Answered(Answer::Joined(Err(error), reply)),
                }
            }
            Job::Forget(departing, now, reply) => {
                if let Some((name, instance)) = self.retiring(state, &departing) {
                    let records = self.records_mut(state);
                    if let Some(record) = records.get_mut(&name) {
                        record.processes.retain(|process| process.instance != instance);
                        record.settle();
                    }
                    self.steps.push(Step::Retire(name, instance, now, reply));
                    return Verdict::Staged;
                }
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
        let mark = marks::mark(&state.life, seq, random::half_mark(seq));
        let entry = Entry { seq, mark, change: change(seq) };
        Listed::new(entry, state.life.log.clone(), accepted)
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

    /// Lets a process in; `None` where it shows that the log was restored.
    fn join(
        &mut self,
        state: &PublishedLog,
        hello: Box<Hello>,
        right: &Right,
        now: Instant,
        new_name: &mut dyn FnMut(&str, u32) -> bool,
    ) -> Result<Option<NodeAdmission>, JoinError> {
        let secret = hello.secret.as_ref().map(digest);
        let known = self.record(state, &hello.name).cloned();
        let admission = self.judge(state, &hello, secret.as_ref(), right, known.as_ref(), now)?;
        let continued = known.as_ref().and_then(|record| continued(record, admission, &hello));
        let shown = hello.standing.member.as_deref();
        let member = continued.map(|process| match &process.before {
            Some(before) if shown == Some(before) => before.as_str(),
            _ => process.member.as_str(),
        });
        let per_minute = state.bounds.join_rate;
        let too_fast = || JoinError::TooFast { token: right.token.clone(), per_minute };
        // Guesses are counted like new names, before it is known whether they are.
        let (mut is_doubted, mut is_counted) = (false, true);
        let is_made = |seq, mark| {
            is_doubted = true;
            is_counted = new_name(&right.token, per_minute);
            is_counted && marks::is_made(&state.life, seq, mark)
        };
        let mark_of = |seq| state.mark_of(seq);
        let resume = resume(&hello.standing, member, &state.reach(), mark_of, is_made);
        if !is_counted {
            return Err(too_fast());
        }
        if is_doubted && resume != Resume::Restored {
            tracing::warn!(
                node = hello.name,
                "it says that it has applied an entry that the log never had; it begins empty"
            );
        }
        let after = match resume {
            Resume::Restored => return Ok(None),
            Resume::After(seq) => Some((seq, state.mark_at(seq))),
            Resume::Empty(_) => None,
        };
        if known.is_none() {
            let Bounds { nodes: most, .. } = state.bounds;
            let count = self.records.as_ref().map_or(state.nodes.len(), BTreeMap::len);
            if count >= most {
                return Err(JoinError::TooMany(most));
            }
            if !new_name(&right.token, per_minute) {
                return Err(too_fast());
            }
        }
        let continued_here = continued.filter(|_| after.is_some());
        // A process that goes on with what an earlier one stored gets a membership of its own: a copy of
        // the disk from before, which comes back later, has another.
        let (member, before) = match continued_here {
            Some(process) if process.instance == hello.instance => {
                (process.member.clone(), process.before.clone())
            }
            Some(_) => (random::member().map_err(JoinError::Journal)?, shown.map(str::to_owned)),
            None => (random::member().map_err(JoinError::Journal)?, None),
        };
        let process = ProcessRecord {
            instance: hello.instance.clone(),
            member,
            applied: continued.map_or(0, |process| process.applied),
            validates_after_ms: hello.validates_after_ms,
            before,
            checked: continued_here.and_then(|process| process.checked),
        };
        let record = self.admitted(state, &hello, secret, known.as_ref(), (admission, process));
        if known.as_ref() != Some(&record) {
            self.records_mut(state).insert(record.name.clone(), record.clone());
        }
        self.report(state, &hello);
        self.joined.entry(hello.name.clone()).or_default().push(hello.instance.clone());
        Ok(Some(NodeAdmission { hello, record, after, now }))
    }

    /// Whether the process may have its name, and as what.
    fn judge(
        &self,
        state: &PublishedLog,
        hello: &Hello,
        secret: Option<&SecretDigest>,
        right: &Right,
        known: Option<&NodeRecord>,
        now: Instant,
    ) -> Result<Admission, JoinError> {
        let processes: Vec<_> = known.map_or(&[][..], |record| &record.processes).iter().collect();
        let heard: Vec<_> = processes
            .iter()
            .map(|process| self.heard_within(state, &hello.name, &process.instance, now))
            .collect();
        let told: Vec<_> = processes
            .iter()
            .zip(&heard)
            .map(|(process, heard)| Process {
                instance: &process.instance,
                is_live: heard.is_some(),
            })
            .collect();
        let claim = Claim {
            secret,
            instance: &hello.instance,
            takes_over: hello.takes_over.is_some(),
            entitled: right.entitled,
        };
        let holder = known.map(|record| Holder {
            secret: record.secret.as_ref(),
            processes: &told,
            predecessors: &record.predecessors,
        });
        admit(&claim, holder.as_ref()).map_err(|denial| {
            let name = hello.name.clone();
            match denial {
                Denial::NotProven => JoinError::NotProven(name),
                Denial::TooManyProcesses => JoinError::TooManyProcesses(name),
                Denial::Taken(at) => {
                    let heard = heard.get(at).copied().flatten().unwrap_or_default();
                    JoinError::NameTaken { name, heard }
                }
            }
        })
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

    /// How long ago a connected process of the node was heard, if that is less than the lease.
    fn heard_within(
        &self,
        state: &PublishedLog,
        name: &str,
        instance: &str,
        now: Instant,
    ) -> Option<Duration> {
        if self.joined.get(name).is_some_and(|joined| joined.iter().any(|one| one == instance)) {
            return Some(Duration::ZERO);
        }
        state.nodes.get(name)?.heard_within(instance, state.bounds.lease, now)
    }

    /// The record of a node one of whose processes is let in.
    fn admitted(
        &self,
        state: &PublishedLog,
        hello: &Hello,
        secret: Option<SecretDigest>,
        known: Option<&NodeRecord>,
        (admission, process): (Admission, ProcessRecord),
    ) -> NodeRecord {
        let now = super::millis(SystemTime::now());
        let mut processes = known.map(|record| record.processes.clone()).unwrap_or_default();
        match admission {
            Admission::New | Admission::Instead => processes = vec![process],
            Admission::Again(at) => processes[at] = process,
            Admission::Beside => processes.push(process),
        }
        let anew = matches!(admission, Admission::New | Admission::Instead);
        let predecessors = known.filter(|_| !anew).map(|record| record.predecessors.clone());
        let mut predecessors = predecessors.unwrap_or_default();
        if let Some(instance) = &hello.takes_over {
            predecessors.retain(|known| known != instance);
            predecessors.push(instance.clone());
            if predecessors.len() > MOST_PROCESSES {
                predecessors.remove(0);
            }
        }
        let before = known.and_then(|record| record.secret.clone());
        let joined_at = known.map_or_else(|| self.head(state), |record| record.joined_at);
        let mut record = NodeRecord {
            name: hello.name.clone(),
            tier: hello.tier,
            region: hello.region.clone(),
            listen: hello.listen.clone(),
            version: hello.version.clone(),
            member: String::new(),
            joined_at,
            joined_ms: known.map_or(now, |record| record.joined_ms),
            applied: 0,
            heard_ms: known.map_or(now, |record| record.heard_ms),
            secret: secret.or(before),
            ephemeral: hello.ephemeral && hello.validates_after_ms.is_some(),
            predecessors,
            processes,
            counted: known.map_or(joined_at, |record| record.counted),
            excused: known.map_or(0, |record| record.excused),
            away: false,
        };
        record.settle();
        record
    }

    /// The process that is to be expected no more, by its node's name and its instance, if the node
    /// has others.
    fn retiring(&self, state: &PublishedLog, departing: &Departing) -> Option<(String, String)> {
        let (session, instance) = match departing {
            Departing::Session(session) => (session, None),
            Departing::Process(session, instance) => (session, Some(instance.as_str())),
            _ => return None,
        };
        let name = state.sessions.get(session)?;
        let mut sessions = state.nodes.get(name)?.sessions.iter();
        let own = &sessions.find(|known| known.id == *session)?.instance;
        let instance = instance.unwrap_or(own);
        let processes = &self.record(state, name)?.processes;
        let is_known = processes.iter().any(|process| process.instance == *instance);
        (is_known && processes.len() > 1).then(|| (name.to_string(), instance.to_owned()))
    }

    /// The names of those who are to be forgotten. Whoever joined in this batch is not silent, and
    /// its earlier session says nothing any more.
    fn departing(&self, state: &PublishedLog, departing: &Departing, now: Instant) -> Vec<String> {
        let earlier = |name: &&str| !self.joined.contains_key(*name);
        let those = |is_departing: &dyn Fn(&ExpectedNode) -> bool| {
            let those = state.nodes.iter().filter(|(_, node)| is_departing(node));
            those.map(|(name, _)| &**name).filter(earlier).collect()
        };
        let names: Vec<&str> = match departing {
            Departing::Session(session) => state
                .sessions
                .get(session)
                .map(|name| &**name)
                .filter(earlier)
                .into_iter()
                .collect(),
            Departing::Process(..) => Vec::new(),
            Departing::Named(names) => names.iter().map(String::as_str).collect(),
            Departing::Silent => those(&|node| node.silence(now) >= state.bounds.forget_after),
            Departing::Ephemeral => those(&|node| node.record.ephemeral && node.is_lease_over(now)),
        };
        let known = names.into_iter().filter(|name| self.record(state, name).is_some());
        let mut known: Vec<_> = known.map(str::to_owned).collect();
        known.sort();
        known.dedup();
        known
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
            Step::Admit(admission, reply) => Answer::Joined(Ok(state.admit(*admission)), reply),
            Step::Forget(names, now, reply) => {
                for name in &names {
                    state.forget_node(name, now);
                }
                Answer::Forgotten(Ok(names), reply)
            }
            Step::Retire(name, instance, now, reply) => {
                state.retire(&name, &instance, now);
                Answer::Forgotten(Ok(Vec::new()), reply)
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
            Step::Forget(_, _, reply) | Step::Retire(_, _, _, reply) => {
                Answer::Forgotten(Err(error.clone()), reply)
            }
        };
        self.steps.into_iter().map(fail).collect()
    }
}

/// The process on record whose place a process takes that is let in, and whose store it may have
/// kept: a membership is that of one process, or of one store that outlives it.
fn continued<'a>(
    record: &'a NodeRecord,
    admission: Admission,
    hello: &Hello,
) -> Option<&'a ProcessRecord> {
    let member = hello.standing.member.as_deref();
    match admission {
        Admission::Again(at) => record.processes.get(at),
        Admission::Instead | Admission::Beside => record.processes.iter().find(|process| {
            Some(&*process.member) == member || process.before.as_deref() == member
        }),
        Admission::New => None,
    }
}

/// What is kept of a node's secret.
fn digest(secret: &NodeSecret) -> SecretDigest {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.reveal().as_bytes());
    SecretDigest(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
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
