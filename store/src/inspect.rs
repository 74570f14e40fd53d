//! Looking at a directory that no process uses: what is in it, whether it is whole. Nothing is
//! changed but by [`clear`].

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, JOURNAL, NEW_JOURNAL, SEGMENTS, WITNESS};
use crate::format::footer::Brief;
use crate::format::{FORMAT_VERSION, Place, StoreId, record};
use crate::geometry::Geometry;
use crate::index::Record;
use crate::journal::{Manifest, Recovered, Unusable, recover};
use crate::volume::{Search, brief_identity};
use bytes::Bytes;
use std::fmt;
use std::io;

/// What is in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The id of the store's life.
    pub id: StoreId,
    /// Its sizes.
    pub geometry: Geometry,
    /// Which of the store's directories it is, from 0, and of how many.
    pub place: (u16, u16),
    /// The last durable checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Segments in use.
    pub segments: usize,
    /// Segments that cannot be read: opening the store reclaims them.
    pub unreadable: u64,
    /// Responses that the store would find.
    pub responses: usize,
    /// Slices of bodies that it would find.
    pub slices: usize,
}

/// What reading all records showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What is in the directory.
    pub stat: Stat,
    /// Records that are whole.
    pub whole: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that are damaged: a request for them is a miss.
    pub damaged: u64,
}

/// A directory cannot be looked at.
#[derive(Debug)]
pub enum InspectError {
    /// There is no store in it.
    Missing,
    /// Opening the store would empty it, for this reason.
    Damaged(&'static str),
    /// It was written by another version.
    Version(u32),
    /// The disk failed.
    Disk(io::Error),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no store in the directory"),
            Self::Damaged(why) => write!(f, "{why}: the store would begin empty"),
            Self::Version(version) => write!(
                f,
                "the store has format version {version}, this version of weir reads version \
                 {FORMAT_VERSION}"
            ),
            Self::Disk(error) => write!(f, "the disk failed: {error}"),
        }
    }
}

impl std::error::Error for InspectError {}

impl From<io::Error> for InspectError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Unusable> for InspectError {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Missing => Self::Missing,
            Unusable::Damaged(why) => Self::Damaged(why),
            Unusable::Version(version) => Self::Version(version),
            Unusable::Disk(error) => Self::Disk(error),
        }
    }
}

/// What is in a directory. Reads the journal, trailers and footers.
///
/// # Errors
/// It cannot be read, or there is no store that would be opened.
pub fn stat(disk: &dyn Disk) -> Result<Stat, InspectError> {
    look(disk, |_, _, _| Ok(())).map(|(stat, ())| stat)
}

/// Reads every record that the store would find, and checks it.
///
/// # Errors
/// As [`stat`].
pub fn verify(disk: &dyn Disk) -> Result<Verified, InspectError> {
    let (stat, (whole, bytes, damaged)) = look(disk, |header, search, manifest| {
        let segments = disk.open(SEGMENTS)?;
        let (mut whole, mut bytes, mut damaged) = (0, 0, 0);
        for (generation, slot) in &manifest.live {
            let Some((_, entries)) = search.footers(*generation, *slot)? else { continue };
            for entry in entries.iter().filter(|entry| is_live(search, entry, *slot)) {
                let mut buffer = vec![0; entry.length as usize];
                let begin = header.geometry.begin(*slot) + u64::from(entry.offset);
                let read = segments.read_at(&mut buffer, begin)?;
                buffer.truncate(read);
                let offset = u64::from(entry.offset);
                let place = Place { store: header.id, generation: *generation, offset };
                match record::decode(&Bytes::from(buffer), place) {
                    Some(_) => (whole, bytes) = (whole + 1, bytes + read as u64),
                    None => damaged += 1,
                }
            }
        }
        Ok((whole, bytes, damaged))
    })?;
    Ok(Verified { stat, whole, bytes, damaged })
}

fn is_live(search: &Search<'_>, entry: &Brief, slot: u32) -> bool {
    let (digest, _, _) = brief_identity(entry);
    let is_it = |record: &Record| (record.at.slot, record.at.offset) == (slot, entry.offset);
    search.index.part(digest).has(digest, is_it)
}

fn look<T>(
    disk: &dyn Disk,
    more: impl FnOnce(&Stat, &Search<'_>, &Manifest) -> io::Result<T>,
) -> Result<(Stat, T), InspectError> {
    let Recovered { header, mut manifest } = recover(disk)?;
    let segments = disk.open(SEGMENTS)?;
    let mut search = Search::new(header.store, header.geometry, &manifest, &*segments);
    let unreadable = search.run(&mut manifest);
    let (responses, slices) = search.index.len();
    let stat = Stat {
        id: header.store,
        geometry: header.geometry,
        place: header.place,
        checkpoint: manifest.checkpoint.clone(),
        segments: manifest.live.len(),
        unreadable,
        responses,
        slices,
    };
    let more = more(&stat, &search, &manifest)?;
    Ok((stat, more))
}

/// The names of all files but the lock. Without its journal nothing else is believed, so that is
/// removed first.
const FILES: [&str; 4] = [JOURNAL, NEW_JOURNAL, WITNESS, SEGMENTS];

/// Whether there is anything of a store in a directory, whatever state it is in.
///
/// # Errors
/// The disk failed.
pub fn has_any(disk: &dyn Disk) -> io::Result<bool> {
    for name in FILES {
        if disk.exists(name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the store from a directory, whatever state it is in.
///
/// # Errors
/// The disk failed; calling it again goes on.
pub fn clear(disk: &dyn Disk) -> io::Result<()> {
    for name in FILES {
        disk.remove(name)?;
        disk.sync_names()?;
    }
    Ok(())
}
