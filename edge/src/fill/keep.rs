//! A fetched response on its way into the store.

use super::context::FillContext;
use super::head::{govern, states_length, strong};
use super::task::FillTask;
use crate::coding::{CodingJob, permit};
use crate::collapsing::FillHead;
use crate::decisions::Why;
use crate::derived::{Stamps, joined_tags, with_forms_of};
use crate::store::{
    Answered, Form, Forms, Insertion, PackedHead, Selecting, Served, Stored, StoredBody, select,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use weir_rules::invalidation::Validity;
use weir_rules::range::{self, Span};
use weir_rules::storability::{Reason, Terms};

/// A response on its way into the store.
#[derive(Clone)]
pub(super) struct Made<'a> {
    pub(super) status: StatusCode,
    pub(super) fields: Cow<'a, HeaderMap>,
    pub(super) body: StoredBody,
    pub(super) answered: Option<Answered>,
    pub(super) terms: &'a Terms,
    pub(super) selecting: Option<Selecting>,
    pub(super) tags: Box<[Box<str>]>,
    pub(super) stamps: Stamps,
    pub(super) over: Over<'a>,
}

/// The stored responses that a response replaces.
#[derive(Clone, Copy)]
pub(super) enum Over<'a> {
    /// Older ones.
    Older,
    /// This one, which it updates.
    Update(&'a Arc<Stored>),
    /// The stored part of the same representation, to which it is joined.
    Part,
}

/// Why a response is not stored.
enum Refused {
    /// For this reason, which is remembered.
    For(Why),
    /// What is stored is as good: another request updated the same response first, or the whole is on
    /// disk.
    AsGood,
}

impl FillTask {
    /// Stores a body that came whole, up to its byte `end`.
    pub(super) fn store(&self, head: &FillHead, end: u64) {
        let Ok(terms) = &head.terms else { return };
        let mut fields = stored_fields(head, terms);
        let is_part = head.status == StatusCode::PARTIAL_CONTENT;
        let complete_length = if is_part { head.complete_length } else { Some(end) };
        let mut answered = None;
        if is_part {
            let promised = range::content_range(&fields).and_then(|range| range.span);
            let Some(span) = Span::new(head.start, end) else { return };
            if promised.is_none_or(|promised| span.end > promised.end) {
                let why = "its body is longer than its Content-Range";
                let why = Why::Rule(Reason::PartialContent(why));
                return self.context.note(why, Some(head.status));
            }
            // The slice around it was asked for in its place.
            let range = self.fill.purpose.range.clone();
            let range = range.filter(|_| self.fill.purpose.first_slice.is_none());
            answered = range.map(|range| Answered { range, span });
            fields.to_mut().remove(header::CONTENT_RANGE);
        }
        // Stored or not, it was sent.
        let _ = self.insert(Made {
            status: if is_part { StatusCode::OK } else { head.status },
            fields,
            body: StoredBody::new(self.fill.slices(), complete_length),
            terms,
            answered,
            selecting: head.selecting.clone(),
            tags: head.tags.clone(),
            stamps: head.stamps,
            over: if is_part { Over::Part } else { Over::Older },
        });
    }

    /// Stores a whole representation with a body that is on the disk, or will be; `None` if it is not stored.
    pub(super) fn store_body(&self, head: &FillHead, body: StoredBody) -> Option<Arc<Stored>> {
        let Ok(terms) = &head.terms else { return None };
        let mut fields = stored_fields(head, terms);
        // A part that is the whole.
        without(&mut fields, &header::CONTENT_RANGE);
        let inserted = self.insert(Made {
            status: if head.is_whole() { head.status } else { StatusCode::OK },
            fields,
            body,
            terms,
            answered: None,
            selecting: head.selecting.clone(),
            tags: head.tags.clone(),
            stamps: head.stamps,
            over: Over::Older,
        });
        inserted.ok()
    }

    /// Stores a response, unless something came between.
    ///
    /// # Errors
    /// It is not stored. The error holds the response, if it could be made, for the request that
    /// asked.
    pub(super) fn insert(&self, made: Made<'_>) -> Result<Arc<Stored>, Option<Arc<Stored>>> {
        let stored = self.fill.storing(|| self.insert_unless_overtaken(made));
        if let Ok(stored) = &stored {
            self.compress(stored);
        }
        stored
    }

