//! An origin over HTTP/2: requests that it did not process, and headers that have another form there.

mod support;
use bytes::Bytes;
use http::{Response, StatusCode};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use support::*;
use tokio::net::TcpListener;

/// What the origin does with streams.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// Answers all.
    Answer,
    /// Refuses every so many of them (REFUSED_STREAM).
    Refuse(usize),
    /// Ends each connection in good order after so many (GOAWAY).
    GoAway(usize),
    /// Resets every so many, which it has processed (INTERNAL_ERROR).
    Fail(usize),
}

/// An HTTP/2 origin that echoes a request's body, and what it saw of its headers.
struct H2Origin {
    at: SocketAddr,
    processed: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<http::HeaderMap>>>,
}

impl H2Origin {
    async fn start(habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let (processed, seen) = (Arc::default(), Arc::default());
        let own = Self { at, processed: Arc::clone(&processed), seen: Arc::clone(&seen) };
        let streams = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (streams, processed, seen) =
                    (Arc::clone(&streams), Arc::clone(&processed), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                    let mut here = 0;
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let number = streams.fetch_add(1, Ordering::Relaxed) + 1;
                        here += 1;
                        match habit {
                            Habit::Refuse(every) if number % every == 0 => {
                                respond.send_reset(h2::Reason::REFUSED_STREAM);
                                continue;
                            }
                            Habit::GoAway(after) if here == after => {
                                connection.graceful_shutdown();
                            }
                            _ => {}
                        }
                        processed.fetch_add(1, Ordering::Relaxed);
                        if matches!(habit, Habit::Fail(every) if number % every == 0) {
                            respond.send_reset(h2::Reason::INTERNAL_ERROR);
                            continue;
                        }
                        seen.lock().expect("a lock").push(request.headers().clone());
                        tokio::spawn(echo(request, respond));
                    }
                });
            }
        });
        own
    }

    fn processed(&self) -> usize {
        self.processed.load(Ordering::Relaxed)
    }
}

async fn echo(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) {
    let mut body = request.into_body();
    let mut echoed = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        echoed.extend_from_slice(&data);
    }
    let response = Response::builder()
        .status(StatusCode::OK)
        .header("trailer", "grpc-status")
        .body(())
        .expect("a response");
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    let _ = stream.send_data(Bytes::from(echoed), false);
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    let _ = stream.send_trailers(trailers);
}

#[tokio::test]
async fn requests_that_the_origin_did_not_process_are_sent_again_whatever_their_method() {
    for habit in [Habit::Refuse(3), Habit::GoAway(4)] {
        let origin = H2Origin::start(habit).await;
        let edge = edge().h2_origin(origin.at).start();
        for number in 0..40 {
            for method in ["POST", "PUT", "GET"] {
                let (target, body) = (format!("/{number}"), format!("body {number}"));
                let body = if method == "GET" { String::new() } else { body };
                let answer = edge.send(method, &target, &[], &body).await;
                assert_eq!(answer.line(), format!("200 {body}"), "{method} {number}: {answer:?}");
            }
        }
        assert_eq!(origin.processed(), 120, "each once");
        let metrics = edge.node.metrics();
        let failed =
            metrics.lines().filter(|line| line.starts_with("weir_upstream_member_failures"));
        assert!(
            failed.clone().all(|line| line.ends_with(" 0")),
            "{:?}",
            failed.collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn many_at_once_survive_the_end_of_a_connection() {
    let origin = H2Origin::start(Habit::GoAway(10)).await;
    let edge = edge().h2_origin(origin.at).start();
    let crowds: Vec<_> = (0..100).map(|number| edge.get_many(&format!("/{number}"), 1)).collect();
    for crowd in crowds {
        crowd.all("200 ").await;
    }
}

#[tokio::test]
async fn a_body_larger_than_is_kept_is_not_sent_again() {
    let origin = H2Origin::start(Habit::Refuse(1)).await;
    let edge = edge().h2_origin(origin.at).tables("[limits]\nretry_body_bytes = \"16B\"").start();
    let answer = edge.send("POST", "/a", &[], &"x".repeat(100_000)).await;
    assert_eq!(answer.status, 502, "{answer:?}");
}

#[tokio::test]
async fn a_request_that_was_processed_is_not_sent_again() {
    let origin = H2Origin::start(Habit::Fail(1)).await;
    let edge = edge().h2_origin(origin.at).start();
    assert_eq!(edge.send("POST", "/a", &[], "change").await.status, 502);
    assert_eq!(origin.processed(), 1);
}

#[tokio::test]
async fn a_clients_wish_for_trailers_reaches_an_http2_origin() {
    let origin = H2Origin::start(Habit::Answer).await;
    let edge = edge().h2_origin(origin.at).start();
    let answer = edge.ask("GET", "/a", &[("TE", "trailers"), ("Connection", "TE")]).await;
    assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    edge.get("/b").await;
    let seen = origin.seen.lock().expect("a lock");
    let te: Vec<_> = seen.iter().map(|headers| headers.get("te").cloned()).collect();
    assert_eq!(te, [Some(http::HeaderValue::from_static("trailers")), None]);
    assert!(seen.iter().all(|headers| !headers.contains_key("connection")));
}
