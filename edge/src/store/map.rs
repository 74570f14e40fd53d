//! The map behind the memory store, bounded in bytes: what is requested most stays in it.

use super::loan::{LENT, LentEntry, Loan};
use super::weight::Unit;
use super::{ByDigest, Digest};
use crate::byte_budget::Lender;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Values by digest.
pub(super) struct Map<V> {
    cache: Cache<Digest, V, ByDigest>,
    unit: Unit,
    /// Values that it removed or refused because it was full.
    displaced: Arc<AtomicU64>,
    /// Those of them that it refused.
    refused: AtomicU64,
    /// Bytes put since it last settled: it decides later what it admits.
    undecided: AtomicU64,
    /// What is lent of its bytes.
    loan: Arc<Loan<V>>,
}

impl<V: Clone + Default + Send + Sync + 'static> Map<V> {
    /// An empty map of so many bytes; `weight` is what a value takes of them.
    pub(super) fn new(size: u64, weight: impl Fn(&V) -> u64 + Send + Sync + 'static) -> Self {
        let displaced = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&displaced);
        let unit = Unit::of(size);
        let entry = Arc::new(LentEntry::default());
        let (weighed, evicted) = (Arc::clone(&entry), Arc::clone(&entry));
        let cache = Cache::builder()
            .max_capacity(unit.capacity(size))
            .weigher(move |digest: &Digest, value: &V| match *digest {
                LENT => weighed.weight(),
                _ => unit.weight(weight(value)),
            })
            .eviction_listener(move |digest, _, cause| match *digest {
                _ if cause != RemovalCause::Size => {}
                LENT => evicted.lose(),
                _ => {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(ByDigest::default());
        let (refused, undecided) = (AtomicU64::new(0), AtomicU64::new(0));
        let loan = Arc::new(Loan::new(cache.clone(), entry, unit, size));
        Self { cache, unit, displaced, refused, undecided, loan }
    }

    /// Who lends its bytes, and takes them from what it holds.
    pub(super) fn lender(&self) -> Arc<dyn Lender> {
        Arc::clone(&self.loan) as Arc<dyn Lender>
    }

    /// A value, for a request: it is counted, whether there is a value or not.
    pub(super) fn get(&self, digest: Digest) -> Option<V> {
        self.cache.get(&digest)
    }

    /// The same for a request that was counted already: that there is none is not counted again.
    pub(super) fn get_again(&self, digest: Digest) -> Option<V> {
        self.holds(digest).then(|| self.cache.get(&digest)).flatten()
    }

    /// Whether there is a value. Nothing is counted.
    pub(super) fn holds(&self, digest: Digest) -> bool {
        self.cache.contains_key(&digest)
    }

    /// Puts a value, in place of the one that is there.
    pub(super) fn insert(&self, digest: Digest, value: V) {
        self.loan.touch();
        self.cache.insert(digest, value);
    }

    /// Removes a value.
    pub(super) fn remove(&self, digest: Digest) {
        self.cache.invalidate(&digest);
    }

    /// Whether it keeps a value of so many bytes that was just put. It decides that later; where it may
    /// refuse it, it is made to decide now.
    pub(super) fn admits(&self, digest: Digest, bytes: u64) -> bool {
        let undecided = self.undecided.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let most = self.cache.policy().max_capacity().unwrap_or(u64::MAX);
        let used = self.cache.weighted_size().saturating_add(self.unit.units(undecided));
        if used < most {
            return true;
        }
        self.decide();
        let admitted = self.holds(digest);
        if !admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// All values, in no order. One that is put meanwhile may be missed.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Digest, V)> {
        let values = self.cache.iter().filter(|(digest, _)| **digest != LENT);
        values.map(|(digest, value)| (*digest, value))
    }

    /// Does what it deferred, and takes back what was lent and is not used.
    pub(super) fn tidy(&self) {
        self.loan.settle();
        self.decide();
    }

    /// Decides on what was put, and evicts what that displaces.
    fn decide(&self) {
        self.undecided.store(0, Ordering::Relaxed);
        self.cache.run_pending_tasks();
        self.loan.restore();
    }

    /// Values held, as of the last [`Map::tidy`].
    pub(super) fn entries(&self) -> u64 {
        let lent = u64::from(self.loan.units() > 0);
        self.cache.entry_count().saturating_sub(lent)
    }

    /// Bytes held, as of the same call, without those that are lent.
    pub(super) fn bytes(&self) -> u64 {
        self.unit.bytes(self.cache.weighted_size().saturating_sub(self.loan.units()))
    }

    /// Values evicted to make room since the start. One that was not admitted is none of them.
    pub(super) fn evicted(&self) -> u64 {
        let refused = self.refused.load(Ordering::Relaxed);
        self.displaced.load(Ordering::Relaxed).saturating_sub(refused)
    }
}
