//! The map behind the memory store, bounded in bytes: what is requested most stays in it.

use super::weight::Unit;
use super::{ByDigest, Digest};
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
}

impl<V: Clone + Send + Sync + 'static> Map<V> {
    /// An empty map of so many bytes; `weight` is what a value takes of them.
    pub(super) fn new(size: u64, weight: impl Fn(&V) -> u64 + Send + Sync + 'static) -> Self {
        let displaced = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&displaced);
        let unit = Unit::of(size);
        let cache = Cache::builder()
            .max_capacity(unit.capacity(size))
            .weigher(move |_, value: &V| unit.weight(weight(value)))
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(ByDigest::default());
        let (refused, undecided) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { cache, unit, displaced, refused, undecided }
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
        self.tidy();
        let admitted = self.holds(digest);
        if !admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// All values, in no order. One that is put meanwhile may be missed.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Digest, V)> {
        self.cache.iter().map(|(digest, value)| (*digest, value))
    }

    /// Does what it deferred.
    pub(super) fn tidy(&self) {
        self.undecided.store(0, Ordering::Relaxed);
        self.cache.run_pending_tasks();
    }

    /// Values held, as of the last [`Map::tidy`].
    pub(super) fn entries(&self) -> u64 {
        self.cache.entry_count()
    }

    /// Bytes held, as of the same call.
    pub(super) fn bytes(&self) -> u64 {
        self.unit.bytes(self.cache.weighted_size())
    }

    /// Values evicted to make room since the start. One that was not admitted is none of them.
    pub(super) fn evicted(&self) -> u64 {
        let refused = self.refused.load(Ordering::Relaxed);
        self.displaced.load(Ordering::Relaxed).saturating_sub(refused)
    }
}
