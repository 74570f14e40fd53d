//! What is asked for again last, or never, goes first: no cache knows enough for that. It takes no account of
//! bytes: with bodies of many sizes, who keeps small ones finds more of them.

use super::Policy;
use super::traces::Asked;
use std::collections::{BTreeSet, HashMap};

pub(crate) struct Belady {
    size: u64,
    /// For each request, when its URL is asked for again.
    next: Vec<usize>,
    now: usize,
    held: HashMap<u64, (usize, u64)>,
    order: BTreeSet<(usize, u64)>,
    bytes: u64,
}

impl Belady {
    pub(crate) fn new(size: u64, requests: &[Asked]) -> Self {
        let (mut seen, mut next) = (HashMap::new(), vec![usize::MAX; requests.len()]);
        for (place, asked) in requests.iter().enumerate().rev() {
            next[place] = seen.insert(asked.url, place).unwrap_or(usize::MAX);
        }
        let (held, order) = (HashMap::new(), BTreeSet::new());
        Self { size, next, now: 0, held, order, bytes: 0 }
    }
}

impl Policy for Belady {
    fn request(&mut self, asked: Asked) -> bool {
        let (again, weight) = (self.next[self.now], asked.usage().bytes());
        self.now += 1;
        let before = self.held.insert(asked.url, (again, weight));
        if let Some((due, weight)) = before {
            self.order.remove(&(due, asked.url));
            self.bytes -= weight;
        }
        self.order.insert((again, asked.url));
        self.bytes += weight;
        while self.bytes > self.size {
            let Some((_, url)) = self.order.pop_last() else { break };
            if let Some((_, weight)) = self.held.remove(&url) {
                self.bytes -= weight;
            }
        }
        before.is_some()
    }
}
