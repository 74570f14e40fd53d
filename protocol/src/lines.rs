//! One JSON value a line, over any stream.

use crate::LONGEST_LINE;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read at once.
const READ: usize = 16 << 10;

thread_local! {
    /// What a stream is read into: lent for one poll, so that thousands of connections that wait have
    /// no buffer each.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads lines. Not to be used after an error.
///
/// While it waits it keeps no more than the beginning of a line, which is mostly nothing.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    /// What came and was not taken yet.
    rest: Vec<u8>,
    /// Where the next line begins in it.
    begin: usize,
    /// Up to where it is known to have no end.
    searched: usize,
}

/// Why there is no further line.
#[derive(Debug)]
pub enum LineError {
    /// The connection broke.
    Broken(io::Error),
    /// The connection ended within a line.
    Cut,
    /// A line is longer than [`LONGEST_LINE`].
    TooLong,
    /// A line is not what is said here.
    Malformed(serde_json::Error),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Cut => f.write_str("the connection ended within a line"),
            Self::TooLong => write!(f, "a line of more than {LONGEST_LINE} bytes"),
            Self::Malformed(error) => write!(f, "a malformed line: {error}"),
        }
    }
}

impl std::error::Error for LineError {}

impl<R> Lines<R> {
    /// Reads from a stream.
    pub fn new(from: R) -> Self {
        Self { from, rest: Vec::new(), begin: 0, searched: 0 }
    }

    /// The stream, to write to it. What is read from it here is missing in the lines.
    pub fn stream(&mut self) -> &mut R {
        &mut self.from
    }

    /// The next line that came whole.
    fn take<T: DeserializeOwned>(&mut self) -> Option<Result<T, LineError>> {
        let end = self.searched + memchr::memchr(b'\n', &self.rest[self.searched..])?;
        let line = parse(&self.rest[self.begin..end]);
        self.begin = end + 1;
        self.searched = self.begin;
        Some(line)
    }

    /// Keeps what is left of what came: less than a line.
    fn keep(&mut self) {
        if self.begin > 0 {
            self.rest.drain(..self.begin);
            self.rest.shrink_to_fit();
            self.begin = 0;
        }
        self.searched = self.rest.len();
    }
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The next line; `None` at the end. May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// There is no further line.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LineError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same, polled.
    ///
    /// # Errors
    /// There is no further line.
    pub fn poll_next<T: DeserializeOwned>(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<T>, LineError>> {
        loop {
            if let Some(line) = self.take() {
                return Poll::Ready(line.map(Some));
            }
            self.keep();
            if self.rest.len() > LONGEST_LINE {
                return Poll::Ready(Err(LineError::TooLong));
            }
            let mut buffer = Borrowed::new();
            let mut read = ReadBuf::new(&mut buffer.0);
            let came = ready!(Pin::new(&mut self.from).poll_read(context, &mut read));
            came.map_err(LineError::Broken)?;
            let came = read.filled();
            if came.is_empty() {
                return Poll::Ready(match self.rest.is_empty() {
                    true => Ok(None),
                    false => Err(LineError::Cut),
                });
            }
            // Mostly a whole line, or several.
            let first = memchr::memchr(b'\n', came).filter(|_| self.rest.is_empty());
            let Some(end) = first else {
                self.rest.extend_from_slice(came);
                continue;
            };
            self.rest.extend_from_slice(&came[end + 1..]);
            self.searched = 0;
            return Poll::Ready(parse(&came[..end]).map(Some));
        }
    }
}

/// The thread's buffer, until it is dropped.
struct Borrowed(Vec<u8>);

impl Borrowed {
    fn new() -> Self {
        let mut buffer = BUFFER.take();
        // It is new, or lent already: by a stream that reads lines itself.
        buffer.resize(READ, 0);
        Self(buffer)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        BUFFER.set(std::mem::take(&mut self.0));
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, LineError> {
    serde_json::from_slice(line).map_err(LineError::Malformed)
}

/// Appends a value as a line.
///
/// # Errors
/// It cannot be written as JSON.
pub fn write_line(out: &mut Vec<u8>, line: &impl Serialize) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *out, line)?;
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn lines_come_whole_however_they_arrive() {
        let mut text = Vec::new();
        let long = "x".repeat(3 * READ);
        for line in ["a", &long, "b"] {
            write_line(&mut text, &line).unwrap();
        }
        for piece in [1, 7, READ, text.len()] {
            let (mut to, from) = tokio::io::duplex(text.len());
            let mut lines = Lines::new(from);
            let (pieces, rest) = (text.chunks(piece), &long);
            let read = async {
                for expected in ["a", rest, "b"] {
                    let line: Option<String> = lines.next().await.unwrap();
                    assert_eq!(line.as_deref(), Some(expected));
                }
                assert_eq!(lines.next::<String>().await.unwrap(), None);
            };
            let write = async move {
                for piece in pieces {
                    to.write_all(piece).await.unwrap();
                }
            };
            tokio::join!(read, write);
        }
    }

    #[tokio::test]
    async fn who_waits_keeps_the_beginning_of_a_line_alone() {
        let (mut to, from) = tokio::io::duplex(4 * READ);
        let mut lines = Lines::new(from);
        let (long, begun) = ("x".repeat(2 * READ), b"\"be");
        let mut text = Vec::new();
        for line in ["a", "b", &long, "c"] {
            write_line(&mut text, &line).unwrap();
        }
        text.extend_from_slice(begun);
        to.write_all(&text).await.unwrap();
        for expected in ["a", "b", &long, "c"] {
            assert_eq!(lines.next::<String>().await.unwrap().as_deref(), Some(expected));
        }
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(lines.poll_next::<String>(&mut context).is_pending());
        assert!(lines.rest == begun && lines.rest.capacity() < 16, "{}", lines.rest.capacity());
        to.write_all(b"gun\"\n").await.unwrap();
        assert_eq!(lines.next::<String>().await.unwrap().as_deref(), Some("begun"));
        assert!(lines.poll_next::<String>(&mut context).is_pending());
        assert_eq!(lines.rest.capacity(), 0);
    }

    #[tokio::test]
    async fn what_is_no_line_is_refused() {
        let read = |text: Vec<u8>| async move { Lines::new(&*text).next::<String>().await };
        assert!(matches!(read(b"\"a".to_vec()).await, Err(LineError::Cut)));
        assert!(matches!(read(b"a\n".to_vec()).await, Err(LineError::Malformed(_))));
        assert!(matches!(read(b"7\n".to_vec()).await, Err(LineError::Malformed(_))));
        let endless = vec![b' '; LONGEST_LINE + 2 * READ];
        assert!(matches!(read(endless).await, Err(LineError::TooLong)));
    }
}
