//! How many purges a second one caller may order: `control.rate` of them, and twice that at once.
//!
//! Bounded by the tokens of the configuration: only callers who were let in are counted.

use crate::errors::ApiError;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::{PoisonError, RwLock};

/// The rate of each caller.
#[derive(Debug)]
pub(crate) struct Rates {
    current: RwLock<Current>,
    clock: DefaultClock,
}

#[derive(Debug)]
struct Current {
    rate: u32,
    callers: DefaultKeyedRateLimiter<String>,
}

impl Rates {
    /// `rate` purges a second for each caller.
    pub(crate) fn new(rate: u32) -> Self {
        Self { current: RwLock::new(Current::new(rate)), clock: DefaultClock::default() }
    }

    /// Counts a purge of `caller`.
    ///
    /// # Errors
    /// 429 when it is one too many; it says when to try again.
    pub(crate) fn take(&self, caller: &str) -> Result<(), ApiError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.callers.check_key(&caller.to_owned()).map_err(|early| {
            let wait = early.wait_time_from(self.clock.now());
            let rate = current.rate;
            let message = format!("more than {rate} purges a second (control.rate)");
            ApiError::too_many(message, wait)
        })
    }

    /// Sets the rate from a reloaded configuration, and forgets who was recently quiet: it may be a
    /// token that is no more.
    pub(crate) fn set(&self, rate: u32) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.rate == rate {
            current.callers.retain_recent();
        } else {
            *current = Current::new(rate);
        }
    }
}

impl Current {
    fn new(rate: u32) -> Self {
        // The configuration has no rate of 0.
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let burst = number(rate.saturating_mul(2));
        let callers = RateLimiter::keyed(Quota::per_second(number(rate)).allow_burst(burst));
        Self { rate, callers }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use http::header::RETRY_AFTER;

    #[test]
    fn each_caller_may_burst_to_twice_its_rate() {
        let rates = Rates::new(1);
        for caller in ["ci", "deploy"] {
            assert!(rates.take(caller).is_ok() && rates.take(caller).is_ok());
            let refused = rates.take(caller).unwrap_err().into_response();
            assert_eq!(
                (refused.status().as_u16(), &refused.headers()[RETRY_AFTER]),
                (429, &"1".parse().unwrap())
            );
        }
    }

    #[test]
    fn a_reload_sets_the_rate_and_keeps_what_was_counted() {
        let rates = Rates::new(1);
        assert!(rates.take("ci").is_ok() && rates.take("ci").is_ok());
        rates.set(1);
        assert!(rates.take("ci").is_err());
        rates.set(2);
        assert!(rates.take("ci").is_ok());
    }
}
