//! Responses to clients: heads from stored and from arriving responses, and the one place where
//! errors become HTTP.

mod coded;
mod edits;
mod heads;
mod values;

pub(crate) use coded::{InForm, decode, from_fill, from_stored_in, passed_on};
pub(crate) use edits::{AnswerForm, announce_length, make_private, promise_https, sign};
pub(crate) use heads::Heads;
pub(crate) use values::Values;

use crate::body::{BelowBody, FillBody, ResponseBody, Resume};
use crate::coding::{self, Codings};
use crate::collapsing::{FillHead, Reader};
use crate::failure::Failure;
use crate::parts::{self, AvailableBytes};
use crate::store::Stored;
use crate::upstream::READ_ONLY;
use bytes::Bytes;
use edits::set;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use weir_rules::coding::vary_by_coding;
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
    /// What decides the coding of its answer, if that is this node's to choose.
    pub(crate) codings: Option<Codings<'a>>,
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

/// What a request asks for of a stored file, of which slices may be missing.
pub(crate) enum Asked {
    /// No byte: the answer is the head of the file, a 304 or a 416.
    Nothing,
    /// These bytes.
    Bytes(Span),
    /// Several parts: put together by whoever has all of it.
    Parts,
}

/// What a request asks for of a stored file.
pub(crate) fn asked_of(stored: &Arc<Stored>, heads: &Heads, wish: &Wish<'_>) -> Asked {
    let (fields, length) = (heads.fields(stored), stored.body.complete_length().unwrap_or(0));
    match form_in_slices(stored, &fields, wish, length) {
        Some(AnswerForm::Whole) if *wish.method != Method::HEAD => {
            Span::new(0, length).map_or(Asked::Nothing, Asked::Bytes)
        }
        Some(AnswerForm::Part(span, _)) => Asked::Bytes(span),
        Some(_) => Asked::Nothing,
        None => Asked::Parts,
    }
}

/// The answer from a stored file of which slices may be missing, with the body that was made for what is
/// [asked](asked_of).
pub(crate) fn in_slices(
    stored: &Arc<Stored>,
    heads: &Heads,
    wish: &Wish<'_>,
    body: ResponseBody,
) -> Response<ResponseBody> {
    let (fields, length) = (heads.fields(stored), stored.body.complete_length().unwrap_or(0));
    let form = form_in_slices(stored, &fields, wish, length).unwrap_or(AnswerForm::Whole);
    let mut response = answer(stored.status, fields, form, body);
    if wish.codings.as_ref().is_some_and(|codings| coding::varies(stored, codings.rules)) {
        vary_by_coding(response.headers_mut());
    }
    response
}

fn form_in_slices(
    stored: &Stored,
    fields: &HeaderMap,
    wish: &Wish<'_>,
    length: u64,
) -> Option<AnswerForm> {
    if wish.conditional
        && validation::evaluate(wish.headers, stored.status, fields) == Precondition::NotModified
    {
        return Some(AnswerForm::NotModified);
    }
    let is_by_range = wish.ranged && *wish.method == Method::GET && stored.status == StatusCode::OK;
    if !is_by_range || !range::if_range_holds(wish.headers, fields) {
        return Some(AnswerForm::Whole);
    }
    match range::resolve(&range::requested(wish.headers), length) {
        Resolved::Whole => Some(AnswerForm::Whole),
        Resolved::One(span) => Some(AnswerForm::Part(span, Some(length))),
        Resolved::Unsatisfiable => Some(AnswerForm::Unsatisfiable(length)),
        Resolved::Many(_) => None,
    }
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
fn plain_from_fill(
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
    if reader.purpose().first_slice.is_some()
        && head.status == StatusCode::PARTIAL_CONTENT
        && let Some(length) = head.complete_length
        && let Resolved::One(span) = range::resolve(&range::requested(wish.headers), length)
    {
        // The slice around it was asked for.
        reader.seek(span.start);
        let body = FillBody::new(reader, span.start, Some(span.end), None);
        let form = AnswerForm::Part(span, Some(length));
        return answer(head.status, fields, form, ResponseBody::Fill(Box::new(body)));
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
        if let Self::Access(refusal) = &self {
            if let Some(challenge) = refusal.challenge() {
                set(&mut fields, header::WWW_AUTHENTICATE, &challenge);
            }
            if let Some(seconds) = refusal.retry_after() {
                fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
        }
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = if self.word() == READ_ONLY { "GET, HEAD" } else { ALLOWED };
                fields.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            _ => {}
        }
        answer(status, fields, AnswerForm::Whole, ResponseBody::from_bytes(text))
    }
}

/// Methods that pass here beside any an origin may define.
pub(crate) const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The redirect of a request to the same URL by https: the method and the body stay (RFC 9110 §15.4.9).
pub(crate) fn to_https(location: &str, now: Time) -> Response<ResponseBody> {
    let mut response = empty(StatusCode::PERMANENT_REDIRECT, now);
    set(response.headers_mut(), header::LOCATION, location);
    response
}

/// The answer to a challenge of a CA (RFC 8555 §8.3).
pub(crate) fn challenge(key_authorization: String, now: Time) -> Response<ResponseBody> {
    let mut fields = HeaderMap::with_capacity(4);
    let kind = HeaderValue::from_static("application/octet-stream");
    fields.insert(header::CONTENT_TYPE, kind);
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(key_authorization.len()));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set(&mut fields, header::DATE, &now.to_http_date());
    let body = ResponseBody::from_bytes(key_authorization.into());
    answer(StatusCode::OK, fields, AnswerForm::Whole, body)
}

/// An answer that the node makes itself, with these fields and this body.
pub(crate) fn own(
    status: StatusCode,
    mut fields: HeaderMap,
    body: ResponseBody,
    now: Time,
) -> Response<ResponseBody> {
    set(&mut fields, header::DATE, &now.to_http_date());
    answer(status, fields, AnswerForm::Whole, body)
}

/// An answer without content that the node makes itself.
pub(crate) fn empty(status: StatusCode, now: Time) -> Response<ResponseBody> {
    let mut fields = HeaderMap::with_capacity(4);
    set(&mut fields, header::DATE, &now.to_http_date());
    if status != StatusCode::NO_CONTENT {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    }
    answer(status, fields, AnswerForm::Whole, ResponseBody::Empty)
}
