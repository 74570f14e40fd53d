//! The trailer of a segment: its last two sectors. Each holds the place of the last footer as of a
//! different moment; the later one is written over the earlier one, so that one is always whole.

use super::codec::Decoder;
use super::footer::FooterPlace;
use super::{Covers, Place, SECTOR, checksum};

/// Bytes at the end of each segment.
pub(crate) const TRAILERS: usize = 2 * SECTOR;

/// Marks a trailer.
const MAGIC: [u8; 8] = *b"weirtrl\0";

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Counts the trailers of a segment's generation, from 1.
    pub(crate) number: u32,
    /// The last footer.
    pub(crate) footer: FooterPlace,
}

impl Trailer {
    /// As written at this place.
    pub(crate) fn encode(&self, place: Place) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        out[8..16].copy_from_slice(&MAGIC);
        out[16..24].copy_from_slice(&place.generation.to_le_bytes());
        out[24..28].copy_from_slice(&self.number.to_le_bytes());
        out[28..32].copy_from_slice(&self.footer.offset.to_le_bytes());
        out[32..36].copy_from_slice(&self.footer.length.to_le_bytes());
        let sum = checksum(Covers::Trailer, place, &out[8..]);
        out[..8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// As read from this place. `None`: it is damaged, empty, or of another generation.
    pub(crate) fn decode(bytes: &[u8], place: Place) -> Option<Self> {
        let mut decoder = Decoder::new(bytes.get(..SECTOR)?);
        let sum = decoder.u64()?;
        if checksum(Covers::Trailer, place, decoder.rest()) != sum || decoder.take(8)? != MAGIC {
            return None;
        }
        let generation = decoder.u64()?;
        let number = decoder.u32()?;
        let footer = FooterPlace { offset: decoder.u32()?, length: decoder.u32()? };
        (generation == place.generation).then_some(Self { number, footer })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::StoreId;
    use super::*;

    #[test]
    fn a_trailer_is_read_at_its_own_place_alone() {
        let place = Place { store: StoreId([1; 16]), generation: 9, offset: 512 };
        let trailer = Trailer { number: 3, footer: FooterPlace { offset: 16, length: 99 } };
        let bytes = trailer.encode(place);
        assert_eq!(Trailer::decode(&bytes, place), Some(trailer));
        assert_eq!(Trailer::decode(&bytes, Place { generation: 8, ..place }), None);
        assert_eq!(Trailer::decode(&bytes, Place { offset: 0, ..place }), None);
        assert_eq!(Trailer::decode(&[0; SECTOR], place), None);
        for bit in 0..SECTOR * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::decode(&flipped, place), None, "bit {bit}");
        }
    }
}
