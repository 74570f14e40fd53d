//! What was purged, as lookups ask it: one integer comparison while nothing new was purged.
//!
//! Order (design of invariant I1): raise the index, publish the applied seq, then acknowledge;
//! a lookup reads the applied seq first.

use crate::store::Stored;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use weir_rules::invalidation::{Bounds, Index, Purge, Seq, Subject, Validity};

/// The node's invalidation index and the seq up to which it is applied.
#[derive(Debug)]
pub(crate) struct Purges {
    applied: AtomicU64,
    index: RwLock<Index>,
    stamps: Arc<Stamps>,
}

/// The filled_at_seqs of what is being fetched, and how many fetches carry each.
#[derive(Debug, Default)]
struct Stamps(Mutex<BTreeMap<Seq, usize>>);

impl Stamps {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Seq, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filled_at_seq of one fetch (invariant I2), known to the index while the fetch runs.
#[derive(Debug)]
pub(crate) struct Stamp {
    seq: Seq,
    stamps: Arc<Stamps>,
}

impl Stamp {
    /// The seq applied when the fetch began.
    pub(crate) fn seq(&self) -> Seq {
        self.seq
    }
}

impl Drop for Stamp {
    fn drop(&mut self) {
        let mut stamps = self.stamps.lock();
        if let Some(count) = stamps.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                stamps.remove(&self.seq);
            }
        }
    }
}

/// Targets in the index beyond which those that nothing needs any more are forgotten.
const CROWDED: usize = 50_000;

impl Purges {
    /// An index in which nothing was purged.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let index = RwLock::new(Index::new(bounds));
        Self { applied: AtomicU64::new(0), index, stamps: Arc::default() }
    }

    /// Applies one purge. Lookups that begin after this returns see it.
    pub(crate) fn apply(&self, purge: &Purge) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).apply(purge);
        self.applied.fetch_max(purge.seq, Ordering::Release);
    }

    /// The highest seq applied.
    pub(crate) fn applied(&self) -> Seq {
        self.applied.load(Ordering::Acquire)
    }

    /// Judges a stored response as of now.
    pub(crate) fn validity(&self, stored: &Stored) -> Validity {
        let applied = self.applied();
        let known = |soft_at| match soft_at {
            0 => Validity::Valid,
            seq => Validity::Soft(seq),
        };
        if stored.valid_at.load(Ordering::Acquire) == applied {
            return known(stored.soft_at.load(Ordering::Relaxed));
        }
        let validity = stored.with_subject(|subject| self.judge(subject));
        if let Validity::Soft(seq) = validity {
            stored.soft_at.fetch_max(seq, Ordering::Relaxed);
        }
        if !matches!(validity, Validity::Hard(_)) {
            stored.valid_at.store(applied, Ordering::Release);
            return known(stored.soft_at.load(Ordering::Relaxed));
        }
        validity
    }

    /// The stamp for a fetch that begins now.
    pub(crate) fn stamp(&self) -> Stamp {
        let mut stamps = self.stamps.lock();
        // Read under the lock, so that no forgetting comes between.
        let seq = self.applied();
        *stamps.entry(seq).or_default() += 1;
        drop(stamps);
        Stamp { seq, stamps: Arc::clone(&self.stamps) }
    }

    /// The seq below which a walk over the store that begins now will have judged everything: the
    /// applied one or, where that is lower, the oldest stamp of what is being fetched, which may
    /// be stored behind the walk's back.
    pub(crate) fn mark(&self) -> Seq {
        let stamps = self.stamps.lock();
        let applied = self.applied();
        stamps.first_key_value().map_or(applied, |(seq, _)| applied.min(*seq))
    }

    /// Everything stored was judged against the purges below `mark`: a crowded index forgets them.
    pub(crate) fn checked(&self, mark: Seq) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if index.len() > CROWDED {
            index.forget_below(mark);
        }
    }

    /// Judges anything that can be described.
    pub(crate) fn judge(&self, subject: &Subject<'_>) -> Validity {
        self.index.read().unwrap_or_else(PoisonError::into_inner).validity(subject)
    }

    /// The last purge that matches, whenever it was: its seq and whether it was soft.
    pub(crate) fn last_match(&self, subject: &Subject<'_>) -> Option<(Seq, bool)> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).last_match(subject)
    }
}
