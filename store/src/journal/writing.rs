//! The file of the journal as it is written.

use super::recovered::Manifest;
use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, DiskFile, JOURNAL, NEW_JOURNAL, WITNESS, read_all};
use crate::format::codec::Decoder;
use crate::format::journal::{BATCH_HEADER, Change, Header, decode_batch, encode_batch};
use crate::format::witness::{self, Witness};
use crate::format::{Place, SECTOR};
use crate::response::Seq;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Bytes beyond which the journal is written anew, at least.
const LEAST_LIMIT: u64 = 1 << 20;

/// Bytes of entries in a batch of a snapshot, about.
const SNAPSHOT_BATCH: usize = 256 << 10;

/// The file.
pub(super) struct Writing {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    witness: Arc<dyn DiskFile>,
    header: Header,
    /// Bytes of the file.
    end: u64,
    /// The sector of the witness that is written next.
    sector: usize,
    /// As the file has it.
    live: BTreeMap<u64, u32>,
    checkpoint: Option<Checkpoint>,
    /// Bytes beyond which it is written anew.
    limit: u64,
    has_failed: bool,
}

impl Writing {
    /// Writes a journal that begins with what is live, and puts it in the place of the one before.
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        header: Header,
        manifest: &Manifest,
    ) -> io::Result<Self> {
        let sector = if header.number == 1 {
            // The witness of another life of the store must not speak for this one, and a witness
            // must be there before the journal is.
            let file = disk.open(WITNESS)?;
            let none = Witness { store: header.store, journal: 0, durable: 0 };
            let mut sectors = [0; witness::WITNESS];
            sectors[..SECTOR].copy_from_slice(&none.encode(0));
            file.set_length(witness::WITNESS as u64)?;
            file.write_at(&sectors, 0)?;
            file.sync()?;
            1
        } else {
            let latest = Witness::read(&read_all(&*disk.open(WITNESS)?)?);
            latest.map_or(0, |(_, sector)| 1 - sector)
        };
        let mut changes = Vec::new();
        let (removed, softened) = (&manifest.removed, &manifest.softened);
        for generation in manifest.live.keys().copied() {
            let removed = removed.get(&generation).into_iter().flatten();
            changes.extend(removed.map(|offset| Change::Remove { generation, offset: *offset }));
            let softened = softened.get(&generation).into_iter().flatten();
            changes.extend(softened.map(|(offset, seq)| Change::Soften {
                generation,
                offset: *offset,
                seq: *seq,
            }));
        }
        let mut writing = Self {
            file: disk.open(JOURNAL)?,
            witness: disk.open(WITNESS)?,
            disk,
            header,
            end: 0,
            sector,
            live: manifest.live.clone(),
            checkpoint: manifest.checkpoint.clone(),
            limit: LEAST_LIMIT,
            has_failed: false,
        };
        writing.replace(changes.into_iter())?;
        Ok(writing)
    }

    /// The node's own number of the last seq that the checkpoint says was applied.
    pub(super) fn applied(&self) -> Seq {
        self.checkpoint.as_ref().map_or(0, Checkpoint::applied_own)
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Makes entries durable.
    pub(super) fn write(&mut self, entries: &[u8]) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("the journal failed before"));
        }
        let written = self.try_write(entries);
        self.has_failed = written.is_err();
        written
    }

    fn try_write(&mut self, entries: &[u8]) -> io::Result<()> {
        let batch = encode_batch(self.place(self.end), entries);
        self.file.write_at(&batch, self.end)?;
        self.file.sync()?;
        self.end += batch.len() as u64;
        self.note(entries);
        self.bear_witness()?;
        if self.end > self.limit {
            self.header.number += 1;
            let old = read_all(&*self.file)?;
            let place = |offset| Place {
                store: self.header.store,
                generation: self.header.number - 1,
                offset,
            };
            let live = self.live.clone();
            let changes = changes_in(&old, place).filter(move |change| match change {
                Change::Remove { generation, .. } | Change::Soften { generation, .. } => {
                    live.contains_key(generation)
                }
                _ => false,
            });
            self.replace(changes.collect::<Vec<_>>().into_iter())?;
        }
        Ok(())
    }

    fn place(&self, offset: u64) -> Place {
        Place { store: self.header.store, generation: self.header.number, offset }
    }

    fn note(&mut self, entries: &[u8]) {
        let mut decoder = Decoder::new(entries);
        let mut manifest = Manifest {
            live: std::mem::take(&mut self.live),
            checkpoint: self.checkpoint.take(),
            ..Manifest::default()
        };
        while let Some(change) = Change::decode(&mut decoder) {
            if !matches!(change, Change::Remove { .. } | Change::Soften { .. }) {
                manifest.take(change);
            }
        }
        self.live = manifest.live;
        self.checkpoint = manifest.checkpoint;
    }

    /// Says how much is durable. Not synced itself: it may be late, and must not be early.
    fn bear_witness(&mut self) -> io::Result<()> {
        let witness =
            Witness { store: self.header.store, journal: self.header.number, durable: self.end };
        self.witness.write_at(&witness.encode(self.sector), (self.sector * SECTOR) as u64)?;
        self.sector = 1 - self.sector;
        Ok(())
    }

    /// Writes the journal anew, with these changes beside what is live and the checkpoint.
    fn replace(&mut self, changes: impl Iterator<Item = Change>) -> io::Result<()> {
        self.disk.remove(NEW_JOURNAL)?;
        let file = self.disk.open(NEW_JOURNAL)?;
        let mut end = SECTOR as u64;
        let mut entries = Vec::new();
        let checkpoint = self.checkpoint.iter().cloned().map(|it| Change::Checkpoint(Box::new(it)));
        let live = self.live.iter();
        let live =
            live.map(|(generation, slot)| Change::Open { generation: *generation, slot: *slot });
        let mut all = checkpoint.chain(live).chain(changes).peekable();
        while let Some(change) = all.next() {
            change.encode(&mut entries);
            if entries.len() >= SNAPSHOT_BATCH || all.peek().is_none() {
                let batch = encode_batch(self.place(end), &entries);
                file.write_at(&batch, end)?;
                end += batch.len() as u64;
                entries.clear();
            }
        }
        self.header.snapshot = end - SECTOR as u64;
        file.write_at(&self.header.encode(), 0)?;
        file.sync()?;
        self.disk.rename(NEW_JOURNAL, JOURNAL)?;
        self.disk.sync_names()?;
        (self.file, self.end) = (file, end);
        self.limit = LEAST_LIMIT.max(2 * end);
        self.bear_witness()?;
        // The next journal is told from this one by a witness that is durable.
        self.witness.sync()
    }
}

/// The changes in a journal that this process wrote.
fn changes_in(bytes: &[u8], place: impl Fn(u64) -> Place) -> impl Iterator<Item = Change> {
    let mut offset = SECTOR;
    let batches = std::iter::from_fn(move || {
        let entries = decode_batch(bytes.get(offset..)?, place(offset as u64))?;
        offset += BATCH_HEADER + entries.len();
        Some(entries)
    });
    batches.flat_map(|entries| {
        let mut decoder = Decoder::new(entries);
        std::iter::from_fn(move || Change::decode(&mut decoder))
    })
}
