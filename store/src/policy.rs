//! What a volume keeps, without what it stores: for simulations. It admits, moves and evicts as the volume
//! does ([`crate::volume`]), in segments of the same size; `tests/volume/policy.rs` holds it against one.

use crate::format::aligned;
use crate::geometry::Geometry;
use crate::volume::MOVED_SHARE;
use std::collections::{HashMap, VecDeque};

/// Bytes of a record beside its key, its headers and its body: checksums, numbers and lengths.
const RECORD: usize = 40;
/// Bytes that are left for them, because they are not known before it is written.
const RECORD_BOUND: usize = 145;
/// Bytes that a footer may take for a record, beside its key.
const ENTRY: usize = 90;

/// The decisions of a volume: what stays in it.
pub struct VolumePolicy {
    geometry: Geometry,
    held: HashMap<Name, Held>,
    open: Option<Segment>,
    /// The oldest first.
    sealed: VecDeque<Segment>,
    next: u64,
    written: u64,
}

/// A record: a response, or a slice of its body, by its number from 1.
type Name = (u64, u32);

/// A record that can be found.
#[derive(Clone, Copy)]
struct Held {
    segment: u64,
    head: usize,
    body: usize,
    is_hit: bool,
    note: u64,
    /// Slices of the body.
    slices: u32,
}

/// A segment: its number, the bytes that are taken, and the records that were written to it.
#[derive(Default)]
struct Segment {
    number: u64,
    used: usize,
    footer: usize,
    live: usize,
    records: Vec<Name>,
}

impl VolumePolicy {
    /// That of an empty volume.
    pub fn new(geometry: Geometry) -> Self {
        let (held, sealed) = (HashMap::new(), VecDeque::new());
        Self { geometry, held, open: None, sealed, next: 0, written: 0 }
    }

    /// A request for a response: what was noted of it, if all of it is held.
    pub fn get(&mut self, url: u64) -> Option<u64> {
        let head = self.held.get_mut(&(url, 0))?;
        head.is_hit = true;
        let (note, slices) = (head.note, head.slices);
        let mut is_whole = true;
        for number in 1..=slices {
            match self.held.get_mut(&(url, number)) {
                Some(slice) => slice.is_hit = true,
                None => is_whole = false,
            }
        }
        is_whole.then_some(note)
    }

    /// Whether anything of a URL is held.
    pub fn has(&self, url: u64) -> bool {
        self.held.contains_key(&(url, 0))
    }

    /// Stores a response with a note: `head` bytes of key and headers, `body` bytes.
    pub fn put(&mut self, url: u64, head: usize, body: u64, note: u64) {
        self.remove(url);
        let slice = u64::from(self.geometry.slice);
        let slices = if body > slice { body.div_ceil(slice) as u32 } else { 0 };
        for number in 1..=slices {
            let bytes = slice.min(body - u64::from(number - 1) * slice) as usize;
            self.append(
                (url, number),
                Held { segment: 0, head: 0, body: bytes, is_hit: false, note, slices: 0 },
            );
        }
        let body = if slices > 0 { 0 } else { body as usize };
        self.append((url, 0), Held { segment: 0, head, body, is_hit: false, note, slices });
        self.reclaim();
    }

    /// Bytes that were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn remove(&mut self, url: u64) {
        let Some(head) = self.forget((url, 0)) else { return };
        for number in 1..=head.slices {
            self.forget((url, number));
        }
    }

    fn forget(&mut self, name: Name) -> Option<Held> {
        let held = self.held.remove(&name)?;
        let segments = self.sealed.iter_mut().chain(&mut self.open);
        if let Some(segment) = segments.into_iter().find(|one| one.number == held.segment) {
            segment.live -= 1;
        }
        Some(held)
    }

    fn append(&mut self, name: Name, mut held: Held) {
        let (bytes, entry) = (held.head + held.body, ENTRY + held.head);
        let room = self.geometry.room();
        let fits = |open: &Segment| {
            open.used + aligned(bytes + RECORD_BOUND) + open.footer + entry <= room
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.sealed.extend(self.open.take());
            self.begin();
        }
        let Some(open) = self.open.as_mut().filter(|open| fits(open)) else { return };
        held.segment = open.number;
        open.used += aligned(bytes + RECORD);
        open.footer += entry;
        open.live += 1;
        open.records.push(name);
        self.written += aligned(bytes + RECORD) as u64 + entry as u64;
        self.held.insert(name, held);
    }

    /// Begins a segment, and evicts one if no other is free then.
    fn begin(&mut self) {
        self.reclaim();
        let slots = self.geometry.slots as usize;
        while self.sealed.len() >= slots {
            self.evict();
        }
        self.open = Some(Segment { number: self.next, ..Segment::default() });
        self.next += 1;
        while self.sealed.len() + 1 >= slots {
            self.evict();
        }
    }

    /// Evicts the oldest segment. What was requested since it was written moves into the one that is open.
    fn evict(&mut self) {
        let Some(oldest) = self.sealed.pop_front() else { return };
        let mut room = self.geometry.room() / MOVED_SHARE;
        for name in oldest.records {
            let Some(held) = self.held.get(&name).copied() else { continue };
            if held.segment != oldest.number {
                continue;
            }
            let bytes = aligned(held.head + held.body + RECORD) + ENTRY + held.head;
            let has_owner = name.1 == 0 || self.held.contains_key(&(name.0, 0));
            self.held.remove(&name);
            if held.is_hit && bytes <= room && has_owner && self.open.is_some() {
                room -= bytes;
                self.append(name, Held { is_hit: false, ..held });
            }
        }
    }

    /// Frees segments in which nothing is held any more.
    fn reclaim(&mut self) {
        self.sealed.retain(|segment| segment.live > 0);
    }
}
