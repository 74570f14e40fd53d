//! Byte ranges (RFC 9110 §14, RFC 9111 §3.3, §3.4), from full and from partial content.

mod held;
mod multipart;

pub use held::{HeldRanges, MAX_HELD};
pub use multipart::{Boundary, Multipart, Part, multipart};

use crate::time::Time;
use http::HeaderMap;
use http::header::{CONTENT_RANGE, DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};

/// A span of bytes of a representation: `start` inclusive, `end` exclusive, `start < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Span {
    /// The span from `start` up to, without, `end`; `None` when it would be empty.
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// Number of bytes.
    pub fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the two overlap or one begins where the other ends.
    fn touches(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// One element of a Range field as the client wrote it (RFC 9110 §14.1.1, §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// `first-last`, both inclusive.
    FromTo(u64, u64),
    /// `first-`.
    From(u64),
    /// `-length`.
    Suffix(u64),
}

/// A Range field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// No Range, or one that must be ignored (unknown unit, malformed, too many parts): the whole.
    Whole,
    /// These byte ranges, in the client's order; at least one.
    Bytes(Vec<Spec>),
}

/// How a request for ranges is answered from a representation of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The whole representation, 200.
    Whole,
    /// One part, 206 with Content-Range.
    One(Span),
    /// Several parts, 206 multipart/byteranges.
    Many(Vec<Span>),
    /// None lies inside: 416.
    Unsatisfiable,
}

/// The most parts a Range may have before it is ignored (RFC 9110 §14.2 allows; many small or
/// overlapping parts are an attack).
pub const MAX_PARTS: usize = 16;

/// Parses the Range of a GET. If-Range must have been checked by [`if_range_holds`].
pub fn requested(request: &HeaderMap) -> Requested {
    only_line(request, &RANGE).and_then(parse_specs).map_or(Requested::Whole, Requested::Bytes)
}

/// Whether If-Range is absent or matches the stored validators by strong comparison
/// (RFC 9110 §13.1.5).
pub fn if_range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(wanted) = only_line(request, &IF_RANGE).map(<[u8]>::trim_ascii) else { return false };
    if wanted.starts_with(b"\"") {
        return only_line(stored, &ETAG).is_some_and(|tag| tag.trim_ascii() == wanted);
    }
    // A weak tag never matches strongly (§8.8.3.2), and is no date either.
    let same = only_line(stored, &LAST_MODIFIED).is_some_and(|date| date.trim_ascii() == wanted);
    same && last_modified_is_strong(stored)
}

/// RFC 9110 §8.8.2.2: a date is strong for a cache when the stored Date is at least a second later.
fn last_modified_is_strong(stored: &HeaderMap) -> bool {
    let time = |name| {
        let line = only_line(stored, name)?;
        Time::from_http_date(std::str::from_utf8(line).ok()?.trim())
    };
    match (time(&LAST_MODIFIED), time(&DATE)) {
        (Some(modified), Some(date)) => date.millis_since(modified) >= 1000,
        _ => false,
    }
}

/// Resolves ranges against a complete length. Overlapping or touching parts are merged, the merged
/// part standing where the first of them stood in the client's order; parts outside are dropped.
/// The parts together are never longer than the representation.
pub fn resolve(requested: &Requested, complete_length: u64) -> Resolved {
    let Requested::Bytes(specs) = requested else { return Resolved::Whole };
    let mut parts: Vec<Span> = Vec::with_capacity(specs.len());
    for spec in specs {
        if let Some(span) = within(*spec, complete_length) {
            merge_in(&mut parts, span);
        }
    }
    match parts[..] {
        [] if complete_length == 0 && specs.iter().any(|s| matches!(s, Spec::Suffix(1..))) => {
            // RFC 9110 §14.1.2: a suffix of nothing is nothing, which a 206 cannot express.
            Resolved::Whole
        }
        [] => Resolved::Unsatisfiable,
        [one] => Resolved::One(one),
        _ => Resolved::Many(parts),
    }
}

/// A Content-Range of a 206 or 416 (RFC 9110 §14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes enclosed; `None` in an unsatisfied range (`*/length`).
    pub span: Option<Span>,
    /// The complete length, if known.
    pub complete_length: Option<u64>,
}

/// Parses Content-Range; `None` when absent, not in bytes, or contradictory.
pub fn content_range(response: &HeaderMap) -> Option<ContentRange> {
    let value = only_line(response, &CONTENT_RANGE)?.trim_ascii();
    let (unit, rest) = split_at(value, b' ')?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let (range, length) = split_at(rest.trim_ascii(), b'/')?;
    let complete_length = if length == b"*" { None } else { Some(exact(length)?) };
    if range == b"*" {
        // §14.4: an unsatisfied range names the complete length.
        return complete_length
            .map(|length| ContentRange { span: None, complete_length: Some(length) });
    }
    let (first, last) = split_at(range, b'-')?;
    let span = Span::new(exact(first)?, exact(last)?.checked_add(1)?)?;
    if complete_length.is_some_and(|length| span.end > length) {
        return None;
    }
    Some(ContentRange { span: Some(span), complete_length })
}

/// `bytes=` and its elements; empty ones are skipped (RFC 9110 §5.6.1.2). `None`: ignore the field.
fn parse_specs(value: &[u8]) -> Option<Vec<Spec>> {
    let (unit, set) = split_at(value.trim_ascii(), b'=')?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for element in set.split(|&b| b == b',') {
        let element = element.trim_ascii();
        if element.is_empty() {
            continue;
        }
        if specs.len() == MAX_PARTS {
            return None;
        }
        specs.push(parse_spec(element)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn parse_spec(element: &[u8]) -> Option<Spec> {
    match split_at(element, b'-')? {
        (b"", length) => Some(Spec::Suffix(saturating(length)?)),
        (first, b"") => Some(Spec::From(saturating(first)?)),
        (first, last) => {
            let (first, last) = (saturating(first)?, saturating(last)?);
            // §14.1.1: a last position before the first makes the whole field invalid.
            (first <= last).then_some(Spec::FromTo(first, last))
        }
    }
}

fn within(spec: Spec, length: u64) -> Option<Span> {
    match spec {
        Spec::FromTo(first, last) => Span::new(first, last.saturating_add(1).min(length)),
        Spec::From(first) => Span::new(first, length),
        Spec::Suffix(suffix) => Span::new(length.saturating_sub(suffix), length),
    }
}

/// Merges `span` with every part it touches; what it grows to may touch more.
fn merge_in(parts: &mut Vec<Span>, mut span: Span) {
    let mut place = parts.len();
    while let Some(i) = parts.iter().position(|part| part.touches(span)) {
        let part = parts.remove(i);
        span = Span { start: span.start.min(part.start), end: span.end.max(part.end) };
        place = place.min(i);
    }
    parts.insert(place.min(parts.len()), span);
}

/// The field's value where it has exactly one line: several are not to be combined here.
fn only_line<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then(|| first.as_bytes())
}

fn split_at(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Digits only; a number too large for 64 bits is the largest one.
fn saturating(digits: &[u8]) -> Option<u64> {
    number(digits, |_| Some(u64::MAX))
}

/// Digits only; a number too large for 64 bits is none.
fn exact(digits: &[u8]) -> Option<u64> {
    number(digits, |_| None)
}

fn number(digits: &[u8], too_large: fn(()) -> Option<u64>) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let step = |n: u64, digit: &u8| n.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.iter().try_fold(0, step).or_else(|| too_large(()))
}

#[cfg(test)]
mod tests;
