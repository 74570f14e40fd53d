//! Holding everything stored against the log: a walk reads footers, never bodies.
//!
//! It visits segments from the oldest to the one that is written, also those that begin meanwhile.
//! Records move only towards newer segments, so that none is missed.

use super::Volume;
use super::reading::Found;
use super::updated;
use super::writer::identity;
use crate::format::footer::{Entry, EntryWhat};
use crate::index::Record;
use crate::response::{Seq, Stamps};

/// A stored response, as purges judge it.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The digest of its URL.
    pub url: u64,
    /// Its site.
    pub site: &'a str,
    /// Its cache key.
    pub key: &'a [u8],
    /// Its tags.
    pub tags: &'a [Box<str>],
    /// What it was judged by.
    pub stamps: Stamps,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
    /// It stays, and a soft purge of this seq matched it.
    Soften(Seq),
}

/// A walk over everything stored.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Every response is judged by all purges up to here.
    upto: Seq,
    /// The generation that was visited last.
    last: u64,
    is_over: bool,
    removed: u64,
}

impl Walk {
    /// Whether everything that was stored when it began was visited.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The seq up to which everything is judged once it is over.
    pub fn upto(&self) -> Seq {
        self.upto
    }

    /// Responses that it removed.
    pub fn removed(&self) -> u64 {
        self.removed
    }
}

impl Volume {
    /// Begins a walk that judges by all purges up to `upto`, which must be applied. What is handed in
    /// meanwhile with a lower `valid_at` is judged by whoever holds its stamp.
    pub fn walk(&self, upto: Seq) -> Walk {
        Walk { upto, last: 0, is_over: false, removed: 0 }
    }

    /// Visits one segment. Waits for the disk. After the last segment the walk is over: when what was
    /// appended until then is committed, `checked` may be raised to its seq.
    pub fn step(&self, walk: &mut Walk, mut judge: impl FnMut(&Judged<'_>) -> Verdict) {
        let mut writer = self.writer();
        let next = writer.sealed.range(walk.last + 1..).next().map(|(at, slot)| (*at, *slot));
        if let Some((generation, slot)) = next {
            drop(writer);
            match self.footers(slot, generation) {
                Some(entries) => {
                    let all = (slot, generation, u32::MAX);
                    self.judge(walk, all, &entries, &mut judge);
                }
                // What cannot be judged must go, unless it is gone already.
                None => {
                    let mut writer = self.writer();
                    if writer.sealed.remove(&generation).is_some() {
                        self.retire(&mut writer, generation, slot, None);
                    }
                }
            }
            walk.last = generation;
            return;
        }
        // Nothing is written meanwhile.
        self.flush(&mut writer);
        walk.is_over = true;
        let Some(open) = &writer.open else { return };
        let (slot, generation) = (open.slot, open.generation);
        if let Some(entries) = self.footers(slot, generation) {
            let part = (slot, generation, open.position() as u32);
            self.judge(walk, part, entries.iter().chain(&open.entries), &mut judge);
        } else {
            self.seal(&mut writer);
            writer.sealed.remove(&generation);
            self.retire(&mut writer, generation, slot, None);
        }
    }

    fn judge<'e>(
        &self,
        walk: &mut Walk,
        (slot, generation, end): (u32, u64, u32),
        entries: impl IntoIterator<Item = &'e Entry>,
        judge: &mut impl FnMut(&Judged<'_>) -> Verdict,
    ) {
        for entry in entries {
            let EntryWhat::Response { site, key, tags, stamps, .. } = &entry.what else { continue };
            let (digest, _, _) = identity(entry);
            let is_it =
                |record: &Record| record.at.slot == slot && record.at.offset == entry.offset;
            let is_live = || self.slot(slot).generation() == generation;
            let record = self.index.part(digest).find(digest, is_it).pop();
            let Some(record) = record.filter(|_| is_live()) else { continue };
            let judged = self.slot(slot).judged(entry.offset);
            let stamps = updated(*stamps, judged, record.is_soft);
            let verdict = judge(&Judged { url: entry.url, site, key, tags, stamps });
            match verdict {
                Verdict::Keep => {}
                Verdict::Remove => {
                    let found = Found { digest, record, generation };
                    walk.removed += self.remove(&found).responses as u64;
                }
                Verdict::Soften(seq) => {
                    let mut part = self.index.part(digest);
                    if is_live() {
                        self.soften_in(&mut part, digest, record.at, generation, seq);
                    }
                }
            }
        }
        if self.slot(slot).generation() == generation {
            self.slot(slot).raise_judged(walk.upto, end);
        }
    }
}
