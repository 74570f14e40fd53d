//! The housekeeper: one thread a node that frees what was purged, counts what each purge took,
//! and lets the store's map do what it deferred. Lookups never depend on it: what is purged is
//! invalid from the moment it is applied, swept or not.
//!
//! One walk over the store serves all purges that wait when it begins, however many, and is paced
//! to a share of a processor (`limits.sweep`). When it is over, everything stored has been judged
//! by them, and the index may forget them.

mod pace;
mod walk;

use crate::state::NodeState;
use pace::{Pace, gather};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use walk::Walk;
use weir_rules::invalidation::{KeyedPurge, Seq, Tally, Target};

/// How often the map is tidied.
const TIDY: Duration = Duration::from_secs(1);

/// Purges that may wait for the next walk.
const MOST_WAITING: usize = 1 << 16;

/// Bytes that their targets may take, about.
const MOST_BYTES: usize = 32 << 20;

/// The node's side of the housekeeper. Dropping it ends the thread.
pub(crate) struct Sweeper {
    shared: Arc<SweepQueue>,
}

#[derive(Default)]
struct SweepQueue {
    work: Mutex<Work>,
    /// Told when there is work for a thread that waits, or none any more.
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    waiting: Waiting,
    uncounted: u64,
    /// Whether the thread waits for purges.
    idle: bool,
    stopped: bool,
}

/// What the next walk looks for.
#[derive(Default)]
struct Waiting {
    purges: Tally,
    bytes: usize,
    /// The last purge that did not fit.
    missed: Seq,
    /// Something else than a purge made stored responses invalid.
    refresh: bool,
}

impl Sweeper {
    /// Starts the thread, which ends with the node.
    pub(crate) fn start(node: &Arc<NodeState>) -> std::io::Result<Self> {
        let shared = Arc::new(SweepQueue::default());
        let (seen, node) = (Arc::clone(&shared), Arc::downgrade(node));
        std::thread::Builder::new().name("weir-sweeper".into()).spawn(move || run(&seen, &node))?;
        Ok(Self { shared })
    }

    /// Has the store searched for what a purge took. Purges come in the order of their seqs. Where
    /// too many wait already, nobody will know what this one took.
    pub(crate) fn sweep(&self, purge: &KeyedPurge) {
        let mut work = self.shared.lock();
        if !work.waiting.add(purge) {
            if work.uncounted == 0 {
                tracing::warn!(
                    seq = purge.seq,
                    "too many purges at once: the removed responses \
                     are not counted for each"
                );
            }
            work.uncounted += 1;
        }
        self.shared.wake(work);
    }

    /// Has the store searched for what is invalid, whatever made it so.
    pub(crate) fn refresh(&self) {
        let mut work = self.shared.lock();
        work.waiting.refresh = true;
        self.shared.wake(work);
    }

    /// Purges that wait for a walk, and those of which nobody will know what they took.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let work = self.shared.lock();
        (work.waiting.purges.len() as u64, work.uncounted)
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
    }
}

impl Waiting {
    /// Whether there was room.
    fn add(&mut self, purge: &KeyedPurge) -> bool {
        let bytes = purge.targets.iter().map(cost).sum::<usize>();
        if self.purges.len() == MOST_WAITING || self.bytes + bytes > MOST_BYTES {
            self.missed = purge.seq;
            return false;
        }
        self.bytes += bytes;
        self.purges.add(purge);
        true
    }
}

/// Bytes that looking for a target takes, about: a place in a table, a list of one, and of a pattern its
/// text.
fn cost(target: &Target) -> usize {
    const BESIDE: usize = 160;
    target.text().len() + BESIDE
}

impl SweepQueue {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for purges, for at most `bound`; `false` at the end.
    fn await_purges(&self, bound: Duration) -> bool {
        let nothing = |work: &mut Work| work.waiting.is_empty() && !work.stopped;
        let mut work = self.lock();
        work.idle = true;
        let waited = self.changed.wait_timeout_while(work, bound, nothing);
        let (mut work, _) = waited.unwrap_or_else(PoisonError::into_inner);
        work.idle = false;
        !work.stopped
    }

    /// Sleeps; `false` at the end, which does not wait.
    fn pause(&self, pause: Duration) -> bool {
        let going = |work: &mut Work| !work.stopped;
        let waited = self.changed.wait_timeout_while(self.lock(), pause, going);
        let (work, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !work.stopped
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Ends the wait for work, where the thread is at it: notices cost more than what they tell.
    fn wake(&self, work: MutexGuard<'_, Work>) {
        let idle = work.idle;
        drop(work);
        if idle {
            self.changed.notify_one();
        }
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.purges.is_empty() && self.missed == 0 && !self.refresh
    }
}

fn run(shared: &SweepQueue, node: &Weak<NodeState>) {
    let mut pace = Pace::new(Instant::now());
    // What is stored was held against all purges up to here, or was judged one by one.
    let mut walked = 0;
    let mut next = Instant::now();
    while shared.await_purges(TIDY) {
        let soon = next.saturating_duration_since(Instant::now());
        if !soon.is_zero() && !shared.pause(soon) {
            return;
        }
        let Some(node) = node.upgrade() else { return };
        let waiting = shared.take();
        if waiting.is_empty() {
            node.purges.taken.forget(walked);
        } else {
            let (begun, served) = (Instant::now(), waiting.purges.len());
            // What lies below a floor is not to be raised over it.
            let after = walked.max(waiting.missed).max(node.purges.floor());
            let mut walk = Walk::begin(&node, waiting.purges, after);
            let Some(due) = walk.run(&mut pace, |pause| shared.pause(pause)) else { return };
            walked = walk.last();
            next = Instant::now() + gather(begun.elapsed(), served).max(due);
            node.matched.note(&walk.end());
        }
        node.popular.tidy(Instant::now());
        node.store.tidy();
    }
}
