//! One fetch that may be stored, as its own task: ask, judge the head, pass the bytes on, store.

use super::shared::{Answer, Fill, FillHead, Interim};
use crate::decisions::{Decision, Why};
use crate::error::UpstreamError;
use crate::forward;
use crate::purge::Stamp;
use crate::state::{NodeState, Site};
use crate::store::{Digest, PackedFields, Selecting, Slice, Stored, StoredBody};
use crate::upstream::{Ask, Fetched, FetchedBody, InterimSink, Piece, UpstreamBody};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use weir_rules::fields;
use weir_rules::invalidation::{Seq, Subject, Validity};
use weir_rules::range;
use weir_rules::storability::{Exchange, Reason, Storability, Terms, storability};
use weir_rules::time::Time;
use weir_rules::validation::{self, StrongValidator};
use weir_rules::vary::{self, Vary};

/// A fetch that may be stored, with all it needs once the client that caused it has gone.
pub(crate) struct FillTask {
    /// The node.
    pub(crate) state: Arc<NodeState>,
    /// The site asked.
    pub(crate) site: Arc<Site>,
    /// The worker whose upstream connections are used.
    pub(crate) worker: usize,
    /// The resource.
    pub(crate) digest: Digest,
    /// Its key.
    pub(crate) key: Box<[u8]>,
    /// The method: GET, or POST where a POST's response is stored for later GETs.
    pub(crate) method: Method,
    /// `http` or `https`, of the target URI.
    pub(crate) scheme: &'static str,
    /// The host of the target URI.
    pub(crate) host: Box<str>,
    /// Path and query as they go to the origin.
    pub(crate) target: PathAndQuery,
    /// The client's Host, for `host_header = "client"`.
    pub(crate) client_host: Option<HeaderValue>,
    /// The client's own fields: they select, and they bear on storing.
    pub(crate) client: HeaderMap,
    /// Fields as they go to the origin, less conditions and ranges.
    pub(crate) headers: HeaderMap,
    /// The fill that clients follow.
    pub(crate) fill: Arc<Fill>,
    /// A stored response to validate or to complete.
    pub(crate) base: Option<Arc<Stored>>,
    /// Whether the fill is on the list of running ones.
    pub(crate) listed: bool,
    /// Its filled_at_seq, held so that the index forgets no purge that it must still be checked
    /// against.
    pub(crate) _stamp: Stamp,
}

/// What the upstream was asked beyond the plain request.
enum Plan {
    /// The representation.
    Plain,
    /// Whether the stored response is current (RFC 9111 §4.3.1).
    Validate(Arc<Stored>),
    /// The bytes after the first `u64` of a stored part (RFC 9111 §3.4).
    Complete(Arc<Stored>, u64),
    /// The range that the client asked for.
    Range,
}

impl FillTask {
    /// Runs the fetch to its end. Readers are always told how it ended.
    pub(crate) async fn run(self) {
        let request_time = self.state.now();
        let mut plan = self.plan();
        let mut fetched = self.ask(&plan).await;
        if let Ok(answer) = &fetched
            && self.must_ask_plainly(&plan, answer)
        {
            plan = Plan::Plain;
            fetched = self.ask(&plan).await;
        }
        match fetched {
            Ok(fetched) => self.answered(plan, fetched, request_time).await,
            Err(error) => self.failed(error, None),
        }
    }

    fn plan(&self) -> Plan {
        if self.fill.purpose.range.is_some() {
            return Plan::Range;
        }
        let Some(base) = &self.base else { return Plan::Plain };
        if base.body.is_complete() {
            return Plan::Validate(Arc::clone(base));
        }
        let prefix = base.body.prefix();
        let gapless = prefix == base.body.held() && prefix > 0;
        match gapless {
            true => Plan::Complete(Arc::clone(base), prefix),
            false => Plan::Plain,
        }
    }

