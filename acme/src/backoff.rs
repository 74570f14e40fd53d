//! How long to wait after a failure. CAs bound what they take: Let's Encrypt refuses a host after five failed
//! validations within an hour.

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The CA gave no answer, or said that it cannot work now. It concerns all hosts.
    Unavailable {
        /// What Retry-After said, milliseconds.
        retry_after: Option<u64>,
    },
    /// The CA takes no more for now: 429, or the error `rateLimited` (RFC 8555 §6.6).
    Limited {
        /// What Retry-After said, milliseconds.
        retry_after: Option<u64>,
    },
    /// The order of this host came to nothing.
    Refused,
}

/// Longest waits, milliseconds.
const HOUR: u64 = 3_600_000;
const LONGEST: u64 = 6 * HOUR;
const LONGEST_RETRY_AFTER: u64 = 7 * 24 * HOUR;

/// Waits that follow from a failure, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Of the host that failed.
    pub host: u64,
    /// Of all hosts.
    pub all: u64,
}

/// The waits after the `failures`th failure in a row, counted from 1, of the host or, where the CA is
/// unavailable, of the CA. `first` is the wait after the first one, milliseconds; a random `jitter` (0 to 1)
/// makes waits longer by up to a tenth.
///
/// A host's second try comes soon, because it proves the name in another way; later ones take ten times `first`
/// and double up to six hours. Where the CA is unavailable, waits double up to an hour. What Retry-After says is
/// kept to for up to a week by the host that it was said to, and for up to an hour by others.
pub fn waits(failure: &Failure, failures: u32, first: u64, jitter: f64) -> Waits {
    let jittered = |wait: u64| wait + (wait as f64 / 10.0 * jitter.clamp(0.0, 1.0)) as u64;
    let doubled = |wait: u64, times: u32, most: u64| {
        jittered(wait.saturating_mul(1 << times.min(20)).min(most.max(first)))
    };
    let own = match failures {
        0 | 1 => jittered(first),
        more => doubled(first.saturating_mul(10), more - 2, LONGEST),
    };
    let told = |retry_after: Option<u64>| retry_after.map(|told| told.min(LONGEST_RETRY_AFTER));
    match failure {
        Failure::Unavailable { retry_after } => {
            let wait = doubled(first, failures.saturating_sub(1), HOUR);
            let all = told(*retry_after).map_or(wait, |told| told.max(wait));
            Waits { host: all, all }
        }
        Failure::Limited { retry_after } => {
            let host = told(*retry_after).map_or(own, |told| told.max(own));
            Waits { host, all: told(*retry_after).unwrap_or(own).min(HOUR) }
        }
        Failure::Refused => Waits { host: own, all: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000;

    fn minutes(failure: &Failure) -> Vec<u64> {
        (1..=9).map(|failures| waits(failure, failures, MINUTE, 0.0).host / MINUTE).collect()
    }

    #[test]
    fn a_host_fails_less_than_five_times_in_an_hour() {
        assert_eq!(minutes(&Failure::Refused), [1, 10, 20, 40, 80, 160, 320, 360, 360]);
    }

    #[test]
    fn a_ca_that_is_unavailable_is_asked_every_hour_at_last() {
        let failure = Failure::Unavailable { retry_after: None };
        assert_eq!(minutes(&failure), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let told = Failure::Unavailable { retry_after: Some(3 * HOUR) };
        assert_eq!(waits(&told, 1, MINUTE, 0.0), Waits { host: 3 * HOUR, all: 3 * HOUR });
    }

    #[test]
    fn a_limit_is_kept_to_by_the_host_and_for_an_hour_by_all() {
        let told = |retry_after| Failure::Limited { retry_after: Some(retry_after) };
        let day = 24 * HOUR;
        assert_eq!(waits(&told(day), 1, MINUTE, 0.0), Waits { host: day, all: HOUR });
        assert_eq!(waits(&told(5000), 1, MINUTE, 0.0), Waits { host: MINUTE, all: 5000 });
        let year = waits(&told(365 * day), 1, MINUTE, 0.0);
        assert_eq!(year.host, 7 * day);
    }

    proptest! {
        #[test]
        fn waits_are_bounded_and_never_shorter_than_told(
            failures in 0_u32..,
            first in 1000_u64..=HOUR,
            jitter in 0.0..1.0,
            told in proptest::option::of(0_u64..1 << 50),
            kind in 0..3,
        ) {
            let failure = match kind {
                0 => Failure::Unavailable { retry_after: told },
                1 => Failure::Limited { retry_after: told },
                _ => Failure::Refused,
            };
            let waits = waits(&failure, failures, first, jitter);
            prop_assert!((first..=LONGEST_RETRY_AFTER).contains(&waits.host));
            if let (Some(told), 0 | 1) = (told, kind) {
                prop_assert!(waits.host >= told.min(LONGEST_RETRY_AFTER));
                prop_assert!(waits.all >= told.min(HOUR));
            }
        }
    }
}
