//! The head of an upstream's answer: made ready for clients and store, and judged.

use super::task::{FillTask, Plan};
use crate::collapsing::FillHead;
use crate::source::Source;
use crate::state::NodeState;
use crate::store::Selecting;
use crate::tier::Told;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;
use weir_rules::fields::{self, SURROGATE_CONTROL};
use weir_rules::invalidation::Seq;
use weir_rules::range;
use weir_rules::storability::{Exchange, Reason, Storability, Terms, storability};
use weir_rules::tier;
use weir_rules::time::Time;
use weir_rules::validation::{self, StrongValidator};
use weir_rules::vary::{self, Vary};

/// An upstream's response head, made ready for clients and store.
#[derive(Clone)]
pub(crate) struct CleanHead {
    /// The fields, less hop-by-hop ones, Age and what is meant for caches only.
    pub(crate) fields: HeaderMap,
    /// Its Age field, if it sent one.
    pub(crate) age: Option<HeaderValue>,
    /// Its Surrogate-Control lines: they govern storing here, and go no further.
    pub(crate) surrogate_control: Vec<HeaderValue>,
    /// Cache tags.
    pub(crate) tags: Box<[Box<str>]>,
    /// The bound on their number, where there are more than are kept.
    pub(crate) too_many_tags: Option<usize>,
    /// Whom it is from.
    pub(crate) source: Arc<Source>,
    /// The body's length by framing.
    pub(crate) length: Option<u64>,
    /// Content-Length as it was sent: with HEAD and 304 it speaks of a body that does not follow.
    pub(crate) announced: Option<HeaderValue>,
}

impl CleanHead {
    /// `fields`, which are these or come of them, with what else the rules of storing must see:
    /// Age and Surrogate-Control as the upstream sent them.
    pub(crate) fn judged(&self, fields: &HeaderMap) -> HeaderMap {
        let mut fields = fields.clone();
        if let Some(age) = &self.age {
            fields.insert(header::AGE, age.clone());
        }
        govern(&mut fields, &self.surrogate_control);
        fields
    }

    /// Its Age, 0 where that says nothing.
    fn age_seconds(&self) -> u32 {
        let age = self.age.as_ref().and_then(|age| age.to_str().ok());
        age.and_then(|age| age.parse().ok()).unwrap_or(0)
    }
}

impl<'a> Told<'a> {
    /// What a response that is being filled tells.
    pub(crate) fn of_head(head: &'a FillHead) -> Self {
        Self {
            tags: &head.tags,
            surrogate_control: head.surrogate_control.clone(),
            too_many_tags: head.has_too_many_tags(),
        }
    }
}

/// Puts Surrogate-Control, where the upstream sent one, in the place of any that is there. It is
/// stored, for a 304 may be silent about it, and never sent on.
pub(super) fn govern(fields: &mut HeaderMap, surrogate_control: &[HeaderValue]) {
    if !surrogate_control.is_empty() {
        fields.remove(&SURROGATE_CONTROL);
    }
    for line in surrogate_control {
        fields.append(&SURROGATE_CONTROL, line.clone());
    }
}

