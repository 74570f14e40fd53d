//! What became of one request, in the words of RFC 9211. One value is filled in along the way and
//! read by the `Cache-Status` field, the access log, the metrics and `explain`.

use crate::coding::Given;
use http::StatusCode;

/// How the cache handled a request (RFC 9211 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Answered from the store, or why it was forwarded.
    pub handling: Handling,
    /// fwd-status (§2.3): the upstream's status, when there was one.
    pub fwd_status: Option<StatusCode>,
    /// ttl (§2.4): seconds of freshness left of the response; negative when stale.
    pub ttl: Option<i64>,
    /// stored (§2.5).
    pub stored: bool,
    /// collapsed (§2.6).
    pub collapsed: bool,
    /// detail (§2.8): a stable word.
    pub detail: Option<&'static str>,
    /// What this node did to the content coding. Not shown in Cache-Status: Content-Encoding says it.
    pub coding: Option<Given>,
}

/// hit, or fwd with its reason (RFC 9211 §2.1, §2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handling {
    /// Not decided; never shown.
    #[default]
    Undecided,
    /// `hit`.
    Hit,
    /// `fwd=bypass`.
    Bypass,
    /// `fwd=method`.
    Method,
    /// `fwd=uri-miss`.
    UriMiss,
    /// `fwd=vary-miss`.
    VaryMiss,
    /// `fwd=miss`.
    Miss,
    /// `fwd=request`.
    Request,
    /// `fwd=stale`.
    Stale,
    /// `fwd=partial`.
    Partial,
    /// Neither: an error of the client or of the node answered before a lookup; no hit, no fwd.
    Refused,
}

impl Handling {
    /// The reason of `fwd` (RFC 9211 §2.2), where the request was forwarded.
    pub const fn fwd(self) -> Option<&'static str> {
        match self {
            Self::Bypass => Some("bypass"),
            Self::Method => Some("method"),
            Self::UriMiss => Some("uri-miss"),
            Self::VaryMiss => Some("vary-miss"),
            Self::Miss => Some("miss"),
            Self::Request => Some("request"),
            Self::Stale => Some("stale"),
            Self::Partial => Some("partial"),
            Self::Undecided | Self::Hit | Self::Refused => None,
        }
    }

    /// One word for logs and metrics: `hit`, a reason of `fwd`, `refused` or `undecided`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Refused => "refused",
            Self::Undecided => "undecided",
            forwarded => match forwarded.fwd() {
                Some(reason) => reason,
                None => "undecided",
            },
        }
    }
}

impl Outcome {
    /// Appends this cache's member of Cache-Status to `out`: `node; hit; ttl=30`. `node` is written
    /// as a token where it is one, else as a string (RFC 9211 §2). Parameters that only a forwarded
    /// request has (fwd-status, stored, collapsed) are left out of a hit.
    pub fn write_cache_status(&self, node: &str, out: &mut Vec<u8>) {
        write_token_or_string(node, out);
        if self.handling == Handling::Hit {
            out.extend_from_slice(b"; hit");
            self.write_ttl(out);
        } else if let Some(reason) = self.handling.fwd() {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(reason.as_bytes());
            if let Some(status) = self.fwd_status {
                out.extend_from_slice(b"; fwd-status=");
                out.extend_from_slice(status.as_str().as_bytes());
            }
            self.write_ttl(out);
            if self.stored {
                out.extend_from_slice(b"; stored");
            }
            if self.collapsed {
                out.extend_from_slice(b"; collapsed");
            }
        }
        if let Some(detail) = self.detail {
            out.extend_from_slice(b"; detail=");
            write_token_or_string(detail, out);
        }
    }

    fn write_ttl(&self, out: &mut Vec<u8>) {
        if let Some(ttl) = self.ttl {
            out.extend_from_slice(b"; ttl=");
            write_integer(ttl, out);
        }
    }
}

/// RFC 9651 §3.3.4 where the text allows it, else §3.3.3; what a string cannot hold becomes `?`.
fn write_token_or_string(text: &str, out: &mut Vec<u8>) {
    if is_token(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            ' '..='~' => out.push(character as u8),
            _ => out.push(b'?'),
        }
    }
    out.push(b'"');
}

