//! Cookies that are part of a key (RFC 6265 §4.2).

use crate::cookies;
use http::HeaderMap;

/// Appends `\ncookie name=value` for every cookie of that name (or, for `prefix*`, whose name begins
/// so), in the client's order: which of two counts is the origin's to say. One without `=` is
/// written without.
pub(super) fn append(out: &mut Vec<u8>, name: &str, request: &HeaderMap) {
    let Some(line) = cookies::combined(request) else { return };
    for pair in line.split(|&b| b == b';') {
        let pair = pair.trim_ascii();
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let sent = pair[..end].trim_ascii_end();
        if !is_named(name.as_bytes(), sent) {
            continue;
        }
        out.extend_from_slice(b"\ncookie ");
        out.extend_from_slice(sent);
        if let Some(value) = pair.get(end + 1..) {
            out.push(b'=');
            out.extend_from_slice(value.trim_ascii_start());
        }
    }
}

/// Whether a cookie that was sent has this name or, for `prefix*`, a name that begins so.
pub(crate) fn is_named(name: &[u8], sent: &[u8]) -> bool {
    match name.strip_suffix(b"*") {
        Some(prefix) => sent.starts_with(prefix),
        None => sent == name,
    }
}
