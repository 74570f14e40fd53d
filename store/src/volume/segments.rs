//! What is known of each slot, shared by readers and the writer.

use crate::format::footer::FooterPlace;
use crate::response::Seq;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A slot of the file.
#[derive(Debug, Default)]
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
        self.generation.store(generation, Ordering::Release);
    }

    /// Nothing is here any more.
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
}
