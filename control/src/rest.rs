//! The calls of weir's own API. Each is beside its entry in the OpenAPI document.

mod ask;
mod certificates;
mod events;
mod explain;
mod follow;
mod forget;
mod nodes;
mod origins;
mod page;
mod popular;
pub(crate) mod process;
mod purges;
mod releases;
mod stats;
mod traffic;
mod uncached;
mod warm;

pub(crate) use follow::FOLLOW;
pub(crate) use page::router as page;

use crate::call::Call;
use crate::process::Process;
use std::sync::Arc;

/// All calls of control.
pub(crate) fn calls() -> Vec<Call> {
    let calls = [
        purges::calls(),
        warm::calls(),
        nodes::calls(),
        stats::calls(),
        traffic::calls(),
        popular::calls(),
        uncached::calls(),
        origins::calls(),
        explain::calls(),
        certificates::calls(),
        releases::calls(),
        process::calls(),
        events::calls(),
        follow::calls(),
    ];
    calls.into_iter().flatten().collect()
}

/// The calls of a node whose control is elsewhere.
pub(crate) fn calls_of_node() -> Vec<Call<Arc<Process>>> {
    let calls = [explain::calls_of_node(), certificates::calls_of_node(), process::calls_of_node()];
    calls.into_iter().flatten().collect()
}
