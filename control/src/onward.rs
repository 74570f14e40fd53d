//! Calls that reach a process after another one took over from it, on connections that it had accepted: they are
//! passed on, and the other process answers them as if it had accepted the connection.
//!
//! Each call goes over a connection of its own, as HTTP/1.1, with the address of its caller said before. Calls go
//! from the older process to the newer one only, so that none comes back.

use crate::errors::ApiError;
use crate::gate::Gate;
use crate::listener::Peer;
use crate::purge_request::LONGEST_WAIT_MS;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{Uri, Version, header};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weir_rules::fields::remove_hop_by_hop;

/// Calls that are passed on at once; what comes beyond them waits.
const AT_ONCE: usize = 32;

/// How long a call waits for its turn, and the head of one may take to arrive.
const TURN: Duration = Duration::from_secs(10);

/// How long the answer to a call may take: as long as one may ask to wait, and a little more.
pub(crate) const LONGEST_CALL: Duration = Duration::from_millis(LONGEST_WAIT_MS + 10_000);

/// A connection to the other process, over which a call of this address goes.
type Connecting = Pin<Box<dyn Future<Output = io::Result<UnixStream>> + Send>>;

/// The way to the process that took over.
#[derive(Clone)]
pub struct Onward {
    connect: Arc<dyn Fn(SocketAddr) -> Connecting + Send + Sync>,
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for Onward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Onward").finish_non_exhaustive()
    }
}

