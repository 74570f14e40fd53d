//! The search for what is live when a store is opened: it reads trailers and footers, never records.

use super::segments::Slot;
use crate::checkpoint::Checkpoint;
use crate::disk::DiskFile;
use crate::format::footer::{self, Brief, BriefWhat, FooterPlace};
use crate::format::trailer::{TRAILERS, Trailer};
use crate::format::{Place, SECTOR, StoreId, aligned};
use crate::geometry::Geometry;
use crate::index::{Index, Kind, Location, Record, slice_bits, slice_digest};
use crate::journal::Manifest;
use std::collections::HashSet;
use std::io;

/// The search for what is live.
pub(crate) struct Search<'a> {
    store: StoreId,
    geometry: Geometry,
    /// The node's own number that the checkpoint says was applied: no response was judged by more.
    applied: u64,
    /// Everything was judged up to here.
    judged: u64,
    segments: &'a dyn DiskFile,
    pub(crate) index: Index,
    pub(super) slots: Box<[Slot]>,
    /// Objects whose response is live.
    objects: HashSet<u64>,
    pub(crate) recovered: u64,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        store: StoreId,
        geometry: Geometry,
        manifest: &Manifest,
        segments: &'a dyn DiskFile,
    ) -> Self {
        let checkpoint = manifest.checkpoint.as_ref();
        Self {
            store,
            geometry,
            applied: checkpoint.map_or(0, Checkpoint::applied_own),
            judged: checkpoint.map_or(0, Checkpoint::checked_own),
            segments,
            index: Index::default(),
            slots: (0..geometry.slots).map(|_| Slot::default()).collect(),
            objects: HashSet::new(),
            recovered: 0,
        }
    }

    /// Fills the index; leaves in the manifest what is live. Returns the segments that are not.
    ///
    /// Newer segments come first, and in each the later records: what was written later replaced what
    /// was written earlier, and a record that moved lies behind all that it could have replaced.
    pub(crate) fn run(&mut self, manifest: &mut Manifest) -> u64 {
        let live: Vec<_> = manifest.live.iter().rev().map(|(at, slot)| (*at, *slot)).collect();
        let mut slices = Vec::new();
        let mut reclaimed = 0;
        for (generation, slot) in live {
            // One that cannot be read is lost like one that is damaged.
            let entries = match slot < self.geometry.slots {
                true => self.footers(generation, slot).ok().flatten(),
                false => None,
            };
            let Some((last, mut entries)) = entries else {
                reclaimed += 1;
                manifest.live.remove(&generation);
                continue;
            };
            self.slots[slot as usize].open(generation);
            self.slots[slot as usize].raise_judged(self.judged, u32::MAX);
            self.slots[slot as usize].set_footer(last);
            entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.offset));
            for entry in entries {
                let removed = manifest.removed.entry(generation).or_default();
                if removed.contains(&entry.offset) {
                    continue;
                }
                let softened = manifest.softened.get(&generation);
                let is_soft = softened.is_some_and(|offsets| offsets.contains_key(&entry.offset));
                if let BriefWhat::Slice(name) = &entry.what {
                    slices.push((name.object, self.record(&entry, slot, false)));
                } else if !self.take(&entry, slot, is_soft) {
                    removed.insert(entry.offset);
                }
            }
        }
        for (object, (digest, record)) in slices {
            let is_same =
                |other: &Record| other.kind == Kind::Slice && other.variant == record.variant;
            // One that was fetched twice is kept once.
            if self.objects.contains(&object) && !self.index.part(digest).has(digest, is_same) {
                self.add(digest, record);
            }
        }
        let empty: Vec<_> = manifest
            .live
            .iter()
            .filter(|(_, slot)| self.slots[**slot as usize].live() == 0)
            .map(|(generation, slot)| (*generation, *slot))
            .collect();
        for (generation, slot) in empty {
            manifest.live.remove(&generation);
            self.slots[slot as usize].close();
        }
        manifest.removed.retain(|generation, _| manifest.live.contains_key(generation));
        manifest.softened.retain(|generation, _| manifest.live.contains_key(generation));
        reclaimed
    }

    fn record(&self, entry: &Brief, slot: u32, is_soft: bool) -> (u64, Record) {
        let (digest, variant, kind) = brief_identity(entry);
        let length = aligned(entry.length as usize) as u32;
        let at = Location { slot, offset: entry.offset, length };
        (digest, Record { variant, at, kind, is_hit: false, is_soft })
    }

    /// Whether a response is live: nothing that was written later has taken its place.
    fn take(&mut self, entry: &Brief, slot: u32, is_soft: bool) -> bool {
        let BriefWhat::Response { objects, valid_at, .. } = &entry.what else { return false };
        let (digest, record) = self.record(entry, slot, is_soft);
        let is_same =
            |other: &Record| other.kind == Kind::Response && other.variant == record.variant;
        if *valid_at > self.applied || self.index.part(digest).has(digest, is_same) {
            return false;
        }
        self.objects.extend(objects);
        self.add(digest, record)
    }

    fn add(&mut self, digest: u64, record: Record) -> bool {
        let mut part = self.index.part(digest);
        if part.is_full(digest, record.kind) {
            return false;
        }
        part.insert(digest, record);
        self.slots[record.at.slot as usize].add_live();
        self.recovered += 1;
        true
    }

    /// The place of the last footer of a segment, and what all its footers say. `None`: no trailer and
    /// footer is whole.
    pub(crate) fn footers(
        &self,
        generation: u64,
        slot: u32,
    ) -> io::Result<Option<(FooterPlace, Vec<Brief>)>> {
        let begin = self.geometry.begin(slot);
        let first = self.geometry.segment as usize - TRAILERS;
        let mut bytes = [0; TRAILERS];
        let read = self.segments.read_at(&mut bytes, begin + first as u64)?;
        let place = |offset: usize| Place { store: self.store, generation, offset: offset as u64 };
        let mut trailers: Vec<_> = bytes[..read]
            .chunks(SECTOR)
            .enumerate()
            .filter_map(|(at, bytes)| Trailer::decode(bytes, place(first + at * SECTOR)))
            .collect();
        trailers.sort_unstable_by_key(|trailer| std::cmp::Reverse(trailer.number));
        for trailer in trailers {
            if let Some(entries) = self.chain(slot, trailer.footer, place)? {
                return Ok(Some((trailer.footer, entries)));
            }
        }
        Ok(None)
    }

    fn chain(
        &self,
        slot: u32,
        last: FooterPlace,
        place: impl Fn(usize) -> Place,
    ) -> io::Result<Option<Vec<Brief>>> {
        let (mut at, mut footers) = (last, Vec::new());
        while at.length > 0 {
            let end = u64::from(at.offset) + u64::from(at.length);
            if end > self.geometry.room() as u64 {
                return Ok(None);
            }
            let mut bytes = vec![0; at.length as usize];
            let begin = self.geometry.begin(slot) + u64::from(at.offset);
            let read = self.segments.read_at(&mut bytes, begin)?;
            let footer = footer::decode_brief(&bytes[..read], place(at.offset as usize));
            let Some(footer) = footer else { return Ok(None) };
            footers.push(footer.entries);
            if footer.before.length > 0 && footer.before.offset >= at.offset {
                return Ok(None);
            }
            at = footer.before;
        }
        // Not longer than it is: it is the largest part of what opening takes.
        let mut entries = Vec::with_capacity(footers.iter().map(Vec::len).sum());
        footers.into_iter().for_each(|footer| entries.extend(footer));
        Ok(Some(entries))
    }
}

/// What the index finds a record by.
pub(crate) fn brief_identity(entry: &Brief) -> (u64, u32, Kind) {
    match &entry.what {
        BriefWhat::Response { variant, .. } => (entry.url, *variant, Kind::Response),
        BriefWhat::Slice(name) => (slice_digest(entry.url, *name), slice_bits(*name), Kind::Slice),
    }
}
