//! What waits for the writer.

use super::errors::{JoinError, Refusal};
use super::listed::{Accepted, Listed, Order, Referrer};
use super::nodes::{Joined, Right, SessionId};
use crate::journal::JournalError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use weir_protocol::frame::Hello;
use weir_rules::log::Release;

/// Something for the writer to do, and where its answer goes. An answer that nobody takes any more
/// is no fault: the caller went, what was done stays done.
#[derive(Debug)]
pub(super) enum Job {
    Append(Appended, Reply<Arc<Listed>, Refusal>),
    Join(Box<Hello>, Right, Instant, Reply<Joined, JoinError>),
    Forget(Departing, Instant, Reply<Vec<String>, JournalError>),
}

pub(super) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// What is to be appended.
#[derive(Debug)]
pub(super) enum Appended {
    Purge(Order, Referrer, Accepted),
    Release(Release, Accepted),
}

/// Which nodes are to be forgotten.
#[derive(Debug)]
pub(super) enum Departing {
    /// The process of this session.
    Session(SessionId),
    /// The process of this instance, as one of the same node says, whose session this is.
    Process(SessionId, String),
    Named(Vec<String>),
    /// Ephemeral ones whose lease is surely over.
    Ephemeral,
    /// Those that were not heard for the bounds' `forget_after`.
    Silent,
}

/// What waits, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Vec<Job>,
    /// Orders among them, and those that the writer has at hand.
    orders: usize,
    closed: bool,
}

/// What the writer woke up to.
#[derive(Debug)]
pub(super) enum Woken {
    /// All that waited.
    Jobs(Vec<Job>),
    /// Nothing came in time.
    Idle,
    /// Nothing comes any more.
    Closed,
}

impl Queue {
    /// Adds an order, unless `most` wait. After the end its answer is dropped, here and below.
    pub(super) fn order(&self, job: Job, most: usize) -> Result<(), Refusal> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Ok(());
        }
        if waiting.orders >= most.max(1) {
            return Err(Refusal::Full);
        }
        waiting.orders += 1;
        waiting.jobs.push(job);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// Adds what a session or its owner asks; each waits for its answer, so they are bounded by
    /// the connections.
    pub(super) fn push(&self, job: Job) {
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.jobs.push(job);
            drop(waiting);
            self.ready.notify_one();
        }
    }

    /// Waits for jobs, at most until `deadline`.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Woken {
        let mut waiting = self.waiting();
        loop {
            if !waiting.jobs.is_empty() {
                return Woken::Jobs(std::mem::take(&mut waiting.jobs));
            }
            if waiting.closed {
                return Woken::Closed;
            }
            waiting = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Woken::Idle,
                Some(left) => {
                    let woken = self.ready.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The writer is through with so many orders.
    pub(super) fn done(&self, orders: usize) {
        self.waiting().orders -= orders;
    }

    /// Orders that wait to become durable.
    pub(super) fn orders(&self) -> usize {
        self.waiting().orders
    }

    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.ready.notify_one();
    }

    /// Nobody takes jobs any more: those that wait are dropped, which their callers notice.
    pub(super) fn abandon(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.jobs.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
