//! The witness: how much of the journal was made durable. It tells a journal whose end was damaged
//! from one whose end was never finished.
//!
//! It is written after each sync of the journal and is not synced itself, in two sectors by turns:
//! after a loss of power it may be older than the journal, never newer.

use super::codec::Decoder;
use super::{Covers, Place, SECTOR, StoreId, checksum};

/// Bytes of the file.
pub(crate) const WITNESS: usize = 2 * SECTOR;

/// What one of the two sectors says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The store's life.
    pub(crate) store: StoreId,
    /// The journal's number.
    pub(crate) journal: u64,
    /// Bytes of it that are durable.
    pub(crate) durable: u64,
}

impl Witness {
    /// As written into one of the sectors.
    pub(crate) fn encode(&self, sector: usize) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        out[8..24].copy_from_slice(&self.store.0);
        out[24..32].copy_from_slice(&self.journal.to_le_bytes());
        out[32..40].copy_from_slice(&self.durable.to_le_bytes());
        // Never all zero: a sector of zeros was not written yet.
        out[40] = 1;
        let sum = checksum(Covers::Witness, place(self.store, sector), &out[8..]);
        out[..8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], sector: usize) -> Option<Self> {
        let mut decoder = Decoder::new(bytes.get(..SECTOR)?);
        let sum = decoder.u64()?;
        let covered = decoder.rest();
        let store = StoreId(decoder.take(16)?.try_into().ok()?);
        let witness = Self { store, journal: decoder.u64()?, durable: decoder.u64()? };
        (checksum(Covers::Witness, place(store, sector), covered) == sum).then_some(witness)
    }

    /// The later one of the two in the file, and the sector that it is in. `None`: the file is
    /// damaged. A sector that is written in part does not exist: devices write whole ones.
    pub(crate) fn read(file: &[u8]) -> Option<(Self, usize)> {
        if file.len() != WITNESS {
            return None;
        }
        let mut latest: Option<(Self, usize)> = None;
        for (sector, bytes) in file.chunks(SECTOR).enumerate() {
            if bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            let witness = Self::decode(bytes, sector)?;
            let order = |witness: &Self| (witness.journal, witness.durable);
            if latest.is_none_or(|(latest, _)| order(&latest) < order(&witness)) {
                latest = Some((witness, sector));
            }
        }
        latest
    }
}

fn place(store: StoreId, sector: usize) -> Place {
    Place { store, generation: 0, offset: sector as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_sector_counts_and_a_damaged_one_is_noticed() {
        let of = |durable| Witness { store: StoreId([1; 16]), journal: 2, durable };
        let mut file = [of(10).encode(0), of(20).encode(1)].concat();
        assert_eq!(Witness::read(&file), Some((of(20), 1)));
        file[..SECTOR].copy_from_slice(&of(30).encode(0));
        assert_eq!(Witness::read(&file), Some((of(30), 0)));
        for bit in 0..WITNESS * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Witness::read(&flipped), None, "bit {bit}");
        }
        let swapped = [&file[SECTOR..], &file[..SECTOR]].concat();
        assert_eq!(Witness::read(&swapped), None);
        assert_eq!(Witness::read(&file[..SECTOR]), None);
        file[SECTOR..].fill(0);
        assert_eq!(Witness::read(&file), Some((of(30), 0)), "a sector that was not written yet");
        assert_eq!(Witness::read(&[0; WITNESS]), None);
    }
}
