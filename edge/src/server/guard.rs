//! The wire guard: follows the framing of an HTTP/1 connection byte for byte, ahead of hyper, and
//! refuses what RFC 9112 lets a server refuse.
//!
//! Pure: bytes in, a verdict out. Invariants: bytes are cleared for hyper only when everything up
//! to them was judged; a head is cleared as a whole or not at all; the verdict on a sequence of
//! bytes does not depend on how it was split into reads. Judging goes line by line: a line is
//! judged when it is complete, or when it is certain to be too long. A request line that only needs
//! another spelling is replaced by the caller, and judged again like any other.

use super::head::{Bounds, Framing, Head, bad, field_line, respelled};
use super::line::{Line, line};
use crate::error::ClientError;
use http::StatusCode;

/// Bytes a request line has besides its target: the longest method judged, two spaces, version.
const LINE_OVERHEAD: usize = super::head::METHOD_BYTES + " HTTP/1.1 \r\n".len();
/// Longest chunk-size line: 16 hexadecimal digits, an extension, CRLF.
const CHUNK_LINE_BYTES: usize = 256;
/// Chunk extensions of one body, bytes.
const CHUNK_EXTENSION_BYTES: usize = 4096;

/// How far the guard got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing wrong so far; what was not cleared waits for more bytes.
    Sound,
    /// A request that asks for an upgrade is complete: whose the next bytes are is open until
    /// [`Guard::resume`].
    Held,
    /// After the cleared bytes and `at` more, `line` bytes (without CRLF) are a request line that
    /// means the same as `instead`. They are to be replaced, and judged again.
    Respelled { at: usize, line: usize, instead: Vec<u8> },
    /// The head that begins after the cleared bytes is refused.
    BadHead(ClientError),
    /// The body of the last cleared head is refused from the end of the cleared bytes on.
    BadBody(ClientError),
}

/// Where in the framing the next uncleared byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FramingState {
    /// In a head (at its beginning when `judged` and `searched` are 0).
    Head,
    /// In a body of known length.
    Length(u64),
    /// At a chunk-size line.
    ChunkSize,
    /// In a chunk's data.
    ChunkData(u64),
    /// At the CRLF after a chunk's data.
    ChunkEnd,
    /// In the trailer section.
    Trailers,
    /// After a request that asks for an upgrade.
    Held,
}

/// The guard of one connection.
#[derive(Debug)]
pub(crate) struct Guard {
    bounds: Bounds,
    place: FramingState,
    head: Head,
    /// Bytes of the head in hand that are judged: whole lines, not cleared yet.
    judged: usize,
    /// Bytes after them that hold no line end.
    searched: usize,
    /// Heads cleared so far.
    heads: u64,
    /// Body bytes of a chunked body so far.
    body: u64,
    extensions: usize,
    trailer_bytes: usize,
    trailer_fields: usize,
}

/// One step of judging.
enum Step {
    Cleared(usize),
    Wait,
    Respelled { at: usize, line: usize, instead: Vec<u8> },
    Refused(ClientError),
}

