//! Where a member listens, and connections there: over TCP or on a Unix socket, in the clear or under TLS.

use super::dialer::Dialer;
use super::member::{Address, At};
use super::proxied;
use crate::error::UpstreamError;
use http::uri::Scheme;
use rustls_pki_types::ServerName;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_config::ProxyProtocol;

/// Where a member listens.
pub(super) struct Endpoint {
    place: Listening,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// What each connection begins with.
    proxy: Option<ProxyProtocol>,
    /// Opens its connections.
    pub(super) dialer: Dialer,
}

/// What is connected to.
enum Listening {
    Name(String, u16),
    Address(SocketAddr),
    Socket(Arc<Path>),
}

/// How connections to the members of a pool are opened.
pub(super) struct Manner {
    /// What certificates are held against.
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// The name that certificates must have, in place of the URL's host.
    pub(super) server_name: Option<String>,
    /// What each connection begins with.
    pub(super) proxy: Option<ProxyProtocol>,
    /// Opens them.
    pub(super) dialer: Dialer,
}

/// A connection to a member.
pub(super) enum MemberStream {
    /// In the clear.
    Clear(TcpStream),
    /// On this machine.
    Local(UnixStream),
    /// Under TLS. Boxed: it is large, and most connections in the clear would have room for it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Endpoint {
    /// Where `address` says, in this manner.
    pub(super) fn of(address: &Address, manner: &Manner) -> Result<Self, String> {
        let host = address.authority.host().trim_matches(['[', ']']).to_owned();
        let secure = address.scheme == Scheme::HTTPS;
        let port = address.port();
        let tls = match secure {
            true => {
                let named = manner.server_name.clone().unwrap_or_else(|| host.clone());
                let name = ServerName::try_from(named);
                let name = name.map_err(|error| format!("{}: {error}", address.authority))?;
                Some((TlsConnector::from(Arc::clone(&manner.tls)), name))
            }
            false => None,
        };
        let place = match &address.at {
            At::Authority => Listening::Name(host, port),
            At::One(ip) => Listening::Address(SocketAddr::new(*ip, port)),
            At::Socket(path) => Listening::Socket(Arc::clone(path)),
        };
        Ok(Self { place, tls, proxy: manner.proxy, dialer: manner.dialer.clone() })
    }

    /// Whether each connection names one client, and is of use to no other.
    pub(super) fn is_for_one_client(&self) -> bool {
        self.proxy.is_some()
    }

    /// Opens a connection. Where the PROXY protocol is spoken it is that of `client`, or of this node itself.
    pub(super) async fn open(&self, client: Option<IpAddr>) -> Result<MemberStream, UpstreamError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut => UpstreamError::ConnectTimeout,
            _ => UpstreamError::Connect(error.to_string()),
        };
        let dialed = match &self.place {
            Listening::Name(host, port) => self.dialer.dial(host, *port).await,
            Listening::Address(address) => self.dialer.dial_address(*address).await,
            Listening::Socket(path) => {
                let mut stream = self.dialer.dial_socket(path).await.map_err(failed)?;
                if let Some(version) = self.proxy {
                    let header = proxied::header(version, client, None);
                    stream.write_all(&header).await.map_err(failed)?;
                }
                return Ok(MemberStream::Local(stream));
            }
        };
        let mut stream = dialed.map_err(failed)?;
        if let Some(version) = self.proxy {
            let header = proxied::header(version, client, stream.peer_addr().ok());
            // Before TLS: who takes it reads it first.
            stream.write_all(&header).await.map_err(failed)?;
        }
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
            Self::Clear(_) | Self::Local(_) => true,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Whether it makes TLS records.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
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
            Self::Local(unix) => Pin::new(unix).poll_read(context, into),
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
            Self::Local(unix) => Pin::new(unix).poll_write(context, bytes),
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
            Self::Local(unix) => Pin::new(unix).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(tcp) => tcp.is_write_vectored(),
            Self::Local(unix) => unix.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Local(unix) => Pin::new(unix).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Local(unix) => Pin::new(unix).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
        }
    }
}
