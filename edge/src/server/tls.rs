//! Certificates from files, chosen by server name, exchanged without a restart.

use super::worker::ServerState;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use weir_config::{Certificate, Tls};

/// The protocol names of ALPN (RFC 7301).
pub(super) const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// How often to see whether a configuration reload set `tls.reload`.
const LOOK_FOR_A_PERIOD: Duration = Duration::from_secs(60);

/// What TLS connections are accepted with; a reload makes a new one.
pub(super) struct Secrets {
    server: Arc<rustls::ServerConfig>,
    certificates: Arc<Certificates>,
}

impl Secrets {
    /// Reads all files of `tls`. Errors name the file and what is wrong with it.
    pub(super) fn load(tls: &Tls) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = Arc::new(Certificates::load(&tls.certificates, &provider)?);
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        server.ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
        Ok(Self { server: Arc::new(server), certificates })
    }

    pub(super) fn server(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.server)
    }

    pub(super) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }
}

/// Reads the files again every `tls.reload`; when one of them is wrong, what was read before stays
/// in force and the log says why.
pub(super) async fn reload_from_time_to_time(shared: Arc<ServerState>) {
    let Some(secrets) = &shared.secrets else { return };
    loop {
        let tls = shared.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(tls) = tls else { return };
        if tls.reload.is_zero() {
            tokio::time::sleep(LOOK_FOR_A_PERIOD).await;
            continue;
        }
        tokio::time::sleep(tls.reload).await;
        match tokio::task::spawn_blocking(move || Secrets::load(&tls)).await {
            Ok(Ok(read)) => secrets.store(Arc::new(read)),
            Ok(Err(error)) => tracing::error!(%error, "tls: keeping the current certificates"),
            Err(_) => {}
        }
    }
}

/// The certificates configured, by the names they are valid for.
#[derive(Debug)]
pub(super) struct Certificates {
    /// At least one; the first answers clients that name no server, or an unknown one.
    keys: Vec<Arc<CertifiedKey>>,
    /// Exact names, lower case.
    exact: HashMap<String, usize>,
    /// What follows `*.`, lower case.
    wildcard: HashMap<String, usize>,
}

impl Certificates {
    fn load(files: &[Certificate], provider: &rustls::crypto::CryptoProvider) -> io::Result<Self> {
        let mut all = Self { keys: Vec::new(), exact: HashMap::new(), wildcard: HashMap::new() };
        for files in files {
            let key = read(files, provider)?;
            let leaf = key.end_entity_cert().map_err(|error| at(&files.chain, error))?;
            let parsed =
                webpki::EndEntityCert::try_from(leaf).map_err(|error| at(&files.chain, error))?;
            for name in parsed.valid_dns_names() {
                let name = name.to_ascii_lowercase();
                // The certificate named first wins, as the configuration's order says.
                match name.strip_prefix("*.") {
                    Some(parent) => all.wildcard.entry(parent.to_owned()),
                    None => all.exact.entry(name),
                }
                .or_insert(all.keys.len());
            }
            all.keys.push(Arc::new(key));
        }
        if all.keys.is_empty() {
            return Err(io::Error::other("tls.certificates is empty: TLS needs at least one"));
        }
        Ok(all)
    }

    /// Whether one of them is valid for `host` (lower case, without port).
    pub(super) fn cover(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => self.keys.iter().any(|key| covers_address(key, address)),
            Err(_) => self.named(host).is_some(),
        }
    }

    /// RFC 6125 §6.4.3: a wildcard stands for exactly one label.
    fn named(&self, host: &str) -> Option<usize> {
        let wildcard = || {
            let (label, parent) = host.split_once('.')?;
            self.wildcard.get(parent).filter(|_| !label.is_empty())
        };
        self.exact.get(host).or_else(wildcard).copied()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = hello.server_name().and_then(|name| self.named(&name.to_ascii_lowercase()));
        self.keys.get(chosen.unwrap_or(0)).cloned()
    }
}

fn covers_address(key: &CertifiedKey, address: IpAddr) -> bool {
    let name = ServerName::IpAddress(address.into());
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|leaf| rustls::client::verify_server_name(&leaf, &name).is_ok())
}

/// Reads a chain and its key, and checks that they belong together.
fn read(
    files: &Certificate,
    provider: &rustls::crypto::CryptoProvider,
) -> io::Result<CertifiedKey> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.chain)
        .map_err(|error| at(&files.chain, error))?
        .collect::<Result<_, _>>()
        .map_err(|error| at(&files.chain, error))?;
    if chain.is_empty() {
        return Err(at(&files.chain, "it holds no certificate (PEM, leaf first)"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| at(&files.key, error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        io::Error::other(format!("{} and {}: {error}", files.chain.display(), files.key.display()))
    })
}

fn at(file: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}
