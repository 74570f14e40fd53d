//! Sizes and durations as people write them: `512MiB`, `10MB`, `1024`; `30s`, `1h30m`, `500ms`.

use std::time::Duration;

/// What [`parse_size`] takes, for messages.
pub const SIZE_FORM: &str =
    "a size such as 1024, 10MB or 512MiB (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)";

/// What [`parse_duration`] takes, for messages.
pub const DURATION_FORM: &str =
    "a duration such as 500ms, 30s, 5m, 1h30m or 1d (d, h, m, s, ms, largest first)";

/// What [`parse_share`] takes, for messages.
pub const SHARE_FORM: &str = "a share such as 100%, 5% or 0.01%, in steps of 0.0001%";

/// Size units: decimal ones are powers of 1000, those with an `i` powers of 1024.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Duration units in milliseconds, largest first.
const DURATION_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a size in bytes. Whole numbers only; the unit's case does not matter.
///
/// # Errors
/// A reason in words when the text is no size or does not fit 64 bits.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    if number.is_empty() {
        return Err("not a size".into());
    }
    let factor = SIZE_UNITS
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name))
        .map(|(_, factor)| *factor)
        .ok_or_else(|| format!("{unit:?} is not a unit of size"))?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or("too large".into())
}

/// Reads a share, in millionths.
///
/// # Errors
/// A reason in words when the text is no percentage, or one that is not from 0 to 100.
pub fn parse_share(text: &str) -> Result<u32, String> {
    let digits = text.strip_suffix('%').ok_or("no % at the end")?.trim_end();
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !numeric(whole) || !numeric(part) || part.len() > 4 {
        return Err("not a percentage".into());
    }
    let whole = whole.parse::<u32>().ok().filter(|whole| *whole <= 100);
    let part: u32 = format!("{part:0<4}").parse().map_err(|_| "not a percentage")?;
    let share = whole.map(|whole| whole * 10_000 + part).filter(|share| *share <= 1_000_000);
    share.ok_or("more than 100%".into())
}

/// Reads a duration. Each unit at most once, largest first; `0` needs no unit.
///
/// # Errors
/// A reason in words when the text is no duration or does not fit 64 bits of milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut millis, mut units) = (text, 0u64, DURATION_UNITS);
    if rest.is_empty() {
        return Err("not a duration".into());
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if number.is_empty() {
            return Err("not a duration".into());
        }
        if unit.is_empty() {
            return Err(format!("{number} has no unit"));
        }
        let at = units
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| format!("{unit:?} is not a unit of time, or not in its place"))?;
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(units[at].1));
        millis = part.and_then(|part| millis.checked_add(part)).ok_or("too large")?;
        units = &units[at + 1..];
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a size in the largest unit that keeps it whole: `512MiB`, `1500B`.
pub fn format_size(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(factor, _)| bytes != 0 && bytes.is_multiple_of(*factor)) {
        Some((factor, name)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// Writes a duration as [`parse_duration`] reads it, milliseconds being the finest: `1h30m`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (name, factor) in DURATION_UNITS {
        if rest >= *factor {
            out.push_str(&format!("{}{name}", rest / factor));
            rest %= factor;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

/// The digits a text begins with, and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_in_decimal_and_binary_units() {
        for (text, bytes) in [
            ("1024", 1024),
            ("0", 0),
            ("7B", 7),
            ("10MB", 10_000_000),
            ("512MiB", 512 << 20),
            ("512mib", 512 << 20),
            ("16TiB", 16 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "MiB", "-1", "1.5GiB", "1 MiB", "1XB", "99999999999999999999", "99999999TiB"]
        {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn shares_are_read_in_millionths() {
        for (text, share) in
            [("100%", 1_000_000), ("0%", 0), ("1%", 10_000), ("0.01%", 100), ("12.5 %", 125_000)]
        {
            assert_eq!(parse_share(text), Ok(share), "{text}");
        }
        for text in ["", "%", "1", "1.%", "-1%", "101%", "100.0001%", "0.00001%", "1,5%"] {
            assert!(parse_share(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_sums_of_units_largest_first() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90s", 90_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "s", "30", "30m1h", "1s1s", "1.5s", "-1s", "30 s", "1w", "99999999999999999d"]
        {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: u64, millis: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
