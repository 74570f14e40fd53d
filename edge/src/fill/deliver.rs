//! The body of an upstream's answer: to the readers and, where it may be, into the store.

use super::head::{clean_head, govern, strong};
use super::shared::{Answer, FillHead};
use super::task::{FillTask, Plan};
use crate::decisions::Why;
use crate::error::UpstreamError;
use crate::state::NodeState;
use crate::store::{Answered, PackedFields, Selecting, Served, Slice, Stored, StoredBody};
use crate::upstream::{FetchedBody, Piece, Source};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use weir_rules::invalidation::{Seq, Subject, Validity};
use weir_rules::range::{self, Span};
use weir_rules::storability::{Reason, Terms};
use weir_rules::time::Time;
use weir_rules::validation;

impl FillTask {
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
        if head.end.is_some_and(|end| end != at) {
            let why = format!("its body ended at byte {at}, not at the length it had promised");
            return self.failed(UpstreamError::BadBody(why), Some(head.status));
        }
        if storing {
            self.store(&head, at);
        }
        self.fill.finish(trailers);
        self.state.inflight.leave(self.digest, &self.fill);
        // The connection can be used again only once the end of the message has been read.
        while let Some(Ok(_)) = body.next().await {}
    }

    fn store(&self, head: &FillHead, end: u64) {
        let Ok(terms) = &head.terms else { return };
        let mut fields = head.fields.clone();
        for name in &terms.omit {
            fields.remove(name);
        }
        govern(&mut fields, &head.surrogate_control);
        // Trailer fields are not stored (RFC 9111 §3).
        fields.remove(header::TRAILER);
        let complete_length = match head.status {
            StatusCode::PARTIAL_CONTENT => head.complete_length,
            _ => Some(end),
        };
        let mut body = StoredBody::new(self.fill.slices(), complete_length);
        let mut filled_at = head.filled_at;
        let mut answered = None;
        if head.status == StatusCode::PARTIAL_CONTENT {
            let promised = range::content_range(&fields).and_then(|range| range.span);
            let Some(span) = Span::new(head.start, end) else { return };
            if promised.is_none_or(|promised| span.end > promised.end) {
                let why = "its body is longer than its Content-Range";
                return self.note(Why::Rule(Reason::PartialContent(why)), Some(head.status));
            }
            answered =
                self.fill.purpose.range.clone().map(|range| Box::new(Answered { range, span }));
            fields.remove(header::CONTENT_RANGE);
            if let Some(held) = self.other_part(&fields) {
                body = held.body.combined(&body);
                // What is combined carries the lowest stamp of its sources (invariant I2).
                filled_at = filled_at.min(held.filled_at);
            }
        }
        let whole = body.is_complete();
        match complete_length {
            Some(length) if whole => {
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
            answered: answered.filter(|_| !whole),
            selecting,
            tags: head.tags.clone(),
            filled_at,
            base: None,
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
        let Made { status, fields, body, answered, terms, selecting, tags, filled_at, base } = made;
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
            answered,
            freshness: terms.freshness,
            lifetime_source: terms.lifetime_source,
            selecting: selecting.map(Box::new),
            tags: tags.into(),
            filled_at,
            valid_at: AtomicU64::new(filled_at),
            soft_at: AtomicU64::new(0),
            served: Served::default(),
        });
        let revoked = || self.fill.is_revoked() || self.site.is_replaced();
        let purged = || matches!(self.state.purges.validity_of_new(&stored), Validity::Hard(_));
        let store = &self.state.store;
        let insert = || match base {
            Some(base) => store.update(self.digest, base, Arc::clone(&stored)),
            None => store.insert(self.digest, Arc::clone(&stored)),
        };
        if revoked() || purged() || !insert() {
            self.note(Why::Overtaken, Some(status));
            return None;
        }
        // Whoever revokes marks first and then empties the store: what came in between is seen
        // here, if it was too late to be seen there.
        if revoked() {
            store.remove(self.digest, &stored);
            self.note(Why::Overtaken, Some(status));
            return None;
        }
        self.state.decisions.forget(self.digest);
        Some(stored)
    }

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
        // What is asked about was judged when this fill began: a purge that came before a parent
        // was asked would otherwise be seen by nobody.
        let filled_at = filled_at.min(self.stamp.seq());
        let judged = base
            .with_subject(|subject| self.state.purges.judge(&Subject { filled_at, ..*subject }));
        let most = self.state.live.load().limits().tags;
        let tags = joined_tags(&base.tags, cleaned.tags);
        let shared = match terms {
            Ok(_) if tags.len() > most => {
                self.note(Why::Rule(Reason::TooManyTags(most)), Some(StatusCode::NOT_MODIFIED));
                None
            }
            Ok(terms) if !matches!(judged, Validity::Hard(_)) => {
                let selecting = self.selecting(&terms.vary);
                let (status, body) = (base.status, base.body.clone());
                let fields = cleaned.fields;
                self.insert(Made {
                    status,
                    fields,
                    body,
                    answered: None,
                    terms: &terms,
                    selecting,
                    tags,
                    filled_at,
                    base: Some(base),
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
        let cookies = update.get_all(header::SET_COOKIE).iter().cloned().collect();
        let answer = match shared {
            Some(stored) => Answer::Validated { stored, shared: true, cookies, source },
            None => {
                self.state.store.remove(self.digest, base);
                let stored = Arc::clone(base);
                Answer::Validated { stored, shared: false, cookies, source }
            }
        };
        self.fill.begin(answer, &[], true);
        self.fill.finish(None);
        self.state.inflight.leave(self.digest, &self.fill);
    }
}

/// The tags of a stored response that a 304 refreshed: the new ones and, until it is fetched whole
/// again, the old ones too. A purge by one of those may have been ordered before the 304 was sent
/// and yet reach this node after it.
fn joined_tags(old: &[Box<str>], new: Box<[Box<str>]>) -> Box<[Box<str>]> {
    if new.is_empty() {
        return old.into();
    }
    let kept: Vec<_> = old.iter().filter(|tag| !new.contains(tag)).cloned().collect();
    new.into_iter().chain(kept).collect()
}

/// A response on its way into the store.
struct Made<'a> {
    status: StatusCode,
    fields: HeaderMap,
    body: StoredBody,
    answered: Option<Box<Answered>>,
    terms: &'a Terms,
    selecting: Option<Selecting>,
    tags: Box<[Box<str>]>,
    filled_at: Seq,
    /// The stored response of which it is an update.
    base: Option<&'a Arc<Stored>>,
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
