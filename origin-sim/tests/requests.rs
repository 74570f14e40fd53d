//! What is recorded of requests, above all whether their bodies arrived whole.

mod support;

use support::{Client, get, request};
use weir_origin_sim::{Connections, Origin, reply};

#[tokio::test]
async fn a_request_is_recorded_as_it_was_sent() {
    let origin = Origin::builder().route("/*", reply("hello")).start().await;
    let fields = "x-Odd:  two  words \r\nX-ODD: again\r\nHost: second\r\n";
    request(origin.addr(), "PUT", "/a/../%62?c=d", fields, "payload").await;

    let all = origin.requests("/a/../%62");
    let recorded = &all[0];
    assert_eq!((recorded.method.as_str(), recorded.target.as_str()), ("PUT", "/a/../%62?c=d"));
    assert_eq!((recorded.version.as_str(), recorded.path()), ("HTTP/1.1", "/a/../%62"));
    let names: Vec<&str> = recorded.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "Content-Length", "x-Odd", "X-ODD", "Host"]);
    assert_eq!(recorded.header_values("x-odd"), ["two  words", "again"]);
    assert_eq!((recorded.body.as_slice(), recorded.body_len), (b"payload".as_slice(), 7));
    assert!(recorded.body_complete && !recorded.aborted);
    assert_eq!(recorded.status, Some(200));
}

#[tokio::test]
async fn questions_take_the_names_that_routes_take() {
    let origin = Origin::start().await;
    for target in ["/a", "/a?x=1", "/a?x=1", "/ab", "/a/b"] {
        get(origin.addr(), target).await;
    }
    for (name, fetches) in [("/a", 3), ("/a?x=1", 2), ("/a*", 5), ("/ab", 1), ("/x", 0)] {
        assert_eq!(origin.fetches(name), fetches, "{name}");
        assert_eq!(origin.requests(name).len(), fetches, "{name}");
    }
    assert_eq!(origin.counts("*").statuses, [(404, 5)].into());
    origin.until_open_connections(0).await;
    assert_eq!((origin.connections().accepted, origin.malformed()), (5, 0));
    origin.reset_counters();
    assert_eq!((origin.fetches("*"), origin.connections()), (0, Connections::default()));
}

#[tokio::test]
async fn a_cut_body_is_never_seen_as_whole() {
    let origin = Origin::builder().route("/*", reply("thanks")).start().await;
    let head = |name: &str, framing: &str| format!("POST {name} HTTP/1.1\r\n{framing}\r\n\r\n");
    for (name, framing, sent, len) in [
        ("/length", "Content-Length: 10", "12345", 5),
        ("/nothing", "Content-Length: 10", "", 0),
        ("/chunk", "Transfer-Encoding: chunked", "a\r\n12345", 5),
        ("/between", "Transfer-Encoding: chunked", "5\r\n12345\r\n", 5),
        ("/last", "Transfer-Encoding: chunked", "5\r\n12345\r\n0\r\n", 5),
    ] {
        let mut client = Client::connect(origin.addr()).await;
        client.send(&(head(name, framing) + sent)).await;
        drop(client);
        origin.until_aborted(name, 1).await;
        let recorded = &origin.requests(name)[0];
        assert!(!recorded.body_complete && recorded.status.is_none(), "{name}");
        assert_eq!(recorded.body_len, len, "{name}");
    }
    assert_eq!(origin.malformed(), 0);
}

#[tokio::test]
async fn chunked_bodies_are_read_with_extensions_and_trailers() {
    let origin = Origin::builder().route("/", reply("thanks")).start().await;
    let mut client = Client::connect(origin.addr()).await;
    client
        .send(
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
             3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.text(), "thanks");
    let recorded = &origin.requests("/")[0];
    assert_eq!((recorded.body.as_slice(), recorded.body_len), (b"abc0123456789".as_slice(), 13));
    assert!(recorded.body_complete);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start().await;
    origin.route("/a", reply("1").chunked());
    origin.route("/b", reply("2"));
    let mut client = Client::connect(origin.addr()).await;
    client
        .send(
            "GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
             \r\nGET /a HTTP/1.1\r\nConnection: close\r\n\r\n",
        )
        .await;
    for expected in ["1", "2", "1"] {
        assert_eq!(client.answer().await.text(), expected);
    }
    assert_eq!(client.read_to_end().await.expect("an orderly end"), b"");
    let connections: Vec<u64> = origin.requests("*").iter().map(|r| r.connection).collect();
    assert_eq!(connections, [1, 1, 1]);
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it() {
    let origin = Origin::builder().route("/", reply("thanks")).start().await;
    let mut client = Client::connect(origin.addr()).await;
    client.send("POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert_eq!(client.answer().await.text(), "thanks");
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_body() {
    let origin = Origin::builder().route("/", reply("no").status(413).early()).start().await;
    let mut client = Client::connect(origin.addr()).await;
    client.send("POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nbegin").await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text()), (413, "no"));
    assert_eq!(answer.header("Connection"), Some("close"));
    assert!(!origin.requests("/")[0].body_complete);
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused() {
    let builder = Origin::builder().max_body(10).route("/", reply("thanks"));
    let origin = builder.start().await;
    let large = request(origin.addr(), "POST", "/", "", "12345678901").await;
    assert_eq!(large.status(), 413);
    assert_eq!(request(origin.addr(), "POST", "/", "", "1234567890").await.status(), 200);
}

#[tokio::test]
async fn doubtful_framing_is_refused_and_counted() {
    let origin = Origin::builder().default_route(reply("")).start().await;
    let doubtful = [
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nName : v\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ];
    for text in doubtful {
        let mut client = Client::connect(origin.addr()).await;
        client.send(text).await;
        assert_eq!(client.answer().await.status(), 400, "{text:?}");
    }
    assert_eq!(origin.malformed(), doubtful.len() as u64);
}

#[tokio::test]
async fn only_the_last_requests_are_kept_but_all_are_counted() {
    let origin = Origin::builder().keep_requests(2).start().await;
    for target in ["/1", "/2", "/3"] {
        get(origin.addr(), target).await;
    }
    let kept: Vec<String> = origin.requests("*").into_iter().map(|r| r.target).collect();
    assert_eq!((kept, origin.fetches("*")), (vec!["/2".into(), "/3".into()], 3));
}
