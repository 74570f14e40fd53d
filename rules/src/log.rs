//! The invalidation log as both of its ends see it: what an entry is, where a node stands in it,
//! and what a node may keep when it comes back (invariant I4).
//!
//! A node counts in numbers of its own, which only grow: those of the log it follows, shifted by
//! a base. When it comes to follow another log, or the same one after a gap, the base is raised
//! above every number in use, so that nothing stored or under way from before can seem newer than
//! a purge of the new log. That works because no number in use is above what the node has applied:
//! whatever it is told by others is cut down to that ([`crate::tier::received`]).

use crate::invalidation::{Purge, Seq};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
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
    /// After a restart with a store that outlived it, and until the node is back at `applied`: the
    /// checked mark, up to which everything stored has been held against the log. The entries
    /// after it are wanted again. `applied` and its mark are kept too, and durable before the node
    /// publishes that seq to its lookups: the checked mark alone would not tell of a log that was restored to below
    /// what was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Seq>,
}

impl Standing {
    /// The seq after which entries are wanted.
    fn wanted_after(&self) -> Seq {
        self.checked.map_or(self.applied, |checked| checked.min(self.applied))
    }
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
    /// The node gets a new membership: another process that ran under its name, and comes back
    /// later, must not pass for it, since purges were completed without that one.
    Empty(Seq),
    /// Nothing, and the log itself is not what it was: it was restored from a backup, for the node
    /// has applied what control made and the log does not hold. Control must give it a new id first.
    Restored,
}

