//! What a fetch asks beyond the plain request: a decision about values, without I/O.

use super::head::strong;
use crate::collapsing::Purpose;
use crate::store::{Slice, SliceRef, Stored};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;
use weir_rules::invalidation::Validity;
use weir_rules::range::{self, Span};
use weir_rules::validation;

/// What a fetch asks.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// The whole representation.
    Whole,
    /// Whether the stored response is current (RFC 9111 §4.3.1).
    Validate(Arc<Stored>),
    /// The bytes after the first `u64` of a stored part (RFC 9111 §3.4).
    Complete(Arc<Stored>, u64),
    /// The range that the client asked for, under its If-Range.
    Range(HeaderValue, Option<HeaderValue>),
    /// The slice in which the range begins that the client asked for, of a file that may be stored in
    /// slices then; and whether the one that is stored is current.
    FirstSlice {
        /// The slice.
        span: Span,
        /// The client's If-Range.
        if_range: Option<HeaderValue>,
        /// The stored file that is asked about.
        base: Option<Arc<Stored>>,
    },
    /// A slice of the stored file with this validator.
    Slice(Span, HeaderValue),
}

impl Plan {
    /// The plan for a fetch of this purpose. `base` is the stored response at hand, as judged by all
    /// purges up to now.
    pub(super) fn of(purpose: &Purpose, base: Option<(&Arc<Stored>, Validity)>) -> Self {
        if let Some(range) = &purpose.range {
            let if_range = purpose.if_range.clone();
            let Some(span) = purpose.first_slice else {
                return Self::Range(range.clone(), if_range);
            };
            let base = base.filter(|(base, validity)| may_ask_about(base, *validity));
            return Self::FirstSlice { span, if_range, base: base.map(|(base, _)| base.clone()) };
        }
        match base {
            Some((base, validity)) if may_ask_about(base, validity) => Self::about(base),
            _ => Self::Whole,
        }
    }

    fn about(base: &Arc<Stored>) -> Self {
        let fields = base.fields().to_map();
        let without_validator = validation::conditional_fields(&fields).is_empty();
        if is_whole(base) {
            // Without a validator there is nothing to ask about (RFC 9111 §4.3.1).
            return match without_validator {
                true => Self::Whole,
                false => Self::Validate(Arc::clone(base)),
            };
        }
        let prefix = base.body.prefix();
        let gapless = prefix == base.body.held() && prefix > 0;
        // The rest cannot be joined under a weak validator (RFC 9111 §3.4). Without any validator
        // the rest is asked for all the same: such an origin mostly answers with the whole, which
        // is as good.
        let joins = strong(&fields).is_some() || without_validator;
        match gapless && joins {
            true => Self::Complete(Arc::clone(base), prefix),
            false => Self::Whole,
        }
    }

    /// Whether it adds anything to the plain request.
    pub(super) fn asks_more(&self) -> bool {
        !matches!(self, Self::Whole)
    }

    /// Adds the conditions and the range to the fields of the plain request.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        match self {
            Self::Whole => {}
            Self::Validate(base) => {
                for (name, value) in validation::conditional_fields(&base.fields().to_map()) {
                    headers.insert(name, value);
                }
            }
            Self::Complete(base, prefix) => {
                if let Ok(range) = HeaderValue::from_str(&format!("bytes={prefix}-")) {
                    headers.insert(header::RANGE, range);
                }
                if let Some(validator) = strong(&base.fields().to_map()) {
                    headers.insert(header::IF_RANGE, validator);
                }
            }
            Self::Range(range, if_range) => {
                headers.insert(header::RANGE, range.clone());
                if let Some(condition) = if_range {
                    headers.insert(header::IF_RANGE, condition.clone());
                }
            }
            Self::FirstSlice { span, if_range, base } => {
                write_range(headers, *span);
                match (base, if_range) {
                    // Read before the Range (RFC 9110 §13.2.2); the client's is judged here.
                    (Some(base), _) => {
                        let fields = base.fields().to_map();
                        headers.extend(validation::conditional_fields(&fields));
                    }
                    (None, Some(condition)) => {
                        headers.insert(header::IF_RANGE, condition.clone());
                    }
                    (None, None) => {}
                }
            }
            Self::Slice(span, validator) => {
                write_range(headers, *span);
                headers.insert(header::IF_RANGE, validator.clone());
            }
        }
    }

    /// The stored response that is asked about.
    pub(super) fn base(&self) -> Option<&Arc<Stored>> {
        match self {
            Self::Validate(base) | Self::Complete(base, _) => Some(base),
            Self::FirstSlice { base, .. } => base.as_ref(),
            Self::Whole | Self::Range(..) | Self::Slice(..) => None,
        }
    }

    /// Whether bytes of the representation are asked for, not all of it.
    pub(super) fn asks_for_part(&self) -> bool {
        !matches!(self, Self::Whole | Self::Validate(_))
    }

    /// The stored response whose validator is sent, to learn whether it is current.
    pub(super) fn validates(&self) -> Option<&Arc<Stored>> {
        match self {
            Self::Validate(base) => Some(base),
            Self::FirstSlice { base, .. } => base.as_ref(),
            Self::Whole | Self::Complete(..) | Self::Range(..) | Self::Slice(..) => None,
        }
    }

    /// What is asked where the answer to this is of no use.
    pub(super) fn instead(purpose: &Purpose) -> Self {
        match &purpose.range {
            Some(range) => Self::Range(range.clone(), purpose.if_range.clone()),
            None => Self::Whole,
        }
    }

    /// Whether an answer to our own condition or range is of no use, so that the whole must be
    /// asked for: a 304 about another response (RFC 9111 §4.3.3), a 206 that cannot be joined to
    /// the stored part, a 416. `length` is that of the answer's body.
    pub(super) fn is_missed_by(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> bool {
        if let Some(base) = self.validates()
            && status == StatusCode::NOT_MODIFIED
        {
            return !validation::selects_stored(headers, &base.fields().to_map());
        }
        match self {
            // Of an empty file nothing can be asked for; where the range lies, its answer says.
            Self::FirstSlice { .. } => matches!(
                status,
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED
            ),
            Self::Complete(base, prefix) => match status {
                StatusCode::PARTIAL_CONTENT => !continues(base, *prefix, headers, length),
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED => true,
                _ => false,
            },
            Self::Whole | Self::Validate(_) | Self::Range(..) | Self::Slice(..) => false,
        }
    }

    /// Why an answer of this status does not answer the question, if it does not.
    pub(super) fn misanswered(&self, status: StatusCode) -> Option<&'static str> {
        match status {
            StatusCode::NOT_MODIFIED if self.validates().is_none() => {
                Some("304 Not Modified to a request without a condition")
            }
            StatusCode::PARTIAL_CONTENT if !self.asks_for_part() => {
                Some("206 Partial Content to a request without a Range")
            }
            StatusCode::SWITCHING_PROTOCOLS => Some("101 Switching Protocols without Upgrade"),
            _ => None,
        }
    }
}

