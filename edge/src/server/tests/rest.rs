//! Connections rest while they are idle, or while a request waits for its answer: what hyper has for them is given
//! up until the next byte comes, or the answer.
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

/// A client whose request waits, on a connection that rests meanwhile. `rested` are the rests so far.
fn waiting(server: &RunningServer, request: &str, rested: u64) -> Client {
    let mut client = server.connect();
    client.send(request);
    server.until_seen("/held");
    rests(server, rested + 1);
    client
}

fn wait_with(fields: &str) -> String {
    format!("GET /held HTTP/1.1\r\nHost: site\r\n{fields}\r\n")
}

#[test]
fn a_request_that_waited_while_its_connection_rested_is_answered_and_so_is_the_next() {
    let server = start(limits());
    let mut client = waiting(&server, &wait_with("Connection: keep-alive\r\n"), 0);
    for times in 2..=3 {
        server.release.add_permits(1);
        let answer = client.until("released");
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("close"), "{answer}");
        client.send(wait_with(""));
        rests(&server, times);
    }
    server.release.add_permits(1);
    client.until("released");
    client.send("POST /echo HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nhello");
    client.until("5 bytes");
    // Idle, it rests as ever.
    rests(&server, 4);
    client.send("GET /last HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    assert!(client.rest().ends_with("site /last"));
    assert_eq!(server.seen(), ["/held", "/held", "/held", "/echo", "/last"]);
}

#[test]
fn what_comes_while_a_connection_rests_is_answered_after_the_request_that_waits() {
    let server = start(limits());
    let mut client = waiting(&server, &wait_with(""), 0);
    client.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
    client.send("GET /b HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    server.release.add_permits(1);
    client.until("released");
    client.until("site /a");
    assert!(client.rest().ends_with("site /b"));
}

#[test]
fn what_came_together_with_the_request_that_waits_is_answered_after_it() {
    let server = start(limits());
    let next = "GET /a HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";
    let mut client = waiting(&server, &[&wait_with(""), next].concat(), 0);
    server.release.add_permits(1);
    client.until("released");
    assert!(client.rest().ends_with("site /a"));
}

#[test]
fn the_form_of_an_answer_is_that_for_the_request_that_waited() {
    let server = start(limits());
    let close = waiting(&server, &wait_with("Connection: close\r\n"), 0);
    let old = waiting(&server, "GET /held HTTP/1.0\r\n\r\n", 1);
    let head = "HEAD /held HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";
    let head = waiting(&server, head, 2);
    server.release.add_permits(3);
    let answer = close.rest();
    assert!(answer.contains("connection: close") && answer.ends_with("released"), "{answer}");
    let answer = old.rest();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("released"), "{answer}");
    let answer = head.rest();
    assert!(answer.contains("content-length: 8") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn trailers_are_sent_to_whoever_takes_them_also_after_a_rest() {
    let server = start(limits());
    let mut takes = server.connect();
    takes.send(
        "GET /trailers HTTP/1.1\r\nHost: site\r\nTE: trailers\r\nConnection: te, close\r\n\r\n",
    );
    rests(&server, 1);
    server.release.add_permits(1);
    let answer = takes.rest();
    assert!(answer.ends_with("0\r\nchecksum: 7\r\n\r\n"), "{answer}");
}

#[test]
fn a_client_that_leaves_while_its_request_waits_is_gone() {
    let server = start(limits());
    let client = waiting(&server, &wait_with(""), 0);
    assert_eq!(server.server.connections(), 1);
    drop(client);
    until(|| server.server.connections() == 0);
}

#[test]
fn a_drain_waits_for_the_answer_on_a_connection_that_rests() {
    let server = start(limits());
    let client = waiting(&server, &wait_with(""), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let release = server.release.clone();
    runtime.block_on(async {
        let drained = server.server.drain(2 * BOUND);
        tokio::join!(drained, async { release.add_permits(1) });
    });
    assert!(client.rest().ends_with("released"));
}

#[test]
fn a_request_with_a_body_does_not_have_its_connection_rest() {
    let server = start(limits());
    let mut client = server.connect();
    client.send("GET /held HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nhe");
    server.until_seen("/held");
    let _waits = waiting(&server, &wait_with(""), 0);
    assert_eq!(server.server.rests(), 1, "only the second one");
    client.send("llo");
    server.release.add_permits(2);
    client.until("released");
}
