//! How often a stored response was sent, and whether somebody refreshes it: one integer, since
//! every stored response pays for it.

use std::sync::atomic::{AtomicU32, Ordering};

/// The lowest bit says whether a refresh was begun, the others count.
#[derive(Debug, Default)]
pub(crate) struct Served(AtomicU32);

impl Served {
    /// Sent so many times already, and not being refreshed.
    pub(crate) fn already(times: u32) -> Self {
        Self(AtomicU32::new(times << 1))
    }

    /// Counts one answer from the store. Past 2^31 - 1 the count begins again.
    pub(crate) fn count(&self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }

    /// Answers from the store.
    pub(crate) fn times(&self) -> u32 {
        self.0.load(Ordering::Relaxed) >> 1
    }

    /// Whether the caller is the first to begin a refresh ahead of its end.
    pub(crate) fn begin_refresh(&self) -> bool {
        self.0.fetch_or(1, Ordering::Relaxed) & 1 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_and_refreshing_do_not_touch_each_other() {
        let served = Served::already(u32::MAX >> 1);
        assert!(served.begin_refresh());
        served.count();
        assert_eq!(served.times(), 0, "the count begins again");
        assert!(!served.begin_refresh(), "one refresh is enough");
        served.count();
        assert_eq!(served.times(), 1);
    }
}
