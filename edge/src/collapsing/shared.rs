//! One writer, many readers: a running fill as its clients see it.
//!
//! Owns the head (once it is known) and the bytes that some reader may still want. One mutex per
//! fill, held for a few moves at a time and never across an await. The writer always ends in
//! [`Fill::finish`] or [`Fill::fail`]; its guard fails the fill should the task vanish, so no
//! reader can be stranded.
//!
//! INVARIANT: while `retain` is set nothing is dropped, and a reader may begin at any byte. Once
//! it is cleared, only a window is kept: a sole reader holds the writer up, several do not wait
//! for the slowest, which falls out ([`Fault::FellOut`]) and goes on by itself (invariant I7).

use crate::byte_budget::Portion;
use crate::decisions::Why;
use crate::derived::Stamps;
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::source::Source;
use crate::store::{BodyBelow, SLICE, Selecting, Slice, Stored, UrlHash};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use weir_rules::fields;
use weir_rules::invalidation::Seq;
use weir_rules::storability::{Reason, Reuse, Terms};
use weir_rules::vary;

/// What a fill was started for, as far as others need it to decide whether to join.
#[derive(Debug, Default)]
pub(crate) struct Purpose {
    /// The seq that was applied here when the fetch began. What comes may be from earlier, if a
    /// parent sends it.
    pub(crate) begun: Seq,
    /// The Range that is being fetched. Its part answers equal requests only; if the origin ignores
    /// it, the whole answers all.
    pub(crate) range: Option<HeaderValue>,
    /// The If-Range under which it is fetched; likewise.
    pub(crate) if_range: Option<HeaderValue>,
    /// The selecting values it is fetched for, where Vary is known from a stored response.
    pub(crate) expects: Option<Selecting>,
    /// For one request only: nobody joins.
    pub(crate) alone: bool,
    /// The URL of its key.
    pub(crate) url: UrlHash,
}

impl Purpose {
    /// Whether a request for this range, or for the whole, is answered with whatever answers the
    /// fill. Under another If-Range the origin might answer with the whole where it answers the fill
    /// with a part (RFC 9110 §13.1.5).
    pub(crate) fn asks_what(&self, request: &HeaderMap, range: Option<&HeaderValue>) -> bool {
        let Self { range: asked, if_range, .. } = self;
        asked.is_none()
            || (asked.as_ref() == range && if_range.as_ref() == request.get(header::IF_RANGE))
    }
}

/// A running fill.
#[derive(Debug)]
pub(crate) struct Fill {
    /// What it was started for.
    pub(crate) purpose: Purpose,
    /// A time before anything was asked of an upstream.
    pub(crate) started: Instant,
    revoked: AtomicBool,
    window: u64,
    state: Mutex<FillState>,
}

/// What the upstream answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A response; its body follows.
    Response(Arc<FillHead>),
    /// 304: this stored response is current again.
    Validated {
        /// It.
        stored: Arc<Stored>,
        /// Whether it is in the store; else it is only for the request that asked.
        shared: bool,
        /// Which requests that waited may be answered with it.
        reuse: Reuse,
        /// The 304's Set-Cookie, for the request that asked alone.
        cookies: Vec<HeaderValue>,
        /// The upstream that sent the 304.
        source: Arc<Source>,
    },
    /// The response to the anonymous request for a static asset is not for everyone: it is neither
    /// stored nor sent.
    NotForEveryone(Arc<Source>),
}

impl Answer {
    /// Which requests that waited may be answered with it; `None` if it is only for the request that
    /// asked.
    pub(crate) fn reuse(&self) -> Option<Reuse> {
        match self {
            Self::Response(head) => head.terms.as_ref().ok().map(|terms| terms.reuse),
            Self::Validated { shared, reuse, .. } => shared.then_some(*reuse),
            Self::NotForEveryone(_) => None,
        }
    }

    /// The upstream that sent it.
    pub(crate) fn source(&self) -> &Arc<Source> {
        match self {
            Self::Response(head) => &head.source,
            Self::Validated { source, .. } | Self::NotForEveryone(source) => source,
        }
    }
}

/// Whether a response goes into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It does.
    Store,
    /// It goes to the disk while it arrives: memory does not hold so much.
    StoreOnDisk,
    /// It only goes to the readers, for this reason.
    Pass(Why),
}

