//! Host and port, as Host and the authority of a target give them (RFC 9110 §7.2, RFC 3986 §3.2).

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Longest host: 253 bytes of a domain name, and a trailing dot.
const HOST_BYTES: usize = 254;

/// A valid authority without userinfo. Host names are letters, digits, `-`, `_` and `.` only: what
/// else RFC 3986 lets a registered name have is met in attacks, not on the web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// As written: any case, may end with a dot; IPv6 with brackets.
    pub(super) host: &'a str,
    /// `None` when none, or an empty one, is given.
    pub(super) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` when it is not one.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let (host, port) = match text {
            [b'[', ..] => {
                let end = text.iter().position(|&byte| byte == b']')?;
                let address = str::from_utf8(&text[1..end]).ok()?;
                address.parse::<Ipv6Addr>().ok()?;
                text.split_at(end + 1)
            }
            _ => {
                let end = name_length(text)?;
                text.split_at(end)
            }
        };
        let port = match port {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return None,
        };
        Some(Self { host: str::from_utf8(host).ok()?, port })
    }

    /// The one spelling that every way to write this authority shares: lower case, no trailing
    /// dot, no port when it is `default_port`.
    pub(super) fn canonical(&self, text: &'a str, default_port: u16) -> Cow<'a, str> {
        let host = self.host.strip_suffix('.').unwrap_or(self.host);
        let port = self.port.filter(|&port| port != default_port);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) || host.starts_with('[') {
            let mut owned = canonical_host(host);
            if let Some(port) = port {
                owned.push(':');
                owned.push_str(&port.to_string());
            }
            return Cow::Owned(owned);
        }
        match port {
            None => Cow::Borrowed(host),
            // As written, unless a dot or leading zeros stand in between.
            Some(port) => {
                let written = text.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
                match written {
                    Some(digits) if !digits.starts_with('0') => Cow::Borrowed(text),
                    _ => Cow::Owned(format!("{host}:{port}")),
                }
            }
        }
    }
}

/// IPv6 addresses have many spellings (RFC 5952 picks one).
fn canonical_host(host: &str) -> String {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address.and_then(|address| address.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.to_ascii_lowercase(),
    }
}

/// The length of the host name at the beginning of `text`: labels that are not empty, and perhaps
/// a dot at the end.
fn name_length(text: &[u8]) -> Option<usize> {
    let mut label = 0;
    let mut length = 0;
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'.' if label > 0 => label = 0,
            b':' => break,
            _ => return None,
        }
        length += 1;
    }
    (1..=HOST_BYTES).contains(&length).then_some(length)
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    let sound = digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit);
    let port = if sound { str::from_utf8(digits).ok()?.parse().ok()? } else { 0 };
    (port != 0).then_some(port)
}
