//! The index in memory: where each live record is.
//!
//! It is addressed by the digest of a URL, in parts with a lock each. A response takes 16 bytes in
//! it, and between 1.5 and 2.3 times that with the room that a hash table needs.

mod entry;
mod table;

pub(crate) use entry::{Kind, Location, Record};

use crate::format::mixed;
use crate::format::record::SliceName;
use crate::journal::Moment;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;
use twox_hash::XxHash3_64;

/// Parts, each with a lock of its own.
const PARTS: usize = 256;

/// Removals that a part remembers before it looks which ones are durable.
const LEAST_CROWDED: usize = 16;

/// Responses of one URL that are kept; the next one takes the place of the one found first.
pub(crate) const MOST_OF_A_URL: usize = 64;

/// Tells the responses of a URL apart: 12 bits of the key, then 8 of the selecting fields.
pub(crate) fn variant(key: &[u8], selecting: &[u8]) -> u32 {
    key_bits(key) | (XxHash3_64::oneshot(selecting) as u32 & 0xff)
}

/// The part of [`variant`] that a request knows.
pub(crate) fn key_bits(key: &[u8]) -> u32 {
    (XxHash3_64::oneshot(key) as u32 & 0xfff) << 8
}

/// Whether a variant can be of a key with these bits.
pub(crate) fn is_of_key(variant: u32, key_bits: u32) -> bool {
    variant & 0xf_ff00 == key_bits
}

/// What a slice is found by.
pub(crate) fn slice_digest(url: u64, name: SliceName) -> u64 {
    mixed(url ^ mixed(name.object ^ mixed(u64::from(name.number))))
}

/// What tells slices with one digest apart.
pub(crate) fn slice_bits(name: SliceName) -> u32 {
    mixed(name.object.wrapping_add(u64::from(name.number) << 40)) as u32 & 0xf_ffff
}

/// A response that was handed to the store and is not in the index yet.
#[derive(Default)]
pub(crate) struct Pending {
    revoked: AtomicBool,
    /// Kept until it is in the index, or will never be.
    hold: Mutex<Option<Box<dyn Send>>>,
}

impl Pending {
    /// Whether something removed or replaced it meanwhile. To be decided under the part's lock.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Keeps a hold, unless it is revoked already.
    pub(crate) fn keep(&self, hold: Option<Box<dyn Send>>) {
        let mut kept = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_revoked() {
            *kept = hold;
        }
    }

    pub(crate) fn take_hold(&self) -> Option<Box<dyn Send>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        drop(self.take_hold());
    }
}

/// The index.
pub(crate) struct Index {
    parts: Box<[Mutex<Part>]>,
}

/// The records of a share of all URLs.
#[derive(Default)]
pub(crate) struct Part {
    table: Table,
    pending: Vec<(u32, u32, Arc<Pending>)>,
    /// Removals that may not be durable yet: a record that is not here any more, and would be after
    /// a crash.
    recent: Vec<(u32, Moment)>,
    /// The length of `recent` at which those that are durable are dropped.
    crowded: usize,
}

/// The low bits of a digest, by which its part finds it. Never 0.
fn fingerprint(digest: u64) -> u32 {
    (digest as u32).max(1)
}

impl Default for Index {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect() }
    }
}

