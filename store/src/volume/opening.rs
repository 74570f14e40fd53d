//! Opening a directory: what is in it is found again, or it begins empty.

use super::queue::Queue;
use super::segments::Slot;
use super::writer::{Writer, identity};
use super::{Options, Volume};
use crate::checkpoint::Checkpoint;
use crate::counters::Counters;
use crate::disk::{Disk, NEW_JOURNAL, SEGMENTS};
use crate::format::footer::{Entry, EntryWhat, FooterPlace};
use crate::format::journal::Header;
use crate::format::trailer::{TRAILERS, Trailer};
use crate::format::{FORMAT_VERSION, SECTOR, StoreId, aligned};
use crate::geometry::Geometry;
use crate::index::{Index, Kind, Location, Record};
use crate::journal::{Journal, Manifest, Recovered, Unusable, recover};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};

/// Bits of a write sequence that count within one epoch.
const COUNT_BITS: u32 = 40;

/// How a volume began.
#[derive(Debug)]
pub struct Opened {
    /// The checkpoint that was found; `None` in an empty store. Nothing stored may be shown before the
    /// log was replayed from there (invariant I4).
    pub checkpoint: Option<Checkpoint>,
    /// Why it was emptied, if it was.
    pub emptied: Option<&'static str>,
    /// Records found.
    pub recovered: u64,
    /// Segments that could not be read, whose room is free again.
    pub reclaimed: u64,
}

/// A directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// It was written by another version.
    Version(u32),
    /// No store can have these sizes.
    Geometry(Geometry),
    /// The disk failed.
    Disk(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(
                f,
                "the store has format version {version}, this version of weir reads version \
                 {FORMAT_VERSION}"
            ),
            Self::Geometry(geometry) => write!(f, "no store can have these sizes: {geometry:?}"),
            Self::Disk(error) => write!(f, "the disk failed: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl Volume {
    /// Opens the store in a directory. A missing or damaged one begins empty.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Opened), OpenError> {
        if !options.geometry.is_possible() {
            return Err(OpenError::Geometry(options.geometry));
        }
        let emptied = match recover(&*disk) {
            Ok(recovered) if recovered.header.place != options.place => {
                Some("the store had other directories")
            }
            Ok(recovered) => match resized(recovered.header.geometry, options.geometry) {
                Some(geometry) => return Self::recovered(disk, options, recovered, geometry),
                None => Some("its segments do not fit into the size"),
            },
            Err(Unusable::Missing) => None,
            Err(Unusable::Damaged(why)) => Some(why),
            Err(Unusable::Version(version)) => return Err(OpenError::Version(version)),
            Err(Unusable::Disk(error)) => return Err(error.into()),
        };
        Self::empty(disk, options, emptied)
    }

    /// Begins an empty store in a directory, whatever is in it.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn empty(
        disk: Arc<dyn Disk>,
        options: Options,
        emptied: Option<&'static str>,
    ) -> Result<(Self, Opened), OpenError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let secret = match options.secret {
            Some(secret) => secret,
            None => random_secret()?,
        };
        let Options { geometry, place, .. } = options;
        let store = StoreId(id);
        let header = Header { store, number: 1, epoch: 1, geometry, secret, place, snapshot: 0 };
        // Nothing in it would have the new id. Its name becomes durable with that of the journal.
        let segments = disk.open(SEGMENTS)?;
        segments.set_length(0)?;
        let journal = Journal::begin(Arc::clone(&disk), header.clone(), &Manifest::default())?;
        let writer = Writer::new((0..geometry.slots).collect(), [].into(), 1);
        let volume = Self {
            id: header.store,
            secret,
            geometry,
            segments,
            slots: (0..geometry.slots).map(|_| Slot::default()).collect(),
            index: Index::default(),
            journal,
            queue: Queue::new(options.queue),
            writer: Mutex::new(writer),
            write_seq: AtomicU64::new(1 << COUNT_BITS),
            counters: Counters::default(),
            retired: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            failure: OnceLock::new(),
        };
        let opened = Opened { checkpoint: None, emptied, recovered: 0, reclaimed: 0 };
        Ok((volume, opened))
    }

    fn recovered(
        disk: Arc<dyn Disk>,
        options: Options,
        recovered: Recovered,
        geometry: Geometry,
    ) -> Result<(Self, Opened), OpenError> {
        let Recovered { mut header, mut manifest } = recovered;
        header.geometry = geometry;
        header.number += 1;
        header.epoch += 1;
        let segments = disk.open(SEGMENTS)?;
        let mut search = Search {
            store: header.store,
            geometry,
            applied: manifest.checkpoint.as_ref().map_or(0, Checkpoint::applied_own),
            judged: manifest.checkpoint.as_ref().map_or(0, |at| at.base + at.checked),
            segments: &*segments,
            index: Index::default(),
            slots: (0..geometry.slots).map(|_| Slot::default()).collect(),
            objects: HashSet::new(),
            recovered: 0,
        };
        let reclaimed = search.run(&mut manifest);
        let Search { index, slots, recovered, .. } = search;
        let used: HashSet<_> = manifest.live.values().copied().collect();
        let free: BTreeSet<_> = (0..geometry.slots).filter(|slot| !used.contains(slot)).collect();
        // Above all that were ever in use: generations are appended before they are.
        let highest = manifest.live.keys().next_back().copied().unwrap_or(0);
        let next = highest.max(u64::from(header.epoch) << COUNT_BITS) + 1;
        let writer = Writer::new(free, manifest.live.clone(), next);
        let checkpoint = manifest.checkpoint.clone();
        disk.remove(NEW_JOURNAL)?;
        let journal = Journal::begin(disk, header.clone(), &manifest)?;
        let counters = Counters::default();
        counters.recovered.add(recovered);
        let volume = Self {
            id: header.store,
            secret: header.secret,
            geometry,
            segments,
            slots,
            index,
            journal,
            queue: Queue::new(options.queue),
            writer: Mutex::new(writer),
            write_seq: AtomicU64::new(u64::from(header.epoch) << COUNT_BITS),
            counters,
            retired: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            failure: OnceLock::new(),
        };
        Ok((volume, Opened { checkpoint, emptied: None, recovered, reclaimed }))
    }
}

