//! hyper's view of an HTTP/2 connection to a member: requests of many clients share it, and what they have hyper
//! write at once is [gathered](crate::gather).

use crate::gather::{Gather, Gathered, Outlet, Shared};
use hyper::rt::Executor;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The buffer of whichever connection of a link is polled now.
pub(super) type Spare = Arc<Mutex<Vec<u8>>>;

type Written<S> = Arc<Mutex<Gather<MemberOutlet<S>>>>;

/// What a connection is sent through.
struct MemberOutlet<S> {
    stream: S,
    is_tls: bool,
    spare: Spare,
}

impl<S: AsyncWrite + Unpin> Outlet for MemberOutlet<S> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn borrow_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn return_spare(&mut self, empty: Vec<u8>) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = empty;
    }

    /// Connections to members are bounded by their number alone.
    fn keeps(&mut self, _: usize) {}
}

/// The stream of a connection, which makes TLS records if it `is_tls`, and what runs the connection.
pub(super) fn gathering<S: AsyncWrite + Unpin>(
    stream: S,
    is_tls: bool,
    spare: Spare,
) -> (GatheringStream<S>, Tasks<S>) {
    let written = Arc::new(Mutex::new(Gather::new(MemberOutlet { stream, is_tls, spare })));
    let tasks = Tasks(Arc::new(Mutex::new(Some(Arc::clone(&written)))));
    (GatheringStream(written), tasks)
}

/// See the module.
pub(super) struct GatheringStream<S>(Written<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GatheringStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.with(|gather| Pin::new(&mut gather.outlet().stream).poll_read(cx, into))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GatheringStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.with(|gather| gather.poll_write(cx, &[IoSlice::new(bytes)]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.with(|gather| gather.poll_write(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is here is sent when the poll that goes on now has returned.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with(|gather| gather.poll_shutdown(cx))
    }
}

/// Runs what hyper has run for a connection. The first of it is the connection itself, which alone reads and writes;
/// what follows are requests on it.
pub(super) struct Tasks<S>(Arc<Mutex<Option<Written<S>>>>);

impl<S> Clone for Tasks<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, F> Executor<F> for Tasks<S>
where
    S: AsyncWrite + Unpin + Send + 'static,
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Whoever waited on it is told by its end, whatever that was.
            Some(written) => drop(tokio::spawn(Gathered::new(task, written))),
            None => drop(tokio::spawn(task)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
