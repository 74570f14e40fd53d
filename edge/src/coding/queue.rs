//! Stored responses that wait to be compressed, and what was counted of it.

use crate::store::{Digest, Stored};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use weir_rules::coding::{Coding, CodingRules};

/// One response that waits for one coding. It keeps the response from nothing: what is evicted or replaced
/// meanwhile is gone.
pub(crate) struct CodingJob {
    /// The digest of its key.
    pub(crate) digest: Digest,
    /// It.
    pub(crate) stored: Weak<Stored>,
    /// The rules that want it.
    pub(crate) rules: Arc<CodingRules>,
    /// The coding.
    pub(crate) coding: Coding,
}

impl CodingJob {
    /// While a job waits, nothing else has the address of its response.
    fn name(&self) -> (usize, Coding) {
        (self.stored.as_ptr().addr(), self.coding)
    }
}

/// Why a form was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// `limits.compress_queue` waited.
    QueueFull,
    /// The bodies on their way into the store had all the room that there is for them.
    NoRoom,
    /// The response was gone by then.
    Gone,
    /// It would be hardly smaller.
    Useless,
}

impl Undone {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::QueueFull, Self::NoRoom, Self::Gone, Self::Useless];

    /// A word for metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::NoRoom => "no-room",
            Self::Gone => "gone",
            Self::Useless => "useless",
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodingCounts {
    /// Jobs that wait.
    pub(crate) waiting: u64,
    /// Forms made, by [`Coding::index`].
    pub(crate) made: [u64; Coding::ALL.len()],
    /// Bytes of their originals.
    pub(crate) bytes_in: u64,
    /// Their own bytes.
    pub(crate) bytes_out: u64,
    /// Time of all threads, microseconds.
    pub(crate) micros: u64,
    /// By [`Undone`], in the order of [`Undone::ALL`].
    pub(crate) undone: [u64; Undone::ALL.len()],
}

/// See the module.
#[derive(Default)]
pub(crate) struct CodingQueue {
    waiting: Mutex<Waiting>,
    came: Condvar,
    made: [AtomicU64; Coding::ALL.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    micros: AtomicU64,
    undone: [AtomicU64; Undone::ALL.len()],
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<CodingJob>,
    names: HashSet<(usize, Coding)>,
    closed: bool,
}

impl CodingQueue {
    /// Has a form made, unless it waits already or `most` jobs do.
    pub(crate) fn ask(&self, job: CodingJob, most: usize) {
        let mut waiting = self.lock();
        if waiting.closed || waiting.names.contains(&job.name()) {
            return;
        }
        if waiting.jobs.len() >= most {
            drop(waiting);
            return self.count_undone(Undone::QueueFull);
        }
        waiting.names.insert(job.name());
        waiting.jobs.push_back(job);
        drop(waiting);
        self.came.notify_one();
    }

    /// Waits for a job; `None` once the queue is closed.
    pub(crate) fn next(&self) -> Option<CodingJob> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says that a job is done: it may be asked for again.
    pub(crate) fn done(&self, job: &CodingJob) {
        self.lock().names.remove(&job.name());
    }

    /// Ends all waits.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.jobs.clear();
        drop(waiting);
        self.came.notify_all();
    }

    /// Counts a form that was made.
    pub(crate) fn count_made(&self, coding: Coding, bytes_in: u64, bytes_out: u64) {
        self.made[coding.index()].fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    /// Counts one that was not.
    pub(crate) fn count_undone(&self, why: Undone) {
        self.undone[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts time of a thread.
    pub(crate) fn count_time(&self, time: std::time::Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> CodingCounts {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CodingCounts {
            waiting: self.lock().jobs.len() as u64,
            made: self.made.each_ref().map(value),
            bytes_in: value(&self.bytes_in),
            bytes_out: value(&self.bytes_out),
            micros: value(&self.micros),
            undone: self.undone.each_ref().map(value),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_rules::coding::{DEFAULT_TYPES, WhichTypes};

    #[test]
    fn a_form_waits_once_and_no_more_than_the_bound_do() {
        let queue = CodingQueue::default();
        let types = WhichTypes::new(DEFAULT_TYPES);
        let order = vec![Coding::Br];
        let rules = Arc::new(CodingRules { types, min: 1, max: 9, order, levels: [1; 3] });
        let (one, two) = (Arc::new(Stored::example()), Arc::new(Stored::example()));
        let job = |stored: &Arc<Stored>, coding| CodingJob {
            digest: 1,
            stored: Arc::downgrade(stored),
            rules: Arc::clone(&rules),
            coding,
        };
        queue.ask(job(&one, Coding::Br), 2);
        queue.ask(job(&one, Coding::Br), 2);
        queue.ask(job(&one, Coding::Gzip), 2);
        queue.ask(job(&two, Coding::Br), 2);
        let counts = queue.counts();
        assert_eq!((counts.waiting, counts.undone), (2, [1, 0, 0, 0]));
        let first = queue.next().unwrap();
        assert_eq!(first.coding, Coding::Br);
        queue.ask(job(&one, Coding::Br), 9);
        assert_eq!(queue.counts().waiting, 1, "it is being made");
        queue.done(&first);
        queue.ask(job(&one, Coding::Br), 9);
        assert_eq!(queue.counts().waiting, 2);
        queue.close();
        assert!(queue.next().is_none());
        queue.ask(job(&two, Coding::Br), 9);
        assert_eq!(queue.counts().waiting, 0);
    }
}
