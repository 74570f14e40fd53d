//! Every order of events around one node's name ([`names`]: the node starts, crashes, is taken over
//! and drains, while somebody who stole its token tries to pass for it), and around its lease
//! ([`leases`]: frames come late). What is decided in it is decided by the real
//! [`weir_rules::identity`] and [`weir_rules::lease`]. Each rule is broken in turn, and the model must find
//! out.

mod leases;
mod names;

use stateright::{Checker, HasDiscoveries, Model};
use std::fmt::{Debug, Write as _};

/// Explores a model to its end, or to the first violation: how many states, and the way to it.
pub(crate) fn explore<M>(model: M) -> (usize, Option<String>)
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + std::hash::Hash + Clone + PartialEq + Send + Sync,
    M::Action: Debug + Send + Sync + Clone + PartialEq,
{
    let checker =
        model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries().into_iter().next().map(|(property, path)| {
        let mut text = format!("it is not so that {property}:\n");
        for action in path.into_actions() {
            let _ = writeln!(text, "  {action:?}");
        }
        text
    });
    (checker.unique_state_count(), found)
}
