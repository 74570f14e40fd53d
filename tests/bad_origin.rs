//! Origins that misbehave: clients get an honest error or a visible abort, and nothing wrong is
//! stored.

mod support;
use std::time::Duration;
use support::*;

/// Asks twice: the first request meets `bad`, the second a good origin, and must not see anything
/// of the first.
async fn first_of_two(what: &str, bad: Reply, edge: EdgeBuilder) -> Answer {
    let origin = Origin::start().await;
    origin.route("/a", bad.max_age(60).then(reply("well").max_age(60)));
    let edge = edge.origin(&origin).start();
    let answer = edge.get("/a").await;
    assert_eq!(edge.get("/a").await.line(), "200 well", "{what}");
    assert_eq!(edge.get("/a").await.handled(), "hit", "{what}");
    answer
}

#[tokio::test]
async fn heads_that_cannot_be_believed_are_a_502() {
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\n\
                Content-Length: 2\r\nCache-Control: max-age=60\r\n\r\nab";
    for (what, bad) in [
        ("two lengths", reply("hello").two_lengths(5, 6)),
        ("HTTP/0.9", reply("").raw("<html>hello</html>")),
        ("garbage", reply("").raw(vec![0xff; 300])),
        (
            "a length that is no number",
            reply("").raw("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        ),
        ("a negative length", reply("").raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")),
        ("a line that is no field", reply("").raw("HTTP/1.1 200 OK\r\nno field\r\n\r\n")),
        ("a status of two digits", reply("").raw("HTTP/1.1 20 OK\r\n\r\n")),
        ("a coding before chunked", coded("gzip, chunked")),
        ("an unknown coding", coded("foobar")),
        ("chunked that is not last", coded("chunked, gzip")),
        ("a length beside chunked", coded("chunked\r\nContent-Length: 5")),
        ("a part nobody asked for", reply("").raw(part)),
        ("a 304 nobody asked for", reply("").status(304)),
    ] {
        let answer = first_of_two(what, bad, edge()).await;
        assert_eq!(answer.status, 502, "{what}");
        assert_eq!(answer.handled(), "fwd=uri-miss; detail=origin-bad-head", "{what}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{what}");
        assert!(answer.whole, "{what}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_head_does_is_a_502() {
    for (what, bad) in [
        ("reset", reply("").reset_before_head()),
        ("an early end", reply("").raw("HTTP/1.1 200 OK\r\nContent-Le")),
        ("nothing", reply("").raw("")),
    ] {
        let answer = first_of_two(what, bad, edge()).await;
        assert_eq!(answer.status, 502, "{what}");
        assert_eq!(answer.handled(), "fwd=uri-miss; detail=origin-reset", "{what}");
    }
}

/// A response whose body has these transfer codings.
fn coded(codings: &str) -> Reply {
    reply("").raw(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: {codings}\r\nCache-Control: max-age=60\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n"
    ))
}

/// A response with so many headers beside Content-Length, of so many bytes each.
fn with_headers(count: usize, bytes: usize) -> Reply {
    let padding = "x".repeat(bytes - "X: \r\n".len());
    let padding = format!("X: {padding}\r\n").repeat(count);
    reply("").raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{padding}\r\nok"))
}

#[tokio::test]
async fn limits_of_response_heads_are_exact_and_eject_nobody() {
    const BYTES: usize = 65_536;
    let length = "Content-Length: 2\r\n".len();
    let origins = [Origin::start().await, Origin::start().await];
    let edge = edge().origin(&origins[0]).origin(&origins[1]).start();
    let asked = || origins.iter().map(|origin| origin.counts("/large").requests).sum::<u64>();
    for (what, reply, status) in [
        ("as large as may be", with_headers(1, BYTES - length), 200),
        ("one byte more", with_headers(1, BYTES - length + 1), 502),
        ("half as much again", with_headers(1, BYTES * 3 / 2), 502),
        ("as many as may be", with_headers(255, 8), 200),
        ("one more", with_headers(256, 8), 502),
        ("far more", with_headers(1000, 8), 502),
        ("endless", reply("").endless_head(), 502),
        ("huge", reply("hello").huge_head(1 << 20), 502),
    ] {
        for origin in &origins {
            origin.route("/large", reply.clone());
        }
        for _ in 0..6 {
            let before = asked();
            let answer = edge.get("/large").await;
            assert_eq!((answer.status, asked() - before), (status, 1), "{what}");
            if status == 502 {
                assert!(answer.handled().ends_with("detail=origin-head-too-large"), "{what}");
            }
        }
    }
    let metrics = edge.node.metrics();
    let members = metrics.lines().filter(|line| line.starts_with("weir_upstream_member_healthy{"));
    let healthy: Vec<bool> = members.map(|line| line.ends_with(" 1")).collect();
    assert_eq!(healthy, [true, true], "{metrics}");
}

#[tokio::test]
async fn spaces_before_colons_go_and_folded_lines_are_unfolded() {
    let origin = Origin::start().await;
    origin.route(
        "/old",
        reply("").raw("HTTP/1.1 200 OK\r\nContent-Length : 2\r\nX-Folded: one\r\n  two\r\n\r\nok"),
    );
    let edge = edge().origin(&origin).start();
    let answer = edge.get("/old").await;
    assert_eq!(answer.line(), "200 ok");
    let folded = answer.field("x-folded").unwrap_or_default();
    assert_eq!(folded.split_whitespace().collect::<Vec<_>>(), ["one", "two"]);
    assert!(!folded.contains(['\r', '\n']));
}

#[tokio::test]
async fn bodies_that_break_off_end_the_answer_visibly() {
    for (what, bad) in [
        ("truncated", reply("hello").truncate_after(3)),
        ("truncated chunks", reply("hello").chunked().truncate_after(3)),
        ("reset", reply("hello").reset_after(3)),
        ("longer announced than sent", reply("hello").content_length(100)),
        (
            "a broken chunk",
            reply("").raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n\
                 5\r\nhello\r\nzz\r\n",
            ),
        ),
    ] {
        let answer = first_of_two(what, bad, edge()).await;
        assert!(!answer.whole || answer.status == 502, "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_goes_on_after_its_length_ends_there() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello, smuggled").content_length(5).max_age(60));
    origin.route("/b", reply("b").max_age(60));
    let edge = edge().origin(&origin).start();
    for handled in ["fwd=uri-miss; fwd-status=200; stored", "hit"] {
        let answer = edge.get("/a").await;
        assert_eq!((answer.line().as_str(), answer.handled().as_str()), ("200 hello", handled));
    }
    // What came too much is not the next answer on that connection.
    assert_eq!(edge.get("/b").await.line(), "200 b");
}

#[tokio::test]
async fn waiting_has_an_end() {
    let first_byte = "timeouts = { first_byte = \"1s\" }";
    for (what, bad) in [
        ("no answer", reply("").no_answer()),
        ("a head byte by byte", reply("x").slow_head(Duration::from_millis(50))),
    ] {
        let answer = first_of_two(what, bad, edge().site(first_byte)).await;
        assert_eq!(answer.status, 504, "{what}");
        assert_eq!(answer.handled(), "fwd=uri-miss; detail=origin-first-byte-timeout");
    }
    // Its head may take as long as it likes.
    let idle = edge().site("timeouts = { idle = \"200ms\" }");
    let stalled = first_of_two("stalled", reply("hello").held_after(2), idle).await;
    assert!(!stalled.whole);
    assert_eq!(stalled.text(), "he");
}

#[tokio::test]
async fn an_origin_that_is_not_there_is_a_502() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let _refusing = out_of_reach(&origin).await;
    for method in ["GET", "POST", "HEAD"] {
        let answer = edge.ask(method, "/a", &[]).await;
        assert_eq!(answer.status, 502);
        assert!(answer.handled().ends_with("detail=origin-connect"), "{answer:?}");
        assert!(!answer.text().contains("127.0.0.1"), "strangers learn nothing of the inside");
    }
}

#[tokio::test]
async fn a_content_range_that_does_not_fit_is_not_stored() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let part = |range: &str, length: &str| {
        let text = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: {length}\r\n\
             Cache-Control: max-age=60\r\nETag: \"v1\"\r\n\r\nabcdef"
        );
        reply("").raw(text)
    };
    for (number, (range, length)) in [
        ("bytes 0-1/10", "6"),
        ("bytes 5-2/10", "6"),
        ("bytes 0-5/3", "6"),
        ("pages 0-5/9", "6"),
        ("", "6"),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/{number}");
        origin.route(&target, part(range, length).then(reply("0123456789").max_age(60)));
        edge.get_with(&target, &[("Range", "bytes=0-5")]).await;
        assert_eq!(edge.explain(&target).state, "not-stored", "{range}");
        assert_eq!(edge.get(&target).await.line(), "200 0123456789", "{range}");
    }
}

#[tokio::test]
async fn errors_of_the_node_itself_are_never_stored() {
    let origin = Origin::start().await;
    origin.route("/a", reply("").reset_before_head());
    let site = "negative_ttl = \"60s\"";
    let edge = edge().origin(&origin).site(site).start();
    for _ in 0..2 {
        assert_eq!(edge.get("/a").await.status, 502);
    }
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn bodies_that_break_off_before_their_first_byte_are_a_502() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
    for (what, bad) in [
        ("an end", reply("hello").truncate_after(0)),
        ("a reset", reply("hello").reset_after(0)),
        ("an end of chunks", reply("hello").chunked().truncate_after(0)),
        ("a reset of chunks", reply("hello").chunked().reset_after(0)),
        ("a broken chunk", reply("").raw(format!("{chunked}x\r\n"))),
    ] {
        let answer = first_of_two(what, bad, edge()).await;
        assert_eq!((answer.status, answer.whole), (502, true), "{what}");
        assert_eq!(answer.handled(), "fwd=uri-miss; detail=origin-bad-body", "{what}");
    }
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    origin.route("/a", reply("hello").chunked().truncate_after(0));
    assert_eq!(edge.send("POST", "/a", &[], "x").await.status, 502, "passed on");
}