    fn insert_unless_overtaken(&self, made: Made<'_>) -> Result<Arc<Stored>, Option<Arc<Stored>>> {
        let status = made.status;
        let revoked = || self.is_overtaken();
        let FillContext { state, digest, key, .. } = &self.context;
        let over = made.over;
        let (mut made, mut placed, mut refused) = (Some(made), None, None);
        let mut superseded = None;
        let insertion = match revoked() {
            true => Insertion::Refused,
            false => state.store.insert_over(*digest, key, |held| {
                // Only a part depends on the variants held: any other response is made once.
                let next = match over {
                    Over::Part => made.clone(),
                    Over::Older | Over::Update(_) => made.take(),
                };
                if let Some(next) = next {
                    placed = Some(self.placed(next, held));
                }
                refused = self.refusal(over, held);
                superseded = self.superseded(held, &placed);
                match &placed {
                    Some(Ok(stored)) if refused.is_none() => Some(Arc::clone(stored)),
                    _ => None,
                }
            }),
        };
        let inserted = insertion.is_stored();
        let (ready, why) = match placed {
            Some(Ok(stored)) => (Some(stored), None),
            Some(Err(why)) => (None, Some(Refused::For(why))),
            None => (None, None),
        };
        match ready {
            // A fill is revoked first and the store emptied then: a response that was stored too
            // late to be removed there is removed here.
            Some(stored) if inserted && !revoked() => {
                if let Some(superseded) = superseded {
                    state.store.remove(*digest, &superseded);
                }
                state.decisions.forget(*digest);
                state.purges.swept.forget(key);
                return Ok(stored);
            }
            Some(ref stored) if inserted => state.store.remove(*digest, stored),
            _ => {}
        }
        match insertion {
            Insertion::NotAdmitted => refused = Some(Refused::For(Why::NotAdmitted)),
            Insertion::NoRoomBelow => refused = Some(Refused::For(Why::NoRoomOnDisk)),
            Insertion::Stored | Insertion::Refused => {}
        }
        match why.or(refused).unwrap_or(Refused::For(Why::Overtaken)) {
            Refused::For(why) => self.context.note(why, Some(status)),
            Refused::AsGood => {}
        }
        Err(ready)
    }

    /// Has a response compressed that was just stored, for the client whose request fetched it. One that says nothing of
    /// codings, such as a warm-up, is no reason against the one that most others get.
    fn compress(&self, stored: &Arc<Stored>) {
        let FillContext { state, site, digest, codings, .. } = &self.context;
        let (Some(rules), Some(accepted)) = (&site.config.compress, codings) else { return };
        let coding = match accepted.is_present() {
            true => accepted.choose(&rules.order),
            false => rules.order.first().copied(),
        };
        let Some(coding) = coding else { return };
        if matches!(stored.forms.get(coding, rules), Form::Absent) && permit(stored, rules).is_ok()
        {
            let (stored, rules) = (Arc::downgrade(stored), Arc::clone(rules));
            let job = CodingJob { digest: *digest, stored, rules, coding };
            state.coding.ask(job, state.live.load().limits().compress_queue);
        }
    }

    /// Why an update must not be stored: a response that was removed meanwhile must not come back.
    fn refusal(&self, over: Over<'_>, held: &[Arc<Stored>]) -> Option<Refused> {
        let base = match over {
            Over::Older => return None,
            Over::Part => {
                let selected = select(held, &self.client());
                let is_below = selected.is_some_and(|held| held.best.body.kept_below().is_some());
                return is_below.then_some(Refused::AsGood);
            }
            Over::Update(base) => base,
        };
        if held.iter().any(|held| Arc::ptr_eq(held, base)) {
            return None;
        }
        // Several requests validated the same response, and another one was first.
        let updated = held
            .iter()
            .any(|held| held.selected_by(&self.client()) && held.filled_at >= base.filled_at);
        Some(if updated { Refused::AsGood } else { Refused::For(Why::Overtaken) })
    }