/// The head of a response that is being filled.
#[derive(Debug)]
pub(crate) struct FillHead {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its fields as they are sent, less Age and this node's Cache-Status.
    pub(crate) fields: HeaderMap,
    /// The upstream's Age, if it sent one, so that clients are shown one.
    pub(crate) age: Option<HeaderValue>,
    /// The terms on which it is stored and shared, or why it is neither.
    pub(crate) terms: Result<Terms, Reason>,
    /// Whether it goes into the store (it may be shared and yet too large).
    pub(crate) keeping: Keeping,
    /// The selecting values it was fetched for.
    pub(crate) selecting: Option<Selecting>,
    /// Cache tags.
    pub(crate) tags: Box<[Box<str>]>,
    /// Surrogate-Control lines, which are stored and not sent.
    pub(crate) surrogate_control: Vec<HeaderValue>,
    /// Offset of its first byte in the representation; not 0 for a 206.
    pub(crate) start: u64,
    /// One past its last byte's offset, where the upstream said.
    pub(crate) end: Option<u64>,
    /// Length of the whole representation, where known.
    pub(crate) complete_length: Option<u64>,
    /// The purges that it has been judged by (invariant I2).
    pub(crate) stamps: Stamps,
    /// The upstream that sent it.
    pub(crate) source: Arc<Source>,
}

impl FillHead {
    /// Whether it goes into the store.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.keeping, Keeping::Store | Keeping::StoreOnDisk)
    }

    /// Whether it is not a part of the representation.
    pub(crate) fn is_whole(&self) -> bool {
        self.status != StatusCode::PARTIAL_CONTENT
    }

    /// Whether it has all bytes of the representation: a part may, too, such as that of `bytes=0-`.
    pub(crate) fn has_all(&self) -> bool {
        let from_first_to_last =
            self.start == 0 && self.end.is_some() && self.end == self.complete_length;
        self.is_whole() || from_first_to_last
    }

    /// Whether it has more cache tags than are kept.
    pub(crate) fn has_too_many_tags(&self) -> bool {
        matches!(self.terms, Err(Reason::TooManyTags(_)))
    }

    /// Whether a request selects this response (RFC 9111 §4.1).
    pub(crate) fn selected_by(&self, request: &HeaderMap) -> bool {
        self.selecting.as_ref().is_none_or(|selecting| {
            vary::selecting_values(&selecting.fields, request) == selecting.values
        })
    }
}

/// An interim response (1xx) on its way to the clients.
#[derive(Clone, Debug)]
pub(crate) struct Interim {
    /// 102, 103, …; never 100 or 101.
    pub(crate) status: StatusCode,
    /// Its fields.
    pub(crate) fields: HeaderMap,
}

impl Interim {
    /// One with these fields, as the upstream sent them.
    pub(crate) fn of(status: StatusCode, fields: &HeaderMap) -> Self {
        let mut fields = fields.clone();
        fields::remove_hop_by_hop(&mut fields);
        Self { status, fields }
    }
}

/// The most interim responses kept of one fill; what an origin sends beyond is dropped.
const MAX_INTERIMS: usize = 8;

#[derive(Debug)]
struct FillState {
    answer: Option<Result<Answer, UpstreamError>>,
    interims: Vec<Arc<Interim>>,
    slices: VecDeque<Slice>,
    /// How many slices at the front are settled: exact copies of about [`SLICE`] bytes.
    settled: usize,
    /// Bytes in the slices behind them.
    unsettled: usize,
    end: u64,
    /// What the bytes that are held take, once they are not retained; `None` until that is said.
    memory: Option<Portion>,
    retain: bool,
    /// Where the whole body is being written while it arrives, if not into memory.
    below: Option<Arc<dyn BodyBelow>>,
    finished: Option<Result<Option<HeaderMap>, Abort>>,
    readers: Vec<Option<ReaderState>>,
    /// Places in `readers` that are free.
    free: Vec<usize>,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct ReaderState {
    at: u64,
    waker: Option<Waker>,
}

/// Why a reader got no byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes it wants next are no longer held.
    FellOut,
    /// The fill broke off.
    Broken(Abort),
}

impl Fill {
    /// A fill that has not begun. `window` bounds, in bytes, what is kept for readers once the
    /// body is not retained.
    pub(crate) fn new(purpose: Purpose, window: usize) -> Arc<Self> {
        Arc::new(Self {
            purpose,
            started: Instant::now(),
            revoked: AtomicBool::new(false),
            window: window as u64,
            state: Mutex::new(FillState {
                answer: None,
                interims: Vec::new(),
                slices: VecDeque::new(),
                settled: 0,
                unsettled: 0,
                end: 0,
                memory: None,
                retain: true,
                below: None,
                finished: None,
                readers: Vec::new(),
                free: Vec::new(),
                writer: None,
            }),
        })
    }

