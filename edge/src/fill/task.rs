//! One fetch that may be stored, as its own task: ask, judge the head, pass the bytes on, store.

use super::context::FillContext;
use super::exchange::FillExchange;
use super::head::{CleanHead, clean_head};
use super::plan::{Plan, whole_prefix};
use super::source::SourceAnswer;
use super::withdraw::Withdrawable;
use crate::collapsing::{Fill, FillHead, Keeping};
use crate::decisions::Why;
use crate::derived::{Stamps, joined_tags};
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::purge::Stamp;
use crate::source::SourceBody;
use crate::store::Stored;
use http::StatusCode;
use std::sync::Arc;
use weir_rules::range;
use weir_rules::site_rules::RuleResponse;
use weir_rules::storability::{Reason, Terms};

/// A fetch that may be stored.
pub(crate) struct FillTask {
    /// What the request that started it gave.
    pub(crate) context: FillContext,
    /// The fill that clients follow.
    pub(crate) fill: Arc<Fill>,
    /// A stored response to validate or to complete.
    pub(crate) base: Option<Arc<Stored>>,
    /// What was stored when it began.
    pub(crate) withdrawable: Withdrawable,
    /// The seq applied when it began. Held, so that the index forgets no purge that the response
    /// must still be judged by.
    pub(crate) stamp: Stamp,
}

impl FillTask {
    /// Runs the fetch to its end. Its readers always learn how it ended.
    ///
    /// It is boxed, so that the future does not move it, and has no room for it twice.
    pub(crate) async fn run(self: Box<Self>) {
        let (context, fill) = (&self.context, &self.fill);
        let base = self.base.as_ref().map(|base| (base, context.state.purges.validity(base)));
        let mut plan = Plan::of(&fill.purpose, base);
        let mut answer = context.fetch(&plan, self.stamp.seq()).await;
        if let Ok(fetched) = &answer
            && plan.is_missed_by(
                fetched.response.status(),
                fetched.response.headers(),
                fetched.body.exact_length(),
            )
        {
            plan = Plan::instead(&fill.purpose);
            answer = Box::pin(context.fetch(&plan, self.stamp.seq())).await;
        }
        match answer {
            // Boxed, so that a fetch which waits for its answer has no room for what follows.
            Ok(answer) => Box::pin(self.answered(plan, answer)).await,
            Err(error) => self.failed(error, None),
        }
    }

    pub(super) async fn answered(self: Box<Self>, plan: Plan, answer: Box<SourceAnswer>) {
        let received = self.context.state.now();
        let SourceAnswer { response, body, source, filled_at, stamp, .. } = *answer;
        let status = response.status();
        let Some(filled_at) = filled_at else {
            return self.misanswered(
                "the parent does not state which purges its response covers",
                status,
                &*body,
            );
        };
        if let Some(why) = plan.misanswered(status) {
            return self.misanswered(why, status, &*body);
        }
        if matches!(plan, Plan::Range(..) | Plan::FirstSlice { .. }) {
            // Known before any request that waits learns of the answer.
            let is_part = status == StatusCode::PARTIAL_CONTENT;
            self.context.state.decisions.note_range(self.context.digest, is_part);
        }
        let exchange = FillExchange::answered(plan, Arc::new(source), filled_at, stamp, received);
        if let (StatusCode::NOT_MODIFIED, Some(base)) = (status, exchange.plan.validates()) {
            return self.validated(&Arc::clone(base), &response, &exchange);
        }
        let (parts, ()) = response.into_parts();
        let (length, source) = (body.exact_length(), exchange.source.clone());
        let state = &self.context.state;
        let line = (parts.version, status);
        let cleaned =
            clean_head(state, line, parts.headers, length, source, exchange.response_time);
        if let Plan::Complete(base, prefix) = &exchange.plan
            && status == StatusCode::PARTIAL_CONTENT
        {
            let head = self.completed(base, cleaned, &exchange);
            if self.is_withheld(&head) {
                return self.withhold(head);
            }
            let prefix = whole_prefix(base, *prefix);
            // Boxed, as the next: only what is needed takes room.
            return Box::pin(self.deliver(Arc::new(head), &prefix, body)).await;
        }
        let terms = exchange.terms(&self.context, self.base.as_deref(), status, &cleaned);
        let mut head = self.head(status, cleaned, terms, exchange.stamps);
        if self.is_withheld(&head) {
            return self.withhold(head);
        }
        if matches!(exchange.plan, Plan::FirstSlice { .. }) && status == StatusCode::PARTIAL_CONTENT
        {
            return Box::pin(self.first_slice(head, body)).await;
        }
        self.confine(&mut head);
        self.deliver(Arc::new(head), &[], body).await;
    }

    /// The head of the whole representation that a stored part and the rest of it make.
    fn completed(&self, base: &Stored, mut rest: CleanHead, exchange: &FillExchange) -> FillHead {
        rest.complete();
        rest.tags = joined_tags(&base.tags, rest.tags);
        let most = self.context.state.live.load().limits().tags;
        if rest.tags.len() > most {
            rest.too_many_tags = Some(most);
        }
        let terms = exchange.terms(&self.context, self.base.as_deref(), base.status, &rest);
        self.head(base.status, rest, terms, exchange.stamps.joined(base))
    }

