//! The invalidation log as both of its ends see it: what an entry is, where a node stands in it,
//! and what a node may keep when it comes back (invariant I4).
//!
//! A node counts in numbers of its own, which only grow: those of the log it follows, shifted by
//! a base. When it comes to follow another log, or the same one after a gap, the base is raised
//! above every number in use, so that nothing stored or under way from before can seem newer than
//! a purge of the new log.

use crate::invalidation::{Purge, Seq};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The random name of a log's life. Seqs of two lives cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub String);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A random number that an entry got when it was appended. Two logs that went on from one backup
/// have the same id and the same seqs, but not the same marks.
pub type Mark = u64;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1, without gaps.
    pub seq: Seq,
    /// Its mark.
    pub mark: Mark,
    /// What it says.
    pub change: Change,
}

/// What an entry of the log changes on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Something stored is to be forgotten; its seq is the entry's.
    Purge(Purge),
    /// A site shows another release from now on.
    Release(Release),
}

/// The release that a site shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The site's id.
    pub site: String,
    /// The release's name; `None` for none.
    pub name: Option<String>,
}

/// Where a node stands, as it tells control when it connects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// The log it follows; `None` before its first.
    pub log: Option<LogId>,
    /// Its membership, as control named it; `None` before its first. A node that was forgotten
    /// has one that control does not know.
    pub member: Option<String>,
    /// The last seq that it applied, in the log's numbers.
    pub applied: Seq,
    /// That entry's mark; 0 where `applied` is 0.
    pub mark: Mark,
}

/// What control knows of its log when a node connects.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    /// The log's id.
    pub log: &'a LogId,
    /// Entries up to this seq are gone; 0 when none is.
    pub forgotten: Seq,
    /// The mark of the entry `forgotten`; 0 where that is 0.
    pub forgotten_mark: Mark,
    /// The last seq.
    pub head: Seq,
}

/// What a node that connects may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// All it has: the entries after this seq follow.
    After(Seq),
    /// Nothing: the entries after this seq follow, and whatever was fetched before is not trusted.
    Empty(Seq),
    /// Nothing, and the log itself is not what it was: it was restored from a backup, for the node
    /// has applied what the log does not hold. Control must give it a new id first.
    Restored,
}

/// Judges what a node may keep. `member` is the membership that control has on record for the
/// node's name; `mark_of` tells an entry's mark while the log holds it.
pub fn resume(
    standing: &Standing,
    member: Option<&str>,
    reach: &Reach<'_>,
    mark_of: impl Fn(Seq) -> Option<Mark>,
) -> Resume {
    let empty = Resume::Empty(reach.forgotten);
    if standing.log.as_ref() != Some(reach.log) {
        return empty;
    }
    if standing.applied > reach.head {
        return Resume::Restored;
    }
    let mark = match standing.applied {
        0 => Some(0),
        seq if seq == reach.forgotten => Some(reach.forgotten_mark),
        seq => mark_of(seq),
    };
    match mark {
        Some(mark) if mark != standing.mark => Resume::Restored,
        // Forgotten meanwhile: purges were called completed without it.
        _ if standing.member.is_none() || standing.member.as_deref() != member => empty,
        Some(_) if standing.applied >= reach.forgotten => Resume::After(standing.applied),
        _ => empty,
    }
}

/// Control's answer to a node that connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The log.
    pub log: LogId,
    /// The node's membership from now on.
    pub member: String,
    /// The entries after this seq follow.
    pub after: Seq,
    /// The mark of the entry `after`; 0 where `after` is 0.
    pub mark: Mark,
    /// Whether the node may keep what it has.
    pub keep: bool,
    /// The last seq of the log.
    pub head: Seq,
}

/// A node's place in the log that it follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    standing: Standing,
    /// The node's own number of the log's seq 0.
    base: Seq,
}

/// An entry did not come where it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The seq that was due.
    pub due: Seq,
    /// The one that came.
    pub came: Seq,
}

impl Position {
    /// A place that was kept over a restart: `standing.applied` is the checked mark, below which
    /// everything stored has been held against the log.
    pub fn restored(standing: Standing, base: Seq) -> Self {
        Self { standing, base }
    }

    /// What to tell control.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The node's own number of the log's seq 0.
    pub fn base(&self) -> Seq {
        self.base
    }

    /// The node's own number of what it applied last.
    pub fn applied(&self) -> Seq {
        self.base + self.standing.applied
    }

    /// Takes control's answer. Where it may not keep what it has, returns the floor, in the node's
    /// own numbers: whatever was fetched at a lower number is not trusted from now on. The floor
    /// must be raised, and [`Position::applied`] published, before anything else is done.
    pub fn welcomed(&mut self, welcome: &Welcome) -> Option<Seq> {
        let before = self.applied();
        let first = self.standing.log.is_none();
        self.standing.log = Some(welcome.log.clone());
        self.standing.member = Some(welcome.member.clone());
        if welcome.keep {
            return None;
        }
        // What was fetched before any log was followed is held against all that this one still
        // has, so it needs no new base.
        self.base = if first { 0 } else { before + 1 };
        self.standing.applied = welcome.after;
        self.standing.mark = welcome.mark;
        Some(self.applied())
    }

    /// Takes the next entry's seq and mark; returns the node's own number for it. An entry that
    /// was taken before is `None`.
    ///
    /// # Errors
    /// Entries are missing before it.
    pub fn take(&mut self, seq: Seq, mark: Mark) -> Result<Option<Seq>, Gap> {
        let due = self.standing.applied + 1;
        if seq < due {
            return Ok(None);
        }
        if seq > due {
            return Err(Gap { due, came: seq });
        }
        self.standing.applied = seq;
        self.standing.mark = mark;
        Ok(Some(self.applied()))
    }
}
