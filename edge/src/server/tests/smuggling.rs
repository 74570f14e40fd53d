//! Bad bytes over real sockets: the honest status, the end of the connection, and nothing of what
//! follows reaching the handler.

use super::support::{limits, start};

const AFTER: &str = "GET /smuggled HTTP/1.1\r\nHost: site\r\n\r\n";

#[test]
fn a_bad_head_is_answered_and_what_follows_is_never_read() {
    let server = start(limits());
    for (bytes, status) in [
        ("GET / HTTP/1.1\nHost: site\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: site\r\nX: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : site\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: site\r\nHost: other\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: site\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: site\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: site\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: site\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: site\r\nContent-Length: 100001\r\n\r\n", 413),
        ("GET / HTTP/2.0\r\nHost: site\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: site\r\nExpect: tea\r\n\r\n", 417),
        ("\x16\x03\x01\x02\0\x01\0", 400),
    ] {
        let answer = server.exchange(format!("{bytes}{AFTER}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{bytes:?}: {answer}");
        assert!(answer.contains("connection: close"), "{bytes:?}: {answer}");
    }
    assert_eq!(server.seen(), Vec::<String>::new());
}

#[test]
fn good_requests_before_a_bad_one_are_answered_first() {
    let server = start(limits());
    let answers = server.exchange(
        "GET /1 HTTP/1.1\r\nHost: site\r\n\r\nGET /2 HTTP/1.1\r\nHost: site\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: site\r\nX : y\r\n\r\n",
    );
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert!(answers.ends_with("space-before-colon"), "{answers}");
    assert_eq!(server.seen(), ["/1", "/2"]);
}

#[test]
fn a_bad_chunk_ends_the_body_in_an_error() {
    let server = start(limits());
    let head = "POST /echo HTTP/1.1\r\nHost: site\r\nTransfer-Encoding: chunked\r\n\r\n";
    // The defect is known before the handler is asked, or while it reads the body.
    for bytes in ["5\r\nhelloX\r\n", "5\r\nhello\r\nX\r\n", "5\nhello\r\n0\r\n\r\n"] {
        let mut client = server.connect();
        client.send(format!("{head}{bytes}{AFTER}"));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 400"), "{bytes:?}: {answer}");
        let mut client = server.connect();
        client.send(head);
        client.send(bytes);
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 400"), "{bytes:?}: {answer}");
    }
    assert!(!server.seen().contains(&"/smuggled".to_owned()));
}

#[test]
fn a_body_that_grows_too_large_is_413() {
    let server = start(limits());
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: site\r\nTransfer-Encoding: chunked\r\n\r\n");
    server.until_seen("/echo");
    let chunk = format!("8000\r\n{}\r\n", "a".repeat(0x8000));
    for _ in 0..4 {
        client.send(&chunk);
    }
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("body-too-large"), "{answer}");
}

#[test]
fn a_body_that_is_cut_is_an_error() {
    let server = start(limits());
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nabc");
    server.until_seen("/echo");
    client.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let answer = client.rest();
    assert!(!answer.contains("200 OK"), "{answer}");
}
