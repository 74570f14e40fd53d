//! Other protocols on a client's connection (RFC 9110 §7.8).

mod support;
use support::*;

const WEBSOCKET: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "websocket")];

#[tokio::test]
async fn bytes_go_both_ways_after_a_101() {
    let origin = Origin::start().await;
    origin.route("/socket", reply("").upgrade_echo());
    let edge = edge().origin(&origin).start();
    let mut client = edge.connect().await;
    client.request("GET", "/socket", &WEBSOCKET, "").await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("upgrade")), (101, Some("websocket")));
    assert!(head.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")));
    for message in [&b"\x81\x05hello"[..], &[0; 100_000], b"bye"] {
        client.send(message).await;
        assert_eq!(client.up_to(message.len()).await.0, message);
    }
    drop(client);
    origin.until_idle("/socket").await;
}

#[tokio::test]
async fn an_origin_that_does_not_switch_answers_as_usual() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    for _ in 0..2 {
        let answer = edge.get_with("/a", &WEBSOCKET).await;
        assert_eq!(answer.line(), "200 hello");
        assert_eq!(answer.handled(), "fwd=bypass; fwd-status=200");
    }
}

#[tokio::test]
async fn the_client_never_reaches_h2c_through_the_node() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let h2c = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ];
    assert_eq!(edge.get_with("/a", &h2c).await.line(), "200 hello");
    let asked = &origin.requests("/a")[0];
    for name in ["Upgrade", "HTTP2-Settings", "Connection"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    let both = [("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")];
    edge.get_with("/b", &both).await;
    for asked in origin.requests("/b") {
        assert!(!asked.header("Upgrade").unwrap_or_default().contains("h2c"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_101_nobody_asked_for_is_an_error() {
    let origin = Origin::start().await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    origin.default_route(reply("").raw(switch));
    let edge = edge().origin(&origin).start();
    assert_eq!(edge.get("/a").await.status, 502);
    assert_eq!(edge.ask("POST", "/a", &[]).await.status, 502);
}
