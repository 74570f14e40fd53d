//! The head of an upstream's answer: made ready for clients and store, and judged.

use crate::collapsing::FillHead;
use crate::source::Source;
use crate::state::NodeState;
use crate::tier::NodeFields;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use weir_rules::fields::{self, SURROGATE_CONTROL};
use weir_rules::range;
use weir_rules::tier;
use weir_rules::time::Time;
use weir_rules::validation::{self, StrongValidator};

/// The head of a source's answer, made ready for clients and store.
#[derive(Clone)]
pub(crate) struct CleanHead {
    /// The fields, without hop-by-hop ones, Age and those that are meant for caches only.
    pub(crate) fields: HeaderMap,
    /// Its Age field, if it has one.
    pub(crate) age: Option<HeaderValue>,
    /// Its Surrogate-Control lines: they govern storing here, and go no further.
    pub(crate) surrogate_control: Vec<HeaderValue>,
    /// Cache tags.
    pub(crate) tags: Box<[Box<str>]>,
    /// The bound on the number of tags, if there are more than are kept.
    pub(crate) too_many_tags: Option<usize>,
    /// The upstream that sent it.
    pub(crate) source: Arc<Source>,
    /// The body's length by framing.
    pub(crate) length: Option<u64>,
    /// Content-Length as it was sent: with HEAD and 304 it is that of a body that does not follow.
    pub(crate) announced: Option<HeaderValue>,
}

impl CleanHead {
    /// `fields`, which are these or derived from them, with Age and Surrogate-Control as they were
    /// sent: the fields that the rules of storing judge.
    pub(crate) fn judged<'a>(&self, fields: &'a HeaderMap) -> Cow<'a, HeaderMap> {
        let mut fields = Cow::Borrowed(fields);
        if let Some(age) = &self.age {
            fields.to_mut().insert(header::AGE, age.clone());
        }
        govern(&mut fields, &self.surrogate_control);
        fields
    }

    /// Makes of the fields of a 206 with the rest of a representation those of the whole.
    pub(super) fn complete(&mut self) {
        let found = range::content_range(&self.fields);
        self.fields.remove(header::CONTENT_RANGE);
        self.length = found.and_then(|found| found.complete_length);
        if let Some(length) = self.length {
            self.fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }

    /// Its Age; 0 if it has none that is a number.
    pub(super) fn age_seconds(&self) -> u32 {
        let age = self.age.as_ref().and_then(|age| age.to_str().ok());
        age.and_then(|age| age.parse().ok()).unwrap_or(0)
    }
}

impl<'a> NodeFields<'a> {
    /// Those of a response that is being filled.
    pub(crate) fn of_head(head: &'a FillHead) -> Self {
        Self {
            tags: &head.tags,
            surrogate_control: head.surrogate_control.clone(),
            too_many_tags: head.has_too_many_tags(),
        }
    }
}

/// Replaces Surrogate-Control by that of the upstream, if it sent one. The field is stored, because
/// a 304 may come without it, and never sent on.
pub(super) fn govern(fields: &mut Cow<'_, HeaderMap>, surrogate_control: &[HeaderValue]) {
    if surrogate_control.is_empty() {
        return;
    }
    let fields = fields.to_mut();
    fields.remove(&SURROGATE_CONTROL);
    for line in surrogate_control {
        fields.append(&SURROGATE_CONTROL, line.clone());
    }
}

