//! A record in the index, packed into 16 bytes.

use crate::format::UNIT;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// The slot, of 22 bits.
    pub(crate) slot: u32,
    /// Bytes from its beginning: a multiple of [`UNIT`], of 28 bits.
    pub(crate) offset: u32,
    /// Bytes, rounded up to a multiple of [`UNIT`].
    pub(crate) length: u32,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A response, with its body or without.
    Response,
    /// A slice of a body.
    Slice,
}

/// What the index knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Tells records with one digest apart, by 20 bits.
    pub(crate) variant: u32,
    pub(crate) at: Location,
    pub(crate) kind: Kind,
    /// Whether it was looked up since it was written.
    pub(crate) is_hit: bool,
    /// Whether a soft purge matched it.
    pub(crate) is_soft: bool,
}

const VARIANT: u32 = 32;
const SLOT: u32 = 52;
const OFFSET: u32 = 74;
const LENGTH: u32 = 98;
const SLICE: u32 = 122;
const HIT: u32 = 123;
const SOFT: u32 = 124;

/// A record with its fingerprint; 0 is none.
pub(crate) fn pack(fingerprint: u32, record: &Record) -> u128 {
    let Record { variant, at, kind, is_hit, is_soft } = *record;
    debug_assert!(variant < 1 << 20 && at.slot < 1 << 22 && at.offset.is_multiple_of(UNIT));
    u128::from(fingerprint)
        | u128::from(variant) << VARIANT
        | u128::from(at.slot) << SLOT
        | u128::from(at.offset / UNIT) << OFFSET
        | u128::from(at.length.div_ceil(UNIT)) << LENGTH
        | u128::from(kind == Kind::Slice) << SLICE
        | u128::from(is_hit) << HIT
        | u128::from(is_soft) << SOFT
}

/// The fingerprint of a packed record.
pub(crate) fn fingerprint(packed: u128) -> u32 {
    packed as u32
}

/// The record.
pub(crate) fn unpack(packed: u128) -> Record {
    let bits = |from: u32, count: u32| (packed >> from) as u32 & ((1 << count) - 1);
    let is = |bit: u32| bits(bit, 1) == 1;
    Record {
        variant: bits(VARIANT, 20),
        at: Location {
            slot: bits(SLOT, 22),
            offset: bits(OFFSET, 24) * UNIT,
            length: bits(LENGTH, 24) * UNIT,
        },
        kind: if is(SLICE) { Kind::Slice } else { Kind::Response },
        is_hit: is(HIT),
        is_soft: is(SOFT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_unpacked_as_it_was_packed() {
        let largest = Record {
            variant: (1 << 20) - 1,
            at: Location {
                slot: (1 << 22) - 1,
                offset: ((1 << 24) - 1) * UNIT,
                length: ((1 << 24) - 1) * UNIT,
            },
            kind: Kind::Slice,
            is_hit: true,
            is_soft: false,
        };
        let smallest = Record {
            variant: 0,
            at: Location { slot: 0, offset: 0, length: UNIT },
            kind: Kind::Response,
            is_hit: false,
            is_soft: true,
        };
        for record in [largest, smallest] {
            for print in [1, u32::MAX] {
                let packed = pack(print, &record);
                assert_eq!((fingerprint(packed), unpack(packed)), (print, record));
            }
        }
    }
}
