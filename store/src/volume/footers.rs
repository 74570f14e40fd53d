//! The footers of segments: written about what was written, and read by walks and evictions.

use super::Volume;
use super::writer::{Open, Writer, identity};
use crate::format::SECTOR;
use crate::format::footer::{self, Entry, EntryWhat, FOOTER_BOUND, FooterPlace, entry_bound};
use crate::format::trailer::{TRAILERS, Trailer};
use crate::index::Record;
use crate::response::Seq;
use std::io;

/// Whether a checkpoint with this number covers a record: a record must not be recoverable before a
/// checkpoint at least as late as what it was judged by.
fn is_covered(entry: &Entry, applied: Seq) -> bool {
    match &entry.what {
        EntryWhat::Response { stamps, .. } => stamps.valid_at <= applied,
        EntryWhat::Slice(_) => true,
    }
}

impl Volume {
    /// Writes a footer about the records since the last one. Those that no durable checkpoint covers
    /// wait for the next footer, and are dropped if there is none.
    pub(super) fn write_footer(&self, writer: &mut Writer, is_last: bool) {
        let Some(open) = &mut writer.open else { return };
        let are_covered = |applied| open.entries.iter().all(|entry| is_covered(entry, applied));
        if is_last
            && !are_covered(self.journal.applied())
            && let Err(error) = self.journal.commit_all()
        {
            return self.fail(&error);
        }
        let applied = self.journal.applied();
        let entries = std::mem::take(&mut open.entries);
        let (ready, late): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| is_covered(entry, applied));
        match is_last {
            true => late.iter().for_each(|entry| self.drop_unlisted(open.slot, entry)),
            false => open.entries = late,
        }
        open.footer_bound = FOOTER_BOUND + open.entries.iter().map(entry_bound).sum::<usize>();
        if !ready.is_empty() && self.append_footer(open, &ready).is_err() {
            self.counters.errors.add(1);
            // What is in no footer cannot be judged.
            ready.iter().for_each(|entry| self.drop_unlisted(open.slot, entry));
        }
    }

    pub(super) fn append_footer(&self, open: &mut Open, entries: &[Entry]) -> io::Result<()> {
        let offset = open.position();
        let bytes =
            footer::encode(self.place(open.generation, offset as u32), open.footer, entries);
        let at = FooterPlace { offset: offset as u32, length: bytes.len() as u32 };
        let trailer = Trailer { number: open.trailers + 1, footer: at };
        // By turns, so that one of the two is always whole.
        let sector =
            self.geometry.segment as usize - TRAILERS + trailer.number as usize % 2 * SECTOR;
        let begin = self.geometry.begin(open.slot);
        self.segments.write_at(&bytes, begin + offset as u64)?;
        let trailer_bytes = trailer.encode(self.place(open.generation, sector as u32));
        self.segments.write_at(&trailer_bytes, begin + sector as u64)?;
        self.counters.bytes_written.add((bytes.len() + SECTOR) as u64);
        open.written = offset + bytes.len();
        open.footer = at;
        open.trailers = trailer.number;
        self.slot(open.slot).set_footer(at);
        Ok(())
    }

    fn drop_unlisted(&self, slot: u32, entry: &Entry) {
        let (digest, _, _) = identity(entry);
        let mut part = self.index.part(digest);
        let is_it = |record: &Record| record.at.slot == slot && record.at.offset == entry.offset;
        for record in part.remove(digest, is_it) {
            self.forget(&mut part, digest, record.at);
            self.counters.dropped.add(1);
        }
    }

    /// What all footers of a segment say; `None` if one of them is damaged or cannot be read.
    pub(super) fn footers(&self, slot: u32, generation: u64) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut at = self.slot(slot).footer();
        while at.length > 0 {
            let footer = self.footer_at(slot, generation, at)?;
            entries.extend(footer.entries);
            // Each lies before the one that names it: the search ends.
            let before = footer.before;
            at = Some(before).filter(|before| before.length == 0 || before.offset < at.offset)?;
        }
        Some(entries)
    }

    fn footer_at(&self, slot: u32, generation: u64, at: FooterPlace) -> Option<footer::Footer> {
        let end = u64::from(at.offset) + u64::from(at.length);
        if end > self.geometry.room() as u64 {
            return None;
        }
        let mut bytes = vec![0; at.length as usize];
        let begin = self.geometry.begin(slot) + u64::from(at.offset);
        match self.segments.read_at(&mut bytes, begin) {
            Ok(read) if read == bytes.len() => {
                let footer = footer::decode(&bytes, self.place(generation, at.offset));
                self.counters.damaged.add(u64::from(footer.is_none()));
                footer
            }
            Ok(_) => None,
            Err(_) => {
                self.counters.errors.add(1);
                None
            }
        }
    }
}
