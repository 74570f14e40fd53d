//! hyper's view of an HTTP/2 connection: what it writes is [gathered](crate::gather).

use super::connection::Connection;
use super::wire::Io;
use crate::gather::{Gather, Outlet};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

impl Outlet for Rc<Connection> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.borrow_mut().poll_write(cx, bufs, self.worker.now())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.borrow_mut().poll_flush(cx, self.worker.now())
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let scratch = &mut self.worker.scratch.borrow_mut();
        self.wire.borrow_mut().poll_close(cx, scratch, self.worker.now())
    }

    fn is_tls(&self) -> bool {
        self.tls()
    }

    fn borrow_spare(&mut self) -> Vec<u8> {
        self.worker.gathered.take()
    }

    fn return_spare(&mut self, empty: Vec<u8>) {
        self.worker.gathered.set(empty);
    }

    fn keeps(&mut self, bytes: usize) {
        self.memory.borrow_mut().keep_output(bytes as u64);
    }
}

/// What a connection writes.
pub(super) type Written = Rc<RefCell<Gather<Rc<Connection>>>>;

/// See the module.
pub(super) struct GatheringIo {
    io: Io,
    gather: Written,
}

impl GatheringIo {
    pub(super) fn new(gather: Written, connection: Rc<Connection>) -> Self {
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
        self.gather.borrow_mut().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gather.borrow_mut().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is here is sent when the poll that goes on now has returned.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gather.borrow_mut().poll_shutdown(cx)
    }
}