    /// An answer to our own condition or range that is of no use: a 304 about another response
    /// (RFC 9111 §4.3.3), a 206 that cannot be joined to what is held, a 416.
    fn must_ask_plainly(&self, plan: &Plan, fetched: &Fetched) -> bool {
        let (status, headers) = (fetched.response.status(), fetched.response.headers());
        match plan {
            Plan::Validate(base) => {
                status == StatusCode::NOT_MODIFIED
                    && !validation::selects_stored(headers, &base.fields.to_map())
            }
            Plan::Complete(base, prefix) => match status {
                StatusCode::PARTIAL_CONTENT => !continues(base, *prefix, headers),
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED => true,
                _ => false,
            },
            Plan::Plain | Plan::Range => false,
        }
    }

    async fn ask(&self, plan: &Plan) -> Result<Fetched, UpstreamError> {
        let mut headers = self.headers.clone();
        match plan {
            Plan::Plain => {}
            Plan::Validate(base) => {
                for (name, value) in validation::conditional_fields(&base.fields.to_map()) {
                    headers.insert(name, value);
                }
            }
            Plan::Complete(base, prefix) => {
                if let Ok(range) = HeaderValue::from_str(&format!("bytes={prefix}-")) {
                    headers.insert(header::RANGE, range);
                }
                if let Some(validator) = strong(&base.fields.to_map()) {
                    headers.insert(header::IF_RANGE, validator);
                }
            }
            Plan::Range => {
                if let Some(range) = self.fill.purpose.range.clone() {
                    headers.insert(header::RANGE, range);
                }
                if let Some(condition) = self.client.get(header::IF_RANGE) {
                    headers.insert(header::IF_RANGE, condition.clone());
                }
            }
        }
        let fill = Arc::clone(&self.fill);
        let interim: InterimSink = Arc::new(move |status, fields: &HeaderMap| {
            let mut fields = fields.clone();
            fields::remove_hop_by_hop(&mut fields);
            fill.interim(Interim { status, fields });
        });
        let ask = Ask {
            method: self.method.clone(),
            target: self.target.clone(),
            headers,
            client_host: self.client_host.clone(),
            interim: Some(interim),
            upgrade: None,
        };
        self.site.upstream.fetch(self.worker, ask, UpstreamBody::Empty).await
    }

    async fn answered(self, plan: Plan, fetched: Fetched, request_time: Time) {
        let response_time = self.state.now();
        let Fetched { response, body, .. } = fetched;
        let status = response.status();
        let asked_for_part = matches!(plan, Plan::Range | Plan::Complete(..));
        match (status, &plan) {
            (StatusCode::NOT_MODIFIED, Plan::Validate(base)) => {
                let base = Arc::clone(base);
                return self.validated(&base, response.headers(), request_time, response_time);
            }
            (StatusCode::NOT_MODIFIED, _) => {
                let why = "304 Not Modified to a request without a condition";
                return self.failed(UpstreamError::BadHead(why.into()), Some(status));
            }
            (StatusCode::PARTIAL_CONTENT, _) if !asked_for_part => {
                let why = "206 Partial Content to a request without a Range";
                return self.failed(UpstreamError::BadHead(why.into()), Some(status));
            }
            (StatusCode::SWITCHING_PROTOCOLS, _) => {
                let why = "101 Switching Protocols to a request without Upgrade";
                return self.failed(UpstreamError::BadHead(why.into()), Some(status));
            }
            _ => {}
        }
        let (parts, ()) = response.into_parts();
        let mut cleaned =
            clean_head(&self.state, parts.headers, body.exact_length(), response_time);
        if let Plan::Complete(base, prefix) = &plan
            && status == StatusCode::PARTIAL_CONTENT
        {
            // The rest of what is held: together they are the whole representation.
            complete(&mut cleaned, *prefix);
            let status = base.status;
            let terms = self.terms(&Plan::Plain, status, &cleaned, request_time, response_time);
            let mut head = self.head(status, cleaned, terms);
            head.filled_at = head.filled_at.min(base.filled_at);
            return self.deliver(Arc::new(head), &whole_prefix(base, *prefix), body).await;
        }
        let terms = self.terms(&plan, status, &cleaned, request_time, response_time);
        let head = self.head(status, cleaned, terms);
        self.deliver(Arc::new(head), &[], body).await;
    }

