//! The format of the files, as pure functions: bytes to values, and values to bytes.
//!
//! A directory holds three files. `journal` names the live segments and everything in them that is
//! no longer live, and holds the checkpoint ([`journal`]). `witness` says how much of the journal
//! was made durable ([`witness`]). `segments` holds the records ([`record`]), footers ([`footer`])
//! and trailers ([`trailer`]) of all segments.
//!
//! Every checksum begins with a seed made of the store's id and the place at which the bytes are
//! written, so that bytes that were moved, or that a former life of the store left, do not pass.

pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod footer;
pub(crate) mod journal;
pub(crate) mod record;
pub(crate) mod trailer;
pub(crate) mod witness;

use twox_hash::XxHash3_64;

/// The version of the format that this code writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Devices write so many bytes at once or not at all.
pub(crate) const SECTOR: usize = 512;

/// Records and footers begin at multiples of this.
pub(crate) const UNIT: u32 = 16;

/// The random id of a store's life. Emptying a store gives it a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

/// What kind of bytes a checksum covers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Covers {
    RecordHead = 1,
    Body = 2,
    Footer = 3,
    Trailer = 4,
    JournalHeader = 5,
    JournalBatch = 6,
    Witness = 7,
}

/// Where bytes are written: a generation of a segment and an offset in it, or a file's number and
/// an offset in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The store's life.
    pub(crate) store: StoreId,
    /// The segment's generation, or the file's number.
    pub(crate) generation: u64,
    /// Bytes from the beginning of the segment or the file.
    pub(crate) offset: u64,
}

/// The checksum of bytes of this kind at this place.
pub(crate) fn checksum(covers: Covers, place: Place, bytes: &[u8]) -> u64 {
    let mut seed = XxHash3_64::oneshot_with_seed(covers as u64, &place.store.0);
    seed = mixed(seed ^ place.generation);
    seed = mixed(seed ^ place.offset);
    XxHash3_64::oneshot_with_seed(seed, bytes)
}

/// A number whose bits all depend on all bits of this one.
pub fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The next multiple of [`UNIT`].
pub(crate) fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(UNIT as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_depends_on_the_store_the_place_and_the_kind() {
        let place = Place { store: StoreId([1; 16]), generation: 2, offset: 3 };
        let sum = checksum(Covers::Body, place, b"bytes");
        assert_eq!(sum, checksum(Covers::Body, place, b"bytes"));
        for (covers, other, bytes) in [
            (Covers::RecordHead, place, &b"bytes"[..]),
            (Covers::Body, Place { store: StoreId([2; 16]), ..place }, b"bytes"),
            (Covers::Body, Place { generation: 3, ..place }, b"bytes"),
            (Covers::Body, Place { offset: 2, ..place }, b"bytes"),
            (Covers::Body, place, b"byteS"),
        ] {
            assert_ne!(sum, checksum(covers, other, bytes), "{covers:?} {other:?}");
        }
    }
}
