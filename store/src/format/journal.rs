//! The journal: a sector of its own about the store, a snapshot, and batches of entries.
//!
//! The first 32 bytes of the header mean the same in every version, so that a version that is not
//! known can be told from a damaged file.
//!
//! ```text
//! magic, 8 bytes; version, 4 bytes; 0, 4 bytes; checksum of the sector, 8 bytes; 0, 8 bytes
//! the store's id, the journal's number, epoch, geometry, secret, place, length of the snapshot
//! (next sector) batches: checksum, 8 bytes; length, 4 bytes; entries
//! ```

use super::codec::{Decoder, Encode};
use super::{Covers, FORMAT_VERSION, Place, SECTOR, StoreId, UNIT, checkpoint, checksum};
use crate::checkpoint::Checkpoint;
use crate::geometry::Geometry;
use crate::response::Seq;

const MAGIC: [u8; 8] = *b"weirdisk";

/// Where the header's checksum is.
const SUM: usize = 16;

/// Bytes before the entries of a batch.
pub(crate) const BATCH_HEADER: usize = 12;

/// What the journal's first sector says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store: StoreId,
    /// Counts the journals of the store, from 1.
    pub(crate) number: u64,
    /// Counts the times that the store was opened.
    pub(crate) epoch: u32,
    pub(crate) geometry: Geometry,
    /// The secret that URLs are digested with.
    pub(crate) secret: [u8; 16],
    /// Which of the store's directories this is, and of how many.
    pub(crate) place: (u16, u16),
    /// Bytes of the batches that were written before the journal took the place of the one before.
    pub(crate) snapshot: u64,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged,
    /// It is whole, and of this version.
    Version(u32),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; SECTOR] {
        let mut out = Vec::with_capacity(SECTOR);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 20]);
        out.extend_from_slice(&self.store.0);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        let Geometry { segment, slots, slice } = self.geometry;
        for number in [segment, slots, slice] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.secret);
        out.extend_from_slice(&self.place.0.to_le_bytes());
        out.extend_from_slice(&self.place.1.to_le_bytes());
        out.extend_from_slice(&self.snapshot.to_le_bytes());
        let mut sector = [0; SECTOR];
        sector[..out.len()].copy_from_slice(&out);
        let sum = header_sum(&sector);
        sector[SUM..SUM + 8].copy_from_slice(&sum.to_le_bytes());
        sector
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let damaged = BadHeader::Damaged;
        let sector: &[u8; SECTOR] =
            bytes.get(..SECTOR).and_then(|sector| sector.try_into().ok()).ok_or(damaged)?;
        let mut decoder = Decoder::new(sector);
        let magic = decoder.take(8).ok_or(damaged)?;
        let version = decoder.u32().ok_or(damaged)?;
        decoder.u32().ok_or(damaged)?;
        let sum = decoder.u64().ok_or(damaged)?;
        if magic != MAGIC || header_sum(sector) != sum {
            return Err(damaged);
        }
        if version != FORMAT_VERSION {
            return Err(BadHeader::Version(version));
        }
        decoder.u64().ok_or(damaged)?;
        Self::decode_rest(&mut decoder).ok_or(damaged)
    }

    fn decode_rest(decoder: &mut Decoder<'_>) -> Option<Self> {
        let store = StoreId(decoder.take(16)?.try_into().ok()?);
        let (number, epoch) = (decoder.u64()?, decoder.u32()?);
        let (segment, slots, slice) = (decoder.u32()?, decoder.u32()?, decoder.u32()?);
        let geometry = Geometry { segment, slots, slice };
        let secret = decoder.take(16)?.try_into().ok()?;
        let place = (decoder.u16()?, decoder.u16()?);
        let snapshot = decoder.u64()?;
        Some(Self { store, number, epoch, geometry, secret, place, snapshot })
    }
}

fn header_sum(sector: &[u8; SECTOR]) -> u64 {
    let mut covered = *sector;
    covered[SUM..SUM + 8].fill(0);
    let place = Place { store: StoreId([0; 16]), generation: 0, offset: 0 };
    checksum(Covers::JournalHeader, place, &covered)
}

/// A change of what is live, or of what was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Records may be in this slot under this generation from now on.
    Open { generation: u64, slot: u32 },
    /// Nothing of this generation is live any more.
    Retire { generation: u64 },
    /// The record at this offset is not live any more.
    Remove { generation: u64, offset: u32 },
    /// A soft purge matched the record at this offset.
    Soften { generation: u64, offset: u32, seq: Seq },
    /// A node's place in the log.
    Checkpoint(Box<Checkpoint>),
    /// The node's place, where nothing else of the checkpoint changed.
    Progress { applied: Seq, mark: u64, checked: Seq, wall: u64 },
}

