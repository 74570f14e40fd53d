//! One process takes over from another without refusing a connection: the new one gets the listening
//! sockets of the old one, and then its log ([`weir_protocol::takeover`] has the steps).

mod built_in;
mod channel;
mod new;
mod old;
mod place;

pub(crate) use built_in::BuiltIn;
pub(crate) use new::{Takeover, begin};
pub(crate) use old::{Listening, Old, listen};
