//! HTTP-date as a cache reads it (RFC 9110 §5.6.7, RFC 9111 §4.2): all three forms, names in any
//! case, no zone but GMT. The name of the day is not checked against the date.

use crate::calendar::{Date, SECONDS_PER_DAY};
use crate::time::Time;

/// Reads an HTTP-date. Dates before 1970 are 1970.
///
/// `near` is a time close to when the text was written; a two-digit year is taken for the latest
/// that is at most 50 years after it (RFC 9110 §5.6.7). Without it years below 70 are 20xx.
pub fn parse(text: &[u8], near: Option<Time>) -> Option<Time> {
    let text = text.trim_ascii();
    let (day_name, rest) = text.split_at(text.iter().position(|byte| *byte == b' ')?);
    let rest = &rest[1..];
    match day_name.split_last()? {
        (b',', name) if is_day(name) => imf_fixdate(rest),
        (b',', name) if is_long_day(name) => rfc850(rest, near),
        _ if is_day(day_name) => asctime(rest),
        _ => None,
    }
}

const LONG_DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// `06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Time> {
    let [d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', clock @ ..] = text else {
        return None;
    };
    let (clock, zone) = clock.split_at_checked(8)?;
    is_gmt(zone).then_some(())?;
    let year = number(&[*y1, *y2, *y3, *y4])?;
    instant(year, month(&[*m1, *m2, *m3])?, number(&[*d1, *d2])?, clock)
}

/// `06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], near: Option<Time>) -> Option<Time> {
    let [d1, d2, b'-', m1, m2, m3, b'-', y1, y2, b' ', clock @ ..] = text else {
        return None;
    };
    let (clock, zone) = clock.split_at_checked(8)?;
    is_gmt(zone).then_some(())?;
    let (month, day, short) =
        (month(&[*m1, *m2, *m3])?, number(&[*d1, *d2])?, number(&[*y1, *y2])?);
    let Some(near) = near else {
        let century = if short < 70 { 2000 } else { 1900 };
        return instant(century + short, month, day, clock);
    };
    let latest = near.plus_millis(FIFTY_YEARS);
    let century = year_of(latest) / 100 * 100;
    // A date that only some years have (29 February) may be missing from a century.
    [century + 100, century, century.saturating_sub(100), century.saturating_sub(200)]
        .into_iter()
        .filter_map(|century| instant(century + short, month, day, clock))
        .find(|time| *time <= latest)
}

/// `Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Time> {
    let [m1, m2, m3, b' ', d1, d2, b' ', rest @ ..] = text else {
        return None;
    };
    let day = if *d1 == b' ' { number(&[*d2])? } else { number(&[*d1, *d2])? };
    let (clock, year) = rest.split_at_checked(8)?;
    let [b' ', year @ ..] = year else { return None };
    (year.len() == 4).then_some(())?;
    instant(number(year)?, month(&[*m1, *m2, *m3])?, day, clock)
}

/// RFC 9111 §4.2: any zone but GMT is invalid, and letters match in any case.
fn is_gmt(zone: &[u8]) -> bool {
    zone.eq_ignore_ascii_case(b" GMT")
}

/// The time a calendar date and `hh:mm:ss` name; `None` when there is no such date. Second 60 is a
/// leap second and reads as the one after 59.
fn instant(year: u64, month: u64, day: u64, clock: &[u8]) -> Option<Time> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = Date::new(year, month, day)?.days_after_1970();
    let in_day = hour * 3600 + minute * 60 + second;
    Some(days.map_or(Time::default(), |days| Time::from_secs(days * SECONDS_PER_DAY + in_day)))
}

/// 50 years of 365.25 days, in milliseconds.
const FIFTY_YEARS: u64 = 50 * 31_557_600 * 1000;

/// The year that a time lies in, within one: the candidates reach a century further at both ends.
fn year_of(time: Time) -> u64 {
    1970 + time.as_secs() / 31_557_600
}

/// 1 to 12.
fn month(name: &[u8]) -> Option<u64> {
    Some(match &lower(name)? {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

fn is_day(name: &[u8]) -> bool {
    let name = lower(name);
    matches!(name.as_ref(), Some(b"mon" | b"tue" | b"wed" | b"thu" | b"fri" | b"sat" | b"sun"))
}

fn is_long_day(name: &[u8]) -> bool {
    LONG_DAYS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Three letters in lower case.
fn lower(name: &[u8]) -> Option<[u8; 3]> {
    <[u8; 3]>::try_from(name).ok().map(|name| name.map(|letter| letter.to_ascii_lowercase()))
}

/// A number of at most four digits.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        parse(text.as_bytes(), None).map(Time::as_secs)
    }

    #[test]
    fn the_three_forms_name_one_time() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 NOV 1994 08:49:37 gmt",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
            // RFC 9110 §5.6.7: robust where the name of the day is wrong.
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu, 31 Jun 2050 02:01:18 GMT",
            "Wed, 29 Feb 2023 02:01:18 GMT",
            "Fri, 29 Feb 2100 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
            "Foo, 18 Aug 2050 02:01:18 GMT",
            ", 18 Aug 2050 02:01:18 GMT",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn the_ends_of_the_calendar() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Wed, 31 Dec 1969 23:59:59 GMT"), Some(0));
        assert_eq!(seconds("Sat, 01 Jan 0000 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Fri, 31 Dec 9999 23:59:59 GMT"), Some(253_402_300_799));
        assert_eq!(seconds("Tue, 29 Feb 2000 00:00:00 GMT"), Some(951_782_400));
        assert_eq!(seconds("Sat, 31 Dec 2016 23:59:60 GMT"), Some(1_483_228_800));
    }

    #[test]
    fn a_two_digit_year_is_at_most_fifty_years_ahead() {
        let year = |text: &str, near: &str| {
            let near = parse(near.as_bytes(), None);
            Time::to_http_date(parse(text.as_bytes(), near).expect("a date"))[12..16].to_owned()
        };
        let now = "Sat, 21 Nov 2026 00:00:00 GMT";
        assert_eq!(year("Thursday, 18-Aug-50 02:01:18 GMT", now), "2050");
        assert_eq!(year("Thursday, 18-Aug-76 02:01:18 GMT", now), "2076");
        assert_eq!(year("Thursday, 18-Aug-77 02:01:18 GMT", now), "1977");
        assert_eq!(year("Sunday, 06-Nov-94 08:49:37 GMT", now), "1994");
        assert_eq!(year("Friday, 01-Jan-10 00:00:00 GMT", "Mon, 01 Jan 2080 00:00:00 GMT"), "2110");
    }

    #[test]
    fn every_day_of_four_centuries_agrees_with_the_formatter() {
        for day in 0..146_097u64 {
            let time = Time::from_secs(day * 86_400 + day % 86_400);
            assert_eq!(parse(time.to_http_date().as_bytes(), None), Some(time));
        }
    }
}
