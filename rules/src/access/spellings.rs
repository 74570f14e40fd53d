//! The paths that an origin may take a path for. Servers differ in what they do with encoded characters, dot
//! segments, repeated slashes, backslashes, path parameters and case, so that one resource has many spellings.
//! An access rule takes a request if it takes any of them.

use crate::invalidation::{escaped, normalised};
use crate::plain::{is_ambiguous, is_plain};
use std::borrow::Cow;

/// A path in every spelling that some server may take it for, in lower case, with a slash at its end and without.
pub struct EverySpelling {
    /// Each with one slash at its end.
    paths: Vec<String>,
    query: Option<String>,
}

impl EverySpelling {
    /// Those of a path and a query as sent.
    pub fn of(path: &str, query: Option<&str>) -> Self {
        let mut paths = match has_one_spelling(path) {
            true => vec![normalised(path).into_owned()],
            false => spellings(path),
        };
        for path in &mut paths {
            path.make_ascii_lowercase();
            path.truncate(path.trim_end_matches('/').len());
            path.push('/');
        }
        Self { paths, query: query.map(|query| normalised(query).to_ascii_lowercase()) }
    }

    /// Whether something takes any of them, with the query if it counts.
    pub(crate) fn any(&self, has_query: bool, takes: impl Fn(&str) -> bool) -> bool {
        let query = self.query.as_deref().filter(|_| has_query);
        let forms = self.paths.iter().flat_map(|path| [path.as_str(), &path[..path.len() - 1]]);
        forms.into_iter().any(|path| match query {
            Some(query) => takes(&format!("{path}?{query}")),
            None => takes(path),
        })
    }
}

/// Whether a path has one spelling only, apart from the percent-encoding of unreserved characters and from
/// case: every server takes it for the same.
pub(super) fn has_one_spelling(path: &str) -> bool {
    is_plain(path) || !is_ambiguous(&normalised(path))
}

/// How often an origin may decode a path.
const DECODINGS: usize = 3;

/// All spellings of a path, percent-normalised, itself first.
fn spellings(path: &str) -> Vec<String> {
    let mut found = vec![normalised(path).into_owned()];
    let mut bytes = found[0].clone().into_bytes();
    for _ in 0..=DECODINGS {
        let mut slashed = bytes.clone();
        slashed.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        for params in [true, false] {
            let segments = segments(&slashed, params);
            let merged: Vec<_> = merge(segments.clone());
            for spelling in [resolve(segments), resolve(merged)] {
                let text = escaped(&spelling);
                if !found.contains(&text) {
                    found.push(text);
                }
            }
        }
        match decoded(&bytes) {
            Cow::Owned(further) => bytes = further,
            Cow::Borrowed(_) => break,
        }
    }
    found
}

/// What stands between the slashes behind the first one, with or without path parameters.
fn segments(path: &[u8], params: bool) -> Vec<&[u8]> {
    let segments = path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/');
    let cut = |segment: &[u8]| memchr::memchr(b';', segment).unwrap_or(segment.len());
    segments.map(|segment| if params { segment } else { &segment[..cut(segment)] }).collect()
}

/// Without empty segments, except for the last.
fn merge(mut segments: Vec<&[u8]>) -> Vec<&[u8]> {
    let last = segments.pop();
    segments.retain(|segment| !segment.is_empty());
    segments.extend(last);
    segments
}

/// Without dot segments (RFC 3986 §5.2.4), and then without empty ones.
fn resolve(segments: Vec<&[u8]>) -> Vec<u8> {
    let mut left: Vec<&[u8]> = Vec::with_capacity(segments.len());
    let count = segments.len();
    for (at, segment) in segments.into_iter().enumerate() {
        let is_last = at + 1 == count;
        match segment {
            b"." if is_last => left.push(b""),
            b"." => {}
            b".." => {
                left.pop();
                if is_last {
                    left.push(b"");
                }
            }
            _ => left.push(segment),
        }
    }
    let mut path = Vec::new();
    for segment in merge(left) {
        path.push(b'/');
        path.extend_from_slice(segment);
    }
    path
}

/// Decoded once, also of what must be encoded.
fn decoded(path: &[u8]) -> Cow<'_, [u8]> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        rest = after;
        let escape = match (first, after) {
            (b'%', [high, low, tail @ ..]) => digit(*high).zip(digit(*low)).map(|hex| (hex, tail)),
            _ => None,
        };
        match escape {
            Some(((high, low), tail)) => {
                out.push((high << 4 | low) as u8);
                rest = tail;
            }
            None => out.push(*first),
        }
    }
    if out.len() == path.len() { Cow::Borrowed(path) } else { Cow::Owned(out) }
}

#[cfg(test)]
mod tests;
