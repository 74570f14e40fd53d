//! One fetch that may be stored, as its own task: ask, judge the head, pass the bytes on, store.

use super::head::{CleanHead, clean_head, strong};
use super::keep::joined_tags;
use crate::collapsing::{Fill, Interim};
use crate::decisions::{About, Decision, Why};
use crate::error::UpstreamError;
use crate::purge::Stamp;
use crate::state::{NodeState, Site};
use crate::store::{Digest, Slice, Stored};
use crate::tier::{self, Brought, Errand};
use crate::trace::Trace;
use crate::upstream::{Ask, Fetched, FetchedBody, For, InterimSink, UpstreamBody, digest};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::net::IpAddr;
use std::sync::Arc;
use weir_rules::fields;
use weir_rules::invalidation::Validity;
use weir_rules::range;
use weir_rules::time::Time;
use weir_rules::validation;

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
    /// The client's address, for `balance = "ip_hash"`.
    pub(crate) address: IpAddr,
    /// The client's own fields: they select, and they bear on storing.
    pub(crate) client: HeaderMap,
    /// Fields as they go to the origin, less conditions and ranges.
    pub(crate) headers: HeaderMap,
    /// The fill that clients follow.
    pub(crate) fill: Arc<Fill>,
    /// A stored response to validate or to complete.
    pub(crate) base: Option<Arc<Stored>>,
    /// The seq applied when it began, held so that the index forgets no purge that what comes must
    /// still be checked against.
    pub(crate) stamp: Stamp,
    /// The place in a trace of the request that started it.
    pub(crate) trace: Option<Trace>,
}

