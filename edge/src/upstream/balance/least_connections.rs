//! `least_connections`: the one with the fewest running requests for its weight.

use super::{Balance, Choices, For, Share, turn};
use std::sync::atomic::AtomicUsize;

/// Where several have equally few, they take turns.
#[derive(Debug)]
pub(crate) struct LeastConnections {
    weights: Vec<u32>,
    next: AtomicUsize,
}

impl LeastConnections {
    /// Over members of these weights.
    pub(crate) fn new(shares: &[Share]) -> Self {
        let weights = shares.iter().map(|share| share.weight.max(1)).collect();
        Self { weights, next: AtomicUsize::new(0) }
    }

    /// Whether a member with `load` requests has fewer for its weight than another.
    fn is_less(&self, (member, load): (usize, u64), (other, most): (usize, u64)) -> bool {
        load * u64::from(self.weights[other]) < most * u64::from(self.weights[member])
    }
}

impl Balance for LeastConnections {
    fn choose(&self, _request: For, choices: &dyn Choices) -> Option<usize> {
        let count = choices.count().min(self.weights.len());
        let first = turn(&self.next, choices).checked_rem(count)?;
        let mut least: Option<(usize, u64)> = None;
        for member in (first..count).chain(0..first) {
            if !choices.eligible(member) {
                continue;
            }
            // The request to be placed counts too: an idle member of weight 3 comes before one of 1.
            let candidate = (member, choices.running(member) as u64 + 1);
            if least.is_none_or(|least| self.is_less(candidate, least)) {
                least = Some(candidate);
            }
        }
        least.map(|(member, _)| member)
    }
}