/// Whether a stored response may be asked about. A purge that came between the lookup that found it
/// and this fetch's stamp would not be seen again, because the validated response takes the stamp.
/// A hard-purged response is no candidate; a soft-purged one needs a strong validator.
fn may_ask_about(base: &Stored, validity: Validity) -> bool {
    match validity {
        Validity::Valid => true,
        Validity::Soft(_) => is_whole(base) && strong(&base.fields().to_map()).is_some(),
        Validity::Hard(_) => false,
    }
}

/// Whether a stored response is a whole representation: of one that is stored in slices, what is missing is
/// fetched when it is asked for.
fn is_whole(base: &Stored) -> bool {
    base.body.is_complete() || base.body.kept_below().is_some()
}

pub(super) fn write_range(headers: &mut HeaderMap, span: Span) {
    if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-{}", span.start, span.end - 1)) {
        headers.insert(header::RANGE, range);
    }
}

/// Whether a 206 carries on, to the end, at the byte where the held prefix of the same
/// representation stops.
fn continues(base: &Stored, prefix: u64, headers: &HeaderMap, length: Option<u64>) -> bool {
    let same = strong(headers).is_some() && strong(headers) == strong(&base.fields().to_map());
    let found = range::content_range(headers);
    let Some(span) = found.and_then(|found| found.span) else { return false };
    let complete = found.and_then(|found| found.complete_length);
    same && span.start == prefix
        && length.is_none_or(|length| length == span.length())
        && complete == Some(span.end)
        && base.body.complete_length().is_none_or(|length| length == span.end)
}

