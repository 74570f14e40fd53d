//! One exchange with a source: the question, and on which terms its answer may be stored.

use super::context::FillContext;
use super::head::CleanHead;
use super::plan::Plan;
use crate::derived::Stamps;
use crate::purge::Stamp;
use crate::source::Source;
use crate::store::Stored;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use weir_rules::storability::{Exchange, Reason, Storability, Terms, storability};
use weir_rules::time::Time;

/// One exchange with a source.
pub(super) struct FillExchange {
    /// What was asked.
    pub(super) plan: Plan,
    /// When it was asked (RFC 9111 §4.2.3).
    pub(super) request_time: Time,
    /// When the head of the answer came.
    pub(super) response_time: Time,
    /// The same, by the clock that lookups read.
    pub(super) received: Time,
    /// The upstream that answered.
    pub(super) source: Arc<Source>,
    /// The purges that the answer has been judged by.
    pub(super) stamps: Stamps,
    /// Kept to the end: the index must not forget a purge that the answer must still be judged by.
    pub(super) _held: Option<Stamp>,
}

impl FillExchange {
    /// The terms on which the answer may be stored. `base` is the stored response that the request
    /// found.
    pub(super) fn terms(
        &self,
        context: &FillContext,
        base: Option<&Stored>,
        status: StatusCode,
        cleaned: &CleanHead,
    ) -> Result<Terms, Reason> {
        if let Some(most) = cleaned.too_many_tags {
            return Err(Reason::TooManyTags(most));
        }
        // An answer to a Range says nothing about the resource unless it is its bytes: an error
        // stored from it would be shown to clients that asked for the whole.
        let bytes = matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        if self.plan.asks_for_part() && !bytes {
            return Err(Reason::PartialContent("the answer to a Range is neither 200 nor 206"));
        }
        // RFC 5861 §4: an error does not replace a response that may be sent instead of it.
        if status.is_server_error()
            && let Some(base) = base
            && (base.freshness.stale_if_error > 0
                || base.freshness.age(self.received) < base.freshness.lifetime)
        {
            return Err(Reason::Status(status));
        }
        let judged = cleaned.judged(&cleaned.fields);
        // The cookies of an anonymous request are part of the key: they say nothing about its user.
        let keyed = context.anonymous.then(|| {
            let mut request = HeaderMap::clone(&context.client);
            request.remove(header::COOKIE);
            request
        });
        let exchange = Exchange {
            method: &context.ask.method,
            scheme: context.scheme,
            host: &context.host,
            path: context.ask.target.path(),
            query: context.ask.target.query(),
            request: keyed.as_ref().unwrap_or(&context.client),
            status,
            response: &judged,
            request_time: self.request_time,
            response_time: self.response_time,
            received: self.received,
        };
        let mut policy = context.site.config.policy.clone();
        if policy.max_ttl > 0 && self.source.is_parent {
            // The bound is for the time here: the parent bounded the time that it was there.
            policy.max_ttl = policy.max_ttl.saturating_add(cleaned.age_seconds());
        }
        match storability(&exchange, &policy) {
            Storability::Store(terms) => Ok(terms),
            Storability::Skip(reason) => Err(reason),
        }
    }
}
