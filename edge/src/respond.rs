//! Responses to clients: heads from stored and from arriving responses, and the one place where
//! errors become HTTP.

mod edits;
mod heads;
mod values;

pub(crate) use edits::{AnswerForm, announce_length, sign};
pub(crate) use heads::Heads;
pub(crate) use values::Values;

use crate::body::{BelowBody, FillBody, ResponseBody, Resume};
use crate::collapsing::{FillHead, Reader};
use crate::failure::Failure;
use crate::parts::{self, AvailableBytes};
use crate::store::Stored;
use bytes::Bytes;
use edits::set;
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
        return answer(stored.status, fields, AnswerForm::NotModified, ResponseBody::Empty);
    }
    let length = stored.body.complete_length();
    if wish.ranged && *wish.method == Method::GET && stored.status == StatusCode::OK {
        match (parts::held(stored, wish.headers, &fields), length) {
            (AvailableBytes::One(span), length) => {
                let body = stored_bytes(stored, span.start, span.end);
                return answer(stored.status, fields, AnswerForm::Part(span, length), body);
            }
            (AvailableBytes::Many(spans), Some(length)) => {
                return multipart(stored, fields, &spans, length);
            }
            (AvailableBytes::Unsatisfiable, Some(length)) => {
                let form = AnswerForm::Unsatisfiable(length);
                return answer(stored.status, fields, form, ResponseBody::Empty);
            }
            // The lookup hands out no part for what it does not hold.
            (
                AvailableBytes::Whole
                | AvailableBytes::Nothing
                | AvailableBytes::Many(_)
                | AvailableBytes::Unsatisfiable,
                _,
            ) => {}
        }
    }
    let body = match (wish.method, stored.body.whole()) {
        (&Method::HEAD, _) => ResponseBody::Empty,
        (_, Some(bytes)) => ResponseBody::One(Some(bytes.clone())),
        _ => stored_bytes(stored, 0, length.unwrap_or(0)),
    };
    answer(stored.status, fields, AnswerForm::Whole, body)
}

/// The bytes of a stored response from `at` up to `end`.
fn stored_bytes(stored: &Arc<Stored>, at: u64, end: u64) -> ResponseBody {
    match stored.body.kept_below() {
        Some(body) => {
            ResponseBody::Below(Box::new(BelowBody::new(Arc::clone(body), at, Some(end))))
        }
        None => ResponseBody::Stored { stored: Arc::clone(stored), at, end },
    }
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
        return answer(head.status, fields, AnswerForm::NotModified, ResponseBody::Empty);
    }
    if *wish.method == Method::HEAD {
        return answer(head.status, fields, AnswerForm::Whole, ResponseBody::Empty);
    }
    if wish.ranged
        && whole
        && let Some(length) = head.complete_length
        && range::if_range_holds(wish.headers, &fields)
    {
        match range::resolve(&range::requested(wish.headers), length) {
            Resolved::Unsatisfiable => {
                let form = AnswerForm::Unsatisfiable(length);
                return answer(head.status, fields, form, ResponseBody::Empty);
            }
            Resolved::One(span) => {
                reader.seek(span.start);
                let body = FillBody::new(reader, span.start, Some(span.end), resume);
                let form = AnswerForm::Part(span, Some(length));
                return answer(head.status, fields, form, ResponseBody::Fill(Box::new(body)));
            }
            // Parts out of order would have the client wait for what it wants last.
            Resolved::Whole | Resolved::Many(_) => {}
        }
    }
    let body = FillBody::new(reader, head.start, head.end, resume);
    answer(head.status, fields, AnswerForm::Whole, ResponseBody::Fill(Box::new(body)))
}

/// The answer of this form to a response of this status and these fields.
pub(crate) fn answer(
    status: StatusCode,
    mut fields: HeaderMap,
    form: AnswerForm,
    body: ResponseBody,
) -> Response<ResponseBody> {
    let status = edits::edit(status, &mut fields, form);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

/// RFC 9110 §15.3.7.2.
fn multipart(
    stored: &Stored,
    fields: HeaderMap,
    spans: &[Span],
    length: u64,
) -> Response<ResponseBody> {
    let random = RandomState::new();
    let boundary = u128::from(random.hash_one(1)) << 64 | u128::from(random.hash_one(2));
    let boundary = range::Boundary::new(boundary);
    let layout = range::multipart(spans, &boundary, fields.get(header::CONTENT_TYPE), length);
    let mut runs = VecDeque::new();
    for part in layout.parts {
        runs.push_back(Ok(Bytes::from(part.preamble)));
        let mut at = part.span.start;
        while let Some(run) = stored.body.read(at, part.span.end).transpose() {
            let read = run.as_ref().map(|run| run.len() as u64);
            at = read.map_or(part.span.end, |read| at + read);
            runs.push_back(run);
        }
    }
    runs.push_back(Ok(Bytes::from(layout.closing)));
    let form = AnswerForm::Parts(boundary.content_type(), layout.length);
    answer(stored.status, fields, form, ResponseBody::Runs(runs))
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
        answer(status, fields, AnswerForm::Whole, ResponseBody::from_bytes(text))
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
    answer(status, fields, AnswerForm::Whole, ResponseBody::Empty)
}
