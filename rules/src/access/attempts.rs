//! Wrong credentials are throttled by client prefix: so many at once, and then one after the other.

use crate::client_share::Prefix;
use crate::time::Time;
use std::collections::HashMap;

/// Wrong credentials of one prefix at once, and how long it is until one more, milliseconds.
pub const BURST: u64 = 20;
/// See [`BURST`].
pub const EACH: u64 = 3000;

/// The prefixes of which wrong credentials came, at most a bounded number.
#[derive(Debug)]
pub struct Attempts {
    most: usize,
    /// When all wrong credentials of a prefix will be forgotten.
    failing: HashMap<Prefix, Time>,
}

impl Attempts {
    /// None so far; at most so many prefixes are remembered.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), failing: HashMap::new() }
    }

    /// Counts credentials that are about to be checked as wrong ones.
    ///
    /// # Errors
    /// They are one too many, and must not be checked; milliseconds until they may be.
    pub fn begin(&mut self, prefix: Prefix, now: Time) -> Result<(), u64> {
        let until = self.failing.get(&prefix).copied().unwrap_or(now).max(now);
        let counted = until.millis_since(now) + EACH;
        if counted > BURST * EACH {
            return Err(counted - BURST * EACH);
        }
        if self.failing.len() >= self.most && !self.failing.contains_key(&prefix) {
            self.make_room(now);
        }
        self.failing.insert(prefix, until.plus_millis(EACH));
        Ok(())
    }

    /// The credentials were right, or not checked after all: they do not count.
    pub fn was_right(&mut self, prefix: Prefix, now: Time) {
        if let Some(until) = self.failing.get_mut(&prefix) {
            *until = until.minus_millis(EACH);
            if *until <= now {
                self.failing.remove(&prefix);
            }
        }
    }

    /// Forgets prefixes whose wrong credentials are forgotten, or else the one with the fewest.
    fn make_room(&mut self, now: Time) {
        self.failing.retain(|_, until| *until > now);
        if self.failing.len() >= self.most {
            let first = self.failing.iter().min_by_key(|(_, until)| **until);
            let first = first.map(|(prefix, _)| *prefix);
            first.and_then(|first| self.failing.remove(&first));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn prefix(last: u32) -> Prefix {
        Prefix::of(std::net::IpAddr::V4((0xc000_0200 + last).into()))
    }

    #[test]
    fn a_prefix_with_many_wrong_credentials_has_to_wait() {
        let mut attempts = Attempts::new(10);
        let now = Time::from_secs(1000);
        for _ in 0..BURST {
            assert_eq!(attempts.begin(prefix(1), now), Ok(()));
        }
        assert_eq!(attempts.begin(prefix(1), now), Err(EACH));
        assert_eq!(attempts.begin(prefix(1), now.plus_millis(1000)), Err(2000));
        assert_eq!(attempts.begin(prefix(2), now), Ok(()), "others do not");
        assert_eq!(attempts.begin(prefix(1), now.plus_millis(EACH)), Ok(()));
        assert_eq!(attempts.begin(prefix(1), now.plus_millis(EACH)), Err(EACH));
    }

    #[test]
    fn right_credentials_do_not_count() {
        let mut attempts = Attempts::new(10);
        let now = Time::from_secs(1000);
        for _ in 0..10 * BURST {
            assert_eq!(attempts.begin(prefix(1), now), Ok(()));
            attempts.was_right(prefix(1), now);
        }
        assert!(attempts.failing.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_worst_stay() {
        let mut attempts = Attempts::new(100);
        let now = Time::from_secs(1000);
        for _ in 0..BURST {
            attempts.begin(prefix(0), now).unwrap();
        }
        for last in 1..1000 {
            attempts.begin(prefix(last), now).unwrap();
        }
        assert_eq!(attempts.failing.len(), 100);
        assert!(attempts.begin(prefix(0), now).is_err());
    }
}
