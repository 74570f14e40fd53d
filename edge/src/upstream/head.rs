//! Judging the head of a response as strictly as that of a request.

use crate::error::UpstreamError;
use http::{HeaderMap, Version, header};
use weir_config::Limits;

/// What the head of a response may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    /// Bytes of its headers, each with `: ` and CRLF.
    bytes: usize,
    fields: usize,
}

impl HeadLimits {
    pub(super) fn of(limits: &Limits) -> Self {
        Self { bytes: limits.origin_header_bytes, fields: limits.origin_header_fields }
    }

    /// Errors: [`UpstreamError::HeadTooLarge`], and [`UpstreamError::BadHead`] if the body's framing
    /// is unknown or ambiguous.
    pub(super) fn check(&self, version: Version, headers: &HeaderMap) -> Result<(), UpstreamError> {
        // INVARIANT: both are bounded by what was read, so that the sum does not overflow.
        let line = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
            name.as_str().len() + value.len() + 4
        };
        if headers.len() > self.fields || headers.iter().map(line).sum::<usize>() > self.bytes {
            return Err(UpstreamError::HeadTooLarge);
        }
        match version < Version::HTTP_2 {
            true => check_framing(headers),
            // RFC 9113 §8.2.2: h2 refuses Transfer-Encoding.
            false => Ok(()),
        }
    }
}

/// RFC 9112 §6.1, §6.3: the only transfer coding that weir decodes is `chunked`, once. A length
/// beside it may be an attempt to split responses.
fn check_framing(headers: &HeaderMap) -> Result<(), UpstreamError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    let chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if !chunked || codings.next().is_some() {
        return Err(UpstreamError::BadHead("a transfer coding other than chunked".into()));
    }
    match headers.contains_key(header::CONTENT_LENGTH) {
        true => Err(UpstreamError::BadHead("Content-Length beside Transfer-Encoding".into())),
        false => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair =
            |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        fields.iter().map(pair).collect()
    }

    #[test]
    fn only_chunked_once_is_understood() {
        let te = "transfer-encoding";
        for (fields, sound) in [
            (vec![], true),
            (vec![("content-length", "5")], true),
            (vec![(te, "chunked")], true),
            (vec![(te, "Chunked ")], true),
            (vec![(te, "gzip, chunked")], false),
            (vec![(te, "chunked, gzip")], false),
            (vec![(te, "chunked, chunked")], false),
            (vec![(te, "chunked"), (te, "chunked")], false),
            (vec![(te, "foobar")], false),
            (vec![(te, "identity")], false),
            (vec![(te, "")], false),
            (vec![(te, "chunked"), ("content-length", "5")], false),
        ] {
            assert_eq!(check_framing(&headers(&fields)).is_ok(), sound, "{fields:?}");
        }
    }

    #[test]
    fn limits_are_exact() {
        let limits = HeadLimits { bytes: 20, fields: 2 };
        let check = |fields: &[_]| limits.check(Version::HTTP_11, &headers(fields));
        assert_eq!(check(&[("a", "12345"), ("b", "12345")]), Ok(()));
        let too_large = Err(UpstreamError::HeadTooLarge);
        assert_eq!(check(&[("a", "12345"), ("b", "123456")]), too_large);
        assert_eq!(check(&[("a", ""), ("b", ""), ("c", "")]), too_large);
    }
}
