//! What a stored response, whole or in part, has for a Range (RFC 9111 §3.3, RFC 9110 §14).

use crate::store::Stored;
use http::{HeaderMap, header};
use weir_rules::range::{self, Requested, Resolved, Span, Spec};

/// What a request gets from a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AvailableBytes {
    /// The whole representation.
    Whole,
    /// One part.
    One(Span),
    /// Several parts; only of a representation of known length.
    Many(Vec<Span>),
    /// No byte of what is asked exists.
    Unsatisfiable,
    /// Nothing: bytes that it asks for are not held.
    Nothing,
}

/// What a GET with these fields gets. `fields` are the stored response's.
pub(crate) fn held(stored: &Stored, request: &HeaderMap, fields: &HeaderMap) -> AvailableBytes {
    // Of a long body on disk that is known only after a look at each slice.
    let is_whole = || stored.body.is_complete();
    let without = || if is_whole() { AvailableBytes::Whole } else { AvailableBytes::Nothing };
    if !range::if_range_holds(request, fields) {
        return without();
    }
    let requested = range::requested(request);
    if let Some(span) = answered_before(stored, request)
        && !is_whole()
    {
        return AvailableBytes::One(span);
    }
    let Some(length) = stored.body.complete_length() else {
        return of_unknown_length(stored, &requested);
    };
    let covers = |span: &Span| stored.body.covers(*span);
    match range::resolve(&requested, length) {
        Resolved::Whole => without(),
        Resolved::Unsatisfiable => AvailableBytes::Unsatisfiable,
        Resolved::One(span) if covers(&span) => AvailableBytes::One(span),
        // Parts are put together in memory.
        Resolved::Many(_) if stored.body.kept_below().is_some() => without(),
        Resolved::Many(spans) if spans.iter().all(covers) => AvailableBytes::Many(spans),
        Resolved::One(_) | Resolved::Many(_) => AvailableBytes::Nothing,
    }
}

/// A request with the very Range that the stored part was the origin's answer to gets that part,
/// whatever the origin made of it.
fn answered_before(stored: &Stored, request: &HeaderMap) -> Option<Span> {
    let answered = stored.body.answered()?;
    let mut lines = request.get_all(header::RANGE).iter();
    let same = lines.next() == Some(&answered.range) && lines.next().is_none();
    same.then_some(answered.span)
}

/// Without a complete length only a range with both ends means the same bytes for certain.
fn of_unknown_length(stored: &Stored, requested: &Requested) -> AvailableBytes {
    let Requested::Bytes(specs) = requested else { return AvailableBytes::Nothing };
    let [Spec::FromTo(first, last)] = specs[..] else { return AvailableBytes::Nothing };
    match Span::new(first, last.saturating_add(1)) {
        Some(span) if stored.body.covers(span) => AvailableBytes::One(span),
        _ => AvailableBytes::Nothing,
    }
}
