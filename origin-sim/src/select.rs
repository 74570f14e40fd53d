//! Which part of a representation a request gets: all of it, a range, or only that it did not
//! change (RFC 9110 §13 and §14).

use crate::request::field;
use std::time::{Duration, SystemTime};

/// What of a representation is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    /// All of it, with the scripted status.
    Whole,
    /// 206: `len` bytes from `first`.
    Part { first: u64, len: u64 },
    /// 304.
    NotModified,
    /// 416.
    Unsatisfiable,
}

/// The validators and length that a choice depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Representation<'a> {
    pub(crate) etag: Option<&'a str>,
    pub(crate) last_modified: Option<SystemTime>,
    /// `None` when it has no end.
    pub(crate) len: Option<u64>,
}

impl Representation<'_> {
    /// Whether the request's conditions ask for a 304 (RFC 9110 §13.2.2).
    pub(crate) fn is_not_modified(&self, headers: &[(String, String)]) -> bool {
        if let Some(known) = field(headers, "If-None-Match") {
            let current = self.etag.map(opaque);
            return known.trim() == "*"
                || current.is_some_and(|etag| known.split(',').any(|k| opaque(k) == etag));
        }
        let since = field(headers, "If-Modified-Since").and_then(http_date);
        matches!((since, self.last_modified), (Some(since), Some(at)) if whole_secs(at) <= since)
    }

    /// The part that Range asks for, when If-Range holds.
    pub(crate) fn part(&self, headers: &[(String, String)]) -> Selected {
        let (Some(range), Some(len)) = (field(headers, "Range"), self.len) else {
            return Selected::Whole;
        };
        if field(headers, "If-Range").is_some_and(|condition| !self.holds(condition)) {
            return Selected::Whole;
        }
        single_range(range, len)
    }

    /// If-Range (RFC 9110 §13.1.5): strong comparison of the entity tag, or exactly the date.
    fn holds(&self, condition: &str) -> bool {
        if condition.starts_with('"') || condition.starts_with("W/") {
            return !condition.starts_with("W/") && self.etag == Some(condition);
        }
        let date = http_date(condition);
        date.is_some() && date == self.last_modified.map(whole_secs)
    }
}

/// An entity tag without its weakness, for the weak comparison.
fn opaque(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag)
}

fn http_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// `time` without its fraction of a second, which HTTP-dates do not carry.
pub(crate) fn whole_secs(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n` (RFC 9110 §14.1.2). Anything else is ignored, and so are
/// several ranges (§14.2 allows both).
fn single_range(range: &str, len: u64) -> Selected {
    let Some((unit, spec)) = range.split_once('=') else { return Selected::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Selected::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Selected::Whole;
    }
    let (first, last) = match (position(first), position(last)) {
        (Position::At(first), Position::At(last)) if first > last => return Selected::Whole,
        (Position::At(first), Position::At(last)) => (first, last.min(len.saturating_sub(1))),
        (Position::At(first), Position::Absent) => (first, len.saturating_sub(1)),
        (Position::Absent, Position::At(0)) => return Selected::Unsatisfiable,
        (Position::Absent, Position::At(n)) => (len.saturating_sub(n), len.saturating_sub(1)),
        _ => return Selected::Whole,
    };
    if first >= len {
        Selected::Unsatisfiable
    } else {
        Selected::Part { first, len: last - first + 1 }
    }
}

enum Position {
    Absent,
    At(u64),
    Invalid,
}

/// Digits of any length; beyond u64 they mean "further than any end".
fn position(text: &str) -> Position {
    match text {
        "" => Position::Absent,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Position::At(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Position::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let part = |first, len| Selected::Part { first, len };
        for (range, len, expected) in [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=2-4", 10, part(2, 3)),
            ("bytes=2-", 10, part(2, 8)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-30", 10, part(0, 10)),
            ("BYTES=5-999999999999999999999999", 10, part(5, 5)),
            ("bytes=10-", 10, Selected::Unsatisfiable),
            ("bytes=-0", 10, Selected::Unsatisfiable),
            ("bytes=0-", 0, Selected::Unsatisfiable),
            ("bytes=4-2", 10, Selected::Whole),
            ("bytes=0-1,3-4", 10, Selected::Whole),
            ("bytes=-", 10, Selected::Whole),
            ("bytes=a-b", 10, Selected::Whole),
            ("lines=0-1", 10, Selected::Whole),
            ("nonsense", 10, Selected::Whole),
        ] {
            assert_eq!(single_range(range, len), expected, "{range} of {len}");
        }
    }
}
