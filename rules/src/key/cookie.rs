//! Cookies that are part of a key (RFC 6265 §4.2).

use crate::cookies::{self, as_php_reads};
use http::HeaderMap;

/// Appends `\ncookie name=value` for every cookie of that name (or, for `prefix*`, whose name begins
/// so), in the client's order: which of two counts is the origin's to say. One without `=` is
/// written without.
pub(super) fn append(out: &mut Vec<u8>, name: &str, request: &HeaderMap) {
    let Some(line) = cookies::combined(request) else { return };
    for cookie in cookies::cookies(&line).filter(|cookie| is_named(name, cookie.name)) {
        out.extend_from_slice(b"\ncookie ");
        out.extend_from_slice(cookie.name);
        if let Some(value) = cookie.value() {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

/// Whether a cookie that was sent has this name or, for `prefix*`, a name that begins so; also in a spelling
/// that PHP reads as the same, so that an origin never reads one that is not in the key.
pub(crate) fn is_named(name: &str, sent: &[u8]) -> bool {
    let reads_as = |name: &[u8], sent: &[u8]| {
        name.iter().map(|&b| as_php_reads(b)).eq(sent.iter().map(|&b| as_php_reads(b)))
    };
    match name.strip_suffix('*') {
        Some(beginning) => {
            sent.get(..beginning.len()).is_some_and(|begins| reads_as(beginning.as_bytes(), begins))
        }
        None => reads_as(name.as_bytes(), sent),
    }
}
