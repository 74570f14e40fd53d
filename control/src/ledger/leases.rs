//! When it is to be looked whether the lease of a node is over: not at every node, only at those
//! whose lease may be.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

/// Nodes, and when their lease may be over. A node that was heard meanwhile is looked at all the
/// same, and then again when its lease may be over.
#[derive(Debug, Default)]
pub(super) struct Leases(BinaryHeap<Reverse<(Instant, Arc<str>)>>);

impl Leases {
    /// Has it looked after `at`.
    pub(super) fn watch(&mut self, name: Arc<str>, at: Instant) {
        self.0.push(Reverse((at, name)));
    }

    /// The next node that is to be looked at by `now`, and when it was to be.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Instant, Arc<str>)> {
        let Reverse((at, _)) = self.0.peek()?;
        if *at >= now {
            return None;
        }
        self.0.pop().map(|Reverse(due)| due)
    }
}
