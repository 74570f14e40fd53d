//! A connection after a 101 response (RFC 9110 §7.8): the bare bytes, both ways. hyper's own
//! upgrade wants I/O that may move between threads, so the connection is handed over here.

use super::connection::{Connection, Order};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where the upgrade of a connection stands.
#[derive(Debug, Default)]
pub(super) enum State {
    /// The handler did not ask.
    #[default]
    None,
    /// It asked; its task may wait.
    Asked(Option<Waker>),
    /// The connection is the handler's.
    Granted,
    /// It ended otherwise, or the handler is done with it.
    Over,
}

/// Resolves to the connection when the 101 response is sent, to `None` when it ends otherwise.
pub(crate) struct Upgrade(Rc<Connection>);

impl Upgrade {
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        *connection.upgrade.borrow_mut() = State::Asked(None);
        Self(connection)
    }
}

impl Future for Upgrade {
    type Output = Option<Upgraded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self.0.upgrade.borrow_mut() {
            State::Asked(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Granted => Poll::Ready(Some(Upgraded(Rc::clone(&self.0)))),
            State::None | State::Over => Poll::Ready(None),
        }
    }
}

/// The bare connection. Dropping it closes it.
pub(crate) struct Upgraded(Rc<Connection>);

impl Drop for Upgraded {
    fn drop(&mut self) {
        *self.0.upgrade.borrow_mut() = State::Over;
        self.0.wake();
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let worker = &self.0.worker;
        let room = into.remaining();
        let scratch = &mut worker.scratch.borrow_mut();
        let wire = &mut *self.0.wire.borrow_mut();
        wire.poll_fill(cx, scratch, room, worker.now(), |bytes| into.put_slice(bytes))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let now = self.0.worker.now();
        self.0.wire.borrow_mut().poll_write(cx, &[io::IoSlice::new(bytes)], now)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.0.worker.now();
        self.0.wire.borrow_mut().poll_flush(cx, now)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.wire.borrow_mut().transport.poll_shutdown(cx)
    }
}

impl Connection {
    /// hyper is done with the connection: hands it over if that was asked for and answered with
    /// 101. Says whether it was.
    pub(super) fn grant_upgrade(&self) -> bool {
        let state = &mut *self.upgrade.borrow_mut();
        let State::Asked(waker) = state else { return false };
        let waker = waker.take();
        let granted = self.switched.get();
        *state = if granted { State::Granted } else { State::Over };
        if granted {
            self.wire.borrow_mut().pass_untouched();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        granted
    }

    /// Whether the connection was handed over.
    pub(super) fn upgraded(&self) -> bool {
        matches!(*self.upgrade.borrow(), State::Granted)
    }
}

/// Waits until the handler is done with the connection, or it has to end.
pub(super) async fn until_dropped(connection: &Connection) {
    poll_fn(|_| {
        if connection.ordered() == Order::Abort {
            // Wakes the handler's task with an end of input.
            connection.wire.borrow().transport.cut();
            return Poll::Ready(());
        }
        if connection.upgraded() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}