    /// Marks it as overtaken by a local invalidation: its readers may finish, nobody joins, and
    /// it is not stored.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    /// Whether it was overtaken.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// A reader at the first byte, or `None` where the first bytes are gone or the fill failed.
    pub(crate) fn join(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.lock();
        let failed = matches!(state.answer, Some(Err(_))) || matches!(state.finished, Some(Err(_)));
        if failed || (!state.retain && state.below.is_none()) {
            return None;
        }
        let at = match &state.answer {
            Some(Ok(Answer::Response(head))) => head.start,
            _ => 0,
        };
        let reader = ReaderState { at, waker: None };
        let slot = match state.free.pop() {
            Some(free) => {
                state.readers[free] = Some(reader);
                free
            }
            None => {
                state.readers.push(Some(reader));
                state.readers.len() - 1
            }
        };
        drop(state);
        Some(Reader { fill: Arc::clone(self), slot, interims_seen: 0 })
    }

    /// What the upstream answered, once it has.
    pub(crate) fn answer(&self) -> Option<Result<Answer, UpstreamError>> {
        self.lock().answer.clone()
    }

    /// How far the body has come: one past the last byte's offset.
    pub(crate) fn arrived(&self) -> u64 {
        self.lock().end
    }

    /// How many clients wait or read.
    pub(crate) fn readers(&self) -> usize {
        self.lock().readers.iter().flatten().count()
    }

    // ---- the writer's side ----

    /// Fails it with this error if all who joined it have left before an answer; whether it did. Nobody
    /// joins it from then on. One that nobody ever joined is made for the store, and goes on.
    pub(crate) fn give_up(&self, error: UpstreamError) -> bool {
        let mut state = self.lock();
        let deserted = state.answer.is_none()
            && !state.readers.is_empty()
            && state.readers.iter().all(Option::is_none);
        if deserted {
            state.answer = Some(Err(error));
        }
        deserted
    }

    /// Passes an interim response on.
    pub(crate) fn take_interim(&self, interim: Interim) {
        let mut state = self.lock();
        if state.answer.is_none() && state.interims.len() < MAX_INTERIMS {
            state.interims.push(Arc::new(interim));
            state.wake_readers();
        }
    }

    /// Publishes the answer. `prefix` is what is already held of the body and precedes what will
    /// be pushed; `retain` says whether the whole body is kept.
    pub(crate) fn begin(&self, answer: Answer, prefix: &[Slice], retain: bool) {
        let mut state = self.lock();
        if let Answer::Response(head) = &answer {
            state.end = head.start;
            for reader in state.readers.iter_mut().flatten() {
                reader.at = head.start;
            }
        }
        for slice in prefix {
            state.end = slice.end();
            state.slices.push_back(slice.clone());
        }
        state.settled = state.slices.len();
        state.unsettled = 0;
        state.retain = retain;
        state.answer = Some(Ok(answer));
        state.wake_readers();
    }

