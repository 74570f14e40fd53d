//! Clients that speak HTTP/2 with prior knowledge (RFC 9113 §3.3).

mod support;
use support::*;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

type Message = Request<Full<Bytes>>;
type Sender = SendRequest<Full<Bytes>>;

async fn connect(edge: &Edge) -> Sender {
    let stream = TcpStream::connect(edge.node.listen()).await.expect("the node accepts");
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn request(method: &str, target: &str, body: &'static str) -> Message {
    let uri = format!("http://{HOST}{target}");
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    Request::builder().method(method).uri(uri).body(body).expect("a request")
}

async fn send(sender: &Sender, request: Message) -> Response<Incoming> {
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

/// A request whose cookies come in lines of their own, as browsers send them (RFC 9113 §8.2.3).
fn in_crumbs(method: &str, target: &str, fields: &[(&'static str, &'static str)]) -> Message {
    let mut request = request(method, target, if method == "POST" { "form" } else { "" });
    for (name, value) in [("cookie", "session=abc"), ("cookie", "lang=de")].iter().chain(fields) {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

/// Checks that each of `count` requests for a target brought the origin one Cookie line.
async fn one_line(origin: &Origin, target: &str, count: usize) {
    origin.until_requests(target, count).await;
    for request in origin.requests(target) {
        let cookies =
            request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        let cookies: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
        assert_eq!(cookies, ["session=abc; lang=de"], "{} {target}", request.method);
    }
}

/// Sends cookies in crumbs in every way in which a request goes upstream.
async fn send_crumbs(origin: &Origin, edge: &Edge) {
    let validated = stale("old").etag("\"v1\"").then(reply("").status(304).max_age(60));
    let swr = stale_with("old", "max-age=10, stale-while-revalidate=60").etag("\"v1\"");
    origin.route("/fill", reply("hello").max_age(60));
    origin.route("/private", reply("hello").header("Cache-Control", "private"));
    origin.route("/pass", reply("hello"));
    origin.route("/validated", validated);
    origin.route("/refreshed", swr.then(reply("new").etag("\"v2\"").max_age(60)));
    let range = [("range", "bytes=1-2")];
    let client = connect(edge).await;
    for (method, target, fields, count) in [
        ("GET", "/fill", &[][..], 1),
        ("GET", "/fill?part", &range[..], 1),
        ("GET", "/private", &[], 1),
        ("POST", "/pass", &[], 1),
        ("HEAD", "/pass", &[], 2),
        ("GET", "/pass", &[("if-match", "\"a\"")], 3),
        ("GET", "/validated", &[], 1),
        ("GET", "/validated", &[], 2),
        ("GET", "/refreshed", &[], 1),
        ("GET", "/refreshed", &[], 2),
    ] {
        let answer = read(send(&client, in_crumbs(method, target, fields)).await).await;
        assert!(answer.0.is_success(), "{method} {target}: {answer:?}");
        one_line(origin, target, count).await;
    }
}

#[tokio::test]
async fn cookies_in_crumbs_reach_the_origin_as_one_line() {
    let origin = Origin::start().await;
    send_crumbs(&origin, &edge().origin(&origin).start()).await;
}

#[tokio::test]
async fn cookies_in_crumbs_reach_the_origin_as_one_line_through_a_parent() {
    let origin = Origin::start().await;
    let log = Log::new("one");
    let parent = node("name = \"parent\"\ntier = \"parent\"").origin(&origin).start();
    let url = format!("http://{}", parent.node.listen());
    let parents = format!("[parents]\nscope = \"global\"\nurls = [{url:?}]");
    let edge = node("name = \"edge\"").origin(&origin).tables(&parents).start();
    let _following = [log.lead(&parent).await, log.lead(&edge).await];
    send_crumbs(&origin, &edge).await;
    for target in ["/fill", "/pass"] {
        assert_eq!(origin.requests(target)[0].header("CDN-Loop"), Some("edge"), "by the parent");
    }
}

#[tokio::test]
async fn very_many_crumbs_are_one_line_up_to_the_bound_of_the_head() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello"));
    let edge = edge().origin(&origin).tables("[limits]\nheader_bytes = \"32KiB\"").start();
    let client = connect(&edge).await;
    for (crumbs, status) in
        [(700, StatusCode::OK), (900, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)]
    {
        let mut request = request("GET", "/a", "");
        for _ in 0..crumbs {
            request.headers_mut().append("cookie", HeaderValue::from_static("a=1"));
        }
        assert_eq!(send(&client, request).await.status(), status, "{crumbs}");
    }
    let [request] = &origin.requests("/a")[..] else { panic!("the bound holds") };
    assert_eq!(request.header("Cookie"), Some(&*vec!["a=1"; 700].join("; ")));
}

#[tokio::test]
async fn the_number_of_headers_is_bounded_as_over_http_1() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello"));
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    for (count, name, status) in [
        (90, "x-a", StatusCode::OK),
        (101, "x-a", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        // One Cookie header in many lines.
        (150, "cookie", StatusCode::OK),
    ] {
        let mut asked = request("GET", "/a", "");
        for _ in 0..count {
            asked.headers_mut().append(name, HeaderValue::from_static("a=b"));
        }
        let (found, told, _) = read(send(&client, asked).await).await;
        assert_eq!(found, status, "{count} of {name}: {told}");
    }
}

#[tokio::test]
async fn via_says_in_which_version_a_message_came() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let answer = send(&connect(&edge).await, request("GET", "/a", "")).await;
    assert_eq!(answer.headers()["via"], "1.1 edge", "the origin answered in HTTP/1.1");
    edge.raw("GET /b HTTP/1.0\r\nHost: example.com\r\n\r\n").await;
    let via = |target| origin.requests(target)[0].header("Via").map(str::to_owned);
    assert_eq!(via("/a").as_deref(), Some("2.0 edge"));
    assert_eq!(via("/b").as_deref(), Some("1.0 edge"));
}

#[tokio::test]
async fn redirects_to_the_origin_lead_to_the_visitors_host() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    for (status, stored) in
        [(201, false), (301, true), (302, false), (303, false), (307, false), (308, true)]
    {
        let target = format!("/{status}");
        let location = format!("{}/there?a=b#c", origin.url());
        origin.route(&target, reply("").status(status).header("Location", location).max_age(60));
        for _ in 0..2 {
            let answer = send(&client, request("GET", &target, "")).await;
            assert_eq!(answer.status().as_u16(), status);
            assert_eq!(answer.headers()["location"], "/there?a=b#c", "{status}");
        }
        assert!(!stored || origin.fetches(&target) == 1, "{status}");
    }
}

#[tokio::test]
async fn a_target_has_one_spelling_in_both_versions() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let client = connect(&edge).await;
    let asked = read(send(&client, request("GET", "/caf\u{e9}/{x}?q=\u{20ac}", "")).await).await;
    assert!(asked.1.starts_with("edge; fwd=uri-miss"), "{}", asked.1);
    assert_eq!(edge.get("/caf%C3%A9/%7Bx%7D?q=%E2%82%AC").await.handled(), "hit");
    assert_eq!(origin.fetches("/caf%C3%A9/%7Bx%7D?q=%E2%82%AC"), 1);
}

