//! `weighted_round_robin`: each in turn as often as its weight says, spread evenly: weights 5, 1, 1
//! give a a b a c a a, not a a a a a b c.

use super::{Balance, Choices, For, Share};
use std::sync::{Mutex, PoisonError};

/// Everybody earns its weight at each turn; the richest is chosen and pays what all have earned.
#[derive(Debug)]
pub(crate) struct WeightedRoundRobin {
    purses: Mutex<Vec<Purse>>,
}

#[derive(Debug)]
struct Purse {
    weight: i64,
    held: i64,
}

impl WeightedRoundRobin {
    /// Over members of these weights.
    pub(crate) fn new(shares: &[Share]) -> Self {
        let purse = |share: &Share| Purse { weight: i64::from(share.weight), held: 0 };
        Self { purses: Mutex::new(shares.iter().map(purse).collect()) }
    }
}

impl Balance for WeightedRoundRobin {
    fn choose(&self, _request: For, choices: &dyn Choices) -> Option<usize> {
        let mut purses = self.purses.lock().unwrap_or_else(PoisonError::into_inner);
        let mut earned = 0;
        let mut richest: Option<(usize, i64)> = None;
        for (member, purse) in purses.iter_mut().enumerate() {
            if !choices.eligible(member) {
                continue;
            }
            purse.held += purse.weight;
            earned += purse.weight;
            if richest.is_none_or(|(_, most)| purse.held > most) {
                richest = Some((member, purse.held));
            }
        }
        let (chosen, _) = richest?;
        purses[chosen].held -= earned;
        Some(chosen)
    }
}
