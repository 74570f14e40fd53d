//! Reads requests: head, then a body of known length or in chunks (RFC 9112). Strict where
//! framing is concerned, so that a test can rely on what the origin understood; otherwise it
//! takes and keeps what comes.

use crate::connection::Connection;
use crate::counters::Recorded;
use std::io;

/// Largest request head, bytes.
const HEAD_BYTES: usize = 1024 * 1024;
/// Longest line of chunked framing, bytes.
const CHUNK_LINE: usize = 16 * 1024;
/// Most of a body that is kept for [`Recorded::body`](crate::Recorded::body), bytes.
pub(crate) const BODY_KEPT: usize = 64 * 1024;

/// A request head as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) framing: BodyFraming,
}

/// How the request body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    Length(u64),
    Chunked,
}

/// Why no request could be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The connection ended within it.
    Cut,
    /// It is not HTTP/1; says why.
    Malformed(&'static str),
    /// The body exceeds the bound.
    TooLarge,
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> ReadError {
        ReadError::Cut
    }
}

impl Head {
    /// Whether a comma list in `name` has the member `token`.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named
            .flat_map(|(_, v)| v.split(','))
            .any(|member| member.trim().eq_ignore_ascii_case(token))
    }

    /// The request as a record begins it: nothing of its body arrived yet.
    pub(crate) fn recorded(&self, connection: u64) -> Recorded {
        Recorded {
            method: self.method.clone(),
            target: self.target.clone(),
            version: self.version.clone(),
            headers: self.headers.clone(),
            connection,
            ..Recorded::default()
        }
    }

    /// Whether the client wants to go on using the connection (RFC 9112 §9.3).
    pub(crate) fn keeps_alive(&self) -> bool {
        if self.lists("Connection", "close") {
            return false;
        }
        self.version != "HTTP/1.0" || self.lists("Connection", "keep-alive")
    }
}

/// The first value of `name` in `headers`.
pub(crate) fn field<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

/// What arrived of a request body.
#[derive(Debug, Default)]
pub(crate) struct ReceivedBody {
    /// The first [`BODY_KEPT`] bytes.
    pub(crate) kept: Vec<u8>,
    /// All bytes that arrived.
    pub(crate) len: u64,
}

impl ReceivedBody {
    fn take(&mut self, bytes: &[u8]) {
        let room = BODY_KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.len += bytes.len() as u64;
    }
}

impl Connection {
    /// The next request head; `None` when the client closed between requests.
    pub(crate) async fn read_head(&mut self) -> Result<Option<Head>, ReadError> {
        let mut searched = 0usize;
        loop {
            // RFC 9112 §2.2: an empty line before the request line is ignored.
            while self.input.starts_with(b"\r\n") {
                let _ = self.input.split_to(2);
                searched = 0;
            }
            let from = searched.saturating_sub(3);
            if let Some(at) = find(&self.input[from..], b"\r\n\r\n") {
                let head = self.input.split_to(from + at + 4);
                return parse_head(&head[..head.len() - 2]).map(Some);
            }
            searched = self.input.len();
            if searched > HEAD_BYTES {
                return Err(ReadError::Malformed("head too large"));
            }
            if self.receive().await? == 0 {
                return if self.input.is_empty() { Ok(None) } else { Err(ReadError::Cut) };
            }
        }
    }

    /// Reads a whole body of at most `bound` bytes into `body`, which tells what arrived also
    /// when this fails.
    pub(crate) async fn read_body(
        &mut self,
        framing: BodyFraming,
        bound: u64,
        body: &mut ReceivedBody,
    ) -> Result<(), ReadError> {
        match framing {
            BodyFraming::Length(len) => self.read_exactly(len, bound, body).await,
            BodyFraming::Chunked => loop {
                let line = self.read_line().await?;
                let size = parse_chunk_size(&line)?;
                if size == 0 {
                    while !self.read_line().await?.is_empty() {}
                    return Ok(());
                }
                self.read_exactly(size, bound, body).await?;
                if !self.read_line().await?.is_empty() {
                    return Err(ReadError::Malformed("chunk longer than its size"));
                }
            },
        }
    }

    async fn read_exactly(
        &mut self,
        len: u64,
        bound: u64,
        body: &mut ReceivedBody,
    ) -> Result<(), ReadError> {
        if body.len.saturating_add(len) > bound {
            return Err(ReadError::TooLarge);
        }
        let mut missing = len;
        while missing > 0 {
            if self.input.is_empty() && self.receive().await? == 0 {
                return Err(ReadError::Cut);
            }
            let now = self.input.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            body.take(&self.input.split_to(now));
            missing -= now as u64;
        }
        Ok(())
    }

    /// A line of chunked framing, its CRLF removed.
    async fn read_line(&mut self) -> Result<Vec<u8>, ReadError> {
        loop {
            if let Some(at) = find(&self.input, b"\r\n") {
                let line = self.input.split_to(at + 2);
                return Ok(line[..at].to_vec());
            }
            if self.input.len() > CHUNK_LINE {
                return Err(ReadError::Malformed("chunk line too long"));
            }
            if self.receive().await? == 0 {
                return Err(ReadError::Cut);
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_chunk_size(line: &[u8]) -> Result<u64, ReadError> {
    const WRONG: ReadError = ReadError::Malformed("chunk size");
    let text = std::str::from_utf8(line).map_err(|_| WRONG)?;
    let size = text.split(';').next().unwrap_or_default().trim();
    if !size.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(WRONG);
    }
    u64::from_str_radix(size, 16).map_err(|_| WRONG)
}

/// Parses a head whose lines all end in CRLF, the empty line removed.
fn parse_head(head: &[u8]) -> Result<Head, ReadError> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split_terminator("\r\n");
    let mut request_line = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (request_line.next(), request_line.next(), request_line.next(), request_line.next())
    else {
        return Err(ReadError::Malformed("request line"));
    };
    if method.is_empty() || target.is_empty() || !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return Err(ReadError::Malformed("request line"));
    }
    let headers = lines.map(parse_field).collect::<Result<Vec<_>, _>>()?;
    let framing = body_framing(&headers)?;
    Ok(Head {
        method: method.into(),
        target: target.into(),
        version: version.into(),
        headers,
        framing,
    })
}

fn parse_field(line: &str) -> Result<(String, String), ReadError> {
    let (name, value) = line.split_once(':').ok_or(ReadError::Malformed("field without colon"))?;
    let bad = |b: u8| b.is_ascii_whitespace() || b.is_ascii_control();
    if name.is_empty() || name.bytes().any(bad) {
        return Err(ReadError::Malformed("field name"));
    }
    if value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(ReadError::Malformed("field value"));
    }
    Ok((name.into(), value.trim_matches([' ', '\t']).into()))
}

/// RFC 9112 §6.3, refusing what it allows to be refused.
fn body_framing(headers: &[(String, String)]) -> Result<BodyFraming, ReadError> {
    let values = |name: &'static str| {
        headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    };
    let codings: Vec<&str> = values("Transfer-Encoding").collect();
    let lengths: Vec<&str> = values("Content-Length").collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Ok(BodyFraming::Length(0)),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(BodyFraming::Chunked),
        ([], [length]) if length.bytes().all(|b| b.is_ascii_digit()) => length
            .parse()
            .map(BodyFraming::Length)
            .map_err(|_| ReadError::Malformed("Content-Length")),
        ([], _) => Err(ReadError::Malformed("Content-Length")),
        _ => Err(ReadError::Malformed("Transfer-Encoding")),
    }
}