/// Sends a POST that announces so many bytes, in frames of which the last does not end the stream
/// unless `ends`; the error with which the node ends the stream, if it does.
async fn post_in_frames(
    origin: &Origin,
    edge: &Edge,
    announced: &str,
    frames: &[&'static str],
    ends: bool,
) -> Result<StatusCode, h2::Error> {
    let stream = TcpStream::connect(edge.node.listen()).await.expect("the node accepts");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("a place for a stream");
    let request = Request::post(format!("http://{HOST}/form")).header("content-length", announced);
    let (answer, mut body) =
        client.send_request(request.body(()).expect("a request"), false).expect("sent");
    for (n, frame) in frames.iter().enumerate() {
        if n > 0 {
            // The frame before it is on its way to the origin.
            until("a connection", || origin.connections().open, |open| *open > 0).await;
        }
        // The node may have ended the stream.
        if body.send_data(Bytes::from_static(frame.as_bytes()), false).is_err() {
            break;
        }
    }
    if ends {
        let _ = body.send_data(Bytes::new(), true);
    }
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("in time");
    answer.map(|answer| answer.status())
}

#[tokio::test]
async fn a_body_that_is_longer_than_announced_reaches_no_origin_as_a_whole_request() {
    for (announced, frames) in
        [("0", &["x"][..]), ("5", &["hello", "x"]), ("5", &["hel", "lo", "x"])]
    {
        let origin = Origin::start().await;
        origin.route("/form", reply("well"));
        let edge = edge().origin(&origin).start();
        let ended = post_in_frames(&origin, &edge, announced, frames, false).await;
        assert_eq!(ended.err().and_then(|e| e.reason()), Some(h2::Reason::PROTOCOL_ERROR));
        // A part of it may have begun to arrive.
        let announced: usize = announced.parse().expect("a length");
        let bodies: Vec<_> = origin.requests("/form").into_iter().map(|r| r.body).collect();
        assert!(bodies.iter().all(|body| body.len() < announced), "{announced}: {bodies:?}");
    }
    for (announced, frames) in [("0", &[][..]), ("5", &["hello"]), ("5", &["hel", "lo"])] {
        let origin = Origin::start().await;
        origin.route("/form", reply("well"));
        let edge = edge().origin(&origin).start();
        let answer = post_in_frames(&origin, &edge, announced, frames, true).await;
        assert_eq!(answer.ok(), Some(StatusCode::OK), "{announced} {frames:?}");
        assert_eq!(origin.requests("/form")[0].body, frames.concat().as_bytes());
    }
}

/// A client that takes so many bytes of each stream and no more.
async fn stingy(
    edge: &Edge,
    window: u32,
) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(edge.node.listen()).await.expect("the node accepts");
    let mut builder = h2::client::Builder::new();
    let handshake = builder.initial_window_size(window).handshake(stream);
    let (client, connection) = handshake.await.expect("HTTP/2");
    let ended = tokio::spawn(async move { drop(connection.await) });
    (client.ready().await.expect("a place for a stream"), ended)
}

