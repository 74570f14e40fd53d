//! The journal on etcd, which the processes of control share; one of them is the writer.
//!
//! Each batch goes in transactions that compare two keys: the writer's, so that a process that is the writer no more
//! appends nothing, however late what it sent arrives (the fence); and the log's head, which each of them writes,
//! so that each is done once and follows what it was made for. A transaction without an answer is repeated as it
//! is: the head names the last one that was done. Where that does not help, the batch failed, and the next one
//! begins by settling what became of it: it writes the head, after which nothing that was sent before can be done,
//! and removes entries that the failed batch may have left.

mod chunks;
mod contents;
mod import;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::{Batch, Contents, Journal, JournalError, Life, NodeRecord};
use crate::etcd::{
    Compare, Failure, KeyValue, Layout, Operation, Outcome, Over, Seen, Tenure, Txn,
};
use chunks::{MOST_BYTES, chunks};
use contents::{Head, Written, buckets};
pub(crate) use import::Found;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use weir_rules::invalidation::Seq;

/// How long it is tried to have a transaction done.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it may take to read the log.
const READING: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct EtcdJournal {
    tenure: Arc<Tenure>,
    /// Where calls of etcd run; the ledger's thread waits for them.
    runtime: Handle,
    /// How long it is tried to have a transaction done.
    patience: Duration,
    /// The revision of the head that the next transaction follows; 0 if there is none.
    head: i64,
    seq: Seq,
    life: Option<Life>,
    cluster: String,
    /// The first entries of the batches that are there.
    batches: BTreeSet<Seq>,
    /// The last entry of whose arrivals there is something.
    arrived: Seq,
    /// The expected nodes as they are there, by bucket; `None` where that is not known.
    nodes: Option<Written>,
    /// Transactions whose end is not known, by their names.
    outstanding: Vec<String>,
    /// A batch failed, and it is not known what of it is there.
    unsettled: bool,
}

impl EtcdJournal {
    /// The journal of the writer whose term this is. Calls of etcd run on `runtime`, of which this is no thread.
    pub(crate) fn new(tenure: Arc<Tenure>, runtime: Handle) -> Self {
        Self {
            tenure,
            runtime,
            patience: PATIENCE,
            head: 0,
            seq: 0,
            life: None,
            cluster: String::new(),
            batches: BTreeSet::new(),
            arrived: 0,
            nodes: None,
            outstanding: Vec::new(),
            unsettled: false,
        }
    }

    fn layout(&self) -> &Layout {
        &self.tenure.election().layout
    }

    /// Reads the log. Only the writer writes it, so that what comes in several answers is of one piece.
    async fn read(&mut self) -> Result<Contents, JournalError> {
        let election = self.tenure.election();
        let (etcd, layout) = (&election.etcd, &election.layout);
        let keys = etcd.range(layout.begin(), &layout.end(), READING).await;
        let (keys, cluster) = keys.map_err(failed)?;
        let found = keys.iter().find(|found| found.key == layout.writer());
        if !self.tenure.is_own(found) {
            self.tenure.depose(Over::Lost);
            return Err(JournalError::new("another process of control is the writer now"));
        }
        let mut read = contents::read(layout, &keys)?;
        let now = self.seen(read.revision, read.contents.life.as_ref());
        let moved = read.cluster.as_ref().is_some_and(|written_in| *written_in != cluster);
        // Nodes may have applied what is not there any more.
        read.contents.copied = moved || election.seen().is_gone(&now);
        *election.seen() = now;
        self.cluster = cluster;
        self.head = read.revision;
        self.seq = read.seq;
        self.life.clone_from(&read.contents.life);
        self.batches = read.batches;
        self.arrived = read.contents.arrivals.last().map_or(0, |(seq, _)| *seq);
        self.nodes = Some(read.nodes);
        Ok(read.contents)
    }

