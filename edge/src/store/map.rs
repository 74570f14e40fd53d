//! The map behind the memory store, bounded in bytes: what is requested most stays in it.
//!
//! A hit looks a value up ([`Shards`]) and is counted ([`Sketch`]); neither takes a lock that others hold for long.
//! Whatever changes what is held, or lends bytes of it, holds the lock of the [`Queues`], which say what is evicted.
//!
//! INVARIANT: what is held and what is lent ([`Loan`]) weigh no more than the size together. A value is in the shards
//! only as long as its key is in the queues.

use super::Digest;
use super::loan::Loan;
use super::queues::{Queues, Requests};
use super::shards::Shards;
use super::sketch::Sketch;
use crate::byte_budget::Lender;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by digest.
pub(super) struct Map<V> {
    /// Bytes for values, and to be lent: what counts of requests take is not among them.
    size: u64,
    weight: fn(&V) -> u64,
    known: Known<V>,
    queues: Mutex<Queues>,
    loan: Loan,
    evicted: AtomicU64,
}

/// What is known of values without the lock.
struct Known<V> {
    shards: Shards<V>,
    sketch: Sketch,
}

impl<V: Clone> Requests for Known<V> {
    fn take_requested(&self, digest: Digest) -> bool {
        self.shards.take_requested(digest)
    }

    fn frequency(&self, digest: Digest) -> u32 {
        self.sketch.frequency(digest)
    }
}

impl<V: Clone> Map<V> {
    /// An empty map of so many bytes; `weight` is what a value takes of them.
    pub(super) fn new(size: u64, weight: fn(&V) -> u64) -> Self {
        let sketch = Sketch::new(size);
        Self {
            size: size.saturating_sub(sketch.bytes()),
            weight,
            known: Known { shards: Shards::new(), sketch },
            queues: Mutex::default(),
            loan: Loan::new(size),
            evicted: AtomicU64::new(0),
        }
    }

    /// A value, for a request: it is counted, whether there is a value or not.
    pub(super) fn get(&self, digest: Digest) -> Option<V> {
        self.known.sketch.count(digest);
        self.known.shards.get(digest)
    }

    /// The same for no request, or for one that was counted already.
    pub(super) fn peek(&self, digest: Digest) -> Option<V> {
        self.known.shards.peek(digest)
    }

    /// Whether there is a value. Nothing is counted.
    pub(super) fn holds(&self, digest: Digest) -> bool {
        self.known.shards.holds(digest)
    }

    /// Puts a value, in place of the one that is there. Whether it is kept: where there is no room, what was requested
    /// more often stays instead. Where a value is not kept, the one before it is not, either.
    pub(super) fn insert(&self, digest: Digest, value: V) -> bool {
        let (bytes, mut gone) = ((self.weight)(&value), Vec::new());
        let mut queues = self.lock();
        let place = match self.known.shards.place(digest) {
            Some(place) => {
                queues.weigh(place, bytes);
                Some(place)
            }
            None => queues.enter(digest, bytes, self.room(), &self.known, &mut gone),
        };
        let evicted = self.settle(&mut queues, self.room(), &mut gone);
        let place = place.filter(|_| !gone.contains(&digest));
        let replaced = place.and_then(|place| self.known.shards.put(digest, value, place));
        let usual = queues.bytes() / (queues.len() as u64).max(1);
        self.known.sketch.serve(self.size / usual.max(1));
        drop(queues);
        // Freed without the lock: bodies may be large.
        drop((evicted, replaced));
        place.is_some()
    }

    /// Removes a value.
    pub(super) fn remove(&self, digest: Digest) {
        let mut queues = self.lock();
        if let Some(place) = self.known.shards.place(digest) {
            queues.remove(place);
            let removed = self.known.shards.remove(digest);
            drop(queues);
            drop(removed);
        }
    }

    /// All values, in no order. One that is put meanwhile may be missed. No lock is held between two of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Digest, V)> {
        self.known.shards.iter()
    }

    /// Values held.
    pub(super) fn entries(&self) -> u64 {
        self.lock().len() as u64
    }

    /// Bytes held, without those that are lent.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    /// Values evicted to make room since the start. One that was not admitted is none of them.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Takes back what was lent and is not used. To be called about once a second.
    pub(super) fn tidy(&self) {
        let _queues = self.lock();
        self.loan.ease();
    }

    /// Bytes for values.
    fn room(&self) -> u64 {
        self.size.saturating_sub(self.loan.reserved())
    }

    /// Evicts what there is no room for, in so much. Returns the values, to be freed without the lock.
    fn settle(&self, queues: &mut Queues, room: u64, gone: &mut Vec<Digest>) -> Vec<V> {
        queues.settle(room, &self.known, gone);
        let evicted: Vec<V> =
            gone.iter().filter_map(|digest| self.known.shards.remove(*digest)).collect();
        self.evicted.fetch_add(evicted.len() as u64, Ordering::Relaxed);
        evicted
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bodies in flight have what they take of the store's bytes at once.
impl<V: Clone + Send + Sync> Lender for Map<V> {
    fn take(&self, bytes: u64) {
        if self.loan.take(bytes) {
            return;
        }
        let mut queues = self.lock();
        let wanted = self.loan.wanted();
        let room = self.size.saturating_sub(wanted);
        let evicted = self.settle(&mut queues, room, &mut Vec::new());
        self.loan.reserve(wanted);
        drop(queues);
        drop(evicted);
    }

    fn give_back(&self, bytes: u64) {
        self.loan.give_back(bytes);
    }
}

impl<V> fmt::Debug for Map<V> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Map").field("size", &self.size).field("loan", &self.loan).finish()
    }
}

#[cfg(test)]
mod tests;
