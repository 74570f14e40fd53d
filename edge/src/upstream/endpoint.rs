//! Where a member listens, and connections there, in the clear or under TLS.

use super::dialer::Dialer;
use super::member::Address;
use crate::error::UpstreamError;
use http::uri::Scheme;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::fmt::Display;
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where a member listens.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Opens its connections.
    pub(super) dialer: Dialer,
}

/// A connection to a member.
pub(super) enum MemberStream {
    /// In the clear.
    Clear(TcpStream),
    /// Under TLS. Boxed: it is large, and most connections in the clear would have room for it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Endpoint {
    /// Where `address` says, with this trust where that asks for TLS.
    pub(super) fn of(
        address: &Address,
        tls: &Arc<rustls::ClientConfig>,
        dialer: &Dialer,
    ) -> Result<Self, String> {
        let host = address.authority.host().trim_matches(['[', ']']).to_owned();
        let secure = address.scheme == Scheme::HTTPS;
        let port = address.authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = match secure {
            true => {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|error| format!("{}: {error}", address.authority))?;
                Some((TlsConnector::from(Arc::clone(tls)), name))
            }
            false => None,
        };
        Ok(Self { host, port, tls, dialer: dialer.clone() })
    }

    /// Opens a connection.
    pub(super) async fn open(&self) -> Result<MemberStream, UpstreamError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut => UpstreamError::ConnectTimeout,
            _ => UpstreamError::Connect(error.to_string()),
        };
        let stream = self.dialer.dial(&self.host, self.port).await.map_err(failed)?;
        Ok(match &self.tls {
            None => MemberStream::Clear(stream),
            Some((tls, name)) => {
                // Boxed, so that a connection in the clear has no room for it.
                let handshake = Box::pin(tls.connect(name.clone(), stream));
                MemberStream::Tls(Box::new(handshake.await.map_err(failed)?))
            }
        })
    }
}

impl MemberStream {
    /// Whether the member has agreed to HTTP/2; one in the clear has by being configured so.
    pub(super) fn speaks_h2(&self) -> bool {
        match self {
            Self::Clear(_) => true,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for MemberStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_read(context, into),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(context, into),
        }
    }
}

impl AsyncWrite for MemberStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            // send(2) costs less than writev(2).
            Self::Clear(tcp) => match slices {
                [one] => Pin::new(tcp).poll_write(context, one),
                _ => Pin::new(tcp).poll_write_vectored(context, slices),
            },
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
        }
    }
}

/// What origins' certificates are held against.
pub(crate) fn tls() -> rustls::ClientConfig {
    with_roots(public_roots())
}

/// The same with the authorities in a PEM file beside the public ones.
pub(crate) fn tls_with(ca: Option<&Path>) -> Result<rustls::ClientConfig, String> {
    let mut roots = public_roots();
    if let Some(ca) = ca {
        let wrong = |why: &dyn Display| format!("{}: {why}", ca.display());
        let certificates = CertificateDer::pem_file_iter(ca).map_err(|error| wrong(&error))?;
        let public = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.len() == public {
            return Err(wrong(&"it has no certificate"));
        }
    }
    Ok(with_roots(roots))
}

/// The authorities that browsers trust.
fn public_roots() -> rustls::RootCertStore {
    rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn with_roots(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
