//! The ranges of time that totals and the course of the traffic are of: those of the page.

use std::str::FromStr;
use std::time::Duration;

/// As the flag takes it, in words, and its length.
const RANGES: [(&str, &str, Duration); 5] = [
    ("10m", "10 min", Duration::from_secs(600)),
    ("1h", "1 h", Duration::from_secs(3600)),
    ("24h", "24 h", Duration::from_secs(86_400)),
    ("7d", "7 d", Duration::from_secs(7 * 86_400)),
    ("30d", "30 d", Duration::from_secs(30 * 86_400)),
];

/// What changes slowly is asked for no more often than this.
const SLOWLY: Duration = Duration::from_secs(10);

/// The time up to now of this length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range(usize);

impl Range {
    /// In words.
    pub(super) fn name(self) -> &'static str {
        RANGES[self.0].1
    }

    /// The value of `from` of `/v1/traffic`.
    pub(super) fn from(self) -> String {
        format!("-{}", RANGES[self.0].2.as_secs())
    }

    /// The next longer one; after the longest the shortest.
    pub(super) fn longer(self) -> Self {
        Self((self.0 + 1) % RANGES.len())
    }

    /// The next shorter one; after the shortest the longest.
    pub(super) fn shorter(self) -> Self {
        Self((self.0 + RANGES.len() - 1) % RANGES.len())
    }

    /// Between two questions, where others are `every` so long apart.
    pub(super) fn pause(self, every: Duration) -> Duration {
        if self == Self::default() { every } else { every.max(SLOWLY) }
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = RANGES.iter().position(|(word, ..)| *word == text);
        let words = RANGES.map(|(word, ..)| word).join(", ");
        at.map(Self).ok_or_else(|| format!("not one of {words}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other_in_a_circle() {
        let day: Range = "24h".parse().expect("a range");
        assert_eq!((day.name(), day.from()), ("24 h", "-86400".to_owned()));
        assert_eq!(day.longer().longer().longer(), Range::default());
        assert_eq!(Range::default().shorter().name(), "30 d");
        assert_eq!(day.shorter().longer(), day);
        let told = "2h".parse::<Range>();
        assert_eq!(told, Err("not one of 10m, 1h, 24h, 7d, 30d".to_owned()));
    }

    #[test]
    fn long_ranges_are_asked_for_seldom() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(Range::default().pause(second), second);
        assert_eq!(Range::default().longer().pause(second), SLOWLY);
        assert_eq!(Range::default().longer().pause(minute), minute);
    }
}
