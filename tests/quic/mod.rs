//! Clients of HTTP/3: one that asks by the rules, and bytes on a stream for those that break them.

#![allow(dead_code, reason = "each test file uses its part")]

use crate::support::*;
use bytes::{Buf, Bytes};
use h3_quinn::OpenStreams;
use http::{HeaderMap, Request, Response};
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

type Sender = h3::client::SendRequest<OpenStreams, Bytes>;
type Exchange = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// A certificate for [`HOST`], in files.
pub(crate) struct Certificate(PathBuf);

impl Certificate {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-http3-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let certificate = Self(folder);
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
        std::fs::write(certificate.chain(), made.cert.pem()).expect("a file");
        std::fs::write(certificate.key(), made.signing_key.serialize_pem()).expect("a file");
        certificate
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.0.join("chain.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// The SHA-256 of its key, as Chromium takes it.
    pub(crate) fn fingerprint(&self) -> String {
        use base64::Engine;
        let key = std::fs::read_to_string(self.key()).expect("a file");
        let key = rcgen::KeyPair::from_pem(&key).expect("a key");
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let digest = ring::digest::digest(&ring::digest::SHA256, &spki);
        base64::engine::general_purpose::STANDARD.encode(digest)
    }

    /// `[tls]` with HTTP/3, at this address.
    pub(crate) fn tls(&self, listen: &str) -> String {
        let (chain, key) = (self.chain(), self.key());
        format!(
            "[tls]\nlisten = {listen:?}\npublic_port = 443\nhttp3 = true\n\
             [[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n"
        )
    }

    /// A node that speaks HTTP/3 in front of `origin`.
    pub(crate) fn edge(&self, origin: &Origin) -> EdgeBuilder {
        edge().origin(origin).tables(&self.tls("127.0.0.1:0"))
    }

    /// TLS of a client that trusts it.
    pub(crate) fn trust(&self) -> rustls::ClientConfig {
        weir_edge::trust(Some(&self.chain())).expect("a trust")
    }

    /// How a client begins with HTTP/3, and whether it sends before the handshake is over where it may.
    pub(crate) fn quic(&self, transport: quinn::TransportConfig) -> quinn::ClientConfig {
        let mut tls = self.trust();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls.enable_early_data = true;
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        config
    }

    /// A connection from 127.0.0.`last`, with which nothing is done yet.
    pub(crate) async fn connection_from(
        &self,
        last: u8,
        to: SocketAddr,
        transport: quinn::TransportConfig,
    ) -> Result<(quinn::Endpoint, quinn::Connection), quinn::ConnectionError> {
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        let endpoint = quinn::Endpoint::client(from).expect("a socket");
        let connecting = endpoint.connect_with(self.quic(transport), to, HOST).expect("a client");
        let connection = tokio::time::timeout(PATIENCE, connecting).await.expect("in time")?;
        Ok((endpoint, connection))
    }

    /// The same from 127.0.0.1 to a node.
    pub(crate) async fn connection(&self, edge: &Edge) -> quinn::Connection {
        let to = edge.node.listen_tls().expect("a TLS listener");
        let connected = self.connection_from(1, to, quinn::TransportConfig::default()).await;
        connected.expect("a connection").1
    }

    /// A client of a node.
    pub(crate) async fn client(&self, edge: &Edge) -> Http3 {
        Http3::new(self.connection(edge).await).await
    }

    /// The same by TCP: TLS with HTTP/2.
    pub(crate) async fn by_tcp(&self, edge: &Edge, target: &str) -> reqwest::Response {
        self.by_tcp_at(edge.node.listen_tls().expect("a TLS listener"), target).await
    }

    /// The same of what listens there.
    pub(crate) async fn by_tcp_at(&self, at: SocketAddr, target: &str) -> reqwest::Response {
        let mut trust = self.trust();
        trust.alpn_protocols = vec![b"h2".to_vec()];
        let client = reqwest::Client::builder().no_proxy().resolve(HOST, at);
        let client = client.tls_backend_preconfigured(trust).build().expect("a client");
        client.get(format!("https://{HOST}{target}")).send().await.expect("an answer")
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a client received.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Received {
    /// Status and body, as [`Answer::line`] has them.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.head.status, String::from_utf8_lossy(&self.body))
    }
}

/// A client on a connection of its own.
#[derive(Clone)]
pub(crate) struct Http3 {
    pub(crate) connection: quinn::Connection,
    sender: Sender,
}

impl Http3 {
    pub(crate) async fn new(connection: quinn::Connection) -> Self {
        let over = h3_quinn::Connection::new(connection.clone());
        let built = tokio::time::timeout(PATIENCE, h3::client::new(over)).await.expect("in time");
        let (mut driver, sender) = built.expect("HTTP/3");
        tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
        Self { connection, sender }
    }

    /// Sends a request whose body is still to come.
    pub(crate) async fn begin(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<Exchange, h3::error::StreamError> {
        let mut request = Request::builder().method(method).uri(format!("https://{HOST}{target}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let mut sender = self.sender.clone();
        sender.send_request(request).await
    }

    /// A request, and all of its answer; `None` if the stream ends in an error.
    pub(crate) async fn try_send(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &'static str,
    ) -> Result<Received, h3::error::StreamError> {
        let exchange = async {
            let mut stream = self.begin(method, target, fields).await?;
            if !body.is_empty() {
                stream.send_data(Bytes::from_static(body.as_bytes())).await?;
            }
            stream.finish().await?;
            rest(stream).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("in time")
    }

    /// The same where there must be an answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &'static str,
    ) -> Received {
        self.try_send(method, target, fields, body).await.expect("an answer")
    }

    pub(crate) async fn get(&self, target: &str) -> Received {
        self.send("GET", target, &[], "").await
    }
}

/// The head of an answer.
pub(crate) async fn head(stream: &mut Exchange) -> Result<Head, h3::error::StreamError> {
    let answered = tokio::time::timeout(PATIENCE, stream.recv_response()).await.expect("in time");
    answered.map(|response| head_of(&response))
}

fn head_of(response: &Response<()>) -> Head {
    let fields = response.headers().iter().map(|(name, value)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Head { status: response.status().as_u16(), fields: fields.collect() }
}

/// All of an answer that is still to come.
pub(crate) async fn rest(mut stream: Exchange) -> Result<Received, h3::error::StreamError> {
    let head = head(&mut stream).await?;
    rest_after(stream, head).await
}

/// The same after its head.
pub(crate) async fn rest_after(
    mut stream: Exchange,
    head: Head,
) -> Result<Received, h3::error::StreamError> {
    let mut body = Vec::new();
    while let Some(mut piece) = stream.recv_data().await? {
        while piece.has_remaining() {
            let chunk = piece.chunk();
            body.extend_from_slice(chunk);
            let taken = chunk.len();
            piece.advance(taken);
        }
    }
    let trailers = stream.recv_trailers().await?;
    Ok(Received { head, body, trailers })
}

/// An integer of QUIC (RFC 9000 §16).
fn integer(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// A frame.
pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [integer(kind), integer(payload.len() as u64), payload.to_vec()].concat()
}

/// The head of a frame that announces so many bytes.
pub(crate) fn announced(kind: u64, length: u64) -> Vec<u8> {
    [integer(kind), integer(length)].concat()
}

/// A HEADERS frame with these lines, each name and value spelled out (RFC 9204 §4.5.6).
pub(crate) fn headers(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0, 0];
    for (name, value) in lines {
        prefixed(&mut block, 0x20, 3, name);
        prefixed(&mut block, 0, 7, value);
    }
    frame(1, &block)
}

fn prefixed(out: &mut Vec<u8>, first: u8, bits: u32, text: &str) {
    let most = (1usize << bits) - 1;
    if text.len() < most {
        out.push(first | text.len() as u8);
    } else {
        out.push(first | most as u8);
        let mut left = text.len() - most;
        while left >= 0x80 {
            out.push(left as u8 | 0x80);
            left >>= 7;
        }
        out.push(left as u8);
    }
    out.extend_from_slice(text.as_bytes());
}

/// How a stream with these bytes ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an answer, whose bytes these are.
    Answered(usize),
    /// Reset, with this code.
    Reset(u64),
    /// The connection was closed, with this code.
    Closed(u64),
}

/// Writes bytes on a new stream, and reads how it ends.
pub(crate) async fn ended(connection: &quinn::Connection, bytes: &[u8], finishes: bool) -> Ended {
    let exchange = async {
        let (mut to, mut from) = match connection.open_bi().await {
            Ok(opened) => opened,
            Err(error) => return closed(error),
        };
        // What is refused need not be read.
        let _ = to.write_all(bytes).await;
        if finishes {
            let _ = to.finish();
        }
        match from.read_to_end(1 << 20).await {
            Ok(read) => Ended::Answered(read.len()),
            Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => {
                Ended::Reset(code.into_inner())
            }
            Err(quinn::ReadToEndError::Read(quinn::ReadError::ConnectionLost(error))) => {
                closed(error)
            }
            Err(error) => panic!("{error}"),
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("in time")
}

fn closed(error: quinn::ConnectionError) -> Ended {
    match error {
        quinn::ConnectionError::ApplicationClosed(closed) => {
            Ended::Closed(closed.error_code.into_inner())
        }
        other => panic!("{other}"),
    }
}

/// Waits until a connection is closed by the node, and says with which code.
pub(crate) async fn close_code(connection: &quinn::Connection) -> u64 {
    let error = tokio::time::timeout(PATIENCE, connection.closed()).await.expect("in time");
    match closed(error) {
        Ended::Closed(code) => code,
        other => panic!("{other:?}"),
    }
}

/// The value of a series.
pub(crate) fn metric(edge: &Edge, series: &str) -> u64 {
    let metrics = edge.node.metrics();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}: {metrics}"))
}

/// A client that takes no more than so many bytes until it reads.
pub(crate) fn narrow(bytes: u32) -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(bytes.into()).max_idle_timeout(idle());
    transport
}

fn idle() -> Option<quinn::IdleTimeout> {
    quinn::IdleTimeout::try_from(Duration::from_secs(60)).ok()
}