/// Asks for a target, and takes nothing of the body.
async fn ask_and_stall(
    client: &mut h2::client::SendRequest<Bytes>,
    target: &str,
) -> Result<h2::RecvStream, h2::Error> {
    let request = Request::get(format!("http://{HOST}{target}")).body(()).expect("a request");
    let (answer, _) = client.send_request(request, true)?;
    Ok(tokio::time::timeout(PATIENCE, answer).await.expect("in time")?.into_body())
}

#[tokio::test]
async fn a_connection_whose_streams_are_all_stalled_is_closed() {
    let origin = Origin::start().await;
    origin.route("/large", reply("").body_bytes(1 << 20).max_age(60));
    let edge = edge().origin(&origin).tables("[limits]\nslow_client = \"200ms\"").start();
    let (mut client, ended) = stingy(&edge, 10).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(ask_and_stall(&mut client, "/large").await.expect("an answer"));
    }
    tokio::time::timeout(PATIENCE, ended).await.expect("closed").expect("no panic");
}

#[tokio::test]
async fn a_quiet_stream_is_not_a_stalled_one() {
    let origin = Origin::start().await;
    origin.route("/large", reply("").body_bytes(1 << 20).max_age(60));
    origin.route("/quiet", reply("").trailers(&[]).chunked().held_after(0));
    let edge = edge().origin(&origin).tables("[limits]\nslow_client = \"200ms\"").start();
    let (mut client, ended) = stingy(&edge, 10).await;
    let quiet = ask_and_stall(&mut client, "/quiet").await.expect("an answer");
    let mut stalled = ask_and_stall(&mut client, "/large").await.expect("an answer");
    // The stalled stream ends, and the quiet one does not.
    let cut = async {
        while let Some(piece) = stalled.data().await {
            piece?;
        }
        Ok::<_, h2::Error>(())
    };
    assert!(tokio::time::timeout(PATIENCE, cut).await.expect("in time").is_err());
    origin.release("/quiet");
    let mut quiet = quiet;
    let rest = async {
        while let Some(piece) = quiet.data().await {
            piece.expect("no error");
        }
    };
    tokio::time::timeout(PATIENCE, rest).await.expect("in time");
    assert!(!ended.is_finished(), "the connection goes on");
}
