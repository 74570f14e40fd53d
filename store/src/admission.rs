//! What is worth being written. Most responses are never asked for again: storing only what is asked
//! for a second time saves most of the writes, and the room for what is.

use crate::format::mixed;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Which responses are admitted to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admit {
    /// All of them.
    All,
    /// Those asked for a second time within a window, and those that must be kept.
    #[default]
    Second,
}

/// Bits of a filter for each URL of the window.
const BITS_EACH: usize = 8;

/// Bits that a URL sets.
const PROBES: u32 = 4;

/// Remembers which URLs were asked for lately, in two filters that take turns: at least as many URLs
/// as the window says, at most twice as many. One in 40 that was not asked for is taken for one that
/// was, at most.
pub struct Admission {
    admit: Admit,
    window: u32,
    filters: [Box<[AtomicU64]>; 2],
    /// The one that is filled; the other one is full, or empty.
    current: AtomicUsize,
    noted: AtomicU32,
    turn: Mutex<()>,
}

impl Admission {
    /// Bounds of a window, in URLs.
    pub const WINDOW: std::ops::RangeInclusive<u32> = 1024..=1 << 28;

    /// An admission with a window of so many URLs, brought into [`Admission::WINDOW`]. It takes 2 bytes
    /// of memory for each, rounded up to a power of two, and nothing if all are admitted.
    pub fn new(admit: Admit, window: u32) -> Self {
        let window = window.clamp(*Self::WINDOW.start(), *Self::WINDOW.end());
        let words = match admit {
            Admit::All => 0,
            Admit::Second => (window as usize * BITS_EACH).next_power_of_two() / 64,
        };
        let filter = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Self {
            admit,
            window,
            filters: [filter(), filter()],
            current: AtomicUsize::new(0),
            noted: AtomicU32::new(0),
            turn: Mutex::new(()),
        }
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.filters.iter().map(|filter| filter.len() * 8).sum()
    }

    /// Whether a response that was fetched is admitted; its URL is noted. To be asked once for each
    /// fetch. One that must be kept, because nothing else keeps it, always is.
    pub fn admits(&self, url: u64, must_be_kept: bool) -> bool {
        match self.admit {
            Admit::All => true,
            Admit::Second => self.was_noted(url) || must_be_kept,
        }
    }

    /// Whether a URL was noted within the window. Notes it.
    fn was_noted(&self, url: u64) -> bool {
        let current = self.current.load(Ordering::Relaxed);
        let (this, other) = (&self.filters[current], &self.filters[1 - current]);
        let is_in_other = probes(url, other.len())
            .all(|(word, bit)| other[word].load(Ordering::Relaxed) & bit > 0);
        let mut is_in_this = true;
        for (word, bit) in probes(url, this.len()) {
            is_in_this &= this[word].fetch_or(bit, Ordering::Relaxed) & bit > 0;
        }
        if !is_in_this && self.noted.fetch_add(1, Ordering::Relaxed) + 1 >= self.window {
            self.take_turns(current);
        }
        is_in_this || is_in_other
    }

    fn take_turns(&self, current: usize) {
        // Whoever comes meanwhile goes on with the full one.
        let Ok(_turn) = self.turn.try_lock() else { return };
        if self.current.load(Ordering::Relaxed) == current {
            let next = 1 - current;
            self.filters[next].iter().for_each(|word| word.store(0, Ordering::Relaxed));
            self.noted.store(0, Ordering::Relaxed);
            self.current.store(next, Ordering::Relaxed);
        }
    }
}

/// The words and bits of a URL in a filter of so many words, a power of two.
fn probes(url: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let (first, step) = (mixed(url), mixed(!url) | 1);
    (0..PROBES).map(move |probe| {
        let bit = first.wrapping_add(step.wrapping_mul(u64::from(probe))) >> 8;
        ((bit / 64) as usize & (words - 1), 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_request_within_the_window_is_admitted() {
        let admission = Admission::new(Admit::Second, 10_000);
        assert!(!admission.admits(7, false));
        assert!(admission.admits(7, false));
        assert!(admission.admits(7, false), "and those after it");
        // At most one in 40 of those that nobody asked for yet is taken for one that was.
        let wrong = (100..5100).filter(|url| admission.admits(*url, false)).count();
        assert!(wrong < 5000 / 40, "{wrong}");
        assert!((100..5100).all(|url| admission.admits(url, false)), "all are remembered");
        // Twice the window later it is forgotten.
        (10_000..40_000).for_each(|url| {
            admission.admits(url, false);
        });
        assert!(!admission.admits(7, false));
    }

    #[test]
    fn what_must_be_kept_is_admitted_and_so_is_all_where_all_is() {
        let second = Admission::new(Admit::Second, 1024);
        assert!(second.admits(1, true));
        assert!(second.admits(1, false), "it was noted");
        let all = Admission::new(Admit::All, 1 << 20);
        assert!(all.admits(1, false));
        assert_eq!(all.bytes(), 0);
    }

    #[test]
    fn its_memory_has_a_bound() {
        for window in [0, 1024, 100_000, 1 << 20] {
            let admission = Admission::new(Admit::Second, window);
            let bound = 2 * (window.max(1024) as usize).next_power_of_two();
            (0..200_000).for_each(|url| {
                admission.admits(url, false);
            });
            assert_eq!(admission.bytes(), bound, "{window}");
        }
        assert_eq!(Admission::new(Admit::Second, u32::MAX).bytes(), 2 << 28);
    }
}
