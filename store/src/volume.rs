//! A store in one directory. It has no threads of its own: whoever uses it calls
//! [`Volume::work`] to write what was handed in, and [`Volume::commit`] to make removals and
//! checkpoints durable. Both may wait for the disk; nothing else does but reads that are asked to.

mod buffers;
mod cached;
mod checked;
mod eviction;
mod footers;
mod object;
mod opening;
mod publishing;
mod queue;
mod reading;
mod removal;
mod search;
mod segments;
mod walk;
mod writer;

pub use cached::CachedBytes;
pub(crate) use eviction::MOVED_SHARE;
pub use object::ObjectWriter;
pub(crate) use opening::random_secret;
pub use opening::{OpenError, Opened};
pub use queue::{Hold, Refused};
pub use reading::{Body, Found, Read, StoredResponse, Unread};
pub use removal::Removed;
pub(crate) use search::{Search, brief_identity};
pub use walk::{Judged, Verdict, Walk};

use crate::checkpoint::Checkpoint;
use crate::counters::{Counters, Counts};
use crate::disk::DiskFile;
use crate::format::{Place, StoreId};
use crate::geometry::Geometry;
use crate::index::{Index, Record};
use crate::journal::{Journal, Moment};
use crate::response::{ResponseHead, Seq, Stamps};
use buffers::Buffers;
use checked::Checked;
use queue::Queue;
use segments::Slot;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use writer::Writer;

/// What a volume is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The sizes. A store that has segments of another size keeps that size.
    pub geometry: Geometry,
    /// Bytes that may wait to be written.
    pub queue: usize,
    /// The secret of a store that begins empty; `None`: a random one.
    pub secret: Option<[u8; 16]>,
    /// Which of the store's directories it is, and of how many. One that was another begins empty: the
    /// URLs that it held belong to other directories now.
    pub place: (u16, u16),
}

impl Options {
    /// For a store in one directory.
    pub fn new(geometry: Geometry, queue: usize) -> Self {
        Self { geometry, queue, secret: None, place: (0, 1) }
    }
}

/// A store in one directory.
pub struct Volume {
    id: StoreId,
    secret: [u8; 16],
    geometry: Geometry,
    segments: Arc<dyn DiskFile>,
    /// Whether the kernel can send from it, and what it holds can be given up.
    sends: bool,
    slots: Box<[Slot]>,
    index: Index,
    journal: Journal,
    queue: Queue,
    buffers: Arc<Buffers>,
    checked: Checked,
    writer: Mutex<Writer>,
    /// The next write sequence: the store's epoch, then a count.
    write_seq: AtomicU64,
    /// The first write sequence of this process.
    opened_at: u64,
    /// The moment of the last end of a segment: what was in it may come back until it is durable.
    retired: AtomicU64,
    counters: Counters,
    has_failed: AtomicBool,
    failure: OnceLock<String>,
}

impl Volume {
    /// The secret that URLs are to be digested with: it is kept with what they find.
    pub fn secret(&self) -> [u8; 16] {
        self.secret
    }

    /// The id of the store's life.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// The sizes in use.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// What was counted since it was opened.
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// Responses that can be found, and slices of bodies.
    pub fn held(&self) -> (usize, usize) {
        self.index.len()
    }

    /// Bytes of segments in use, and of the journal.
    pub fn bytes(&self) -> u64 {
        let used = self.slots.iter().filter(|slot| slot.generation() != 0).count() as u64;
        used * u64::from(self.geometry.segment) + self.journal.bytes()
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.queue.bytes()
    }

    /// Whether the disk failed in such a way that nothing may be stored there any more.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// How the disk failed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Appends a checkpoint. It is durable once [`Volume::commit`] returned for the moment that this
    /// returns, and with it everything that was removed before.
    ///
    /// The caller raises `checked` only to a seq by which it judged everything stored, everything
    /// queued and every running fill, since when [`Volume::walk`] began.
    pub fn checkpoint(&self, checkpoint: &Checkpoint) -> Moment {
        self.journal.checkpoint(checkpoint)
    }

    /// The last checkpoint, durable or not.
    pub fn last_checkpoint(&self) -> Option<Checkpoint> {
        self.journal.last_checkpoint()
    }

    /// Makes removals and checkpoints up to a moment durable: one write and one sync, shared by all
    /// that wait. Waits for the disk.
    ///
    /// # Errors
    /// The disk failed. The volume must be set aside: what it holds cannot be trusted after a
    /// restart.
    pub fn commit(&self, moment: Moment) -> io::Result<()> {
        let committed = self.journal.commit(moment);
        if let Err(error) = &committed {
            self.fail(error);
        }
        committed
    }

    /// Bytes of removals and checkpoints that wait for a commit.
    pub fn uncommitted(&self) -> usize {
        self.journal.waiting()
    }

    fn fail(&self, error: &io::Error) {
        self.counters.errors.add(1);
        self.failure.get_or_init(|| error.to_string());
        self.has_failed.store(true, Ordering::Release);
        self.index.each_part(|part| part.clear());
    }

    fn next_write_seq(&self) -> u64 {
        self.write_seq.fetch_add(1, Ordering::Relaxed)
    }

    fn place(&self, generation: u64, offset: u32) -> Place {
        Place { store: self.id, generation, offset: u64::from(offset) }
    }

    fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a head that was read up to date with what is known of its record.
    fn update(&self, head: &mut ResponseHead, record: &Record) {
        let judged = self.slot(record.at.slot).judged(record.at.offset);
        head.stamps = updated(head.stamps, judged, record.is_soft);
    }
}

/// Stamps as they were written, of a response that was judged up to `judged` since. Which soft purge
/// matched it is not kept in memory: one by which it was judged.
fn updated(mut stamps: Stamps, judged: Seq, is_soft: bool) -> Stamps {
    stamps.valid_at = stamps.valid_at.max(judged);
    if is_soft {
        stamps.soft_at = stamps.soft_at.max(stamps.valid_at).max(1);
    }
    stamps
}

#[cfg(test)]
mod tests;
