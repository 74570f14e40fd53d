//! When a certificate is renewed.

use weir_rules::time::Time;

/// How long a certificate is valid (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// notBefore.
    pub begin: Time,
    /// notAfter.
    pub end: Time,
}

impl Validity {
    /// The point at which `share` of the lifetime is over.
    fn after(self, share: f64) -> Time {
        let lifetime = self.end.millis_since(self.begin) as f64;
        self.begin.plus_millis((lifetime * share) as u64)
    }
}

/// When a CA suggests to renew a certificate (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub start: Time,
    /// Its last.
    pub end: Time,
}

/// The share of a certificate's lifetime after which it is renewed, if the CA suggests nothing.
const SHARE: f64 = 2.0 / 3.0;

/// The share after which it is renewed whatever the CA suggests: failures need time, too.
const LATEST: f64 = 0.9;

/// The shortest and the longest time between two questions for a window, milliseconds (RFC 9773 §4.3).
const SHORTEST_PAUSE: u64 = 60_000;
const LONGEST_PAUSE: u64 = 86_400_000;

/// How long a CA that told nothing is not asked for windows, milliseconds.
pub const SILENCE: u64 = LONGEST_PAUSE / 4;

/// When a certificate is to be renewed: at a point of the CA's window, which `point` (0 to 1) chooses and which
/// is to stay the same for a certificate, else after two thirds of its lifetime.
pub fn renew_at(validity: Validity, window: Option<Window>, point: f64) -> Time {
    let suggested = window.map(|window| {
        let length = window.end.millis_since(window.start) as f64;
        window.start.plus_millis((length * point.clamp(0.0, 1.0)) as u64)
    });
    suggested.unwrap_or_else(|| validity.after(SHARE)).min(validity.after(LATEST))
}

/// How long to wait before the CA is asked for a window again: what it `said`, within bounds, milliseconds.
pub fn ask_again_after(said: u64) -> u64 {
    said.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

/// The point of a window for a certificate: its serial number, which is random (CA/B BR §7.1), as a share.
pub fn point_of(serial: &[u8]) -> f64 {
    let last = serial.iter().rev().take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    f64::from(last) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: u64 = 86_400;

    fn days(begin: u64, end: u64) -> Validity {
        Validity { begin: Time::from_secs(begin * DAY), end: Time::from_secs(end * DAY) }
    }

    #[test]
    fn without_a_window_it_is_two_thirds_of_the_lifetime() {
        for (validity, day) in [(days(10, 100), 70), (days(10, 16), 14)] {
            assert_eq!(renew_at(validity, None, 0.5).as_secs(), day * DAY);
        }
    }

    #[test]
    fn a_window_decides_also_if_it_is_over() {
        let window = |start, end| {
            Some(Window { start: Time::from_secs(start * DAY), end: Time::from_secs(end * DAY) })
        };
        assert_eq!(renew_at(days(0, 90), window(40, 50), 0.5).as_secs(), 45 * DAY);
        assert_eq!(renew_at(days(10, 90), window(1, 2), 0.0).as_secs(), DAY);
        assert_eq!(renew_at(days(0, 90), window(95, 99), 0.5).as_secs(), 81 * DAY, "too late");
    }

    #[test]
    fn the_pause_between_questions_is_bounded() {
        assert_eq!(ask_again_after(0), SHORTEST_PAUSE);
        assert_eq!(ask_again_after(u64::MAX), LONGEST_PAUSE);
        assert_eq!(ask_again_after(3_600_000), 3_600_000);
    }

    proptest! {
        #[test]
        fn a_certificate_is_renewed_before_it_ends(
            begin in 0_u64..1 << 42,
            lifetime in 1000_u64..1 << 38,
            window in proptest::option::of((0_u64..1 << 42, 0_u64..1 << 38)),
            serial in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let begin = Time::from_millis(begin);
            let validity = Validity { begin, end: begin.plus_millis(lifetime) };
            let window = window.map(|(start, length)| {
                let start = Time::from_millis(start);
                Window { start, end: start.plus_millis(length) }
            });
            let point = point_of(&serial);
            prop_assert!((0.0..=1.0).contains(&point));
            let at = renew_at(validity, window, point);
            prop_assert!(at < validity.end);
            if let Some(window) = window {
                prop_assert!(at <= window.end);
            }
        }
    }
}
