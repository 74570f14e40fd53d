//! The value of one selecting field, its lines combined (RFC 9110 §5.2) and normalised.

use super::encoding::accept_encoding_bucket;
use super::weighted::{append_canonical, fold_language, fold_media_range};
use crate::cookies;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, FROM, HOST, ORIGIN, REFERER,
    USER_AGENT,
};
use http::{HeaderMap, HeaderName};

/// Fields that are no lists: a comma in them is part of the value, and so is what surrounds it.
static SINGLE: [HeaderName; 6] = [USER_AGENT, AUTHORIZATION, REFERER, ORIGIN, HOST, FROM];

/// Joins what must not be mistaken for a list: no field value holds this byte.
const LINE_BREAK: u8 = 0;

/// Appends the normalised value of `name`; nothing when the field is absent or empty.
pub(crate) fn append_value(out: &mut Vec<u8>, name: &HeaderName, request: &HeaderMap) {
    if *name == ACCEPT_ENCODING {
        out.extend_from_slice(accept_encoding_bucket(request).unwrap_or_default().as_bytes());
    } else if *name == ACCEPT_LANGUAGE || *name == ACCEPT {
        let fold = if *name == ACCEPT { fold_media_range } else { fold_language };
        let start = out.len();
        append_list(out, name, request);
        let combined = out.split_off(start);
        if !append_canonical(out, &combined, fold) {
            out.extend_from_slice(&combined);
        }
    } else if *name == COOKIE {
        out.extend_from_slice(&cookies::combined(request).unwrap_or_default());
    } else if SINGLE.contains(name) {
        append_lines(out, name, request);
    } else {
        append_list(out, name, request);
    }
}

fn append_lines(out: &mut Vec<u8>, name: &HeaderName, request: &HeaderMap) {
    for (i, line) in request.get_all(name).iter().enumerate() {
        if i > 0 {
            out.push(LINE_BREAK);
        }
        out.extend_from_slice(line.as_bytes().trim_ascii());
    }
}

/// Combines lines by commas and takes the white space around every comma away, except inside a
/// quoted string, where it belongs to the value. A line that ends inside one is not joined by a
/// comma, which would then read as part of the string.
fn append_list(out: &mut Vec<u8>, name: &HeaderName, request: &HeaderMap) {
    let mut quoted = false;
    for (i, line) in request.get_all(name).iter().enumerate() {
        if i > 0 {
            out.push(if quoted { LINE_BREAK } else { b',' });
        }
        quoted = append_line(out, line.as_bytes().trim_ascii());
    }
}

/// Whether the line ends inside a quoted string.
fn append_line(out: &mut Vec<u8>, line: &[u8]) -> bool {
    let floor = out.len();
    let (mut quoted, mut escaped, mut after_comma) = (false, false, false);
    for &byte in line {
        if !quoted {
            let blank = byte == b' ' || byte == b'\t';
            if after_comma && blank {
                continue;
            }
            after_comma = byte == b',';
            if after_comma {
                while out.len() > floor && matches!(out.last(), Some(b' ' | b'\t')) {
                    out.pop();
                }
            }
        }
        if escaped {
            escaped = false;
        } else if quoted && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        }
        out.push(byte);
    }
    quoted
}
