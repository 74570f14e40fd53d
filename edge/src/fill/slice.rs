//! A file that is stored in slices: how it begins to be, and how a slice is fetched, sent to all who wait
//! for it, and joined to the file ([`weir_rules::slices`]).
//!
//! INVARIANT: the head of the file is handed to the disk before any of its slices, and a slice is handed to an
//! object whose head covers it, or together with a head that does.

use super::context::FillContext;
use super::deliver::{WRITTEN, no_room, not_on_disk};
use super::exchange::FillExchange;
use super::head::{clean_head, govern, strong};
use super::keep::{Made, Over};
use super::plan::Plan;
use super::source::SourceAnswer;
use super::task::FillTask;
use crate::byte_budget::Portion;
use crate::collapsing::{Answer, Fill, FillHead, Keeping, Purpose, SliceName};
use crate::decisions::Why;
use crate::derived::{Stamps, joined_tags};
use crate::disk::{DiskBody, SLICE, body_on_disk};
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::source::{Piece, Source, SourceBody};
use crate::store::{BodyBelow, Slice, Stored, StoredBody, select};
use bytes::{Bytes, BytesMut};
use http::header;
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use weir_rules::freshness::State;
use weir_rules::invalidation::Validity;
use weir_rules::range::{self, Resolved, Span};
use weir_rules::slices::{self, Answered, Join, Known};
use weir_rules::storability::{Reuse, Terms};
use weir_rules::validation;
use weir_store::volume::Refused;

impl FillTask {
    /// A part came of a file of which nothing, or nothing current, is stored: the slice in which the range
    /// begins that was asked for. A file that memory cannot hold is stored in slices from now on.
    pub(super) async fn first_slice(self: Box<Self>, head: FillHead, body: Box<dyn SourceBody>) {
        // Another request may have been first.
        match self.held_in_slices(&head).or_else(|| self.begin_slices(&head)) {
            Some((stored, file)) => self.go_on_in_slices(head, body, stored, &file).await,
            None if self.holds_what_is_asked(&head) => {
                if self.is_asked_for(&head) {
                    self.deliver(Arc::new(head), &[], body).await;
                } else {
                    drop(body);
                    self.ask_as_it_came().await;
                }
            }
            None => {
                drop(body);
                let context = &self.context;
                context.state.decisions.note_not_in_slices(context.digest, context.state.now());
                self.ask_as_it_came().await;
            }
        }
    }

    /// The same file, if it is stored in slices and fresh by now.
    fn held_in_slices(&self, head: &FillHead) -> Option<(Arc<Stored>, Arc<DiskBody>)> {
        let FillContext { state, digest, key, client, .. } = &self.context;
        let resource = state.store.get_again(*digest, key)?;
        let client = client.get();
        let held = select(resource.variants(), &client)?.best;
        let (file, fields) = (body_on_disk(held)?, held.fields().to_map());
        let length =
            head.complete_length.filter(|length| BodyBelow::length(&*file) == Some(*length))?;
        let is_fresh = matches!(held.freshness.state(state.now()), State::Fresh { .. });
        let is_same = strong(&head.fields).is_some() && strong(&head.fields) == strong(&fields);
        let is_valid = || state.purges.validity(held) == Validity::Valid;
        let is_it =
            is_slice(head, length) && is_fresh && is_same && head.terms.is_ok() && is_valid();
        is_it.then(|| (Arc::clone(held), file))
    }

    /// Stores the head of a file in slices, if it is to be stored so.
    fn begin_slices(&self, head: &FillHead) -> Option<(Arc<Stored>, Arc<DiskBody>)> {
        let state = &self.context.state;
        let (disk, length) = (state.disk.as_ref()?, head.complete_length?);
        let (_, on_disk) = self.most(head);
        let is_large = length > state.max_object && length <= on_disk;
        let url = self.fill.purpose.url;
        if head.terms.is_err()
            || !(is_slice(head, length) && is_large)
            || strong(&head.fields).is_none()
            || self.is_overtaken()
            || !disk.works_for(url)
        {
            return None;
        }
        let file = disk.begin_slices(url, &self.context.key, head.selecting.as_ref(), length)?;
        let stored = self.store_body(head, StoredBody::below(Arc::clone(&file) as Arc<_>))?;
        Some((stored, file))
    }

