//! Interim responses (RFC 9110 §15.2): passed at once, never stored.

mod support;
use support::*;

const HINT: (&str, &str) = ("Link", "</style.css>; rel=preload");

#[tokio::test]
async fn early_hints_pass_before_the_answer_and_are_not_stored() {
    let origin = Origin::start().await;
    origin.route("/fill", held("hello").interim(103, &[HINT]).max_age(60));
    origin.route("/pass", held("hello").interim(103, &[HINT]));
    let edge = edge().origin(&origin).start();
    for (method, target) in [("GET", "/fill"), ("POST", "/pass")] {
        let mut client = edge.connect().await;
        client.request(method, target, &[], "").await;
        let hint = client.head().await;
        assert_eq!((hint.status, hint.field("link")), (103, Some(HINT.1)));
        origin.release(target);
        let answer = client.answer(method).await;
        assert_eq!(answer.line(), "200 hello");
        assert!(answer.interims.is_empty());
    }
    let hit = edge.get("/fill").await;
    assert_eq!((hit.handled().as_str(), hit.interims.len()), ("hit", 0));
    assert_eq!(hit.field("link"), None);
}

#[tokio::test]
async fn a_whole_crowd_gets_them() {
    let origin = Origin::start().await;
    origin.route("/a", held("hello").interim(103, &[HINT]).max_age(60));
    let edge = edge().origin(&origin).start();
    let crowd = edge.get_many("/a", 5);
    edge.until_waiting("/a", 5).await;
    origin.release("/a");
    for answer in crowd.all("200 hello").await {
        assert_eq!(answer.interims.len(), 1);
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_none() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").interim(103, &[HINT]).max_age(60));
    let edge = edge().origin(&origin).start();
    let answer = edge.raw("GET /a HTTP/1.0\r\nHost: example.com\r\n\r\n").await;
    assert_eq!((answer.line().as_str(), answer.interims.len()), ("200 hello", 0));
}

#[tokio::test]
async fn many_of_them_delay_nothing() {
    let origin = Origin::start().await;
    let many = (0..100).fold(reply("hello").max_age(60), |reply, _| reply.interim(103, &[HINT]));
    origin.route("/a", many);
    let edge = edge().origin(&origin).start();
    let answer = edge.get("/a").await;
    assert_eq!(answer.line(), "200 hello");
    assert!(answer.interims.len() <= 100);
    assert_eq!(edge.get("/a").await.handled(), "hit");
}
