//! Bounds in time and number, and draining.
#![allow(clippy::unwrap_used)]

use super::support::{BOUND, Client, held, limits, start, until};
use std::io::{Read, Write};
use std::time::Duration;
use weir_config::Limits;

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_head_that_dribbles_in_is_408() {
    let server = start(Limits { header_timeout: SHORT, ..limits() });
    let answer = server.exchange("GET / HTTP/1.1\r\nHost: si");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with("client-too-slow"), "{answer}");
    // Also where HTTP/2 might have come.
    let answer = server.exchange("PRI * HT");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Also after a request that was served.
    let mut client = server.connect();
    client.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\nGET /b");
    client.until("site /a");
    assert!(client.rest().starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let server = start(Limits { slow_client: SHORT, ..limits() });
    let head = "POST /echo HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nab";
    let answer = server.exchange(head);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn a_handler_that_takes_its_time_is_not_the_clients_fault() {
    let server = start(Limits { slow_client: SHORT, header_timeout: SHORT, ..limits() });
    let mut waiting = server.connect();
    waiting.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
    // A slow client beside it proves that the time has passed and the sweeper been there.
    assert!(server.exchange("GET /").starts_with("HTTP/1.1 408 "));
    server.release.add_permits(1);
    assert!(waiting.until("released").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_client_that_resets_the_connection_ends_its_request() {
    let server = start(Limits { idle: 4 * SHORT, ..limits() });
    let mut client = server.connect();
    client.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
    server.until_seen("/held");
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    until(|| server.server.connections() == 0);
}

#[test]
fn a_client_that_only_listens_on_gets_its_answer() {
    let server = start(limits());
    let mut client = server.connect();
    client.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    server.until_seen("/held");
    server.release.add_permits(1);
    assert!(client.rest().ends_with("released"));
}

#[test]
fn an_idle_connection_is_closed() {
    let server = start(Limits { idle: SHORT, ..limits() });
    assert_eq!(server.connect().rest(), "");
    let mut client = server.connect();
    client.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
    client.until("site /a");
    assert_eq!(client.rest(), "");
    until(|| server.server.connections() == 0);
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let server = start(Limits { slow_client: SHORT, ..limits() });
    let mut client = server.connect();
    client.send("GET /endless HTTP/1.1\r\nHost: site\r\n\r\n");
    server.until_seen("/endless");
    until(|| server.server.connections() == 0);
    // What was on its way comes, and no end of the body.
    let mut read = Vec::new();
    let _ = client.stream.read_to_end(&mut read);
    assert!(!read.ends_with(b"0\r\n\r\n"));
}

#[test]
fn connections_above_the_limit_are_told_so() {
    let server = start(Limits { connections: 2, ..limits() });
    let [first, _second] = [(); 2].map(|()| {
        let mut client = server.connect();
        client.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
        client
    });
    server.until_seen("/held");
    until(|| server.server.connections() == 2);
    let answer = server.exchange("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
    assert!(
        answer.starts_with(
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
             Cache-Status: edge; detail=connection-limit\r\n"
        ),
        "{answer}"
    );
    assert_eq!(server.server.refused(), 1);
    drop(first);
    until(|| server.server.connections() == 1);
    let mut third = server.connect();
    third.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
    third.until("site /a");
}

#[test]
fn idle_connections_give_way_to_new_clients_and_busy_ones_do_not() {
    const LIMIT: usize = 8;
    let server = start(Limits { connections: LIMIT, ..limits() });
    let mut busy = server.connect();
    busy.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
    server.until_seen("/held");
    let mut idle = Vec::new();
    for _ in 0..LIMIT - 1 {
        let mut client = server.connect();
        client.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
        client.until("site /a");
        idle.push(client);
    }
    // Three times as many as there is room for, one after the other; some of them silent.
    for n in 0..3 * LIMIT {
        let mut client = server.connect();
        if n % 3 > 0 {
            client.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
            client.until("site /a");
        }
        idle.push(client);
    }
    until(|| server.server.connections() <= LIMIT);
    assert_eq!(server.server.refused(), 0);
    assert!(server.server.closed_idle() >= 2 * LIMIT as u64 - 1, "{}", server.server.closed_idle());
    assert_eq!(idle.remove(0).rest(), "", "the longest idle is closed");
    server.release.add_permits(1);
    assert!(busy.until("released").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_reload_changes_the_limits_of_new_connections() {
    let server = start(limits());
    server.server.reload(Limits { target_bytes: 10, ..limits() }, &[], &[], None).unwrap();
    let ask =
        || server.exchange("GET /a-long-path HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    until(|| ask().starts_with("HTTP/1.1 414 "));
}

#[test]
fn draining_lets_running_requests_finish_and_ends_idle_connections() {
    let server = start(limits());
    let mut idle = server.connect();
    idle.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
    idle.until("site /a");
    let mut running = server.connect();
    running.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
    server.until_seen("/held");
    let address = server.server.listen();
    let release = server.release;
    let draining = drain(server.server, BOUND);
    assert_eq!(idle.rest(), "", "a moment later");
    until(|| std::net::TcpStream::connect(address).is_err());
    release.add_permits(1);
    let answer = running.rest();
    assert!(answer.contains("connection: close") && answer.ends_with("released"), "{answer}");
    draining.join().unwrap();
}

/// A client that connected before the drain could not know of it: what it then asks is answered, over
/// HTTP/1 and HTTP/2, and it is told that nothing more is.
#[test]
fn a_client_that_was_accepted_before_a_drain_gets_an_answer_to_its_first_request() {
    let server = start(limits());
    let (mut early, silent) = (server.connect(), server.connect());
    let mut running = server.connect();
    running.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
    server.until_seen("/held");
    until(|| server.server.connections() == 3);
    let address = server.server.listen();
    let release = server.release;
    let draining = drain(server.server, BOUND);
    until(|| std::net::TcpStream::connect(address).is_err());
    early.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
    let answer = early.rest();
    assert!(answer.contains("connection: close") && answer.ends_with("site /a"), "{answer}");
    assert_eq!(silent.rest(), "", "a silent one is ended after a moment");
    release.add_permits(1);
    assert!(running.rest().ends_with("released"));
    draining.join().unwrap();
}

/// Nor could a client that keeps its connection and asks again at once.
#[test]
fn a_client_that_was_answered_a_moment_before_a_drain_gets_one_more_answer() {
    let server = start(limits());
    let mut kept = server.connect();
    kept.send("GET /a HTTP/1.1\r\nHost: site\r\n\r\n");
    kept.until("site /a");
    let mut running = server.connect();
    running.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
    server.until_seen("/held");
    let address = server.server.listen();
    let release = server.release;
    let draining = drain(server.server, BOUND);
    until(|| std::net::TcpStream::connect(address).is_err());
    kept.send("GET /b HTTP/1.1\r\nHost: site\r\n\r\n");
    let answer = kept.rest();
    assert!(answer.contains("connection: close") && answer.ends_with("site /b"), "{answer}");
    release.add_permits(1);
    assert!(running.rest().ends_with("released"));
    draining.join().unwrap();
}

/// What two servers that share a socket do not lose: whoever waits in its queue.
#[test]
fn clients_wait_in_the_queue_of_a_socket_until_a_server_serves_it() {
    let first = start(limits());
    let address = first.server.listen();
    let second = held(1, limits(), None, first.server.sockets().unwrap());
    drain(first.server, BOUND).join().unwrap();
    let mut client = Client::to(address);
    client.send("GET /a HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    assert_eq!(second.server.connections(), 0, "nobody is accepted yet");
    second.server.serve();
    assert!(client.rest().ends_with("site /a"));
}

#[test]
fn draining_ends_what_does_not_finish_in_time() {
    let server = start(limits());
    let mut running = server.connect();
    running.send("GET /held HTTP/1.1\r\nHost: site\r\n\r\n");
    server.until_seen("/held");
    drain(server.server, SHORT).join().unwrap();
    assert_eq!(running.rest(), "");
}

#[test]
fn dropping_a_server_frees_its_address() {
    let server = start(limits());
    let mut client = server.connect();
    client.stream.write_all(b"GET /held HTTP/1.1\r\nHost: site\r\n\r\n").unwrap();
    server.until_seen("/held");
    let address = server.server.listen();
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}

fn drain(server: super::super::Server, bound: Duration) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server.drain(bound));
    })
}
