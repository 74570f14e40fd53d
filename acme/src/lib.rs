//! Certificates by ACME (RFC 8555) for the hosts of sites with `tls = "auto"`: one certificate a host, ordered
//! one after another, renewed in time, and kept on disk.
//!
//! What is decided is pure: [`renewal`] says when, [`backoff`] how long to wait after a failure, [`schedule`]
//! which host is next. [`Keeper`] does it on a thread of its own. A node that orders for itself puts what it has
//! into [`Served`], where TLS and HTTP look. Where control orders for many edges, its [`Keeper`] gives what it has
//! to a [`Stage`], [sealed](Seal), and [`Received`] puts it into [`Served`] on each edge.

mod account;
pub mod backoff;
mod ca;
mod certificate;
mod challenge;
mod files;
mod hook;
mod keeper;
mod order;
mod received;
pub mod renewal;
pub mod schedule;
#[cfg(test)]
mod scratch;
mod seal;
mod served;
mod stage;
mod storage;
mod tickets;

pub use certificate::{expiry, names};
pub use challenge::{CHALLENGE_PATH, Proof, Way};
pub use files::Files;
pub use keeper::{Keeper, StorageOf, Trust};
pub use received::Received;
pub use seal::Seal;
pub use served::{Listed, Served};
pub use stage::Stage;
pub use storage::{Pending, Storage, version};
pub use tickets::{TicketKeys, Tickets};

/// The ALPN protocol of TLS-ALPN-01 (RFC 8737 §4).
pub const ALPN: &[u8] = b"acme-tls/1";
