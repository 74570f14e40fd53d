//! Idle connections rest: what hyper has for them is given up until the next byte comes.
#![allow(clippy::unwrap_used)]

use super::support::{BOUND, Client, RunningServer, limits, start, until};
use std::time::Duration;
use weir_config::Limits;

/// A client that had an answer, and whose connection rests.
fn resting(server: &RunningServer) -> Client {
    let mut client = server.connect();
    client.send("GET /first HTTP/1.1\r\nHost: site\r\n\r\n");
    client.until("site /first");
    rests(server, 1);
    client
}

/// Waits until connections have begun to rest so often.
fn rests(server: &RunningServer, times: u64) {
    until(|| server.server.rests() == times);
}

#[test]
fn a_connection_rests_between_requests_again_and_again() {
    let server = start(limits());
    let mut client = resting(&server);
    for times in 2..=3 {
        client.send("GET /next HTTP/1.1\r\nHost: site\r\n\r\n");
        let answer = client.until("site /next");
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("close"), "{answer}");
        rests(&server, times);
    }
    assert_eq!(server.seen(), ["/first", "/next", "/next"]);
}

#[test]
fn requests_that_come_together_after_a_rest_are_all_answered() {
    let server = start(limits());
    let mut client = resting(&server);
    client.send(
        "GET /a HTTP/1.1\r\nHost: site\r\n\r\n\
         POST /echo HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nhello\
         GET /b HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n",
    );
    client.until("site /a");
    client.until("5 bytes");
    assert!(client.rest().ends_with("site /b"));
}

#[test]
fn a_head_that_comes_in_two_parts_after_a_rest_is_one() {
    let server = start(limits());
    let mut client = resting(&server);
    client.send("G");
    client.send("ET /parts HTTP/1.1\r\nHost: si");
    client.send("te\r\n\r\n");
    client.until("site /parts");
}

#[test]
fn a_head_that_dribbles_in_after_a_rest_is_408() {
    let server = start(Limits { header_timeout: Duration::from_millis(50), ..limits() });
    let mut client = resting(&server);
    client.send("GET /b");
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn what_is_no_request_after_a_rest_is_judged_like_any_other() {
    let server = start(limits());
    let mut client = resting(&server);
    client.send("GET /b HTTP/1.1\r\nHost: site\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_client_that_leaves_while_its_connection_rests_is_gone() {
    let server = start(limits());
    let client = resting(&server);
    assert_eq!(server.server.connections(), 1);
    drop(client);
    until(|| server.server.connections() == 0);
}

#[test]
fn a_connection_that_rests_is_closed_when_it_was_idle_for_long_enough() {
    let server = start(Limits { idle: Duration::from_secs(2), ..limits() });
    assert_eq!(resting(&server).rest(), "");
}

#[test]
fn a_drain_ends_connections_that_rest() {
    let server = start(limits());
    let client = resting(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let began = std::time::Instant::now();
    runtime.block_on(server.server.drain(2 * BOUND));
    assert!(began.elapsed() < BOUND);
    assert_eq!(client.rest(), "");
}
