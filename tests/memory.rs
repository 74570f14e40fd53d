//! `memory.connections`: one account for everything outside the store. Who would pass its bound is refused
//! before any work begins.

mod support;
use support::*;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::net::TcpStream;

/// When the last request that fits is at work, there is room for a connection, and not for another request.
const BOUND: &str = "1100KiB";

const BEGINNING: &str = "weir_connection_memory_";

/// A node with this `memory.connections`, one worker, and an origin that holds what is asked of it.
async fn edge_with(connections: &str) -> (Origin, Edge) {
    let origin = Origin::start().await;
    origin.route("/held/*", held("held"));
    origin.default_route(reply("hello").max_age(60));
    let memory = format!("[memory]\nconnections = \"{connections}\"\n");
    let edge = edge().tables(&memory).workers(1).origin(&origin).start();
    (origin, edge)
}

/// The value of a series whose name begins with `weir_connection_memory_`.
fn memory(edge: &Edge, series: &str) -> u64 {
    let metrics = edge.node.metrics();
    let series = format!("{BEGINNING}{series} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&*series));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}: {metrics}"))
}

fn refused(edge: &Edge, what: &str) -> u64 {
    memory(edge, &format!("refused_total{{use={what:?}}}"))
}

/// Requests that the origin holds, each of another URL, until one is refused.
async fn until_refused(edge: &Edge, origin: &Origin, at_most: usize) -> (Vec<Client>, Answer) {
    let mut waiting = Vec::new();
    for n in 0..at_most {
        let mut client = edge.connect().await;
        client.request("GET", &format!("/held/{n}"), &[], "").await;
        let target = format!("/held/{n}");
        let asked = async {
            while origin.fetches(&target) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = client.answer("GET") => return (waiting, answer),
            () = asked => waiting.push(client),
        }
    }
    panic!("{at_most} requests wait, and none was refused");
}

#[tokio::test]
async fn requests_that_find_no_memory_are_refused_and_hits_are_not() {
    let (origin, edge) = edge_with(BOUND).await;
    assert_eq!(edge.get("/stored").await.status, 200);
    let idle = memory(&edge, "bytes");
    let (waiting, answer) = until_refused(&edge, &origin, 256).await;
    assert!(waiting.len() > 16, "{} wait", waiting.len());
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(answer.handled(), "fwd=uri-miss; detail=memory-limit");
    assert_eq!((refused(&edge, "request"), refused(&edge, "connection")), (1, 0));
    let (used, bound) = (memory(&edge, "bytes"), memory(&edge, "limit_bytes"));
    assert_eq!(bound, 1100 << 10);
    assert!(used <= bound && used > bound - (64 << 10), "{used} of {bound}");
    assert_eq!(edge.get("/stored").await.handled(), "hit");
    origin.release("/held/*");
    for mut client in waiting {
        assert_eq!(client.answer("GET").await.line(), "200 held");
    }
    until("memory to be given back", || memory(&edge, "bytes"), |used| *used <= idle).await;
    assert_eq!(edge.get("/other").await.line(), "200 hello");
}

#[tokio::test]
async fn a_stale_response_that_may_be_sent_is_sent_in_place_of_a_refusal() {
    let (origin, edge) = edge_with(BOUND).await;
    origin.route("/stale", stale("old").etag("\"1\""));
    assert_eq!(edge.get("/stale").await.line(), "200 old");
    let (_waiting, _) = until_refused(&edge, &origin, 256).await;
    let answer = edge.get("/stale").await;
    assert_eq!(answer.line(), "200 old");
    assert!(answer.ttl().is_some_and(|ttl| ttl < 0), "{:?}", answer.ttl());
    assert_eq!(answer.handled(), "hit; detail=memory-limit");
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let (_origin, edge) = edge_with("1MiB").await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        let mut client = edge.connect().await;
        client.request("GET", "/a", &[], "").await;
        assert_eq!(client.answer("GET").await.line(), "200 hello");
        idle.push(client);
    }
    assert!(idle[0].is_closed().await, "the longest idle one");
    assert_eq!(refused(&edge, "connection"), 0);
    assert!(memory(&edge, "bytes") <= memory(&edge, "limit_bytes"));
}

