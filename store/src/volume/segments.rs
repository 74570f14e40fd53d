//! What is known of each slot, shared by readers and the writer.

use crate::format::footer::FooterPlace;
use crate::response::Seq;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How often it is looked whether nothing is sent from a slot any more.
const LOOK: Duration = Duration::from_micros(50);

/// A slot of the file.
#[derive(Debug)]
pub(super) struct Slot {
    /// The generation of its segment; 0 without one.
    generation: AtomicU64,
    /// All responses in it that begin before `judged_end` were judged by purges up to here. Later
    /// ones say themselves by which they were.
    judged: AtomicU64,
    judged_end: AtomicU32,
    /// Records in the index that are here.
    live: AtomicU32,
    /// Its last footer: offset, then length.
    footer: AtomicU64,
    /// The generation whose bytes are here, also after its end; 0 from when the slot is taken for another
    /// one.
    content: AtomicU64,
    /// Bodies that are sent from here, each to one client.
    readers: AtomicU32,
    /// Calls of the system that send from here now.
    sending: AtomicU32,
    /// Sockets may have queued pages of it since it was given up last.
    is_lent: AtomicBool,
}

impl Default for Slot {
    /// A slot whose past is not known: another process may have sent from it.
    fn default() -> Self {
        Self {
            generation: AtomicU64::new(0),
            judged: AtomicU64::new(0),
            judged_end: AtomicU32::new(0),
            live: AtomicU32::new(0),
            footer: AtomicU64::new(0),
            content: AtomicU64::new(0),
            readers: AtomicU32::new(0),
            sending: AtomicU32::new(0),
            is_lent: AtomicBool::new(true),
        }
    }
}

impl Slot {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A segment begins here.
    pub(super) fn open(&self, generation: u64) {
        self.judged.store(0, Ordering::Release);
        self.judged_end.store(0, Ordering::Release);
        self.live.store(0, Ordering::Relaxed);
        self.set_footer(FooterPlace::default());
        self.content.store(generation, Ordering::SeqCst);
        self.generation.store(generation, Ordering::Release);
    }

    /// Nothing can be found here any more. What is being sent from here may go on.
    pub(super) fn close(&self) {
        self.generation.store(0, Ordering::Release);
    }

    /// The seq up to which the response at this offset was judged, as far as is known here.
    pub(super) fn judged(&self, offset: u32) -> Seq {
        match offset < self.judged_end.load(Ordering::Acquire) {
            true => self.judged.load(Ordering::Acquire),
            false => 0,
        }
    }

    /// All responses that begin before `end` were judged up to `seq`. It makes no difference which of
    /// the two a reader sees first: what was judged up to a seq was judged up to any lower one.
    pub(super) fn raise_judged(&self, seq: Seq, end: u32) {
        self.judged.fetch_max(seq, Ordering::AcqRel);
        self.judged_end.fetch_max(end, Ordering::AcqRel);
    }

    pub(super) fn footer(&self) -> FooterPlace {
        let packed = self.footer.load(Ordering::Acquire);
        FooterPlace { offset: (packed >> 32) as u32, length: packed as u32 }
    }

    pub(super) fn set_footer(&self, at: FooterPlace) {
        self.footer.store(u64::from(at.offset) << 32 | u64::from(at.length), Ordering::Release);
    }

    pub(super) fn add_live(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_live(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// One more body is sent from here.
    pub(super) fn add_reader(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_reader(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// Sends, if the bytes of this generation are still here: they stay until it is done.
    pub(super) fn sending<T>(&self, generation: u64, send: impl FnOnce() -> T) -> Option<T> {
        self.sending.fetch_add(1, Ordering::SeqCst);
        let is_here = self.content.load(Ordering::SeqCst) == generation;
        let sent = is_here.then(|| {
            self.is_lent.store(true, Ordering::Relaxed);
            send()
        });
        self.sending.fetch_sub(1, Ordering::SeqCst);
        sent
    }

    /// Nothing is sent from here any more once this returns. Waits for what is being sent.
    pub(super) fn end_sending(&self) {
        self.content.store(0, Ordering::SeqCst);
        while self.sending.load(Ordering::SeqCst) > 0 {
            thread::sleep(LOOK);
        }
    }

    /// Whether sockets may have pages of it, so that it must be given up before it is written.
    pub(super) fn is_lent(&self) -> bool {
        self.is_lent.load(Ordering::Relaxed)
    }

    pub(super) fn set_given_up(&self) {
        self.is_lent.store(false, Ordering::Relaxed);
    }
}
