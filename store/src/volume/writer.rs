//! The segment that is written, and how it ends.

use super::Volume;
use super::queue::{Hold, Item, Written, entry_of};
use super::reading::Found;
use crate::format::footer::{Entry, EntryWhat, FOOTER_BOUND, FooterPlace, entry_bound};
use crate::format::journal::Change;
use crate::format::record::{self, Decoded, What};
use crate::format::{UNIT, aligned};
use crate::index::{Kind, Pending, slice_bits, slice_digest};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Bytes of a footer that is not put off.
const LONG_FOOTER: usize = 512 << 10;

/// Segments that could not be written, one after the other, before the volume is given up.
const MOST_FAILURES: u32 = 3;

/// What the one who writes knows. Held while anything is written.
pub(super) struct Writer {
    pub(super) open: Option<Open>,
    pub(super) free: BTreeSet<u32>,
    /// Segments that are full, by generation.
    pub(super) sealed: BTreeMap<u64, u32>,
    pub(super) next_generation: u64,
    pub(super) failures: u32,
}

/// The segment that is written.
pub(super) struct Open {
    pub(super) slot: u32,
    pub(super) generation: u64,
    /// Bytes of it that were written.
    pub(super) written: usize,
    /// What comes next.
    pub(super) buffer: Vec<u8>,
    pub(super) staged: Vec<Staged>,
    /// Records that were written, each once in the index, and are in no footer yet.
    pub(super) entries: Vec<Entry>,
    /// What a footer about them, and about those in the buffer, takes at most.
    pub(super) footer_bound: usize,
    pub(super) footer: FooterPlace,
    pub(super) trailers: u32,
}

/// A record in the buffer.
pub(super) struct Staged {
    pub(super) entry: Entry,
    pub(super) origin: Origin,
    pub(super) bytes: usize,
}

/// Where a record came from.
pub(super) enum Origin {
    /// The queue.
    Queue(Arc<Pending>),
    /// The queue; a slice is found without being waited for.
    Slice(Option<Hold>),
    /// A segment that is evicted.
    Segment(Found),
}

impl Writer {
    pub(super) fn new(free: BTreeSet<u32>, sealed: BTreeMap<u64, u32>, next: u64) -> Self {
        Self { open: None, free, sealed, next_generation: next, failures: 0 }
    }
}

impl Open {
    fn new(slot: u32, generation: u64) -> Self {
        Self {
            slot,
            generation,
            written: 0,
            buffer: Vec::new(),
            staged: Vec::new(),
            entries: Vec::new(),
            footer_bound: FOOTER_BOUND,
            footer: FooterPlace::default(),
            trailers: 0,
        }
    }

    /// Where the next record begins.
    pub(super) fn position(&self) -> usize {
        aligned(self.written + self.buffer.len())
    }

    /// Whether a record of so many bytes and what the footer says of it have room.
    fn fits(&self, bytes: usize, entry: usize, room: usize) -> bool {
        self.position() + aligned(bytes) + self.footer_bound + entry + UNIT as usize <= room
    }
}

impl Volume {
    /// Writes what waits, until the queue is empty or about `bytes` were written; whether anything
    /// is left. Waits for the disk. To be called by one thread, often.
    pub fn work(&self, bytes: usize) -> bool {
        let mut writer = self.writer();
        let mut done = 0;
        while done < bytes
            && let Some(item) = self.queue.pop()
        {
            done += item.bound();
            if self.has_failed() || item.is_revoked() {
                self.refuse(item);
            } else {
                self.write(&mut writer, item);
            }
        }
        self.flush(&mut writer);
        self.reclaim(&mut writer);
        drop(writer);
        self.queue.bytes() > 0
    }

    /// Makes what was written recoverable: after a kill of the process from when this returns, after a
    /// loss of power once the system wrote it. To be called about once a second. Waits for the disk.
    ///
    /// # Errors
    /// As [`Volume::commit`].
    pub fn settle(&self) -> io::Result<()> {
        let mut writer = self.writer();
        self.flush(&mut writer);
        self.write_footer(&mut writer, false);
        drop(writer);
        // It names the segments that began.
        if self.uncommitted() == 0 {
            return Ok(());
        }
        let committed = self.journal.commit_all();
        if let Err(error) = &committed {
            self.fail(error);
        }
        committed
    }

    /// Writes everything that waits, ends the segment, and makes all of it durable, for an orderly
    /// end.
    ///
    /// # Errors
    /// The disk failed.
    pub fn close(&self) -> io::Result<()> {
        while self.work(usize::MAX) {}
        self.seal(&mut self.writer());
        self.segments.sync()?;
        self.journal.commit_all()
    }

