//! How fast a client takes what is here for it.

use std::time::{Duration, Instant};

/// A client is judged by what it took in so long.
const JUDGED_OVER: Duration = Duration::from_secs(30);

/// What one client takes. Time during which nothing is here for it does not count.
#[derive(Debug)]
pub(super) struct Pace {
    /// Since when there has always been something to take, or an earlier judgement began.
    since: Instant,
    /// Bytes taken since then, and in the period before.
    taken: u64,
    before: Option<(Duration, u64)>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, taken: 0, before: None }
    }

    /// The client took bytes.
    pub(super) fn took(&mut self, bytes: u64, now: Instant) {
        let period = now.saturating_duration_since(self.since);
        if period >= JUDGED_OVER {
            self.before = Some((period, self.taken));
            (self.since, self.taken) = (now, 0);
        }
        self.taken += bytes;
    }

    /// The client has taken all that was here: it waits for the upstream.
    pub(super) fn caught_up(&mut self) {
        *self = Self::new(Instant::now());
    }

    /// Bytes a second, of a client that was slow to take them for [`JUDGED_OVER`] at least.
    pub(super) fn rate(&self, now: Instant) -> Option<u64> {
        let period = now.saturating_duration_since(self.since);
        let (before, taken) = self.before.unwrap_or_default();
        let whole = period + before;
        (whole >= JUDGED_OVER).then(|| {
            let bytes = u128::from(self.taken + taken) * 1000;
            u64::try_from(bytes / whole.as_millis().max(1)).unwrap_or(u64::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_client_is_judged_by_what_it_took_of_what_was_here() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.rate(start + 29 * SECOND), None, "too early");
        assert_eq!(pace.rate(start + 30 * SECOND), Some(0));
        // 4,096 bytes a second, in pieces.
        for second in (4..=120).step_by(4) {
            pace.took(16_384, start + second * SECOND);
        }
        let rate = pace.rate(start + 120 * SECOND).unwrap_or_default();
        assert!((3_800..=4_400).contains(&rate), "{rate}");
    }

    #[test]
    fn a_client_that_waits_for_its_upstream_is_not_slow() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.took(1, start + 100 * SECOND);
        pace.caught_up();
        assert_eq!(pace.rate(Instant::now() + 29 * SECOND), None);
    }
}
