//! Percent-normalisation (RFC 3986 §6.2.2): one spelling for every path and query.

use std::borrow::Cow;
use std::fmt::Write;

/// Decodes escapes of unreserved characters, puts the digits of the others in upper case, and
/// escapes what may not stand in a URI at all. A `%` that begins no escape stays.
pub(crate) fn normalised(text: &str) -> Cow<'_, str> {
    // An end for each part, not for each byte: nearly all texts are as they should be.
    let stays = |part: &[u8]| part.iter().fold(true, |all, byte| all & STAYS[usize::from(*byte)]);
    if text.as_bytes().chunks(16).all(stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            push(&mut out, *first);
        } else if let Some((byte, tail)) = escape(after) {
            if is_unreserved(byte) {
                out.push(char::from(byte));
            } else {
                push_escaped(&mut out, byte);
            }
            rest = tail;
        } else {
            out.push('%');
        }
    }
    Cow::Owned(out)
}

/// A path of these bytes, with what may not stand in a URI escaped.
pub(crate) fn escaped(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    path.iter().for_each(|byte| push(&mut out, *byte));
    out
}

fn push(out: &mut String, byte: u8) {
    if is_unreserved(byte) || is_reserved(byte) {
        out.push(char::from(byte));
    } else {
        push_escaped(out, byte);
    }
}

fn push_escaped(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

fn escape(after: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, tail @ ..] = after else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    Some((byte, tail))
}

/// Bytes that are written as they are: a table, because lookups read every path after a purge.
const STAYS: [bool; 256] = {
    let mut stays = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        stays[byte] = is_unreserved(byte as u8) || is_reserved(byte as u8);
        byte += 1;
    }
    stays
};

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_reserved(byte: u8) -> bool {
    matches!(
        byte,
        b':' | b'/'
            | b'?'
            | b'#'
            | b'['
            | b']'
            | b'@'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_become_one() {
        for (text, expected) in [
            ("/a/b?c=d", "/a/b?c=d"),
            ("/%61%2d%7E", "/a-~"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("/%C3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a b|c", "/a%20b%7Cc"),
            ("/%2561", "/%2561"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("/%+1", "/%+1"),
            ("/%2A*", "/%2A*"),
            ("", ""),
        ] {
            let once = normalised(text);
            assert_eq!(once, expected, "{text}");
        }
    }
}