    pub(super) fn write(&self, writer: &mut Writer, item: Item) {
        let (entry, bound) = (item.entry(), item.bound());
        if !self.make_room(writer, bound, &entry) {
            return self.refuse(item);
        }
        let handed_in = item.handed_in();
        let Item { write_seq, what } = item;
        match what {
            Written::Response { head, form, body, pending } => {
                let origin = Origin::Queue(pending);
                self.stage(writer, entry, origin, |out, place| {
                    record::encode_response(out, place, write_seq, &head, &form, &body);
                });
            }
            Written::Slice { url, name, body, hold, .. } => {
                let origin = Origin::Slice(hold);
                self.stage(writer, entry, origin, |out, place| {
                    record::encode_slice(out, place, write_seq, url, name, &body);
                });
            }
        }
        self.counters.bytes_admitted.add(handed_in as u64);
        if writer.open.as_ref().is_some_and(|open| open.buffer.len() >= BUFFER) {
            self.flush(writer);
        }
        if writer.open.as_ref().is_some_and(|open| open.footer_bound >= LONG_FOOTER) {
            self.flush(writer);
            self.write_footer(writer, false);
        }
    }

    /// Writes a record again that is in use, with what it was judged by since. It keeps its write
    /// sequence and its filled_at_seq.
    pub(super) fn rewrite(&self, writer: &mut Writer, found: Found, decoded: Decoded) {
        let Decoded { write_seq, url, what, body } = decoded;
        match what {
            What::Response { mut head, form } => {
                self.update(&mut head, &found.record);
                let entry =
                    Entry { offset: 0, length: 0, write_seq, url, what: entry_of(&head, &form) };
                let bound = record::response_bound(&head, &form) + body.len();
                if self.make_room(writer, bound, &entry) {
                    self.stage(writer, entry, Origin::Segment(found), |out, place| {
                        record::encode_response(out, place, write_seq, &head, &form, &[body]);
                    });
                }
            }
            What::Slice(name) => {
                let what = EntryWhat::Slice(name);
                let entry = Entry { offset: 0, length: 0, write_seq, url, what };
                if self.make_room(writer, record::SLICE_BOUND + body.len(), &entry) {
                    self.stage(writer, entry, Origin::Segment(found), |out, place| {
                        record::encode_slice(out, place, write_seq, url, name, &body);
                    });
                }
            }
        }
    }

    /// Makes sure that a segment is open that has room for a record and its entry.
    fn make_room(&self, writer: &mut Writer, bytes: usize, entry: &Entry) -> bool {
        let room = self.geometry.room();
        let fits = |open: &Open| open.fits(bytes, entry_bound(entry), room);
        if writer.open.as_ref().is_some_and(fits) {
            return true;
        }
        self.seal(writer);
        self.open_segment(writer);
        writer.open.as_ref().is_some_and(fits)
    }

    /// Opens a segment, and evicts one where no other is free then.
    fn open_segment(&self, writer: &mut Writer) {
        if self.has_failed() || writer.open.is_some() {
            return;
        }
        self.make_free(writer);
        let slot = match self.take_free(writer) {
            Ok(Some(slot)) => slot,
            Ok(None) => return,
            Err(error) => {
                self.counters.errors.add(1);
                return self.failed(writer, &error);
            }
        };
        let generation = writer.next_generation;
        writer.next_generation += 1;
        self.journal.append(&Change::Open { generation, slot });
        // Responses say themselves by which purges they were judged.
        self.slot(slot).open(generation);
        writer.open = Some(Open::new(slot, generation));
        self.make_free(writer);
    }

    fn stage(
        &self,
        writer: &mut Writer,
        mut entry: Entry,
        origin: Origin,
        encode: impl FnOnce(&mut Vec<u8>, crate::format::Place),
    ) {
        let Some(open) = &mut writer.open else { return };
        let offset = open.position();
        open.buffer.resize(offset - open.written, 0);
        let begin = open.buffer.len();
        // Offsets are below the size of a segment.
        entry.offset = offset as u32;
        encode(&mut open.buffer, self.place(open.generation, entry.offset));
        let bytes = open.buffer.len() - begin;
        entry.length = bytes as u32;
        open.footer_bound += entry_bound(&entry);
        open.staged.push(Staged { entry, origin, bytes });
    }

    /// Segments could not be written: this one is left, and after a few the volume is given up.
    pub(super) fn failed(&self, writer: &mut Writer, error: &io::Error) {
        writer.failures += 1;
        if writer.failures >= MOST_FAILURES {
            return self.fail(error);
        }
        self.seal(writer);
    }

    /// Ends the segment.
    pub(super) fn seal(&self, writer: &mut Writer) {
        self.flush(writer);
        self.write_footer(writer, true);
        if let Some(open) = writer.open.take() {
            writer.sealed.insert(open.generation, open.slot);
        }
    }
}

/// What the index finds a record by.
pub(super) fn identity(entry: &Entry) -> (u64, u32, Kind) {
    match &entry.what {
        EntryWhat::Response { variant, .. } => (entry.url, *variant, Kind::Response),
        EntryWhat::Slice(name) => (slice_digest(entry.url, *name), slice_bits(*name), Kind::Slice),
    }
}
