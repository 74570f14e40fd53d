//! A connection that ends if its client sends no request, or does not read the answer, for too long. A
//! head that arrives slowly is hyper's to end, and a body the call's.

use super::Bounds;
use super::activity::Activity;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// See the module.
pub(super) struct TimedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    first_byte: Duration,
    idle: Duration,
    write: Duration,
    /// Runs while a request is awaited; `None` of a node's.
    awaiting: Option<Pin<Box<Sleep>>>,
    /// Runs while the client takes nothing.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, bounds: &Bounds) -> Self {
        let Bounds { first_byte, idle, write, .. } = *bounds;
        Self { stream, activity, first_byte, idle, write, awaiting: None, blocked: None }
    }

    /// Ready if no request has come for too long.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(since) = self.activity.idle_since() else {
                if self.activity.is_upgraded() {
                    self.awaiting = None;
                }
                return Poll::Pending;
            };
            let bound = if self.activity.has_called() { self.idle } else { self.first_byte };
            let end = since + bound;
            let awaiting = self.awaiting.get_or_insert_with(|| Box::pin(sleep_until(end)));
            if awaiting.deadline() != end {
                awaiting.as_mut().reset(end);
            }
            std::task::ready!(awaiting.as_mut().poll(context));
            // A call may have begun and ended since.
            if self.activity.idle_since().is_some_and(|since| since + bound <= Instant::now()) {
                return Poll::Ready(());
            }
        }
    }

    fn note<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let write = self.write;
        let blocked =
            self.blocked.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + write)));
        match self.activity.is_upgraded() {
            true => Poll::Pending,
            false => blocked.as_mut().poll(context).map(|()| Err(late())),
        }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client was too slow")
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, into) {
            Poll::Pending => self.poll_idle(context).map(|()| Err(late())),
            ready => ready,
        }
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
