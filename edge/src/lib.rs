//! The weir node: moves bytes between clients, store and origin, and obeys `weir-rules`.

mod access_log;
mod body;
mod decisions;
pub mod error;
mod explain;
mod fill;
pub mod follow;
mod forward;
mod lookup;
mod metrics;
pub mod node;
mod parts;
mod purge;
mod ranking;
mod request;
mod respond;
mod server;
mod state;
mod store;
mod sweep;
mod tier;
mod trace;
mod upstream;
pub mod warm;

use weir_config as config;

pub use request::{OnPurge, PurgeAnswer, PurgeAsk};
#[doc(hidden)]
pub use server::fuzzing;

/// What the certificates of servers are held against, wherever weir is their client.
pub fn trust() -> rustls::ClientConfig {
    upstream::tls()
}
