//! URLs of what was evicted, bounded.

use std::collections::{HashSet, VecDeque};

#[derive(Default)]
pub(crate) struct Ghost {
    urls: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Ghost {
    /// Remembers a URL; of more than `most`, the oldest are forgotten.
    pub(crate) fn insert(&mut self, url: u64, most: usize) {
        if self.urls.insert(url) {
            self.order.push_back(url);
        }
        while self.order.len() > most.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.urls.remove(&oldest);
            }
        }
    }

    /// Whether it is remembered. It stays in the order, where it counts for nothing.
    pub(crate) fn take(&mut self, url: u64) -> bool {
        self.urls.remove(&url)
    }
}
