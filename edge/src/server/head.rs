//! Judging the lines of one request head (RFC 9112 §2 to §6, RFC 9110 §5 and §7.2).

use crate::error::ClientError;
use crate::host::{Authority, KnownHost};
use http::StatusCode;

/// Longest method that is looked at; no registered one has more than 17 bytes.
pub(super) const METHOD_BYTES: usize = 64;

/// What a guard bounds; a copy of the limits in force when the connection began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of a head, or of trailers.
    pub(crate) header_bytes: usize,
    /// Fields in a head, or in trailers.
    pub(crate) header_fields: usize,
    /// Bytes of a request target.
    pub(crate) target_bytes: usize,
    /// Bytes of a body.
    pub(crate) body_bytes: u64,
}

/// How the body after a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// What is known of the head in hand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    request_line: bool,
    empty_line: bool,
    http10: bool,
    host: bool,
    chunked: bool,
    other_coding: bool,
    expectation: bool,
    upgrade: bool,
    length: Option<u64>,
    fields: usize,
    /// The Host of an earlier head of this connection, which was found valid: clients repeat it.
    known_host: KnownHost<()>,
}

impl Head {
    /// Whether the request line is judged.
    pub(super) fn begun(&self) -> bool {
        self.request_line
    }

    /// Gets ready for the next head.
    pub(super) fn next(&mut self) {
        *self = Self { known_host: self.known_host, ..Self::default() };
    }

    /// Whether the client asks for another protocol after this request (RFC 9110 §7.8).
    pub(super) fn upgrade(&self) -> bool {
        self.upgrade && !self.http10
    }

    /// What the first byte of a request line alone says: clients that speak something else (a TLS
    /// hello, say) are refused at once.
    pub(super) fn first_byte(&self, byte: u8) -> Result<(), ClientError> {
        if is_token_byte(byte) || (byte == b'\r' && !self.empty_line) {
            Ok(())
        } else {
            Err(bad("bad-method", "A request begins with a method, which is a token."))
        }
    }

    /// Judges one line, without its CRLF; not the empty line that ends the head.
    pub(super) fn line(&mut self, line: &[u8], bounds: &Bounds) -> Result<(), ClientError> {
        if self.request_line {
            return self.field(line, bounds);
        }
        if line.is_empty() && !self.empty_line {
            // RFC 9112 §2.2: one CRLF before a request line is ignored.
            self.empty_line = true;
            return Ok(());
        }
        self.request_line = true;
        self.request_line(line, bounds)
    }

    // RFC 9112 §3
    fn request_line(&mut self, line: &[u8], bounds: &Bounds) -> Result<(), ClientError> {
        let method = token_length(line);
        if line.get(method) != Some(&b' ') {
            return Err(bad("bad-method", "The method is a token, and one space follows it."));
        }
        if method > METHOD_BYTES {
            return Err(ClientError::closing(
                StatusCode::NOT_IMPLEMENTED,
                "method-too-long",
                "A method has at most 64 bytes.",
            ));
        }
        let rest = &line[method + 1..];
        let Some(target) = rest.iter().position(|&byte| byte == b' ') else {
            return Err(bad("bad-request-line", "A request line is: method target version."));
        };
        if target > bounds.target_bytes {
            return Err(target_too_long());
        }
        self.version(&rest[target + 1..])?;
        check_target(&rest[..target])
    }

    // RFC 9112 §2.3
    fn version(&mut self, version: &[u8]) -> Result<(), ClientError> {
        match version {
            b"HTTP/1.1" => Ok(()),
            b"HTTP/1.0" => {
                self.http10 = true;
                Ok(())
            }
            // RFC 9110 §2.5: a server answers a higher minor version as it answers the highest that
            // it knows. `respelled` makes of it what hyper knows.
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                Err(ClientError::closing(
                    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                    "bad-version",
                    "The version must be HTTP/1.1 or HTTP/1.0 on this connection.",
                ))
            }
            _ => Err(bad("bad-version", "The request line ends with HTTP/1.1 or HTTP/1.0.")),
        }
    }

    fn field(&mut self, line: &[u8], bounds: &Bounds) -> Result<(), ClientError> {
        self.fields += 1;
        if self.fields > bounds.header_fields {
            return Err(too_many_fields());
        }
        let (name, value) = field_line(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(trim_whitespace(value)),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                let met = trim_whitespace(value).eq_ignore_ascii_case(b"100-continue");
                self.expectation |= !met;
                Ok(())
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.content_length(trim_whitespace(value))
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    // RFC 9112 §3.2
    fn host(&mut self, value: &[u8]) -> Result<(), ClientError> {
        if self.host {
            return Err(bad("several-hosts", "Host must be given once."));
        }
        self.host = true;
        if self.known_host.of(value).is_some() {
            return Ok(());
        }
        match Authority::parse(value) {
            Some(_) => {
                self.known_host.set(value, ());
                Ok(())
            }
            None => {
                Err(bad("bad-host", "Host must be a host name or address, and may have a port."))
            }
        }
    }

    // RFC 9112 §6.2, §6.3: a list of equal values could be taken, and is refused, for others
    // read it differently.
    fn content_length(&mut self, value: &[u8]) -> Result<(), ClientError> {
        if self.length.is_some() {
            return Err(bad("several-lengths", "Content-Length must be given once."));
        }
        let sound = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if !sound {
            return Err(bad(
                "bad-length",
                "Content-Length is a decimal number of at most 19 digits.",
            ));
        }
        // INVARIANT: 19 digits stay below 2^64.
        let length = value.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        self.length = Some(length);
        Ok(())
    }

    // RFC 9112 §6.1
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), ClientError> {
        for coding in value.split(|&byte| byte == b',') {
            if self.chunked {
                return Err(bad("bad-transfer-encoding", "chunked must come once, and last."));
            }
            match trim_whitespace(coding) {
                b"" => {
                    return Err(bad("bad-transfer-encoding", "Transfer-Encoding names a coding."));
                }
                coding if coding.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
                _ => self.other_coding = true,
            }
        }
        Ok(())
    }

    /// Judges the head as a whole, at its empty line.
    pub(super) fn finish(&self, bounds: &Bounds) -> Result<Framing, ClientError> {
        if !self.host && !self.http10 {
            return Err(bad("no-host", "HTTP/1.1 requests need a Host header."));
        }
        let coded = self.chunked || self.other_coding;
        if coded && self.length.is_some() {
            return Err(bad(
                "two-framings",
                "Content-Length and Transfer-Encoding must not come together.",
            ));
        }
        if coded && self.http10 {
            return Err(bad("bad-transfer-encoding", "HTTP/1.0 has no Transfer-Encoding."));
        }
        if self.other_coding {
            return Err(ClientError::closing(
                StatusCode::NOT_IMPLEMENTED,
                "transfer-encoding",
                "The only accepted transfer coding is chunked.",
            ));
        }
        if self.length.is_some_and(|length| length > bounds.body_bytes) {
            return Err(body_too_large());
        }
        // RFC 9110 §10.1.1; HTTP/1.0 expectations are ignored.
        if self.expectation && !self.http10 {
            return Err(ClientError::closing(
                StatusCode::EXPECTATION_FAILED,
                "expectation",
                "The only accepted expectation is 100-continue.",
            ));
        }
        Ok(match self.length {
            Some(length) => Framing::Length(length),
            None if self.chunked => Framing::Chunked,
            None => Framing::None,
        })
    }
}