    /// Of the variants `held`, the one that later requests like this one would still select before
    /// the response that is `placed`: one with Vary before one without (RFC 9111 §4.1). The full
    /// response to this request says that it is of no use (RFC 9111 §4.3.3).
    fn superseded(
        &self,
        held: &[Arc<Stored>],
        placed: &Option<Result<Arc<Stored>, Why>>,
    ) -> Option<Arc<Stored>> {
        let Some(Ok(placed)) = placed else { return None };
        let best = select(held, &self.client())?.best;
        let is_preferred = placed.selecting.is_none() && best.selecting.is_some();
        (is_preferred && best.filled_at <= placed.filled_at).then(|| Arc::clone(best))
    }

    /// The response as it is stored beside the variants `held`; or why it must not be.
    fn placed(&self, mut made: Made<'_>, held: &[Arc<Stored>]) -> Result<Arc<Stored>, Why> {
        match made.over {
            Over::Older => made.state_length(),
            Over::Update(_) => {}
            Over::Part => {
                if let Some(selected) = select(held, &self.client()) {
                    self.join(&mut made, selected.best);
                }
                made.state_length();
            }
        }
        let stored = Stored {
            head: PackedHead::pack(&self.context.key, &made.fields)
                .map_err(|_| Why::FieldTooLong)?,
            site: Arc::clone(&self.context.site.id),
            status: made.status,
            body: made.body.answering(made.answered),
            forms: Forms::default(),
            freshness: made.terms.freshness,
            lifetime_source: made.terms.lifetime_source,
            selecting: made.selecting.map(Box::new),
            tags: made.tags.into(),
            filled_at: made.stamps.filled_at,
            valid_at: AtomicU64::new(made.stamps.valid_at),
            soft_at: AtomicU64::new(0),
            served: Served::default(),
        };
        let authorized = self.client().contains_key(header::AUTHORIZATION);
        let stored = match made.over {
            Over::Update(base) => with_forms_of(base, stored, authorized),
            _ if authorized => Stored { forms: Forms::never(), ..stored },
            Over::Older | Over::Part => stored,
        };
        match self.context.state.purges.validity_of_new(&stored) {
            Validity::Hard(_) => Err(Why::Overtaken),
            Validity::Valid | Validity::Soft(_) => Ok(Arc::new(stored)),
        }
    }

    fn client(&self) -> Arc<HeaderMap> {
        self.context.client.get()
    }

    /// Joins a part to the stored one of the same representation (RFC 9110 §15.3.7.3, RFC 9111
    /// §3.4): only under one strong validator.
    fn join(&self, made: &mut Made<'_>, held: &Stored) {
        /// A part in more slices than this is not joined further: it would cost more than it holds.
        const MOST_SLICES: usize = 1024;
        let same = strong(&made.fields).is_some()
            && strong(&made.fields) == strong(&held.fields().to_map());
        let state = &self.context.state;
        let valid = state.purges.validity(held) == Validity::Valid;
        let tags = joined_tags(&held.tags, made.tags.clone());
        if !same
            || !valid
            || held.body.kept_below().is_some()
            || held.body.slices().count() > MOST_SLICES
            || tags.len() > state.live.load().limits().tags
        {
            return;
        }
        made.body = held.body.combined(&made.body);
        made.tags = tags;
        made.stamps = made.stamps.joined(held);
    }
}

/// The fields of a response as they are stored.
fn stored_fields<'a>(head: &'a FillHead, terms: &Terms) -> Cow<'a, HeaderMap> {
    let mut fields = Cow::Borrowed(&head.fields);
    for name in &terms.omit {
        without(&mut fields, name);
    }
    govern(&mut fields, &head.surrogate_control);
    // Trailer fields are not stored (RFC 9111 §3).
    without(&mut fields, &header::TRAILER);
    fields
}

/// Removes a field. Nothing is copied where there is none.
fn without(fields: &mut Cow<'_, HeaderMap>, name: &HeaderName) {
    if fields.contains_key(name) {
        fields.to_mut().remove(name);
    }
}

impl Made<'_> {
    /// States the length of the representation in the fields, if all of it is held.
    fn state_length(&mut self) {
        match self.body.complete_length() {
            // A body below memory is stored as a whole; its last slices may still be on their way.
            Some(length) if self.body.kept_below().is_some() || self.body.is_complete() => {
                if !states_length(&self.fields, length) {
                    let length = HeaderValue::from(length);
                    self.fields.to_mut().insert(header::CONTENT_LENGTH, length);
                }
                self.answered = None;
            }
            _ => without(&mut self.fields, &header::CONTENT_LENGTH),
        }
    }
}
