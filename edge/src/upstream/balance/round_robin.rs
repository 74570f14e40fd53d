//! `round_robin`: each in turn.

use super::{Balance, Choices, For, turn};
use std::sync::atomic::AtomicUsize;

/// Counts round over the eligible members, so that the neighbour of one that is out gets no more
/// than the others.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    next: AtomicUsize,
}

impl Balance for RoundRobin {
    fn choose(&self, _request: For, choices: &dyn Choices) -> Option<usize> {
        let mut eligible = (0..choices.count()).filter(|member| choices.eligible(*member));
        let count = eligible.clone().count();
        // If no member can be chosen, no turn is taken: the next choice among others starts over.
        if count == 0 {
            return None;
        }
        eligible.nth(turn(&self.next, choices) % count)
    }
}