impl Index {
    /// The part that a digest belongs to.
    pub(crate) fn part(&self, digest: u64) -> MutexGuard<'_, Part> {
        let part = &self.parts[(digest >> 56) as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All parts, one after the other.
    pub(crate) fn each_part(&self, mut visit: impl FnMut(&mut Part)) {
        for part in &self.parts {
            visit(&mut part.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Responses and slices in it.
    pub(crate) fn len(&self) -> (usize, usize) {
        let (mut records, mut slices) = (0, 0);
        self.each_part(|part| {
            records += part.table.len();
            slices += part.table.slices();
        });
        (records - slices, slices)
    }
}

impl Part {
    /// The records with this digest that `is_wanted` accepts.
    pub(crate) fn find(&self, digest: u64, is_wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        self.table.with(fingerprint(digest)).filter(|record| is_wanted(record)).collect()
    }

    /// Whether there is a record with this digest that `is_wanted` accepts.
    pub(crate) fn has(&self, digest: u64, is_wanted: impl Fn(&Record) -> bool) -> bool {
        self.table.with(fingerprint(digest)).any(|record| is_wanted(&record))
    }

    /// Changes the record with this digest at this place; whether there is one.
    pub(crate) fn update(
        &mut self,
        digest: u64,
        at: Location,
        change: impl FnOnce(&mut Record),
    ) -> bool {
        self.table.update(fingerprint(digest), at, change)
    }

    /// Removes the records with this digest that `is_wanted` accepts.
    pub(crate) fn remove(
        &mut self,
        digest: u64,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Vec<Record> {
        let removed = self.find(digest, is_wanted);
        for record in &removed {
            self.table.remove(fingerprint(digest), record.at);
        }
        removed
    }

    /// Whether a URL has as many responses as are kept.
    pub(crate) fn is_full(&self, digest: u64, kind: Kind) -> bool {
        kind == Kind::Response
            && self.find(digest, |record| record.kind == kind).len() >= MOST_OF_A_URL
    }

    /// Adds a record. Where its URL has [`MOST_OF_A_URL`] already, returns one that it replaces.
    pub(crate) fn insert(&mut self, digest: u64, record: Record) -> Option<Record> {
        let mut replaced = None;
        if record.kind == Kind::Response {
            let of_url = self.find(digest, |record| record.kind == Kind::Response);
            if let Some(first) = of_url.first().filter(|_| of_url.len() >= MOST_OF_A_URL) {
                self.table.remove(fingerprint(digest), first.at);
                replaced = Some(*first);
            }
        }
        self.table.insert(fingerprint(digest), record);
        replaced
    }

    /// Removes all records in a slot; returns how many.
    pub(crate) fn remove_slot(&mut self, slot: u32) -> usize {
        self.table.remove_where(|record| record.at.slot == slot)
    }

    /// Notes a removal. Those up to `durable` are forgotten now and then.
    pub(crate) fn note_removal(&mut self, digest: u64, moment: Moment, durable: Moment) {
        if self.recent.len() >= self.crowded.max(LEAST_CROWDED) {
            self.recent.retain(|(_, moment)| *moment > durable);
            self.recent.shrink_to(2 * self.recent.len());
            self.crowded = 2 * self.recent.len();
        }
        self.recent.push((fingerprint(digest), moment));
    }

    /// The last removal of a record with this digest that is not durable.
    pub(crate) fn last_removal(&self, digest: u64, durable: Moment) -> Option<Moment> {
        let print = fingerprint(digest);
        let of_digest = self.recent.iter().filter(|(other, _)| *other == print);
        of_digest.map(|(_, moment)| *moment).max().filter(|moment| *moment > durable)
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.table = Table::default();
        for (_, _, pending) in self.pending.drain(..) {
            pending.revoke();
        }
    }

    /// Notes a response that is on its way, in place of those that it replaces.
    pub(crate) fn expect(&mut self, digest: u64, variant: u32) -> Arc<Pending> {
        self.revoke(digest, |other| other == variant);
        let pending = Arc::new(Pending::default());
        self.pending.push((fingerprint(digest), variant, Arc::clone(&pending)));
        pending
    }

    /// The response that was on its way has arrived, or will not.
    pub(crate) fn arrived(&mut self, pending: &Arc<Pending>) {
        self.pending.retain(|(_, _, other)| !Arc::ptr_eq(other, pending));
        drop(pending.take_hold());
    }

    /// Whether a response of the URL is on its way.
    pub(crate) fn expects(&self, digest: u64) -> bool {
        self.pending.iter().any(|(other, _, _)| *other == fingerprint(digest))
    }

    /// Whether a response of a variant is on its way.
    pub(crate) fn expects_variant(&self, digest: u64, variant: u32) -> bool {
        let print = fingerprint(digest);
        self.pending.iter().any(|(other, of, _)| (*other, *of) == (print, variant))
    }

    /// Keeps responses of the URL that are on their way, with a variant that `is_wanted` accepts, out
    /// of the index; returns how many.
    pub(crate) fn revoke(&mut self, digest: u64, is_wanted: impl Fn(u32) -> bool) -> usize {
        let before = self.pending.len();
        self.pending.retain(|(other, variant, pending)| {
            let is_revoked = *other == fingerprint(digest) && is_wanted(*variant);
            if is_revoked {
                pending.revoke();
            }
            !is_revoked
        });
        before - self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(variant: u32, offset: u32) -> Record {
        let at = Location { slot: 3, offset, length: 160 };
        Record { variant, at, kind: Kind::Response, is_hit: false, is_soft: false }
    }

    #[test]
    fn a_url_with_too_many_responses_keeps_the_bound() {
        let index = Index::default();
        let mut part = index.part(7);
        for number in 0..MOST_OF_A_URL as u32 {
            assert_eq!(part.insert(7, record(number, number * 16)), None);
        }
        assert!(part.insert(7, record(999, 160_000)).is_some());
        assert_eq!(part.find(7, |_| true).len(), MOST_OF_A_URL);
    }

    #[test]
    fn what_is_on_its_way_is_revoked_by_url_and_by_variant() {
        let index = Index::default();
        let mut part = index.part(7);
        let (first, other) = (part.expect(7, 1), part.expect(7, 2));
        let second = part.expect(7, 1);
        assert!(first.is_revoked(), "replaced");
        assert!(!second.is_revoked() && !other.is_revoked());
        part.arrived(&second);
        assert_eq!(part.revoke(7, |_| true), 1);
        assert!(other.is_revoked() && !second.is_revoked());
    }

    #[test]
    fn a_variant_tells_its_key() {
        let of = variant(b"http://h/a", b"accept-language: de");
        assert!(is_of_key(of, key_bits(b"http://h/a")));
        assert!(!is_of_key(of, key_bits(b"https://h/a")));
        assert_ne!(of, variant(b"http://h/a", b"accept-language: en"));
        assert!(of < 1 << 20);
    }
}
