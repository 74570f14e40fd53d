//! Ways to control: over HTTP, upgraded to the log's own protocol, or within the process.

use crate::error::StartError;
use crate::upstream;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use weir_config::{Origin, Secret};
use weir_protocol::{PATH, PROTOCOL};

/// Bytes on their way between a node and control of one process.
const IN_PROCESS: usize = 64 << 10;

/// How long a connection to one place may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Bytes of a refusal that are read.
const LONGEST_REFUSAL: usize = 4 << 10;

/// A connection that speaks the log's own protocol.
pub(super) type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// Makes the connections over which a node follows control.
pub trait Dial: Send + 'static {
    /// The connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Makes one. It is given up after the lease.
    fn dial(&mut self) -> impl Future<Output = Result<Self::Stream, Undialled>> + Send;

    /// Where control is, for logs.
    fn place(&self) -> String;
}

/// Why there is no connection to control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undialled {
    /// It could not be reached.
    Unreachable(String),
    /// It does not take this node.
    Refused(String),
}

/// Control built into this process: takes the other end of each connection.
pub struct InProcess<F>(F);

impl<F: FnMut(DuplexStream) + Send + 'static> InProcess<F> {
    /// Hands control's end of each connection to `accept`, which must not wait.
    pub fn new(accept: F) -> Self {
        Self(accept)
    }
}

impl<F: FnMut(DuplexStream) + Send + 'static> Dial for InProcess<F> {
    type Stream = DuplexStream;

    async fn dial(&mut self) -> Result<DuplexStream, Undialled> {
        let (node, control) = tokio::io::duplex(IN_PROCESS);
        (self.0)(control);
        Ok(node)
    }

    fn place(&self) -> String {
        "in this process".to_owned()
    }
}

/// Control elsewhere, at one of `control.url`.
pub struct Remote {
    places: Vec<RemotePlace>,
    /// Which of them is asked first.
    next: usize,
    /// The authorization.
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// A place that is asked for another protocol: one of those where control is, or a parent.
pub(super) struct RemotePlace {
    url: Origin,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Remote {
    /// Control at `urls`, which are tried in turn, shown `token`. Its certificate may come from the
    /// authorities in the PEM file `ca` too.
    ///
    /// # Errors
    /// The token cannot stand in a field, a host is no name to which a certificate is given, or
    /// `ca` holds no certificates.
    pub fn new(
        urls: &[Origin],
        token: Option<&Secret>,
        ca: Option<&Path>,
    ) -> Result<Self, StartError> {
        let bearer = |token: &Secret| {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| {
                    StartError("control.token: has characters that a header cannot have".to_owned())
                })?;
            value.set_sensitive(true);
            Ok::<_, StartError>(value)
        };
        let authorization = token.map(bearer).transpose()?;
        let places =
            urls.iter().map(|url| RemotePlace::new(url, ca, ["control.url", "control.ca"]));
        Ok(Self {
            places: places.collect::<Result<_, _>>()?,
            next: 0,
            fields: authorization.map(|value| (header::AUTHORIZATION, value)).into_iter().collect(),
        })
    }
}

impl RemotePlace {
    /// The place at `url`, whose certificate may come from the authorities in `ca` too. `keys` are those
    /// of the configuration that say so.
    ///
    /// # Errors
    /// The host is no name to which a certificate is given, or `ca` holds no certificates.
    pub(super) fn new(
        url: &Origin,
        ca: Option<&Path>,
        keys: [&str; 2],
    ) -> Result<Self, StartError> {
        let [url_key, ca_key] = keys;
        let tls = || {
            let name = ServerName::try_from(url.host.clone())
                .map_err(|error| StartError(format!("{url_key}: {error}")))?;
            let config = upstream::tls_with(ca);
            let mut config = config.map_err(|error| StartError(format!("{ca_key}: {error}")))?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok::<_, StartError>((TlsConnector::from(Arc::new(config)), name))
        };
        Ok(Self { url: url.clone(), tls: url.tls.then(tls).transpose()? })
    }

    /// Where it is.
    pub(super) fn url(&self) -> &Origin {
        &self.url
    }

    /// A connection that speaks `protocol`, asked for with these fields.
    pub(super) async fn dial(
        &self,
        protocol: &'static str,
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Upgraded, Undialled> {
        let unreachable = |error: std::io::Error| Undialled::Unreachable(error.to_string());
        let tcp = TcpStream::connect((&*self.url.host, self.url.port));
        let tcp = timeout(CONNECT, tcp).await.map_err(|_| {
            Undialled::Unreachable(format!("no connection within {} s", CONNECT.as_secs()))
        })?;
        let tcp = tcp.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        match &self.tls {
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), tcp).await.map_err(unreachable)?;
                self.upgrade(stream, protocol, fields).await
            }
            None => self.upgrade(tcp, protocol, fields).await,
        }
    }

    /// Asks for the upgrade over a connection.
    async fn upgrade<S>(
        &self,
        stream: S,
        protocol: &'static str,
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Upgraded, Undialled>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |error: hyper::Error| Undialled::Unreachable(said(&error));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the connection, which the upgraded stream or `sender` holds.
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::get(PATH)
            .header(header::HOST, &self.url.authority)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, protocol);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Undialled::Unreachable(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let speaks = response.headers().get(header::UPGRADE);
            if speaks.is_none_or(|upgrade| upgrade != protocol) {
                return Err(Undialled::Refused(format!("it does not speak {protocol}")));
            }
            return hyper::upgrade::on(response).await.map(TokioIo::new).map_err(broken);
        }
        let body = Limited::new(response.into_body(), LONGEST_REFUSAL).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let refusal = refusal(status, &body);
        // What will be otherwise in a while is no refusal.
        Err(if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            Undialled::Unreachable(refusal)
        } else {
            Undialled::Refused(refusal)
        })
    }
}

