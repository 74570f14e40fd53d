//! S3-FIFO (Yang et al., SOSP 2023): a small queue for what is new, a main queue for what was asked for again,
//! and the URLs of what left the small one.

use super::Policy;
use super::ghost::Ghost;
use super::traces::Asked;
use std::collections::{HashMap, VecDeque};

/// The small queue has this part of the bytes.
const SMALL: u64 = 10;
/// Uses that count.
const MOST: u8 = 3;

pub(crate) struct S3Fifo {
    size: u64,
    small: Queue,
    main: Queue,
    held: HashMap<u64, Held>,
    ghost: Ghost,
}

#[derive(Default)]
struct Queue {
    urls: VecDeque<u64>,
    bytes: u64,
}

struct Held {
    weight: u64,
    uses: u8,
}

impl S3Fifo {
    pub(crate) fn new(size: u64) -> Self {
        let (small, main) = (Queue::default(), Queue::default());
        Self { size, small, main, held: HashMap::new(), ghost: Ghost::default() }
    }

    fn evict(&mut self) {
        match self.small.bytes > self.size / SMALL || self.main.urls.is_empty() {
            true => self.evict_small(),
            false => self.evict_main(),
        }
    }

    fn evict_small(&mut self) {
        while let Some(url) = self.small.urls.pop_front() {
            let Some(held) = self.held.get_mut(&url) else { return };
            self.small.bytes -= held.weight;
            if held.uses > 1 {
                held.uses = 0;
                self.main.bytes += held.weight;
                self.main.urls.push_back(url);
                continue;
            }
            self.held.remove(&url);
            self.ghost.insert(url, self.main.urls.len());
            return;
        }
    }

    fn evict_main(&mut self) {
        while let Some(url) = self.main.urls.pop_front() {
            let Some(held) = self.held.get_mut(&url) else { return };
            if held.uses > 0 {
                held.uses -= 1;
                self.main.urls.push_back(url);
                continue;
            }
            self.main.bytes -= held.weight;
            self.held.remove(&url);
            return;
        }
    }
}

impl Policy for S3Fifo {
    fn request(&mut self, asked: Asked) -> bool {
        if let Some(held) = self.held.get_mut(&asked.url) {
            held.uses = (held.uses + 1).min(MOST);
            return true;
        }
        let weight = asked.usage().bytes();
        if weight > self.size {
            return false;
        }
        while self.small.bytes + self.main.bytes + weight > self.size {
            self.evict();
        }
        let queue = match self.ghost.take(asked.url) {
            true => &mut self.main,
            false => &mut self.small,
        };
        queue.urls.push_back(asked.url);
        queue.bytes += weight;
        self.held.insert(asked.url, Held { weight, uses: 0 });
        false
    }
}
