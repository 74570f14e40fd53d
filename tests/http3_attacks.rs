//! What a client of HTTP/3 tries at the cost of others: it gets what it would get by HTTP/2.

mod quic;
mod support;
use quic::*;
use support::*;

use std::time::Duration;

const MESSAGE_ERROR: u64 = 0x10e;
const FRAME_UNEXPECTED: u64 = 0x105;
const FRAME_ERROR: u64 = 0x106;
const EXCESSIVE_LOAD: u64 = 0x107;
const REQUEST_INCOMPLETE: u64 = 0x10d;

/// The pseudo-header fields of a request.
const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", HOST);
const PATH: (&str, &str) = (":path", "/a");
const GET: [(&str, &str); 4] = [METHOD, SCHEME, AUTHORITY, PATH];

fn with(more: &[(&str, &str)]) -> Vec<u8> {
    headers(&[&GET[..], more].concat())
}

async fn answered(connection: &quinn::Connection) {
    let ended = ended(connection, &with(&[]), true).await;
    assert!(matches!(ended, Ended::Answered(bytes) if bytes > 0), "{ended:?}");
}

#[tokio::test]
async fn malformed_requests_are_reset_and_reach_no_origin() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("malformed"));
    origin.route("/a", reply("hello"));
    let edge = certificate.edge(&origin).start();
    let connection = certificate.connection(&edge).await;
    let body = |bytes: &[u8]| frame(0, bytes);
    let post = |more: &[(&str, &str)]| {
        headers(&[&[(":method", "POST"), SCHEME, AUTHORITY, PATH][..], more].concat())
    };
    for (what, bytes) in [
        ("two paths", with(&[(":path", "/b")])),
        ("two methods", headers(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH])),
        ("no path", headers(&[METHOD, SCHEME, AUTHORITY])),
        ("an empty path", headers(&[METHOD, SCHEME, AUTHORITY, (":path", "")])),
        ("no scheme", headers(&[METHOD, AUTHORITY, PATH])),
        ("no method", headers(&[SCHEME, AUTHORITY, PATH])),
        ("no authority", headers(&[METHOD, SCHEME, PATH])),
        ("a pseudo field behind others", headers(&[METHOD, SCHEME, AUTHORITY, ("a", "b"), PATH])),
        ("a pseudo field of answers", with(&[(":status", "200")])),
        ("an unknown pseudo field", with(&[(":odd", "1")])),
        ("another host", with(&[("host", "other.test")])),
        ("capital letters", with(&[("Accept", "x")])),
        ("a line break", with(&[("accept", "x\r\nhost: y")])),
        ("a space in a name", with(&[("acc ept", "x")])),
        ("Connection", with(&[("connection", "close")])),
        ("Keep-Alive", with(&[("keep-alive", "5")])),
        ("Proxy-Connection", with(&[("proxy-connection", "close")])),
        ("Transfer-Encoding", with(&[("transfer-encoding", "chunked")])),
        ("Upgrade", with(&[("upgrade", "websocket")])),
        ("TE", with(&[("te", "gzip")])),
        (
            "two lengths",
            [post(&[("content-length", "1"), ("content-length", "2")]), body(b"x")].concat(),
        ),
        ("a length that is none", [post(&[("content-length", "+1")]), body(b"x")].concat()),
        ("a length in a list", [post(&[("content-length", "1, 1")]), body(b"x")].concat()),
        ("a body that is missing", with(&[("content-length", "1")])),
    ] {
        assert_eq!(ended(&connection, &bytes, true).await, Ended::Reset(MESSAGE_ERROR), "{what}");
    }
    assert_eq!(origin.fetches("/a"), 0);
    for (what, length, sent) in [("shorter", "5", "abc"), ("longer", "2", "abc")] {
        let bytes = [post(&[("content-length", length)]), body(sent.as_bytes())].concat();
        assert_eq!(ended(&connection, &bytes, true).await, Ended::Reset(MESSAGE_ERROR), "{what}");
    }
    let trailers = headers(&[(":path", "/b")]);
    let bytes = [post(&[]), body(b"x"), trailers].concat();
    assert_eq!(ended(&connection, &bytes, true).await, Ended::Reset(MESSAGE_ERROR), "trailers");
    assert_eq!(origin.requests("/a").len(), 0, "none of them is whole at the origin");
    answered(&connection).await;
}