/// The slices of a stored body up to `prefix`.
pub(super) fn whole_prefix(base: &Stored, prefix: u64) -> Vec<Slice> {
    base.body.slices().filter(|slice| slice.end() <= prefix).map(SliceRef::to_slice).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{PackedHead, StoredBody};
    use bytes::Bytes;

    /// The first five of ten bytes, or all of them, with this ETag.
    fn base(etag: Option<&'static str>, is_whole: bool) -> Arc<Stored> {
        let etag = etag.map(|etag| (header::ETAG, HeaderValue::from_static(etag)));
        let bytes = Bytes::from_static(if is_whole { b"0123456789" } else { b"01234" });
        Arc::new(Stored {
            head: PackedHead::pack(Stored::example().key(), &etag.into_iter().collect()).unwrap(),
            body: StoredBody::new(vec![Slice { start: 0, bytes }], Some(10)),
            ..Stored::example()
        })
    }

    /// What a fetch with this base asks beyond the plain request.
    fn asked(base: &Arc<Stored>, validity: Validity) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        Plan::of(&Purpose::default(), Some((base, validity))).write(&mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_asked_follows_from_what_is_held_and_from_what_was_purged() {
        let whole = [("if-none-match", "\"a\"")];
        let weak = [("if-none-match", "W/\"a\"")];
        let rest = [("range", "bytes=5-"), ("if-range", "\"a\"")];
        let plain = &whole[..0];
        let cases = [
            (Some("\"a\""), true, Validity::Valid, &whole[..]),
            (Some("W/\"a\""), true, Validity::Valid, &weak[..]),
            (None, true, Validity::Valid, plain),
            (Some("\"a\""), true, Validity::Soft(1), &whole[..]),
            (Some("W/\"a\""), true, Validity::Soft(1), plain),
            (Some("\"a\""), true, Validity::Hard(1), plain),
            (Some("\"a\""), false, Validity::Valid, &rest[..]),
            (Some("W/\"a\""), false, Validity::Valid, plain),
            (None, false, Validity::Valid, &rest[..1]),
            (Some("\"a\""), false, Validity::Soft(1), plain),
        ];
        for (etag, is_whole, validity, expected) in cases {
            let asked = asked(&base(etag, is_whole), validity);
            assert_eq!(asked, fields(expected), "{etag:?} {is_whole} {validity:?}");
        }
    }

    #[test]
    fn a_range_is_asked_for_as_the_client_asked() {
        let range = HeaderValue::from_static("bytes=2-3");
        let purpose = Purpose { range: Some(range.clone()), ..Purpose::default() };
        let plan = Plan::of(&purpose, Some((&base(Some("\"a\""), true), Validity::Valid)));
        let mut headers = HeaderMap::new();
        plan.write(&mut headers);
        assert_eq!(headers, HeaderMap::from_iter([(header::RANGE, range)]));
        assert!(plan.base().is_none() && plan.asks_for_part());
    }

    #[test]
    fn the_first_slice_is_asked_for_in_place_of_a_range_and_whether_what_is_stored_is_current() {
        let purpose = Purpose {
            range: Some(HeaderValue::from_static("bytes=2-3")),
            if_range: Some(HeaderValue::from_static("\"x\"")),
            first_slice: Span::new(0, 100),
            ..Purpose::default()
        };
        let asked = |validity| {
            let base = base(Some("\"a\""), true);
            let mut headers = HeaderMap::new();
            let plan = Plan::of(&purpose, Some((&base, validity)));
            plan.write(&mut headers);
            (headers, plan.validates().is_some(), plan.asks_for_part())
        };
        let range = (header::RANGE, HeaderValue::from_static("bytes=0-99"));
        let current = (header::IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        let fields = HeaderMap::from_iter([range.clone(), current]);
        assert_eq!(asked(Validity::Soft(1)), (fields, true, true));
        // What was purged is no candidate, and the client's own condition counts.
        let own = (header::IF_RANGE, HeaderValue::from_static("\"x\""));
        assert_eq!(asked(Validity::Hard(1)), (HeaderMap::from_iter([range, own]), false, true));
        assert!(matches!(Plan::instead(&purpose), Plan::Range(..)));
    }

    #[test]
    fn an_answer_that_cannot_be_joined_has_the_whole_asked_for() {
        let plan =
            Plan::of(&Purpose::default(), Some((&base(Some("\"a\""), false), Validity::Valid)));
        let answer = |etag, content_range| {
            HeaderMap::from_iter([
                (header::ETAG, HeaderValue::from_static(etag)),
                (header::CONTENT_RANGE, HeaderValue::from_static(content_range)),
            ])
        };
        let part = StatusCode::PARTIAL_CONTENT;
        assert!(!plan.is_missed_by(part, &answer("\"a\"", "bytes 5-9/10"), Some(5)));
        assert!(!plan.is_missed_by(StatusCode::OK, &HeaderMap::new(), None));
        for (headers, length) in [
            (answer("\"b\"", "bytes 5-9/10"), Some(5)),
            (answer("\"a\"", "bytes 4-9/10"), Some(6)),
            (answer("\"a\"", "bytes 5-8/10"), Some(4)),
            (answer("\"a\"", "bytes 5-9/10"), Some(4)),
            (answer("\"a\"", "bytes 5-10/11"), Some(6)),
        ] {
            assert!(plan.is_missed_by(part, &headers, length), "{headers:?}");
        }
        assert!(plan.is_missed_by(StatusCode::RANGE_NOT_SATISFIABLE, &HeaderMap::new(), None));
    }

    #[test]
    fn an_answer_to_another_question_is_named() {
        let whole = Plan::Whole;
        assert!(whole.misanswered(StatusCode::OK).is_none());
        for status in
            [StatusCode::NOT_MODIFIED, StatusCode::PARTIAL_CONTENT, StatusCode::SWITCHING_PROTOCOLS]
        {
            assert!(whole.misanswered(status).is_some(), "{status}");
        }
        let validate = Plan::Validate(base(Some("\"a\""), true));
        assert!(validate.misanswered(StatusCode::NOT_MODIFIED).is_none());
        assert!(validate.misanswered(StatusCode::PARTIAL_CONTENT).is_some());
        assert!(
            Plan::Complete(base(Some("\"a\""), false), 5)
                .misanswered(StatusCode::PARTIAL_CONTENT)
                .is_none()
        );
    }
}
