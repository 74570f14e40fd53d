//! Removes the stored responses that the origin withdrew ([`Withdrawal`]).

use super::head::govern;
use super::task::FillTask;
use crate::collapsing::FillHead;
use crate::state::NodeState;
use crate::store::{Digest, Resource, Stored};
use http::Method;
use std::borrow::Cow;
use std::sync::Arc;
use weir_rules::withdrawal::Withdrawal;

/// The stored responses of a resource before a request was sent: only these can be withdrawn by its
/// answer. One that another fill stored meanwhile stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawable {
    /// The one that the request selected.
    pub(crate) selected: Option<Arc<Stored>>,
    /// All variants and parts.
    pub(crate) all: Option<Resource>,
}

impl Withdrawable {
    /// Removes what an answer withdraws.
    pub(crate) fn withdraw(&self, state: &NodeState, digest: Digest, withdrawal: Withdrawal) {
        match withdrawal {
            Withdrawal::Nothing => {}
            Withdrawal::Selected => {
                if let Some(selected) = &self.selected {
                    state.store.remove(digest, selected);
                }
            }
            Withdrawal::All => {
                let all = self.all.as_ref().map_or(&[][..], Resource::variants);
                if !all.is_empty() {
                    let is_withdrawn =
                        |stored: &Arc<Stored>| all.iter().any(|old| Arc::ptr_eq(old, stored));
                    state.store.retain(digest, |stored| !is_withdrawn(stored));
                }
            }
        }
    }
}

impl FillTask {
    /// Removes what the answer with this head withdraws.
    pub(super) fn withdraw(&self, head: &FillHead) {
        let context = &self.context;
        let is_nothing_stored =
            self.withdrawable.selected.is_none() && self.withdrawable.all.is_none();
        if context.ask.method == Method::GET && !is_nothing_stored {
            let mut fields = Cow::Borrowed(&head.fields);
            govern(&mut fields, &head.surrogate_control);
            let withdrawal = Withdrawal::of(head.status, &context.client.get(), &fields);
            self.withdrawable.withdraw(&context.state, context.digest, withdrawal);
        }
    }
}