    async fn take(&mut self, batch: &Batch) -> Result<(), JournalError> {
        if self.unsettled {
            self.settle(batch.follows).await?;
        }
        if let Some(life) = &batch.life {
            self.life = Some(life.clone());
        }
        let mut units = Vec::new();
        let mut firsts = Vec::new();
        for (first, last, value) in contents::entries(&batch.entries, MOST_BYTES / 2)? {
            firsts.push(first);
            units.push((last, vec![Operation::Put(self.layout().entries(first), value)]));
        }
        let last = batch.entries.last().map_or(batch.follows, |record| record.entry.seq);
        if let Some(base) = &batch.base {
            units.push((last, self.forgetting(base.seq, &firsts, json(base)?)));
        }
        let written = batch.nodes.as_deref().map(buckets).transpose()?;
        if let Some(new) = &written {
            let changes = contents::changes(self.layout(), self.nodes.as_ref(), new);
            units.extend(changes.into_iter().map(|change| (last, vec![change])));
        }
        if let Some(sites) = &batch.sites {
            units.push((last, vec![Operation::Put(self.layout().sites(), json(sites)?)]));
        }
        // Those of new entries go together: with thousands of purges a second, a key for each would take longer
        // than the entries do. What is told of an entry again is written by itself, over what it replaces.
        let new = batch.arrivals.partition_point(|(seq, _)| *seq <= self.arrived);
        let (again, new) = batch.arrivals.split_at(new);
        for (seq, record) in again {
            units.push((last, vec![Operation::Put(self.layout().arrivals(*seq), json(record)?)]));
        }
        for (_, to, value) in contents::arrivals(new, MOST_BYTES / 2)? {
            units.push((last, vec![Operation::Put(self.layout().arrivals_to(to), value)]));
        }
        if units.is_empty() {
            units.push((last, Vec::new()));
        }
        for (at, (seq, operations)) in chunks(units)?.into_iter().enumerate() {
            let appended = self.append(seq, operations).await;
            // What came before is there.
            appended.map_err(|error| JournalError { unknown: error.unknown || at > 0, ..error })?;
        }
        if let Some(base) = &batch.base {
            self.batches = self.batches.split_off(&self.kept(base.seq, &firsts));
        }
        self.batches.extend(firsts);
        if let Some((seq, _)) = new.last() {
            self.arrived = *seq;
        }
        if written.is_some() {
            self.nodes = written;
        }
        Ok(())
    }

    /// The first of the batches in which there is an entry after `seq`; `new` are those that are on their way.
    fn kept(&self, seq: Seq, new: &[Seq]) -> Seq {
        let there = self.batches.range(..=seq + 1).next_back();
        let new = new.iter().rev().find(|first| **first <= seq + 1);
        new.or(there).copied().unwrap_or(0)
    }

    /// Writes the base, and removes what is before it.
    fn forgetting(&self, seq: Seq, new: &[Seq], base: Vec<u8>) -> Vec<Operation> {
        let layout = self.layout();
        let kept = self.kept(seq, new);
        let mut operations = vec![Operation::Put(layout.base(), base)];
        if self.batches.first().is_some_and(|first| *first < kept) {
            operations.push(Operation::Delete(layout.entries(0), layout.entries(kept)));
        }
        operations.push(Operation::Delete(layout.arrivals(0), layout.arrivals(seq + 1)));
        operations
    }

    /// Has one transaction done, after which the last entry is `seq`.
    async fn append(
        &mut self,
        seq: Seq,
        mut operations: Vec<Operation>,
    ) -> Result<(), JournalError> {
        let (name, txn) = self.following(seq, &mut operations)?;
        let outcome = self.tenure.election().etcd.txn(&txn, self.patience).await.map_err(failed)?;
        if outcome.succeeded {
            self.done(seq, outcome.revision);
            return Ok(());
        }
        let head = self.judge(&outcome)?;
        if self.named(head.as_ref()).as_ref() == Some(&name) {
            // An attempt whose answer was lost.
            self.done(seq, head.map_or(0, |head| head.mod_revision));
            return Ok(());
        }
        self.tenure.depose(Over::Restored);
        Err(JournalError::new("the log in etcd was changed by someone else"))
    }

