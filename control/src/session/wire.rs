//! What a session hears from and speaks to: the node's connection, or that of a relay.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use weir_protocol::frame::FromNode;
use weir_protocol::lines::Lines;
use weir_rules::relay::Link;

/// Where the lines of a node come from, and where those for it go.
pub(super) trait Wire: Unpin + Send {
    /// The next line; `None` at the end; why there is none, in words.
    fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<FromNode>, String>>;

    /// Sends whole lines, or what is left of them; how many bytes were taken. While it waits, it is to be
    /// asked with the same bytes again.
    fn poll_speak(&mut self, context: &mut Context<'_>, lines: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends on what was taken.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A connection of the node's own.
pub(super) struct Direct<T>(pub(super) Lines<T>);

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for Direct<T> {
    fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<FromNode>, String>> {
        self.0.poll_next(context).map_err(|error| error.to_string())
    }

    fn poll_speak(&mut self, context: &mut Context<'_>, lines: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.0.stream()).poll_write(context, lines)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.stream()).poll_flush(context)
    }
}

/// The connection of a relay, on which each line says of which edge it is, or for which.
pub(super) struct Through {
    link: Link,
    /// What the edge says, as the relay's session takes it apart.
    lines: mpsc::Receiver<Box<FromNode>>,
    out: mpsc::Sender<Vec<u8>>,
    /// Lines that find no room.
    waiting: Option<Pin<Box<Waiting>>>,
}

/// Until there is room.
type Waiting = dyn Future<Output = io::Result<()>> + Send;

impl Through {
    pub(super) fn new(
        link: Link,
        lines: mpsc::Receiver<Box<FromNode>>,
        out: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Self { link, lines, out, waiting: None }
    }

    /// The relay's number for the edge.
    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// Where lines for the relay go.
    pub(super) fn out(&self) -> mpsc::Sender<Vec<u8>> {
        self.out.clone()
    }
}

impl Wire for Through {
    fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<FromNode>, String>> {
        self.lines.poll_recv(context).map(|line| Ok(line.map(|line| *line)))
    }

    fn poll_speak(&mut self, context: &mut Context<'_>, lines: &[u8]) -> Poll<io::Result<usize>> {
        if self.waiting.is_none() {
            let gone = || io::Error::other("the relay is gone");
            match self.out.try_send(wrapped(self.link, lines)) {
                Ok(()) => return Poll::Ready(Ok(lines.len())),
                Err(mpsc::error::TrySendError::Closed(_)) => return Poll::Ready(Err(gone())),
                Err(mpsc::error::TrySendError::Full(wrapped)) => {
                    let out = self.out();
                    self.waiting =
                        Some(Box::pin(async move { out.send(wrapped).await.map_err(|_| gone()) }));
                }
            }
        }
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(context))?;
            self.waiting = None;
        }
        Poll::Ready(Ok(lines.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Lines as [`Relayed`](weir_protocol::frame::FromControl::Relayed).
fn wrapped(link: Link, lines: &[u8]) -> Vec<u8> {
    let mut wrapped = Vec::with_capacity(lines.len() + 48);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let before = format!("{{\"frame\":\"relayed\",\"link\":{link},\"line\":");
        wrapped.extend_from_slice(before.as_bytes());
        wrapped.extend_from_slice(line);
        wrapped.extend_from_slice(b"}\n");
    }
    wrapped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_protocol::frame::FromControl;
    use weir_protocol::lines::write_line;
    use weir_protocol::unread::Unread;

    #[tokio::test]
    async fn lines_that_find_no_room_wait_and_go_once() {
        let (out, mut taken) = mpsc::channel(1);
        let (_edge, lines) = mpsc::channel(1);
        let mut wire = Through::new(7, lines, out);
        let speak = |wire: &mut Through, line: &'static [u8]| {
            let mut context = Context::from_waker(std::task::Waker::noop());
            wire.poll_speak(&mut context, line)
                .map(|taken| taken.map_err(|error| error.to_string()))
        };
        assert_eq!(speak(&mut wire, b"1\n"), Poll::Ready(Ok(2)));
        assert_eq!(speak(&mut wire, b"22\n"), Poll::Pending);
        assert_eq!(speak(&mut wire, b"22\n"), Poll::Pending);
        assert_eq!(taken.recv().await, Some(wrapped(7, b"1\n")));
        assert_eq!(speak(&mut wire, b"22\n"), Poll::Ready(Ok(3)));
        assert_eq!(taken.recv().await, Some(wrapped(7, b"22\n")));
        drop(taken);
        assert_eq!(speak(&mut wire, b"3\n"), Poll::Ready(Err("the relay is gone".to_owned())));
    }

    #[tokio::test]
    async fn lines_are_wrapped_so_that_they_are_read_as_relayed() {
        let lines = [
            FromControl::Heartbeat { head: Some(1), heard: Some(2), retention: None },
            FromControl::Refused { reason: "a\n\"b\"".to_owned(), temporary: false },
        ];
        let mut out = Vec::new();
        lines.iter().for_each(|line| write_line(&mut out, line).unwrap());
        let out = wrapped(7, &out);
        let mut read = weir_protocol::lines::Lines::new(&*out);
        for line in lines {
            let relayed = FromControl::Relayed { link: 7, line: Unread::of(&line).unwrap() };
            assert_eq!(read.next::<FromControl>().await.unwrap(), Some(relayed));
        }
        assert_eq!(read.next::<FromControl>().await.unwrap(), None);
    }
}