/// Makes the head of an upstream's answer ready for clients and store. `length` is that of the body
/// by its framing, which is the only length that counts; `received` is the version in which it was
/// received.
pub(crate) fn clean_head(
    state: &NodeState,
    (received, status): (Version, StatusCode),
    mut headers: HeaderMap,
    length: Option<u64>,
    source: Arc<Source>,
    now: Time,
) -> CleanHead {
    let trailer = headers.get(header::TRAILER).cloned();
    fields::remove_hop_by_hop(&mut headers);
    // Trailer fields pass, and are announced to clients (RFC 9110 §6.6.2).
    if let Some(trailer) = trailer {
        headers.insert(header::TRAILER, trailer);
    }
    let mut parent_left_out = false;
    // The origin's are removed already: these are from a parent.
    if headers.keys().any(tier::is_own) {
        parent_left_out = headers.get(tier::TAGS).is_some_and(|tags| tags == "too-many");
        fields::remove_where(&mut headers, tier::is_own);
    }
    let announced = only_length(&headers);
    match length {
        // RFC 9110 §8.6: a 204 has no Content-Length.
        Some(length) if status != StatusCode::NO_CONTENT => {
            if !states_length(&headers, length) {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        _ => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
    let age = headers.remove(header::AGE);
    let most = state.live.load().limits().tags;
    let tags = fields::tags(&headers, most);
    let too_many_tags = (parent_left_out || tags.is_err()).then_some(most);
    let tags = tags.unwrap_or_default().into_iter().map(String::into_boxed_str).collect();
    let surrogate_control = headers.get_all(&SURROGATE_CONTROL).iter().cloned().collect();
    fields::remove_at_last_hop(&mut headers);
    // RFC 9110 §6.6.1: a recipient with a clock adds a missing Date.
    if !headers.get(header::DATE).is_some_and(is_date)
        && let Ok(date) = HeaderValue::from_str(&now.to_http_date())
    {
        headers.insert(header::DATE, date);
    }
    headers.append(header::VIA, state.via.of(received).clone());
    CleanHead {
        fields: headers,
        age,
        surrogate_control,
        tags,
        too_many_tags,
        source,
        length,
        announced,
    }
}

/// Bytes of a date as it is written today (IMF-fixdate, RFC 9110 §5.6.7).
const DATE_BYTES: usize = 29;

thread_local! {
    /// The last date of so many bytes that was valid: all answers of a second have the same.
    static LAST_DATE: Cell<[u8; DATE_BYTES]> = const { Cell::new([0; DATE_BYTES]) };
}

/// Whether a Date is a date.
fn is_date(value: &HeaderValue) -> bool {
    let written = <[u8; DATE_BYTES]>::try_from(value.as_bytes());
    if written.is_ok_and(|written| written == LAST_DATE.get()) {
        return true;
    }
    let is_date = value.to_str().ok().and_then(Time::from_http_date).is_some();
    if is_date && let Ok(written) = written {
        LAST_DATE.set(written);
    }
    is_date
}

/// Whether Content-Length is this, once and as weir writes it.
pub(super) fn states_length(headers: &HeaderMap, length: u64) -> bool {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let (digits, first) = (line.to_str().unwrap_or_default(), line.as_bytes().first());
    let is_written_so = matches!(first, Some(b'1'..=b'9')) || digits == "0";
    is_written_so && digits.parse() == Ok(length)
}

/// Content-Length, unless there are several that differ.
fn only_length(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next()?;
    lengths.all(|length| length == first).then(|| first.clone())
}

/// The strong validator of a response as If-Range takes it.
pub(super) fn strong(fields: &HeaderMap) -> Option<HeaderValue> {
    let validator = match validation::strong_validator(fields)? {
        StrongValidator::ETag(tag) => tag,
        StrongValidator::LastModified(date) => date,
    };
    HeaderValue::from_str(&validator).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_one_however_often_it_comes() {
        let valid = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"];
        let invalid = ["Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "", "0"];
        for _ in 0..2 {
            for date in valid {
                assert!(is_date(&HeaderValue::from_static(date)), "{date}");
            }
            for date in invalid {
                assert!(!is_date(&HeaderValue::from_static(date)), "{date}");
            }
            assert!(!is_date(&HeaderValue::from_bytes(&[0xff; DATE_BYTES]).expect("a value")));
        }
    }

    #[test]
    fn a_length_is_stated_once_and_in_one_way() {
        for (lines, length, stated) in [
            (&["1024"][..], 1024, true),
            (&["0"], 0, true),
            (&["1024"], 1023, false),
            (&["01024"], 1024, false),
            (&["+1024"], 1024, false),
            (&["00"], 0, false),
            (&["1024", "1024"], 1024, false),
            (&[""], 0, false),
            (&[], 0, false),
        ] {
            let mut headers = HeaderMap::new();
            lines.iter().for_each(|line| {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(line));
            });
            assert_eq!(states_length(&headers, length), stated, "{lines:?} {length}");
        }
    }
}
