//! Whose last use is longest ago goes first.

use super::Policy;
use super::recency::Recency;
use super::traces::Asked;

pub(crate) struct Lru {
    size: u64,
    held: Recency,
}

impl Lru {
    pub(crate) fn new(size: u64) -> Self {
        Self { size, held: Recency::default() }
    }
}

impl Policy for Lru {
    fn request(&mut self, asked: Asked) -> bool {
        let (is_hit, weight) = (self.held.has(asked.url), asked.usage().bytes());
        if is_hit || weight <= self.size {
            self.held.insert(asked.url, weight);
        }
        while self.held.bytes() > self.size {
            self.held.pop();
        }
        is_hit
    }
}
