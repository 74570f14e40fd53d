//! One JSON value a line, over any stream.

use crate::LONGEST_LINE;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes asked of the stream at once, where there is more than a little to read.
const READ: usize = 16 << 10;

/// Bytes asked of it otherwise: control reads from thousands of nodes that say little.
const LITTLE: usize = 512;

/// Reads lines. Not to be used after an error.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer.
    begin: usize,
    /// Up to where it is known to have no end.
    searched: usize,
    /// The last read took all that it asked for.
    full: bool,
}

/// Why there is no further line.
#[derive(Debug)]
pub enum LineError {
    /// The connection broke.
    Broken(std::io::Error),
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

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads from a stream.
    pub fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), begin: 0, searched: 0, full: false }
    }

    /// The next line; `None` at the end. May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// There is no further line.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LineError> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let end = self.searched + length;
                let line = serde_json::from_slice(&self.buffer[self.begin..end]);
                self.begin = end + 1;
                self.searched = self.begin;
                return line.map(Some).map_err(LineError::Malformed);
            }
            // What was read is no longer needed; what is left is less than a line.
            self.buffer.drain(..self.begin);
            self.begin = 0;
            self.searched = self.buffer.len();
            if self.searched > LONGEST_LINE {
                return Err(LineError::TooLong);
            }
            let asked = if self.full { READ } else { LITTLE };
            if self.searched == 0 {
                self.buffer.shrink_to(asked);
            }
            self.buffer.reserve(asked);
            let room = self.buffer.capacity() - self.searched;
            match self.from.read_buf(&mut self.buffer).await.map_err(LineError::Broken)? {
                0 if self.buffer.is_empty() => return Ok(None),
                0 => return Err(LineError::Cut),
                came => self.full = came == room,
            }
        }
    }
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
    async fn what_is_no_line_is_refused() {
        let read = |text: Vec<u8>| async move { Lines::new(&*text).next::<String>().await };
        assert!(matches!(read(b"\"a".to_vec()).await, Err(LineError::Cut)));
        assert!(matches!(read(b"a\n".to_vec()).await, Err(LineError::Malformed(_))));
        assert!(matches!(read(b"7\n".to_vec()).await, Err(LineError::Malformed(_))));
        let endless = vec![b' '; LONGEST_LINE + 2 * READ];
        assert!(matches!(read(endless).await, Err(LineError::TooLong)));
    }
}