/// Makes an upstream's response head ready for clients and store. `length` is the body's by its
/// framing, which is the only length that counts.
pub(crate) fn clean_head(
    state: &NodeState,
    status: StatusCode,
    mut headers: HeaderMap,
    length: Option<u64>,
    source: Arc<Source>,
    now: Time,
) -> CleanHead {
    let trailer = headers.get(header::TRAILER).cloned();
    fields::remove_hop_by_hop(&mut headers);
    // Announced anew: trailer fields pass, and clients are told which (RFC 9110 §6.6.2).
    if let Some(trailer) = trailer {
        headers.insert(header::TRAILER, trailer);
    }
    // Only a parent's word has come so far.
    let untold = headers.get(tier::TAGS).is_some_and(|tags| tags == "too-many");
    for name in tier::FIELDS {
        headers.remove(name);
    }
    let announced = only_length(&headers);
    match length {
        // RFC 9110 §8.6: a 204 has no Content-Length.
        Some(length) if status != StatusCode::NO_CONTENT => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        _ => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
    let age = headers.remove(header::AGE);
    let most = state.live.load().limits().tags;
    let tags = fields::tags(&headers, most);
    let too_many_tags = (untold || tags.is_err()).then_some(most);
    let tags = tags.unwrap_or_default().into_iter().map(String::into_boxed_str).collect();
    let surrogate_control = headers.get_all(&SURROGATE_CONTROL).iter().cloned().collect();
    fields::remove_at_last_hop(&mut headers);
    // RFC 9110 §6.6.1: a recipient with a clock dates what came undated.
    let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    if date.and_then(Time::from_http_date).is_none()
        && let Ok(date) = HeaderValue::from_str(&now.to_http_date())
    {
        headers.insert(header::DATE, date);
    }
    headers.append(header::VIA, state.via.clone());
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

/// Content-Length, unless it is given as several lengths: then nobody knows.
fn only_length(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next()?;
    lengths.all(|length| length == first).then(|| first.clone())
}

/// The strong validator of a response as If-Range takes it.
pub(crate) fn strong(fields: &HeaderMap) -> Option<HeaderValue> {
    let validator = match validation::strong_validator(fields)? {
        StrongValidator::ETag(tag) => tag,
        StrongValidator::LastModified(date) => date,
    };
    HeaderValue::from_str(&validator).ok()
}

impl FillTask {
    /// What becomes of a response, given on which terms it may be stored.
    pub(crate) fn head(
        &self,
        status: StatusCode,
        cleaned: CleanHead,
        terms: Result<Terms, Reason>,
        filled_at: Seq,
    ) -> FillHead {
        let part =
            (status == StatusCode::PARTIAL_CONTENT).then(|| range::content_range(&cleaned.fields));
        let part = part.flatten().and_then(|found| Some((found.span?, found.complete_length)));
        // Fewer bytes than Content-Range promises are still bytes from its first on; more are not
        // to be placed (RFC 9110 §15.3.7).
        let fits =
            part.is_none_or(|(span, _)| cleaned.length.is_none_or(|held| held <= span.length()));
        let terms = match terms {
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
            surrogate_control: cleaned.surrogate_control,
            start,
            end: cleaned.length.map(|length| start + length),
            complete_length,
            filled_at,
            source: cleaned.source,
        }
    }

    pub(super) fn terms(
        &self,
        plan: &Plan,
        status: StatusCode,
        cleaned: &CleanHead,
        request_time: Time,
        response_time: Time,
    ) -> Result<Terms, Reason> {
        if let Some(most) = cleaned.too_many_tags {
            return Err(Reason::TooManyTags(most));
        }
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
        let judged = cleaned.judged(&cleaned.fields);
        let exchange = Exchange {
            method: &self.method,
            scheme: self.scheme,
            host: &self.host,
            path: self.target.path(),
            query: self.target.query(),
            request: &self.client,
            status,
            response: &judged,
            request_time,
            response_time,
        };
        let mut policy = self.site.config.policy.clone();
        if cleaned.source.is_parent && policy.max_ttl > 0 {
            // The bound is for the time here: what it spent at a parent was under the parent's.
            policy.max_ttl = policy.max_ttl.saturating_add(cleaned.age_seconds());
        }
        match storability(&exchange, &policy) {
            Storability::Store(terms) => Ok(terms),
            Storability::Skip(reason) => Err(reason),
        }
    }

    pub(super) fn selecting(&self, vary: &Vary) -> Option<Selecting> {
        let Vary::Fields(fields) = vary else { return None };
        let values = vary::selecting_values(fields, &self.client);
        Some(Selecting { fields: fields.clone(), values })
    }
}
