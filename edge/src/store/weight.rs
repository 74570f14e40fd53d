//! What stored responses cost in memory, so that `memory.size` bounds the memory of the process.
//! Measured: `weir-bars memory` and `weir-bars brim` in benches compare it with the process's RSS.

/// What a stored response costs beside its head, body and rarities: itself (160 bytes with its
/// counts), the map's entry (about 270: key, value, entry, queue node, their shares of the
/// table and of the frequency sketch), and a fortieth of all for what an allocator cannot fill.
pub(super) const RESPONSE: u64 = 480;

/// What a key with extras costs in the list of its URL's keys: an entry of the map, half of which may
/// be free, and a list of one.
pub(super) const LISTED_KEY: u64 = 128;

/// What a body costs that is kept below memory: its place, and who reads it.
pub(super) const BELOW: u64 = 320;

/// What a slice costs beside its bytes: its place in a list, and its reference count.
pub(super) const SLICE: u64 = 64;

/// What an allocation of so many bytes takes: allocators hold blocks of a few sizes, here four to
/// each doubling, as mimalloc does.
pub(super) fn allocated(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=64 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

/// The unit in which the map weighs, because its weights have 32 bits: a power of two of bytes, so
/// large that whatever weighs more than the largest weight does not fit into the store at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit(u64);

impl Unit {
    /// Blocks of nearly all sizes are multiples of it.
    const LEAST: u64 = 16;

    /// That of a store of so many bytes.
    pub(super) fn of(size: u64) -> Self {
        let mut unit = Self::LEAST;
        while size / unit >= u64::from(u32::MAX) {
            unit *= 2;
        }
        Self(unit)
    }

    /// A store's size in units.
    pub(super) fn capacity(self, size: u64) -> u64 {
        size / self.0
    }

    /// So many bytes in units, rounded up.
    pub(super) fn units(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.0)
    }

    /// The same as a weight of the map.
    pub(super) fn weight(self, bytes: u64) -> u32 {
        u32::try_from(self.units(bytes)).unwrap_or(u32::MAX)
    }

    /// So many units in bytes.
    pub(super) fn bytes(self, units: u64) -> u64 {
        units.saturating_mul(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::{Unit, allocated};

    #[test]
    fn whatever_does_not_fit_a_weight_does_not_fit_the_store() {
        const GIB: u64 = 1 << 30;
        for size in [1 << 20, 4 * GIB, 64 * GIB, 5000 * GIB, u64::MAX] {
            let unit = Unit::of(size);
            let capacity = unit.capacity(size);
            assert!(capacity < u64::from(unit.weight(u64::MAX)), "{size}: {unit:?}");
            for bytes in [512, 1 << 20, 4 * GIB, 9 * GIB, 300 * GIB] {
                let weight = u64::from(unit.weight(bytes));
                assert!(bytes > size || unit.bytes(weight) >= bytes, "{bytes} of {size}");
            }
        }
        let unit = Unit::of(64 * GIB - 1);
        assert_eq!(unit.bytes(u64::from(unit.weight(5 * GIB))), 5 * GIB);
    }

    #[test]
    fn an_allocation_is_counted_by_its_block() {
        let cases = [
            (0, 0),
            (1, 8),
            (9, 16),
            (40, 48),
            (65, 80),
            (200, 224),
            (1024, 1024),
            (1025, 1280),
            (1281, 1536),
        ];
        for (bytes, block) in cases {
            assert_eq!(allocated(bytes), block, "{bytes}");
        }
        assert_eq!(allocated(256 * 1024), 256 * 1024);
    }

    #[test]
    fn a_stored_response_stays_within_its_block() {
        // With the two counts of an `Arc`; RESPONSE counts on it.
        assert!(size_of::<Stored>() + 16 <= 160, "{}", size_of::<Stored>());
    }
}
