//! The guard alone: tables of bytes and what they deserve, and properties over all bytes.
#![allow(clippy::unwrap_used)]

use super::super::fuzzing::run;
use super::super::guard::Verdict;
use proptest::prelude::*;

/// The status and word with which `input` is refused; `None` when it is sound.
fn refused(input: &[u8]) -> Option<(u16, &'static str)> {
    match run(input, input.len()).2 {
        Some(Verdict::BadHead(error) | Verdict::BadBody(error)) => {
            assert!(error.closes, "after {error} the next request's beginning is in doubt");
            Some((error.status.as_u16(), error.word))
        }
        _ => None,
    }
}

const SOUND: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /a?b=c&d=%20 HTTP/1.1\r\nHost: example.com:8080\r\nX:\r\nY:  z \t\r\n\r\n",
    b"GET /[b]?[c] HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xc3\xa9\tb\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-Continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
      A;x=\"y\"\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\
      GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

const REFUSED: &[(&[u8], u16, &str)] = &[
    // The request line.
    (b" GET / HTTP/1.1\r\n", 400, "bad-method"),
    (b"\x16\x03\x01\x02", 400, "bad-method"),
    (b"G@T / HTTP/1.1\r\n", 400, "bad-method"),
    (b"GET\t/ HTTP/1.1\r\n", 400, "bad-method"),
    (b"\r\n\r\nGET / HTTP/1.1\r\n", 400, "bad-method"),
    (b"GET / \r\n", 400, "bad-version"),
    (b"GET /\r\n", 400, "bad-request-line"),
    (b"GET  / HTTP/1.1\r\n", 400, "bad-version"),
    (b"GET /a b HTTP/1.1\r\n", 400, "bad-version"),
    (b"GET / HTTP/1.1 \r\n", 400, "bad-version"),
    (b"GET / http/1.1\r\n", 400, "bad-version"),
    (b"GET / HTTP/11\r\n", 400, "bad-version"),
    (b"GET / HTTP/0.9\r\n", 505, "bad-version"),
    (b"PRI * HTTP/2.0\r\n", 505, "bad-version"),
    (b"GET /#a HTTP/1.1\r\n", 400, "bad-target"),
    (b"GET /\x01 HTTP/1.1\r\n", 400, "control-byte"),
    (b"GET /caf\xc3\xa9#a HTTP/1.1\r\n", 400, "bad-target"),
    (b"GET /a\x7f HTTP/1.1\r\n", 400, "control-byte"),
    (b"GET a/b HTTP/1.1\r\n", 400, "bad-target"),
    (b"GET http:// HTTP/1.1\r\n", 400, "bad-target"),
    (b"GET / HTTP/1.1\n", 400, "bare-cr-lf"),
    (b"GET /\r HTTP/1.1\r\n", 400, "bare-cr-lf"),
    // Fields.
    (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bare-cr-lf"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare-cr-lf"),
    (b"GET / HTTP/1.1\r\nX: a\rb\r\n", 400, "bare-cr-lf"),
    (b"GET / HTTP/1.1\r\nX: a\0b\r\nHost: a\r\n\r\n", 400, "control-byte"),
    (b"GET / HTTP/1.1\r\nX: a\x7fb\r\nHost: a\r\n\r\n", 400, "control-byte"),
    (b"GET / HTTP/1.1\r\nX : a\r\n", 400, "space-before-colon"),
    (b"GET / HTTP/1.1\r\n X: a\r\n", 400, "obs-fold"),
    (b"GET / HTTP/1.1\r\nX: a\r\n b\r\n", 400, "obs-fold"),
    (b"GET / HTTP/1.1\r\nX: a\r\n\tb\r\n", 400, "obs-fold"),
    (b"GET / HTTP/1.1\r\n: a\r\n", 400, "bad-field-name"),
    (b"GET / HTTP/1.1\r\nX\r\n", 400, "bad-field-name"),
    (b"GET / HTTP/1.1\r\nX[: a\r\n", 400, "bad-field-name"),
    // Host.
    (b"GET / HTTP/1.1\r\n\r\n", 400, "no-host"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n", 400, "several-hosts"),
    (b"GET / HTTP/1.1\r\nHost:\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: u@a\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: a, b\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: a:x\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: a:65536\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: a..b\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: [::1\r\n", 400, "bad-host"),
    (b"GET / HTTP/1.1\r\nHost: [::g]\r\n", 400, "bad-host"),
    // Framing.
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n", 400, "bad-length"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n", 400, "bad-length"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n", 400, "bad-length"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n", 400, "bad-length"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n", 400, "bad-length"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n", 400, "bad-length"),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        400,
        "several-lengths",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "two-framings",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nContent-Length: 5\r\n\r\n",
        400,
        "two-framings",
    ),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad-transfer-encoding"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n", 400, "bad-transfer-encoding"),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n",
        400,
        "bad-transfer-encoding",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
          Transfer-Encoding: chunked\r\n",
        400,
        "bad-transfer-encoding",
    ),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "transfer-encoding"),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        501,
        "transfer-encoding",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
        "transfer-encoding",
    ),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n", 413, "body-too-large"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417, "expectation"),
];

