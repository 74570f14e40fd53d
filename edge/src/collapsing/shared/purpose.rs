//! What a fill was started for.

use crate::store::{Selecting, UrlHash};
use http::{HeaderMap, HeaderValue, header};
use weir_rules::invalidation::Seq;
use weir_rules::range::Span;

/// What a fill was started for, as far as others need it to decide whether to join.
#[derive(Debug, Default)]
pub(crate) struct Purpose {
    /// The seq that was applied here when the fetch began. What comes may be from earlier, if a
    /// parent sends it.
    pub(crate) begun: Seq,
    /// The Range that is being fetched. Its part answers equal requests only; if the origin ignores
    /// it, the whole answers all.
    pub(crate) range: Option<HeaderValue>,
    /// The If-Range under which it is fetched; likewise.
    pub(crate) if_range: Option<HeaderValue>,
    /// The selecting values it is fetched for, where Vary is known from a stored response.
    pub(crate) expects: Option<Selecting>,
    /// For one request only, or for a slice: no other request joins.
    pub(crate) alone: bool,
    /// The slice that is asked for in place of `range`: nothing is known of the file. Where the file is
    /// stored in slices then, that answers all ranges.
    pub(crate) first_slice: Option<Span>,
    /// The slice that is fetched, for all who want it ([`Inflight::slice`](super::Inflight::slice)).
    pub(crate) slice: Option<SliceName>,
    /// The URL of its key.
    pub(crate) url: UrlHash,
}

/// A slice of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceName {
    /// What tells the body apart from others of its URL.
    pub(crate) body: u64,
    /// Its number.
    pub(crate) number: u64,
}

impl Purpose {
    /// Whether a request for this range, or for the whole, is answered with whatever answers the
    /// fill. Under another If-Range the origin might answer with the whole where it answers the fill
    /// with a part (RFC 9110 §13.1.5).
    pub(crate) fn asks_what(&self, request: &HeaderMap, range: Option<&HeaderValue>) -> bool {
        let Self { range: asked, if_range, .. } = self;
        asked.is_none()
            || (asked.as_ref() == range && if_range.as_ref() == request.get(header::IF_RANGE))
    }
}
