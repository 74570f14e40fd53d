//! What nodes tell each other about seqs (invariants I2 and I3), as pure rules: what an edge asks
//! a parent with, what the parent may answer with, and what the edge makes of it.
//!
//! Between nodes, seqs are in the log's own numbers. A log id and a seq do not say which history a
//! node has seen: while a log that was restored from a backup is not yet found out, two nodes can
//! follow one id and differ in what its last seqs were. So an edge shows the mark of its last
//! entry, and a parent compares it with its own.

use crate::invalidation::Seq;
use crate::log::{LogId, Mark, Position};

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

/// Judges how a parent at `position` meets an edge's request.
pub fn admit(position: &Position, claim: &Claim) -> Admission {
    if position.log() != Some(&claim.log) {
        return Admission::OtherLog;
    }
    if claim.applied > position.at() {
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
    /// A request that begins now. `None` where no parent may be asked: the edge follows no log
    /// yet, or has not caught up since it was started or let in anew ([`Position::caught_up`]).
    pub fn begin(position: &Position) -> Option<Self> {
        if !position.caught_up() {
            return None;
        }
        let (log, applied) = (position.log()?.clone(), position.at());
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
