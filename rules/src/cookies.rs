//! The Cookie field of a request (RFC 6265 §4.2). HTTP/2 clients may split it into many lines
//! (RFC 9113 §8.2.3); everything that is not HTTP/2 takes it as one.

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(lines: &[&[u8]]) -> HeaderMap {
        let value = |line: &&[u8]| (COOKIE, HeaderValue::from_bytes(line).unwrap());
        let mut request = HeaderMap::from_iter(lines.iter().map(value));
        for accepted in ["text/html", "text/plain"] {
            request.append("accept", HeaderValue::from_static(accepted));
        }
        request
    }

    #[test]
    fn lines_become_one() {
        for (lines, one) in [
            (&[&b"a=1"[..]][..], &b"a=1"[..]),
            (&[b"session=abc", b"lang=de"], b"session=abc; lang=de"),
            (&[b"a=1; b=2", b"c=3"], b"a=1; b=2; c=3"),
            (&[b"", b"a=1", b" ", b"b=2", b""], b"a=1; b=2"),
            (&[b" a=1\t", b"b=2 "], b"a=1; b=2"),
            (&[b"", b""], b""),
            (&[b"a=\xff", b"\xfe", b"=;;=", b"a=1"], b"a=\xff; \xfe; =;;=; a=1"),
        ] {
            let mut request = request(lines);
            combine(&mut request);
            let left: Vec<_> = request.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(left, [one], "{lines:?}");
            assert_eq!(request.get_all("accept").iter().count(), 2, "others stay as they are");
        }
    }

    #[test]
    fn without_a_cookie_there_is_none_after() {
        let mut request = request(&[]);
        combine(&mut request);
        assert!(!request.contains_key(COOKIE));
    }

    #[test]
    fn a_line_that_compression_must_not_remember_makes_the_whole_so() {
        for sensitive in [false, true] {
            let mut request = request(&[b"a=1"]);
            let mut second = HeaderValue::from_static("b=2");
            second.set_sensitive(sensitive);
            request.append(COOKIE, second);
            combine(&mut request);
            assert_eq!(request[COOKIE].is_sensitive(), sensitive);
        }
    }

    #[test]
    fn very_many_lines_are_no_longer_than_they_were() {
        let lines = vec![&b"a=1"[..]; 10_000];
        let mut request = request(&lines);
        combine(&mut request);
        assert_eq!(request.get_all(COOKIE).iter().count(), 1);
        assert_eq!(request[COOKIE].len(), lines.len() * 5 - 2);
    }
}
