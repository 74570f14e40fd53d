//! The weir node: moves bytes between clients, store and origin, and obeys `weir-rules`.

mod access_log;
mod ahead;
mod body;
mod byte_budget;
mod clock;
mod closing;
mod collapsing;
mod decisions;
mod derived;
mod disk;
pub mod error;
mod explain;
mod exposition;
mod failure;
mod fill;
pub mod follow;
mod forward;
mod host;
mod lookup;
mod memory;
mod metrics;
pub mod node;
mod otlp;
mod own;
mod parents;
mod parts;
mod place;
mod purge;
mod ranking;
mod release_memory;
mod request;
mod respond;
mod server;
mod shares;
mod source;
mod standing;
mod state;
pub mod state_directory;
mod store;
mod sweep;
mod tier;
mod trace;
mod upstream;
mod via;
pub mod warm;

#[doc(hidden)]
pub use disk::fuzz as fuzz_disk_record;
pub use release_memory::release_memory_with;
pub use request::{OnPurge, PurgeAnswer, PurgeAsk};
#[doc(hidden)]
pub use server::fuzzing;

/// What the certificates of servers are held against, wherever weir is their client: the
/// authorities that browsers trust, and those in the PEM file `ca`.
///
/// # Errors
/// `ca` cannot be read, or holds no certificates.
pub fn trust(ca: Option<&std::path::Path>) -> Result<rustls::ClientConfig, String> {
    upstream::tls_with(ca)
}
