//! The edits of heads as they are sent. The head of every response goes through here: [`edit`]
//! makes of a response's fields those of the answer, and [`sign`] is the last step.

use crate::body::ResponseBody;
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use weir_rules::range::Span;

/// The form of an answer, as against the response that it is made from.
pub(crate) enum AnswerForm {
    /// The response as it is.
    Whole,
    /// Its head, without the body that it speaks of; with Content-Length as the upstream sent it.
    HeadOnly(Option<HeaderValue>),
    /// The client's copy is current.
    NotModified,
    /// One part of it; the length of the whole, if it is known.
    Part(Span, Option<u64>),
    /// Several parts of it, as a body of this type and length.
    Parts(HeaderValue, u64),
    /// No byte of it is asked for; its length.
    Unsatisfiable(u64),
}

/// Edits the fields of a response for an answer of this form; its status.
pub(super) fn edit(status: StatusCode, fields: &mut HeaderMap, form: AnswerForm) -> StatusCode {
    let status = formed(status, fields, form);
    // RFC 9110 §8.6: a 204 has no Content-Length, whichever method it answers.
    if status == StatusCode::NO_CONTENT {
        fields.remove(header::CONTENT_LENGTH);
    }
    status
}

fn formed(status: StatusCode, fields: &mut HeaderMap, form: AnswerForm) -> StatusCode {
    match form {
        AnswerForm::Whole => status,
        AnswerForm::HeadOnly(announced) => {
            announce_length(fields, announced);
            status
        }
        AnswerForm::NotModified => {
            not_modified(fields);
            StatusCode::NOT_MODIFIED
        }
        AnswerForm::Part(span, length) => {
            let length = length.map_or_else(|| "*".to_owned(), |length| length.to_string());
            let range = format!("bytes {}-{}/{length}", span.start, span.end - 1);
            // RFC 9110 §15.3.7.1
            set(fields, header::CONTENT_RANGE, &range);
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(span.length()));
            StatusCode::PARTIAL_CONTENT
        }
        AnswerForm::Parts(content_type, length) => {
            // RFC 9110 §15.3.7.2
            fields.insert(header::CONTENT_TYPE, content_type);
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            StatusCode::PARTIAL_CONTENT
        }
        AnswerForm::Unsatisfiable(length) => {
            // RFC 9110 §15.5.17
            fields.remove(header::CONTENT_TYPE);
            fields.remove(header::CONTENT_ENCODING);
            set(fields, header::CONTENT_RANGE, &format!("bytes */{length}"));
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            StatusCode::RANGE_NOT_SATISFIABLE
        }
    }
}

/// RFC 9110 §15.4.5: what a cache needs to update its copy, and nothing about the content.
fn not_modified(fields: &mut HeaderMap) {
    let tagged = fields.contains_key(header::ETAG);
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_RANGE,
    ] {
        fields.remove(name);
    }
    if tagged {
        fields.remove(header::LAST_MODIFIED);
    }
}

/// Restores Content-Length as the upstream sent it: that of a body that does not follow is the
/// origin's to state.
pub(crate) fn announce_length(fields: &mut HeaderMap, announced: Option<HeaderValue>) {
    match announced {
        Some(length) => fields.insert(header::CONTENT_LENGTH, length),
        None => fields.remove(header::CONTENT_LENGTH),
    };
}

/// Keeps other caches from storing a response ([`weir_rules::access::private`]).
pub(crate) fn make_private(response: &mut Response<ResponseBody>) {
    if !response.status().is_informational() {
        weir_rules::access::private::make_private(response.headers_mut());
    }
}

/// The last edit of every response: this node's member of Cache-Status, last in its list
/// (RFC 9211).
pub(crate) fn sign(response: &mut Response<ResponseBody>, cache_status: HeaderValue) {
    match response.headers_mut().entry(header::CACHE_STATUS) {
        // The place kept for it, or a list without members: the same to everyone.
        Entry::Occupied(mut held) if held.get().is_empty() && held.iter().nth(1).is_none() => {
            held.insert(cache_status);
        }
        Entry::Occupied(mut held) => held.append(cache_status),
        Entry::Vacant(place) => {
            place.insert(cache_status);
        }
    }
}

