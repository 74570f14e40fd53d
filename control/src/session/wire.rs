//! What a session hears from, and what it speaks to: the node's connection, or that of a relay.

use std::future::Future;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use weir_protocol::frame::FromNode;
use weir_protocol::lines::Lines;
use weir_rules::relay::Link;

/// Where the lines of a node come from.
pub(super) trait Hears: Send {
    /// The next line; `None` at the end; why there is none, in words.
    fn next(&mut self) -> impl Future<Output = Result<Option<FromNode>, String>> + Send;
}

impl<R: AsyncRead + Unpin + Send> Hears for Lines<R> {
    async fn next(&mut self) -> Result<Option<FromNode>, String> {
        Lines::next(self).await.map_err(|error| error.to_string())
    }
}

/// The lines of an edge behind a relay, as the relay's session takes them apart.
impl Hears for mpsc::Receiver<Box<FromNode>> {
    async fn next(&mut self) -> Result<Option<FromNode>, String> {
        Ok(self.recv().await.map(|line| *line))
    }
}

/// Where lines for a node go.
pub(super) trait Speaks: Send {
    /// Sends whole lines.
    fn speak(&mut self, lines: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

/// A connection of the node's own.
pub(super) struct Direct<W>(pub(super) W);

impl<W: AsyncWrite + Unpin + Send> Speaks for Direct<W> {
    async fn speak(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines).await?;
        self.0.flush().await
    }
}

/// The connection of a relay, on which each line says for which edge it is.
pub(super) struct Through {
    pub(super) link: Link,
    pub(super) out: mpsc::Sender<Vec<u8>>,
}

impl Speaks for Through {
    async fn speak(&mut self, lines: &[u8]) -> io::Result<()> {
        let wrapped = wrapped(self.link, lines);
        self.out.send(wrapped).await.map_err(|_| io::Error::other("the relay is gone"))
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
            let relayed =
                FromControl::Relayed { link: 7, line: serde_json::to_value(line).unwrap() };
            assert_eq!(read.next::<FromControl>().await.unwrap(), Some(relayed));
        }
        assert_eq!(read.next::<FromControl>().await.unwrap(), None);
    }
}
