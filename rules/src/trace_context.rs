//! W3C Trace Context: where in a trace a request stands, as `traceparent` says, and whether the
//! `tracestate` beside it can be sent on.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// The field that names a request's place in a trace.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The field in which those along the way keep what they know of the trace.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whoever sent the request may have recorded its span.
pub const SAMPLED: u8 = 1;

/// The trace id was made of random bits (Level 2).
pub const RANDOM: u8 = 2;

/// Most list members of a tracestate that is sent on (§3.3.1.1).
const MOST_MEMBERS: usize = 32;

/// The longest key or value in tracestate, bytes.
const LONGEST: usize = 256;

/// A place in a trace. Neither id is zero, and no flag is set that is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole trace's id.
    pub trace_id: u128,
    /// The id of the span that the request is part of.
    pub span_id: u64,
    /// [`SAMPLED`], [`RANDOM`].
    pub flags: u8,
}

impl TraceContext {
    /// What a request says of its place. `None` where it says nothing, more than one thing, or
    /// nothing that can be understood; then its tracestate means nothing either (§3.3.4).
    pub fn of(request: &HeaderMap) -> Option<Self> {
        let mut lines = request.get_all(&TRACEPARENT).iter();
        let line = lines.next()?;
        if lines.next().is_some() { None } else { Self::parse(line.as_bytes()) }
    }

    /// Reads a `traceparent` (§3.2.2). Of versions to come the part that version 00 knows is read.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (version, rest) = field(text, 2)?;
        let (trace_id, rest) = field(rest.strip_prefix(b"-")?, 32)?;
        let (span_id, rest) = field(rest.strip_prefix(b"-")?, 16)?;
        let (flags, rest) = field(rest.strip_prefix(b"-")?, 2)?;
        let ends_well = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let (span_id, flags) = (span_id as u64, flags as u8 & (SAMPLED | RANDOM));
        (ends_well && trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, flags })
    }

    /// Whether its sender may have recorded it.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Its `traceparent`, in version 00.
    pub fn field(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Whether the tracestate of a request can be sent on: what cannot be understood is dropped whole,
/// and the trace is continued without it (§3.3.4).
pub fn is_tracestate(request: &HeaderMap) -> bool {
    let mut keys = Vec::new();
    for line in request.get_all(&TRACESTATE) {
        let Ok(line) = line.to_str() else { return false };
        for member in line.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let Some((key, value)) = member.split_once('=') else { return false };
            if !is_key(key) || !is_value(value) || keys.contains(&key) {
                return false;
            }
            keys.push(key);
            if keys.len() > MOST_MEMBERS {
                return false;
            }
        }
    }
    true
}

/// The first `digits` lower-case hexadecimal digits, at most 32, and what follows them.
fn field(text: &[u8], digits: usize) -> Option<(u128, &[u8])> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let digit = |digit: &u8| match digit {
        b'0'..=b'9' => Some(u128::from(digit - b'0')),
        b'a'..=b'f' => Some(u128::from(digit - b'a' + 10)),
        _ => None,
    };
    let number = digits.iter().try_fold(0, |number, next| Some(number << 4 | digit(next)?))?;
    Some((number, rest))
}

/// §3.3.1.3.1, with the leading digit of Level 2.
fn is_key(key: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b);
    key.len() <= LONGEST && key.starts_with(first) && key.bytes().all(rest)
}

/// §3.3.1.3.2.
fn is_value(value: &str) -> bool {
    let allowed = |b: u8| matches!(b, b' '..=b'~') && b != b',' && b != b'=';
    (1..=LONGEST).contains(&value.len()) && value.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parsed(text: &str) -> Option<TraceContext> {
        TraceContext::parse(text.as_bytes())
    }

    #[test]
    fn a_traceparent_is_read_and_written_back() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        let context = parsed(&text).expect("valid");
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.span_id, context.flags), (0x00f0_67aa_0ba9_02b7, SAMPLED));
        assert!(context.is_sampled());
        assert_eq!(context.field(), text);
    }

    #[test]
    fn flags_that_are_not_known_are_not_sent_on() {
        let context = parsed(&format!("00-{TRACE}-{SPAN}-fe")).expect("valid");
        assert_eq!(context.to_string(), format!("00-{TRACE}-{SPAN}-02"));
        assert!(!context.is_sampled());
    }

    #[test]
    fn of_a_version_to_come_the_known_part_is_read() {
        for rest in ["", "-", "-what-the-future-will-be-like"] {
            let context = parsed(&format!("cc-{TRACE}-{SPAN}-01{rest}")).expect(rest);
            assert_eq!(context.to_string(), format!("00-{TRACE}-{SPAN}-01"));
        }
        assert_eq!(parsed(&format!("cc-{TRACE}-{SPAN}-01.what")), None);
    }

    #[test]
    fn what_is_malformed_is_no_context() {
        let zeros = "0".repeat(32);
        for text in [
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[16..]),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{}\u{e9}-{SPAN}-01", &TRACE[2..]),
            String::new(),
        ] {
            assert_eq!(parsed(&text), None, "{text}");
        }
        assert_eq!(TraceContext::parse(b"\xff"), None);
    }

    fn request(lines: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut request = HeaderMap::new();
        for (name, value) in lines {
            request.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        request
    }

    #[test]
    fn two_places_in_a_trace_are_none() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        assert!(TraceContext::of(&request(&[(&TRACEPARENT, &text)])).is_some());
        let twice = request(&[(&TRACEPARENT, &text), (&TRACEPARENT, &text)]);
        assert_eq!(TraceContext::of(&twice), None);
        assert_eq!(TraceContext::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_tracestate_is_kept_whole_or_dropped() {
        let state = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| (&TRACESTATE, *line)).collect();
            is_tracestate(&request(&lines))
        };
        let many = |n: usize| (0..n).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert!(state(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]));
        assert!(state(&["a=1", " b@c=2 ,, 0d=~ !"]));
        assert!(state(&[]) && state(&[""]) && state(&[&many(32)]));
        for wrong in
            ["a", "A=1", "=1", "a=", "a=b=c", "a=1,a=2", "-a=1", "\u{e4}=1", "a b=1", "a=\t1\t2"]
        {
            assert!(!state(&[wrong]), "{wrong}");
        }
        assert!(!state(&["a=1", "b=2,a=3"]), "twice over lines");
        assert!(!state(&[&many(33)]));
        assert!(!state(&[&format!("a={}", "x".repeat(257))]));
    }
}
