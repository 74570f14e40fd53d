//! What a 304 brings: the response that was asked about, current again.

use super::head::{clean_head, govern};
use super::keep::{Made, Over, joined_tags};
use super::task::{FillTask, Plan};
use crate::collapsing::Answer;
use crate::decisions::Why;
use crate::source::Source;
use crate::store::Stored;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::storability::{Reason, Reuse};
use weir_rules::time::Time;
use weir_rules::validation;

impl FillTask {
    /// A 304 about the response whose validator was sent (RFC 9111 §4.3.4).
    pub(super) fn validated(
        self,
        base: &Arc<Stored>,
        update: &HeaderMap,
        filled_at: Seq,
        source: Arc<Source>,
        (request_time, response_time): (Time, Time),
    ) {
        let (fields, from) = (update.clone(), Arc::clone(&source));
        let mut cleaned = clean_head(&self.state, base.status, fields, None, from, response_time);
        cleaned.fields = validation::freshened(&base.fields.to_map(), &cleaned.fields);
        govern(&mut cleaned.fields, &cleaned.surrogate_control);
        let plan = Plan::Validate(Arc::clone(base));
        let terms = self.terms(&plan, base.status, &cleaned, request_time, response_time);
        let most = self.state.live.load().limits().tags;
        let tags = joined_tags(&base.tags, cleaned.tags);
        let terms = match terms {
            Ok(_) if tags.len() > most => Err(Reason::TooManyTags(most)),
            terms => terms,
        };
        let reuse = terms.as_ref().map_or(Reuse::Validated, |terms| terms.reuse);
        let kept = match terms {
            Ok(terms) => self.insert(Made {
                status: base.status,
                fields: cleaned.fields,
                body: base.body.clone(),
                answered: None,
                terms: &terms,
                selecting: self.selecting(&terms.vary),
                tags,
                // What is asked about was judged when this fill began: a purge that came before a
                // parent was asked would otherwise be seen by nobody.
                filled_at: filled_at.min(self.stamp.seq()),
                over: Over::Update(base),
            }),
            Err(reason) => {
                self.note(Why::Rule(reason), Some(StatusCode::NOT_MODIFIED));
                Err(None)
            }
        };
        let cookies = update.get_all(header::SET_COOKIE).iter().cloned().collect();
        let (stored, shared) = match kept {
            Ok(stored) => (stored, true),
            Err(made) => {
                self.state.store.remove(self.digest, base);
                (made.unwrap_or_else(|| Arc::clone(base)), false)
            }
        };
        let answer = Answer::Validated { stored, shared, reuse, cookies, source };
        self.fill.begin(answer, &[], true);
        self.fill.finish(None);
        self.state.inflight.leave(self.digest, &self.fill);
    }
}
