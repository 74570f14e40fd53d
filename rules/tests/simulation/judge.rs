//! Who knows everything: when each purge was ordered, who was told what, and what an answer must
//! therefore not be.

use crate::origin::{Body, Moment};
use std::collections::BTreeSet;
use std::rc::Rc;
use weir_rules::invalidation::Purge;

#[derive(Debug, Default)]
pub(crate) struct Judge {
    orders: Vec<Order>,
    /// Answers that were held against what was promised.
    pub(crate) answers: u64,
}

#[derive(Debug)]
struct Order {
    purge: Purge,
    at: Moment,
    answered: bool,
}

/// What a request was promised when it came: orders that its node had acknowledged, and those that
/// were called completed.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) acknowledged: Rc<BTreeSet<usize>>,
    pub(crate) completed: Vec<usize>,
}

impl Judge {
    pub(crate) fn ordered(&mut self, purge: Purge, at: Moment) -> usize {
        self.orders.push(Order { purge, at, answered: false });
        self.orders.len() - 1
    }

    pub(crate) fn answered(&mut self, order: Option<usize>) {
        if let Some(order) = order {
            self.orders[order].answered = true;
        }
    }

    /// An answered order that is not among those that control holds.
    pub(crate) fn lost(&self, held: &BTreeSet<usize>) -> Option<usize> {
        (0..self.orders.len()).find(|order| self.orders[*order].answered && !held.contains(order))
    }

    /// Control's owner put an older ledger in place: what that lacks is promised no more.
    pub(crate) fn thrown_away(&mut self, held: &BTreeSet<usize>) {
        for (number, order) in self.orders.iter_mut().enumerate() {
            order.answered &= held.contains(&number);
        }
    }

    /// Holds an answer against what its request was promised; says what is wrong with it.
    pub(crate) fn answer(&mut self, need: &Need, body: &Body, fresh: bool) -> Option<String> {
        self.answers += 1;
        let promised = need.acknowledged.iter().chain(&need.completed);
        let missed = promised.copied().find(|number| {
            let order = &self.orders[*number];
            body.is_old(&order.purge, order.at, fresh)
        })?;
        let order = &self.orders[missed];
        Some(format!(
            "answered {} with {body:?}, which order {missed} took in step {}: {:?}",
            if fresh { "fresh" } else { "stale" },
            order.at,
            order.purge,
        ))
    }
}