    /// What becomes of a response, given on which terms it may be stored.
    pub(crate) fn head(
        &self,
        status: StatusCode,
        cleaned: CleanHead,
        terms: Result<Terms, Reason>,
    ) -> FillHead {
        let part =
            (status == StatusCode::PARTIAL_CONTENT).then(|| range::content_range(&cleaned.fields));
        let part = part.flatten().and_then(|found| Some((found.span?, found.complete_length)));
        let fits =
            part.is_none_or(|(span, _)| cleaned.length.is_none_or(|held| held == span.length()));
        let terms = match terms {
            // RFC 9110 §15.3.7: nobody can tell which bytes these are.
            Ok(_) if !fits => {
                Err(Reason::PartialContent("its Content-Range does not fit its length"))
            }
            terms => terms,
        };
        let start = part.filter(|_| fits).map_or(0, |(span, _)| span.start);
        let complete_length = match part {
            Some((_, complete_length)) => complete_length,
            None => cleaned.length,
        };
        let selecting = terms.as_ref().ok().and_then(|terms| self.selecting(&terms.vary));
        let storing = terms.is_ok()
            && !self.fill.is_revoked()
            && cleaned.length.is_none_or(|length| length <= self.state.max_object);
        FillHead {
            status,
            fields: cleaned.fields,
            age: cleaned.age,
            terms,
            storing,
            selecting,
            tags: cleaned.tags,
            start,
            end: cleaned.length.map(|length| start + length),
            complete_length,
            filled_at: self.fill.purpose.filled_at,
        }
    }

    fn terms(
        &self,
        plan: &Plan,
        status: StatusCode,
        cleaned: &CleanHead,
        request_time: Time,
        response_time: Time,
    ) -> Result<Terms, Reason> {
        // What answers a Range says nothing about the resource unless it is its bytes: an error
        // stored from it would be shown to those who asked for the whole.
        let bytes = matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        if matches!(plan, Plan::Range | Plan::Complete(..)) && !bytes {
            return Err(Reason::PartialContent("the answer to a Range is neither 200 nor 206"));
        }
        // RFC 5861 §4: an error does not take the place of what may be sent instead of it.
        if status.is_server_error()
            && let Some(base) = &self.base
            && (base.freshness.stale_if_error > 0
                || base.freshness.age(response_time) < base.freshness.lifetime)
        {
            return Err(Reason::Status(status));
        }
        let mut aged = cleaned.fields.clone();
        if let Some(age) = &cleaned.age {
            aged.insert(header::AGE, age.clone());
        }
        let exchange = Exchange {
            method: &self.method,
            scheme: self.scheme,
            host: &self.host,
            path: self.target.path(),
            query: self.target.query(),
            request: &self.client,
            status,
            response: &aged,
            request_time,
            response_time,
        };
        match storability(&exchange, &self.site.config.policy) {
            Storability::Store(terms) => Ok(terms),
            Storability::Skip(reason) => Err(reason),
        }
    }

    fn selecting(&self, vary: &Vary) -> Option<Selecting> {
        let Vary::Fields(fields) = vary else { return None };
        let values = vary::selecting_values(fields, &self.client);
        Some(Selecting { fields: fields.clone(), values })
    }

