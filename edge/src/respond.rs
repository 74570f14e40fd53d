//! Responses to clients: heads from stored and from arriving responses, and the one place where
//! errors become HTTP.

mod heads;
mod values;

pub(crate) use heads::Heads;
pub(crate) use values::Values;

use crate::body::{FillBody, ResponseBody, Resume};
use crate::collapsing::{FillHead, Reader};
use crate::failure::Failure;
use crate::parts::{self, Held};
use crate::store::{Stored, StoredBody};
use bytes::Bytes;
use http::header::Entry;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use weir_rules::range::{self, Resolved, Span};
use weir_rules::time::Time;
use weir_rules::validation::{self, Precondition};

/// What of a request decides the form of its answer.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// GET or HEAD.
    pub(crate) method: &'a Method,
    /// The request's fields.
    pub(crate) headers: &'a HeaderMap,
    /// Whether If-None-Match or If-Modified-Since is among them.
    pub(crate) conditional: bool,
    /// Whether Range is among them.
    pub(crate) ranged: bool,
}

/// An answer from a stored response: whole, 304, 206 or 416. Age is the caller's to add.
pub(crate) fn from_stored(
    stored: &Arc<Stored>,
    heads: &Heads,
    wish: &Wish<'_>,
) -> Response<ResponseBody> {
    let fields = heads.fields(stored);
    if wish.conditional
        && validation::evaluate(wish.headers, stored.status, &fields) == Precondition::NotModified
    {
        return not_modified(fields);
    }
    let length = stored.body.complete_length();
    if wish.ranged && *wish.method == Method::GET && stored.status == StatusCode::OK {
        match (parts::held(stored, wish.headers, &fields), length) {
            (Held::One(span), length) => {
                let (stored, at, end) = (Arc::clone(stored), span.start, span.end);
                return partial(fields, span, length, ResponseBody::Stored { stored, at, end });
            }
            (Held::Many(spans), Some(length)) => {
                return multipart(fields, &stored.body, &spans, length);
            }
            (Held::Unsatisfiable, Some(length)) => return unsatisfiable(fields, length),
            // The lookup hands out no part for what it does not hold.
            (Held::Whole | Held::Nothing | Held::Many(_) | Held::Unsatisfiable, _) => {}
        }
    }
    let body = match (wish.method, stored.body.whole()) {
        (&Method::HEAD, _) => ResponseBody::Empty,
        (_, Some(bytes)) => ResponseBody::One(Some(bytes.clone())),
        _ => ResponseBody::Stored { stored: Arc::clone(stored), at: 0, end: length.unwrap_or(0) },
    };
    response(stored.status, fields, body)
}

/// An answer that follows a running fill. `resume` lets the client go on alone.
pub(crate) fn from_fill(
    head: &FillHead,
    mut reader: Reader,
    wish: &Wish<'_>,
    resume: Option<Resume>,
) -> Response<ResponseBody> {
    let fields = head.fields.clone();
    let whole = head.status == StatusCode::OK && head.start == 0;
    if wish.conditional
        && head.terms.is_ok()
        && whole
        && validation::evaluate(wish.headers, head.status, &fields) == Precondition::NotModified
    {
        return not_modified(fields);
    }
    if wish.ranged
        && whole
        && let Some(length) = head.complete_length
        && range::if_range_holds(wish.headers, &fields)
    {
        match range::resolve(&range::requested(wish.headers), length) {
            Resolved::Unsatisfiable => return unsatisfiable(fields, length),
            Resolved::One(span) => {
                reader.seek(span.start);
                let body = FillBody::new(reader, span.start, Some(span.end), resume);
                return partial(fields, span, Some(length), ResponseBody::Fill(Box::new(body)));
            }
            // Parts out of order would have the client wait for what it wants last.
            Resolved::Whole | Resolved::Many(_) => {}
        }
    }
    let body = FillBody::new(reader, head.start, head.end, resume);
    response(head.status, fields, ResponseBody::Fill(Box::new(body)))
}

