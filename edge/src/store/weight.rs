//! What stored responses cost in memory, so that `memory.size` bounds the memory of the process.
//! Measured: `weir-bars memory` and `weir-bars brim` in benches compare it with the process's RSS.

/// What a stored response costs beside its head, body and rarities: itself (160 bytes with its
/// counts), the map's entry (about 165: key, value, its place in the order of eviction, and its share
/// of the table, half of which may be free), and what an allocator cannot fill.
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

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::allocated;

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