impl Dial for Remote {
    type Stream = Upgraded;

    async fn dial(&mut self) -> Result<Upgraded, Undialled> {
        let mut failed = None;
        for _ in 0..self.places.len() {
            let at = self.next;
            // Said before: whoever gives up while a place does not answer comes to the next one.
            self.next = (at + 1) % self.places.len();
            let Some(place) = self.places.get(at) else { break };
            match place.dial(PROTOCOL, &self.fields).await {
                Ok(stream) => {
                    self.next = at;
                    return Ok(stream);
                }
                // What one place refuses, none takes; what another one says of its network does not count.
                Err(error @ Undialled::Refused(_)) => failed = Some(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| Undialled::Unreachable("there is no URL".to_owned())))
    }

    fn place(&self) -> String {
        let urls: Vec<_> = self.places.iter().map(|place| place.url.to_string()).collect();
        urls.join(", ")
    }
}

/// An error with what caused it.
fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", said(source)),
        None => error.to_string(),
    }
}

/// A status and what the body says: control's errors are JSON.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = message.as_ref().and_then(|body| body.get("error")?.get("message")?.as_str());
    match message {
        Some(message) => format!("{status}: {message}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use weir_config::Config;

    /// Dials control that answers a request with `answer`; what it was asked, what came of it.
    async fn dialled(answer: &str) -> (String, Result<String, Undialled>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = "127.0.0.1".to_owned();
        let config = Config::for_origin(&format!("http://{host}:{port}")).unwrap();
        let url = &config.sites[0].pools[0].origins[0];
        let token = Secret::new("0123456789abcdef".to_owned());
        let mut remote = Remote::new(std::slice::from_ref(url), Some(&token), None).unwrap();
        assert_eq!(remote.place(), format!("http://127.0.0.1:{port}"));
        let control = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            String::from_utf8(head).unwrap().to_lowercase()
        };
        let node = async {
            let mut rest = String::new();
            remote.dial().await?.read_to_string(&mut rest).await.unwrap();
            Ok(rest)
        };
        tokio::join!(control, node)
    }

    #[tokio::test]
    async fn control_is_asked_for_the_upgrade_with_the_token() {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                      Upgrade: weir-log/1\r\n\r\nfirst line\n";
        let (asked, came) = dialled(answer).await;
        for line in [
            "get /v1/follow http/1.1\r\n",
            "\r\nconnection: upgrade\r\n",
            "\r\nupgrade: weir-log/1\r\n",
            "\r\nauthorization: bearer 0123456789abcdef\r\n",
        ] {
            assert!(asked.contains(line), "{asked}");
        }
        assert_eq!(came.as_deref(), Ok("first line\n"));
    }

    /// Control's end of a connection over TLS with a certificate of this chain.
    async fn accept_tls(
        listener: TcpListener,
        certificate: rustls_pki_types::CertificateDer<'static>,
        key: rcgen::KeyPair,
    ) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider);
        let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = server.with_single_cert(vec![certificate], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not trust the certificate breaks off.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                          Upgrade: weir-log/1\r\n\r\nfirst line\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    }

    #[tokio::test]
    async fn over_tls_control_is_believed_by_a_private_authority() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let ca = std::env::temp_dir().join(format!("weir-dial-{}.pem", std::process::id()));
        std::fs::write(&ca, certificate.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let control = tokio::spawn(accept_tls(listener, certificate.der().clone(), key));
        let config = Config::for_origin(&url).unwrap();
        let url = &config.sites[0].pools[0].origins[0];
        let mut stranger = Remote::new(std::slice::from_ref(url), None, None).unwrap();
        let refused = stranger.dial().await.err();
        assert!(
            matches!(&refused, Some(Undialled::Unreachable(why)) if why.contains("certificate")),
            "{refused:?}"
        );
        let mut remote = Remote::new(std::slice::from_ref(url), None, Some(&ca)).unwrap();
        std::fs::remove_file(&ca).unwrap();
        let mut came = String::new();
        remote.dial().await.unwrap().read_to_string(&mut came).await.unwrap();
        assert_eq!(came, "first line\n");
        let error = Remote::new(std::slice::from_ref(url), None, Some(&ca)).err().unwrap().0;
        assert!(error.starts_with("control.ca: "), "{error}");
        control.abort();
    }

    #[tokio::test]
    async fn an_answer_that_will_stay_is_a_refusal_and_says_why() {
        let refused = |reason: &str| Err(Undialled::Refused(reason.to_owned()));
        let body = "{\"error\":{\"code\":\"forbidden\",\"message\":\"no scope\",\"field\":null}}";
        let length = body.len();
        let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n{body}");
        assert_eq!(dialled(&answer).await.1, refused("403 Forbidden: no scope"));
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(dialled(answer).await.1, refused("200 OK"));
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n";
        assert_eq!(dialled(answer).await.1, refused("it does not speak weir-log/1"));
    }

    #[tokio::test]
    async fn what_may_change_is_no_refusal() {
        for answer in ["HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", ""] {
            let came = dialled(answer).await.1;
            assert!(matches!(came, Err(Undialled::Unreachable(_))), "{answer}: {came:?}");
        }
    }
}
