//! Upgrades (RFC 9110 §7.8) and HTTP/2 in the clear.
#![allow(clippy::unwrap_used)]

use super::support::{BOUND, RunningServer, limits, start, start_with};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{Read, Write};
use weir_config::Limits;

const SWITCH: &str =
    "GET /switch HTTP/1.1\r\nHost: site\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

#[test]
fn after_101_bytes_pass_untouched() {
    let server = start(limits());
    let mut client = server.connect();
    client.send(SWITCH);
    assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    client.send("no \n HTTP \0 at all");
    client.until("no \n HTTP \0 at all");
}

#[test]
fn bytes_sent_before_101_came_back_are_not_lost() {
    let server = start(limits());
    let mut client = server.connect();
    client.send(format!("{SWITCH}early bytes"));
    assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    client.until("early bytes");
}

#[test]
fn an_upgrade_that_is_not_granted_leaves_http() {
    let server = start(limits());
    let asks = "GET /a HTTP/1.1\r\nHost: site\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let answers = server.exchange(format!("{asks}{asks}GET / HTTP/1.1\r\nHost : a\r\n\r\n"));
    assert_eq!(answers.matches("site /a").count(), 2, "{answers}");
    assert!(answers.ends_with("space-before-colon"), "{answers}");
}

#[test]
fn http_2_by_prior_knowledge() {
    let server = start(limits());
    on_http2(&server, async |mut sender| {
        let mut asked = Vec::new();
        for path in ["/1", "/2", "/3"] {
            sender.ready().await.unwrap();
            asked.push(sender.send_request(request(path, "")));
        }
        for (path, asked) in ["/1", "/2", "/3"].iter().zip(asked) {
            let answer = asked.await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("site {path}"));
        }
    });
}

#[test]
fn http_2_bodies_are_bounded_too() {
    let server = start(Limits { body_bytes: 10, ..limits() });
    on_http2(&server, async |mut sender| {
        let body = "more than ten bytes";
        let answer = sender.send_request(request("/echo", body)).await.unwrap();
        assert_eq!(answer.status(), 413);
    });
}

#[test]
fn an_http_2_response_that_nobody_takes_is_reset() {
    let short = std::time::Duration::from_millis(50);
    let server = start_with(1, Limits { slow_client: short, ..limits() }, None);
    on_http2(&server, async |mut sender| {
        let answer = sender.send_request(request("/endless", "")).await.unwrap();
        // Its window stays shut: nothing of the body is read until the server gives up on it.
        sender.ready().await.unwrap();
        let other = sender.send_request(request("/held", ""));
        server.release.add_permits(1);
        assert_eq!(other.await.unwrap().status(), 200);
        given_up(&server).await;
        let mut body = answer.into_body();
        let end = loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(_))), "an endless body came to an end");
    });
}

/// Until the same sweeper refused a slow body that began after now, and so found everything late
/// that stalled before.
async fn given_up(server: &RunningServer) {
    let address = server.server.listen();
    let slow = move || {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(BOUND)).unwrap();
        let part = b"POST /echo HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nab";
        client.write_all(part).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    };
    tokio::task::spawn_blocking(slow).await.unwrap();
}

fn request(path: &str, body: &str) -> Request<Full<Bytes>> {
    let uri = format!("http://site{path}");
    Request::builder().uri(uri).body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

fn on_http2(server: &RunningServer, run: impl AsyncFnOnce(http2::SendRequest<Full<Bytes>>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = server.server.listen();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        tokio::time::timeout(BOUND, run(sender)).await.unwrap();
    });
}