    /// Passes a body on to the readers and, where it may be, into the store.
    pub(crate) async fn deliver(
        self,
        head: Arc<FillHead>,
        prefix: &[Slice],
        mut body: FetchedBody,
    ) {
        let mut room = Room { state: Arc::clone(&self.state), bytes: 0 };
        let mut storing = head.storing;
        if let Err(reason) = &head.terms {
            self.note(Why::Rule(reason.clone()), Some(head.status));
        } else if !storing {
            self.note(Why::TooLarge(self.state.max_object), Some(head.status));
        }
        self.fill.begin(Answer::Response(Arc::clone(&head)), prefix, storing);
        let mut at = prefix.last().map_or(head.start, Slice::end);
        let mut trailers = None;
        loop {
            if head.end == Some(at) && trailers.is_none() {
                // Stored before the last byte is shown, so that whoever has it finds it stored.
                break;
            }
            if !self.fill.room().await {
                return self.abandoned();
            }
            match body.next().await {
                Some(Ok(Piece::Data(data))) => {
                    at += data.len() as u64;
                    if storing && let Err(why) = room.take(&data, at - head.start) {
                        storing = false;
                        self.note(why, Some(head.status));
                        self.fill.let_go();
                    }
                    self.fill.push(data, head.end != Some(at));
                }
                Some(Ok(Piece::Trailers(fields))) => trailers = Some(fields),
                Some(Err(error)) => return self.failed(error, Some(head.status)),
                None => break,
            }
        }
        if storing {
            self.store(&head, at);
        }
        self.fill.finish(trailers);
        if self.listed {
            self.state.inflight.leave(self.digest, &self.fill);
        }
        // The connection can be used again only once the end of the message has been read.
        while let Some(Ok(_)) = body.next().await {}
    }

