//! The spelling of a request target. Clients send bytes in it that may not stand in a URI, such as UTF-8
//! and `{"a":1}`. They mean the same as their percent-encoding (RFC 3986 §2.1, RFC 3987 §3.1), and
//! cache keys and origins get only that.

use std::borrow::Cow;
use std::fmt::Write;

/// The target with each byte that may not stand in a URI percent-encoded; `None` if there is none.
/// What is encoded already stays as it is, and so do spaces, control bytes and `#`, which are no part
/// of a target at all.
pub fn spelled(target: &[u8]) -> Option<String> {
    if !target.iter().any(|byte| is_encoded(*byte)) {
        return None;
    }
    let mut spelled = String::with_capacity(target.len() + 16);
    for byte in target {
        match is_encoded(*byte) {
            // Writing to a String does not fail.
            true => drop(write!(spelled, "%{byte:02X}")),
            false => spelled.push(char::from(*byte)),
        }
    }
    Some(spelled)
}

/// The same for a URL that a person wrote.
pub fn spelled_url(url: &str) -> Cow<'_, str> {
    spelled(url.as_bytes()).map_or(Cow::Borrowed(url), Cow::Owned)
}

/// RFC 3986 §2: neither reserved nor unreserved nor `%`.
fn is_encoded(byte: u8) -> bool {
    byte >= 0x80 || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

#[cfg(test)]
mod tests {
    use super::spelled;

    #[test]
    fn what_may_not_stand_in_a_uri_is_encoded_and_nothing_else() {
        for (target, expected) in [
            (&b"/a?b=c&d[]=%7b"[..], None),
            (b"/a b#c", None),
            (b"/%2F%5C%25%zz", None),
            (b"/caf\xc3\xa9", Some("/caf%C3%A9")),
            (b"/a\xff", Some("/a%FF")),
            (b"/?q={\"a\":1}", Some("/?q=%7B%22a%22:1%7D")),
            (b"/a\\b/%5c", Some("/a%5Cb/%5c")),
            (b"/<a>|^`", Some("/%3Ca%3E%7C%5E%60")),
        ] {
            assert_eq!(spelled(target).as_deref(), expected, "{}", target.escape_ascii());
            let again = spelled(target).and_then(|once| spelled(once.as_bytes()));
            assert_eq!(again, None, "{}", target.escape_ascii());
        }
    }
}