#[tokio::test]
async fn frames_out_of_place_end_the_connection() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("frames"));
    origin.route("/a", held("hello"));
    let edge = certificate.edge(&origin).start();
    let post = headers(&[(":method", "POST"), SCHEME, AUTHORITY, PATH]);
    for (what, bytes, code) in [
        ("DATA first", frame(0, b"x"), FRAME_UNEXPECTED),
        ("SETTINGS", frame(4, b""), FRAME_UNEXPECTED),
        ("PING of HTTP/2", frame(6, b"12345678"), FRAME_UNEXPECTED),
        (
            "DATA behind trailers",
            [post.clone(), headers(&[("a", "b")]), frame(0, b"x")].concat(),
            FRAME_UNEXPECTED,
        ),
        ("a frame cut short", [post, announced(0, 9), b"abc".to_vec()].concat(), FRAME_ERROR),
        ("fields cut short", announced(1, 9), FRAME_ERROR),
        ("fields of a table that is not there", frame(1, &[0, 0, 0x80]), 0x200),
    ] {
        let connection = certificate.connection(&edge).await;
        assert_eq!(ended(&connection, &bytes, true).await, Ended::Closed(code), "{what}");
    }
    for (what, bytes, code) in [
        ("no SETTINGS", [&[0][..], &frame(7, &[0])].concat(), 0x10a),
        ("DATA on the control stream", [&[0][..], &frame(4, b""), &frame(0, b"x")].concat(), 0x104),
        ("SETTINGS without an end", [&[0][..], &announced(4, 1 << 40)].concat(), 0x104),
    ] {
        let connection = certificate.connection(&edge).await;
        let mut stream = connection.open_uni().await.expect("a stream");
        stream.write_all(&bytes).await.expect("bytes");
        assert_eq!(close_code(&connection).await, code, "{what}");
    }
}

#[tokio::test]
async fn frames_that_mean_nothing_are_passed_over() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("grease"));
    origin.route("/a", reply("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    let connection = certificate.connection(&edge).await;
    let mut control = connection.open_uni().await.expect("a stream");
    control.write_all(&[&[0][..], &frame(4, b"")].concat()).await.expect("bytes");
    // Two MiB, of which nothing may be kept; and the priorities that browsers send.
    let odd = frame(0x21, &vec![7; 1 << 20]);
    for _ in 0..2 {
        control.write_all(&odd).await.expect("they are taken");
        control.write_all(&frame(0xf0700, b"\0u=1")).await.expect("bytes");
    }
    let bytes = [odd.clone(), with(&[]), odd].concat();
    let answer = ended(&connection, &bytes, true).await;
    assert!(matches!(answer, Ended::Answered(bytes) if bytes > 5), "{answer:?}");
}

#[tokio::test]
async fn heads_have_bounds_in_size_number_and_time() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("heads"));
    origin.route("/a", reply("hello"));
    let limits = "[limits]\nheader_bytes = \"4KiB\"\nheader_fields = 20\n\
                  header_timeout = \"300ms\"";
    let edge = certificate.edge(&origin).tables(limits).start();
    let client = certificate.client(&edge).await;
    // What its settings say is more than h3's client sends.
    let connection = &certificate.connection(&edge).await;
    let large = "x".repeat(5000);
    let answer = ended(connection, &with(&[("a", &large)]), true).await;
    assert!(matches!(answer, Ended::Answered(bytes) if bytes > 0), "431: {answer:?}");
    let larger = "x".repeat(20_000);
    assert_eq!(
        ended(connection, &with(&[("a", &larger)]), true).await,
        Ended::Reset(EXCESSIVE_LOAD)
    );
    assert_eq!(
        ended(connection, &announced(1, 1 << 50), false).await,
        Ended::Reset(EXCESSIVE_LOAD)
    );
    let many: Vec<_> = (0..30).map(|n| format!("x-{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(client.send("GET", "/a", &many, "").await.head.status, 431);
    let cookies = [("cookie", "a=1"); 30];
    assert_eq!(client.send("GET", "/a", &cookies, "").await.head.status, 200, "they are one");
    // Half a head, a head that a request for a page must not leave open, and no byte after the first.
    for bytes in [&with(&[])[..9], &with(&[]), &[1]] {
        assert_eq!(ended(connection, bytes, false).await, Ended::Reset(REQUEST_INCOMPLETE));
    }
    assert_eq!(origin.fetches("/a"), 1);
    answered(connection).await;
}

#[tokio::test]
async fn bodies_have_bounds_in_size_and_time() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("bodies"));
    origin.route("/a", answer_with(|request| reply(request.body.clone())));
    let limits = "[limits]\nbody_bytes = 1000\nslow_client = \"300ms\"";
    let edge = certificate.edge(&origin).tables(limits).start();
    let client = certificate.client(&edge).await;
    assert_eq!(client.send("POST", "/a", &[("content-length", "1001")], "").await.head.status, 413);
    let long: &'static str = Box::leak("x".repeat(5000).into_boxed_str());
    assert_eq!(client.send("POST", "/a", &[], long).await.head.status, 413);
    let mut slow = client.begin("POST", "/a", &[("content-length", "5")]).await.expect("a stream");
    slow.send_data("ab".into()).await.expect("bytes");
    assert_eq!(head(&mut slow).await.expect("an answer").status, 408);
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_no_place_at_the_origin() {
    const LARGE: u64 = 16 << 20;
    let (origin, certificate) = (Origin::start().await, Certificate::new("reader"));
    let large = reply("").body_bytes(LARGE).header("Cache-Control", "no-cache=\"x\", private");
    origin.route("/large", large);
    origin.route("/small", reply("small"));
    let limits = "[limits]\norigin_connections = 1\nread_ahead = \"32MiB\"\nslow_client = \"1s\"\n\
                  [memory]\nsize = \"1GiB\"";
    let edge = certificate.edge(&origin).tables(limits).start();
    let to = edge.node.listen_tls().expect("a TLS listener");
    let (_endpoint, connection) =
        certificate.connection_from(1, to, narrow(1024)).await.expect("a connection");
    let client = Http3::new(connection).await;
    let mut stream = client.begin("GET", "/large", &[]).await.expect("a stream");
    stream.finish().await.expect("an end");
    let begun = head(&mut stream).await.expect("a head");
    assert_eq!(begun.status, 200);
    assert_eq!(certificate.client(&edge).await.get("/small").await.line(), "200 small");
    assert!(metric(&edge, "weir_read_ahead_bytes") > LARGE / 4);
    // Then it is ended, and what it held is free.
    close_code(&client.connection).await;
    until("the memory to be free", || metric(&edge, "weir_read_ahead_bytes"), |b| *b == 0).await;
    assert!(rest_after(stream, begun).await.is_err(), "what it has is not the whole");
}

