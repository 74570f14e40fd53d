//! What one poll of an HTTP/2 connection writes, gathered into one write: towards clients, and towards parents and
//! origins.
//!
//! h2 writes each frame that follows a DATA frame by itself, and flushes in between: for small responses that
//! is a system call and a TLS record each. So [`Gather`] keeps what is written and does not write when it is
//! flushed; [`Gathered`], which polls the connection, sends what is there as soon as that poll has returned.
//! Nothing waits for more to come. Large DATA is not copied, but sent at once, behind what was gathered.

use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

/// Bytes that are gathered at most; then they are sent before more is taken.
const GATHERED_BYTES: usize = 32 * 1024;
/// What is written at once and has so many bytes is not copied.
const UNCOPIED_BYTES: usize = 16 * 1024;
/// Bytes of a full TLS record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// Buffers of one write that are looked at; h2 has two.
const SLICES: usize = 8;

/// What a connection is sent through.
pub(crate) trait Outlet {
    /// Writes some of `bufs`, or has the task woken when it can.
    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>])
    -> Poll<io::Result<usize>>;

    /// Ready when nothing that was written waits above the socket.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Closes it, when nothing more is to be written.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether it makes TLS records.
    fn is_tls(&self) -> bool;

    /// A buffer for whoever is polled now; empty, or without memory of its own.
    fn borrow_spare(&mut self) -> Vec<u8>;

    /// Gives such a buffer to whoever is polled next.
    fn return_spare(&mut self, empty: Vec<u8>);

    /// So many bytes of memory are kept for what could not be sent.
    fn keeps(&mut self, bytes: usize);
}

/// See the module.
pub(crate) struct Gather<O> {
    outlet: O,
    state: State,
}

/// A [`Gather`], as the connection that writes through it and whoever polls that connection share it.
pub(crate) trait Shared {
    /// What it is sent through.
    type Outlet: Outlet;

    /// Has `act` use it.
    fn with<T>(&self, act: impl FnOnce(&mut Gather<Self::Outlet>) -> T) -> T;
}

/// On one thread.
impl<O: Outlet> Shared for Rc<RefCell<Gather<O>>> {
    type Outlet = O;

    #[inline]
    fn with<T>(&self, act: impl FnOnce(&mut Gather<O>) -> T) -> T {
        act(&mut self.borrow_mut())
    }
}

/// In a task that may be moved between threads. Nobody waits for the lock: one task has both.
impl<O: Outlet> Shared for Arc<Mutex<Gather<O>>> {
    type Outlet = O;

    #[inline]
    fn with<T>(&self, act: impl FnOnce(&mut Gather<O>) -> T) -> T {
        act(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// So many of them are sent.
    sent: usize,
}

impl State {
    fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > GATHERED_BYTES {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(GATHERED_BYTES);
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn take_off(&mut self, sent: usize) {
        self.sent += sent;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }
}

impl<O: Outlet> Gather<O> {
    pub(crate) fn new(outlet: O) -> Self {
        Self { outlet, state: State::default() }
    }

    /// What it is sent through. Nothing may be written there past what was gathered.
    pub(crate) fn outlet(&mut self) -> &mut O {
        &mut self.outlet
    }

    /// Takes all of `bufs` to be sent soon, or sends a part of what is large. Pending when there is no room and
    /// nothing can be sent.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        if bytes < UNCOPIED_BYTES { self.gather(cx, bufs, bytes) } else { self.pass(cx, bufs) }
    }

    /// Ready when everything is with the socket.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = match self.send(cx) {
            Poll::Ready(Ok(())) => self.outlet.poll_flush(cx),
            other => other,
        };
        let bytes = &mut self.state.bytes;
        if bytes.is_empty() && bytes.capacity() > 0 {
            self.outlet.return_spare(std::mem::take(bytes));
        }
        self.outlet.keeps(bytes.capacity());
        sent
    }

