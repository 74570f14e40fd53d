//! Cookies that are part of a key (RFC 6265 §4.2).

use http::HeaderMap;
use http::header::COOKIE;

/// Appends `\ncookie name=value` for every cookie of that name, in the client's order: which of two
/// counts is the origin's to say. One without `=` is written without.
pub(super) fn append(out: &mut Vec<u8>, name: &str, request: &HeaderMap) {
    for line in request.get_all(COOKIE) {
        for pair in line.as_bytes().split(|&b| b == b';') {
            let pair = pair.trim_ascii();
            let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            if pair[..end].trim_ascii_end() != name.as_bytes() {
                continue;
            }
            out.extend_from_slice(b"\ncookie ");
            out.extend_from_slice(name.as_bytes());
            if let Some(value) = pair.get(end + 1..) {
                out.push(b'=');
                out.extend_from_slice(value.trim_ascii_start());
            }
        }
    }
}
