//! A node: its stores, and how a request uses them.

use crate::sample::Sample;
use weir_edge::{MemoryPolicy, Usage};
use weir_store::{Admission, Admit, Geometry, VolumePolicy};

/// Bytes of the key and the headers of a response: logs do not tell them.
const HEAD: usize = 400;

/// The stores of a node, as a configuration names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stores {
    /// `memory.size`.
    pub memory: u64,
    /// `disk.size`; none is no disk.
    pub disk: Option<u64>,
}

impl Stores {
    /// `memory.max_object`, by default.
    fn largest_in_memory(self) -> u64 {
        self.memory / 8
    }

    /// `disk.max_object`, by default.
    fn largest_on_disk(self) -> u64 {
        self.disk.unwrap_or(0) / 8
    }

    /// The least share of the URLs that these stores can be simulated with.
    pub fn least_rate(self) -> f64 {
        let of_memory = (1 << 20) as f64 / self.memory as f64;
        let of_disk = self.disk.map_or(0.0, |disk| Geometry::SMALLEST_STORE as f64 / disk as f64);
        of_memory.max(of_disk)
    }
}

/// Where a response was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In memory.
    Memory,
    /// On disk.
    Disk,
    /// Nowhere, or it was stale.
    Nowhere,
}

/// A node.
pub struct Node {
    stores: Stores,
    memory: MemoryPolicy,
    disk: Option<Disk>,
}

struct Disk {
    volume: VolumePolicy,
    /// What is written.
    admission: Admission,
    /// What comes into memory.
    promotion: Admission,
}

/// `disk.window`, by default.
const WINDOW: u64 = 1_000_000;

/// What is asked for: a URL, the bytes of its response, and the second.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// A hash of the URL.
    pub url: u64,
    /// Bytes of the body.
    pub length: u64,
    /// Seconds since some moment.
    pub at: u64,
    /// Seconds for which a response is fresh; none is for ever.
    pub ttl: Option<u64>,
}

impl Asked {
    fn is_fresh(&self, stored_at: u64) -> bool {
        self.ttl.is_none_or(|ttl| self.at.saturating_sub(stored_at) < ttl)
    }
}

impl Node {
    /// A node with empty stores that gets a share of the URLs; `None` if `disk.size` is too small.
    pub fn new(stores: Stores, sample: Sample) -> Option<Self> {
        let memory = MemoryPolicy::new(sample.of_bytes(stores.memory));
        let window = u32::try_from(sample.of_bytes(WINDOW)).unwrap_or(u32::MAX);
        let disk = match stores.disk {
            Some(size) => Some(Disk {
                volume: VolumePolicy::new(Geometry::of_size(sample.of_bytes(size))?),
                admission: Admission::new(Admit::Second, window),
                promotion: Admission::new(Admit::Second, window),
            }),
            None => None,
        };
        Some(Self { stores, memory, disk })
    }

    /// A request: where the response is, fresh.
    pub fn request(&mut self, asked: Asked) -> Found {
        if let Some(stored_at) = self.memory.get(asked.url.into()) {
            return match asked.is_fresh(stored_at) {
                true => Found::Memory,
                false => Found::Nowhere,
            };
        }
        let Some(disk) = &mut self.disk else { return Found::Nowhere };
        match disk.volume.get(asked.url) {
            Some(stored_at) if asked.is_fresh(stored_at) => {
                if disk.promotion.admits(asked.url, false)
                    && asked.length <= self.stores.largest_in_memory()
                {
                    self.memory.put(asked.url.into(), Usage::of(HEAD, asked.length), stored_at);
                }
                Found::Disk
            }
            _ => Found::Nowhere,
        }
    }

    /// Stores what an upstream answered.
    pub fn store(&mut self, asked: Asked) {
        let fits_memory = asked.length <= self.stores.largest_in_memory();
        if fits_memory {
            self.memory.put(asked.url.into(), Usage::of(HEAD, asked.length), asked.at);
        }
        let Some(disk) = &mut self.disk else { return };
        let is_known = disk.volume.has(asked.url);
        if asked.length > self.stores.largest_on_disk() {
            return;
        }
        // What memory cannot hold is written at once.
        if !fits_memory || disk.admission.admits(asked.url, false) || is_known {
            disk.volume.put(asked.url, HEAD, asked.length, asked.at);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn asked(url: u64, length: u64) -> Asked {
        Asked { url, length, at: 0, ttl: None }
    }

    fn node(memory: u64, disk: Option<u64>) -> Node {
        Node::new(Stores { memory, disk }, Sample::ALL).unwrap()
    }

    #[test]
    fn what_was_stored_is_found_in_memory_and_expires() {
        let mut node = node(64 * MIB, None);
        let first = Asked { ttl: Some(60), ..asked(1, 1_000) };
        assert_eq!(node.request(first), Found::Nowhere);
        node.store(first);
        assert_eq!(node.request(Asked { at: 59, ..first }), Found::Memory);
        assert_eq!(node.request(Asked { at: 60, ..first }), Found::Nowhere);
        node.store(Asked { at: 60, ..first });
        assert_eq!(node.request(Asked { at: 100, ..first }), Found::Memory);
    }

    #[test]
    fn what_memory_cannot_hold_is_on_disk_at_once_and_what_is_fetched_twice() {
        let mut node = node(32 * MIB, Some(256 * MIB));
        let large = asked(1, 5 * MIB);
        node.store(large);
        assert_eq!(node.request(large), Found::Disk);
        node.store(asked(2, 33 * MIB));
        assert_eq!(node.request(asked(2, 33 * MIB)), Found::Nowhere, "it is above disk.max_object");
        // Small ones, far more than memory holds, of which each is fetched twice.
        for url in (100..3_100).flat_map(|url| [url, url]) {
            node.store(asked(url, 20_000));
        }
        let on_disk = (100..3_100).filter(|url| node.request(asked(*url, 20_000)) == Found::Disk);
        assert!(on_disk.count() > 1_000);
        assert!((1_000_000..1_000_100).all(|url| node.request(asked(url, 1)) == Found::Nowhere));
    }

    #[test]
    fn what_is_found_on_disk_twice_comes_into_memory() {
        let mut node = node(32 * MIB, Some(256 * MIB));
        node.store(asked(1, 1_000));
        node.store(asked(1, 1_000));
        // Memory loses it.
        for url in 100..60_000 {
            node.request(asked(url, 1_000));
            node.store(asked(url, 1_000));
            node.request(asked(url, 1_000));
        }
        if node.request(asked(1, 1_000)) == Found::Disk {
            assert_eq!(node.request(asked(1, 1_000)), Found::Disk, "it was found once before");
            assert_eq!(node.request(asked(1, 1_000)), Found::Memory);
        }
    }

    #[test]
    fn a_disk_has_a_least_size() {
        assert!(Node::new(Stores { memory: MIB, disk: Some(MIB) }, Sample::ALL).is_none());
        let stores = Stores { memory: 100 * MIB, disk: Some(240 * MIB) };
        assert_eq!(stores.least_rate(), Geometry::SMALLEST_STORE as f64 / (240 * MIB) as f64);
    }
}
