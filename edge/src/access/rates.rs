//! How many requests a client may make: for each `rate` of a site, the counts of client prefixes and, if it says
//! so, of the values of a header or a cookie.

use governor::clock::{Clock, DefaultClock};
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use http::HeaderMap;
use moka::sync::Cache;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use weir_rules::access::rate::{Count, Rate};
use weir_rules::client_share::Prefix;

/// The counts of one `rate`.
pub(crate) struct Rates {
    rate: Rate,
    most: u64,
    /// Of the values of the header or the cookie, or of prefixes if there is neither.
    by_value: Limiter,
    /// Of prefixes, whatever values they send.
    by_prefix: Option<Limiter>,
    hasher: RandomState,
}

type Limiter = RateLimiter<u64, Counts, DefaultClock>;

impl Rates {
    /// Nothing counted yet; at most so many values and prefixes each are told apart.
    pub(crate) fn new(rate: &Rate, most: u64) -> Self {
        let limiter = |count: Count| {
            RateLimiter::new(quota(count), Counts::new(count, most), DefaultClock::default())
        };
        Self {
            by_value: limiter(rate.count),
            by_prefix: rate.by.is_some().then(|| limiter(rate.client)),
            hasher: RandomState::new(),
            rate: rate.clone(),
            most,
        }
    }

    /// Whether they are the counts of this rate, with this bound.
    pub(crate) fn are_of(&self, rate: &Rate, most: u64) -> bool {
        self.rate == *rate && self.most == most
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// It is one too many; seconds until there may be another, rounded up.
    pub(crate) fn take(&self, client: Prefix, request: &HeaderMap) -> Result<(), u32> {
        let prefix = self.hasher.hash_one(client);
        let Some(by_prefix) = &self.by_prefix else { return take(&self.by_value, prefix) };
        take(by_prefix, prefix)?;
        match self.rate.value(request) {
            // Told apart from prefixes.
            Some(value) => take(&self.by_value, self.hasher.hash_one((1, value))),
            None => take(&self.by_value, prefix),
        }
    }
}

fn take(limiter: &Limiter, key: u64) -> Result<(), u32> {
    limiter.check_key(&key).map_err(|early| {
        let wait = early.wait_time_from(DefaultClock::default().now());
        u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
    })
}

fn quota(count: Count) -> Quota {
    let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let each = Duration::from_millis(count.per.into()) / count.requests.max(1);
    let quota = Quota::with_period(each.max(Duration::from_nanos(1)));
    quota.unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(number(count.burst))
}

/// What is counted under each key. Bounded: those seen most stay. A key is forgotten once it may burst again.
struct Counts(Cache<u64, Arc<InMemoryState>>);

impl Counts {
    fn new(count: Count, most: u64) -> Self {
        let refilled =
            u64::from(count.per) * u64::from(count.burst) / u64::from(count.requests.max(1));
        let idle = Duration::from_millis(refilled.max(1000));
        Self(Cache::builder().max_capacity(most).time_to_idle(idle).build())
    }
}

impl StateStore for Counts {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<governor::nanos::Nanos>) -> Result<(T, governor::nanos::Nanos), E>,
    {
        let state = self.0.get_with(*key, Arc::default);
        state.measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rates").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use weir_rules::access::rate::By;

    /// So slow that no test sees a second one come.
    const fn count(burst: u32) -> Count {
        Count { requests: 1, per: 3_600_000, burst }
    }

    fn prefix(last: u8) -> Prefix {
        Prefix::of([192, 0, 2, last].into())
    }

    fn taken(rates: &Rates, client: u8, request: &HeaderMap) -> u32 {
        (0..100).filter(|_| rates.take(prefix(client), request).is_ok()).count() as u32
    }

    #[test]
    fn each_prefix_may_burst() {
        let rates = Rates::new(&Rate { count: count(3), client: count(30), by: None }, 1000);
        let request = HeaderMap::new();
        assert_eq!((taken(&rates, 1, &request), taken(&rates, 2, &request)), (3, 3));
        let wait = rates.take(prefix(1), &request).unwrap_err();
        assert!((3500..=3600).contains(&wait), "{wait}");
    }

    #[test]
    fn values_are_the_clients_choice_so_that_its_prefix_counts_too() {
        let by = Some(By::Header(http::HeaderName::from_static("x-api-key")));
        let rates = Rates::new(&Rate { count: count(3), client: count(8), by }, 1000);
        let of = |value: &str| {
            HeaderMap::from_iter([(
                "x-api-key".parse().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )])
        };
        assert_eq!(taken(&rates, 1, &of("a")), 3);
        // That it was asked for in vain counts for the prefix.
        assert_eq!(taken(&rates, 1, &of("b")), 0);
        assert_eq!(taken(&rates, 2, &of("a")), 0, "a value is one, wherever it comes from");
        assert_eq!(taken(&rates, 3, &of("b")), 3);
        assert_eq!(taken(&rates, 4, &HeaderMap::new()), 3, "without one it is the prefix");
        let many: u32 = (0..100)
            .map(|n| {
                let request = of(&n.to_string());
                u32::from(rates.take(prefix(5), &request).is_ok())
            })
            .sum();
        assert_eq!(many, 8);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let rates = Rates::new(&Rate { count: count(3), client: count(30), by: None }, 100);
        for n in 0..5000_u32 {
            let _ = rates.take(Prefix::of(std::net::IpAddr::V4(n.into())), &HeaderMap::new());
        }
        let counts = rates.by_value.into_state_store();
        counts.0.run_pending_tasks();
        assert!(counts.0.entry_count() <= 100);
    }
}
