//! What a HEAD response does to a stored GET response (RFC 9111 §4.3.5).

use super::entity_tag::EntityTag;
use crate::freshness::date;
use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

/// What becomes of the stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEffect {
    /// Nothing: the HEAD tells nothing about it.
    Keep,
    /// It is still current: its fields are updated ([`super::freshened`]).
    Freshen,
    /// It is not current any more: it is stale from now on.
    Invalidate,
}

/// Judges a HEAD response against a stored GET response that could have answered a GET of the same
/// URL and selecting fields. `stored_length` is the complete length of the stored content, if known.
///
/// A HEAD without a validator or a length that can be compared is no evidence: it keeps.
pub fn head_effect(
    head_status: StatusCode,
    head: &HeaderMap,
    stored_status: StatusCode,
    stored: &HeaderMap,
    stored_length: Option<u64>,
) -> HeadEffect {
    // RFC 9111 §4.3.5 speaks of 200 only; an error says nothing about what a GET would get.
    if head_status != StatusCode::OK {
        return HeadEffect::Keep;
    }
    if !matches!(stored_status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return HeadEffect::Invalidate;
    }
    let comparisons =
        [same_etag(head, stored), same_date(head, stored), same_length(head, stored_length)];
    if comparisons.contains(&Some(false)) {
        HeadEffect::Invalidate
    } else if comparisons.contains(&Some(true)) {
        HeadEffect::Freshen
    } else {
        HeadEffect::Keep
    }
}

/// `None` when the HEAD has none; one that was not there before is a difference.
fn same_etag(head: &HeaderMap, stored: &HeaderMap) -> Option<bool> {
    let (new, old) = (head.get(ETAG)?, stored.get(ETAG));
    Some(old.is_some_and(|old| {
        match (EntityTag::parse(new.as_bytes()), EntityTag::parse(old.as_bytes())) {
            (Some(new), Some(old)) => new.matches_weakly(old) && new.weak == old.weak,
            _ => new == old,
        }
    }))
}

fn same_date(head: &HeaderMap, stored: &HeaderMap) -> Option<bool> {
    let new = date::parse(head.get(LAST_MODIFIED)?.as_bytes(), None)?;
    let old = stored.get(LAST_MODIFIED).and_then(|old| date::parse(old.as_bytes(), None));
    Some(old == Some(new))
}

fn same_length(head: &HeaderMap, stored: Option<u64>) -> Option<bool> {
    let new: u64 = head.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    Some(new == stored?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(n, v): &(&'static str, &'static str)| {
            (HeaderName::from_static(n), HeaderValue::from_static(v))
        };
        lines.iter().map(pair).collect()
    }

    fn effect(
        head: &[(&'static str, &'static str)],
        stored: &[(&'static str, &'static str)],
        length: Option<u64>,
    ) -> HeadEffect {
        let ok = StatusCode::OK;
        head_effect(ok, &fields(head), ok, &fields(stored), length)
    }

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[test]
    fn what_matches_freshens() {
        assert_eq!(effect(&[("etag", "\"a\"")], &[("etag", "\"a\"")], None), HeadEffect::Freshen);
        assert_eq!(
            effect(&[("last-modified", OLD)], &[("last-modified", OLD)], None),
            HeadEffect::Freshen
        );
        assert_eq!(effect(&[("content-length", "5")], &[], Some(5)), HeadEffect::Freshen);
    }

    #[test]
    fn what_differs_invalidates() {
        let etag = &[("etag", "\"a\"")];
        assert_eq!(effect(&[("etag", "\"b\"")], etag, None), HeadEffect::Invalidate);
        assert_eq!(effect(&[("etag", "W/\"a\"")], etag, None), HeadEffect::Invalidate);
        assert_eq!(effect(etag, &[], None), HeadEffect::Invalidate);
        assert_eq!(
            effect(&[("etag", "\"a\""), ("content-length", "6")], etag, Some(5)),
            HeadEffect::Invalidate
        );
        assert_eq!(
            effect(&[("last-modified", NEW)], &[("last-modified", OLD)], None),
            HeadEffect::Invalidate
        );
    }

    #[test]
    fn what_tells_nothing_keeps() {
        assert_eq!(effect(&[], &[("etag", "\"a\"")], Some(5)), HeadEffect::Keep);
        assert_eq!(effect(&[("content-length", "5")], &[], None), HeadEffect::Keep);
        assert_eq!(effect(&[("content-length", "x")], &[], Some(5)), HeadEffect::Keep);
    }

    #[test]
    fn only_a_200_speaks_and_only_of_content() {
        let (none, ok) = (HeaderMap::new(), StatusCode::OK);
        let gone = StatusCode::GONE;
        assert_eq!(head_effect(gone, &none, ok, &none, None), HeadEffect::Keep);
        assert_eq!(head_effect(ok, &none, gone, &none, None), HeadEffect::Invalidate);
    }
}
