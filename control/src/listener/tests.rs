//! Clients that are silent, idle or never read, at a listener with small bounds.
#![allow(clippy::unwrap_used)]

use super::*;
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(600);
const LARGE: usize = 64 << 20;

/// Four connections and two reserved ones, and no timeout that a test would see.
const FEW: Bounds = Bounds {
    connections: 4,
    reserved: 2,
    first_byte: LONG,
    head: LONG,
    idle: LONG,
    write: LONG,
    ping: LONG,
};

async fn follow(request: axum::extract::Request) -> Response {
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await;
        std::future::pending::<()>().await;
        drop(upgraded);
    });
    let fields = [("connection", "upgrade"), ("upgrade", "weir-log/1")];
    (StatusCode::SWITCHING_PROTOCOLS, fields).into_response()
}

/// Where it listens, and what stops it.
async fn start(bounds: Bounds) -> (SocketAddr, watch::Sender<bool>) {
    let router = Router::new()
        .route("/healthz", get(|| async { "well" }))
        .route("/large", get(|| async { vec![0; LARGE] }))
        .route("/hangs", get(std::future::pending::<()>))
        .route(crate::rest::FOLLOW, get(follow));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(serve_within(bounds, listener, Gate::new(router), stopping));
    (address, stop)
}

/// A connection on which this was sent.
async fn sent(to: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn calling(to: SocketAddr, path: &str) -> TcpStream {
    sent(to, &format!("GET {path} HTTP/1.1\r\nHost: control\r\n\r\n")).await
}

/// What comes until `end`, or until the connection ends.
async fn read(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&text).contains(end) {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(count) => text.extend_from_slice(&piece[..count]),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("in time");
    String::from_utf8(text).unwrap()
}

/// Whether the connection ends.
async fn ends(mut stream: TcpStream) {
    read(&mut stream, "\u{0}never").await;
}

async fn health(of: SocketAddr) -> String {
    read(&mut calling(of, "/healthz").await, "well").await
}

#[tokio::test]
async fn silent_and_idle_connections_end() {
    let (at, _stop) = start(Bounds { first_byte: SHORT, idle: SHORT, ..FEW }).await;
    ends(TcpStream::connect(at).await.unwrap()).await;
    ends(sent(at, "PRI * HT").await).await;
    // HTTP/2: the preface, and settings that change nothing.
    ends(sent(at, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await).await;
    let mut idle = calling(at, "/healthz").await;
    assert!(read(&mut idle, "well").await.ends_with("well"));
    ends(idle).await;
}

#[tokio::test]
async fn a_head_that_dribbles_in_ends() {
    let (at, _stop) = start(Bounds { head: SHORT, ..FEW }).await;
    ends(sent(at, "GET /healthz HTTP/1.1\r\nHo").await).await;
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_place() {
    let one = Bounds { connections: 1, reserved: 0, write: SHORT, ..FEW };
    let (at, _stop) = start(one).await;
    let _never_reads = calling(at, "/large").await;
    let end = Instant::now() + PATIENCE;
    while !health(at).await.ends_with("well") {
        assert!(Instant::now() < end, "the place is not free");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn any_number_of_idle_connections_gives_way_the_longest_idle_first() {
    let (at, _stop) = start(FEW).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(at).await.unwrap());
        assert!(health(at).await.ends_with("well"));
    }
    ends(silent.remove(0)).await;
}

#[tokio::test]
async fn calls_that_hang_leave_places_for_health_checks_and_nodes() {
    let (at, _stop) = start(FEW).await;
    let mut hanging = Vec::new();
    for _ in 0..FEW.connections {
        hanging.push(calling(at, "/hangs").await);
    }
    // Once all have begun, others are told that control is busy.
    let end = Instant::now() + PATIENCE;
    loop {
        let mut other = calling(at, "/hangs").await;
        let told = timeout(Duration::from_millis(200), read(&mut other, "busy")).await;
        if let Ok(told) = told {
            assert!(
                told.starts_with("HTTP/1.1 429") && told.contains("connection: close"),
                "{told}"
            );
            break;
        }
        assert!(Instant::now() < end, "nobody is refused");
    }
    for _ in 0..10 {
        assert!(health(at).await.ends_with("well"));
        let node = "GET /v1/follow HTTP/1.1\r\nHost: control\r\nConnection: upgrade\r\n\
                    Upgrade: weir-log/1\r\n\r\n";
        assert!(read(&mut sent(at, node).await, "\r\n\r\n").await.starts_with("HTTP/1.1 101"));
    }
}

#[tokio::test]
async fn nodes_that_have_joined_take_no_place_and_are_not_timed() {
    let timed = Bounds { connections: 1, reserved: 0, first_byte: SHORT, idle: SHORT, ..FEW };
    let (at, _stop) = start(timed).await;
    let node = "GET /v1/follow HTTP/1.1\r\nHost: control\r\nConnection: upgrade\r\n\
                Upgrade: weir-log/1\r\n\r\n";
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let mut joined = sent(at, node).await;
        assert!(read(&mut joined, "\r\n\r\n").await.starts_with("HTTP/1.1 101"));
        nodes.push(joined);
    }
    // A client that is idle for long enough ends, and the nodes do not.
    ends(TcpStream::connect(at).await.unwrap()).await;
    assert!(health(at).await.ends_with("well"));
    for node in &nodes {
        let error = node.try_read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}
