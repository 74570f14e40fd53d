//! How often a stored response was sent, whether it is being refreshed, and whether it was counted
//! for a purge: one integer, because every stored response has one.

use std::sync::atomic::{AtomicU32, Ordering};

/// Two bits, then the count.
#[derive(Debug, Default)]
pub(crate) struct Served(AtomicU32);

/// A refresh was begun.
const REFRESHED: u32 = 1;

/// A hard purge was counted for it.
const TAKEN: u32 = 2;

/// One answer.
const ONCE: u32 = 4;

impl Served {
    /// Sent `times` times already, and not being refreshed.
    pub(crate) fn already(times: u32) -> Self {
        Self(AtomicU32::new(times.wrapping_mul(ONCE)))
    }

    /// Counts one answer from the store. Past 2^30 - 1 the count begins again.
    pub(crate) fn count(&self) {
        self.0.fetch_add(ONCE, Ordering::Relaxed);
    }

    /// Answers from the store.
    pub(crate) fn times(&self) -> u32 {
        self.0.load(Ordering::Relaxed) / ONCE
    }

    /// Whether the caller is the first to begin a refresh before it becomes stale.
    pub(crate) fn begin_refresh(&self) -> bool {
        self.0.fetch_or(REFRESHED, Ordering::Relaxed) & REFRESHED == 0
    }

    /// Whether the caller is the first to count it for a hard purge.
    pub(crate) fn take(&self) -> bool {
        !self.is_taken() && self.0.fetch_or(TAKEN, Ordering::Relaxed) & TAKEN == 0
    }

    /// Whether it was counted for a hard purge.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TAKEN != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_refreshing_and_taking_do_not_touch_each_other() {
        let served = Served::already(u32::MAX >> 2);
        assert!(served.begin_refresh() && served.take());
        served.count();
        assert_eq!(served.times(), 0, "the count begins again");
        assert!(!served.begin_refresh(), "one refresh is enough");
        assert!(!served.take() && served.is_taken(), "one purge is enough");
        served.count();
        assert_eq!(served.times(), 1);
    }
}
