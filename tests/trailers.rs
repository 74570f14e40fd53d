//! Fields after the body (RFC 9110 §6.5).

mod support;
use support::*;

#[tokio::test]
async fn trailers_pass() {
    let origin = Origin::start().await;
    let answer = || reply("hello").trailers(&[("Grpc-Status", "0"), ("Checksum", "abc")]);
    origin.route("/fill", answer().max_age(60));
    origin.route("/pass", answer());
    let edge = edge().origin(&origin).start();
    for (method, target) in [("GET", "/fill"), ("POST", "/pass")] {
        let answer = edge.ask(method, target, &[("TE", "trailers")]).await;
        assert_eq!(answer.line(), "200 hello");
        let told: Vec<_> =
            answer.trailers.iter().map(|(n, v)| format!("{}: {v}", n.to_lowercase())).collect();
        assert_eq!(told, ["grpc-status: 0", "checksum: abc"], "{method}");
        assert_eq!(origin.requests(target)[0].header("TE"), Some("trailers"));
    }
}

#[tokio::test]
async fn the_stored_body_is_whole_without_them() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").trailers(&[("Checksum", "abc")]).max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let hit = edge.get("/a").await;
    assert_eq!((hit.line().as_str(), hit.handled().as_str()), ("200 hello", "hit"));
    assert_eq!(hit.number("content-length"), Some(5));
}
