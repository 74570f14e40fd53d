//! Age and freshness (RFC 9111 §4.2), computed once at store time into a few integers so that a
//! hit compares numbers.

pub(crate) mod age;
pub mod date;
pub(crate) mod lifetime;

use crate::time::Time;

/// When a stored response is fresh, and for how long after that it may be served stale.
///
/// Copy and small on purpose: a lookup needs nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The time at which the response had age 0: that of its arrival, by the clock that lookups read,
    /// minus corrected_initial_age (RFC 9111 §4.2.3).
    pub born: Time,
    /// freshness_lifetime (§4.2.1) in seconds, after caps.
    pub lifetime: u32,
    /// Seconds past the lifetime in which it may be served while it is refreshed (RFC 5861 §3).
    pub stale_while_revalidate: u32,
    /// Seconds past the lifetime in which it may be served when the origin fails (RFC 5861 §4, or
    /// the site's own setting).
    pub stale_if_error: u32,
    /// Never served without successful validation, even when fresh: `no-cache` (§5.2.2.4).
    pub validate_always: bool,
    /// Never served stale (§4.2.4): must-revalidate, proxy-revalidate, s-maxage, or a lifetime of 0
    /// that the response gives itself.
    pub validate_when_stale: bool,
    /// `immutable` (RFC 8246): a client's reload does not validate it while fresh.
    pub immutable: bool,
}

/// What a lookup may do with a stored response now. Seconds are whole, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Fresh: serve it. `left` is the rest of its lifetime in seconds (may be 0 within the last).
    Fresh {
        /// Seconds of freshness left.
        left: u32,
    },
    /// Stale, inside stale-while-revalidate: serve it and refresh in the background.
    Refreshable {
        /// Seconds past the lifetime.
        past: u32,
    },
    /// Stale: validate or fetch first; when that fails, `on_error` says whether it may be served.
    Stale {
        /// Seconds past the lifetime.
        past: u32,
        /// Within stale-if-error.
        on_error: bool,
    },
}

impl Freshness {
    /// current_age in whole seconds (RFC 9111 §4.2.3), at most 2^31.
    pub fn age(&self, now: Time) -> u32 {
        u32::try_from(now.millis_since(self.born) / 1000).unwrap_or(1 << 31).min(1 << 31)
    }

    /// What may be done with the response at `now`.
    pub fn state(&self, now: Time) -> State {
        let age = now.millis_since(self.born);
        let lifetime = millis(self.lifetime);
        // RFC 9111 §4.2: fresh while the lifetime is longer than the age. §5.2.2.4: no-cache does
        // not let freshness count.
        if age < lifetime && !self.validate_always {
            return State::Fresh { left: seconds(lifetime - age) };
        }
        let past = age.saturating_sub(lifetime);
        // RFC 9111 §4.2.4: no stale response where a directive prohibits it; who makes the windows
        // leaves them shut then.
        let may_be_stale = !self.validate_always;
        if may_be_stale && past < millis(self.stale_while_revalidate) {
            // RFC 5861 §3.
            return State::Refreshable { past: seconds(past) };
        }
        // RFC 5861 §4.
        let on_error = may_be_stale && past < millis(self.stale_if_error);
        State::Stale { past: seconds(past), on_error }
    }

    /// Whether the response is never used without a successful validation: `no-cache`
    /// (RFC 9111 §5.2.2.4), or a lifetime of 0 without stale-while-revalidate.
    pub fn validates_each_use(&self) -> bool {
        self.validate_always || (self.lifetime == 0 && self.stale_while_revalidate == 0)
    }

    /// Whether the response is fresh and in the last tenth of its lifetime (early refresh).
    /// Lifetimes under 10 s are never refreshed early.
    pub fn in_last_tenth(&self, now: Time) -> bool {
        let lifetime = millis(self.lifetime);
        let age = now.millis_since(self.born);
        self.lifetime >= 10
            && !self.validate_always
            && age < lifetime
            && (lifetime - age) * 10 <= lifetime
    }
}

fn millis(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

/// Whole seconds, at most what fits.
fn seconds(millis: u64) -> u32 {
    u32::try_from(millis / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIXTY: Freshness = Freshness {
        born: Time::from_secs(1000),
        lifetime: 60,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        validate_always: false,
        validate_when_stale: false,
        immutable: false,
    };

    fn at(freshness: Freshness, seconds: u64) -> State {
        freshness.state(Time::from_secs(1000 + seconds))
    }

    #[test]
    fn fresh_until_the_lifetime_is_over() {
        assert_eq!(at(SIXTY, 0), State::Fresh { left: 60 });
        assert_eq!(at(SIXTY, 59), State::Fresh { left: 1 });
        assert_eq!(SIXTY.state(Time::from_millis(1_059_999)), State::Fresh { left: 0 });
        assert_eq!(at(SIXTY, 60), State::Stale { past: 0, on_error: false });
        assert_eq!(SIXTY.state(Time::from_secs(5)), State::Fresh { left: 60 });
    }

    #[test]
    fn stale_serving_has_two_windows() {
        let both = Freshness { stale_while_revalidate: 10, stale_if_error: 30, ..SIXTY };
        assert_eq!(at(both, 69), State::Refreshable { past: 9 });
        assert_eq!(at(both, 70), State::Stale { past: 10, on_error: true });
        assert_eq!(at(both, 90), State::Stale { past: 30, on_error: false });
    }

    #[test]
    fn directives_forbid_stale_and_even_fresh_use() {
        let windows = Freshness { stale_while_revalidate: 10, stale_if_error: 30, ..SIXTY };
        let shut = Freshness { validate_when_stale: true, ..SIXTY };
        assert_eq!(at(shut, 59), State::Fresh { left: 1 });
        assert_eq!(at(shut, 61), State::Stale { past: 1, on_error: false });
        // Opened by the response itself, against what s-maxage implies.
        let opened = Freshness { validate_when_stale: true, ..windows };
        assert_eq!(at(opened, 61), State::Refreshable { past: 1 });
        let always = Freshness { validate_always: true, ..windows };
        assert_eq!(at(always, 1), State::Stale { past: 0, on_error: false });
    }

    #[test]
    fn some_responses_are_validated_before_each_use() {
        let none = Freshness { lifetime: 0, ..SIXTY };
        assert!(!SIXTY.validates_each_use());
        assert!(none.validates_each_use());
        assert!(Freshness { stale_if_error: 9, ..none }.validates_each_use());
        assert!(!Freshness { stale_while_revalidate: 9, ..none }.validates_each_use());
        assert!(Freshness { validate_always: true, ..SIXTY }.validates_each_use());
    }

    #[test]
    fn the_last_tenth_belongs_to_long_lifetimes() {
        assert!(!SIXTY.in_last_tenth(Time::from_secs(1053)));
        assert!(SIXTY.in_last_tenth(Time::from_secs(1054)));
        assert!(!SIXTY.in_last_tenth(Time::from_secs(1060)));
        let short = Freshness { lifetime: 9, ..SIXTY };
        assert!(!short.in_last_tenth(Time::from_millis(1_008_900)));
        let always = Freshness { validate_always: true, ..SIXTY };
        assert!(!always.in_last_tenth(Time::from_secs(1055)));
    }
}