    /// Answers whoever waits with the stored file, and makes of this fill that of its first slice.
    async fn go_on_in_slices(
        mut self: Box<Self>,
        mut head: FillHead,
        body: Box<dyn SourceBody>,
        stored: Arc<Stored>,
        file: &DiskBody,
    ) {
        let inflight = &self.context.state.inflight;
        let number = head.start / SLICE;
        let purpose = Purpose {
            begun: self.fill.purpose.begun,
            url: self.fill.purpose.url,
            alone: true,
            slice: Some(SliceName { body: file.first_object(), number }),
            ..Purpose::default()
        };
        let window = self.context.state.live.load().limits().fill_window;
        let of_slice = Fill::new(purpose, window);
        head.keeping = Keeping::Store;
        let head = Arc::new(head);
        of_slice.begin(Answer::Response(Arc::clone(&head)), &[], true);
        // Listed before anybody learns of the file, and would ask for the slice again.
        inflight.start_alone(self.context.digest, &of_slice);
        let waited_for = std::mem::replace(&mut self.fill, of_slice);
        self.base = Some(Arc::clone(&stored));
        let answer = Answer::Stored {
            stored: Arc::clone(&stored),
            status: head.status,
            shared: true,
            reuse: head.terms.as_ref().map_or(Reuse::Validated, |terms| terms.reuse),
            cookies: Vec::new(),
            source: Arc::clone(&head.source),
        };
        waited_for.begin(answer, &[], true);
        waited_for.finish(None);
        inflight.leave(self.context.digest, &waited_for);
        self.deliver_slice(head, &stored, number, body).await;
    }

    /// Whether a part is of the representation that the client's If-Range names, if it has one: where a
    /// stored file was asked about, the origin did not see it (RFC 9110 §13.1.5).
    fn is_asked_for(&self, head: &FillHead) -> bool {
        let condition = self.fill.purpose.if_range.clone();
        let asked = condition.into_iter().map(|condition| (header::IF_RANGE, condition)).collect();
        range::if_range_holds(&asked, &head.fields)
    }

    /// Whether a part holds what the client asked for.
    fn holds_what_is_asked(&self, head: &FillHead) -> bool {
        let (Some(range), Some(length), Some(end)) =
            (&self.fill.purpose.range, head.complete_length, head.end)
        else {
            return false;
        };
        let asked = [(header::RANGE, range.clone())].into_iter().collect();
        match range::resolve(&range::requested(&asked), length) {
            Resolved::One(span) => head.start <= span.start && span.end <= end,
            Resolved::Whole | Resolved::Many(_) | Resolved::Unsatisfiable => false,
        }
    }

