//! The lock of a key: what changes the variants of a resource holds it, so that of two changes at once
//! neither misses the other, and memory and what lies below it change in one step. Reads take none.

use super::Digest;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, each for the keys whose digests share it.
const LOCKS: usize = 256;

/// See the module.
pub(super) struct KeyLocks([Mutex<()>; LOCKS]);

impl Default for KeyLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl KeyLocks {
    /// Locks a key. Whoever holds one lock takes no other.
    pub(super) fn lock(&self, digest: Digest) -> MutexGuard<'_, ()> {
        // Truncation is meant: the digest is a keyed hash.
        let lock = &self.0[digest as usize % LOCKS];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
