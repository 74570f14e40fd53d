//! The body of a request on its way to the origin.

use crate::error::ClientError;
use crate::memory::Charge;
use crate::server::Upload;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use tokio::time::{Duration, Instant};

/// What is sent as the body of an upstream request. A clone is another handle on the same body.
#[derive(Clone, Default)]
pub(crate) enum UpstreamBody {
    /// None.
    #[default]
    Empty,
    /// The client's, as it arrives.
    Client(ClientBody),
}

impl UpstreamBody {
    /// How far the client's body has come, where there is one.
    pub(crate) fn progress(&self) -> Option<Progress> {
        match self {
            Self::Empty => None,
            Self::Client(body) => Some(body.0.progress.clone()),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether nothing of it was taken, so that it can still be sent.
    pub(crate) fn is_unread(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => !body.0.begun.load(Ordering::Relaxed),
        }
    }

    /// Whether it can be sent from its beginning: none of it was taken, or all that was is kept.
    pub(crate) fn can_repeat(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => body.0.lock().kept.is_some(),
        }
    }

    /// A handle that sends it from its beginning, if that [can be](Self::can_repeat). Other handles
    /// on it end from then on.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Client(body) => body.again().map(Self::Client),
        }
    }
}

/// Ends the body of a request that is sent again elsewhere. No client sees it.
const SENT_AGAIN: ClientError =
    ClientError::closing(StatusCode::BAD_REQUEST, "sent-again", "The request was sent again.");

/// Ends a body of which nobody reads the rest. No client sees it.
const GIVEN_UP: ClientError =
    ClientError::closing(StatusCode::BAD_REQUEST, "given-up", "The request was given up.");

/// Frames on their way from the client's connection to the origin's. Enough to keep both busy.
const FRAMES: usize = 4;

/// A client's body. Should it break off, so does the upstream request: the error reaches hyper,
/// which closes the connection without ending the message, and the origin never takes a cut body
/// for a whole one.
#[derive(Clone)]
pub(crate) struct ClientBody(Arc<Arriving>, Handle);

/// Which request has the handle: only the latest one may take frames.
type Handle = u32;

struct Arriving {
    frames: Mutex<Frames>,
    /// Somebody has begun to take it.
    begun: AtomicBool,
    hint: SizeHint,
    progress: Progress,
    /// What it may need until it is sent.
    _memory: Charge,
}

/// The frames of a body. The lock is held for a few moves, never across an await.
struct Frames {
    /// Those that are here and were not taken, at most [`FRAMES`]. Nothing follows an error.
    here: VecDeque<Result<Frame<Bytes>, ClientError>>,
    /// Whether no more will come.
    ended: bool,
    /// Who waits for the next one.
    taker: Option<Waker>,
    /// The [arrival](Arrival), while there is no room.
    arrival: Option<Waker>,
    /// The frames taken so far, if they are few enough to be sent again.
    kept: Option<Vec<Kept>>,
    /// Bytes that may still be kept.
    room: usize,
    /// The next of them that the latest handle takes.
    next: usize,
    latest: Handle,
}

/// A frame that was taken.
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Kept {
    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(fields) => Frame::trailers(fields.clone()),
        }
    }
}

