//! Certificates from files and from a CA, chosen by server name, exchanged without a restart.

use super::key_log::KeyLogFile;
use super::worker::ServerState;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use weir_acme::Served;
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
    /// The same for QUIC.
    #[cfg(feature = "http3")]
    quic: Arc<quinn::crypto::rustls::QuicServerConfig>,
}

impl Secrets {
    /// Reads all files of `tls`. Errors name the file and what is wrong with it. Where certificates are ordered,
    /// those of `served` come first.
    pub(super) fn load(tls: &Tls, served: &Arc<Served>) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let ordered = tls.acme.as_ref().map(|_| Arc::clone(served));
        let certificates = Arc::new(Certificates::load(&tls.certificates, ordered, &provider)?);
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        if tls.acme.is_some() {
            server.alpn_protocols.push(weir_acme::ALPN.to_vec());
        }
        // A request in early data may be a recording (RFC 8446 §8).
        server.max_early_data_size = 0;
        // The same over reloads: sessions go on.
        server.ticketer = Arc::clone(served.tickets()) as Arc<dyn ProducesTickets>;
        if let Some(path) = &tls.key_log {
            server.key_log = Arc::new(KeyLogFile::open(path).map_err(|error| at(path, error))?);
        }
        #[cfg(feature = "http3")]
        let quic = super::http3::crypto(&server)?;
        Ok(Self {
            server: Arc::new(server),
            certificates,
            #[cfg(feature = "http3")]
            quic,
        })
    }

    /// What QUIC accepts with.
    #[cfg(feature = "http3")]
    pub(super) fn quic(&self) -> Arc<quinn::crypto::rustls::QuicServerConfig> {
        Arc::clone(&self.quic)
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
        let served = Arc::clone(&shared.served);
        match tokio::task::spawn_blocking(move || Secrets::load(&tls, &served)).await {
            Ok(Ok(read)) => secrets.store(Arc::new(read)),
            Ok(Err(error)) => tracing::error!(%error, "tls: keeping the current certificates"),
            Err(_) => {}
        }
    }
}

/// The certificates configured, by the names they are valid for.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The first answers clients that name no server, or an unknown one, unless certificates are ordered: there
    /// is at least one then.
    keys: Vec<Arc<CertifiedKey>>,
    /// Those that are ordered, if any are. There is no default then.
    ordered: Option<Arc<Served>>,
    /// Exact names, lower case.
    exact: HashMap<String, usize>,
    /// What follows `*.`, lower case.
    wildcard: HashMap<String, usize>,
}

impl Certificates {
    fn load(
        files: &[Certificate],
        ordered: Option<Arc<Served>>,
        provider: &rustls::crypto::CryptoProvider,
    ) -> io::Result<Self> {
        let (keys, exact, wildcard) = (Vec::new(), HashMap::new(), HashMap::new());
        let mut all = Self { keys, ordered, exact, wildcard };
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
        if all.keys.is_empty() && all.ordered.is_none() {
            return Err(io::Error::other("tls.certificates is empty: TLS needs at least one"));
        }
        Ok(all)
    }

    /// Whether one of them is valid for `host` (lower case, without port).
    pub(super) fn cover(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => self.keys.iter().any(|key| covers_address(key, address)),
            Err(_) => self.is_ordered(host) || self.named(host).is_some(),
        }
    }

    fn is_ordered(&self, host: &str) -> bool {
        self.ordered.as_ref().is_some_and(|served| served.has(host))
    }

    /// The certificate for a server name (lower case); without one the handshake fails.
    fn chosen(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let ordered = self.ordered.as_ref().zip(name);
        let ordered = ordered.and_then(|(served, name)| served.certificate(name));
        let of_files = || {
            let named = name.and_then(|name| self.named(name));
            let default = self.ordered.is_none().then_some(0);
            self.keys.get(named.or(default)?).cloned()
        };
        ordered.or_else(of_files)
    }

    /// The names of each certificate from files, and when it ends, seconds since the Unix epoch.
    pub(super) fn of_files(&self) -> Vec<(Vec<String>, Option<u64>)> {
        let leaves = self.keys.iter().filter_map(|key| key.cert.first());
        let told = leaves.map(|leaf| {
            let expires = weir_acme::expiry(leaf).map(|end| end.as_secs());
            (weir_acme::names(leaf), expires)
        });
        told.collect()
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
        let name = hello.server_name().map(str::to_ascii_lowercase);
        if proves(&hello) {
            return self.ordered.as_ref()?.proof(&name?);
        }
        self.chosen(name.as_deref())
    }
}

/// Whether a CA looks who answers for a name: it offers no other protocol (RFC 8737 §4).
fn proves(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| {
        offered.next() == Some(weir_acme::ALPN) && offered.next().is_none()
    })
}

fn covers_address(key: &CertifiedKey, address: IpAddr) -> bool {
    let name = ServerName::IpAddress(address.into());
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|leaf| rustls::client::verify_server_name(&leaf, &name).is_ok())
}

/// The certificate that weir shows as a client.
pub(crate) fn client_key(files: &Certificate) -> io::Result<CertifiedKey> {
    read(files, &rustls::crypto::ring::default_provider())
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
