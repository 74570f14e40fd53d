//! TLS: certificates by name, ALPN, reload, misdirected requests, and errors that name the file.
#![allow(clippy::unwrap_used)]

use super::support::{BOUND, RunningServer, limits, start_with, until};
use http_body_util::BodyExt;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_config::{Certificate, Tls};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a fresh self-signed certificate for `names`.
    fn certificate(&self, file: &str, names: &[&str]) -> (Certificate, CertificateDer<'static>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let chain = self.0.join(format!("{file}.pem"));
        let key = self.0.join(format!("{file}.key"));
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (Certificate { chain, key }, made.cert.der().clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tls(certificates: Vec<Certificate>) -> Tls {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Tls {
        listen,
        certificates,
        reload: Duration::ZERO,
        public_port: 443,
        http3: false,
        acme: None,
        key_log: None,
    }
}

type Stream = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// Connects with SNI `sni`, trusting only `trusted`.
fn connected(
    server: &RunningServer,
    trusted: &CertificateDer<'static>,
    sni: &'static str,
) -> Result<Stream, std::io::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(sni).unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(server.server.listen_tls().unwrap())?;
    socket.set_read_timeout(Some(BOUND))?;
    Ok(rustls::StreamOwned::new(session, socket))
}

/// Asks for `/a` with SNI `sni` and Host `host`, trusting only `trusted`.
fn ask(
    server: &RunningServer,
    trusted: &CertificateDer<'static>,
    sni: &'static str,
    host: &str,
) -> Result<String, std::io::Error> {
    let mut stream = connected(server, trusted, sni)?;
    write!(stream, "GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let folder = Folder::new("sni");
    let (first, first_der) = folder.certificate("first", &["first.test"]);
    let (second, second_der) = folder.certificate("second", &["*.second.test", "second.test"]);
    let server = start_with(1, limits(), Some(tls(vec![first, second])));
    let answer = ask(&server, &first_der, "first.test", "first.test").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("first.test /a"), "{answer}");
    for name in ["second.test", "www.second.test"] {
        assert!(ask(&server, &second_der, name, name).unwrap().starts_with("HTTP/1.1 200"));
    }
    // A wildcard stands for one label.
    assert!(ask(&server, &second_der, "a.b.second.test", "second.test").is_err());
}

#[test]
fn a_request_for_a_host_that_no_certificate_covers_is_misdirected() {
    let folder = Folder::new("misdirected");
    let (one, der) = folder.certificate("one", &["one.test", "two.test"]);
    let server = start_with(1, limits(), Some(tls(vec![one])));
    let answer = |host| ask(&server, &der, "one.test", host).unwrap();
    assert!(answer("ONE.test:443").starts_with("HTTP/1.1 200"));
    assert!(answer("two.test").starts_with("HTTP/1.1 200"), "one connection, two of its names");
    let elsewhere = answer("three.test");
    assert!(elsewhere.starts_with("HTTP/1.1 421 "), "{elsewhere}");
}

#[test]
fn certificates_are_read_again() {
    let folder = Folder::new("reload");
    let (files, old) = folder.certificate("site", &["site.test"]);
    let mut settings = tls(vec![files]);
    settings.reload = Duration::from_millis(20);
    let server = start_with(1, limits(), Some(settings.clone()));
    assert!(ask(&server, &old, "site.test", "site.test").is_ok());
    // By themselves, and a file in the middle of being written does no harm.
    std::fs::write(folder.0.join("site.pem"), "half a fi").unwrap();
    assert!(server.server.reload(limits(), &[], &[], Some(&settings)).is_err());
    assert!(ask(&server, &old, "site.test", "site.test").is_ok());
    let (_, new) = folder.certificate("site", &["site.test"]);
    until(|| ask(&server, &new, "site.test", "site.test").is_ok());
}

/// A socket that counts the TLS records that come.
struct CountsRecords {
    socket: tokio::net::TcpStream,
    records: Arc<AtomicUsize>,
    /// Bytes of the head of a record so far, and what is to come of its body.
    head: Vec<u8>,
    body: usize,
}

impl CountsRecords {
    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.body > 0 {
                self.body -= 1;
                continue;
            }
            self.head.push(*byte);
            if let [.., high, low] = self.head[..]
                && self.head.len() == 5
            {
                self.body = usize::from(u16::from_be_bytes([high, low]));
                self.head.clear();
                self.records.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl AsyncRead for CountsRecords {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        self.count(&into.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountsRecords {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

type Http2 = hyper::client::conn::http2::SendRequest<http_body_util::Empty<bytes::Bytes>>;

/// Connects with ALPN `h2`, and counts the records that come.
async fn over_http2(
    server: &RunningServer,
    trusted: CertificateDer<'static>,
    records: Arc<AtomicUsize>,
) -> Http2 {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = server.server.listen_tls().unwrap();
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let socket = CountsRecords { socket, records, head: Vec::new(), body: 0 };
    let name = ServerName::try_from("site.test").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, socket).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    sender
}

#[test]
fn answers_of_many_streams_share_tls_records() {
    const STREAMS: usize = 12;
    let folder = Folder::new("records");
    let (files, der) = folder.certificate("site", &["site.test"]);
    let server = start_with(1, limits(), Some(tls(vec![files])));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let records = Arc::new(AtomicUsize::new(0));
        let mut sender = over_http2(&server, der, Arc::clone(&records)).await;
        // A body that h2 writes by itself is not a very short one; it has the path in it.
        let target = format!("https://site.test/{}", "long".repeat(150));
        let mut ask = || {
            let body = http_body_util::Empty::<bytes::Bytes>::new();
            sender.send_request(http::Request::get(target.as_str()).body(body).unwrap())
        };
        let first = tokio::time::timeout(BOUND, ask()).await.unwrap().unwrap();
        first.into_body().collect().await.unwrap();
        let before = records.load(Ordering::Relaxed);
        let mut answers: tokio::task::JoinSet<_> = (0..STREAMS).map(|_| ask()).collect();
        while let Some(answer) = tokio::time::timeout(BOUND, answers.join_next()).await.unwrap() {
            let body = answer.unwrap().unwrap().into_body();
            let body = tokio::time::timeout(BOUND, body.collect()).await.unwrap();
            assert!(body.unwrap().to_bytes().len() > 600);
        }
        let records = records.load(Ordering::Relaxed) - before;
        assert!(records <= STREAMS / 2, "{records} records for {STREAMS} answers");
    });
}

#[test]
fn alpn_chooses_http_2() {
    let folder = Folder::new("alpn");
    let (files, der) = folder.certificate("site", &["site.test"]);
    let server = start_with(1, limits(), Some(tls(vec![files])));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sender = over_http2(&server, der, Arc::default()).await;
        let body = http_body_util::Empty::<bytes::Bytes>::new();
        let request = http::Request::get("https://site.test/a").body(body).unwrap();
        let answer = tokio::time::timeout(BOUND, sender.send_request(request)).await.unwrap();
        assert_eq!(answer.unwrap().status(), 200);
    });
}

#[test]
fn errors_name_the_file() {
    let folder = Folder::new("errors");
    let (one, _) = folder.certificate("one", &["one.test"]);
    let (two, _) = folder.certificate("two", &["two.test"]);
    let missing = folder.0.join("missing.pem");
    let empty = folder.0.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let error_of = |chain: &Path, key: &Path| {
        let files = Certificate { chain: chain.to_owned(), key: key.to_owned() };
        let loaded = super::super::tls::Secrets::load(&tls(vec![files]), &Arc::default());
        loaded.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(error_of(&missing, &one.key).contains("missing.pem"));
    assert!(error_of(&empty, &one.key).contains("empty.pem: it holds no certificate"));
    assert!(error_of(&one.chain, &missing).contains("missing.pem"));
    let mismatch = error_of(&one.chain, &two.key);
    assert!(mismatch.contains("one.pem") && mismatch.contains("two.key"), "{mismatch}");
}

#[test]
fn a_connection_over_tls_rests_and_goes_on() {
    let folder = Folder::new("rest");
    let (files, der) = folder.certificate("site", &["site.test"]);
    let server = start_with(1, limits(), Some(tls(vec![files])));
    let mut stream = connected(&server, &der, "site.test").unwrap();
    write!(stream, "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"site.test /a") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    until(|| server.server.rests() == 1);
    write!(stream, "GET /b HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("site.test /b"), "{answer}");
}