fn is_token(text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return false };
    (first.is_ascii_alphabetic() || *first == b'*')
        && rest.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(b))
}

/// An Integer has at most fifteen digits (RFC 9651 §3.3.1).
fn write_integer(value: i64, out: &mut Vec<u8>) {
    const LARGEST: u64 = 999_999_999_999_999;
    if value < 0 {
        out.push(b'-');
    }
    let mut rest = value.unsigned_abs().min(LARGEST);
    let mut digits = [0_u8; 15];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(node: &str, outcome: &Outcome) -> String {
        let mut out = Vec::new();
        outcome.write_cache_status(node, &mut out);
        String::from_utf8(out).expect("only ASCII is written")
    }

    fn hit(ttl: i64) -> Outcome {
        Outcome { handling: Handling::Hit, ttl: Some(ttl), ..Outcome::default() }
    }

    #[test]
    fn a_hit_says_its_ttl_and_nothing_of_forwarding() {
        assert_eq!(written("edge-1", &hit(30)), "edge-1; hit; ttl=30");
        assert_eq!(written("edge-1", &hit(-4)), "edge-1; hit; ttl=-4");
        assert_eq!(written("edge-1", &hit(0)), "edge-1; hit; ttl=0");
        let odd =
            Outcome { stored: true, collapsed: true, fwd_status: Some(StatusCode::OK), ..hit(1) };
        assert_eq!(written("e", &odd), "e; hit; ttl=1");
    }

    #[test]
    fn a_forwarded_request_says_why_and_what_came() {
        let outcome = Outcome {
            handling: Handling::UriMiss,
            fwd_status: Some(StatusCode::OK),
            stored: true,
            collapsed: true,
            detail: Some("early-refresh"),
            ..Outcome::default()
        };
        assert_eq!(
            written("edge-1", &outcome),
            "edge-1; fwd=uri-miss; fwd-status=200; stored; collapsed; detail=early-refresh"
        );
    }

    #[test]
    fn a_refusal_is_neither_hit_nor_forwarded() {
        let refused = Outcome {
            handling: Handling::Refused,
            fwd_status: Some(StatusCode::OK),
            ttl: Some(1),
            stored: true,
            detail: Some("loop \"x\""),
            ..Outcome::default()
        };
        assert_eq!(written("edge-1", &refused), "edge-1; detail=\"loop \\\"x\\\"\"");
        assert_eq!(written("edge-1", &Outcome::default()), "edge-1");
    }

    #[test]
    fn a_name_that_is_no_token_is_a_string() {
        for (node, expected) in [
            ("1a", "\"1a\"; hit; ttl=1"),
            ("", "\"\"; hit; ttl=1"),
            ("kö", "\"k?\"; hit; ttl=1"),
            ("a b\n", "\"a b?\"; hit; ttl=1"),
            ("*x:/", "*x:/; hit; ttl=1"),
        ] {
            assert_eq!(written(node, &hit(1)), expected);
        }
    }

    #[test]
    fn numbers_stay_within_what_a_structured_integer_holds() {
        assert_eq!(written("e", &hit(i64::MAX)), "e; hit; ttl=999999999999999");
        assert_eq!(written("e", &hit(i64::MIN)), "e; hit; ttl=-999999999999999");
    }

    #[test]
    fn every_member_is_a_valid_structured_list() {
        use Handling::*;
        for handling in [
            Undecided, Hit, Bypass, Method, UriMiss, VaryMiss, Miss, Request, Stale, Partial,
            Refused,
        ] {
            let outcome = Outcome {
                handling,
                fwd_status: Some(StatusCode::NOT_FOUND),
                ttl: Some(-1),
                stored: true,
                collapsed: true,
                detail: Some("two words"),
                coding: Some(Given::Decoded),
            };
            let text = written("9 nodes", &outcome);
            let list: sfv::List = sfv::Parser::new(&text).parse().expect(&text);
            assert_eq!(list.len(), 1, "{text}");
            assert!(!handling.word().is_empty());
        }
    }
}
