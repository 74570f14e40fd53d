//! Accept-Encoding (RFC 9110 §12.5.3) reduced to the few wishes that lead to different bytes.

use crate::coding::{AcceptedCodings, Coding};
use http::HeaderMap;

/// Every subset of the three codings, indexed by the bits of [`Coding::index`].
const BUCKETS: [&str; 8] =
    ["identity", "gzip", "br", "br, gzip", "zstd", "zstd, gzip", "zstd, br", "zstd, br, gzip"];

/// The codings an origin is asked for, most wanted first, from a client's Accept-Encoding: at most
/// `zstd`, `br`, `gzip` in fixed order, or `identity`. `None` when the field is absent.
///
/// A coding counts when its weight is neither 0 nor below a weight given to `identity`; `*` stands
/// for those not named. Requests of one bucket share a stored response because the origin is asked
/// with the bucket in place of the client's own field: a node must send it so.
pub fn accept_encoding_bucket(request: &HeaderMap) -> Option<&'static str> {
    let accepted = AcceptedCodings::of(request);
    let bit = |coding: Coding| usize::from(accepted.wants(coding)) << coding.index();
    let bits = Coding::ALL.into_iter().map(bit).sum::<usize>();
    accepted.is_present().then(|| BUCKETS[bits])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::header::ACCEPT_ENCODING;

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
