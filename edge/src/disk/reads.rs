//! How long the devices took for the last reads: the counts of a store are since it was opened, and hide how it is now.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_store::Latency;

/// The last reads are those of at least so long, and of less than twice that where somebody asks as often.
const WINDOW: Duration = Duration::from_secs(10);

/// What was counted at two times in the past.
#[derive(Debug)]
pub(super) struct RecentReads(Mutex<[(Instant, Latency); 2]>);

impl RecentReads {
    /// Nothing was counted before `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new([(now, Latency::default()); 2]))
    }

    /// The last of what was counted in all.
    pub(super) fn of(&self, counted: &Latency, now: Instant) -> Latency {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [_, (last, _)] = *seen;
        if now.saturating_duration_since(last) >= WINDOW {
            seen[0] = seen[1];
            seen[1] = (now, *counted);
        }
        counted.since(&seen[0].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_two_windows_is_not_among_the_last() {
        let begun = Instant::now();
        let reads = RecentReads::new(begun);
        let counted = Latency::of([Duration::from_millis(5), Duration::from_millis(5)]);
        let after = |seconds| reads.of(&counted, begun + Duration::from_secs(seconds)).count();
        assert_eq!([1, 9, 10, 19].map(after), [2, 2, 2, 2]);
        assert_eq!([20, 21].map(after), [0, 0]);
    }
}
