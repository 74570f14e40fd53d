//! What nodes tell each other about seqs (invariants I2 and I3), as pure rules: what an edge asks
//! a parent with, what the parent may answer with, and what the edge makes of it.
//!
//! All seqs here are in the log's own numbers.

use crate::invalidation::Seq;
use crate::log::LogId;

/// What an edge says with each request to a parent: the log it follows and what it has applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The log.
    pub log: LogId,
    /// The last seq that it applied.
    pub applied: Seq,
}

/// What a parent says with each response to an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The log.
    pub log: LogId,
    /// The seq that the origin-facing node had applied when the fetch (or validation) began.
    pub filled_at: Seq,
    /// The seq up to which the parent has held this response against the log.
    pub checked: Seq,
}

/// How a parent meets a request of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// As any request.
    Ordinary,
    /// The edge has applied more: the parent waits until it has too, or passes the request on
    /// without its store and without joining older fills, and stamps the new fill with the edge's
    /// seq.
    Behind,
    /// They follow different logs: seqs cannot be compared, so the parent must not answer.
    OtherLog,
}

/// Judges how a parent that follows `log` up to `applied` meets an edge's request.
pub fn admit(log: Option<&LogId>, applied: Seq, claim: &Claim) -> Admission {
    if log != Some(&claim.log) {
        Admission::OtherLog
    } else if claim.applied > applied {
        Admission::Behind
    } else {
        Admission::Ordinary
    }
}

/// The filled_at_seq that an edge gives a response from a parent. `reach` is the seq up to which
/// the edge's own log was forgotten: below it the edge cannot judge for itself, so it takes the
/// parent's word where that reaches as far. `None`: nobody can say what the response is worth.
pub fn received(log: Option<&LogId>, reach: Seq, provenance: Option<&Provenance>) -> Option<Seq> {
    let provenance = provenance.filter(|provenance| log == Some(&provenance.log))?;
    if provenance.filled_at >= reach {
        Some(provenance.filled_at)
    } else {
        (provenance.checked >= reach).then_some(reach)
    }
}

/// The filled_at_seq of a fetch during which the applied seq went from `begun` to `ended`: what it
/// brings may be from before any purge that came meanwhile (invariant I2).
#[inline]
pub fn stamp(begun: Seq, ended: Seq) -> Seq {
    if cfg!(weir_fault = "stamp_at_end") { ended } else { begun }
}