/// Judges what a node may keep. `member` is the membership that control has on record for the
/// node's name; `mark_of` tells an entry's mark while the log holds it. `is_made` says whether control made
/// a mark for the entry of a seq in this life of the log, also one that it has lost since; it is asked, at
/// most once, of what contradicts the log. A node that cannot show such a mark says what is not so: it may
/// keep nothing, and nobody else loses anything.
pub fn resume(
    standing: &Standing,
    member: Option<&str>,
    reach: &Reach<'_>,
    mark_of: impl Fn(Seq) -> Option<Mark>,
    is_made: impl FnOnce(Seq, Mark) -> bool,
) -> Resume {
    let empty = Resume::Empty(reach.forgotten);
    if standing.log.as_ref() != Some(reach.log) {
        return empty;
    }
    let contradicts = || match is_made(standing.applied, standing.mark) {
        true => Resume::Restored,
        false => empty,
    };
    if standing.applied > reach.head {
        return contradicts();
    }
    let mark = match standing.applied {
        0 => Some(0),
        seq if seq == reach.forgotten => Some(reach.forgotten_mark),
        seq => mark_of(seq),
    };
    match mark {
        Some(mark) if mark != standing.mark => contradicts(),
        // Forgotten meanwhile: purges were called completed without it.
        _ if standing.member.is_none() || standing.member.as_deref() != member => empty,
        Some(_) if standing.wanted_after() >= reach.forgotten => {
            Resume::After(standing.wanted_after())
        }
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
    /// The last seq of the log when this was sent: the node's lease is renewed once it has applied
    /// the entries up to it ([`crate::lease`]).
    pub head: Seq,
}

/// Marks that a node remembers, of the entries it took last: enough to compare its history with
/// that of a node some thousand entries behind.
const TRAIL: usize = 4096;

/// A node's place in the log that it follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    standing: Standing,
    /// The last seq that this process has applied; below `standing.applied` while what a restart
    /// left is held against the log again.
    at: Seq,
    /// The node's own number of the log's seq 0.
    base: Seq,
    /// The seq that must be applied before the node has caught up with what was promised in its
    /// name; [`Seq::MAX`] until control has said whether that still is the log.
    due: Seq,
    /// The marks of the last entries up to `at`.
    trail: VecDeque<Mark>,
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
    /// A place that was kept over a restart, together with a store: `standing.checked` is the
    /// checked mark. What was stored below `base` is of another log: the index's floor must be
    /// raised to it. Nothing stored may be seen before [`Position::caught_up`].
    pub fn restored(standing: Standing, base: Seq) -> Self {
        let at = standing.wanted_after();
        Self { standing, at, base, due: Seq::MAX, trail: VecDeque::new() }
    }

    /// What to tell control.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The log that the node follows; `None` before its first.
    pub fn log(&self) -> Option<&LogId> {
        self.standing.log.as_ref()
    }

    /// The last seq that this process has applied, in the log's numbers.
    pub fn at(&self) -> Seq {
        self.at
    }

    /// The node's own number of the log's seq 0.
    pub fn base(&self) -> Seq {
        self.base
    }

    /// The node's own number of what it applied last. No other number in use is above it.
    pub fn applied(&self) -> Seq {
        self.base + self.at
    }

    /// The log's number for one of the node's own; `None` for one from before this log.
    pub fn in_log(&self, own: Seq) -> Option<Seq> {
        own.checked_sub(self.base)
    }

    /// The mark of an entry that the node took, while it remembers it.
    pub fn mark_of(&self, seq: Seq) -> Option<Mark> {
        if seq == 0 {
            return Some(0);
        }
        let back = usize::try_from(self.at.checked_sub(seq)?).ok()?;
        let place = self.trail.len().checked_sub(back + 1)?;
        self.trail.get(place).copied()
    }

    /// Whether the node has applied all that it may have acknowledged before a restart, or that
    /// was completed without it. Until then nothing that outlived a restart may be seen, and no
    /// parent be asked: one that is as far behind would answer with what was purged. `applied` is
    /// the node's own number that lookups see: the position may be ahead of the index by an entry.
    pub fn caught_up(&self, applied: Seq) -> bool {
        self.in_log(applied).is_some_and(|applied| applied >= self.due)
    }

    /// Takes control's answer. Where it may not keep what it has, returns the floor, in the node's
    /// own numbers: whatever was fetched at a lower number is not trusted from now on. The floor
    /// must be raised, and [`Position::applied`] published, before anything else is done.
    ///
    /// The first welcome of a process says what is due: purges up to the head may have been completed
    /// without it.
    pub fn welcomed(&mut self, welcome: &Welcome) -> Option<Seq> {
        self.standing.log = Some(welcome.log.clone());
        self.standing.member = Some(welcome.member.clone());
        if welcome.keep {
            if self.due == Seq::MAX {
                self.due = self.standing.applied.max(welcome.head);
            }
            if self.trail.is_empty() && welcome.after == self.at && self.at > 0 {
                self.trail.push_back(welcome.mark);
            }
            return None;
        }
        self.base += self.at.max(self.standing.applied) + 1;
        self.at = welcome.after;
        self.due = welcome.head;
        self.standing.applied = welcome.after;
        self.standing.mark = welcome.mark;
        self.standing.checked = None;
        self.trail.clear();
        if self.at > 0 {
            self.trail.push_back(welcome.mark);
        }
        Some(self.applied())
    }

    /// Takes the next entry's seq and mark; returns the node's own number for it. An entry that
    /// was taken before is `None`.
    ///
    /// # Errors
    /// Entries are missing before it.
    pub fn take(&mut self, seq: Seq, mark: Mark) -> Result<Option<Seq>, Gap> {
        let due = self.at + 1;
        if seq < due {
            return Ok(None);
        }
        if seq > due {
            return Err(Gap { due, came: seq });
        }
        self.at = seq;
        if self.trail.len() == TRAIL {
            self.trail.pop_front();
        }
        self.trail.push_back(mark);
        if seq < self.standing.applied {
            self.standing.checked = Some(seq);
        } else {
            self.standing.checked = None;
            self.standing.applied = seq;
            self.standing.mark = mark;
        }
        Ok(Some(self.applied()))
    }
}