impl Change {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open { generation, slot } => {
                out.push(1);
                out.put_varint(*generation);
                out.put_varint(u64::from(*slot));
            }
            Self::Retire { generation } => {
                out.push(2);
                out.put_varint(*generation);
            }
            Self::Remove { generation, offset } => {
                out.push(3);
                out.put_varint(*generation);
                out.put_varint(u64::from(offset / UNIT));
            }
            Self::Soften { generation, offset, seq } => {
                out.push(4);
                out.put_varint(*generation);
                out.put_varint(u64::from(offset / UNIT));
                out.put_varint(*seq);
            }
            Self::Checkpoint(whole) => {
                out.push(5);
                checkpoint::encode(out, whole);
            }
            Self::Progress { applied, mark, checked, wall } => {
                out.push(6);
                [*applied, *mark, *checked, *wall].into_iter().for_each(|n| out.put_varint(n));
            }
        }
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(match decoder.u8()? {
            1 => Self::Open { generation: decoder.varint()?, slot: decoder.varint32()? },
            2 => Self::Retire { generation: decoder.varint()? },
            3 => Self::Remove { generation: decoder.varint()?, offset: offset(decoder)? },
            4 => Self::Soften {
                generation: decoder.varint()?,
                offset: offset(decoder)?,
                seq: decoder.varint()?,
            },
            5 => Self::Checkpoint(Box::new(checkpoint::decode(decoder)?)),
            6 => Self::Progress {
                applied: decoder.varint()?,
                mark: decoder.varint()?,
                checked: decoder.varint()?,
                wall: decoder.varint()?,
            },
            _ => return None,
        })
    }
}

fn offset(decoder: &mut Decoder<'_>) -> Option<u32> {
    decoder.varint32()?.checked_mul(UNIT)
}

/// A batch of entries at this place.
pub(crate) fn encode_batch(place: Place, entries: &[u8]) -> Vec<u8> {
    let mut out = vec![0; BATCH_HEADER];
    out[8..].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    out.extend_from_slice(entries);
    let sum = checksum(Covers::JournalBatch, place, &out[8..]);
    out[..8].copy_from_slice(&sum.to_le_bytes());
    out
}

/// The entries of the batch that begins here. `None`: it is damaged, or was never finished.
pub(crate) fn decode_batch(bytes: &[u8], place: Place) -> Option<&[u8]> {
    let mut decoder = Decoder::new(bytes);
    let sum = decoder.u64()?;
    let covered = decoder.rest();
    let length = usize::try_from(decoder.u32()?).ok()?;
    let entries = decoder.take(length)?;
    let covered = covered.get(..4 + length)?;
    (checksum(Covers::JournalBatch, place, covered) == sum).then_some(entries)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// The header as another version would have written it.
    pub(crate) fn of_version(header: &[u8], version: u32) -> [u8; SECTOR] {
        let mut sector: [u8; SECTOR] = header[..SECTOR].try_into().unwrap();
        sector[8..12].copy_from_slice(&version.to_le_bytes());
        let sum = header_sum(&sector);
        sector[SUM..SUM + 8].copy_from_slice(&sum.to_le_bytes());
        sector
    }

    fn header() -> Header {
        Header {
            store: StoreId([3; 16]),
            number: 5,
            epoch: 2,
            geometry: Geometry { segment: 1 << 20, slots: 10, slice: 1 << 16 },
            secret: [9; 16],
            place: (1, 3),
            snapshot: 77,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_a_flipped_bit_is_damage() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for bit in 0..SECTOR * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }
        assert_eq!(Header::decode(&bytes[..SECTOR - 1]), Err(BadHeader::Damaged));
    }

    #[test]
    fn another_version_is_named_if_the_sector_is_whole() {
        let mut bytes = header().encode();
        bytes[8..12].copy_from_slice(&7u32.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged));
        assert_eq!(Header::decode(&of_version(&bytes, 7)), Err(BadHeader::Version(7)));
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        let checkpoint = Checkpoint { log: Some("l".into()), applied: 4, ..Checkpoint::default() };
        let changes = [
            Change::Open { generation: 1 << 33, slot: 9 },
            Change::Retire { generation: 4 },
            Change::Remove { generation: 5, offset: 16 * 77 },
            Change::Soften { generation: 5, offset: 0, seq: 12 },
            Change::Checkpoint(Box::new(checkpoint)),
            Change::Progress { applied: 1, mark: u64::MAX, checked: 3, wall: 4 },
        ];
        let mut entries = Vec::new();
        changes.iter().for_each(|change| change.encode(&mut entries));
        let place = Place { store: StoreId([3; 16]), generation: 5, offset: 512 };
        let batch = encode_batch(place, &entries);
        let mut read = Decoder::new(decode_batch(&batch, place).unwrap());
        for change in &changes {
            assert_eq!(Change::decode(&mut read).as_ref(), Some(change));
        }
        assert!(read.is_empty());
        for bit in 0..batch.len() * 8 {
            let mut flipped = batch.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_batch(&flipped, place), None, "bit {bit}");
        }
        assert_eq!(decode_batch(&batch, Place { offset: 524, ..place }), None);
    }
}