const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

const BAD_CHUNKS: &[(&[u8], u16, &str)] = &[
    (b"x\r\n", 400, "bad-chunk"),
    (b"\r\n", 400, "bad-chunk"),
    (b"0x5\r\n", 400, "bad-chunk"),
    (b"-1\r\n", 400, "bad-chunk"),
    (b"5 \r\n", 400, "bad-chunk"),
    (b" 5\r\n", 400, "bad-chunk"),
    (b"5\n", 400, "bare-cr-lf"),
    (b"5;a\nb\r\n", 400, "bare-cr-lf"),
    (b"5;a\rb\r\n", 400, "bare-cr-lf"),
    (b"00000000000000005\r\n", 400, "bad-chunk"),
    (b"ffffffffffffffff\r\n", 413, "body-too-large"),
    (b"401\r\n", 413, "body-too-large"),
    (b"1\r\nab", 400, "bad-chunk"),
    (b"1\r\na\n", 400, "bad-chunk"),
    (b"1\r\na\rb", 400, "bad-chunk"),
    (b"0\r\nHost: b\r\n", 400, "bad-trailer"),
    (b"0\r\nContent-Length: 1\r\n", 400, "bad-trailer"),
    (b"0\r\nX : b\r\n", 400, "space-before-colon"),
    (b"0\r\nX: b\n", 400, "bare-cr-lf"),
];

#[test]
fn what_the_grammar_allows_is_cleared() {
    for input in SOUND {
        assert_eq!(refused(input), None, "{}", input.escape_ascii());
        assert_eq!(run(input, input.len()).0, *input, "{}", input.escape_ascii());
    }
}

#[test]
fn request_lines_are_spelled_as_keys_and_origins_get_them() {
    for (line, expected) in [
        (&b"GET /caf\xc3\xa9 HTTP/1.1"[..], "GET /caf%C3%A9 HTTP/1.1"),
        (b"GET /<a>?q={\"b\":1}|^` HTTP/1.1", "GET /%3Ca%3E?q=%7B%22b%22:1%7D%7C%5E%60 HTTP/1.1"),
        (b"GET /a\\..\\b%2f%5c HTTP/1.0", "GET /a%5C..%5Cb%2f%5c HTTP/1.0"),
        (b"GET http://a/\xff HTTP/1.1", "GET http://a/%FF HTTP/1.1"),
        (b"GET / HTTP/1.2", "GET / HTTP/1.1"),
        (b"GET /\xe2\x82\xac HTTP/1.9", "GET /%E2%82%AC HTTP/1.1"),
    ] {
        for before in ["", "\r\n"] {
            let rest = b"\r\nHost: a\r\n\r\n";
            let input = [before.as_bytes(), line, rest].concat();
            let (cleared, heads, refused) = run(&input, input.len());
            assert_eq!((heads, refused), (1, None), "{}", input.escape_ascii());
            let expected = [before.as_bytes(), expected.as_bytes(), rest].concat();
            assert_eq!(cleared, expected, "{}", cleared.escape_ascii());
        }
    }
    let long = [b"GET /", &[0xc3; 40][..], b" HTTP/1.1\r\n"].concat();
    assert_eq!(refused(&long), Some((414, "target-too-long")), "as long as it is encoded");
}

#[test]
fn each_bad_head_is_refused_with_its_status() {
    for &(input, status, word) in REFUSED {
        assert_eq!(refused(input), Some((status, word)), "{}", input.escape_ascii());
        assert!(run(input, input.len()).0.is_empty(), "cleared of {}", input.escape_ascii());
    }
}

#[test]
fn each_bad_body_is_refused_after_its_head() {
    for &(chunk, status, word) in BAD_CHUNKS {
        let input = [CHUNKED, chunk].concat();
        assert_eq!(refused(&input), Some((status, word)), "{}", chunk.escape_ascii());
        let (cleared, heads, verdict) = run(&input, input.len());
        assert!(matches!(verdict, Some(Verdict::BadBody(_))) && heads == 1);
        assert!(cleared.starts_with(CHUNKED));
    }
}

