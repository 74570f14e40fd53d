//! Files of which only some slices are stored: what is asked of the origin, and which of its answers are
//! slices of the same file (RFC 9110 §14, RFC 9111 §3.4).
//!
//! INVARIANT (I2): whatever purge takes a slice takes the file. So the file has the lowest stamp of all its
//! slices and the tags of each ([`join`]), one strong validator and one length ([`answered`]).

use crate::freshness::Freshness;
use crate::invalidation::Seq;
use crate::range::{self, Requested, Span, Spec};
use crate::validation::strong_validator;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};

/// The bytes of a slice of a file of `length` bytes; `None` if it lies behind the end. All slices have
/// `size` bytes but the last one.
pub fn span(number: u64, size: u64, length: u64) -> Option<Span> {
    let start = number.checked_mul(size)?;
    Span::new(start, start.saturating_add(size).min(length))
}

/// What is asked of the origin first when a client asks for a range of a file of which nothing is known:
/// the slice in which the range begins or, where that depends on the length of the file, the first one.
/// `None` if the request is to be passed on as it came: it asks for the whole, for several ranges, or for
/// nothing.
pub fn asked_first(requested: &Requested, size: u64) -> Option<Span> {
    let Requested::Bytes(specs) = requested else { return None };
    let [spec] = specs[..] else { return None };
    let first = match spec {
        Spec::FromTo(first, _) | Spec::From(first) => first,
        Spec::Suffix(0) => return None,
        Spec::Suffix(_) => 0,
    };
    span(first / size, size, u64::MAX)
}

/// What an answer to a request for a slice of a stored file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The slice: bytes of the same file.
    Slice,
    /// The same file as a whole, or other bytes of it: the origin does not answer ranges.
    NotInSlices,
    /// The file is another one now, or gone.
    Changed,
    /// It says nothing about the file.
    Nothing,
}

/// What an answer to a request for the slice `asked` is. `stored` are the fields of the file, `length` is its
/// length.
pub fn answered(
    stored: &HeaderMap,
    length: u64,
    asked: Span,
    status: StatusCode,
    answer: &HeaderMap,
) -> Answered {
    let validator = strong_validator(stored);
    let is_same = validator.is_some() && validator == strong_validator(answer);
    match status {
        StatusCode::PARTIAL_CONTENT => match range::content_range(answer) {
            Some(found) if found.complete_length == Some(length) && is_same => {
                match found.span == Some(asked) {
                    true => Answered::Slice,
                    false => Answered::NotInSlices,
                }
            }
            Some(found) if found.complete_length.is_none() && is_same => Answered::NotInSlices,
            Some(_) => Answered::Changed,
            // Several parts, or none.
            None => Answered::NotInSlices,
        },
        StatusCode::OK => {
            let announced = answer.get(CONTENT_LENGTH).map(|value| value.as_bytes());
            let is_length = announced.is_none_or(|value| value == length.to_string().as_bytes());
            match is_same && is_length {
                true => Answered::NotInSlices,
                false => Answered::Changed,
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND | StatusCode::GONE => {
            Answered::Changed
        }
        _ => Answered::Nothing,
    }
}

/// What purges know a file, or an answer about it, by.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// filled_at_seq.
    pub filled_at: Seq,
    /// Cache tags.
    pub tags: &'a [Box<str>],
}

/// How a slice is joined to the file that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// As it is: whatever purge takes it takes the file as it is stored.
    Covered,
    /// With a new head of the file, which has the lower stamp and the tags of both, and is judged again by
    /// all purges since.
    Widened,
}

/// How a slice is joined to the file that is stored.
pub fn join(stored: Known<'_>, slice: Known<'_>) -> Join {
    let is_covered = slice.filled_at >= stored.filled_at
        && slice.tags.iter().all(|tag| stored.tags.contains(tag));
    match is_covered {
        true => Join::Covered,
        false => Join::Widened,
    }
}

/// Whether the file takes the terms of a slice that joins it: they differ, or they let it be fresh for a
/// good part of its lifetime longer. The newest terms count (RFC 9111 §3.4).
pub fn renews(stored: &Freshness, slice: &Freshness) -> bool {
    let is_alike = Freshness { born: slice.born, ..*stored } == *slice;
    let later = slice.born.millis_since(stored.born) / 1000;
    !is_alike || later > u64::from(slice.lifetime) / 10
}

#[cfg(test)]
mod tests;
