//! Every fault, as the client sees it.

mod support;

use std::io::ErrorKind;
use std::time::Duration;
use support::Client;
use weir_origin_sim::{Origin, Reply, reply};

/// The client of an origin whose `/` answers so, its request sent.
async fn asking(scripted: Reply) -> (Origin, Client) {
    let origin = Origin::builder().route("/", scripted).start().await;
    let mut client = Client::connect(origin.addr()).await;
    client.get("/").await;
    (origin, client)
}

#[tokio::test]
async fn resets_are_resets() {
    let (_origin, mut client) = asking(reply("hello").reset_before_head()).await;
    assert_eq!(client.read_to_end().await.map_err(|e| e.kind()), Err(ErrorKind::ConnectionReset));

    let (_origin, mut client) = asking(reply("hello").reset_after(3)).await;
    assert!(client.head().await.contains("Content-Length: 5\r\n"));
    assert_eq!(client.take(3).await, b"hel");
    assert_eq!(client.read_to_end().await.map_err(|e| e.kind()), Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn truncations_close_in_order() {
    let (_origin, mut client) = asking(reply("hello").truncate_after(3)).await;
    assert!(client.head().await.contains("Content-Length: 5\r\n"));
    assert_eq!(client.read_to_end().await.expect("an orderly end"), b"hel");

    let (_origin, mut client) = asking(reply("hello").chunked().truncate_after(3)).await;
    client.head().await;
    let no_last_chunk = client.read_to_end().await.expect("an orderly end");
    assert_eq!(no_last_chunk, b"3\r\nhel\r\n");
}

#[tokio::test]
async fn lengths_can_lie() {
    let (_origin, mut client) = asking(reply("hello").content_length(9)).await;
    assert!(client.head().await.contains("Content-Length: 9\r\n"));
    assert_eq!(client.read_to_end().await.expect("an orderly end"), b"hello");

    let (origin, mut client) = asking(reply("hello").content_length(2)).await;
    assert_eq!(client.answer().await.text(), "he");
    assert_eq!(client.take(3).await, b"llo", "the surplus follows");
    client.get("/").await;
    assert_eq!(client.answer().await.text(), "he", "the connection stays open");
    assert_eq!(origin.connections().accepted, 1);

    let (_origin, mut client) = asking(reply("hello").two_lengths(5, 7)).await;
    let head = client.head().await;
    assert!(head.contains("Content-Length: 5\r\nContent-Length: 7\r\n"), "{head}");

    let (_origin, mut client) = asking(reply("hello").chunked().content_length(2)).await;
    let head = client.head().await;
    assert!(head.contains("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"), "{head}");
}

#[tokio::test]
async fn raw_bytes_are_the_whole_answer() {
    let (origin, mut client) = asking(reply("").raw("<html>HTTP/0.9</html>")).await;
    assert_eq!(client.read_to_end().await.expect("an orderly end"), b"<html>HTTP/0.9</html>");
    origin.until_idle("/").await;
    assert_eq!(origin.requests("/")[0].status, None);
}

#[tokio::test]
async fn heads_can_be_endless_huge_or_slow() {
    let (origin, mut client) = asking(reply("").endless_head()).await;
    let megabyte = client.take(1 << 20).await;
    assert!(!megabyte.windows(4).any(|window| window == b"\r\n\r\n"));
    drop(client);
    origin.until_aborted("/", 1).await;

    let (_origin, mut client) = asking(reply("hello").huge_head(100_000)).await;
    let answer = client.answer().await;
    assert!(answer.head.len() >= 100_000 && answer.text() == "hello");

    let slow = Duration::from_millis(1);
    let (_origin, mut client) = asking(reply("hello").no_date().slow_head(slow)).await;
    let start = std::time::Instant::now();
    let answer = client.answer().await;
    assert_eq!(answer.text(), "hello");
    assert!(start.elapsed() >= slow * (answer.head.len() / 2) as u32, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_body_can_be_endless() {
    let (origin, mut client) = asking(reply("").endless_body()).await;
    assert!(client.head().await.contains("Transfer-Encoding: chunked\r\n"));
    client.take(4 << 20).await;
    drop(client);
    origin.until_aborted("/", 1).await;
    assert!(origin.counts("/").bytes >= 4 << 20);

    let (_origin, mut client) = asking(reply("").endless_body().until_close()).await;
    let head = client.head().await;
    assert!(!head.contains("Transfer-Encoding") && !head.contains("Content-Length"), "{head}");
    let body = client.take(1 << 20).await;
    assert_eq!(weir_origin_sim::pattern::first_difference(0, 0, &body), None);
}
