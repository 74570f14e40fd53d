//! The weir node: moves bytes between clients, store and origin, and obeys `weir-rules`.

mod access;
mod access_log;
mod ahead;
mod body;
mod byte_budget;
mod certificate;
mod clock;
mod closing;
mod coding;
mod collapsing;
mod compressor;
mod decisions;
mod derived;
mod disk;
pub mod error;
mod error_page;
mod explain;
mod exposition;
mod failure;
mod fill;
pub mod follow;
mod forward;
mod gather;
pub mod geo;
mod host;
mod lookup;
mod memory;
mod metrics;
pub mod node;
mod otlp;
mod outbox;
mod outliving;
mod own;
mod parents;
mod parts;
mod place;
mod purge;
mod ranking;
mod relay;
mod release_memory;
mod request;
mod respond;
mod rewrite;
mod server;
mod shares;
mod source;
mod spare_time;
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
pub use store::{MemoryPolicy, Usage};

/// What the certificates of servers are held against, wherever weir is their client: the
/// authorities that browsers trust, and those in the PEM file `ca`.
///
/// # Errors
/// `ca` cannot be read, or holds no certificates.
pub fn trust(ca: Option<&std::path::Path>) -> Result<rustls::ClientConfig, String> {
    upstream::tls_with(ca)
}

/// The same for a client that shows `certificate`, where there is one.
///
/// # Errors
/// Likewise, or the certificate and its key cannot be read, or do not belong together.
pub fn trust_as(
    ca: Option<&std::path::Path>,
    certificate: Option<&weir_config::Certificate>,
) -> Result<rustls::ClientConfig, String> {
    let mut config = upstream::tls_with(ca)?;
    if let Some(files) = certificate {
        let key = server::client_key(files).map_err(|error| error.to_string())?;
        let shown = rustls::sign::SingleCertAndKey::from(key);
        config.client_auth_cert_resolver = std::sync::Arc::new(shown);
    }
    Ok(config)
}