impl Onward {
    /// A way over connections that `connect` opens; it is given the address of the caller, and must say it to the
    /// other process, which [answers](answer_passed_on).
    pub fn new<C, F>(connect: C) -> Self
    where
        C: Fn(SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<UnixStream>> + Send + 'static,
    {
        let connect = move |peer| -> Connecting { Box::pin(connect(peer)) };
        Self { connect: Arc::new(connect), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The other process's answer to a call. Where there is none, or the call asks to switch to another protocol,
    /// the caller is told to come again.
    pub(crate) async fn call(&self, request: Request) -> Response {
        let version = request.version();
        let answer = timeout(LONGEST_CALL, self.answer(request)).await;
        let answer = answer.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        let mut response = answer.unwrap_or_else(|reason| {
            tracing::debug!(reason, "a call was not passed on to the process that took over");
            ApiError::taken_over().into_response()
        });
        if version < Version::HTTP_2 {
            let close = http::HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }

    async fn answer(&self, mut request: Request) -> Result<Response, String> {
        if request.headers().contains_key(header::UPGRADE) {
            return Err("it asks for an upgrade".to_owned());
        }
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let peer = peer.ok_or_else(|| "its caller is not known".to_owned())?;
        adapt(&mut request)?;
        let turn = timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| "too many are")?.map_err(|error| error.to_string())?;
        let stream = (self.connect)(peer).await.map_err(|error| error.to_string())?;
        let begun = client::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = begun.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            // Whoever reads the answer sees how it ends.
            drop(connection.await);
            drop(turn);
        });
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let mut answer = answer.map(Body::new);
        remove_hop_by_hop(answer.headers_mut());
        Ok(answer)
    }
}

/// Makes a call of whatever version one of HTTP/1.1.
fn adapt(request: &mut Request) -> Result<(), String> {
    let authority = request.uri().authority().cloned();
    let target = request.uri().path_and_query().cloned();
    remove_hop_by_hop(request.headers_mut());
    if let Some(authority) = authority
        && !request.headers().contains_key(header::HOST)
    {
        let host = http::HeaderValue::from_str(authority.as_str());
        request.headers_mut().insert(header::HOST, host.map_err(|error| error.to_string())?);
    }
    *request.uri_mut() = target.map(Uri::from).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// Answers a call that another process passed on, over `transport`, of the caller at `peer`.
pub async fn answer_passed_on(
    transport: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    gate: Arc<Gate>,
) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let gate = Arc::clone(&gate);
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            gate.call(request).await
        }
    });
    let mut http = server::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(TURN).keep_alive(false);
    if let Err(error) = http.serve_connection(TokioIo::new(transport), service).await {
        tracing::debug!(%peer, %error, "a call that was passed on ended early");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::extract::Extension;
    use axum::routing::any;
    use http::StatusCode;

    /// Says who calls, and with what.
    async fn told(Extension(Peer(peer)): Extension<Peer>, request: Request) -> String {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 10_000).await.unwrap();
        let field =
            |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        format!(
            "{} {} host {:?} token {:?} of {peer}: {}",
            head.method,
            head.uri,
            field("host"),
            field("authorization"),
            String::from_utf8_lossy(&body)
        )
    }

    /// The gate of a process that another one took over from, which answers like this.
    fn taken_over(router: Router) -> Arc<Gate> {
        let newer = Gate::new(router);
        let older = Gate::new(Router::new());
        older.hold();
        older.close(Onward::new(move |peer| {
            let newer = Arc::clone(&newer);
            async move {
                let (one, other) = UnixStream::pair()?;
                tokio::spawn(answer_passed_on(other, peer, newer));
                Ok(one)
            }
        }));
        older
    }

    fn call(version: Version, target: &str) -> http::request::Builder {
        let peer: SocketAddr = "[2001:db8::7]:5000".parse().unwrap();
        http::Request::post(target).version(version).extension(Peer(peer))
    }

    async fn text(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_call_is_answered_elsewhere_as_if_it_had_come_there() {
        let gate = taken_over(Router::new().fallback(any(told)));
        let request = call(Version::HTTP_11, "/v1/purges?count=true")
            .header("host", "control.example")
            .header("authorization", "Bearer t")
            .body(Body::from("{}"));
        let response = gate.call(request.unwrap()).await.unwrap();
        assert_eq!(
            response.headers()["connection"],
            "close",
            "the next one finds the other process"
        );
        let expected = "POST /v1/purges?count=true host Some(\"control.example\") token \
                        Some(\"Bearer t\") of [2001:db8::7]:5000: {}";
        assert_eq!(text(response).await, expected);
    }

    #[tokio::test]
    async fn a_call_over_http2_says_its_host_in_a_header() {
        let gate = taken_over(Router::new().fallback(any(told)));
        let request = call(Version::HTTP_2, "http://control.example:9090/v1/purges");
        let response = gate.call(request.body(Body::empty()).unwrap()).await.unwrap();
        assert!(!response.headers().contains_key("connection"));
        let said = text(response).await;
        assert!(said.starts_with("POST /v1/purges host Some(\"control.example:9090\")"), "{said}");
    }

    #[tokio::test]
    async fn a_call_that_cannot_be_passed_on_is_to_come_again() {
        let nobody = Gate::new(Router::new());
        nobody.close(Onward::new(|_| async { Err(io::ErrorKind::NotFound.into()) }));
        let silent = Gate::new(Router::new());
        silent.close(Onward::new(|_| async { Ok(UnixStream::pair()?.0) }));
        let answers = taken_over(Router::new().fallback(any(told)));
        for (gate, upgrade) in [(nobody, None), (silent, None), (answers, Some("weir-log/1"))] {
            let mut request = call(Version::HTTP_11, "/v1/purges").body(Body::empty()).unwrap();
            if let Some(protocol) = upgrade {
                request.headers_mut().insert(header::UPGRADE, protocol.parse().unwrap());
            }
            let response = gate.call(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], "1");
            assert_eq!(response.headers()["connection"], "close");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_some_are_passed_on_at_once() {
        let gate = taken_over(Router::new().fallback(any(std::future::pending::<()>)));
        for _ in 0..AT_ONCE {
            let request = call(Version::HTTP_11, "/").body(Body::empty()).unwrap();
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.call(request).await });
        }
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        let request = call(Version::HTTP_11, "/").body(Body::empty()).unwrap();
        let response = gate.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(began.elapsed(), TURN);
    }
}
