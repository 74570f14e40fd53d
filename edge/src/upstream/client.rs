//! The HTTP/1.1 client of one worker: hyper-util's, with connections that remember whether they
//! have brought an answer before.

use super::body::UpstreamBody;
use super::dialer::Dialer;
use http::{Extensions, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tower::Service;
use weir_config::Limits;

/// The HTTP/1.1 client of one worker.
pub(super) type HttpClient = Client<Connector, UpstreamBody>;

/// Bytes of a head besides its headers, with room for spaces around their values: the parser must
/// not refuse a head that is within the limits, which [`head::check`](super::head) judges exactly.
const HEAD_ROOM: usize = 16 * 1024;

/// The two clients of one worker; what they open lives on its runtime.
pub(super) struct Clients {
    /// Keeps connections for later requests.
    pub(super) keeping: HttpClient,
    /// Opens a connection for each request.
    pub(super) opening: HttpClient,
}

impl Clients {
    pub(super) fn new(tls: &rustls::ClientConfig, dialer: &Dialer, limits: &Limits) -> Self {
        Self {
            keeping: client(tls, dialer, limits, limits.origin_idle_connections),
            opening: client(tls, dialer, limits, 0),
        }
    }
}

/// A client that keeps at most so many idle connections to each member.
fn client(tls: &rustls::ClientConfig, dialer: &Dialer, limits: &Limits, idle: usize) -> HttpClient {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(dialer.clone());
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(limits.origin_idle)
        .pool_max_idle_per_host(idle)
        .http1_max_buf_size(limits.origin_header_bytes + HEAD_ROOM)
        .http1_max_headers(limits.origin_header_fields)
        // RFC 9112 §5.1: a proxy removes the space before the colon of a response's header.
        .http1_allow_spaces_after_header_name_in_responses(true)
        // RFC 9112 §5.2: it replaces an obsolete line folding by spaces.
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .set_host(false)
        .build(Connector(connector))
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

/// Marks the connection that brought this answer as one that has brought answers.
pub(super) fn mark_kept(answer: &Extensions) {
    if let Some(Kept(kept)) = answer.get() {
        kept.store(true, Ordering::Relaxed);
    }
}

/// Whether the connection on which a request failed had brought answers before.
pub(super) fn was_kept(error: &Error) -> bool {
    let mut extensions = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extensions);
    }
    extensions.get().is_some_and(|Kept(kept)| kept.load(Ordering::Relaxed))
}

/// Travels with each answer, and with each error, of a connection.
#[derive(Clone)]
struct Kept(Arc<AtomicBool>);

/// Opens connections that remember.
#[derive(Clone)]
pub(super) struct Connector(HttpsConnector<Dialer>);

impl Service<Uri> for Connector {
    type Response = Remembering;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async move {
            let stream = connecting.await?;
            Ok(Remembering { stream, kept: Kept(Arc::new(AtomicBool::new(false))) })
        })
    }
}

pin_project! {
    /// A connection that remembers whether it has brought an answer.
    pub(super) struct Remembering {
        #[pin]
        stream: MaybeHttpsStream<TokioIo<TcpStream>>,
        kept: Kept,
    }
}

impl Connection for Remembering {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.kept.clone())
    }
}

impl Read for Remembering {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().stream.poll_read(context, into)
    }
}

impl Write for Remembering {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write_vectored(context, slices)
    }
}
