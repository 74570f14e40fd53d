//! What was written is found from then on, unless something came between.

use super::Volume;
use super::queue::{Item, Written};
use super::writer::{Open, Origin, Staged, Writer, identity};
use crate::format::aligned;
use crate::format::journal::Change;
use crate::index::{Location, Record};

impl Volume {
    /// Writes the buffer; what is in it is found from then on.
    pub(super) fn flush(&self, writer: &mut Writer) {
        let Some(open) = &mut writer.open else { return };
        if open.buffer.is_empty() {
            return;
        }
        let begin = self.geometry.begin(open.slot) + open.written as u64;
        let written = self.segments.write_at(&open.buffer, begin);
        let staged = std::mem::take(&mut open.staged);
        if let Err(error) = written {
            self.counters.errors.add(1);
            open.buffer = Vec::new();
            staged.into_iter().for_each(|staged| self.drop_staged(staged));
            return self.failed(writer, &error);
        }
        self.counters.bytes_written.add(open.buffer.len() as u64);
        open.written += open.buffer.len();
        open.buffer.clear();
        writer.failures = 0;
        for staged in staged {
            self.publish(open, staged);
        }
    }

    /// A record was written: it is found from now on, unless something came between.
    fn publish(&self, open: &mut Open, staged: Staged) {
        let Staged { entry, origin, bytes } = staged;
        let at = Location { slot: open.slot, offset: entry.offset, length: aligned(bytes) as u32 };
        let (digest, variant, kind) = identity(&entry);
        let mut part = self.index.part(digest);
        let mut hold = None;
        let mut new = Record { variant, at, kind, is_hit: false, is_soft: false };
        let is_same = |old: &Record| old.kind == kind && old.variant == variant;
        let replaced = match origin {
            Origin::Queue(pending) => {
                if pending.is_revoked() || self.has_failed() {
                    self.counters.dropped.add(1);
                    return;
                }
                // Dropped once it is in the index.
                hold = pending.take_hold();
                part.arrived(&pending);
                self.counters.admitted.add(1);
                // The one that this one extends.
                for old in part.remove(digest, is_same) {
                    if old.is_soft {
                        new.is_soft = true;
                        let seq = self.slot(old.at.slot).judged(old.at.offset).max(1);
                        let (generation, offset) = (open.generation, at.offset);
                        self.journal.append(&Change::Soften { generation, offset, seq });
                    }
                    self.forget(&mut part, digest, old.at);
                }
                part.insert(digest, new)
            }
            Origin::Slice(told) => {
                if self.has_failed() {
                    return;
                }
                hold = told;
                // The same bytes, fetched twice.
                for old in part.remove(digest, is_same) {
                    self.forget(&mut part, digest, old.at);
                }
                part.insert(digest, new)
            }
            Origin::Segment(found) => {
                let old = found.record.at;
                let Some(record) = part.remove(digest, |record| record.at == old).pop() else {
                    return;
                };
                if record.is_soft {
                    // Noted since it was read: the new copy does not say so.
                    let seq = self.slot(old.slot).judged(old.offset).max(1);
                    let generation = open.generation;
                    self.journal.append(&Change::Soften { generation, offset: at.offset, seq });
                }
                self.forget(&mut part, digest, old);
                self.counters.moved.add(1);
                part.insert(digest, Record { is_soft: record.is_soft, ..new })
            }
        };
        self.slot(at.slot).add_live();
        self.counters.writes.add(1);
        open.entries.push(entry);
        if let Some(replaced) = replaced {
            self.forget(&mut part, digest, replaced.at);
        }
        drop(hold);
    }

    fn drop_staged(&self, staged: Staged) {
        if let Origin::Queue(pending) = &staged.origin {
            self.index.part(staged.entry.url).arrived(pending);
            self.counters.dropped.add(1);
        }
    }

    pub(super) fn refuse(&self, item: Item) {
        if let Written::Response { head, pending, .. } = &item.what {
            self.index.part(head.url).arrived(pending);
            self.counters.dropped.add(1);
        }
    }
}