    /// Sends what is here, then closes the outlet.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        self.outlet.poll_shutdown(cx)
    }

    /// A poll of the connection begins.
    fn begin(&mut self) {
        if self.state.bytes.capacity() == 0 {
            self.state.bytes = self.outlet.borrow_spare();
        }
    }

    fn gather(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        if self.state.waiting().len() + bytes > GATHERED_BYTES {
            let sent = self.send(cx)?;
            if sent.is_pending() && self.state.waiting().len() + bytes > GATHERED_BYTES {
                return Poll::Pending;
            }
        }
        bufs.iter().for_each(|buf| self.state.append(buf));
        Poll::Ready(Ok(bytes))
    }

    /// Sends what was gathered and as much of `bufs` as the outlet takes.
    fn pass(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Self { outlet, state } = self;
        let bufs = &bufs[..bufs.len().min(SLICES - 1)];
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        let in_records = outlet.is_tls() && bytes >= RECORD_BYTES;
        loop {
            // What is left of a TLS record would make a small one: that is gathered, and sent with what follows.
            let all = state.waiting().len() + bytes;
            let rest = if in_records { all % RECORD_BYTES } else { 0 };
            let mut slices = [IoSlice::new(&[]); SLICES];
            slices[0] = IoSlice::new(state.waiting());
            let mut room = bytes - rest;
            for (slice, buf) in slices[1..].iter_mut().zip(bufs) {
                let taken = buf.len().min(room);
                *slice = IoSlice::new(&buf[..taken]);
                room -= taken;
            }
            // Else those that are empty count as buffers.
            let from = usize::from(state.waiting().is_empty());
            let until = 1 + bufs.len();
            ready!(outlet.poll_flush(cx))?;
            let written = ready!(outlet.poll_write(cx, &slices[from..until]))?;
            let gathered = written.min(state.waiting().len());
            state.take_off(gathered);
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let passed = written - gathered;
            if passed > 0 && passed + rest == bytes {
                append_last(state, bufs, rest);
                return Poll::Ready(Ok(bytes));
            }
            if passed > 0 {
                return Poll::Ready(Ok(passed));
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { outlet, state } = self;
        while !state.waiting().is_empty() {
            // What TLS has not sent yet would only grow.
            ready!(outlet.poll_flush(cx))?;
            match ready!(outlet.poll_write(cx, &[IoSlice::new(state.waiting())]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => state.take_off(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Appends the last `rest` bytes of `bufs`.
fn append_last(state: &mut State, bufs: &[IoSlice<'_>], rest: usize) {
    let mut skipped: usize = bufs.iter().map(|buf| buf.len()).sum::<usize>() - rest;
    for buf in bufs {
        let skip = skipped.min(buf.len());
        skipped -= skip;
        state.append(&buf[skip..]);
    }
}

pin_project! {
    /// Polls a connection, sends what it wrote, and ends when both have ended. An error is one of sending.
    pub(crate) struct Gathered<S, C: Future> {
        #[pin]
        connection: C,
        gather: S,
        ended: Option<C::Output>,
    }
}

impl<S: Shared, C: Future> Gathered<S, C> {
    /// `connection` writes through `gather`.
    pub(crate) fn new(connection: C, gather: S) -> Self {
        Self { connection, gather, ended: None }
    }

    /// The connection, while it has not ended.
    pub(crate) fn connection(&mut self) -> Option<&mut C> {
        self.ended.is_none().then_some(&mut self.connection)
    }
}

impl<S: Shared, C: Future> Future for Gathered<S, C> {
    type Output = io::Result<C::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.gather.with(Gather::begin);
        if this.ended.is_none()
            && let Poll::Ready(ended) = this.connection.poll(cx)
        {
            *this.ended = Some(ended);
        }
        ready!(this.gather.with(|gather| gather.poll_sent(cx)))?;
        // A write that found no room has registered with the outlet.
        this.ended.take().map_or(Poll::Pending, |ended| Poll::Ready(Ok(ended)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
