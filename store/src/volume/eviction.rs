//! Room is made by segment, the oldest first. What was looked up since it was written moves into the
//! segment that is written then.

use super::Volume;
use super::reading::Found;
use super::writer::{Writer, identity};
use crate::format::footer::{Entry, EntryWhat, entry_bound};
use crate::format::journal::Change;
use crate::format::record;
use crate::index::{Kind, Record};
use std::sync::atomic::Ordering;

/// Of a segment's room, what may be taken by records that move into it: 1 / this.
pub(crate) const MOVED_SHARE: usize = 2;

impl Volume {
    /// Evicts the oldest segment. What is in use moves into the segment that is written, which must be
    /// new; without one, nothing moves.
    pub(super) fn evict(&self, writer: &mut Writer) {
        let Some((generation, slot)) = writer.sealed.pop_first() else { return };
        let entries = self.footers(slot, generation);
        if let Some(entries) = &entries
            && writer.open.is_some()
        {
            let mut room = self.geometry.room() / MOVED_SHARE;
            for entry in entries {
                self.move_used(writer, entry, slot, generation, &mut room);
            }
            self.flush(writer);
        }
        self.retire(writer, generation, slot, entries.as_deref());
    }

    /// Frees segments in which nothing is live.
    pub(super) fn reclaim(&self, writer: &mut Writer) {
        let is_empty = |slot: u32| self.slot(slot).live() == 0;
        let empty: Vec<_> = writer
            .sealed
            .iter()
            .filter(|(_, slot)| is_empty(**slot))
            .map(|(generation, slot)| (*generation, *slot))
            .collect();
        for (generation, slot) in empty {
            writer.sealed.remove(&generation);
            self.retire(writer, generation, slot, Some(&[]));
        }
    }

    pub(super) fn move_used(
        &self,
        writer: &mut Writer,
        entry: &Entry,
        slot: u32,
        generation: u64,
        room: &mut usize,
    ) {
        let (digest, _, _) = identity(entry);
        let is_it = |record: &Record| record.at.slot == slot && record.at.offset == entry.offset;
        let Some(record) = self.index.part(digest).find(digest, is_it).pop() else { return };
        let bytes = record.at.length as usize + entry_bound(entry);
        if !record.is_hit || bytes > *room || !self.has_owner(entry) {
            return;
        }
        let found = Found { digest, record, generation };
        let mut read = self.read(&found);
        let decoded = read
            .wait()
            .ok()
            .and_then(|()| record::decode(&read.bytes(), self.place(generation, record.at.offset)));
        match decoded {
            Some(decoded) => {
                *room -= bytes;
                self.rewrite(writer, found, decoded);
            }
            None => self.counters.damaged.add(1),
        }
    }

    /// Whether a slice can still be found: some response of its URL is there.
    fn has_owner(&self, entry: &Entry) -> bool {
        match entry.what {
            EntryWhat::Response { .. } => true,
            EntryWhat::Slice(_) => {
                let part = self.index.part(entry.url);
                part.has(entry.url, |record| record.kind == Kind::Response)
            }
        }
    }

    /// Ends a segment that was taken from the list: nothing in it is found any more, and its slot is
    /// free. Without its entries the whole index is searched.
    pub(super) fn retire(
        &self,
        writer: &mut Writer,
        generation: u64,
        slot: u32,
        entries: Option<&[Entry]>,
    ) {
        // Before anything leaves the index: who misses it there finds the moment.
        let moment = self.journal.append(&Change::Retire { generation });
        self.retired.fetch_max(moment.into(), Ordering::AcqRel);
        let mut evicted = 0;
        for entry in entries.unwrap_or_default() {
            let (digest, _, _) = identity(entry);
            let is_it = |record: &Record| record.at.slot == slot;
            evicted += self.index.part(digest).remove(digest, is_it).len();
        }
        let live = self.slot(slot).live() as usize;
        if entries.is_none() || evicted < live {
            self.index.each_part(|part| evicted += part.remove_slot(slot));
        }
        self.counters.evicted.add(evicted as u64);
        self.slot(slot).close();
        self.checked.end(generation);
        writer.free.insert(slot);
    }
}
