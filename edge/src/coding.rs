//! Content codings at the node: which form of a stored response a client gets ([`choice`]), how forms are made
//! and read ([`codec`]), and what waits to be made ([`queue`]). The threads that make them are in
//! [`crate::compressor`].

mod choice;
mod codec;
mod decoded;
mod queue;

pub(crate) use choice::{Choice, Codings, choose, permit, varies};
pub(crate) use codec::{Decoder, encode};
pub(crate) use decoded::{DecodeLimits, DecodedBody, Next};
pub(crate) use queue::{CodingCounts, CodingJob, CodingQueue, Undone};
