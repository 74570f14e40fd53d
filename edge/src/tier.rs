//! A parent's side of the exchange between tiers: [`admit`] judges the request of a node, and the
//! [`Asker`] that it makes vouches for the response, so that no old response crosses (invariants I2
//! and I3). The rules are [`weir_rules::tier`]; the side of the node that asks is among the sources
//! of [`crate::fill`].

mod admit;
mod vouch;

pub(crate) use admit::{Asker, Requester, admit, catch_up, release, rules};
pub(crate) use vouch::NodeFields;
