//! How many further tries a site may make. Each request earns a part of one, and so does each
//! second; when members fail together, tries must not multiply what they are asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_config::Retries;

/// What a further try costs, in hundredths.
const PRICE: u64 = 100;

/// What seconds earn is held for so long.
const HELD: Duration = Duration::from_secs(10);

/// What requests earn is held up to so many tries.
const MOST_EARNED: u64 = 1000;

/// A site's budget of further tries.
#[derive(Debug)]
pub(crate) struct Budget {
    /// In hundredths of a try.
    earned: AtomicU64,
    seconds: Mutex<Seconds>,
}

/// What seconds have earned, in hundredths of a try.
#[derive(Debug)]
struct Seconds {
    held: u64,
    at: Instant,
}

impl Budget {
    /// Begins with what seconds may earn at most.
    pub(super) fn new(by: &Retries, now: Instant) -> Self {
        let held = most_of_seconds(by);
        Self { earned: AtomicU64::new(0), seconds: Mutex::new(Seconds { held, at: now }) }
    }

    /// A request, not counting its further tries.
    pub(super) fn earn(&self, by: &Retries) {
        // Two at once may pass the bound by one request's worth each.
        if self.earned.load(Ordering::Relaxed) < MOST_EARNED * PRICE {
            self.earned.fetch_add(u64::from(by.percent), Ordering::Relaxed);
        }
    }

    /// Pays for a further try; `false` where it cannot be afforded.
    pub(super) fn spend(&self, by: &Retries, now: Instant) -> bool {
        self.spend_earned() || self.spend_seconds(by, now)
    }

    fn spend_earned(&self) -> bool {
        let less = |earned: u64| earned.checked_sub(PRICE);
        self.earned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn spend_seconds(&self, by: &Retries, now: Instant) -> bool {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(seconds.at).min(HELD).as_millis() as u64;
        let earned = passed * u64::from(by.per_second) * PRICE / 1000;
        if earned > 0 {
            seconds.held = (seconds.held + earned).min(most_of_seconds(by));
            seconds.at = now;
        }
        let left = seconds.held.checked_sub(PRICE);
        seconds.held = left.unwrap_or(seconds.held);
        left.is_some()
    }
}

fn most_of_seconds(by: &Retries) -> u64 {
    u64::from(by.per_second) * PRICE * HELD.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn retries(percent: u32, per_second: u32) -> Retries {
        Retries { most: 1, percent, per_second }
    }

    #[test]
    fn a_share_of_requests_may_be_tried_again() {
        let (by, now) = (retries(20, 0), Instant::now());
        let budget = Budget::new(&by, now);
        assert!(!budget.spend(&by, now));
        for _ in 0..100 {
            budget.earn(&by);
        }
        assert_eq!((0..100).filter(|_| budget.spend(&by, now)).count(), 20);
    }

    #[test]
    fn some_a_second_may_be_tried_again_whatever_the_number_of_requests() {
        let (by, start) = (retries(0, 3), Instant::now());
        let budget = Budget::new(&by, start);
        let tries = |now| (0..1000).filter(|_| budget.spend(&by, now)).count();
        assert_eq!(tries(start), 30, "what ten seconds hold");
        assert_eq!(tries(start), 0);
        assert_eq!(tries(start + Duration::from_secs(2)), 6);
        assert_eq!(tries(start + Duration::from_secs(3600)), 30, "no more is held");
    }

    proptest! {
        #[test]
        fn never_more_than_the_budget(
            percent in 0u32..=100,
            per_second in 0u32..50,
            steps in prop::collection::vec((0u64..50, 0usize..20, 0usize..20), 1..50),
        ) {
            let (by, start) = (retries(percent, per_second), Instant::now());
            let budget = Budget::new(&by, start);
            let (mut now, mut requests, mut spent) = (start, 0u64, 0u64);
            for (millis, asked, tries) in steps {
                now += Duration::from_millis(millis);
                for _ in 0..asked {
                    budget.earn(&by);
                    requests += 1;
                }
                spent += (0..tries).filter(|_| budget.spend(&by, now)).count() as u64;
            }
            let seconds = now.duration_since(start).as_secs_f64() + 10.0;
            let most = requests as f64 * f64::from(percent) / 100.0
                + seconds * f64::from(per_second);
            prop_assert!(spent as f64 <= most);
        }
    }
}