/// A secret to digest URLs with.
pub(crate) fn random_secret() -> io::Result<[u8; 16]> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(secret)
}

/// The sizes of a store with segments of one size, of as many bytes as was asked for.
fn resized(found: Geometry, wanted: Geometry) -> Option<Geometry> {
    let bytes = u64::from(wanted.segment) * u64::from(wanted.slots);
    let slots = u32::try_from(bytes / u64::from(found.segment)).ok()?;
    let geometry = Geometry { slots, ..found };
    (geometry.is_possible() && found.slice == wanted.slice).then_some(geometry)
}

/// The search for what is live.
struct Search<'a> {
    store: StoreId,
    geometry: Geometry,
    /// The node's own number that the checkpoint says was applied: no response was judged by more.
    applied: u64,
    /// Everything was judged up to here.
    judged: u64,
    segments: &'a dyn crate::disk::DiskFile,
    index: Index,
    slots: Box<[Slot]>,
    /// Objects whose response is live.
    objects: HashSet<u64>,
    recovered: u64,
}

impl Search<'_> {
    /// Fills the index; leaves in the manifest what is live. Returns the segments that are not.
    ///
    /// Newer segments come first, and in each the later records: what was written later replaced what
    /// was written earlier, and a record that moved lies behind all that it could have replaced.
    fn run(&mut self, manifest: &mut Manifest) -> u64 {
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
                if let EntryWhat::Slice(name) = &entry.what {
                    slices.push((name.object, self.record(&entry, slot, false)));
                } else if !self.take(&entry, slot, is_soft) {
                    removed.insert(entry.offset);
                }
            }
        }
        for (object, (digest, record)) in slices {
            if self.objects.contains(&object) {
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

    fn record(&self, entry: &Entry, slot: u32, is_soft: bool) -> (u64, Record) {
        let (digest, variant, kind) = identity(entry);
        let length = aligned(entry.length as usize) as u32;
        let at = Location { slot, offset: entry.offset, length };
        (digest, Record { variant, at, kind, is_hit: false, is_soft })
    }

    /// Whether a response is live: nothing that was written later has taken its place.
    fn take(&mut self, entry: &Entry, slot: u32, is_soft: bool) -> bool {
        let EntryWhat::Response { objects, stamps, .. } = &entry.what else { return false };
        let (digest, record) = self.record(entry, slot, is_soft);
        let is_same =
            |other: &Record| other.kind == Kind::Response && other.variant == record.variant;
        if stamps.valid_at > self.applied || self.index.part(digest).has(digest, is_same) {
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
    fn footers(&self, generation: u64, slot: u32) -> io::Result<Option<(FooterPlace, Vec<Entry>)>> {
        let begin = self.geometry.begin(slot);
        let first = self.geometry.segment as usize - TRAILERS;
        let mut bytes = [0; TRAILERS];
        let read = self.segments.read_at(&mut bytes, begin + first as u64)?;
        let place = |offset: usize| crate::format::Place {
            store: self.store,
            generation,
            offset: offset as u64,
        };
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
        place: impl Fn(usize) -> crate::format::Place,
    ) -> io::Result<Option<Vec<Entry>>> {
        let (mut at, mut entries) = (last, Vec::new());
        while at.length > 0 {
            let end = u64::from(at.offset) + u64::from(at.length);
            if end > self.geometry.room() as u64 {
                return Ok(None);
            }
            let mut bytes = vec![0; at.length as usize];
            let begin = self.geometry.begin(slot) + u64::from(at.offset);
            let read = self.segments.read_at(&mut bytes, begin)?;
            let footer = crate::format::footer::decode(&bytes[..read], place(at.offset as usize));
            let Some(footer) = footer else { return Ok(None) };
            entries.extend(footer.entries);
            if footer.before.length > 0 && footer.before.offset >= at.offset {
                return Ok(None);
            }
            at = footer.before;
        }
        Ok(Some(entries))
    }
}