impl Frames {
    /// Keeps a frame for another try, or stops keeping once they are too many bytes.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let kept = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => {
                self.room = self.room.saturating_sub(data.len());
                Kept::Data(data.clone())
            }
            (_, Some(fields)) => Kept::Trailers(fields.clone()),
            _ => return,
        };
        match &mut self.kept {
            Some(frames) if self.room > 0 => {
                frames.push(kept);
                self.next = frames.len();
            }
            _ => self.kept = None,
        }
    }

    /// Whether there is room for one more; if not, `context` is told of it.
    fn has_room(&mut self, context: &Context<'_>) -> bool {
        let has_room = self.here.len() < FRAMES;
        if !has_room {
            self.arrival = Some(context.waker().clone());
        }
        has_room
    }

    /// The next one.
    fn poll_take(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        let frame = self.here.pop_front();
        if frame.is_none() && !self.ended {
            self.taker = Some(context.waker().clone());
            return Poll::Pending;
        }
        wake(&mut self.arrival);
        Poll::Ready(frame)
    }

    /// Adds one; `ended` if it is the last.
    fn put(&mut self, frame: Option<Result<Frame<Bytes>, ClientError>>, ended: bool) {
        self.here.extend(frame);
        self.ended |= ended;
        wake(&mut self.taker);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// Nobody takes it any more: the upstream has answered, or failed.
impl Drop for Frames {
    fn drop(&mut self) {
        wake(&mut self.arrival);
    }
}

impl Arriving {
    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientBody {
    /// Passes `upload` on, as its [`Arrival`] is polled. That stays on the thread of the client's connection,
    /// as what belongs to the connection must; the body itself can leave it.
    ///
    /// Its first `keep` bytes are kept until it has been sent, so that a request which the upstream
    /// did not process can be sent again. `memory` is what it may need.
    pub(crate) fn of(upload: Upload, keep: usize, memory: Charge) -> (Self, Arrival) {
        let frames = Frames {
            here: VecDeque::new(),
            ended: false,
            taker: None,
            arrival: None,
            kept: (keep > 0).then(Vec::new),
            room: keep,
            next: 0,
            latest: 0,
        };
        let body = Arc::new(Arriving {
            frames: Mutex::new(frames),
            begun: AtomicBool::new(false),
            hint: upload.size_hint(),
            progress: Progress::new(),
            _memory: memory,
        });
        let arrival = Arrival { upload, body: Arc::downgrade(&body) };
        (Self(body, 0), arrival)
    }

    fn again(&self) -> Option<Self> {
        let mut frames = self.0.lock();
        frames.kept.as_ref()?;
        frames.next = 0;
        frames.latest = frames.latest.wrapping_add(1);
        self.0.begun.store(false, Ordering::Relaxed);
        Some(Self(Arc::clone(&self.0), frames.latest))
    }
}

/// The arrival of a client's body, for as long as somebody takes it. Over when all of it is here, or when it broke
/// off. To be polled until then: a body whose arrival is dropped before is broken off.
pub(crate) struct Arrival {
    upload: Upload,
    body: Weak<Arriving>,
}

impl Future for Arrival {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(body) = self.body.upgrade() else { return Poll::Ready(()) };
            if !body.lock().has_room(context) {
                return Poll::Pending;
            }
            let frame = ready!(Pin::new(&mut self.upload).poll_frame(context));
            let ended = !matches!(frame, Some(Ok(_))) || self.upload.is_end_stream();
            body.lock().put(frame, ended);
            if ended {
                self.body = Weak::new();
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if let Some(body) = self.body.upgrade() {
            body.lock().put(Some(Err(GIVEN_UP)), true);
        }
    }
}

/// When a body last moved.
#[derive(Clone)]
pub(crate) struct Progress {
    start: Instant,
    millis: Arc<AtomicU64>,
}

impl Progress {
    fn new() -> Self {
        Self { start: Instant::now(), millis: Arc::new(AtomicU64::new(0)) }
    }

    fn mark(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    /// The last time it moved; its beginning where it never did.
    pub(crate) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        let Self::Client(ClientBody(body, handle)) = self.get_mut() else {
            return Poll::Ready(None);
        };
        let mut frames = body.lock();
        if frames.latest != *handle {
            // The request is sent again elsewhere: this one must not take a frame from it, nor end
            // as if it were whole.
            return Poll::Ready(Some(Err(SENT_AGAIN)));
        }
        body.begun.store(true, Ordering::Relaxed);
        let next = frames.next;
        if let Some(kept) = frames.kept.as_ref().and_then(|kept| kept.get(next)) {
            let frame = kept.frame();
            frames.next += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = ready!(frames.poll_take(context));
        body.progress.mark();
        if let Some(Ok(frame)) = &frame {
            frames.keep(frame);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.0.hint,
        }
    }
}
