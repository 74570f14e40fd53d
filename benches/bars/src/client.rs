//! A client's connection: HTTP/1.1, kept alive, strict about the end of a body.

use crate::Error;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A complete answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The last member of Cache-Status, the node's own; empty where there is none.
    pub(crate) fn cache_status(&self) -> &str {
        let last = self.fields.get_all("cache-status").iter().next_back();
        last.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the node answered it from its store.
    pub(crate) fn is_hit(&self) -> bool {
        self.cache_status().split(';').any(|part| part.trim() == "hit")
    }
}

/// One connection. Dropping it closes it, whatever is under way.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    host: String,
    /// Shown as the caller's, if any.
    token: Option<String>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ends shows in the exchanges on it.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, connection, host: to.to_string(), token: None })
    }

    /// Asks for this host from now on, wherever it is connected: one URL for all nodes.
    pub(crate) fn for_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Shows this token from now on.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Sends a request; answers with the head, the body still to be read.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        target: &str,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder().method(method).uri(target).header("host", &*self.host);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request.body(Full::default())?).await?)
    }

    /// One exchange, to the last byte.
    pub(crate) async fn exchange(&mut self, method: &str, target: &str) -> Result<Answer, Error> {
        complete(self.send(method, target).await?).await
    }

    /// POST of JSON, to the last byte.
    pub(crate) async fn post(&mut self, target: &str, json: String) -> Result<Answer, Error> {
        self.with_json("POST", target, json).await
    }

    async fn with_json(
        &mut self,
        method: &str,
        target: &str,
        json: String,
    ) -> Result<Answer, Error> {
        let request = Request::builder().method(method).uri(target).header("host", &*self.host);
        let mut request = request.header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.sender.ready().await?;
        complete(self.sender.send_request(request.body(Full::from(json))?).await?).await
    }

    /// GET with one more field, to the last byte.
    pub(crate) async fn get_with(
        &mut self,
        target: &str,
        (name, value): (&str, &str),
    ) -> Result<Answer, Error> {
        let request = Request::builder().uri(target).header("host", &*self.host);
        self.sender.ready().await?;
        let request = request.header(name, value).body(Full::default())?;
        complete(self.sender.send_request(request).await?).await
    }

    /// GET, to the last byte.
    pub(crate) async fn get(&mut self, target: &str) -> Result<Answer, Error> {
        self.exchange("GET", target).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Reads the rest of an answer. A body that breaks off is an error.
pub(crate) async fn complete(response: Response<Incoming>) -> Result<Answer, Error> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: parts.status.as_u16(), fields: parts.headers, body })
}

/// One exchange on a connection of its own.
pub(crate) async fn once(to: SocketAddr, method: &str, target: &str) -> Result<Answer, Error> {
    Client::connect(to).await?.exchange(method, target).await
}

/// PUT of JSON, on a connection of its own.
pub(crate) async fn put(to: SocketAddr, target: &str, json: String) -> Result<Answer, Error> {
    Client::connect(to).await?.with_json("PUT", target, json).await
}

/// The value of a metric without labels, from the node's admin address.
pub(crate) async fn metric(admin: SocketAddr, name: &str) -> Result<u64, Error> {
    let answer = once(admin, "GET", "/metrics").await?;
    let text = str::from_utf8(&answer.body)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.ok_or_else(|| format!("no metric {name}"))?;
    Ok(line.trim().parse()?)
}