/// Tells browsers to do by https alone (RFC 6797 §7.1: once), whatever the upstream says of it.
pub(crate) fn promise_https(response: &mut Response<ResponseBody>, value: &HeaderValue) {
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
}

/// Sets a field to a value of visible ASCII.
pub(super) fn set(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> HeaderMap {
        HeaderMap::from_iter([
            (header::ETAG, HeaderValue::from_static("\"a\"")),
            (header::LAST_MODIFIED, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
            (header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
            (header::CONTENT_TYPE, HeaderValue::from_static("text/css")),
            (header::CONTENT_LENGTH, HeaderValue::from_static("10")),
        ])
    }

    /// The fields of an answer that differ from those of the page; an empty value is no field.
    fn changed(form: AnswerForm) -> (u16, Vec<(HeaderName, String)>) {
        let (before, mut after) = (page(), page());
        let status = edit(StatusCode::OK, &mut after, form);
        let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
        let text = |value: Option<&HeaderValue>| {
            value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let changed = names.filter(|name| before.get(*name) != after.get(*name));
        let mut changed: Vec<_> =
            changed.map(|name| (name.clone(), text(after.get(name)))).collect();
        changed.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        (status.as_u16(), changed)
    }

    #[test]
    fn each_form_of_answer_changes_these_fields_and_no_other() {
        use header::{
            CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LAST_MODIFIED,
        };
        let span = Span::new(2, 5).expect("three bytes");
        let parts = HeaderValue::from_static("multipart/byteranges");
        let gone = |name| (name, String::new());
        let set = |name, value: &str| (name, value.to_owned());
        let cases = [
            (AnswerForm::Whole, 200, vec![]),
            (AnswerForm::HeadOnly(Some(HeaderValue::from(7))), 200, vec![set(CONTENT_LENGTH, "7")]),
            (AnswerForm::HeadOnly(None), 200, vec![gone(CONTENT_LENGTH)]),
            (
                AnswerForm::NotModified,
                304,
                vec![
                    gone(CONTENT_ENCODING),
                    gone(CONTENT_LENGTH),
                    gone(CONTENT_TYPE),
                    gone(LAST_MODIFIED),
                ],
            ),
            (
                AnswerForm::Part(span, Some(10)),
                206,
                vec![set(CONTENT_LENGTH, "3"), set(CONTENT_RANGE, "bytes 2-4/10")],
            ),
            (
                AnswerForm::Part(span, None),
                206,
                vec![set(CONTENT_LENGTH, "3"), set(CONTENT_RANGE, "bytes 2-4/*")],
            ),
            (
                AnswerForm::Parts(parts, 99),
                206,
                vec![set(CONTENT_LENGTH, "99"), set(CONTENT_TYPE, "multipart/byteranges")],
            ),
            (
                AnswerForm::Unsatisfiable(10),
                416,
                vec![
                    gone(CONTENT_ENCODING),
                    set(CONTENT_LENGTH, "0"),
                    set(CONTENT_RANGE, "bytes */10"),
                    gone(CONTENT_TYPE),
                ],
            ),
        ];
        for (form, status, fields) in cases {
            assert_eq!(changed(form), (status, fields));
        }
    }

    #[test]
    fn the_member_of_this_node_is_the_last_of_cache_status() {
        for (before, after) in [
            (vec![], vec!["edge; hit"]),
            (vec![""], vec!["edge; hit"]),
            (vec!["origin; hit"], vec!["origin; hit", "edge; hit"]),
        ] {
            let mut response = Response::new(ResponseBody::Empty);
            for member in before {
                response
                    .headers_mut()
                    .append(header::CACHE_STATUS, HeaderValue::from_static(member));
            }
            sign(&mut response, HeaderValue::from_static("edge; hit"));
            let members: Vec<_> = response.headers().get_all(header::CACHE_STATUS).iter().collect();
            assert_eq!(members, after);
        }
    }
}
