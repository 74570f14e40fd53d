//! How often keys were requested lately, about: a count-min sketch of four-bit counts, which are halved as time goes
//! by, so that what was popular once gives way (TinyLFU, Einziger et al., 2017).
//!
//! Requests count without a lock: a count that is lost because two threads add at once does no harm. A key's four
//! counts are in one line of the processor's cache. A count that is full is not written: what is requested most costs
//! reads alone.

use super::Digest;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a store for each word of counts: a word serves the requests for up to about four values.
const BYTES_PER_WORD: u64 = 4_096;

/// Blocks at most: a GiB of counts.
const MOST_BLOCKS: u64 = 1 << 24;

/// Words of a block, which is a line of the processor's cache.
const BLOCK: usize = 8;

/// Counts for each key, of which the least holds.
const COUNTS: usize = 4;

/// The highest count.
const MOST: u64 = 15;

/// What is left of each count of a word when the word is shifted right.
const HALVED: u64 = 0x7777_7777_7777_7777;

/// Additions are gathered in so many places, so that threads seldom meet.
const PLACES: usize = 16;

/// Additions of a place at which counts are halved.
const STEP: u32 = 16;

/// Parts of a block in which the hand moves.
const PARTS: u64 = 1 << 16;

/// Additions for each value held, in the course of which all counts are halved once.
const PERIOD: u64 = 16;

/// Values held, at least, as far as that is concerned.
const LEAST: u64 = 64;

/// See the module.
pub(super) struct Sketch {
    blocks: Box<[Block]>,
    added: [Place; PLACES],
    /// Where counts are halved next, in parts of a block.
    hand: AtomicU64,
    /// What the hand moves in a step, in the same.
    pace: AtomicU64,
}

#[derive(Default)]
#[repr(align(64))]
struct Block([AtomicU64; BLOCK]);

#[derive(Default)]
#[repr(align(64))]
struct Place(AtomicU32);

impl Sketch {
    /// That of a store of so many bytes; nothing is counted yet.
    pub(super) fn new(size: u64) -> Self {
        let blocks =
            (size / BYTES_PER_WORD / BLOCK as u64).clamp(8, MOST_BLOCKS).next_power_of_two();
        let sketch = Self {
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            added: std::array::from_fn(|_| Place::default()),
            hand: AtomicU64::new(0),
            pace: AtomicU64::new(0),
        };
        sketch.serve(0);
        sketch
    }

    /// Bytes that the counts take.
    pub(super) fn bytes(&self) -> u64 {
        size_of_val(&*self.blocks) as u64
    }

    /// Sets for how many values it counts: the more there are, the longer counts last.
    pub(super) fn serve(&self, values: u64) {
        let period = values.max(LEAST) * PERIOD;
        let pace = self.blocks.len() as u64 * PARTS * u64::from(STEP) / period;
        self.pace.store(pace, Ordering::Relaxed);
    }

    /// Counts a request.
    pub(super) fn count(&self, digest: Digest) {
        let hash = spread(digest);
        let mut is_added = false;
        for (word, shift) in self.counts(hash) {
            let counts = word.load(Ordering::Relaxed);
            if counts >> shift & MOST < MOST {
                word.store(counts + (1 << shift), Ordering::Relaxed);
                is_added = true;
            }
        }
        if is_added {
            let added = &self.added[hash as usize % PLACES].0;
            let before = added.load(Ordering::Relaxed);
            added.store(before.wrapping_add(1), Ordering::Relaxed);
            if before % STEP == STEP - 1 {
                self.age();
            }
        }
    }

    /// How often a key was requested lately, from 0 to 15.
    pub(super) fn frequency(&self, digest: Digest) -> u32 {
        let counts = self.counts(spread(digest));
        let counts = counts.map(|(word, shift)| word.load(Ordering::Relaxed) >> shift & MOST);
        // Truncation is meant: a count has four bits.
        counts.into_iter().min().unwrap_or(0) as u32
    }

    /// The words in which a key's counts are, and where in them.
    fn counts(&self, hash: u64) -> [(&AtomicU64, u32); COUNTS] {
        let Block(words) = &self.blocks[hash as usize & (self.blocks.len() - 1)];
        std::array::from_fn(|row| {
            // Five bits for each count: one of two words, and one of sixteen counts.
            let bits = hash >> (40 + 5 * row);
            (&words[2 * row + (bits & 1) as usize], 4 * (bits >> 1 & 15) as u32)
        })
    }

    /// Halves the counts that the hand passes in a step.
    fn age(&self) {
        let pace = self.pace.load(Ordering::Relaxed);
        let from = self.hand.fetch_add(pace, Ordering::Relaxed);
        // More than all would halve some of them twice.
        let passed = (from / PARTS..from.wrapping_add(pace) / PARTS).take(self.blocks.len());
        for number in passed {
            let Block(words) = &self.blocks[number as usize & (self.blocks.len() - 1)];
            for word in words {
                word.store(word.load(Ordering::Relaxed) >> 1 & HALVED, Ordering::Relaxed);
            }
        }
    }
}

/// The bits of a digest, spread: those of a simulation's keys are not.
fn spread(digest: Digest) -> u64 {
    let hash = (digest as u64 ^ (digest >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_counts_once_up_to_fifteen() {
        let sketch = Sketch::new(1 << 24);
        for times in 0..20 {
            assert_eq!(sketch.frequency(7), times.min(15));
            sketch.count(7);
        }
        assert_eq!(sketch.frequency(8), 0);
    }

    #[test]
    fn keys_seldom_share_all_counts() {
        let sketch = Sketch::new(1 << 24);
        sketch.serve(1 << 20);
        (0..4_096).for_each(|digest| sketch.count(digest));
        let wrong = (0..4_096).filter(|digest| sketch.frequency(*digest) != 1).count();
        assert!(wrong < 100, "{wrong}");
    }

    #[test]
    fn what_is_requested_no_more_is_forgotten() {
        let sketch = Sketch::new(1 << 20);
        (0..15).for_each(|_| sketch.count(7));
        // All counts are halved once in 1,024 additions, and up to 240 were not looked at yet.
        (100..1_400).for_each(|digest| sketch.count(digest));
        assert!((3..=8).contains(&sketch.frequency(7)), "{}", sketch.frequency(7));
        (2_000..10_000).for_each(|digest| sketch.count(digest));
        assert!(sketch.frequency(7) <= 3, "{}", sketch.frequency(7));
    }

    #[test]
    fn the_more_values_there_are_the_longer_counts_last() {
        let sketch = Sketch::new(1 << 24);
        sketch.serve(10_000);
        (0..15).for_each(|_| sketch.count(7));
        for digest in 100..100 + 5_000 {
            sketch.count(digest);
        }
        // Of 160,000 additions that halve all counts, less than a thirtieth.
        let halved = sketch.hand.load(Ordering::Relaxed) / PARTS;
        assert!(halved <= sketch.blocks.len() as u64 / 30, "{halved}");
    }
}
