//! Fills: fetches that may be stored. A fill is its own task; clients wait on it and read from
//! it, and none of them can end it by leaving while it still serves the store or another client.

mod deliver;
mod head;
mod keep;
mod task;
mod validated;

pub(crate) use head::{CleanHead, clean_head, strong};
pub(crate) use task::FillTask;

#[cfg(test)]
mod tests;
