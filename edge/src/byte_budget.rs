//! A bounded number of bytes that many take from.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    used: AtomicU64,
    bound: u64,
}

impl ByteBudget {
    /// A budget of so many bytes, none of them taken.
    pub(crate) fn new(bound: u64) -> Self {
        Self { used: AtomicU64::new(0), bound }
    }

    /// Takes `bytes`; `false`, and nothing taken, where that would pass the bound.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bound;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that may be taken.
    pub(crate) fn bound(&self) -> u64 {
        self.bound
    }

    /// Bytes taken.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_no_more_than_it_has() {
        let budget = ByteBudget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        assert!(budget.take(4));
        budget.give_back(10);
        assert_eq!(budget.used(), 0);
    }
}
