//! What nodes tell each other about seqs (invariants I2 and I3), as pure rules: what an edge asks
//! a parent with, what the parent may answer with, and what the edge makes of it.
//!
//! Between nodes, seqs are in the log's own numbers. A log id and a seq do not say which history a
//! node has seen: while a log that was restored from a backup is not yet found out, two nodes can
//! follow one id and differ in what its last seqs were. So an edge shows the mark of its last
//! entry, and a parent compares it with its own.

use crate::invalidation::Seq;
use crate::log::{LogId, Mark, Position};
use http::HeaderName;
use serde::{Deserialize, Serialize};
use std::fmt;
use strum::{IntoStaticStr, VariantArray};
use subtle::ConstantTimeEq;

/// A node's tier.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Tier {
    /// Clients talk to it.
    #[default]
    Edge,
    /// Edges talk to it.
    Parent,
}

impl Tier {
    /// `edge` or `parent`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The field in which an edge sends its [`Claim`].
pub const SEQ: &str = "weir-seq";
/// The field by which nodes know each other ([`is_key`]).
pub const KEY: &str = "weir-tier-key";
/// The field, valued `1`, by which an edge asks for what began to be fetched no earlier than its
/// [`Claim`], whatever the parent has stored.
pub const PAST: &str = "weir-past";
/// The field in which a parent sends its [`Provenance`].
pub const FILLED_AT: &str = "weir-filled-at";
/// The field in which a parent says by a word that an answer is its own, because it has none from
/// further on.
pub const FAILURE: &str = "weir-failure";
/// The field, valued `too-many`, of a response with more cache tags than a node keeps, so that the
/// next does not take it for one without.
pub const TAGS: &str = "weir-tags";
/// The field that names the release of a request.
pub const RELEASE: &str = "weir-release";

/// The field, valued `1`, of a request for a static asset whose response is for its client alone: the
/// edge asked without the client's personal headers before, in vain.
pub const PERSONAL: &str = "weir-personal";

/// The field, valued `1`, of a request that skips the store because of a cookie, here as at the edge.
pub const BYPASS: &str = "weir-bypass";

/// The field in which an edge names the rules of the site that a request matches
/// ([`crate::site_rules::SiteRules::names`]).
pub const RULES: &str = "weir-rules";

/// The field by which a node knows the requests that it sends itself to warm what is stored.
pub const WARM: &str = "weir-warm";

/// The field, valued `1`, of a node's own request (OPTIONS with Max-Forwards 0) for a URL that an unsafe
/// request has invalidated at the node (RFC 9111 §4.4): the parent invalidates it too.
pub const INVALIDATE: &str = "weir-invalidate";

/// All fields that only nodes may send each other (invariant I3): removed from everyone else, and
/// never sent to clients and origins.
pub const FIELDS: [&str; 12] =
    [SEQ, KEY, PAST, FILLED_AT, FAILURE, TAGS, RELEASE, RULES, WARM, PERSONAL, BYPASS, INVALIDATE];

/// Whether a header is one of [`FIELDS`].
pub fn is_own(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Nearly all names end here.
    name.starts_with("weir-") && FIELDS.contains(&name)
}

/// Longest name of a log that travels between nodes, bytes.
pub const LONGEST_LOG: usize = 64;
/// Largest seq that travels between nodes, the largest integer of structured fields (RFC 9651
/// §3.3.1).
pub const LARGEST_SEQ: Seq = 999_999_999_999_999;

/// What an edge says with each request to a parent: the log it follows and what it has applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The log.
    pub log: LogId,
    /// The last seq that it applied.
    pub applied: Seq,
    /// That entry's mark; 0 where `applied` is 0.
    pub mark: Mark,
}

/// What a parent says with each response to an edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// The log.
    pub log: LogId,
    /// The seq that the origin-facing node had applied when the fetch (or validation) began. The
    /// edge's own where the parent passed the request on without its store.
    pub filled_at: Seq,
    /// The seq up to which the parent has held this response against the log. The edge's own where
    /// the parent passed the request on without its store.
    pub checked: Seq,
}

/// `log/applied/mark`.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.log, self.applied, self.mark)
    }
}

impl Claim {
    /// Reads a claim as it is written; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (log, [applied, mark]) = parse(text)?;
        (applied <= LARGEST_SEQ).then_some(Self { log, applied, mark })
    }
}

/// `log/filled_at/checked`.
impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.log, self.filled_at, self.checked)
    }
}

impl Provenance {
    /// Reads a provenance as it is written; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (log, [filled_at, checked]) = parse(text)?;
        let bounded = filled_at <= LARGEST_SEQ && checked <= LARGEST_SEQ;
        bounded.then_some(Self { log, filled_at, checked })
    }
}

