//! The thread that writes: it takes all that waits, has the journal take it in one batch, and
//! publishes it. It alone appends, and adds or removes nodes, so joining and appending have one
//! order.

use super::LedgerCore;
use super::errors::JoinError;
use super::nodes::Joined;
use super::published::PublishedLog;
use super::queue::{Job, Queue, Reply, Woken};
use super::staging::{Staging, Verdict};
use super::{random, sites};
use crate::journal::{Batch, Journal, JournalError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_rules::identity::NewNames;

/// How often the journal is told what it was not promised: what nodes applied, and when.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Nodes for each of which it is told so much less often: with 4,000 nodes, every five times as long.
const NODES: u32 = 1000;

/// How long nothing is ordered before the journal is tidied.
const IDLE: Duration = Duration::from_secs(5);

/// Most entries whose arrivals go into one batch, and about the most arrivals.
const MOST_ENTRIES: usize = 4096;
const MOST_ARRIVALS: usize = 32_768;

/// The writer.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<LedgerCore>,
    journal: Box<dyn Journal>,
    /// The last batch failed, perhaps after it was taken: the next one says everything that it
    /// may have changed.
    unsure: bool,
    /// When what nodes applied is to be saved with whatever is written.
    save_at: Instant,
    /// Since when nothing was ordered, and the journal not tidied.
    idle_since: Option<Instant>,
    /// The new names that each token joined of late.
    new_names: NewNames,
    /// What their times count from.
    started: Instant,
}

impl Writer {
    pub(super) fn new(shared: Arc<LedgerCore>, journal: Box<dyn Journal>) -> Self {
        let (new_names, started) = (NewNames::default(), Instant::now());
        let idle_since = Some(started);
        Self { shared, journal, unsure: false, save_at: started, idle_since, new_names, started }
    }

