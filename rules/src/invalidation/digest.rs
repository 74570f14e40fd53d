//! What stands for the text of a target: a digest of 128 bits.
//!
//! Whoever knows the secret could make two texts share a digest, which would have each take what the
//! other does, and no purge be missed. Nobody does: it is random for each process.

use siphasher::sip128::{Hash128, Hasher128, SipHasher13};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

/// With the secret, before any text.
static SECRET: LazyLock<SipHasher13> = LazyLock::new(|| {
    let random = RandomState::new();
    SipHasher13::new_with_keys(random.hash_one(0), random.hash_one(1))
});

/// The digest of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest {
    high: u64,
    low: u64,
}

impl Digest {
    /// That of a text.
    pub(super) fn of(text: &str) -> Self {
        Digests::of(text).last()
    }

    /// One of `count` places, in the order of the digests.
    pub(super) fn place(self, count: usize) -> usize {
        // Below `count`, since `high` is below 2^64.
        ((u128::from(self.high) * count as u128) >> 64) as usize
    }

    /// One of `count` parts; of those in one of them, places are spread evenly.
    pub(super) fn part(self, count: usize) -> usize {
        (self.low % count as u64) as usize
    }
}

impl From<Hash128> for Digest {
    fn from(Hash128 { h1: high, h2: low }: Hash128) -> Self {
        Self { high, low }
    }
}

/// The digests of a text that grows.
pub(super) struct Digests(SipHasher13);

impl Digests {
    /// Begins with a text.
    pub(super) fn of(text: &str) -> Self {
        let mut digests = Self(*SECRET);
        digests.add(text);
        digests
    }

    /// Adds to the text.
    pub(super) fn add(&mut self, text: &str) {
        self.0.write(text.as_bytes());
    }

    /// The digest of the text so far.
    pub(super) fn last(&self) -> Digest {
        self.0.finish128().into()
    }
}
