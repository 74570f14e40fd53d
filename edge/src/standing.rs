//! Where a node stands with control: what of the log changes how requests are answered, and what
//! control is told. Written by [`crate::follow`] and the sweep, read by all workers.

mod lease;
mod link;
mod matched;
mod releases;

pub(crate) use lease::Lease;
pub use link::FollowStatus;
pub(crate) use link::Link;
pub(crate) use matched::Matched;
pub(crate) use releases::Releases;