    /// The head of a response on these terms, as readers get it. Whether it is stored follows from
    /// the terms and from its length.
    pub(crate) fn head(
        &self,
        status: StatusCode,
        cleaned: CleanHead,
        terms: Result<Terms, Reason>,
        stamps: Stamps,
    ) -> FillHead {
        let part =
            (status == StatusCode::PARTIAL_CONTENT).then(|| range::content_range(&cleaned.fields));
        let part = part.flatten().and_then(|found| Some((found.span?, found.complete_length)));
        // Fewer bytes than Content-Range promises are still bytes from its first on. More bytes
        // have no place (RFC 9110 §15.3.7).
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
        let selecting = terms.as_ref().ok().and_then(|terms| self.context.selecting(&terms.vary));
        let mut head = FillHead {
            status,
            fields: cleaned.fields,
            age: cleaned.age,
            terms,
            keeping: Keeping::Store,
            selecting,
            tags: cleaned.tags,
            surrogate_control: cleaned.surrogate_control,
            start,
            end: cleaned.length.map(|length| start + length),
            complete_length,
            stamps,
            source: cleaned.source,
        };
        head.keeping = self.keeping(&head);
        head
    }

    /// Whether a response with this head is stored.
    fn keeping(&self, head: &FillHead) -> Keeping {
        let length = head.end.map(|end| end - head.start);
        let (most, on_disk) = self.most(head);
        match &head.terms {
            Err(reason) => Keeping::Pass(Why::Rule(reason.clone())),
            Ok(_) if head.complete_length.is_some_and(|whole| whole > self.most_of_rules(head)) => {
                Keeping::Pass(Why::TooLarge(self.most_of_rules(head)))
            }
            Ok(_) if self.is_overtaken() => Keeping::Pass(Why::Overtaken),
            Ok(_) if length.is_none_or(|length| length <= most) => Keeping::Store,
            Ok(_) if head.has_all() && length.is_some_and(|length| length <= on_disk) => {
                let url = self.fill.purpose.url;
                match self.context.state.disk.as_ref().is_some_and(|disk| disk.works_for(url)) {
                    true => Keeping::StoreOnDisk,
                    false => Keeping::Pass(Why::NoRoomOnDisk),
                }
            }
            Ok(_) => Keeping::Pass(Why::TooLarge(most.max(on_disk))),
        }
    }

    /// The largest body that rules of the site allow to be stored of a response with this head.
    pub(super) fn most_of_rules(&self, head: &FillHead) -> u64 {
        let response = RuleResponse { status: head.status, headers: &head.fields };
        let rules = &self.context.site.config.rules;
        rules.max_object(self.context.rules, &response).unwrap_or(u64::MAX)
    }

    /// The largest bodies that memory and the disk take of a response with this head; 0 without a disk.
    pub(super) fn most(&self, head: &FillHead) -> (u64, u64) {
        let state = &self.context.state;
        let (of_rules, on_disk) =
            (self.most_of_rules(head), state.disk.as_ref().map_or(0, |disk| disk.max_object()));
        (state.max_object.min(of_rules), on_disk.min(of_rules))
    }

    /// Whether a local invalidation or a new configuration of the site came since it began, so that
    /// its response is not stored.
    pub(super) fn is_overtaken(&self) -> bool {
        self.fill.is_revoked() || self.context.site.is_replaced()
    }

    /// An answer to another question than the one asked.
    fn misanswered(self: Box<Self>, why: &str, status: StatusCode, body: &dyn SourceBody) {
        let error = UpstreamError::BadHead(why.to_owned());
        body.reject(&error);
        self.failed(error, Some(status));
    }

    pub(super) fn failed(self: Box<Self>, error: UpstreamError, status: Option<StatusCode>) {
        self.context.note(Why::Failed(error.clone()), status);
        // Off the list first: the next request tries again at once.
        self.context.state.inflight.leave(self.context.digest, &self.fill);
        self.fill.fail(error);
    }

    /// The body broke off.
    pub(super) fn broke_off(self: Box<Self>, abort: Abort, status: StatusCode) {
        if let Abort::Upstream(error) = &abort {
            self.context.note(Why::Failed(error.clone()), Some(status));
        }
        self.context.state.inflight.leave(self.context.digest, &self.fill);
        self.fill.cut(abort);
    }

    /// No client reads any more and nothing is stored: dropping the body ends the upstream's work.
    /// The upstream has not failed, and why nothing is stored was noted before.
    pub(super) fn abandoned(self: Box<Self>, head: &FillHead) {
        self.withdraw(head);
    }
}

/// If the task vanishes (a panic, a stopping runtime), no reader may wait for it in vain.
impl Drop for FillTask {
    fn drop(&mut self) {
        self.context.state.inflight.leave(self.context.digest, &self.fill);
        self.fill.fail(UpstreamError::BadBody("the fetch was abandoned".into()));
    }
}
