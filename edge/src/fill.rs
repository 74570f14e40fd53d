//! Fills: fetches that may be stored. A fill is its own task. Clients wait on it and read from it,
//! and no client can end it by leaving while it still serves the store or another client.

mod anonymous;
mod context;
mod deliver;
mod exchange;
mod gaps;
mod head;
mod keep;
mod plan;
mod resume;
mod slice;
mod source;
mod task;
mod validated;
mod withdraw;

pub(crate) use context::{FillContext, ahead_rules};
pub(crate) use gaps::{Gaps, OpenedSlice, SliceReader, Unopened};
pub(crate) use head::{CleanHead, clean_head};
pub(crate) use resume::resume;
pub(crate) use source::{Claimed, FetchContext, SourceAnswer, fetch, with_claim};
pub(crate) use task::FillTask;
pub(crate) use withdraw::Withdrawable;

#[cfg(test)]
mod tests;
