//! `memory.connections`: one account for everything outside the store. Who would pass its bound is refused
//! before any work begins.

mod support;
use support::*;

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