/// The name of a log, and after it as many numbers as are wanted.
fn parse<const NUMBERS: usize>(text: &[u8]) -> Option<(LogId, [u64; NUMBERS])> {
    let mut parts = text.split(|byte| *byte == b'/');
    let log = parts.next().filter(|log| is_name(log))?;
    let mut numbers = [0; NUMBERS];
    for number in &mut numbers {
        *number = parse_number(parts.next()?)?;
    }
    if parts.next().is_some() {
        return None;
    }
    Some((LogId(std::str::from_utf8(log).ok()?.to_owned()), numbers))
}

/// Whether a log of this name can be spoken of between nodes.
fn is_name(log: &[u8]) -> bool {
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    !log.is_empty() && log.len() <= LONGEST_LOG && log.iter().all(named)
}

/// Digits, in the one way to write a number.
fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether `shown` is the nodes' key, in a time that does not tell how much of it is right.
pub fn is_key(key: &str, shown: &[u8]) -> bool {
    !key.is_empty() && key.as_bytes().ct_eq(shown).into()
}

/// How a parent meets a request of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// As any request.
    Ordinary,
    /// The edge has applied more: the parent waits until it has too, and judges again, or passes
    /// the request on as if they were [`Admission::Apart`].
    Behind,
    /// The edge is so far back that the parent does not remember its place. The parent passes the
    /// request on without its store and without joining older fills. It tells the edge's seq as the
    /// provenance, but what it stores of it carries its own applied seq: the edge's history is not
    /// proven to be the parent's.
    Apart,
    /// They follow different logs, or different histories of one: seqs cannot be compared, so the
    /// parent must not answer.
    OtherLog,
}

/// Judges how a parent at `position` meets an edge's request. `applied` is its own number that
/// lookups see: a position may be ahead of the index by an entry.
pub fn admit(position: &Position, applied: Seq, claim: &Claim) -> Admission {
    if position.log() != Some(&claim.log) {
        return Admission::OtherLog;
    }
    if position.in_log(applied).is_none_or(|applied| claim.applied > applied) {
        return Admission::Behind;
    }
    match position.mark_of(claim.applied) {
        Some(mark) if mark == claim.mark => Admission::Ordinary,
        Some(_) => Admission::OtherLog,
        None => Admission::Apart,
    }
}

/// An edge's request to a parent, from its beginning: what was claimed, and what that was in the
/// edge's own numbers, whatever it comes to follow meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asking {
    claim: Claim,
    base: Seq,
}

impl Asking {
    /// A request that begins now. `applied` is the edge's own number that lookups see; whatever is
    /// validated must have been judged since it was read. `None` where no parent may be asked: the
    /// edge follows no log yet, or has not caught up since it started or rejoined
    /// ([`Position::caught_up`]).
    pub fn begin(position: &Position, applied: Seq) -> Option<Self> {
        if !position.caught_up(applied) {
            return None;
        }
        let log = position.log()?.clone();
        let applied = position.in_log(applied)?.min(position.at());
        let claim = Claim { log, applied, mark: position.mark_of(applied)? };
        Some(Self { claim, base: position.base() })
    }

    /// What the parent is told.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What the edge had applied when it asked, in its own numbers: the stamp to hold meanwhile.
    pub fn begun(&self) -> Seq {
        self.base + self.claim.applied
    }
}

/// The filled_at_seq that an edge gives a response from a parent, in the edge's own numbers. Never
/// more than what it had applied when it asked: a higher seq of the parent's may be of a history
/// that the edge never sees, and a purge that came while it waited may be of another.
///
/// `reach` is the own number below which the edge's index cannot judge
/// ([`crate::invalidation::Index::reach`]): there it takes the parent's word. `None`: nobody can
/// say what the response is worth; the edge asks again past the parent's store.
pub fn received(asking: &Asking, reach: Seq, provenance: Option<&Provenance>) -> Option<Seq> {
    let Asking { claim, base } = asking;
    let provenance = provenance.filter(|provenance| provenance.log == claim.log)?;
    if provenance.checked < claim.applied || asking.begun() < reach {
        return None;
    }
    let filled_at = base + provenance.filled_at.min(claim.applied);
    Some(filled_at.max(reach))
}

