//! Clients that speak HTTP/2 with prior knowledge (RFC 9113 §3.3).

mod support;
use support::*;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

type Sender = SendRequest<Full<Bytes>>;

async fn connect(edge: &Edge) -> Sender {
    let stream = TcpStream::connect(edge.node.listen()).await.expect("the node accepts");
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn request(method: &str, target: &str, body: &'static str) -> Request<Full<Bytes>> {
    let uri = format!("http://{HOST}{target}");
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    Request::builder().method(method).uri(uri).body(body).expect("a request")
}

async fn send(sender: &Sender, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let answer = sender.clone().send_request(request);
    tokio::time::timeout(PATIENCE, answer).await.expect("in time").expect("an answer")
}

async fn read(response: Response<Incoming>) -> (StatusCode, String, Bytes) {
    let status = response.headers()["cache-status"].to_str().expect("text").to_owned();
    let (head, body) = response.into_parts();
    (head.status, status, body.collect().await.expect("a whole body").to_bytes())
}

#[tokio::test]
async fn misses_and_hits_share_the_store_with_http_1() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    for handled in ["edge; fwd=uri-miss", "edge; hit"] {
        let (status, told, body) = read(send(&client, request("GET", "/a", "")).await).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"hello"[..]));
        assert!(told.starts_with(handled), "{told}");
    }
    assert_eq!(edge.get("/a").await.handled(), "hit");
    assert_eq!(origin.fetches("/a"), 1);
    assert_eq!(origin.requests("/a")[0].header("X-Forwarded-Host"), Some(HOST));
}

#[tokio::test]
async fn large_bodies_pass_whole_hit_and_miss() {
    const SIZE: u64 = 8 << 20;
    let origin = Origin::start().await;
    origin.route("/a", reply("").body_bytes(SIZE).max_age(60));
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    for _ in 0..2 {
        let (_, _, body) = read(send(&client, request("GET", "/a", "")).await).await;
        assert_eq!(body.len() as u64, SIZE);
        assert_eq!(pattern::first_difference(0, 0, &body), None);
    }
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn many_streams_of_one_connection_collapse() {
    let origin = Origin::start().await;
    origin.route("/a", held("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        crowd.spawn(async move { read(send(&client, request("GET", "/a", "")).await).await.2 });
    }
    edge.until_waiting("/a", 50).await;
    origin.release("/a");
    for body in crowd.join_all().await {
        assert_eq!(&body[..], b"hello");
    }
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn one_stream_that_is_reset_ends_no_other() {
    let origin = Origin::start().await;
    origin.route("/a", reply("helloworld").held_after(5).max_age(60));
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    let starter = send(&client, request("GET", "/a", "")).await;
    let other = send(&client, request("GET", "/a", "")).await;
    edge.until_waiting("/a", 2).await;
    drop(starter);
    edge.until_waiting("/a", 1).await;
    origin.release("/a");
    assert_eq!(&read(other).await.2[..], b"helloworld");
    assert_eq!(edge.get("/a").await.handled(), "hit");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_of_its_stream() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).truncate_after(3));
    origin.route("/b", reply("well").max_age(60));
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    let cut = send(&client, request("GET", "/a", "")).await;
    assert!(cut.into_body().collect().await.is_err(), "a cut body looks whole");
    assert_eq!(&read(send(&client, request("GET", "/b", "")).await).await.2[..], b"well");
}

#[tokio::test]
async fn bodies_and_methods_pass() {
    let origin = Origin::start().await;
    origin.route("/a", answer_with(|request| reply(request.body.clone()).max_age(60)));
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    let (_, told, body) = read(send(&client, request("POST", "/a", "form")).await).await;
    assert_eq!((told.as_str(), &body[..]), ("edge; fwd=method; fwd-status=200", &b"form"[..]));
    let (_, told, _) = read(send(&client, request("GET", "/a", "odd")).await).await;
    assert_eq!(told, "edge; fwd=bypass; fwd-status=200");
    assert_eq!(origin.requests("/a")[0].version, "HTTP/1.1");
}
