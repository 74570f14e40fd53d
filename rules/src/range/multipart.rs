//! multipart/byteranges (RFC 9110 §14.6): everything around the bytes, and the exact length.

use super::Span;
use http::HeaderValue;
use std::io::Write;

/// The delimiter between parts. It is made of 128 random bits, so that it does not occur in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// The boundary that spells `random` in hexadecimal digits.
    pub fn new(random: u128) -> Self {
        Self(format!("{random:032x}"))
    }

    /// The Content-Type of the whole response.
    pub fn content_type(&self) -> HeaderValue {
        let value = format!("multipart/byteranges; boundary={}", self.0);
        HeaderValue::try_from(value).expect("hexadecimal digits are valid in a field value")
    }
}

/// One part: what stands before its bytes, and which bytes they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Delimiter and fields, up to the first byte of the span.
    pub preamble: Vec<u8>,
    /// The bytes that follow.
    pub span: Span,
}

/// A multipart body, laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    /// The parts in order.
    pub parts: Vec<Part>,
    /// The closing delimiter, after the last part's bytes.
    pub closing: Vec<u8>,
    /// The Content-Length of it all.
    pub length: u64,
}

/// Lays out `spans` of a representation of `complete_length` bytes and, if known, `content_type`.
pub fn multipart(
    spans: &[Span],
    boundary: &Boundary,
    content_type: Option<&HeaderValue>,
    complete_length: u64,
) -> Multipart {
    let closing = format!("\r\n--{}--\r\n", boundary.0).into_bytes();
    let mut length = closing.len() as u64;
    let mut parts = Vec::with_capacity(spans.len());
    for &span in spans {
        // The line break before a delimiter belongs to it (RFC 2046 §5.1.1); the first needs none.
        let line_break = if parts.is_empty() { "" } else { "\r\n" };
        let preamble = preamble(line_break, span, boundary, content_type, complete_length);
        length = length.saturating_add(preamble.len() as u64).saturating_add(span.length());
        parts.push(Part { preamble, span });
    }
    Multipart { parts, closing, length }
}

fn preamble(
    line_break: &str,
    span: Span,
    boundary: &Boundary,
    content_type: Option<&HeaderValue>,
    complete_length: u64,
) -> Vec<u8> {
    let mut out = format!("{line_break}--{}\r\n", boundary.0).into_bytes();
    if let Some(content_type) = content_type {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(content_type.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let last = span.end.saturating_sub(1);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "Content-Range: bytes {}-{last}/{complete_length}\r\n\r\n", span.start);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_one_of_the_rfc_and_its_length_is_exact() {
        let body = b"0123456789";
        let spans = [Span { start: 0, end: 2 }, Span { start: 7, end: 10 }];
        let html = HeaderValue::from_static("text/html");
        let laid_out = multipart(&spans, &Boundary::new(0xb), Some(&html), 10);
        let mut sent = Vec::new();
        for part in &laid_out.parts {
            sent.extend_from_slice(&part.preamble);
            sent.extend_from_slice(&body[part.span.start as usize..part.span.end as usize]);
        }
        sent.extend_from_slice(&laid_out.closing);
        let expected = "--0000000000000000000000000000000b\r\n\
            Content-Type: text/html\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
            --0000000000000000000000000000000b\r\n\
            Content-Type: text/html\r\nContent-Range: bytes 7-9/10\r\n\r\n789\r\n\
            --0000000000000000000000000000000b--\r\n";
        assert_eq!(String::from_utf8_lossy(&sent), expected);
        assert_eq!(laid_out.length, expected.len() as u64);
    }

    #[test]
    fn a_part_without_a_type_says_none() {
        let laid_out = multipart(&[Span { start: 0, end: 1 }], &Boundary::new(1), None, 1);
        assert!(!String::from_utf8_lossy(&laid_out.parts[0].preamble).contains("Content-Type"));
        assert_eq!(
            Boundary::new(u128::MAX).content_type(),
            "multipart/byteranges; boundary=ffffffffffffffffffffffffffffffff"
        );
    }
}
