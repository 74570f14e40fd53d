//! Following the invalidation log: one streaming connection to control, over which entries arrive
//! in order and are acknowledged.
//!
//! [`follower`] makes the connection ([`dial`]) and makes it again; [`session`] is one connection;
//! whatever it brings changes the node in one place, [`apply`].

mod answers;
mod apply;
mod calls;
pub mod checkpoint;
mod dial;
mod follower;
mod lease;
mod link;
mod matched;
mod releases;
mod session;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use apply::Applier;
pub use dial::{Dial, InProcess, Remote, Undialled};
pub(crate) use follower::{Follower, Following};
pub(crate) use lease::Lease;
pub use link::Followed;
pub(crate) use matched::Matched;
pub(crate) use releases::Releases;
pub(crate) use thread::Thread;