/// What the upstream was asked beyond the plain request.
pub(super) enum Plan {
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
        let mut brought = self.ask(&plan).await;
        if let Ok(answer) = &brought
            && self.must_ask_plainly(&plan, &answer.fetched)
        {
            plan = Plan::Plain;
            brought = self.ask(&plan).await;
        }
        match brought {
            Ok(brought) => self.answered(plan, brought, request_time).await,
            Err(error) => self.failed(error, None),
        }
    }

    fn plan(&self) -> Plan {
        if self.fill.purpose.range.is_some() {
            return Plan::Range;
        }
        let Some(base) = self.base.as_ref().filter(|base| self.may_ask_about(base)) else {
            return Plan::Plain;
        };
        if base.body.is_complete() {
            // Without a validator there is nothing to ask about (RFC 9111 §4.3.1).
            return match validation::conditional_fields(&base.fields.to_map()).is_empty() {
                true => Plan::Plain,
                false => Plan::Validate(Arc::clone(base)),
            };
        }
        let prefix = base.body.prefix();
        let gapless = prefix == base.body.held() && prefix > 0;
        // A weak validator says that the rest cannot be joined to it (RFC 9111 §3.4). Where there
        // is none the rest is asked for all the same: an origin without validators mostly answers
        // with the whole, which is what is wanted.
        let fields = base.fields.to_map();
        let joins = strong(&fields).is_some() || validation::conditional_fields(&fields).is_empty();
        match gapless && joins {
            true => Plan::Complete(Arc::clone(base), prefix),
            false => Plan::Plain,
        }
    }

    /// Whether no purge has come between the lookup that found `base` and this fetch's stamp: such
    /// a one would not be seen again, as what is validated takes the stamp. What was hard-purged is
    /// no candidate for validation, after a soft purge only what has a strong validator is.
    fn may_ask_about(&self, base: &Stored) -> bool {
        match self.state.purges.validity(base) {
            Validity::Valid => true,
            Validity::Soft(_) => base.body.is_complete() && strong(&base.fields.to_map()).is_some(),
            Validity::Hard(_) => false,
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
                StatusCode::PARTIAL_CONTENT => {
                    !continues(base, *prefix, headers, fetched.body.exact_length())
                }
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED => true,
                _ => false,
            },
            Plan::Plain | Plan::Range => false,
        }
    }

    async fn ask(&self, plan: &Plan) -> Result<Brought, UpstreamError> {
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
                if let Some(condition) = self.fill.purpose.if_range.clone() {
                    headers.insert(header::IF_RANGE, condition);
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
            whom: For { hash: digest(&self.key), client: self.address },
            trace: self.trace.clone(),
        };
        let errand = Errand {
            state: &self.state,
            site: &self.site,
            worker: self.worker,
            key: &self.key,
            begun: self.stamp.seq(),
            tags: match plan {
                Plan::Validate(base) | Plan::Complete(base, _) => &base.tags,
                Plan::Plain | Plan::Range => &[],
            },
            parents_only: false,
        };
        tier::fetch(&errand, ask, UpstreamBody::Empty).await
    }

    async fn answered(self, plan: Plan, brought: Brought, request_time: Time) {
        let response_time = self.state.now();
        let Brought { fetched, filled_at, stamp } = brought;
        // Kept to the end: the index must not forget what this is still to be held against.
        let _stamp = stamp;
        let Some(filled_at) = filled_at else {
            let why = "nobody says what it is worth";
            return self.unasked(why, fetched.response.status(), &fetched.body);
        };
        let Fetched { response, body, source, .. } = fetched;
        let source = Arc::new(source);
        let status = response.status();
        let asked_for_part = matches!(plan, Plan::Range | Plan::Complete(..));
        match (status, &plan) {
            (StatusCode::NOT_MODIFIED, Plan::Validate(base)) => {
                let base = Arc::clone(base);
                let times = (request_time, response_time);
                return self.validated(&base, response.headers(), filled_at, source, times);
            }
            (StatusCode::NOT_MODIFIED, _) => {
                return self.unasked(
                    "304 Not Modified to a request without a condition",
                    status,
                    &body,
                );
            }
            (StatusCode::PARTIAL_CONTENT, _) if !asked_for_part => {
                return self.unasked(
                    "206 Partial Content to a request without a Range",
                    status,
                    &body,
                );
            }
            (StatusCode::SWITCHING_PROTOCOLS, _) => {
                return self.unasked("101 Switching Protocols without Upgrade", status, &body);
            }
            _ => {}
        }
        let (parts, ()) = response.into_parts();
        let length = body.exact_length();
        let mut cleaned =
            clean_head(&self.state, status, parts.headers, length, source, response_time);
        if let Plan::Complete(base, prefix) = &plan
            && status == StatusCode::PARTIAL_CONTENT
        {
            // The rest of what is held: together they are the whole representation.
            complete(&mut cleaned);
            cleaned.tags = joined_tags(&base.tags, cleaned.tags);
            let most = self.state.live.load().limits().tags;
            if cleaned.tags.len() > most {
                cleaned.too_many_tags = Some(most);
            }
            let status = base.status;
            let terms = self.terms(&Plan::Plain, status, &cleaned, request_time, response_time);
            let head = self.head(status, cleaned, terms, filled_at.min(base.filled_at));
            return self.deliver(Arc::new(head), &whole_prefix(base, *prefix), body).await;
        }
        let terms = self.terms(&plan, status, &cleaned, request_time, response_time);
        let head = self.head(status, cleaned, terms, filled_at);
        self.deliver(Arc::new(head), &[], body).await;
    }

    /// An answer to something that was not asked.
    fn unasked(self, why: &str, status: StatusCode, body: &FetchedBody) {
        let error = UpstreamError::BadHead(why.to_owned());
        body.tell(&error);
        self.failed(error, Some(status));
    }

    pub(super) fn note(&self, why: Why, status: Option<StatusCode>) {
        let about = About {
            digest: self.digest,
            key: &self.key,
            site: &self.site.id,
            slot: self.site.slot,
        };
        self.state.decisions.note(&about, Decision { why, status, at: self.state.now() });
    }

    pub(super) fn failed(self, error: UpstreamError, status: Option<StatusCode>) {
        self.note(Why::Failed(error.clone()), status);
        // Off the list first: whoever comes next tries again at once.
        self.state.inflight.leave(self.digest, &self.fill);
        self.fill.fail(error);
    }

    /// Nobody reads any more and nothing is stored: dropping the body ends the upstream's work.
    pub(super) fn abandoned(self) {
        self.failed(UpstreamError::BadBody("nobody reads it any more".into()), None);
    }
}

/// Should the task vanish (a panic, a stopping runtime), nobody may wait for it in vain.
impl Drop for FillTask {
    fn drop(&mut self) {
        self.state.inflight.leave(self.digest, &self.fill);
        self.fill.fail(UpstreamError::BadBody("the fetch was given up".into()));
    }
}

/// Whether a 206 carries on, to the end, where the held prefix of the same representation stops.
fn continues(base: &Stored, prefix: u64, headers: &HeaderMap, length: Option<u64>) -> bool {
    let same = strong(headers).is_some() && strong(headers) == strong(&base.fields.to_map());
    let found = range::content_range(headers);
    let Some(span) = found.and_then(|found| found.span) else { return false };
    let complete = found.and_then(|found| found.complete_length);
    same && span.start == prefix
        && length.is_none_or(|length| length == span.length())
        && complete == Some(span.end)
        && base.body.complete_length().is_none_or(|length| length == span.end)
}

fn whole_prefix(base: &Stored, prefix: u64) -> Vec<Slice> {
    base.body.slices().iter().filter(|slice| slice.end() <= prefix).cloned().collect()
}

/// The fields of a 206 that brings the rest of a representation, as those of its whole.
fn complete(cleaned: &mut CleanHead) {
    let found = range::content_range(&cleaned.fields);
    cleaned.fields.remove(header::CONTENT_RANGE);
    cleaned.length = found.and_then(|found| found.complete_length);
    if let Some(length) = cleaned.length {
        cleaned.fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}
