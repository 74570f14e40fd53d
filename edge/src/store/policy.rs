//! What the memory store keeps, without what it stores: for simulations. It is the map of the store itself,
//! and it weighs what the store weighs.

use super::body::SLICE as SLICE_BYTES;
use super::map::Map;
use super::weight::{RESPONSE, SLICE, allocated};

/// The decisions of a memory store: which responses it admits and evicts.
pub struct MemoryPolicy {
    map: Map<Held>,
}

/// What is known of a response that is held.
#[derive(Clone, Copy, Debug)]
struct Held {
    weight: u64,
    note: u64,
}

/// What a response takes of `memory.size`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage(u64);

impl Usage {
    /// That of a response with a cache key and headers of `head` bytes, and a body of `body` bytes.
    pub fn of(head: usize, body: u64) -> Self {
        let whole = body / SLICE_BYTES as u64;
        let rest = match usize::try_from(body % SLICE_BYTES as u64) {
            Ok(rest) if rest > 0 => SLICE + allocated(rest),
            _ => 0,
        };
        let slices = whole * (SLICE + allocated(SLICE_BYTES)) + rest;
        Self(RESPONSE + allocated(head) + slices)
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl MemoryPolicy {
    /// That of an empty store of so many bytes (`memory.size`).
    pub fn new(size: u64) -> Self {
        Self { map: Map::new(size, |held: &Held| held.weight) }
    }

    /// A request for a response: what was noted of it, if it is held.
    pub fn get(&self, key: u128) -> Option<u64> {
        self.map.get(key).map(|held| held.note)
    }

    /// Stores a response with a note. Whether it is kept: the store may be full, and what it holds
    /// requested more often.
    pub fn put(&self, key: u128, usage: Usage, note: u64) -> bool {
        self.map.insert(key, Held { weight: usage.0, note })
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.map.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PackedHead, Slice, Stored, StoredBody};
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;

    #[test]
    fn a_response_takes_what_the_store_weighs() {
        let Ok(head) = PackedHead::pack(b"http://example.com/a", &HeaderMap::new()) else {
            panic!("a short head is packed")
        };
        let bytes = head.len();
        for length in [0, 1, 500, SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, 3 * SLICE_BYTES] {
            let slice = |start: usize| Slice {
                start: start as u64,
                bytes: Bytes::from(vec![0; SLICE_BYTES.min(length - start)]),
            };
            let slices = (0..length).step_by(SLICE_BYTES).map(slice).collect();
            let body = StoredBody::new(slices, Some(length as u64));
            let stored = Stored { head: head.clone(), body, ..Stored::example() };
            assert_eq!(Usage::of(bytes, length as u64).bytes(), stored.weight(), "{length}");
        }
    }

    #[test]
    fn what_is_requested_stays_and_the_bound_holds() {
        let policy = MemoryPolicy::new(1 << 20);
        let usage = Usage::of(100, 1_000);
        assert_eq!(policy.get(7), None);
        assert!(policy.put(7, usage, 3));
        for other in 100..5_000 {
            assert_eq!(policy.get(7), Some(3), "after {other}");
            if policy.get(other).is_none() {
                policy.put(other, usage, 0);
            }
        }
        assert!(policy.bytes() <= 1 << 20, "{}", policy.bytes());
        assert!(policy.bytes() > 9 << 16);
    }
}
