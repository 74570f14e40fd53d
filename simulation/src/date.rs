//! Dates in logs.

use weir_rules::calendar::{Date, MONTHS, SECONDS_PER_DAY};

/// Seconds since 1970 of a date as servers log it: `29/Nov/2026:20:43:30 +0100`.
pub fn of_common_log(text: &str) -> Option<u64> {
    let (date, zone) = text.split_once(' ')?;
    let mut parts = date.splitn(4, ['/', ':']);
    let day = number(parts.next()?, 2)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year = number(parts.next()?, 4)?;
    let second = second_of_day(parts.next()?)?;
    let (sign, offset) = zone.split_at_checked(1)?;
    let offset = number(offset, 4)?;
    let offset = (offset / 100 * 60 + offset % 100) * 60;
    let local = Date::new(year, month, day)?.days_after_1970()? * SECONDS_PER_DAY + second;
    match sign {
        "+" => local.checked_sub(offset),
        "-" => Some(local + offset),
        _ => None,
    }
}

/// Seconds since 1970 of a date as weir logs it: `2026-11-29T20:43:30.007Z` (RFC 3339, in UTC).
pub fn of_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2)?;
    let day = number(parts.next()?, 2)?;
    Some(
        Date::new(year, month, day)?.days_after_1970()? * SECONDS_PER_DAY
            + second_of_day(time.split('.').next()?)?,
    )
}

fn second_of_day(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, ':');
    let mut next = |most| number(parts.next()?, 2).filter(|number| *number <= most);
    Some(next(23)? * 3_600 + next(59)? * 60 + next(60)?)
}

/// A number of so many digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_date_are_the_same_second() {
        for (common, rfc3339, seconds) in [
            ("01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00.000Z", 0),
            ("29/Feb/2000:00:00:00 +0000", "2000-02-29T00:00:00Z", 951_782_400),
            ("21/Nov/2026:20:43:30 +0000", "2026-11-21T20:43:30.007Z", 1_795_293_810),
            ("21/Nov/2026:22:13:30 +0130", "2026-11-21T20:43:30.007Z", 1_795_293_810),
            ("21/Nov/2026:12:43:30 -0800", "2026-11-21T20:43:30.007Z", 1_795_293_810),
        ] {
            assert_eq!(of_common_log(common), Some(seconds), "{common}");
            assert_eq!(of_rfc3339(rfc3339), Some(seconds), "{rfc3339}");
        }
    }

    #[test]
    fn what_is_no_date_has_no_seconds() {
        for text in [
            "",
            "-",
            "21/Nov/2026",
            "21/Nov/2026:20:43:30",
            "21/Nov/2026:20:43:30 ",
            "21/Nov/2026:20:43:30 0000",
            "21/Now/2026:20:43:30 +0000",
            "32/Nov/2026:20:43:30 +0000",
            "21/Nov/2026:24:43:30 +0000",
            "01/Jan/1970:00:00:00 +0100",
        ] {
            assert_eq!(of_common_log(text), None, "{text}");
        }
        for text in
            ["", "Z", "TZ", "2026-11-21T20:43:30", "2026-13-21T20:43:30Z", "2026-1-21T1:1:1Z"]
        {
            assert_eq!(of_rfc3339(text), None, "{text}");
        }
    }
}