#[tokio::test]
async fn a_client_that_never_acknowledges_its_window_is_ended() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("window"));
    origin.route("/a", reply("").body_bytes(100_000).max_age(60));
    let limits = "[limits]\nslow_client = \"300ms\"\nheader_timeout = \"300ms\"";
    let edge = certificate.edge(&origin).tables(limits).start();
    let to = edge.node.listen_tls().expect("a TLS listener");
    // Too narrow for the settings, and for the head of an answer.
    for window in [0, 64] {
        let (_endpoint, connection) =
            certificate.connection_from(1, to, narrow(window)).await.expect("a connection");
        let (mut stream, _answer) = connection.open_bi().await.expect("a stream");
        stream.write_all(&with(&[])).await.expect("bytes");
        stream.finish().expect("an end");
        close_code(&connection).await;
        until("it to be gone", || metric(&edge, "weir_connections_open"), |open| *open == 0).await;
        assert_eq!(origin.fetches("/a"), usize::from(window > 0));
    }
}

#[tokio::test]
async fn streams_and_connections_have_bounds() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("bounds"));
    origin.route("/a", held("hello").max_age(60));
    let limits = "[limits]\nh2_streams = 4\nconnections = 16\nprivate_clients = true";
    let edge = certificate.edge(&origin).tables(limits).start();
    let to = edge.node.listen_tls().expect("a TLS listener");
    let mut busy = Vec::new();
    let waiting = || edge.node.waiting(&format!("https://{HOST}/a"));
    // Three quarters of all connections may be of one client, and the one with which that is exceeded.
    for count in 1..=13 {
        let (endpoint, connection) =
            certificate.connection_from(2, to, Default::default()).await.expect("a connection");
        let client = Http3::new(connection).await;
        let mut stream = client.begin("GET", "/a", &[]).await.expect("a stream");
        stream.finish().await.expect("an end");
        until("it to wait", waiting, |waiting| *waiting == count).await;
        busy.push((endpoint, client, stream));
    }
    let refused = certificate.connection_from(2, to, Default::default()).await;
    assert!(matches!(refused, Err(quinn::ConnectionError::ConnectionClosed(_))));
    assert_eq!(metric(&edge, "weir_client_share_refused_connections_total"), 1);
    certificate.connection_from(3, to, Default::default()).await.expect("another client has room");
    let mut streams = Vec::new();
    let last = &busy[0].1;
    for _ in 0..3 {
        let mut stream = last.begin("GET", "/a", &[]).await.expect("a stream");
        stream.finish().await.expect("an end");
        streams.push(stream);
    }
    until("four of one to wait", waiting, |waiting| *waiting == 16).await;
    let fifth = tokio::time::timeout(Duration::from_millis(200), last.connection.open_bi()).await;
    assert!(fifth.is_err(), "it has no credit for a fifth");
    origin.release("/a");
    for (_, _, stream) in busy {
        assert_eq!(rest(stream).await.expect("an answer").line(), "200 hello");
    }
}