    /// Works until the queue is closed.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let _end = End(&shared.queue);
        loop {
            match shared.queue.wait(Some(Instant::now() + SAVE_EVERY)) {
                Woken::Jobs(jobs) => {
                    self.take(jobs);
                    self.idle_since = Some(Instant::now());
                }
                Woken::Idle => {
                    self.save();
                    self.tidy();
                }
                Woken::Closed => {
                    while self.save() {}
                    return;
                }
            }
        }
    }

    /// Has the journal give back room that it does not need, once nothing was ordered for a while.
    fn tidy(&mut self) {
        if self.idle_since.is_some_and(|since| since.elapsed() >= IDLE) {
            self.idle_since = None;
            if let Err(error) = self.journal.tidy() {
                tracing::warn!(%error, "the journal keeps room that it does not need");
            }
        }
    }

    fn take(&mut self, jobs: Vec<Job>) {
        let mut staging = Staging::default();
        for job in jobs {
            let mut new_name = |token: &str, per_minute| {
                self.new_names.take(token, per_minute, self.started.elapsed())
            };
            let verdict = staging.take(&self.shared.state(), job, &mut new_name);
            match verdict {
                Verdict::Staged => {}
                Verdict::Answered(answer) => drop(answer.send()),
                Verdict::Restored(reply) => {
                    self.commit(std::mem::take(&mut staging));
                    self.revive(reply);
                }
            }
        }
        self.commit(staging);
    }

    fn commit(&mut self, staging: Staging) {
        let orders = staging.orders;
        let batch = staging.batch(&self.shared.state());
        let durable = batch.map_or(Ok(()), |batch| self.write(batch));
        let answers = match durable {
            Ok(()) => {
                let mut state = self.shared.state();
                let answers = staging.publish(&mut state, Instant::now());
                // Before the head moves: who sees it move is to see whether more is on its way.
                self.shared.queue.done(orders);
                self.shared
                    .heads
                    .send_if_modified(|head| std::mem::replace(head, state.head) != state.head);
                answers
            }
            Err(error) => {
                self.shared.queue.done(orders);
                staging.fail(&error)
            }
        };
        for gone in answers.into_iter().filter_map(|answer| answer.send()) {
            self.shared.state().parted(gone);
        }
    }

    /// Gives the log a new life: a node has applied what it does not hold.
    fn revive(&mut self, reply: Reply<Joined, JoinError>) {
        let revived = random::life().and_then(|life| {
            let follows = self.shared.state().head;
            self.write(Batch { follows, life: Some(life.clone()), ..Batch::default() })?;
            let mut state = self.shared.state();
            tracing::warn!(
                before = %state.life.log,
                now = %life.log,
                "a node has applied an entry that the log does not have, so the log was restored \
                 from a backup; it gets a new id, and nodes discard what they stored before"
            );
            state.revive(life);
            Ok(())
        });
        let error = revived.map_or_else(JoinError::Journal, |()| JoinError::Restored);
        // A node that does not wait comes again by itself.
        drop(reply.send(Err(error)));
    }

    /// Tells the journal what it was not promised, where there is any; whether there is more, which
    /// it takes.
    fn save(&mut self) -> bool {
        let state = self.shared.state();
        let unsaved =
            state.unsaved.base || state.unsaved.nodes || !state.unsaved.arrivals.is_empty();
        let follows = state.head;
        drop(state);
        self.save_at = Instant::now();
        // A failure is told in the log; what was to be saved is still to be.
        let taken = unsaved && self.write(Batch { follows, ..Batch::default() }).is_ok();
        taken && !self.shared.state().unsaved.arrivals.is_empty()
    }

    /// Has the journal take `batch`, and what else is to be saved.
    fn write(&mut self, mut batch: Batch) -> Result<(), JournalError> {
        let base = self.add_unsaved(&mut batch);
        let taken = self.journal.commit(&batch);
        match &taken {
            Ok(()) => {
                if std::mem::take(&mut self.unsure) {
                    tracing::info!("the journal can be written again");
                }
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.unsure = true;
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the journal cannot be written; purges and releases are \
                     refused");
                let mut state = self.shared.state();
                state.unsaved.base |= base;
                state.unsaved.nodes = true;
                let arrivals = batch.arrivals.iter().map(|(seq, _)| *seq);
                let forgotten = state.base.seq;
                state.unsaved.arrivals.extend(arrivals.filter(|seq| *seq > forgotten));
            }
        }
        taken
    }

    /// Adds to `batch` what is to be saved; whether the base was.
    fn add_unsaved(&mut self, batch: &mut Batch) -> bool {
        let mut guard = self.shared.state();
        let state: &mut PublishedLog = &mut guard;
        let base = std::mem::take(&mut state.unsaved.base);
        if base || self.unsure {
            batch.base = Some(state.base.clone());
        }
        if self.unsure && batch.life.is_none() {
            batch.life = Some(state.life.clone());
        }
        let now = Instant::now();
        let due = now >= self.save_at;
        if due || self.unsure {
            let mut arrivals = 0;
            while batch.arrivals.len() < MOST_ENTRIES
                && arrivals < MOST_ARRIVALS
                && let Some(seq) = state.unsaved.arrivals.pop_first()
            {
                if let Some(listed) = state.entry(seq) {
                    let record = state.arrivals_record(listed);
                    arrivals += record.nodes.len();
                    batch.arrivals.push((seq, record));
                }
            }
            let nodes = u32::try_from(state.nodes.len()).unwrap_or(u32::MAX);
            self.save_at = now + SAVE_EVERY * (1 + nodes / NODES);
        }
        if due && state.unsaved.nodes || self.unsure {
            state.unsaved.nodes = false;
            batch.nodes.get_or_insert_with(|| state.node_records().into_values().collect());
        }
        if self.unsure {
            // A batch that adds some of it has all of it.
            batch.sites.get_or_insert_with(|| sites::records(&state.sites_by_node()));
        }
        base
    }
}

/// Whoever waits is answered when the writer ends, also by a panic.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
