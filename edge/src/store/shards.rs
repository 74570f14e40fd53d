//! Values by digest, in parts with a lock each: who looks one up shares its part's lock with other readers, and waits
//! for nobody but a change to that part, which takes no longer than a change to a table.

use super::queues::Place;
use super::{ByDigest, Digest};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Parts.
const SHARDS: usize = 256;

/// See the module.
pub(super) struct Shards<V>(Box<[Shard<V>]>);

type Table<V> = HashMap<Digest, Held<V>, ByDigest>;

/// A line of the processor's cache, so that readers of one do not slow down those of another.
#[repr(align(64))]
struct Shard<V>(RwLock<Table<V>>);

struct Held<V> {
    value: V,
    /// Where it is in the order of eviction.
    place: Place,
    /// Whether it was requested since that was asked last.
    is_requested: AtomicBool,
}

impl<V: Clone> Shards<V> {
    /// None.
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Shard(RwLock::default())).collect())
    }

    /// A value, for a request.
    pub(super) fn get(&self, digest: Digest) -> Option<V> {
        let shard = self.read(digest);
        let held = shard.get(&digest)?;
        // What is requested all the time is only read.
        if !held.is_requested.load(Ordering::Relaxed) {
            held.is_requested.store(true, Ordering::Relaxed);
        }
        Some(held.value.clone())
    }

    /// The same, for no request.
    pub(super) fn peek(&self, digest: Digest) -> Option<V> {
        self.read(digest).get(&digest).map(|held| held.value.clone())
    }

    /// Whether there is a value.
    pub(super) fn holds(&self, digest: Digest) -> bool {
        self.read(digest).contains_key(&digest)
    }

    /// The place of a value.
    pub(super) fn place(&self, digest: Digest) -> Option<Place> {
        self.read(digest).get(&digest).map(|held| held.place)
    }

    /// Whether a value was requested since this was asked last.
    pub(super) fn take_requested(&self, digest: Digest) -> bool {
        let shard = self.read(digest);
        shard.get(&digest).is_some_and(|held| {
            held.is_requested.load(Ordering::Relaxed)
                && held.is_requested.swap(false, Ordering::Relaxed)
        })
    }

    /// Puts a value with its place; the value that was there.
    pub(super) fn put(&self, digest: Digest, value: V, place: Place) -> Option<V> {
        let mut shard = self.write(digest);
        match shard.get_mut(&digest) {
            Some(held) => {
                held.place = place;
                Some(std::mem::replace(&mut held.value, value))
            }
            None => {
                shard.insert(digest, Held { value, place, is_requested: AtomicBool::new(false) });
                None
            }
        }
    }

    /// Removes a value.
    pub(super) fn remove(&self, digest: Digest) -> Option<V> {
        self.write(digest).remove(&digest).map(|held| held.value)
    }

    /// All values, in no order. One that is put meanwhile may be missed. No lock is held between two of them, and no
    /// value but the one that is shown.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Digest, V)> {
        let digests = self.0.iter().flat_map(|Shard(shard)| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.keys().copied().collect::<Vec<_>>()
        });
        digests.filter_map(|digest| Some((digest, self.peek(digest)?)))
    }

    fn read(&self, digest: Digest) -> RwLockReadGuard<'_, Table<V>> {
        self.shard(digest).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, digest: Digest) -> RwLockWriteGuard<'_, Table<V>> {
        self.shard(digest).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, digest: Digest) -> &RwLock<Table<V>> {
        // The tables use the lower half. Simulations have keys of no more than that.
        let bits = (digest >> 64) as usize ^ digest as usize;
        &self.0[bits % SHARDS].0
    }
}
