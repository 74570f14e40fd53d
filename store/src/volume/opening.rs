//! Opening a directory: what is in it is found again, or it begins empty.

use super::checked::Checked;
use super::queue::Queue;
use super::search::Search;
use super::segments::Slot;
use super::writer::Writer;
use super::{Options, Volume};
use crate::checkpoint::Checkpoint;
use crate::counters::Counters;
use crate::disk::{Disk, NEW_JOURNAL, SEGMENTS};
use crate::format::journal::Header;
use crate::format::{FORMAT_VERSION, StoreId};
use crate::geometry::Geometry;
use crate::index::Index;
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
            sends: segments.can_send(),
            segments,
            slots: (0..geometry.slots).map(|_| Slot::default()).collect(),
            index: Index::default(),
            journal,
            queue: Queue::new(options.queue),
            buffers: Arc::default(),
            checked: Checked::default(),
            writer: Mutex::new(writer),
            write_seq: AtomicU64::new(1 << COUNT_BITS),
            opened_at: 1 << COUNT_BITS,
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
        let mut search = Search::new(header.store, geometry, &manifest, &*segments);
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
            sends: segments.can_send(),
            segments,
            slots,
            index,
            journal,
            queue: Queue::new(options.queue),
            buffers: Arc::default(),
            checked: Checked::default(),
            writer: Mutex::new(writer),
            write_seq: AtomicU64::new(u64::from(header.epoch) << COUNT_BITS),
            opened_at: u64::from(header.epoch) << COUNT_BITS,
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
