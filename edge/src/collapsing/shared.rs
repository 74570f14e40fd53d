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

mod answer;
mod purpose;
mod reader;

pub(crate) use answer::{Answer, FillHead, Interim, Keeping};
pub(crate) use purpose::{Purpose, SliceName};
pub(crate) use reader::{Fault, Progress, Reader};

use crate::byte_budget::Portion;
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::store::{BodyBelow, SLICE, Slice};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use reader::ReaderState;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant;

/// A running fill.
#[derive(Debug)]
pub(crate) struct Fill {
    /// What it was started for.
    pub(crate) purpose: Purpose,
    /// A time before anything was asked of an upstream.
    pub(crate) started: Instant,
    revoked: AtomicBool,
    /// Held while its response is stored, and while that is undone because the fill was overtaken.
    storing: Mutex<()>,
    window: u64,
    state: Mutex<FillState>,
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
    /// Whether all of the body is on disk, where readers find what they miss.
    is_on_disk: bool,
    /// Where the whole body is being written while it arrives, if not into memory.
    below: Option<Arc<dyn BodyBelow>>,
    finished: Option<Result<Option<HeaderMap>, Abort>>,
    readers: Vec<Option<ReaderState>>,
    /// Places in `readers` that are free.
    free: Vec<usize>,
    writer: Option<Waker>,
}

impl Fill {
    /// A fill that has not begun. `window` bounds, in bytes, what is kept for readers once the
    /// body is not retained.
    pub(crate) fn new(purpose: Purpose, window: usize) -> Arc<Self> {
        Arc::new(Self {
            purpose,
            started: Instant::now(),
            revoked: AtomicBool::new(false),
            storing: Mutex::new(()),
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
                is_on_disk: false,
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

    /// Stores its response by `store`, which looks whether it was overtaken before and after, and undoes
    /// it if so.
    pub(crate) fn storing<T>(&self, store: impl FnOnce() -> T) -> T {
        // Who panicked has stored nothing that is to be undone.
        let _held = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        store()
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

    /// Whether its body is being written to the disk as a whole.
    pub(crate) fn is_kept_below(&self) -> bool {
        self.lock().below.is_some()
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

    /// The whole body is on disk from now on: what is kept for slow readers is counted, and nothing is kept
    /// where there is no memory for it. Nobody joins any more.
    pub(crate) fn leave_to_disk(&self) {
        let mut state = self.lock();
        state.retain = false;
        state.is_on_disk = true;
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

    /// Whether each client that reads has so many bytes at hand.
    pub(crate) fn has_enough(&self, bytes: u64) -> bool {
        let state = self.lock();
        let end = state.end;
        state.readers.iter().flatten().all(|reader| end.saturating_sub(reader.at) >= bytes)
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
            let keep_from = match self.is_on_disk {
                true => self.end,
                false => fastest.unwrap_or(0),
            };
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

#[cfg(test)]
mod tests;
