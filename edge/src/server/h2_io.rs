//! hyper's view of an HTTP/2 connection: what it writes is [gathered](super::gather).

use super::connection::Connection;
use super::gather::{Gather, Outlet};
use super::wire::Io;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

impl Outlet for Rc<Connection> {
    fn poll_write(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.wire.borrow_mut().poll_write(cx, bufs, self.worker.now())
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.borrow_mut().poll_flush(cx, self.worker.now())
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let scratch = &mut self.worker.scratch.borrow_mut();
        self.wire.borrow_mut().poll_close(cx, scratch, self.worker.now())
    }

    fn is_tls(&self) -> bool {
        self.tls()
    }

    fn spare(&self) -> &Cell<Vec<u8>> {
        &self.worker.gathered
    }

    fn keeps(&self, bytes: usize) {
        self.memory.borrow_mut().keep_output(bytes as u64);
    }
}

/// See the module.
pub(super) struct GatheringIo {
    io: Io,
    gather: Rc<Gather<Rc<Connection>>>,
}

impl GatheringIo {
    pub(super) fn new(gather: Rc<Gather<Rc<Connection>>>, connection: Rc<Connection>) -> Self {
        Self { io: Io(connection), gather }
    }
}

impl hyper::rt::Read for GatheringIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, cursor)
    }
}

impl hyper::rt::Write for GatheringIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.gather.poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gather.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is here is sent when the poll that goes on now has returned.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gather.poll_shutdown(cx)
    }
}