    /// Asks for the range that the client asked for.
    fn ask_as_it_came(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let plan = Plan::instead(&self.fill.purpose);
            match self.context.fetch(&plan, self.stamp.seq()).await {
                Ok(answer) => self.answered(plan, answer).await,
                Err(error) => self.failed(error, None),
            }
        })
    }

    /// Runs the fetch of this slice of the stored file to its end.
    pub(super) async fn run_slice(self: Box<Self>, stored: Arc<Stored>, number: u64) {
        let length = stored.body.complete_length().unwrap_or(0);
        let span = slices::span(number, SLICE, length);
        let (Some(span), Some(validator)) = (span, strong(&stored.fields().to_map())) else {
            return self.failed(UpstreamError::BadHead("there is no such slice".into()), None);
        };
        let plan = Plan::Slice(span, validator);
        match self.context.fetch(&plan, self.stamp.seq()).await {
            Ok(answer) => Box::pin(self.slice_answered(plan, answer, stored, span)).await,
            Err(error) => self.failed(error, None),
        }
    }

    async fn slice_answered(
        self: Box<Self>,
        plan: Plan,
        answer: Box<SourceAnswer>,
        stored: Arc<Stored>,
        span: Span,
    ) {
        let received = self.context.state.now();
        let SourceAnswer { response, body, source, filled_at, stamp, .. } = *answer;
        let (parts, ()) = response.into_parts();
        let (state, digest, source) = (&self.context.state, self.context.digest, Arc::new(source));
        let fields = stored.fields().to_map();
        let length = stored.body.complete_length().unwrap_or(0);
        match slices::answered(&fields, length, span, parts.status, &parts.headers) {
            Answered::Slice => {}
            what => {
                drop(body);
                if what == Answered::NotInSlices {
                    state.decisions.note_not_in_slices(digest, state.now());
                }
                if what != Answered::Nothing {
                    state.store.remove(digest, &stored);
                }
                return self.no_slice(source);
            }
        }
        let Some(filled_at) = filled_at else { return self.no_slice(source) };
        let asked = Arc::clone(&source);
        let exchange = FillExchange::answered(plan, asked, filled_at, stamp, received);
        let line = (parts.version, parts.status);
        let length = body.exact_length();
        let cleaned = clean_head(
            state,
            line,
            parts.headers,
            length,
            Arc::clone(&source),
            exchange.response_time,
        );
        let terms = exchange.terms(&self.context, None, parts.status, &cleaned);
        let mut head = self.head(parts.status, cleaned, terms, exchange.stamps);
        if head.start != span.start || head.end.is_some_and(|end| end != span.end) {
            return self.no_slice(source);
        }
        if self.is_withheld(&head) {
            return self.no_slice(source);
        }
        head.end = Some(span.end);
        head.keeping = match &head.terms {
            Ok(_) if head.selecting.as_ref() == stored.selecting.as_deref() => Keeping::Store,
            Ok(_) => Keeping::Pass(Why::Overtaken),
            Err(reason) => Keeping::Pass(Why::Rule(reason.clone())),
        };
        let head = Arc::new(head);
        self.fill.begin(Answer::Response(Arc::clone(&head)), &[], true);
        self.deliver_slice(head, &stored, span.start / SLICE, body).await;
    }

    fn no_slice(self: Box<Self>, source: Arc<Source>) {
        self.context.state.inflight.leave(self.context.digest, &self.fill);
        self.fill.begin(Answer::NoSlice(source), &[], true);
        self.fill.finish(None);
    }

    /// Passes the bytes of a slice on to all who read it, and joins it to the file.
    async fn deliver_slice(
        self: Box<Self>,
        head: Arc<FillHead>,
        stored: &Arc<Stored>,
        number: u64,
        mut body: Box<dyn SourceBody>,
    ) {
        let client = self.context.ask.counts_for;
        let mut room = Portion::of(&self.context.state.filling, client);
        self.fill.count_in(Portion::of(&self.context.state.ahead.memory, client));
        let (mut is_kept, mut is_retained) = (head.is_stored(), true);
        let (mut at, end) = (head.start, head.end.unwrap_or(head.start));
        while at < end {
            if !self.fill.room(self.context.state.ahead.at_hand()).await {
                return self.abandoned(&head);
            }
            match body.next().await {
                Some(Ok(Piece::Data(data))) => {
                    at += data.len() as u64;
                    if at > end {
                        return self.broke_off(Abort::Length, head.status);
                    }
                    if is_retained && let Err(why) = room.take(data.len() as u64) {
                        (is_kept, is_retained) = (false, false);
                        self.context.note(no_room(why), Some(head.status));
                        self.fill.let_go();
                    }
                    // Stored before the last bytes are shown: a client that has them finds them stored.
                    self.fill.push(data, at != end);
                }
                Some(Ok(Piece::Trailers(_))) => {}
                Some(Err(abort)) => return self.broke_off(abort, head.status),
                None => {
                    let why = format!("a slice of it ended at byte {at}, not at {end}");
                    let abort = Abort::Upstream(UpstreamError::BadBody(why));
                    return self.broke_off(abort, head.status);
                }
            }
        }
        let is_joined = match is_kept {
            true => self.join_slice(&head, stored, number).await,
            false => Ok(false),
        };
        self.fill.finish(None);
        self.context.state.inflight.leave(self.context.digest, &self.fill);
        match is_joined {
            Ok(true) => self.fill.leave_to_disk(),
            Ok(false) => self.fill.let_go(),
            Err(why) => {
                self.context.note(why, Some(head.status));
                self.fill.let_go();
            }
        }
        drop(room);
        // The connection can be used again only once the end of the message has been read.
        while let Some(Ok(_)) = body.next().await {}
    }

    /// Joins a slice to the stored file, and waits until it is found there; whether it is.
    async fn join_slice(
        &self,
        head: &FillHead,
        stored: &Arc<Stored>,
        number: u64,
    ) -> Result<bool, Why> {
        let (Ok(terms), Some(file)) = (&head.terms, body_on_disk(stored)) else { return Ok(false) };
        if self.is_overtaken() {
            return Err(Why::Overtaken);
        }
        let bytes = one_run(&self.fill.slices());
        let is_valid = || self.context.state.purges.validity(stored) == Validity::Valid;
        match joining(stored, head) {
            Join::Covered => {
                let found = file.add(number, &bytes).await.map_err(not_on_disk)?;
                if slices::renews(&stored.freshness, &terms.freshness) && is_valid() {
                    // Stored or not, the slice is covered by the head that there is.
                    let _ = self.renew(head, terms, stored, stored.body.clone());
                }
                // Late, it is stored all the same.
                Ok(tokio::time::timeout(WRITTEN, found).await.is_ok())
            }
            Join::Widened if is_valid() => {
                let (key, selecting) = (&self.context.key, stored.selecting.as_deref());
                let wider = match file.extended(key, selecting, number, bytes) {
                    Err(Refused::TooManyObjects) => {
                        // It begins anew with the next request.
                        self.context.state.store.remove(self.context.digest, stored);
                        return Err(Why::NoRoomOnDisk);
                    }
                    wider => Arc::new(wider.map_err(not_on_disk)?),
                };
                let body = StoredBody::below(Arc::clone(&wider) as Arc<_>);
                if !self.renew(head, terms, stored, body) {
                    return Ok(false);
                }
                Ok(tokio::time::timeout(WRITTEN, wider.until_written()).await.is_ok())
            }
            Join::Widened => Err(Why::Overtaken),
        }
    }

    /// Stores the file with the newest terms, the lowest stamp, the tags of both and this body; whether it
    /// is stored.
    fn renew(
        &self,
        head: &FillHead,
        terms: &Terms,
        stored: &Arc<Stored>,
        body: StoredBody,
    ) -> bool {
        let tags = joined_tags(&stored.tags, head.tags.clone());
        if tags.len() > self.context.state.live.load().limits().tags {
            return false;
        }
        // By the tags that it had it was judged up to there.
        let valid_at = stored.valid_at.load(Ordering::Acquire);
        let stamps =
            match tags.len() == stored.tags.len() && stored.filled_at <= head.stamps.filled_at {
                true => Stamps { filled_at: stored.filled_at, valid_at },
                false => head.stamps.joined(stored),
            };
        let mut update = head.fields.clone();
        for name in [header::CONTENT_RANGE, header::CONTENT_LENGTH] {
            update.remove(name);
        }
        for name in &terms.omit {
            update.remove(name);
        }
        let mut fields = Cow::Owned(validation::freshened(&stored.fields().to_map(), &update));
        govern(&mut fields, &head.surrogate_control);
        let inserted = self.insert(Made {
            status: stored.status,
            fields,
            body,
            answered: None,
            terms,
            selecting: stored.selecting.as_deref().cloned(),
            tags,
            stamps,
            over: Over::Update(stored),
        });
        inserted.is_ok()
    }
}

/// Whether a part is one whole slice of a file of so many bytes.
fn is_slice(part: &FillHead, length: u64) -> bool {
    let span = slices::span(part.start / SLICE, SLICE, length);
    span.is_some_and(|span| part.start == span.start && part.end == Some(span.end))
}

/// How a fetched slice joins the stored file.
pub(super) fn joining(stored: &Stored, slice: &FillHead) -> Join {
    let of_file = Known { filled_at: stored.filled_at, tags: &stored.tags };
    let of_slice = Known { filled_at: slice.stamps.filled_at, tags: &slice.tags };
    slices::join(of_file, of_slice)
}

/// The bytes of a slice in one run, as the disk takes them.
fn one_run(slices: &[Slice]) -> Bytes {
    let mut run = BytesMut::with_capacity(slices.iter().map(|slice| slice.bytes.len()).sum());
    slices.iter().for_each(|slice| run.extend_from_slice(&slice.bytes));
    run.freeze()
}
