//! How many stored responses each purge took: noted by the sweep, told to control.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use weir_rules::invalidation::Seq;

/// Counts kept: those of one walk at least, which serves all purges that wait for it.
const KEPT: usize = 1 << 17;

/// Counts by purge, in the node's own numbers; the latest of them.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    counts: Mutex<Counts>,
    /// Counts noted since the start.
    noted: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Counts {
    by_seq: BTreeMap<Seq, u64>,
    /// In the order in which they were noted.
    latest: VecDeque<(Seq, u64)>,
}

impl Matched {
    /// The sweep is through with these purges.
    pub(crate) fn note(&self, counts: &[(Seq, u64)]) {
        let mut kept = self.lock();
        for (seq, count) in counts {
            kept.by_seq.insert(*seq, *count);
            kept.latest.push_back((*seq, *count));
        }
        while kept.latest.len() > KEPT {
            kept.latest.pop_front();
        }
        while kept.by_seq.len() > KEPT {
            kept.by_seq.pop_first();
        }
        // Before the lock is given back, so that who is woken finds them.
        self.noted.send_modify(|noted| *noted += counts.len() as u64);
    }

    /// How many a purge took, once that is known and while it is remembered.
    pub(crate) fn of(&self, seq: Seq) -> Option<u64> {
        self.lock().by_seq.get(&seq).copied()
    }

    /// Tells when there are more.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.noted.subscribe()
    }

    /// What was noted after the first `seen`, where it is still kept, and how many those are.
    pub(crate) fn after(&self, seen: u64) -> (Vec<(Seq, u64)>, u64) {
        let kept = self.lock();
        let noted = *self.noted.borrow();
        let new = usize::try_from(noted - seen.min(noted)).unwrap_or(usize::MAX);
        let skip = kept.latest.len().saturating_sub(new);
        (kept.latest.iter().skip(skip).copied().collect(), noted)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
