//! Bodies of requests: whole, or visibly not.

mod support;
use support::*;

const HEAD: &str = "POST /a HTTP/1.1\r\nHost: example.com\r\n";

#[tokio::test]
async fn bodies_reach_the_origin_whole() {
    let origin = Origin::start().await;
    origin.route("/a", reply("").echo());
    let edge = edge().origin(&origin).start();
    let long = "x".repeat(300_000);
    assert_eq!(edge.send("POST", "/a", &[], &long).await.status, 200);
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(edge.raw(format!("{HEAD}{chunked}")).await.status, 200);
    let asked = origin.requests("/a");
    assert_eq!((asked[0].body_len, asked[0].body_complete), (300_000, true));
    assert_eq!((asked[1].body.as_slice(), asked[1].body_complete), (&b"hello world"[..], true));
}

#[tokio::test]
async fn a_body_is_passed_on_as_it_arrives() {
    let origin = Origin::start().await;
    origin.route("/a", reply("early").early());
    let edge = edge().origin(&origin).start();
    let mut client = edge.connect().await;
    client.send(format!("{HEAD}Content-Length: 100\r\n\r\nhalf")).await;
    // The origin has the head, and answers, before the client has sent the rest.
    assert_eq!(client.answer("POST").await.line(), "200 early");
}

#[tokio::test]
async fn a_body_that_breaks_off_aborts_the_request_to_the_origin() {
    for framing in
        ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
    {
        let origin = Origin::start().await;
        origin.route("/a", reply("done"));
        let edge = edge().origin(&origin).start();
        let mut client = edge.connect().await;
        client.send(format!("{HEAD}{framing}")).await;
        origin.until_requests("/a", 1).await;
        drop(client);
        origin.until_aborted("/a", 1).await;
        let asked = &origin.requests("/a")[0];
        assert!(!asked.body_complete, "a cut body looked whole: {framing:?}");
        assert_eq!(asked.status, None);
    }
}

#[tokio::test]
async fn broken_chunks_abort_the_request_to_the_origin() {
    let origin = Origin::start().await;
    origin.route("/a", reply("done"));
    let edge = edge().origin(&origin).start();
    let mut client = edge.connect().await;
    client.send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")).await;
    origin.until_requests("/a", 1).await;
    client.send("zz\r\n").await;
    let answer = client.answer("POST").await;
    assert_eq!(answer.status, 400);
    assert!(client.is_closed().await);
    origin.until_aborted("/a", 1).await;
    assert!(!origin.requests("/a")[0].body_complete);
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused() {
    let origin = Origin::start().await;
    origin.route("/a", reply("done"));
    let edge = edge().origin(&origin).tables("[limits]\nbody_bytes = \"1KiB\"").start();
    assert_eq!(edge.send("POST", "/a", &[], &"x".repeat(1024)).await.status, 200);
    let announced = edge.send("POST", "/a", &[], &"x".repeat(1025)).await;
    assert_eq!((announced.status, announced.handled().as_str()), (413, "detail=body-too-large"));
    assert_eq!(origin.fetches("/a"), 1, "it did not get there");
    let chunk = "x".repeat(0x401);
    let text = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n401\r\n{chunk}\r\n0\r\n\r\n");
    assert_eq!(edge.raw(text).await.status, 413);
    assert!(origin.requests("/a").iter().skip(1).all(|asked| !asked.body_complete));
}

#[tokio::test]
async fn expect_is_answered_once_the_body_is_wanted() {
    let origin = Origin::start().await;
    origin.route("/a", reply("done"));
    let edge = edge().origin(&origin).start();
    let mut client = edge.connect().await;
    client.send(format!("{HEAD}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")).await;
    assert_eq!(client.head().await.status, 100);
    client.send("body").await;
    assert_eq!(client.answer("POST").await.line(), "200 done");
    assert_eq!(origin.requests("/a")[0].body, b"body");
}
