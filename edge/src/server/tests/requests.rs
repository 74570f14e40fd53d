//! Ordinary requests over real sockets.

use super::support::{limits, start};

const GET: &str = "GET /a HTTP/1.1\r\nHost: site\r\n\r\n";
const LAST: &str = "GET /last HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = start(limits());
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(GET);
        let answer = client.until("site /a");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    client.send(LAST);
    assert!(client.rest().ends_with("site /last"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = start(limits());
    let paths = ["/1", "/2", "/3", "/4", "/5"];
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: site\r\n\r\n");
    let all: String = paths.iter().map(|path| ask(path)).chain([LAST.to_owned()]).collect();
    let answers = server.exchange(all);
    let at: Vec<_> = paths.iter().map(|path| answers.find(path).unwrap_or(usize::MAX)).collect();
    assert!(at.is_sorted() && at[4] < usize::MAX, "{answers}");
}

#[test]
fn requests_split_anywhere_are_understood() {
    let server = start(limits());
    let request = "POST /echo HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\
        Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    for at in 1..request.len() {
        let mut client = server.connect();
        client.send(&request[..at]);
        client.send(&request[at..]);
        assert!(client.rest().ends_with("5 bytes"), "split at {at}");
    }
}

#[test]
fn the_connection_of_http_1_0_ends_with_its_answer() {
    let server = start(limits());
    let answer = server.exchange("GET /old HTTP/1.0\r\n\r\n");
    let own = server.server.listen().to_string();
    assert!(answer.ends_with(&format!("{own} /old")), "{answer}");
}

#[test]
fn a_body_is_asked_for_with_100_continue() {
    let server = start(limits());
    let mut client = server.connect();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: site\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert!(client.until("3 bytes").starts_with("HTTP/1.1 200"));
}

#[test]
fn early_hints_come_before_the_answer() {
    let server = start(limits());
    let mut client = server.connect();
    client.send("GET /hints HTTP/1.1\r\nHost: site\r\n\r\n");
    let hints = client.until("\r\n\r\n");
    assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
    assert!(client.until("hinted").starts_with("HTTP/1.1 200"));
    let old = server.exchange("GET /hints HTTP/1.0\r\nHost: site\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200") && old.ends_with("dropped"), "{old}");
}

#[test]
fn connect_is_refused_and_the_connection_closed() {
    let server = start(limits());
    let answer = server.exchange("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn an_answer_that_breaks_off_is_cut() {
    let server = start(limits());
    let answer = server.exchange("GET /short HTTP/1.1\r\nHost: site\r\n\r\n");
    assert!(!answer.ends_with("0\r\n\r\n"), "a cut body looks whole");
    let mut client = server.connect();
    client.send("GET /short HTTP/1.0\r\n\r\n");
    let mut read = Vec::new();
    let end = std::io::Read::read_to_end(&mut client.stream, &mut read);
    assert!(end.is_err(), "without a length, only a reset says that a body is cut");
}
