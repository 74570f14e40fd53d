//! Following the invalidation log: one streaming connection to control, over which entries arrive
//! in order and are acknowledged.
//!
//! An edge may follow control through a relay, one of its parents ([`attach`]).
//!
//! [`follower`] makes the connection ([`dial`]) and makes it again; [`session`] is one connection;
//! whatever it brings changes the node in one place, [`apply`].

mod answers;
mod apply;
mod attach;
mod back;
mod calls;
#[cfg(test)]
mod checkpoint;
mod dial;
mod follower;
mod session;
#[cfg(test)]
mod tests;
mod thread;

pub use crate::standing::FollowStatus;
pub(crate) use apply::Applier;
pub use dial::{Dial, InProcess, Remote, Undialled};
pub(crate) use follower::{Follower, Following, Identity};
pub(crate) use thread::Thread;
