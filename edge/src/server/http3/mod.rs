//! HTTP/3 for clients (RFC 9114), experimental: quinn speaks QUIC, h3 the rest. Requests go to the same handler as
//! those over TCP, under the same limits.
//!
//! One thread has the UDP socket ([`endpoint`]): it reads datagrams, validates addresses, and hands connections to the
//! workers in turn. Everything else of a connection, its encryption among that, is done by its worker
//! ([`serve`](serve::accept)). What h3 would keep without a bound it does not get to see ([`transport`]); what it does
//! not check is checked here ([`fields`], [`body`]).

mod body;
mod endpoint;
pub(in crate::server) mod fields;
pub(in crate::server) mod frames;
mod respond;
mod serve;
mod transport;

pub(crate) use body::Http3Body;
pub(super) use endpoint::{Arriving, Http3State, Listener, bind, bind_both, crypto};
pub(super) use serve::{accept, cut};

/// The protocol name of ALPN (RFC 9114 §3.1).
pub(super) const ALPN: &[u8] = b"h3";
