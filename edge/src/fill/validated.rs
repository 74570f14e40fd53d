//! A 304: the response that was asked about is current again.

use super::exchange::FillExchange;
use super::head::{clean_head, govern};
use super::keep::{Made, Over};
use super::task::FillTask;
use crate::collapsing::Answer;
use crate::decisions::Why;
use crate::derived::{Stamps, joined_tags};
use crate::store::Stored;
use http::{Response, StatusCode, header};
use std::borrow::Cow;
use std::sync::Arc;
use weir_rules::storability::{Reason, Reuse};
use weir_rules::validation;

impl FillTask {
    /// A 304 about the response whose validator was sent (RFC 9111 §4.3.4).
    pub(super) fn validated(
        self: Box<Self>,
        base: &Arc<Stored>,
        update: &Response<()>,
        exchange: &FillExchange,
    ) {
        let (state, source) = (&self.context.state, exchange.source.clone());
        let (fields, time) = (update.headers().clone(), exchange.response_time);
        let line = (update.version(), base.status);
        let mut cleaned = clean_head(state, line, fields, None, source.clone(), time);
        let fields = validation::freshened(&base.fields().to_map(), &cleaned.fields);
        let mut fields = Cow::Owned(fields);
        govern(&mut fields, &cleaned.surrogate_control);
        cleaned.fields = fields.into_owned();
        let terms = exchange.terms(&self.context, self.base.as_deref(), base.status, &cleaned);
        let most = state.live.load().limits().tags;
        let tags = joined_tags(&base.tags, cleaned.tags);
        let terms = match terms {
            Ok(_) if tags.len() > most => Err(Reason::TooManyTags(most)),
            terms => terms,
        };
        let reuse = terms.as_ref().map_or(Reuse::Validated, |terms| terms.reuse);
        let kept = match terms {
            Ok(terms) => self.insert(Made {
                status: base.status,
                fields: Cow::Owned(cleaned.fields),
                body: base.body.clone(),
                answered: None,
                terms: &terms,
                selecting: self.context.selecting(&terms.vary),
                tags,
                // The response was judged when this fill began. A later stamp would hide a purge
                // that came before a parent was asked.
                stamps: Stamps::fetched(exchange.stamps.filled_at.min(self.stamp.seq())),
                over: Over::Update(base),
            }),
            Err(reason) => {
                self.context.note(Why::Rule(reason), Some(StatusCode::NOT_MODIFIED));
                Err(None)
            }
        };
        // An anonymous request's cookies are not for the client whose request it was made of.
        let cookies = match self.context.anonymous {
            true => Vec::new(),
            false => update.headers().get_all(header::SET_COOKIE).iter().cloned().collect(),
        };
        let (stored, shared) = match kept {
            Ok(stored) => (stored, true),
            Err(made) => {
                state.store.remove(self.context.digest, base);
                (made.unwrap_or_else(|| Arc::clone(base)), false)
            }
        };
        let status = StatusCode::NOT_MODIFIED;
        let answer = Answer::Stored { stored, status, shared, reuse, cookies, source };
        self.fill.begin(answer, &[], true);
        self.fill.finish(None);
        state.inflight.leave(self.context.digest, &self.fill);
    }
}