    /// Finds out what became of a batch that failed, and removes what is left of it.
    async fn settle(&mut self, follows: Seq) -> Result<(), JournalError> {
        // Each transaction that is outstanding can be done once at most.
        for _ in 0..=self.outstanding.len() {
            let layout = self.layout();
            let mut operations =
                vec![Operation::Delete(layout.entries(follows + 1), layout.entries(Seq::MAX))];
            let (name, txn) = self.following(follows, &mut operations)?;
            let outcome =
                self.tenure.election().etcd.txn(&txn, self.patience).await.map_err(failed)?;
            let head = self.judge_unless_done(&outcome)?;
            let now = self.named(head.as_ref());
            if outcome.succeeded || now.as_ref() == Some(&name) {
                let revision = head.map_or(outcome.revision, |head| head.mod_revision);
                self.done(follows, revision);
                self.unsettled = false;
                return Ok(());
            }
            match (head, now) {
                (Some(head), Some(now)) if self.outstanding.contains(&now) => {
                    self.head = head.mod_revision;
                }
                _ => break,
            }
        }
        self.tenure.depose(Over::Restored);
        Err(JournalError::new("the log in etcd was changed by someone else"))
    }

    /// A transaction that follows the last one, with its name.
    fn following(
        &mut self,
        seq: Seq,
        operations: &mut Vec<Operation>,
    ) -> Result<(String, Txn), JournalError> {
        if self.tenure.is_over() {
            return Err(JournalError::new(format!(
                "this process is no longer the writer: {}",
                self.tenure.trouble()
            )));
        }
        let name = contents::name()?;
        let head = Head::new(seq, &name, &self.cluster, self.life.as_ref());
        let layout = self.layout();
        operations.push(Operation::Put(layout.head(), json(&head)?));
        // Without the first of them, in a build with a fault, a writer of the past appends.
        let fence = (!cfg!(weir_fault = "no_fence")).then(|| self.tenure.compare());
        let follows = Compare::Written(layout.head(), self.head);
        let txn = Txn {
            compare: fence.into_iter().chain([follows]).collect(),
            success: std::mem::take(operations),
            failure: vec![Operation::Read(layout.writer()), Operation::Read(layout.head())],
        };
        self.outstanding.push(name.clone());
        Ok((name, txn))
    }

    fn judge_unless_done(&self, outcome: &Outcome) -> Result<Option<KeyValue>, JournalError> {
        if outcome.succeeded { Ok(None) } else { self.judge(outcome) }
    }

    /// What a transaction that was not done found: the head, if this is still the writer.
    fn judge(&self, outcome: &Outcome) -> Result<Option<KeyValue>, JournalError> {
        let find = |key: &str| outcome.read.iter().find(|found| found.key == key);
        if !self.tenure.is_own(find(&self.layout().writer())) {
            self.tenure.depose(Over::Lost);
            return Err(JournalError {
                unknown: outcome.repeated,
                ..JournalError::new("another process of control is the writer now")
            });
        }
        Ok(find(&self.layout().head()).cloned())
    }

    /// The name of the transaction that wrote the head.
    fn named(&self, head: Option<&KeyValue>) -> Option<String> {
        head.and_then(|head| Head::read(&head.value).ok()).map(|head| head.name)
    }

    fn done(&mut self, seq: Seq, revision: i64) {
        self.head = revision;
        self.seq = seq;
        self.outstanding.clear();
        self.tenure.election().saw(self.seen(revision, self.life.as_ref()));
    }

    fn seen(&self, revision: i64, life: Option<&Life>) -> Seen {
        Seen { revision, log: life.map(|life| life.log.clone()) }
    }
}

impl Journal for EtcdJournal {
    fn load(&mut self) -> Result<Contents, JournalError> {
        let runtime = self.runtime.clone();
        runtime.block_on(self.read())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let runtime = self.runtime.clone();
        let taken = runtime.block_on(self.take(batch));
        if taken.is_err() {
            self.unsettled = true;
            self.nodes = None;
        }
        taken
    }
}

fn json<T: serde::Serialize + ?Sized>(of: &T) -> Result<Vec<u8>, JournalError> {
    serde_json::to_vec(of).map_err(|error| JournalError::new(format!("cannot be written: {error}")))
}

fn failed(failure: Failure) -> JournalError {
    JournalError {
        unknown: failure.unknown,
        full: failure.full,
        ..JournalError::new(failure.message)
    }
}
