//! Accept-Encoding (RFC 9110 §12.5.3) reduced to the few wishes that lead to different bytes.

use super::weighted::weight;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Every subset of the three codings, indexed by the bits below.
const BUCKETS: [&str; 8] =
    ["identity", "gzip", "br", "br, gzip", "zstd", "zstd, gzip", "zstd, br", "zstd, br, gzip"];
const GZIP: usize = 0;
const BR: usize = 1;
const ZSTD: usize = 2;

/// The codings an origin is asked for, most wanted first, from a client's Accept-Encoding: at most
/// `zstd`, `br`, `gzip` in fixed order, or `identity`. `None` when the field is absent.
///
/// A coding counts when its weight is neither 0 nor below a weight given to `identity`; `*` stands
/// for those not named. Requests of one bucket share a stored response because the origin is asked
/// with the bucket in place of the client's own field: a node must send it so.
pub fn accept_encoding_bucket(request: &HeaderMap) -> Option<&'static str> {
    let mut lines = request.get_all(ACCEPT_ENCODING).iter().peekable();
    lines.peek()?;
    let mut named: [Option<u16>; 3] = [None; 3];
    let mut identity = None;
    let mut rest = None;
    for line in lines {
        for member in line.as_bytes().split(|&b| b == b',') {
            let (coding, parameters) = split_once(member, b';');
            let slot = match coding.trim_ascii() {
                b"*" => &mut rest,
                name if is(name, "gzip") || is(name, "x-gzip") => &mut named[GZIP],
                name if is(name, "br") => &mut named[BR],
                name if is(name, "zstd") => &mut named[ZSTD],
                name if is(name, "identity") => &mut identity,
                _ => continue,
            };
            // A weight that cannot be read is no wish for the coding.
            let weight = parameters.map_or(Some(1000), weight).unwrap_or(0);
            *slot = Some(slot.map_or(weight, |before| weight.max(before)));
        }
    }
    let floor = identity.unwrap_or(0).max(1);
    let wanted = |slot: usize| named[slot].or(rest).unwrap_or(0) >= floor;
    let bits =
        usize::from(wanted(GZIP)) | usize::from(wanted(BR)) << 1 | usize::from(wanted(ZSTD)) << 2;
    Some(BUCKETS[bits])
}

fn is(name: &[u8], coding: &str) -> bool {
    name.eq_ignore_ascii_case(coding.as_bytes())
}

fn split_once(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, bytes) {
        Some(i) => (&bytes[..i], Some(&bytes[i + 1..])),
        None => (bytes, None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bucket(lines: &[&'static str]) -> Option<&'static str> {
        let mut request = HeaderMap::new();
        for line in lines {
            request.append(ACCEPT_ENCODING, http::HeaderValue::from_static(line));
        }
        accept_encoding_bucket(&request)
    }

    #[test]
    fn wishes_fall_into_buckets() {
        for (line, expected) in [
            ("gzip, deflate, br, zstd", "zstd, br, gzip"),
            ("gzip, deflate, br", "br, gzip"),
            ("gzip,deflate", "gzip"),
            ("GZip", "gzip"),
            ("x-gzip", "gzip"),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", "zstd, br, gzip"),
            ("gzip;q=0", "identity"),
            ("gzip;q=0.000", "identity"),
            ("gzip;q=0.001", "gzip"),
            ("gzip ; q=0.5", "gzip"),
            ("gzip;Q=0", "identity"),
            ("*", "zstd, br, gzip"),
            ("*;q=0", "identity"),
            ("br;q=0, *", "zstd, gzip"),
            ("identity;q=1, *;q=0", "identity"),
            ("identity, gzip;q=0.5", "identity"),
            ("identity;q=0.5, gzip", "gzip"),
            ("gzip, identity;q=0", "gzip"),
            ("deflate, compress", "identity"),
            ("", "identity"),
            (",,", "identity"),
            ("gzip;q=nonsense", "identity"),
            ("gzip;q=1.5", "identity"),
            ("gzip;level=9", "identity"),
        ] {
            assert_eq!(bucket(&[line]), Some(expected), "{line}");
        }
    }

    #[test]
    fn lines_count_together_and_absence_is_its_own_answer() {
        assert_eq!(bucket(&["gzip", "br"]), Some("br, gzip"));
        assert_eq!(bucket(&[]), None);
    }
}
