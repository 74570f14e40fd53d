//! Long bodies that the kernel sends from the page cache: they are not copied, and not checked each time.
//!
//! INVARIANT: no socket has pages of a slot that is written anew. A slot is taken only when nothing is sent
//! from it, and given up first: the pages that sockets have queued leave the page cache, and stay as they
//! are.

use super::Volume;
use super::checked::LONG;
use super::reading::{Body, Found, StoredResponse};
use super::writer::Writer;
use crate::format::record::{self, DecodedHead, What};
use bytes::Bytes;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};

/// Bytes of a record that are read for its head. One with a longer head is read as a whole.
const HEAD: u32 = 8 << 10;

/// The page cache may hold pages together, at most so many bytes. Segments begin and end between them: one
/// that is given up in part is changed in place.
const LARGEST_FOLIO: u32 = 2 << 20;

/// Of the slots, 1 / this may be held back for those who are still being sent what was there.
const HELD_BACK: usize = 32;

/// Bytes of a body that were checked and lie in the page cache.
pub struct CachedBytes {
    /// A volume is closed although clients are slow.
    volume: Weak<Volume>,
    slot: u32,
    generation: u64,
    /// In the file.
    begin: u64,
    length: usize,
}

impl CachedBytes {
    fn of(volume: &Arc<Volume>, found: &Found) -> Self {
        let at = found.record.at;
        volume.slot(at.slot).add_reader();
        Self {
            volume: Arc::downgrade(volume),
            slot: at.slot,
            generation: found.generation,
            begin: volume.geometry.begin(at.slot) + u64::from(at.offset),
            length: at.length as usize,
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// A part of them. One that ends behind them ends with them.
    pub fn part(&self, range: Range<usize>) -> Self {
        let mut part = self.clone();
        let begin = range.start.min(self.length);
        part.begin += begin as u64;
        part.length = range.end.min(self.length).saturating_sub(begin);
        part
    }

    /// Has the kernel send bytes to a socket, from the byte `from` on; returns how many.
    ///
    /// # Errors
    /// `WouldBlock` if the socket takes nothing now. Otherwise the rest cannot be sent: the connection, the
    /// disk, or the segment is gone.
    pub fn send(&self, socket: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        let gone = || io::Error::other("it is not on the disk any more");
        let volume = self.volume.upgrade().ok_or_else(gone)?;
        let begin = self.begin + from as u64;
        let send = || volume.segments.send(socket, begin, self.length.saturating_sub(from));
        let sent = volume.slot(self.slot).sending(self.generation, send).ok_or_else(gone)?;
        match sent {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => {
                volume.counters.bytes_sent.add(sent as u64);
                Ok(sent)
            }
            Err(error) => Err(error),
        }
    }
}

impl Clone for CachedBytes {
    fn clone(&self) -> Self {
        if let Some(volume) = self.volume.upgrade() {
            volume.slot(self.slot).add_reader();
        }
        let Self { slot, generation, begin, length, .. } = *self;
        Self { volume: Weak::clone(&self.volume), slot, generation, begin, length }
    }
}

impl Drop for CachedBytes {
    fn drop(&mut self) {
        if let Some(volume) = self.volume.upgrade() {
            volume.slot(self.slot).remove_reader();
        }
    }
}

impl PartialEq for CachedBytes {
    fn eq(&self, other: &Self) -> bool {
        let place = |bytes: &Self| (bytes.generation, bytes.begin, bytes.length);
        place(self) == place(other) && Weak::ptr_eq(&self.volume, &other.volume)
    }
}

impl Eq for CachedBytes {}

impl fmt::Debug for CachedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedBytes({} of generation {})", self.length, self.generation)
    }
}

impl Volume {
    /// The response that was found, with a body that can be sent from the page cache; `None` if it is to be
    /// read: it is short, has another key, was not checked, or is not in the page cache.
    pub fn cached_response(self: &Arc<Self>, found: &Found, key: &[u8]) -> Option<StoredResponse> {
        let (head, body) = self.cached(found)?;
        let body = || Body::Cached(body.part(head.body));
        self.response_with(found, head.what, head.write_seq, key, body).ok()
    }

    /// A slice that can be sent from the page cache; `None` if it is to be read.
    pub fn cached_slice(
        self: &Arc<Self>,
        url: u64,
        objects: &[u64],
        number: u32,
    ) -> Option<CachedBytes> {
        let found = self.find_slice(url, objects, number)?;
        let (head, body) = self.cached(&found)?;
        match head.what {
            What::Slice(name) if objects.contains(&name.object) && name.number == number => {
                Some(body.part(head.body))
            }
            _ => None,
        }
    }

    /// The head of a record, and all of it in the page cache.
    fn cached(self: &Arc<Self>, found: &Found) -> Option<(DecodedHead, CachedBytes)> {
        let (at, generation) = (found.record.at, found.generation);
        if at.length < LONG || !self.can_send() || !self.checked.has(generation, at.offset) {
            return None;
        }
        let record = CachedBytes::of(self, found);
        if !self.segments.is_cached(record.begin, u64::from(at.length)) {
            // What the device brings is checked.
            self.checked.forget(generation, at.offset);
            return None;
        }
        let mut head = vec![0; at.length.min(HEAD) as usize];
        let read = self.segments.read_ready(&mut head, record.begin).ok()?;
        head.truncate(read);
        let head = record::decode_head(&Bytes::from(head), self.place(generation, at.offset))?;
        let is_there = self.slot(at.slot).generation() == generation
            && self
                .index
                .part(found.digest)
                .update(found.digest, at, |record| record.is_hit = true);
        self.counters.reads.add(1);
        self.counters.bytes_read.add(read as u64);
        (is_there && head.body.end <= record.length).then_some((head, record))
    }

    /// Whether bodies can be sent from the page cache.
    pub(super) fn can_send(&self) -> bool {
        self.sends && self.geometry.segment.is_multiple_of(LARGEST_FOLIO)
    }

    /// Makes sure that a slot is free from which nothing is sent. Only a few are held back for slow clients.
    pub(super) fn make_free(&self, writer: &mut Writer) {
        let most = (self.slots.len() / HELD_BACK).max(1);
        let is_unused = |slot: &u32| !self.slot(*slot).has_readers();
        while !writer.free.iter().any(is_unused)
            && writer.free.len() < most
            && !writer.sealed.is_empty()
        {
            self.evict(writer);
        }
    }

    /// Takes a free slot, one from which nothing is sent if there is one. Nothing of what it held is sent
    /// any more.
    pub(super) fn take_free(&self, writer: &mut Writer) -> io::Result<Option<u32>> {
        let unused = writer.free.iter().find(|slot| !self.slot(**slot).has_readers());
        let Some(number) = unused.or(writer.free.first()).copied() else { return Ok(None) };
        let slot = self.slot(number);
        slot.end_sending();
        if slot.is_lent() && self.sends {
            let begin = self.geometry.begin(number);
            self.segments.detach(begin, u64::from(self.geometry.segment))?;
            slot.set_given_up();
        }
        writer.free.remove(&number);
        Ok(Some(number))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
