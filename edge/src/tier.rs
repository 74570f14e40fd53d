//! What the nodes of two tiers say to each other with each request and response, so that no old
//! response crosses (invariants I2 and I3). The rules are [`weir_rules::tier`].
//!
//! Edge's side: [`fetch`] asks a parent with what the edge has applied, and makes of the answer a
//! filled_at_seq of its own. Parent's side: [`admit`] judges the request of a node, and the
//! [`Asker`] that it makes vouches for the response.

mod admit;
mod fetch;
mod vouch;

pub(crate) use admit::{Admission, Asker, admit, catch_up, release};
pub(crate) use fetch::{Brought, Errand, fetch};
pub(crate) use vouch::Told;
