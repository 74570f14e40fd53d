//! The part of the store's bytes that it lends to bodies in flight.
//!
//! What is reserved for them is evicted before it is taken. It grows in steps, and shrinks about once a second to the
//! most that was taken meanwhile: were it given back with each body, each would displace what is stored anew, and
//! whatever came next would take that place unjudged.
//!
//! INVARIANT: whoever has taken bytes holds them within what is reserved.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(super) struct Loan {
    /// What the reserve grows by at least, bytes.
    step: u64,
    /// Bytes that bodies have.
    taken: AtomicU64,
    /// The most that they had lately.
    peak: AtomicU64,
    /// Bytes that values may not have. Changes only under the lock of what is held.
    reserved: AtomicU64,
}

impl Loan {
    /// Nothing lent of so many bytes.
    pub(super) fn new(size: u64) -> Self {
        let step = (size / 512).clamp(4 << 10, 1 << 20);
        let [taken, peak, reserved] = [const { AtomicU64::new(0) }; 3];
        Self { step, taken, peak, reserved }
    }

    /// Takes so many bytes. Whether they are reserved: else they are as soon as what is [`Loan::wanted`] was evicted.
    pub(super) fn take(&self, bytes: u64) -> bool {
        // Who takes adds first and looks at the reserve then, and `ease` does it the other way round: either the taker
        // sees the lower reserve, or what was taken is seen there.
        let taken = self.taken.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        self.peak.fetch_max(taken, Ordering::Relaxed);
        taken <= self.reserved.load(Ordering::SeqCst)
    }

    /// So many bytes are not used any more.
    pub(super) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// What has to be reserved for what is taken; never less than what is.
    pub(super) fn wanted(&self) -> u64 {
        self.in_steps(self.taken.load(Ordering::SeqCst)).max(self.reserved())
    }

    /// Bytes that values may not have.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::SeqCst)
    }

    /// So many bytes are reserved from now on: they are free.
    pub(super) fn reserve(&self, bytes: u64) {
        self.reserved.store(bytes, Ordering::SeqCst);
    }

    /// Reserves no more than was taken since the last call.
    pub(super) fn ease(&self) {
        let before = self.reserved();
        let peak = self.peak.swap(0, Ordering::Relaxed);
        self.reserve(self.in_steps(peak).min(before));
        let wanted = self.wanted();
        self.peak.fetch_max(self.taken.load(Ordering::SeqCst), Ordering::Relaxed);
        self.reserve(wanted.min(before));
    }

    fn in_steps(&self, bytes: u64) -> u64 {
        bytes.checked_next_multiple_of(self.step).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_follows_the_most_that_was_taken() {
        let loan = Loan::new(1 << 20);
        assert!(!loan.take(5_000));
        assert_eq!((loan.wanted(), loan.reserved()), (8 << 10, 0));
        loan.reserve(loan.wanted());
        assert!(loan.take(3_000) && !loan.take(1_000));
        loan.reserve(loan.wanted());
        loan.give_back(8_000);
        assert_eq!((loan.wanted(), loan.reserved()), (12 << 10, 12 << 10));
        // So much was taken since the last time.
        loan.ease();
        assert_eq!(loan.reserved(), 12 << 10);
        assert!(loan.take(4_000));
        loan.give_back(4_000);
        loan.ease();
        assert_eq!(loan.reserved(), 8 << 10);
        loan.give_back(1_000);
        loan.ease();
        loan.ease();
        assert_eq!((loan.reserved(), loan.wanted()), (0, 0));
    }

    #[test]
    fn what_is_taken_stays_reserved_however_long() {
        let loan = Loan::new(1 << 30);
        loan.take(3 << 20);
        loan.reserve(loan.wanted());
        (0..5).for_each(|_| loan.ease());
        assert_eq!(loan.reserved(), 3 << 20);
        // Another one is free without an eviction.
        loan.give_back(1 << 20);
        assert!(loan.take(1 << 20));
    }
}
