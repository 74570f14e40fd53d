//! Points in time as RFC 3339 writes them, in UTC with milliseconds, and lengths of time in words.

use std::time::{Duration, SystemTime};
use weir_rules::time::Time;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `2026-11-21T20:15:00.042Z`. Times before 1970 are shown as its beginning.
pub fn rfc3339(time: SystemTime) -> String {
    let time = Time::from(time);
    // The calendar is in the HTTP-date already: `Sat, 21 Nov 2026 20:15:00 GMT`.
    let date = time.to_http_date();
    let mut parts = date.split(' ').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (day, month, year, clock) = (part(), part(), part(), part());
    let month = MONTHS.iter().position(|name| *name == month).unwrap_or_default() + 1;
    format!("{year}-{month:02}-{day}T{clock}.{:03}Z", time.as_millis() % 1000)
}

/// Whole seconds, in the largest unit of which there are two: `59 s`, `3 min`, `5 h`, `12 d`.
pub fn spoken(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Reads a time of RFC 3339 §5.6: `2026-11-21T20:15:00Z`, perhaps with a fraction of a second, or an offset from UTC
/// in place of `Z`. `None` where it is none, or before 1970.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let clock = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = clock.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
            rest.split_at(end)
        }
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let [hours, minutes] = numbers(zone.strip_prefix(['+', '-'])?, ':', [2, 2])?;
            (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))?
        }
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..usize::try_from(month - 1).ok()?)?;
    let length = *lengths.get(before.len())?;
    // A leap second is the one after it.
    let is_valid = (1..=length).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    is_valid.then_some(())?;
    let years = year - 1;
    let leaps = years / 4 - years / 100 + years / 400;
    // Days since the first of January of the year 1; 1970 began 719162 days after it.
    let days = years * 365 + leaps + before.iter().sum::<i64>() + day - 1 - 719_162;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let since = Duration::from_secs(u64::try_from(seconds).ok()?) + Duration::from_millis(millis);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut parts = text.split(between);
    for (found, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        *found = is_number.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn known_times_are_read_as_rfc_3339_writes_them() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00z", 951_782_400_000),
            ("2024-12-31T23:59:59.0429Z", 1_735_689_599_042),
            ("2024-12-31t23:59:59.5Z", 1_735_689_599_500),
            ("2100-03-01T01:30:00+01:30", 4_107_542_400_000),
            ("2100-02-28T19:00:00-05:00", 4_107_542_400_000),
        ] {
            assert_eq!(
                parse_rfc3339(text),
                Some(UNIX_EPOCH + Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "now",
            "2024-12-31",
            "2024-12-31T23:59:59",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+25:00",
            "1969-12-31T23:59:59Z",
            "+024-01-01T00:00:00Z",
            "2024-01-01T00:00:00Zjunk",
            "0000-01-01T00:00:00Z",
            "2024-01-01T00:00:0\u{e9}Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in 0u64..4_000_000_000_000, other: String) {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            prop_assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
            let _ = parse_rfc3339(&other);
        }
    }

    #[test]
    fn known_times_are_written_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_042, "2024-12-31T23:59:59.042Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }
}
