//! One client's place in a running fill.

use super::{Answer, Fill, FillState, Interim, Purpose};
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::store::BodyBelow;
use bytes::Bytes;
use http::HeaderMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Where a reader is, as its fill knows it.
#[derive(Debug)]
pub(super) struct ReaderState {
    /// The offset of the byte that it wants next.
    pub(super) at: u64,
    pub(super) waker: Option<Waker>,
}

/// Why a reader got no byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes it wants next are no longer held.
    FellOut,
    /// The fill broke off.
    Broken(Abort),
}

/// One client's place in a fill. Dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) fill: Arc<Fill>,
    pub(super) slot: usize,
    pub(super) interims_seen: usize,
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
