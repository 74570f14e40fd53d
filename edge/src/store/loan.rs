//! The part of the store's bytes that it lends to bodies in flight.
//!
//! moka's capacity is fixed when it is built. So what is lent is an entry of the map: it holds nothing, weighs what
//! is lent, and the map evicts by its own order to hold it. An entry that is there may become heavier without being
//! admitted anew; one that is not there is put with no weight first.
//!
//! INVARIANT: whoever has taken bytes holds them within what the entry weighs. Should the map evict the entry, which
//! can happen where it holds hardly anything else, it is put back before the next value is decided on.

use super::weight::Unit;
use super::{ByDigest, Digest};
use crate::byte_budget::Lender;
use moka::sync::Cache;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The entry's key. Digests are keyed hashes: nobody can aim for it.
pub(super) const LENT: Digest = Digest::MAX;

/// How often it is tried to make the map hold the entry: others may put values meanwhile.
const ATTEMPTS: u32 = 64;

/// What the map's weigher and its listener know of the entry.
#[derive(Debug, Default)]
pub(super) struct LentEntry {
    weight: AtomicU32,
    is_lost: AtomicBool,
}

impl LentEntry {
    /// What the map is to count for it, in units.
    pub(super) fn weight(&self) -> u32 {
        self.weight.load(Ordering::SeqCst)
    }

    /// The map evicted it.
    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
    }
}

/// See the module.
pub(super) struct Loan<V> {
    cache: Cache<Digest, V, ByDigest>,
    entry: Arc<LentEntry>,
    unit: Unit,
    /// What the entry grows by at least, bytes.
    step: u64,
    /// Bytes that bodies have.
    taken: AtomicU64,
    /// Bytes that the entry weighs.
    covered: AtomicU64,
    changing: Mutex<()>,
}

impl<V: Clone + Default + Send + Sync + 'static> Loan<V> {
    /// Nothing lent of a map of `size` bytes.
    pub(super) fn new(
        cache: Cache<Digest, V, ByDigest>,
        entry: Arc<LentEntry>,
        unit: Unit,
        size: u64,
    ) -> Self {
        let step = (size / 512).clamp(4 << 10, 1 << 20);
        let (taken, covered) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { cache, entry, unit, step, taken, covered, changing: Mutex::default() }
    }

    /// What the map counts for the entry, in units.
    pub(super) fn units(&self) -> u64 {
        self.unit.units(self.covered.load(Ordering::SeqCst))
    }

    /// Counts as a use of the entry, so that the map evicts what was not used.
    pub(super) fn touch(&self) {
        if self.covered.load(Ordering::Relaxed) > 0 {
            self.cache.get(&LENT);
        }
    }

    /// Puts the entry back, if the map evicted it.
    pub(super) fn restore(&self) {
        if self.entry.is_lost.load(Ordering::SeqCst) {
            self.cover();
        }
    }

    /// Gives back to the store what bodies do not use any more.
    pub(super) fn settle(&self) {
        if self.wanted() < self.covered.load(Ordering::SeqCst) {
            self.cover();
        }
    }

    /// What the entry has to weigh, bytes.
    fn wanted(&self) -> u64 {
        self.taken.load(Ordering::SeqCst).next_multiple_of(self.step)
    }

    fn cover(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let wanted = self.wanted();
            // Who takes adds first and looks at this then, and here it is the other way round: either the taker
            // sees the lower number, or what was taken is seen below.
            self.covered.fetch_min(wanted, Ordering::SeqCst);
            self.weigh(wanted);
            self.covered.store(wanted, Ordering::SeqCst);
            if self.taken.load(Ordering::SeqCst) <= wanted {
                return;
            }
        }
    }

    /// Makes the entry weigh so many bytes, and the map evict what is too much then.
    fn weigh(&self, bytes: u64) {
        let most = self.cache.policy().max_capacity().unwrap_or(u64::MAX);
        for _ in 0..ATTEMPTS {
            if bytes == 0 {
                self.cache.invalidate(&LENT);
                return self.entry.is_lost.store(false, Ordering::SeqCst);
            }
            if !self.cache.contains_key(&LENT) {
                self.put(0);
            }
            self.entry.is_lost.store(false, Ordering::SeqCst);
            self.put(self.unit.weight(bytes));
            if self.cache.contains_key(&LENT) && self.cache.weighted_size() <= most {
                return;
            }
            std::thread::yield_now();
        }
        self.entry.lose();
    }

    fn put(&self, weight: u32) {
        self.entry.weight.store(weight, Ordering::SeqCst);
        self.cache.insert(LENT, V::default());
        self.cache.run_pending_tasks();
    }
}

impl<V: Clone + Default + Send + Sync + 'static> Lender for Loan<V> {
    fn take(&self, bytes: u64) {
        let taken = self.taken.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        if taken > self.covered.load(Ordering::SeqCst) {
            self.cover();
        }
        self.restore();
    }

    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl<V> fmt::Debug for Loan<V> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Loan").field("taken", &self.taken).field("covered", &self.covered).finish()
    }
}
