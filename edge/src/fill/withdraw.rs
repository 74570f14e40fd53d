//! Removes the stored responses that the origin withdrew ([`Withdrawal`]).

use super::task::FillTask;
use crate::collapsing::FillHead;
use crate::state::NodeState;
use crate::store::{Digest, Stored};
use http::Method;
use std::sync::Arc;
use weir_rules::time::Time;
use weir_rules::withdrawal::Withdrawal;

impl FillTask {
    /// Removes what the answer with this head withdraws. A response that another fill stored after
    /// this one was asked for stays, and so does the one that this fill stored.
    pub(super) fn withdraw(&self, head: &FillHead) {
        let context = &self.context;
        if context.ask.method == Method::GET {
            let judged = Withdrawal::of(head.status, &context.client, &head.fields);
            withdraw(&context.state, context.digest, self.selected.as_ref(), self.asked_at, judged);
        }
    }
}

/// Removes what an answer withdraws of a resource. `selected` is the stored response that its request
/// selected, `asked_at` the time at which the request was sent.
pub(crate) fn withdraw(
    state: &NodeState,
    digest: Digest,
    selected: Option<&Arc<Stored>>,
    asked_at: Time,
    withdrawal: Withdrawal,
) {
    match (withdrawal, selected) {
        (Withdrawal::Nothing, _) | (Withdrawal::Selected, None) => {}
        (Withdrawal::Selected, Some(selected)) => state.store.remove(digest, selected),
        (Withdrawal::All, _) => {
            // A response from a parent is older than it was here; it is removed too.
            state.store.retain(digest, |stored| stored.freshness.born >= asked_at);
        }
    }
}
