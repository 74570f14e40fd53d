//! A point in time as the rules see it: an argument, never read from a clock here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, UTC. Saturates at both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// A time `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// A time `secs` seconds after the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// How long after `earlier` this is, in milliseconds; 0 when it is not after it.
    pub const fn millis_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time moved later by `millis` milliseconds.
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// This time moved earlier by `millis` milliseconds.
    pub const fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    /// The time an HTTP-date names, in any of the three forms of RFC 9110 §5.6.7, or `None`.
    pub fn from_http_date(text: &str) -> Option<Self> {
        httpdate::parse_http_date(text).ok().map(Self::from)
    }

    /// This time as an IMF-fixdate (RFC 9110 §5.6.7), sub-second part dropped.
    pub fn to_http_date(self) -> String {
        // httpdate panics past year 9999; clamp to its last second.
        const LAST: u64 = 253_402_300_799;
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.as_secs().min(LAST)))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Time = Time::from_secs(784_111_777);

    #[test]
    fn all_three_forms_of_a_date_are_one_time() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(Time::from_http_date(text), Some(NOON), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "0", "-1", "Sun, 06 Nov 1994 08:49:37", "Sun, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(Time::from_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_written_as_fixed_length() {
        assert_eq!(NOON.plus_millis(999).to_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(Time::default().to_http_date(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(Time::from_millis(u64::MAX).to_http_date(), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn both_ends_saturate() {
        let last = Time::from_millis(u64::MAX);
        assert_eq!(Time::from_secs(u64::MAX), last);
        assert_eq!(last.plus_millis(1), last);
        assert_eq!(Time::default().minus_millis(1), Time::default());
        assert_eq!(Time::default().millis_since(last), 0);
        assert_eq!(last.millis_since(Time::default()), u64::MAX);
        assert_eq!(Time::from_millis(1999).as_secs(), 1);
    }

    #[test]
    fn a_clock_before_the_epoch_is_the_epoch() {
        assert_eq!(Time::from(UNIX_EPOCH - Duration::from_secs(1)), Time::default());
        assert_eq!(Time::from(UNIX_EPOCH + Duration::from_millis(1500)).as_millis(), 1500);
    }
}
