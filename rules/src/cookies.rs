//! The Cookie field of a request (RFC 6265 §4.2), and what a site does with the cookies in it. HTTP/2
//! clients may split the field into many lines (RFC 9113 §8.2.3); everything that is not HTTP/2 takes it
//! as one.

mod analytics;
mod names;
mod rules;

pub use analytics::{ANALYTICS, LISTS};
pub use names::CookieNames;
pub(crate) use names::as_php_reads;
pub use rules::{CookieRules, CookieUse, Judged, Remaining, uses};

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;

/// The Cookie lines of a request as one value: each without the white space around it, joined by
/// `; `, empty ones left out. `None` without the field.
pub(crate) fn combined(request: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let mut lines = request.get_all(COOKIE).iter().map(|line| line.as_bytes().trim_ascii());
    let first = lines.next()?;
    let Some(second) = lines.next() else { return Some(Cow::Borrowed(first)) };
    let mut joined = first.to_vec();
    for line in std::iter::once(second).chain(lines).filter(|line| !line.is_empty()) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(line);
    }
    Some(Cow::Owned(joined))
}

/// Makes one Cookie line of several (RFC 9113 §8.2.3). The result is never longer than the lines
/// were with their names: bounds on the head hold for it too. It is sensitive (RFC 7541 §7.1.3)
/// if one of the lines was.
pub fn combine(request: &mut HeaderMap) {
    // No field at all is repeated in the usual head.
    if request.len() == request.keys_len() {
        return;
    }
    let Some(Cow::Owned(joined)) = combined(request) else { return };
    // What valid values and `; ` make together is valid.
    let Ok(mut line) = HeaderValue::from_bytes(&joined) else { return };
    line.set_sensitive(request.get_all(COOKIE).iter().any(HeaderValue::is_sensitive));
    request.insert(COOKIE, line);
}

/// One cookie of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie<'a> {
    /// Its name, without the white space around it; the whole where there is no `=`.
    pub(crate) name: &'a [u8],
    /// Name and value as sent, without the white space around them; never empty.
    pub(crate) pair: &'a [u8],
}

impl<'a> Cookie<'a> {
    /// Its value, without the white space before it; `None` where there is no `=`.
    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        let equals = memchr::memchr(b'=', self.pair)?;
        Some(self.pair[equals + 1..].trim_ascii_start())
    }
}

/// The cookies of a line in the client's order; one that is sent twice is there twice.
pub(crate) fn cookies(line: &[u8]) -> impl Iterator<Item = Cookie<'_>> {
    let pairs = line.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        Cookie { name: pair[..end].trim_ascii_end(), pair }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
