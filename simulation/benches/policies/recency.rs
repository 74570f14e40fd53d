//! URLs in the order of their last use.

use std::collections::{BTreeMap, HashMap};

/// URLs with their weights, by last use.
#[derive(Default)]
pub(crate) struct Recency {
    places: HashMap<u64, (u64, u64)>,
    order: BTreeMap<u64, u64>,
    next: u64,
    bytes: u64,
}

impl Recency {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn has(&self, url: u64) -> bool {
        self.places.contains_key(&url)
    }

    /// As the one used last.
    pub(crate) fn insert(&mut self, url: u64, weight: u64) {
        self.remove(url);
        self.next += 1;
        self.places.insert(url, (self.next, weight));
        self.order.insert(self.next, url);
        self.bytes += weight;
    }

    /// Its weight, if it is there.
    pub(crate) fn remove(&mut self, url: u64) -> Option<u64> {
        let (place, weight) = self.places.remove(&url)?;
        self.order.remove(&place);
        self.bytes -= weight;
        Some(weight)
    }

    /// From the one whose last use is longest ago.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = (u64, u64)> {
        self.order.values().map(|url| (*url, self.places[url].1))
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, u64)> {
        let (url, weight) = self.oldest().next()?;
        self.remove(url);
        Some((url, weight))
    }
}
