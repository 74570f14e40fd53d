//! A client that costs little beside the servers that are measured: it reads bodies into one buffer and
//! looks at nothing but their length.

use crate::Error;
use crate::topology::HOST;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest head of an answer; and what is read at once.
const BUFFER: usize = 256 << 10;

/// A connection that is kept.
pub(super) struct Asker {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, of which nothing is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Got {
    /// Whether the server says that it is from its store.
    pub(super) is_hit: bool,
    /// How long all of it took.
    pub(super) whole: Duration,
}

/// A GET as it is sent.
pub(super) fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into()
}

impl Asker {
    pub(super) async fn connect(to: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER] })
    }

    /// One exchange, to the last byte.
    ///
    /// # Errors
    /// The answer is not whole, or its length is not told.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Got, Error> {
        let begun = Instant::now();
        let (mut left, is_hit) = self.begin(request).await?;
        while left > 0 {
            let most = self.buffer.len().min(usize::try_from(left)?);
            left -= self.more(0, most).await? as u64;
        }
        Ok(Got { is_hit, whole: begun.elapsed() })
    }

    /// Sends a request and waits for the first byte of the body. Answers with the bytes that are to
    /// come, and whether it is a hit.
    pub(super) async fn begin(&mut self, request: &[u8]) -> Result<(u64, bool), Error> {
        self.stream.write_all(request).await?;
        let mut have = 0;
        loop {
            have += self.more(have, self.buffer.len()).await?;
            let Some(end) = end_of_head(&self.buffer[..have]) else { continue };
            let head = str::from_utf8(&self.buffer[..end])?.to_ascii_lowercase();
            let length: usize =
                field(&head, "content-length").ok_or("no Content-Length")?.parse()?;
            let body = have - end;
            if body == 0 && length > 0 {
                continue;
            }
            let left = length.checked_sub(body).ok_or("more than one answer")?;
            if !head.starts_with("http/1.1 200") {
                return Err(head.lines().next().unwrap_or_default().into());
            }
            let status = field(&head, "cache-status").unwrap_or_default();
            return Ok((left as u64, status.split(';').any(|part| part.trim() == "hit")));
        }
    }

    async fn more(&mut self, from: usize, to: usize) -> Result<usize, Error> {
        match self.stream.read(&mut self.buffer[from..to]).await? {
            0 => Err("the answer broke off".into()),
            read => Ok(read),
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The last field of a name, of a head in lower case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let of_name = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    head.lines().rev().find_map(of_name).map(str::trim)
}
