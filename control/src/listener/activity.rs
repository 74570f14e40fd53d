//! What a connection is doing, as far as timeouts and the choice of what to close depend on it.

use super::connections::Connections;
use axum::body::{Body, Bytes};
use axum::response::Response;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A connection's calls.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    running: AtomicUsize,
    /// Calls begun.
    calls: AtomicU64,
    /// Milliseconds after `opened` at which the last call ended.
    idle_since: AtomicU64,
    /// It became a node's: no timeout of calls holds any more.
    upgraded: AtomicBool,
    reserved: bool,
    close: Notify,
    pub(super) number: u64,
    pub(super) list: Weak<Connections>,
}

impl Activity {
    /// A connection that opens now; a reserved one takes some calls only.
    pub(super) fn new(number: u64, reserved: bool, list: Weak<Connections>) -> Self {
        Self {
            opened: Instant::now(),
            running: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            upgraded: AtomicBool::new(false),
            reserved,
            close: Notify::new(),
            number,
            list,
        }
    }

    /// Whether it takes some calls only.
    pub(super) fn is_reserved(&self) -> bool {
        self.reserved
    }

    /// Whether it is a node's.
    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Whether any call has begun.
    pub(super) fn has_called(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    /// Since when no call has been running; `None` while one is, and of a node's.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        // With the end of the last call, its time is seen.
        let idle = self.running.load(Ordering::Acquire) == 0 && !self.is_upgraded();
        let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        idle.then(|| self.opened + since)
    }

    /// Waits until no call has been running for so long.
    pub(super) async fn idle_for(&self, bound: Duration) {
        loop {
            let since = self.idle_since().unwrap_or_else(Instant::now);
            tokio::time::sleep_until(since + bound).await;
            if self.idle_since().is_some_and(|since| since + bound <= Instant::now()) {
                return;
            }
        }
    }

    /// Closes it.
    pub(super) fn close(&self) {
        self.close.notify_one();
    }

    /// Waits until it is to be closed.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>) -> RunningCall {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        RunningCall(Arc::clone(self))
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if let Some(list) = self.list.upgrade() {
            list.remove(self.number);
        }
    }
}

/// A call, until the last byte of its answer.
pub(super) struct RunningCall(Arc<Activity>);

impl RunningCall {
    /// The answer, which ends the call when it ends.
    pub(super) fn follow(self, response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.0.upgraded.store(true, Ordering::Relaxed);
            if let Some(list) = self.0.list.upgrade() {
                list.remove(self.0.number);
            }
        }
        response.map(|body| Body::new(FollowedBody { body, _call: self }))
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let since = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.idle_since.store(since, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Release);
    }
}

/// The body of an answer.
struct FollowedBody {
    body: Body,
    _call: RunningCall,
}

impl http_body::Body for FollowedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
