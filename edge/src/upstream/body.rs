//! The body of a request on its way to the origin.

use crate::error::ClientError;
use crate::server::Upload;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
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
}

/// Frames on their way from the client's connection to the origin's. Enough to keep both busy.
const FRAMES: usize = 4;

/// A client's body. Should it break off, so does the upstream request: the error reaches hyper,
/// which closes the connection without ending the message, and the origin never takes a cut body
/// for a whole one.
#[derive(Clone)]
pub(crate) struct ClientBody(Arc<Arriving>);

/// Only one request at a time has a handle on it; the lock is never waited for.
struct Arriving {
    frames: Mutex<mpsc::Receiver<Result<Frame<Bytes>, ClientError>>>,
    /// Somebody has begun to take it.
    begun: AtomicBool,
    hint: SizeHint,
    progress: Progress,
}

impl ClientBody {
    /// Passes `upload` on, from a task of its own on the connection's thread (what belongs to a
    /// client's connection cannot leave it, what goes upstream must be able to).
    pub(crate) fn of(mut upload: Upload) -> Self {
        let hint = upload.size_hint();
        let (sender, frames) = mpsc::channel(FRAMES);
        tokio::task::spawn_local(async move {
            while let Some(frame) = upload.frame().await {
                let ended = frame.is_err();
                // Nobody takes it any more: the upstream has answered, or failed.
                if sender.send(frame).await.is_err() || ended {
                    break;
                }
            }
        });
        let (frames, begun) = (Mutex::new(frames), AtomicBool::new(false));
        Self(Arc::new(Arriving { frames, begun, hint, progress: Progress::new() }))
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
        let Self::Client(ClientBody(body)) = self.get_mut() else { return Poll::Ready(None) };
        body.begun.store(true, Ordering::Relaxed);
        let mut frames = body.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = ready!(frames.poll_recv(context));
        body.progress.mark();
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