    fn store(&self, head: &FillHead, end: u64) {
        let Ok(terms) = &head.terms else { return };
        let mut fields = head.fields.clone();
        for name in &terms.omit {
            fields.remove(name);
        }
        let complete_length = match head.status {
            StatusCode::PARTIAL_CONTENT => head.complete_length,
            _ => Some(end),
        };
        let mut body = StoredBody::new(self.fill.slices(), complete_length);
        let mut filled_at = head.filled_at;
        if head.status == StatusCode::PARTIAL_CONTENT {
            fields.remove(header::CONTENT_RANGE);
            if let Some(held) = self.other_part(&fields) {
                body = held.body.combined(&body);
                // What is combined carries the lowest stamp of its sources (invariant I2).
                filled_at = filled_at.min(held.filled_at);
            }
        }
        match complete_length {
            Some(length) if body.is_complete() => {
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            _ => {
                fields.remove(header::CONTENT_LENGTH);
            }
        }
        let status = match head.status {
            StatusCode::PARTIAL_CONTENT => StatusCode::OK,
            status => status,
        };
        let selecting = head.selecting.clone();
        self.insert(Made {
            status,
            fields,
            body,
            terms,
            selecting,
            tags: head.tags.clone(),
            filled_at,
        });
    }

    /// A stored part of the same representation, to which a part that came may be joined
    /// (RFC 9110 §15.3.7.3, RFC 9111 §3.4): only under one strong validator.
    fn other_part(&self, fields: &HeaderMap) -> Option<Arc<Stored>> {
        /// A part in more slices than this is not joined further: it would cost more than it holds.
        const MOST_SLICES: usize = 1024;
        let resource = self.state.store.get(self.digest, &self.key)?;
        let held = resource.variants().iter().find(|stored| stored.selected_by(&self.client))?;
        let same = strong(fields).is_some() && strong(fields) == strong(&held.fields.to_map());
        let valid = self.state.purges.validity(held) == Validity::Valid;
        (same && valid && held.body.slices().len() <= MOST_SLICES).then(|| Arc::clone(held))
    }

    fn insert(&self, made: Made<'_>) -> Option<Arc<Stored>> {
        let Made { status, fields, body, terms, selecting, tags, filled_at } = made;
        let Ok(fields) = PackedFields::pack(&fields) else {
            self.note(Why::FieldTooLong, Some(status));
            return None;
        };
        let stored = Arc::new(Stored {
            key: self.key.clone(),
            site: Arc::clone(&self.site.id),
            status,
            fields,
            body,
            freshness: terms.freshness,
            lifetime_source: terms.lifetime_source,
            selecting: selecting.map(Box::new),
            tags,
            filled_at,
            valid_at: AtomicU64::new(filled_at),
            soft_at: AtomicU64::new(0),
            hits: 0.into(),
            refreshing: false.into(),
        });
        let overtaken = self.fill.is_revoked()
            || matches!(self.state.purges.validity(&stored), Validity::Hard(_));
        if overtaken {
            self.note(Why::Overtaken, Some(status));
            return None;
        }
        if !self.state.store.insert(self.digest, Arc::clone(&stored)) {
            self.note(Why::Overtaken, Some(status));
            return None;
        }
        self.state.decisions.forget(self.digest);
        Some(stored)
    }

    /// A 304 about the response whose validator was sent (RFC 9111 §4.3.4).
    fn validated(
        self,
        base: &Arc<Stored>,
        update: &HeaderMap,
        request_time: Time,
        response_time: Time,
    ) {
        let mut cleaned = clean_head(&self.state, update.clone(), None, response_time);
        cleaned.fields = validation::freshened(&base.fields.to_map(), &cleaned.fields);
        let plan = Plan::Validate(Arc::clone(base));
        let terms = self.terms(&plan, base.status, &cleaned, request_time, response_time);
        // Checked with the old tags, under the new stamp, before the new tags are taken.
        let filled_at = self.fill.purpose.filled_at;
        let judged = base
            .with_subject(|subject| self.state.purges.judge(&Subject { filled_at, ..*subject }));
        let tags = if cleaned.tags.is_empty() { base.tags.clone() } else { cleaned.tags };
        let shared = match terms {
            Ok(terms) if !matches!(judged, Validity::Hard(_)) => {
                let selecting = self.selecting(&terms.vary);
                let (status, body) = (base.status, base.body.clone());
                let fields = cleaned.fields;
                self.insert(Made {
                    status,
                    fields,
                    body,
                    terms: &terms,
                    selecting,
                    tags,
                    filled_at,
                })
            }
            Ok(_) => {
                self.note(Why::Overtaken, Some(StatusCode::NOT_MODIFIED));
                None
            }
            Err(reason) => {
                self.note(Why::Rule(reason), Some(StatusCode::NOT_MODIFIED));
                None
            }
        };
        let answer = match shared {
            Some(stored) => Answer::Validated { stored, shared: true },
            None => {
                self.state.store.remove(self.digest, base);
                Answer::Validated { stored: Arc::clone(base), shared: false }
            }
        };
        self.fill.begin(answer, &[], true);
        self.fill.finish(None);
        if self.listed {
            self.state.inflight.leave(self.digest, &self.fill);
        }
    }

    fn note(&self, why: Why, status: Option<StatusCode>) {
        self.state.decisions.note(self.digest, Decision { why, status, at: self.state.now() });
    }

    fn failed(self, error: UpstreamError, status: Option<StatusCode>) {
        self.note(Why::Failed(error.clone()), status);
        // Off the list first: whoever comes next tries again at once.
        if self.listed {
            self.state.inflight.leave(self.digest, &self.fill);
        }
        self.fill.fail(error);
    }

    /// Nobody reads any more and nothing is stored: dropping the body ends the upstream's work.
    fn abandoned(self) {
        self.failed(UpstreamError::BadBody("nobody reads it any more".into()), None);
    }
}

/// A response on its way into the store.
struct Made<'a> {
    status: StatusCode,
    fields: HeaderMap,
    body: StoredBody,
    terms: &'a Terms,
    selecting: Option<Selecting>,
    tags: Box<[Box<str>]>,
    filled_at: Seq,
}