/// Splits a field line into its name and its value, whitespace around it included
/// (RFC 9112 §5); `line` holds no control bytes but tabs.
pub(super) fn field_line(line: &[u8]) -> Result<(&[u8], &[u8]), ClientError> {
    let name = token_length(line);
    if name == 0 || line.get(name) != Some(&b':') {
        return Err(bad_field_line(line, name));
    }
    Ok((&line[..name], &line[name + 1..]))
}

#[cold]
fn bad_field_line(line: &[u8], name: usize) -> ClientError {
    match line.get(name) {
        Some(b' ' | b'\t') if name == 0 => {
            bad("obs-fold", "A header must not continue on the next line.")
        }
        Some(b' ' | b'\t') => bad(
            "space-before-colon",
            "No whitespace is allowed between a header's name and its colon.",
        ),
        _ => bad("bad-field-name", "A header is `name: value`, and the name is a token."),
    }
}

/// The request line in the spelling that keys and origins get: its target [as in a
/// URI](weir_rules::target::spelled), and HTTP/1.1 for a higher minor version (RFC 9110 §2.5). `None` if
/// it has that spelling, or is no request line.
pub(super) fn respelled(line: &[u8]) -> Option<Vec<u8>> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let higher = matches!(
        version,
        b"HTTP/1.2"
            | b"HTTP/1.3"
            | b"HTTP/1.4"
            | b"HTTP/1.5"
            | b"HTTP/1.6"
            | b"HTTP/1.7"
            | b"HTTP/1.8"
            | b"HTTP/1.9"
    );
    let spelled = weir_rules::target::spelled(target);
    if parts.next().is_some() || !(higher || spelled.is_some()) {
        return None;
    }
    let target = spelled.as_deref().map_or(target, str::as_bytes);
    let version = if higher { b"HTTP/1.1" } else { version };
    Some([method, target, version].join(&b' '))
}

/// The request target: visible ASCII that `http::Uri` takes, no fragment (RFC 9112 §3.2).
fn check_target(target: &[u8]) -> Result<(), ClientError> {
    let sound = match target {
        b"*" => true,
        [b'/', ..] => target.iter().all(|&byte| TARGET[usize::from(byte)]),
        // The rare absolute and authority forms.
        _ => {
            target.iter().all(|&byte| TARGET[usize::from(byte)])
                && http::Uri::try_from(target).is_ok()
        }
    };
    if sound {
        Ok(())
    } else {
        Err(bad("bad-target", "The target has no `#`, and is a path, a URL, or `*`."))
    }
}

/// A 400 after which the connection closes.
pub(super) fn bad(word: &'static str, message: &'static str) -> ClientError {
    ClientError::closing(StatusCode::BAD_REQUEST, word, message)
}

pub(super) fn target_too_long() -> ClientError {
    ClientError::closing(
        StatusCode::URI_TOO_LONG,
        "target-too-long",
        "The request target is longer than limits.target_bytes.",
    )
}

pub(super) fn too_many_fields() -> ClientError {
    ClientError::closing(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "too-many-fields",
        "The request has more headers than limits.header_fields.",
    )
}

pub(super) fn body_too_large() -> ClientError {
    ClientError::closing(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body-too-large",
        "The request body is larger than limits.body_bytes.",
    )
}

/// Spaces and tabs only: the other ASCII whitespace is no whitespace in a field.
fn trim_whitespace(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// How many bytes at the beginning are those of a token (RFC 9110 §5.6.2).
#[inline]
fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(bytes.len())
}

#[inline]
fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z'
                | b'^'..=b'z' | b'|' | b'~'
        );
        byte += 1;
    }
    table
};

/// What may stand in a URI, less `#`: [`respelled`] has encoded the rest.
static TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = !matches!(
            byte as u8,
            b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        );
        byte += 1;
    }
    table
};
