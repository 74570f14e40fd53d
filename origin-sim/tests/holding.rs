//! Answers that wait for the test.

mod support;

use support::{Client, get, soon};
use weir_origin_sim::{Origin, held, reply};

#[tokio::test]
async fn a_held_answer_waits_for_its_release() {
    let origin = Origin::start().await;
    origin.route("/a", held("hello").interim(103, &[("link", "</s.css>")]));
    let mut crowd = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(origin.addr()).await;
        client.get("/a?q").await;
        crowd.push(client);
    }
    origin.until_requests("/a", 5).await;
    assert_eq!(origin.counts("/a").running, 5);
    for client in &mut crowd {
        assert_eq!(client.head().await, "HTTP/1.1 103 Early Hints\r\nlink: </s.css>\r\n\r\n");
        assert!(client.is_silent());
    }

    origin.release("/a");

    for client in &mut crowd {
        assert_eq!(client.answer().await.text(), "hello");
    }
    assert_eq!(get(origin.addr(), "/a").await.status(), 103, "released stays released");
    assert_eq!(origin.counts("/a").most_at_once, 5);
}

#[tokio::test]
async fn a_body_can_be_held_midway() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello world").held_after(5));
    let mut client = Client::connect(origin.addr()).await;
    client.get("/a").await;
    client.head().await;
    assert_eq!(client.take(5).await, b"hello");
    assert!(client.is_silent());
    origin.release("/a");
    assert_eq!(client.take(6).await, b" world");
}

#[tokio::test]
async fn what_a_replaced_route_holds_stays_held() {
    let origin = Origin::start().await;
    origin.route("/a", held("old"));
    let mut client = Client::connect(origin.addr()).await;
    client.get("/a").await;
    origin.until_requests("/a", 1).await;

    origin.route("/a", reply("new"));
    assert_eq!(get(origin.addr(), "/a").await.text(), "new");
    assert!(client.is_silent());
    origin.release("/a");
    assert_eq!(client.answer().await.text(), "old");

    origin.route("/a", held("again"));
    client.get("/a").await;
    origin.until_requests("/a", 3).await;
    assert!(client.is_silent(), "a new route is closed again");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_while_it_waits() {
    let origin = Origin::start().await;
    origin.route("/held", held(""));
    origin.route("/never", reply("").no_answer());
    for name in ["/held", "/never"] {
        let mut client = Client::connect(origin.addr()).await;
        client.get(name).await;
        origin.until_requests(name, 1).await;
        assert_eq!(origin.counts(name).aborted, 0);
        drop(client);
        origin.until_aborted(name, 1).await;
        assert!(origin.requests(name)[0].aborted);
    }
    origin.until_open_connections(0).await;
}

#[tokio::test]
async fn a_stop_cuts_everything_and_a_restart_takes_the_same_port() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello world").held_after(5));
    let mut client = Client::connect(origin.addr()).await;
    client.get("/a").await;
    client.head().await;
    client.take(5).await;

    origin.stop().await;

    assert_eq!(soon(client.read_to_end()).await.expect("an orderly end"), b"");
    assert!(tokio::net::TcpStream::connect(origin.addr()).await.is_err(), "the port refuses");
    assert_eq!((origin.counts("/a").aborted, origin.connections().open), (1, 0));
    origin.restart().await;
    origin.route("/a", reply("back"));
    assert_eq!(get(origin.addr(), "/a").await.text(), "back");
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn a_dropped_origin_frees_its_port() {
    let origin = Origin::start().await;
    let addr = origin.addr();
    let mut client = Client::connect(addr).await;
    origin.until_open_connections(1).await;
    drop(origin);
    assert_eq!(client.read_to_end().await.expect("an orderly end"), b"");
    let again = Origin::builder().listen(addr).route("/", reply("second")).start().await;
    assert_eq!(get(again.addr(), "/").await.text(), "second");
}