/// Should the task vanish (a panic, a stopping runtime), nobody may wait for it in vain.
impl Drop for FillTask {
    fn drop(&mut self) {
        if self.listed {
            self.state.inflight.leave(self.digest, &self.fill);
        }
        self.fill.fail(UpstreamError::BadBody("the fetch was given up".into()));
    }
}

/// The bytes of one body counted against the node's budget; given back when it is dropped.
struct Room {
    state: Arc<NodeState>,
    bytes: u64,
}

impl Room {
    fn take(&mut self, data: &Bytes, total: u64) -> Result<(), Why> {
        if total > self.state.max_object {
            return Err(Why::TooLarge(self.state.max_object));
        }
        let bytes = data.len() as u64;
        if !self.state.filling.take(bytes) {
            return Err(Why::NoRoom);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.state.filling.give_back(self.bytes);
    }
}

/// An upstream's response head, made ready for clients and store.
#[derive(Clone)]
pub(crate) struct CleanHead {
    /// The fields, less hop-by-hop ones, Age and what is meant for caches only.
    pub(crate) fields: HeaderMap,
    /// Its Age field, if it sent one.
    pub(crate) age: Option<HeaderValue>,
    /// Cache tags.
    pub(crate) tags: Box<[Box<str>]>,
    /// The body's length by framing.
    pub(crate) length: Option<u64>,
    /// Content-Length as it was sent: with HEAD and 304 it speaks of a body that does not follow.
    pub(crate) announced: Option<HeaderValue>,
}

/// Makes an upstream's response head ready for clients and store. `length` is the body's by its
/// framing, which is the only length that counts.
pub(crate) fn clean_head(
    state: &NodeState,
    mut headers: HeaderMap,
    length: Option<u64>,
    now: Time,
) -> CleanHead {
    fields::remove_hop_by_hop(&mut headers);
    for name in forward::INTERNAL {
        headers.remove(name);
    }
    let announced = headers.get(header::CONTENT_LENGTH).cloned();
    match length {
        Some(length) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
    let age = headers.remove(header::AGE);
    let tags = fields::tags(&headers).into_iter().map(String::into_boxed_str).collect();
    fields::remove_at_last_hop(&mut headers);
    // RFC 9110 §6.6.1: a recipient with a clock dates what came undated.
    let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    if date.and_then(Time::from_http_date).is_none()
        && let Ok(date) = HeaderValue::from_str(&now.to_http_date())
    {
        headers.insert(header::DATE, date);
    }
    headers.append(header::VIA, state.via.clone());
    CleanHead { fields: headers, age, tags, length, announced }
}

/// The strong validator of a response as If-Range takes it.
pub(crate) fn strong(fields: &HeaderMap) -> Option<HeaderValue> {
    let validator = match validation::strong_validator(fields)? {
        StrongValidator::ETag(tag) => tag,
        StrongValidator::LastModified(date) => date,
    };
    HeaderValue::from_str(&validator).ok()
}

/// Whether a 206 carries on, to the end, where the held prefix of the same representation stops.
fn continues(base: &Stored, prefix: u64, headers: &HeaderMap) -> bool {
    let same = strong(headers).is_some() && strong(headers) == strong(&base.fields.to_map());
    let found = range::content_range(headers);
    let Some(span) = found.and_then(|found| found.span) else { return false };
    let complete = found.and_then(|found| found.complete_length);
    same && span.start == prefix
        && complete == Some(span.end)
        && base.body.complete_length().is_none_or(|length| length == span.end)
}

fn whole_prefix(base: &Stored, prefix: u64) -> Vec<Slice> {
    base.body.slices().iter().filter(|slice| slice.end() <= prefix).cloned().collect()
}

/// The fields of a 206 that brings the rest of a representation, as those of its whole.
fn complete(cleaned: &mut CleanHead, prefix: u64) {
    cleaned.fields.remove(header::CONTENT_RANGE);
    cleaned.length = cleaned.length.map(|rest| prefix + rest);
    if let Some(length) = cleaned.length {
        cleaned.fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}