/// Adds Age (RFC 9111 §5.1) and, last in its list, this node's member of Cache-Status (RFC 9211).
pub(crate) fn sign(
    response: &mut Response<ResponseBody>,
    age: Option<HeaderValue>,
    cache_status: HeaderValue,
) {
    let headers = response.headers_mut();
    if let Some(age) = age {
        headers.insert(header::AGE, age);
    }
    match headers.entry(header::CACHE_STATUS) {
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

fn response(status: StatusCode, fields: HeaderMap, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

/// RFC 9110 §15.4.5: what a cache needs to update its copy, and nothing about the content.
fn not_modified(mut fields: HeaderMap) -> Response<ResponseBody> {
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
    response(StatusCode::NOT_MODIFIED, fields, ResponseBody::Empty)
}

/// RFC 9110 §15.5.17.
fn unsatisfiable(mut fields: HeaderMap, length: u64) -> Response<ResponseBody> {
    fields.remove(header::CONTENT_TYPE);
    fields.remove(header::CONTENT_ENCODING);
    set(&mut fields, header::CONTENT_RANGE, &format!("bytes */{length}"));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    response(StatusCode::RANGE_NOT_SATISFIABLE, fields, ResponseBody::Empty)
}

/// RFC 9110 §15.3.7.1.
fn partial(
    mut fields: HeaderMap,
    span: Span,
    length: Option<u64>,
    body: ResponseBody,
) -> Response<ResponseBody> {
    let length = length.map_or_else(|| "*".to_owned(), |length| length.to_string());
    let range = format!("bytes {}-{}/{length}", span.start, span.end - 1);
    set(&mut fields, header::CONTENT_RANGE, &range);
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(span.length()));
    response(StatusCode::PARTIAL_CONTENT, fields, body)
}

/// RFC 9110 §15.3.7.2.
fn multipart(
    mut fields: HeaderMap,
    body: &StoredBody,
    spans: &[Span],
    length: u64,
) -> Response<ResponseBody> {
    let random = RandomState::new();
    let boundary = u128::from(random.hash_one(1)) << 64 | u128::from(random.hash_one(2));
    let boundary = range::Boundary::new(boundary);
    let content_type = fields.insert(header::CONTENT_TYPE, boundary.content_type());
    let layout = range::multipart(spans, &boundary, content_type.as_ref(), length);
    let mut runs = VecDeque::new();
    for part in layout.parts {
        runs.push_back(Ok(Bytes::from(part.preamble)));
        let mut at = part.span.start;
        while let Some(run) = body.read(at, part.span.end).transpose() {
            let read = run.as_ref().map(|run| run.len() as u64);
            at = read.map_or(part.span.end, |read| at + read);
            runs.push_back(run);
        }
    }
    runs.push_back(Ok(Bytes::from(layout.closing)));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(layout.length));
    response(StatusCode::PARTIAL_CONTENT, fields, ResponseBody::Runs(runs))
}

impl Failure {
    /// Its answer.
    pub(crate) fn into_response(self, now: Time) -> Response<ResponseBody> {
        let status = self.status();
        let text = Bytes::from(format!("{status}\n{}\n", self.message()));
        let mut fields = HeaderMap::with_capacity(8);
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set(&mut fields, header::DATE, &now.to_http_date());
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                fields.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
            }
            _ => {}
        }
        response(status, fields, ResponseBody::from_bytes(text))
    }
}

/// Methods that pass here beside any an origin may define.
pub(crate) const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// An answer without content that the node makes itself.
pub(crate) fn empty(status: StatusCode, now: Time) -> Response<ResponseBody> {
    let mut fields = HeaderMap::with_capacity(4);
    set(&mut fields, header::DATE, &now.to_http_date());
    if status != StatusCode::NO_CONTENT {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    }
    response(status, fields, ResponseBody::Empty)
}

fn set(fields: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}
