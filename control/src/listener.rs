//! The admin listener. A client that is slow, silent or never reads costs a bounded time and a bounded
//! number of connections, and health checks, metrics and nodes find a connection whatever others do.

mod activity;
mod connections;
mod timed;

use crate::errors::ApiError;
use crate::gate::Gate;
use crate::onward::LONGEST_CALL;
use crate::process::stopped;
use activity::Activity;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use connections::Connections;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use timed::TimedStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What bounds the listener.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Connections at once. Those of nodes that have joined are not among them.
    connections: usize,
    /// Connections beyond them that take [`RESERVED`] calls only.
    reserved: usize,
    /// From the connection to the first byte of a request.
    first_byte: Duration,
    /// From a request's first byte to the end of its head.
    head: Duration,
    /// Without a request.
    idle: Duration,
    /// Without progress of an answer that the client does not read.
    write: Duration,
    /// From one HTTP/2 ping to the next, and to its answer.
    ping: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: 512,
    reserved: 64,
    first_byte: Duration::from_secs(10),
    head: Duration::from_secs(10),
    idle: Duration::from_secs(60),
    write: Duration::from_secs(30),
    ping: Duration::from_secs(20),
};

/// What can be called on the reserved connections.
const RESERVED: [&str; 4] = ["/healthz", "/readyz", "/metrics", crate::rest::FOLLOW];

/// How long calls under way may take once control stops; and how long a connection that is idle stays open after a
/// takeover, for its client may have sent a call before it could know.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// The address a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves what is behind `gate` on `listener` until `stopping` turns true; returns once every
/// connection is closed, so that nothing behind it is still in use.
pub async fn serve(listener: TcpListener, gate: Arc<Gate>, stopping: watch::Receiver<bool>) {
    serve_within(BOUNDS, listener, gate, stopping).await;
}

async fn serve_within(
    bounds: Bounds,
    listener: TcpListener,
    gate: Arc<Gate>,
    stopping: watch::Receiver<bool>,
) {
    let mut listener = Some(listener);
    let mut stop = stopping.clone();
    let open = Arc::new(Connections::new(bounds.connections, bounds.reserved));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            // Ended ones are collected as they end; the set would otherwise grow.
            Some(_) = connections.join_next() => {}
            accepted = accept(&mut listener, &gate) => match accepted {
                Ok((stream, peer)) => match open.admit() {
                    Some(activity) => {
                        let served = Served { bounds, peer, activity, gate: gate.clone() };
                        connections.spawn(served.serve(stream, stopping.clone()));
                    }
                    None => tracing::debug!(%peer, "refused an admin connection: there are too many"),
                },
                Err(error) => {
                    // Mostly too many open files: what frees one takes a moment.
                    tracing::warn!(%error, "cannot accept an admin connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let mut closed = all_closed(&mut connections).await;
    if !closed && gate.is_closed() {
        // The process that took over answers them, and may take longer.
        gate.until_idle(LONGEST_CALL).await;
        closed = all_closed(&mut connections).await;
    }
    if !closed {
        connections.shutdown().await;
    }
}

/// Waits for the connections to close, for a moment; whether they have.
async fn all_closed(connections: &mut JoinSet<()>) -> bool {
    let closed = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(LAST_CALLS, closed).await.is_ok()
}

/// The next connection, while there are any to accept: those that come while calls are held wait in the
/// queue of the socket, and another process that listens on it may take them.
async fn accept(
    listener: &mut Option<TcpListener>,
    gate: &Gate,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    while let Some(socket) = listener {
        if !gate.accepts().await {
            *listener = None;
            break;
        }
        tokio::select! {
            biased;
            () = gate.shut() => {}
            accepted = socket.accept() => return accepted,
        }
    }
    std::future::pending().await
}

/// A connection with what it is served from.
struct Served {
    bounds: Bounds,
    peer: SocketAddr,
    activity: Arc<Activity>,
    gate: Arc<Gate>,
}

impl Served {
    async fn serve(self, stream: TcpStream, mut stopping: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true);
        let Self { bounds, peer, activity, gate } = self;
        let stream = TimedStream::new(stream, Arc::clone(&activity), &bounds);
        let (calls, served) = (Arc::clone(&activity), Arc::clone(&gate));
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            answer(served.clone(), peer, Arc::clone(&calls), request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.head);
        let mut http2 = builder.http2();
        http2.timer(TokioTimer::new()).max_concurrent_streams(64);
        http2.keep_alive_interval(bounds.ping).keep_alive_timeout(bounds.ping);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stopped(&mut stopping) => None,
            () = activity.closed() => return,
        };
        let ended = match ended {
            None if gate.is_closed() => tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = activity.idle_for(LAST_CALLS) => None,
                () = activity.closed() => return,
            },
            ended => ended,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error = %error, "an admin connection ended early");
        }
    }
}

async fn answer(
    gate: Arc<Gate>,
    peer: SocketAddr,
    activity: Arc<Activity>,
    request: http::Request<hyper::body::Incoming>,
) -> Result<Response, std::convert::Infallible> {
    let call = activity.begin();
    if activity.is_reserved() && !RESERVED.contains(&request.uri().path()) {
        let mut response = ApiError::busy().into_response();
        let close = http::HeaderValue::from_static("close");
        // HTTP/2 has no such header; its connection is closed when it is idle.
        if request.version() < http::Version::HTTP_2 {
            response.headers_mut().insert(http::header::CONNECTION, close);
        }
        return Ok(call.follow(response));
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    gate.call(request).await.map(|response| call.follow(response))
}

#[cfg(test)]
mod tests;
