//! One exchange with a source: the question, and on which terms its answer may be stored.

use super::context::FillContext;
use super::head::CleanHead;
use super::plan::{Plan, write_range};
use crate::clock::wall;
use crate::derived::Stamps;
use crate::purge::Stamp;
use crate::source::Source;
use crate::store::Stored;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::site_rules::RuleResponse;
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
    /// One whose answer's head came just now, which is `received` by the clock that lookups read. The answer
    /// was fetched at `filled_at`, and has been judged by all purges that `held` knows.
    pub(super) fn answered(
        plan: Plan,
        source: Arc<Source>,
        filled_at: Seq,
        held: Option<Stamp>,
        received: Time,
    ) -> Self {
        let response_time = wall();
        let request_time = response_time.minus_millis(source.delay());
        let valid_at = held.as_ref().map_or(filled_at, Stamp::seq);
        let stamps = Stamps { filled_at, valid_at };
        Self { plan, request_time, response_time, received, source, stamps, _held: held }
    }

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
        let mut judged = cleaned.judged(&cleaned.fields);
        // The cookies of an anonymous request are part of the key: they say nothing about its user.
        let client = context.client.get();
        context.site.ignore(context.rules, &client, &mut judged);
        let keyed = context.anonymous.then(|| {
            let mut request = HeaderMap::clone(&client);
            request.remove(header::COOKIE);
            request
        });
        // A client may have asked for the whole.
        let keyed = match &self.plan {
            Plan::Slice(span, _) => {
                let mut request = keyed.unwrap_or_else(|| HeaderMap::clone(&client));
                write_range(&mut request, *span);
                Some(request)
            }
            _ => keyed,
        };
        let host = context.ask.client_host.as_ref().and_then(|host| host.to_str().ok());
        let exchange = Exchange {
            method: &context.ask.method,
            scheme: context.scheme,
            host: host.unwrap_or_default(),
            path: context.ask.target.path(),
            query: context.ask.target.query(),
            request: keyed.as_ref().unwrap_or(&client),
            status,
            response: &judged,
            request_time: self.request_time,
            response_time: self.response_time,
            received: self.received,
        };
        let response = RuleResponse { status, headers: &judged };
        let mut policy = context.site.policy(context.rules, &response).into_owned();
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