#[test]
fn what_is_too_long_is_refused_before_it_ends() {
    let endless_method = [b'A'; 600];
    assert_eq!(refused(&endless_method), Some((414, "target-too-long")));
    let endless_target = format!("GET /{}", "a".repeat(200));
    assert_eq!(refused(endless_target.as_bytes()), Some((414, "target-too-long")));
    let long_target = format!("GET /{} HTTP/1.1\r\n", "a".repeat(64));
    assert_eq!(refused(long_target.as_bytes()), Some((414, "target-too-long")));
    let long_method = format!("{} / HTTP/1.1\r\n", "A".repeat(65));
    assert_eq!(refused(long_method.as_bytes()), Some((501, "method-too-long")));
    let endless_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(512));
    assert_eq!(refused(endless_field.as_bytes()), Some((431, "head-too-large")));
    let many_fields = format!("GET / HTTP/1.1\r\n{}", "X: a\r\n".repeat(9));
    assert_eq!(refused(many_fields.as_bytes()), Some((431, "too-many-fields")));
    let endless_chunk_line = [CHUNKED, b"5;", &[b'a'; 300]].concat();
    assert_eq!(refused(&endless_chunk_line), Some((400, "bad-chunk")));
    let endless_trailers = [CHUNKED, b"0\r\n", "X: aaaaaaaa\r\n".repeat(50).as_bytes()].concat();
    assert_eq!(refused(&endless_trailers).map(|(status, _)| status), Some(431));
    let many_extensions = [CHUNKED, format!("0;{}\r\n", "a".repeat(200)).as_bytes()].concat();
    assert_eq!(refused(&many_extensions), None);
}

#[test]
fn every_control_byte_is_found_wherever_it_is() {
    for byte in (0..0x20).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        for before in 0..20 {
            let field = [&[b'a'; 20][..before], &[byte], b"bbb\xff"].concat();
            let input = [b"GET / HTTP/1.1\r\nX:", &field[..], b"\r\nHost: a\r\n\r\n"].concat();
            assert_eq!(refused(&input), Some((400, "control-byte")), "{}", input.escape_ascii());
        }
    }
}

#[test]
fn extensions_of_many_chunks_add_up() {
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(240));
    let input = [CHUNKED, chunk.repeat(20).as_bytes()].concat();
    assert_eq!(refused(&input), Some((400, "bad-chunk")));
}

/// Bytes that look like requests, and are broken here and there.
fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<Vec<u8>> = SOUND
        .iter()
        .chain(REFUSED.iter().map(|(input, ..)| input))
        .chain(BAD_CHUNKS.iter().map(|(input, ..)| input))
        .map(|input| input.to_vec())
        .collect();
    let piece = prop_oneof![
        4 => prop::sample::select(pieces),
        1 => Just(CHUNKED.to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => Just(b"\r\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_the_split(
        input in nearly_requests(),
        piece in 1usize..40,
    ) {
        super::super::fuzzing::guard(&input, piece);
        super::super::fuzzing::guard(&input, 1);
    }

    #[test]
    fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..2000), piece in 1usize..9) {
        super::super::fuzzing::guard(&input, piece);
    }

    #[test]
    fn what_is_cleared_hyper_understands(input in nearly_requests()) {
        let (cleared, heads, _) = run(&input, input.len());
        let asked = hyper_requests(&cleared);
        // After a request of HTTP/1.0 it closes.
        let all = memchr::memmem::find(&cleared, b"HTTP/1.0").is_none();
        let understood = if all { asked == heads } else { asked <= heads };
        prop_assert!(understood, "{asked} of {heads}: {}", cleared.escape_ascii());
    }
}

/// How many requests hyper finds in `bytes`; it refuses none.
fn hyper_requests(bytes: &[u8]) -> u64 {
    use http_body_util::{BodyExt, Empty};
    use std::cell::Cell;
    let count = Cell::new(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answers = runtime.block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let service =
            hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                count.set(count.get() + 1);
                async move {
                    let _ = request.into_body().collect().await;
                    // 204 lets CONNECT's 2xx rule out: nothing here is a tunnel.
                    let mut answer = hyper::Response::new(Empty::<bytes::Bytes>::new());
                    *answer.status_mut() = http::StatusCode::NOT_FOUND;
                    Ok::<_, std::convert::Infallible>(answer)
                }
            });
        let mut http = hyper::server::conn::http1::Builder::new();
        let io = hyper_util::rt::TokioIo::new(server);
        let _ = http.half_close(true).serve_connection(io, service).await;
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.unwrap();
        answers
    });
    assert!(
        memchr::memmem::find(&answers, b"HTTP/1.1 400").is_none(),
        "hyper refuses {}",
        bytes.escape_ascii()
    );
    count.get()
}
