//! What is read of a journal when a store is opened.

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, JOURNAL, WITNESS, read_all};
use crate::format::codec::Decoder;
use crate::format::journal::{BATCH_HEADER, BadHeader, Change, Header, decode_batch};
use crate::format::witness::Witness;
use crate::format::{Place, SECTOR};
use crate::response::Seq;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

/// What is live.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// The slots of live generations.
    pub(crate) live: BTreeMap<u64, u32>,
    /// Offsets of records that are not live, by generation.
    pub(crate) removed: HashMap<u64, HashSet<u32>>,
    /// Offsets of records that a soft purge matched, with its seq.
    pub(crate) softened: HashMap<u64, HashMap<u32, Seq>>,
    pub(crate) checkpoint: Option<Checkpoint>,
}

impl Manifest {
    /// Takes a change. `false`: it cannot follow what came before.
    pub(super) fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Open { generation, slot } => {
                return self.live.insert(generation, slot).is_none();
            }
            Change::Retire { generation } => {
                self.removed.remove(&generation);
                self.softened.remove(&generation);
                return self.live.remove(&generation).is_some();
            }
            Change::Remove { generation, offset } if self.live.contains_key(&generation) => {
                self.removed.entry(generation).or_default().insert(offset);
            }
            Change::Soften { generation, offset, seq } if self.live.contains_key(&generation) => {
                let softened = self.softened.entry(generation).or_default();
                let last = softened.entry(offset).or_default();
                *last = seq.max(*last);
            }
            // Of a generation that ended meanwhile.
            Change::Remove { .. } | Change::Soften { .. } => {}
            Change::Checkpoint(checkpoint) => self.checkpoint = Some(*checkpoint),
            Change::Progress { applied, mark, checked, wall } => {
                let Some(checkpoint) = &mut self.checkpoint else { return false };
                *checkpoint =
                    Checkpoint { applied, mark, checked, wall, ..std::mem::take(checkpoint) };
            }
        }
        true
    }
}

/// A journal that was read.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) header: Header,
    pub(crate) manifest: Manifest,
}

/// Why a journal cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// There is none.
    Missing,
    /// Something of it is damaged, for the reason given: nothing in the directory may be trusted.
    Damaged(&'static str),
    /// It is of another version.
    Version(u32),
    /// It could not be read.
    Disk(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Reads the journal of a directory.
///
/// # Errors
/// It cannot be used.
pub(crate) fn recover(disk: &dyn Disk) -> Result<Recovered, Unusable> {
    if !disk.exists(JOURNAL)? {
        return Err(Unusable::Missing);
    }
    let bytes = read_all(&*disk.open(JOURNAL)?)?;
    let header = Header::decode(&bytes).map_err(|bad| match bad {
        BadHeader::Damaged => Unusable::Damaged("the head of the journal is damaged"),
        BadHeader::Version(version) => Unusable::Version(version),
    })?;
    if !header.geometry.is_possible() {
        return Err(Unusable::Damaged("the journal names sizes that are not possible"));
    }
    if !disk.exists(WITNESS)? {
        return Err(Unusable::Damaged("the witness is missing"));
    }
    let (witness, _) = Witness::read(&read_all(&*disk.open(WITNESS)?)?)
        .ok_or(Unusable::Damaged("the witness is damaged"))?;
    let least = match witness {
        Witness { store, .. } if store != header.store => {
            return Err(Unusable::Damaged("the witness is of another store"));
        }
        Witness { journal, durable, .. } if journal == header.number => durable,
        // The journal had just taken the place of the one before.
        Witness { journal, .. } if journal + 1 == header.number => 0,
        _ => return Err(Unusable::Damaged("the witness is of another journal")),
    };
    let (manifest, end) =
        replay(&bytes, &header).ok_or(Unusable::Damaged("the journal contradicts itself"))?;
    if end < least.max(SECTOR as u64 + header.snapshot) {
        return Err(Unusable::Damaged("the journal is damaged or cut off"));
    }
    Ok(Recovered { header, manifest })
}

/// The batches after the header, and the place at which they end. `None`: one that is whole makes no
/// sense.
fn replay(bytes: &[u8], header: &Header) -> Option<(Manifest, u64)> {
    let mut manifest = Manifest::default();
    let mut offset = SECTOR;
    while let Some(rest) = bytes.get(offset..) {
        let place = Place { store: header.store, generation: header.number, offset: offset as u64 };
        let Some(entries) = decode_batch(rest, place) else { break };
        let mut decoder = Decoder::new(entries);
        while !decoder.is_empty() {
            let change = Change::decode(&mut decoder)?;
            if !manifest.take(change) {
                return None;
            }
        }
        offset += BATCH_HEADER + entries.len();
    }
    let slots: HashSet<_> = manifest.live.values().collect();
    let is_possible = slots.len() == manifest.live.len()
        && slots.iter().all(|slot| **slot < header.geometry.slots);
    is_possible.then_some((manifest, offset as u64))
}