#[tokio::test]
async fn uploads_find_room_or_are_refused_before_they_are_read() {
    let (origin, edge) = edge_with("1MiB").await;
    origin.route("/held/*", held("held"));
    let mut uploads = Vec::new();
    let answer = loop {
        let mut client = edge.connect().await;
        let head = "POST /held/upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(head).await;
        let count = uploads.len();
        let asked = async {
            while origin.fetches("/held/upload") <= count {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = client.answer("POST") => break answer,
            () = asked => uploads.push(client),
        }
    };
    assert!((4..9).contains(&uploads.len()), "{} uploads", uploads.len());
    assert_eq!(answer.status, 503);
    assert_eq!(answer.handled(), "fwd=method; detail=memory-limit");
    assert_eq!(refused(&edge, "upload"), 1);
    // A small one needs little.
    let small = edge.send("POST", "/a", &[], "small").await;
    assert_eq!(small.line(), "200 hello");
}

/// A request that has come only in part: neither is its connection idle, nor does it take more than that.
async fn half_a_head(edge: &Edge) -> Client {
    let mut client = edge.connect().await;
    client.send("GET / HTTP/1.1\r\nHo").await;
    client
}

/// Such connections until there are fewer than `left` bytes of memory.
async fn until_left(edge: &Edge, left: u64) -> Vec<Client> {
    let bound = memory(edge, "limit_bytes");
    let mut halves = Vec::new();
    while bound - memory(edge, "bytes").min(bound) >= left {
        let used = memory(edge, "bytes");
        halves.push(half_a_head(edge).await);
        until("it to be counted", || memory(edge, "bytes"), |now| *now > used).await;
    }
    halves
}

#[tokio::test]
async fn a_connection_is_refused_when_there_is_no_memory_and_none_is_idle() {
    let (_origin, edge) = edge_with("1MiB").await;
    let mut halves = until_left(&edge, 4 << 10).await;
    let mut client = edge.connect().await;
    client.request("GET", "/a", &[], "").await;
    let answer = client.answer("GET").await;
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(answer.handled(), "detail=memory-limit");
    assert_eq!(refused(&edge, "connection"), 1);
    // The first of them goes on, and is not worse off.
    halves[0].send("st: example.com\r\n\r\n").await;
    assert_eq!(halves[0].answer("GET").await.status, 503, "no memory to ask the origin");
    let used = memory(&edge, "bytes");
    halves.truncate(halves.len() / 2);
    until("memory to be given back", || memory(&edge, "bytes"), |now| *now < used / 4 * 3).await;
    assert_eq!(edge.get("/a").await.line(), "200 hello");
    assert_eq!(refused(&edge, "connection"), 1);
}

/// An HTTP/2 client that lets nothing of a body through.
async fn closed_windows(edge: &Edge) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(edge.node.listen()).await.expect("the node accepts");
    let mut builder = h2::client::Builder::new();
    let (sender, connection) =
        builder.initial_window_size(0).handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn asked(sender: &SendRequest<Bytes>, target: &str) -> ResponseFuture {
    let request = Request::get(format!("http://{HOST}{target}")).body(()).expect("a request");
    let mut sender = sender.clone().ready().await.expect("a connection");
    sender.send_request(request, true).expect("a stream").0
}

#[tokio::test]
async fn a_stream_that_finds_no_memory_is_refused_and_those_that_run_go_on() {
    let (origin, edge) = edge_with("1MiB").await;
    assert_eq!(edge.get("/stored").await.line(), "200 hello");
    let sender = closed_windows(&edge).await;
    // As many as are taken from the account at once. Their answers are stored and wait to be sent, so that they
    // need no memory beside.
    let mut running = Vec::new();
    for _ in 0..8 {
        let answer = asked(&sender, "/stored").await.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        running.push(answer.into_body());
    }
    let _halves = until_left(&edge, 20 << 10).await;
    for target in ["/stored", "/other"] {
        let refusal = asked(&sender, target).await.await.expect("an answer");
        assert_eq!(refusal.status(), 503);
        assert_eq!(refusal.headers()["retry-after"], "1");
        assert_eq!(refusal.headers()["cache-status"], "edge; detail=memory-limit");
    }
    assert_eq!((refused(&edge, "stream"), refused(&edge, "request")), (2, 0));
    assert_eq!(origin.fetches("/other"), 0);
    assert!(running.iter().all(|body| !body.is_end_stream()));
}

#[tokio::test]
async fn an_upgrade_that_finds_no_memory_is_refused() {
    const WEBSOCKET: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let (origin, edge) = edge_with("1MiB").await;
    origin.route("/socket", reply("").upgrade_echo().held());
    let mut client = edge.connect().await;
    client.request("GET", "/socket", &WEBSOCKET, "").await;
    origin.until_requests("/socket", 1).await;
    let halves = until_left(&edge, 8 << 10).await;
    origin.release("/socket");
    let answer = client.answer("GET").await;
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert!(answer.handled().ends_with("detail=memory-limit"), "{}", answer.handled());
    assert_eq!(refused(&edge, "protocol"), 1);
    drop(halves);
    let used = || memory(&edge, "bytes");
    until("memory to be given back", used, |used| *used < 100 << 10).await;
    let mut client = edge.connect().await;
    client.request("GET", "/socket", &WEBSOCKET, "").await;
    assert_eq!(client.head().await.status, 101);
}
