//! Which purge removed what was stored under a key, for `explain`: the index knows what a purge named, and not what
//! tags a response had that is gone.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_rules::invalidation::Seq;

/// Keys remembered, about: each has one place, and the last one there is known. A quarter of a MiB.
const PLACES: usize = 1 << 14;

/// The keys whose responses purges removed last.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Whether anything was removed: until then, there are no places, and what is stored costs nothing here.
    is_used: AtomicBool,
    places: Mutex<Vec<Place>>,
    hasher: RandomState,
}

/// Of a key its hash, which is never 0, and the purge.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    hash: u64,
    seq: Seq,
}

impl Swept {
    /// A purge removed what was stored under a key.
    pub(crate) fn note(&self, key: &[u8], seq: Seq) {
        let (hash, at) = self.place(key);
        let mut places = self.lock();
        if places.is_empty() {
            places.resize(PLACES, Place::default());
            self.is_used.store(true, Ordering::Release);
        }
        // Of two walks, memory's and the disk's, the later purge.
        let seq = if places[at].hash == hash { places[at].seq.max(seq) } else { seq };
        places[at] = Place { hash, seq };
    }

    /// Something is stored under the key again.
    pub(crate) fn forget(&self, key: &[u8]) {
        if !self.is_used.load(Ordering::Acquire) {
            return;
        }
        let (hash, at) = self.place(key);
        if let Some(place) = self.lock().get_mut(at).filter(|place| place.hash == hash) {
            *place = Place::default();
        }
    }

    /// The purge that removed what was stored under a key last, as far as that is remembered.
    pub(crate) fn of(&self, key: &[u8]) -> Option<Seq> {
        let (hash, at) = self.place(key);
        self.lock().get(at).filter(|place| place.hash == hash).map(|place| place.seq)
    }

    fn place(&self, key: &[u8]) -> (u64, usize) {
        let hash = self.hasher.hash_one(key).max(1);
        (hash, (hash % PLACES as u64) as usize)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_purge_removed_is_known_until_it_is_stored_again() {
        let swept = Swept::default();
        assert_eq!(swept.of(b"http://h/a"), None);
        swept.forget(b"http://h/a");
        swept.note(b"http://h/a", 7);
        swept.note(b"http://h/a", 5);
        assert_eq!((swept.of(b"http://h/a"), swept.of(b"http://h/b")), (Some(7), None));
        swept.forget(b"http://h/b");
        assert_eq!(swept.of(b"http://h/a"), Some(7));
        swept.forget(b"http://h/a");
        assert_eq!(swept.of(b"http://h/a"), None);
    }

    #[test]
    fn as_many_keys_as_there_are_places_are_remembered_and_the_last_ones_are() {
        let swept = Swept::default();
        let key = |n: usize| n.to_le_bytes();
        for n in 0..3 * PLACES {
            swept.note(&key(n), 1);
        }
        assert_eq!(swept.lock().len(), PLACES);
        let known =
            |range: std::ops::Range<usize>| range.filter(|n| swept.of(&key(*n)).is_some()).count();
        assert!(known(0..3 * PLACES) <= PLACES);
        assert_eq!(known(3 * PLACES - 1..3 * PLACES), 1);
        assert!(known(2 * PLACES..3 * PLACES) > PLACES / 2, "most of the last ones");
    }
}
