//! Host and port, as Host and the authority of a target give them (RFC 9110 §7.2, RFC 3986 §3.2).

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Longest host: 253 bytes of a domain name, and a trailing dot.
const HOST_BYTES: usize = 254;

/// A valid authority without userinfo. Host names are letters, digits, `-`, `_` and `.` only: what
/// else RFC 3986 lets a registered name have is met in attacks, not on the web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// All of it, as written.
    text: &'a str,
    /// How much of it is the host: any case, may end with a dot; IPv6 with brackets.
    host: usize,
    /// `None` when none, or an empty one, is given.
    port: Option<u16>,
    /// Whether the host has letters in upper case, or is an IPv6 address.
    respelled: bool,
}

impl<'a> Authority<'a> {
    /// `None` when it is not one.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (host, respelled) = match bytes.first() {
            Some(b'[') => (address_length(bytes)?, true),
            _ => name_length(bytes)?,
        };
        let port = match &bytes[host..] {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return None,
        };
        Some(Self { text: str::from_utf8(bytes).ok()?, host, port, respelled })
    }

    /// The one spelling that every way to write this authority shares: lower case, no trailing
    /// dot, no port when it is `default_port`.
    pub(crate) fn canonical(&self, default_port: u16) -> Cow<'a, str> {
        let written = &self.text[..self.host];
        let host = written.strip_suffix('.').unwrap_or(written);
        let port = self.port.filter(|&port| port != default_port);
        if !self.respelled {
            let Some(port) = port else { return Cow::Borrowed(host) };
            // As written, unless a dot or a leading zero stands in between.
            let plain = host.len() == self.host && self.text.as_bytes()[self.host + 1] != b'0';
            return if plain {
                Cow::Borrowed(self.text)
            } else {
                Cow::Owned(format!("{host}:{port}"))
            };
        }
        let host = respelled(host);
        Cow::Owned(match port {
            None => host,
            Some(port) => format!("{host}:{port}"),
        })
    }
}

/// Whether `text` is a host, and may have a port.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    Authority::parse(text).is_some()
}

/// `example.com:8080` without its port; an IPv6 literal keeps its brackets.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// A short authority that was met before on the same connection, and what was found out about it:
/// clients repeat themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownHost<T> {
    bytes: [u8; 32],
    length: usize,
    found: T,
}

impl<T: Copy> KnownHost<T> {
    /// What was found out about `text`, if it is the one.
    #[inline]
    pub(crate) fn of(&self, text: &[u8]) -> Option<T> {
        (self.length > 0 && self.bytes[..self.length] == *text).then_some(self.found)
    }

    /// Remembers `text`, if it is short, in the place of what was met before.
    pub(crate) fn set(&mut self, text: &[u8], found: T) {
        if let Some(place) = self.bytes.get_mut(..text.len()) {
            place.copy_from_slice(text);
            self.length = text.len();
            self.found = found;
        }
    }
}

/// Lower case; of the many spellings of an IPv6 address that of RFC 5952.
fn respelled(host: &str) -> String {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address.and_then(|address| address.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.to_ascii_lowercase(),
    }
}

fn address_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|&byte| byte == b']')?;
    let address = str::from_utf8(&bytes[1..end]).ok()?;
    address.parse::<Ipv6Addr>().ok().map(|_| end + 1)
}

/// The length of the host name at the beginning, and whether it has upper case letters. Its labels
/// are not empty; a dot may stand at its end.
fn name_length(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut before = DOT;
    let mut upper = false;
    let mut length = 0;
    for &byte in bytes {
        let class = NAME[usize::from(byte)];
        if class == OTHER || (class == DOT && before == DOT) {
            if byte == b':' {
                break;
            }
            return None;
        }
        upper |= class == UPPER;
        before = class;
        length += 1;
    }
    (1..=HOST_BYTES).contains(&length).then_some((length, upper))
}

const OTHER: u8 = 0;
const LOWER: u8 = 1;
const UPPER: u8 = 2;
const DOT: u8 = 3;

/// What a byte is in a host name.
static NAME: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => LOWER,
            b'A'..=b'Z' => UPPER,
            b'.' => DOT,
            _ => OTHER,
        };
        byte += 1;
    }
    table
};

/// 1 to 65535.
fn parse_port(digits: &[u8]) -> Option<u16> {
    let mut port = 0u32;
    if digits.len() > 5 {
        return None;
    }
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        port = port * 10 + u32::from(digit - b'0');
    }
    u16::try_from(port).ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_part_of_a_sites_name() {
        assert_eq!(without_port("example.com:8080"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}