impl Guard {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            place: FramingState::Head,
            head: Head::default(),
            judged: 0,
            searched: 0,
            heads: 0,
            body: 0,
            extensions: 0,
            trailer_bytes: 0,
            trailer_fields: 0,
        }
    }

    /// Judges `input`, which begins with the first byte not yet cleared. Returns how many bytes
    /// of it are cleared now; the rest must be given again, with more after it.
    pub(crate) fn judge(&mut self, input: &[u8]) -> (usize, Verdict) {
        let mut cleared = 0;
        while cleared < input.len() {
            if self.place == FramingState::Held {
                return (cleared, Verdict::Held);
            }
            match self.step(&input[cleared..]) {
                Step::Cleared(bytes) => cleared += bytes,
                Step::Wait => break,
                Step::Respelled { at, line, instead } => {
                    return (cleared, Verdict::Respelled { at, line, instead });
                }
                Step::Refused(error) if self.place == FramingState::Head => {
                    return (cleared, Verdict::BadHead(error));
                }
                Step::Refused(error) => return (cleared, Verdict::BadBody(error)),
            }
        }
        (cleared, if self.place == FramingState::Held { Verdict::Held } else { Verdict::Sound })
    }

    /// The number of heads cleared.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte begins a request, given that none of `waiting` bytes are uncleared.
    pub(crate) fn between_requests(&self) -> bool {
        self.place == FramingState::Head && self.judged + self.searched == 0
    }

    /// Whether a head is expected or incomplete.
    pub(crate) fn in_head(&self) -> bool {
        self.place == FramingState::Head
    }

    /// Whether it waits for the answer to an upgrade.
    pub(crate) fn held(&self) -> bool {
        self.place == FramingState::Held
    }

    /// The upgrade was not granted: what follows is HTTP/1 again.
    pub(crate) fn resume(&mut self) {
        if self.place == FramingState::Held {
            self.place = FramingState::Head;
        }
    }

    #[inline]
    fn step(&mut self, input: &[u8]) -> Step {
        match self.place {
            FramingState::Head => self.head_lines(input),
            FramingState::Length(left) => {
                let taken = left.min(input.len() as u64);
                self.place = FramingState::Length(left - taken);
                if left == taken {
                    self.end_of_request();
                }
                Step::Cleared(taken as usize)
            }
            FramingState::ChunkSize => self.chunk_size(input),
            FramingState::ChunkData(left) => {
                let taken = left.min(input.len() as u64);
                self.place = if left == taken {
                    FramingState::ChunkEnd
                } else {
                    FramingState::ChunkData(left - taken)
                };
                Step::Cleared(taken as usize)
            }
            FramingState::ChunkEnd => match input {
                [b'\r', b'\n', ..] => {
                    self.place = FramingState::ChunkSize;
                    Step::Cleared(2)
                }
                [b'\r'] => Step::Wait,
                _ => Step::Refused(bad("bad-chunk", "Chunk data must end with CRLF.")),
            },
            FramingState::Trailers => self.trailer_line(input),
            FramingState::Held => Step::Wait,
        }
    }

    fn head_lines(&mut self, input: &[u8]) -> Step {
        let mut judged = self.judged;
        loop {
            let rest = &input[judged..];
            if let Some(&first) = rest.first()
                && !self.head.begun()
                && let Err(error) = self.head.first_byte(first)
            {
                return Step::Refused(error);
            }
            let line = match line(rest, self.searched) {
                Line::Whole(at) if !self.too_long(judged, at + 1) => &rest[..at],
                Line::Bad { after, error } if !self.too_long(judged, after) => {
                    return Step::Refused(error);
                }
                // INVARIANT: says of a part what would be said of the complete line.
                Line::Open { searched } if !self.too_long(judged, rest.len()) => {
                    self.judged = judged;
                    self.searched = searched;
                    return Step::Wait;
                }
                _ => return Step::Refused(self.too_long_error()),
            };
            self.searched = 0;
            if !self.head.begun()
                && let Some(instead) = respelled(line)
            {
                self.judged = judged;
                return Step::Respelled { at: judged, line: line.len(), instead };
            }
            judged += line.len() + 2;
            if line.is_empty() && self.head.begun() {
                return match self.head.finish(&self.bounds) {
                    Ok(framing) => {
                        self.end_of_head(framing);
                        Step::Cleared(judged)
                    }
                    Err(error) => Step::Refused(error),
                };
            }
            if let Err(error) = self.head.line(line, &self.bounds) {
                return Step::Refused(error);
            }
        }
    }

    /// Whether `line` bytes of a line, after `judged` bytes of the head, are too many.
    #[inline]
    fn too_long(&self, judged: usize, line: usize) -> bool {
        judged + line >= self.bounds.header_bytes
            || (!self.head.begun() && line >= self.request_line_bytes())
    }

    fn request_line_bytes(&self) -> usize {
        (self.bounds.target_bytes + LINE_OVERHEAD).min(self.bounds.header_bytes)
    }

    fn too_long_error(&self) -> ClientError {
        if self.head.begun() {
            ClientError::closing(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                "The request head is larger than limits.header_bytes.",
            )
        } else {
            super::head::target_too_long()
        }
    }

    fn end_of_head(&mut self, framing: Framing) {
        self.judged = 0;
        self.heads += 1;
        match framing {
            Framing::None | Framing::Length(0) => self.end_of_request(),
            Framing::Length(bytes) => self.place = FramingState::Length(bytes),
            Framing::Chunked => {
                self.body = 0;
                self.extensions = 0;
                self.place = FramingState::ChunkSize;
            }
        }
    }

    fn end_of_request(&mut self) {
        self.place = if self.head.upgrade() { FramingState::Held } else { FramingState::Head };
        self.head.next();
    }

    // RFC 9112 §7.1
    fn chunk_size(&mut self, input: &[u8]) -> Step {
        let line = match body_line(input, CHUNK_LINE_BYTES) {
            Ok(Some(line)) => line,
            Ok(None) => return Step::Wait,
            Err(None) => return Step::Refused(bad("bad-chunk", "A chunk-size line is too long.")),
            Err(Some(error)) => return Step::Refused(error),
        };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = &line[digits..];
        let sound =
            (1..=16).contains(&digits) && extension.first().is_none_or(|&first| first == b';');
        if !sound {
            return Step::Refused(bad(
                "bad-chunk",
                "A chunk begins with 1 to 16 hexadecimal digits, then CRLF or `;`.",
            ));
        }
        self.extensions += extension.len();
        if self.extensions > CHUNK_EXTENSION_BYTES {
            return Step::Refused(bad("bad-chunk", "The chunk extensions are too large."));
        }
        let size = line[..digits]
            .iter()
            .fold(0u64, |size, &digit| size << 4 | u64::from(hex_value(digit)));
        self.body = self.body.saturating_add(size);
        if self.body > self.bounds.body_bytes {
            return Step::Refused(super::head::body_too_large());
        }
        self.place = if size == 0 {
            self.trailer_bytes = 0;
            self.trailer_fields = 0;
            FramingState::Trailers
        } else {
            FramingState::ChunkData(size)
        };
        Step::Cleared(line.len() + 2)
    }

    // RFC 9112 §7.1.2
    fn trailer_line(&mut self, input: &[u8]) -> Step {
        let room = self.bounds.header_bytes.saturating_sub(self.trailer_bytes);
        let line = match body_line(input, room) {
            Ok(Some(line)) => line,
            Ok(None) => return Step::Wait,
            Err(None) => {
                return Step::Refused(ClientError::closing(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "trailers-too-large",
                    "The trailer section is larger than limits.header_bytes.",
                ));
            }
            Err(Some(error)) => return Step::Refused(error),
        };
        self.trailer_bytes += line.len() + 2;
        if line.is_empty() {
            self.end_of_request();
            return Step::Cleared(2);
        }
        self.trailer_fields += 1;
        if self.trailer_fields > self.bounds.header_fields {
            return Step::Refused(super::head::too_many_fields());
        }
        match field_line(line) {
            Ok((name, _)) if is_forbidden_in_trailers(name) => Step::Refused(bad(
                "bad-trailer",
                "Framing and routing headers are not allowed in trailers.",
            )),
            Ok(_) => Step::Cleared(line.len() + 2),
            Err(error) => Step::Refused(error),
        }
    }
}

/// The line at the beginning of `input`, once it is complete; `Err(None)` when it does not end
/// within `most` bytes.
fn body_line(input: &[u8], most: usize) -> Result<Option<&[u8]>, Option<ClientError>> {
    match line(input, 0) {
        Line::Whole(at) if at + 1 < most => Ok(Some(&input[..at])),
        Line::Bad { after, error } if after < most => Err(Some(error)),
        Line::Open { .. } if input.len() < most => Ok(None),
        _ => Err(None),
    }
}

/// RFC 9110 §6.5.1
fn is_forbidden_in_trailers(name: &[u8]) -> bool {
    [&b"content-length"[..], b"transfer-encoding", b"host", b"trailer", b"content-encoding"]
        .iter()
        .any(|field| name.eq_ignore_ascii_case(field))
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