    /// Adds bytes of the body. Readers that wait are told now or, for the last bytes, by
    /// [`Fill::finish`].
    pub(crate) fn push(&self, bytes: Bytes, tell: bool) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.lock();
        let start = state.end;
        state.end += bytes.len() as u64;
        state.unsettled += bytes.len();
        state.slices.push_back(Slice { start, bytes });
        if state.retain {
            state.settle(SLICE);
        } else {
            state.trim(self.window);
        }
        if tell {
            state.wake_readers();
        }
    }

    /// Counts what is held in `memory` from the moment that the body is not retained.
    pub(crate) fn count_in(&self, memory: Portion) {
        self.lock().memory = Some(memory);
    }

    /// Stops keeping the whole body: from now on only the window is kept.
    pub(crate) fn let_go(&self) {
        let mut state = self.lock();
        state.retain = false;
        state.below = None;
        state.trim(self.window);
    }

    /// Keeps only a window from now on, and the whole body below the memory store, where readers find
    /// what they miss. So no reader holds the writer up, and a reader may begin at any byte.
    pub(crate) fn keep_below(&self, body: Arc<dyn BodyBelow>) {
        let mut state = self.lock();
        state.retain = false;
        state.below = Some(body);
        state.trim(self.window);
    }

    /// Waits until the writer is less than a quarter of the window, and less than `most` bytes, ahead of
    /// the fastest reader of a body that is not retained. What waits beyond them is
    /// [counted](crate::ahead).
    /// `false` when nobody reads any more and nothing is retained, so that going on would serve
    /// nobody.
    pub(crate) async fn room(&self, most: u64) -> bool {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.retain || state.below.is_some() {
                return Poll::Ready(true);
            }
            if state.readers.iter().flatten().next().is_none() {
                return Poll::Ready(false);
            }
            // One that waits for a byte further on does not read yet.
            let at = state.readers.iter().flatten().map(|reader| reader.at);
            let Some(fastest) = at.filter(|at| *at <= state.end).max() else {
                return Poll::Ready(true);
            };
            // The rest of the window lies behind the fastest reader, for those a little slower: were
            // it all ahead, whoever is a byte behind would fall out.
            if state.end.saturating_sub(fastest) < (self.window / 4).min(most) {
                return Poll::Ready(true);
            }
            state.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits until nobody reads any more and nothing is retained.
    pub(crate) async fn deserted(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            let is_kept = state.retain || state.below.is_some();
            if !is_kept && state.readers.iter().all(Option::is_none) {
                return Poll::Ready(());
            }
            state.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// All bytes retained, in slices of exact size.
    pub(crate) fn slices(&self) -> Vec<Slice> {
        let mut state = self.lock();
        state.settle(1);
        state.slices.iter().cloned().collect()
    }

    /// Ends the body well, with its trailer fields.
    pub(crate) fn finish(&self, trailers: Option<HeaderMap>) {
        let mut state = self.lock();
        state.finished = Some(Ok(trailers));
        state.wake_readers();
    }

    /// Ends the fill badly, before or during the body.
    pub(crate) fn fail(&self, error: UpstreamError) {
        let mut state = self.lock();
        if state.finished.is_some() {
            return;
        }
        if state.answer.is_none() {
            state.answer = Some(Err(error.clone()));
        }
        state.finished = Some(Err(Abort::Upstream(error)));
        state.wake_readers();
    }

    /// Ends the fill badly, during the body.
    pub(crate) fn cut(&self, abort: Abort) {
        let mut state = self.lock();
        state.finished.get_or_insert(Err(abort));
        state.wake_readers();
    }

    fn lock(&self) -> MutexGuard<'_, FillState> {
        // A panic while the lock was held leaves plain data that every reader still understands.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FillState {
    fn wake_readers(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// Copies the unsettled slices into one of exact size once they are `least` bytes together:
    /// they are views into read buffers that would stay allocated for their sake.
    fn settle(&mut self, least: usize) {
        if self.unsettled < least.max(1) {
            return;
        }
        let mut copy = BytesMut::with_capacity(self.unsettled);
        let start = self.slices.get(self.settled).map_or(self.end, |slice| slice.start);
        for slice in self.slices.range(self.settled..) {
            copy.extend_from_slice(&slice.bytes);
        }
        self.unsettled = 0;
        self.slices.truncate(self.settled);
        self.slices.push_back(Slice { start, bytes: copy.freeze() });
        self.settled += 1;
    }

    /// Drops what every reader has had and, with several readers, what lies beyond the window. Of a body
    /// that is kept below, the window stays whoever reads it.
    fn trim(&mut self, window: u64) {
        let mut slowest = u64::MAX;
        let mut readers = 0;
        for reader in self.readers.iter().flatten() {
            slowest = slowest.min(reader.at);
            readers += 1;
        }
        let waits_for_one = readers <= 1 && self.below.is_none();
        let floor = if waits_for_one { 0 } else { self.end.saturating_sub(window) };
        let keep_from = match self.below {
            // Whoever joins begins at the first byte.
            Some(_) => floor,
            None => slowest.min(self.end).max(floor),
        };
        while let Some(slice) = self.slices.pop_front_if(|slice| slice.end() <= keep_from) {
            match self.settled {
                0 => self.unsettled -= slice.bytes.len(),
                _ => self.settled -= 1,
            }
        }
        self.count(readers);
    }

    /// Counts what is held. Where there is no memory for a window, only what the fastest reader has not had
    /// is kept, and slower ones fall out.
    fn count(&mut self, readers: usize) {
        let Some(memory) = &mut self.memory else { return };
        let held = |slices: &VecDeque<Slice>, end: u64| {
            slices.front().map_or(0, |first| end.saturating_sub(first.start))
        };
        let mut bytes = held(&self.slices, self.end);
        let more = bytes.saturating_sub(memory.bytes());
        if more > 0 && memory.take(more).is_err() {
            let at = self.readers.iter().flatten().map(|reader| reader.at);
            let fastest = at.filter(|at| *at <= self.end).max().filter(|_| readers > 1);
            let keep_from = fastest.unwrap_or(0);
            while let Some(slice) = self.slices.pop_front_if(|slice| slice.end() <= keep_from) {
                match self.settled {
                    0 => self.unsettled -= slice.bytes.len(),
                    _ => self.settled -= 1,
                }
            }
            bytes = held(&self.slices, self.end);
            // In hand: its reader cannot do without it.
            memory.take_anyway(bytes.saturating_sub(memory.bytes()));
        }
        memory.give_back(memory.bytes().saturating_sub(bytes));
    }
}

/// One client's place in a fill. Dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Reader {
    fill: Arc<Fill>,
    slot: usize,
    interims_seen: usize,
}

/// What a reader meets while it waits for the head.
#[derive(Debug)]
pub(crate) enum Progress {
    /// An interim response to pass on.
    Interim(Arc<Interim>),
    /// The answer.
    Answer(Result<Answer, UpstreamError>),
}

impl Reader {
    /// The next thing that happens before the body.
    pub(crate) async fn progress(&mut self) -> Progress {
        poll_fn(|context| {
            let mut state = self.fill.lock();
            if let Some(interim) = state.interims.get(self.interims_seen) {
                let interim = Arc::clone(interim);
                self.interims_seen += 1;
                return Poll::Ready(Progress::Interim(interim));
            }
            if let Some(answer) = &state.answer {
                return Poll::Ready(Progress::Answer(answer.clone()));
            }
            state.wait(self.slot, context);
            Poll::Pending
        })
        .await
    }

    /// What its fill was started for.
    pub(crate) fn purpose(&self) -> &Purpose {
        &self.fill.purpose
    }

    /// Where what fell out of the window is to be read, if that is kept.
    pub(crate) fn below(&self) -> Option<Arc<dyn BodyBelow>> {
        self.fill.lock().below.clone()
    }

    /// When its fill was started.
    pub(crate) fn started(&self) -> Instant {
        self.fill.started
    }

    /// Moves on to `at` without reading what lies before.
    pub(crate) fn seek(&mut self, at: u64) {
        let mut state = self.fill.lock();
        if let Some(reader) = state.readers.get_mut(self.slot).and_then(Option::as_mut) {
            reader.at = at;
        }
        state.wake_writer();
    }

    /// The next bytes before `end`; `None` at the end of the body.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        end: Option<u64>,
    ) -> Poll<Option<Result<Bytes, Fault>>> {
        let mut state = self.fill.lock();
        let state = &mut *state;
        let Some(at) = state.readers.get(self.slot).and_then(Option::as_ref).map(|r| r.at) else {
            return Poll::Ready(None);
        };
        if end.is_some_and(|end| at >= end) {
            return Poll::Ready(None);
        }
        let index = state.slices.partition_point(|slice| slice.end() <= at);
        if let Some(slice) = state.slices.get(index) {
            if slice.start > at {
                return Poll::Ready(Some(Err(Fault::FellOut)));
            }
            let Ok(from) = usize::try_from(at - slice.start) else { return Poll::Ready(None) };
            let to = end.map_or(slice.end(), |end| end.min(slice.end())) - slice.start;
            let bytes = slice.bytes.slice(from..usize::try_from(to).unwrap_or(slice.bytes.len()));
            if let Some(reader) = state.readers.get_mut(self.slot).and_then(Option::as_mut) {
                reader.at = at + bytes.len() as u64;
            }
            state.wake_writer();
            return Poll::Ready(Some(Ok(bytes)));
        }
        if at < state.end {
            return Poll::Ready(Some(Err(Fault::FellOut)));
        }
        match &state.finished {
            Some(Ok(_)) => Poll::Ready(None),
            Some(Err(abort)) => Poll::Ready(Some(Err(Fault::Broken(abort.clone())))),
            None => {
                state.wait(self.slot, context);
                Poll::Pending
            }
        }
    }

    /// Trailer fields, once the body has ended.
    pub(crate) fn trailers(&self) -> Option<HeaderMap> {
        match &self.fill.lock().finished {
            Some(Ok(trailers)) => trailers.clone(),
            _ => None,
        }
    }
}

impl FillState {
    fn wait(&mut self, slot: usize, context: &mut Context<'_>) {
        if let Some(reader) = self.readers.get_mut(slot).and_then(Option::as_mut)
            && !reader.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()))
        {
            reader.waker = Some(context.waker().clone());
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.fill.lock();
        if let Some(place) = state.readers.get_mut(self.slot) {
            *place = None;
            state.free.push(self.slot);
        }
        state.wake_writer();
    }
}

#[cfg(test)]
mod tests;