#[tokio::test]
async fn who_gives_up_request_after_request_is_cut_off() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("resets"));
    origin.route("/a", held("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    let connection = certificate.connection(&edge).await;
    let asked = with(&[]);
    let mut count = 0;
    let cut = loop {
        let Ok((mut to, mut from)) = connection.open_bi().await else { break true };
        if to.write_all(&asked).await.is_err() {
            break true;
        }
        let _ = to.reset(0x10c_u32.into());
        let _ = from.stop(0x10c_u32.into());
        count += 1;
        if count > 100_000 {
            break false;
        }
    };
    assert!(cut, "{count} requests were given up");
    assert_eq!(close_code(&connection).await, EXCESSIVE_LOAD);
    assert!(origin.fetches("/a") <= 1);
}

#[tokio::test]
async fn memory_is_charged_and_given_back() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("memory"));
    origin.route("/a", held("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    let before = metric(&edge, "weir_connection_memory_bytes");
    let client = certificate.client(&edge).await;
    let mut stream = client.begin("GET", "/a", &[]).await.expect("a stream");
    stream.finish().await.expect("an end");
    let used = || metric(&edge, "weir_connection_memory_bytes") - before;
    // The connection, and what may wait to be acknowledged.
    until("it to be charged", used, |bytes| *bytes >= (256 + 40 + 16 + 4) << 10).await;
    origin.release("/a");
    assert_eq!(rest(stream).await.expect("an answer").line(), "200 hello");
    until("work to be given back", used, |bytes| *bytes < 128 << 10).await;
    client.connection.close(0_u32.into(), b"");
    until("all to be given back", used, |bytes| *bytes == 0).await;
}

/// The first datagram of a client that will not say more.
async fn first_datagram(certificate: &Certificate) -> Vec<u8> {
    let nobody = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
    let config = certificate.quic(Default::default());
    let to = nobody.local_addr().expect("an address");
    let _connecting = endpoint.connect_with(config, to, HOST).expect("a client");
    let mut datagram = vec![0; 2000];
    let (length, _) = nobody.recv_from(&mut datagram).await.expect("a datagram");
    datagram.truncate(length);
    datagram
}

#[tokio::test]
async fn who_begins_many_handshakes_has_to_show_where_he_is() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("retry"));
    origin.route("/a", reply("hello"));
    let edge = certificate.edge(&origin).start();
    let to = edge.node.listen_tls().expect("a TLS listener");
    let mut kinds = Vec::new();
    for _ in 0..70 {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        silent.send_to(&first_datagram(&certificate).await, to).await.expect("a datagram");
        let mut answer = [0; 2000];
        let received = silent.recv_from(&mut answer);
        tokio::time::timeout(PATIENCE, received).await.expect("in time").expect("an answer");
        // The type of a packet with a long header (RFC 9000 §17.2).
        kinds.push(answer[0] >> 4 & 3);
    }
    let (handshakes, retries) = kinds.split_at(64);
    assert!(handshakes.iter().all(|kind| *kind == 0), "the first ones are taken: {kinds:?}");
    assert!(retries.iter().all(|kind| *kind == 3), "the others are told to try again: {kinds:?}");
    assert_eq!(
        certificate.client(&edge).await.get("/a").await.line(),
        "200 hello",
        "who does so is served"
    );
}

#[tokio::test]
async fn half_heads_on_many_streams_are_not_kept_all_at_once() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("half"));
    origin.route("/a", reply("hello"));
    let edge = certificate.edge(&origin).tables("[limits]\nheader_timeout = \"500ms\"").start();
    let connection = certificate.connection(&edge).await;
    let large = "x".repeat(20_000);
    let half = with(&[("a", &large)]);
    let half = &half[..half.len() - 1];
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (connection, half) = (connection.clone(), half.to_vec());
        crowd.spawn(async move { ended(&connection, &half, false).await });
    }
    for ended in crowd.join_all().await {
        assert_eq!(ended, Ended::Reset(REQUEST_INCOMPLETE));
    }
    answered(&connection).await;
    assert_eq!(origin.fetches("/a"), 1);
}