/// The filled_at_seq of a fetch during which the applied seq went from `begun` to `ended`: what it
/// brings may be from before any purge that came meanwhile (invariant I2).
#[inline]
pub fn stamp(begun: Seq, ended: Seq) -> Seq {
    if cfg!(weir_fault = "stamp_at_end") { ended } else { begun }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Welcome;
    use proptest::prelude::*;

    fn log() -> impl Strategy<Value = LogId> {
        "[A-Za-z0-9._-]{1,64}".prop_map(LogId)
    }

    fn begin(position: &Position) -> Option<Asking> {
        Asking::begin(position, position.applied())
    }

    /// A node that follows `log` from its beginning up to `at`.
    fn position(log: &str, at: Seq) -> Position {
        let mut position = Position::default();
        let (log, member) = (LogId(log.into()), "member".into());
        let welcome = Welcome { log, member, after: 0, mark: 0, keep: false, head: 0 };
        position.welcomed(&welcome);
        for seq in 1..=at {
            position.take(seq, seq * 3).expect("no gap");
        }
        position
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            log in log(), filled_at in 0..=LARGEST_SEQ, checked in 0..=LARGEST_SEQ, mark: u64
        ) {
            let claim = Claim { log: log.clone(), applied: filled_at, mark };
            prop_assert_eq!(Claim::parse(claim.to_string().as_bytes()), Some(claim));
            let provenance = Provenance { log, filled_at, checked };
            prop_assert_eq!(Provenance::parse(provenance.to_string().as_bytes()), Some(provenance));
        }

        /// One spelling a value: what is read at all is what would be written.
        #[test]
        fn nothing_else_is_read(text in "[ab./0-9 +-]{0,24}", bytes: Vec<u8>) {
            if let Some(claim) = Claim::parse(text.as_bytes()) {
                prop_assert_eq!(claim.to_string(), text.clone());
            }
            if let Some(provenance) = Provenance::parse(text.as_bytes()) {
                prop_assert_eq!(provenance.to_string(), text);
            }
            let read = Claim::parse(&bytes);
            prop_assert!(read.is_none_or(|claim| claim.to_string().as_bytes() == bytes));
        }

        /// Never newer than it is nor than what was applied when it was asked for, but where the
        /// parent vouches for what the edge cannot judge.
        #[test]
        fn what_is_received_is_no_newer_than_it_is(
            at in 0u64..12, filled_at in 0u64..20, checked in 0u64..20, reach in 0u64..20, same: bool
        ) {
            let asking = begin(&position("a", at)).expect("it has caught up");
            let log = LogId(if same { "a" } else { "b" }.into());
            let provenance = Provenance { log, filled_at, checked };
            let base = asking.begun() - at;
            if let Some(seq) = received(&asking, reach, Some(&provenance)) {
                prop_assert!(same && checked >= at && seq >= reach && seq <= asking.begun());
                prop_assert!(seq <= base + filled_at || seq == reach);
            } else {
                prop_assert!(!same || checked < at || asking.begun() < reach);
            }
            prop_assert_eq!(received(&asking, reach, None), None);
        }
    }

    #[test]
    fn bounds_hold() {
        for refused in [
            "",
            "/",
            "a",
            "a/",
            "/1/1",
            "a/1",
            "a/1/",
            "a/1/2/3",
            "a/01/0",
            "a/-1/0",
            "a/+1/0",
            "a/1 /0",
            " a/1/0",
            "a b/1/0",
            "a/1000000000000000/0",
            "a/1/18446744073709551616",
            "\u{e9}/1/0",
        ] {
            assert_eq!(Claim::parse(refused.as_bytes()), None, "{refused:?}");
        }
        let long = "a".repeat(LONGEST_LOG + 1);
        assert_eq!(Claim::parse(format!("{long}/1/1").as_bytes()), None);
        assert!(Claim::parse(format!("{}/{LARGEST_SEQ}/1", &long[1..]).as_bytes()).is_some());
        assert_eq!(Provenance::parse(b"a/1"), None);
        assert_eq!(Provenance::parse(b"a/1/1000000000000000"), None);
    }

    #[test]
    fn only_the_key_is_the_key() {
        assert!(is_key("secret", b"secret"));
        for shown in [&b""[..], b"secre", b"secret ", b"Secret"] {
            assert!(!is_key("secret", shown));
        }
        assert!(!is_key("", b""), "no key opens nothing");
    }

    #[test]
    fn a_parent_judges_seqs_of_its_own_history_only() {
        let parent = position("a", 9);
        let claim = |log: &str, applied, mark| Claim { log: LogId(log.into()), applied, mark };
        assert_eq!(admit(&Position::default(), 0, &claim("a", 1, 3)), Admission::OtherLog);
        assert_eq!(admit(&parent, parent.applied(), &claim("b", 1, 3)), Admission::OtherLog);
        assert_eq!(admit(&parent, parent.applied(), &claim("a", 9, 27)), Admission::Ordinary);
        assert_eq!(admit(&parent, parent.applied(), &claim("a", 9, 28)), Admission::OtherLog);
        assert_eq!(admit(&parent, parent.applied(), &claim("a", 10, 30)), Admission::Behind);
        assert_eq!(admit(&position("a", 5000), 5001, &claim("a", 1, 3)), Admission::Apart);
    }
}
