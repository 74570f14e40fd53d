//! Bodies on their way: at once, at each client's own pace, within bounds (invariant I7).

mod support;
use support::*;

/// More than any socket buffers take by themselves.
const LARGE: u64 = 24 << 20;

/// A window larger than what a slow client's socket buffers take unread: the fast one is never the
/// one that is left behind.
const SMALL_STORE: &str =
    "[memory]\nsize = \"8MiB\"\nmax_object = \"1MiB\"\n[limits]\nfill_window = \"8MiB\"";

#[tokio::test]
async fn the_first_byte_passes_while_the_origin_holds_the_rest() {
    let origin = Origin::start().await;
    origin.route("/fill", reply("helloworld").held_after(5).max_age(60));
    origin.route("/pass", reply("helloworld").held_after(5));
    let edge = edge().origin(&origin).start();
    for (method, target) in [("GET", "/fill"), ("POST", "/pass")] {
        let mut client = edge.connect().await;
        client.request(method, target, &[], "").await;
        let head = client.head().await;
        assert_eq!(client.up_to(5).await.0, b"hello");
        origin.release(target);
        assert_eq!(client.up_to(5).await.0, b"world");
        assert_eq!(head.number("content-length"), Some(10));
    }
}

#[tokio::test]
async fn what_is_too_large_to_store_passes_whole() {
    let origin = Origin::start().await;
    origin.route("/length", reply("").body_bytes(2 << 20).max_age(60));
    origin.route("/chunked", reply("").body_bytes(2 << 20).chunked().max_age(60));
    let edge = edge().origin(&origin).tables(SMALL_STORE).start();
    for target in ["/length", "/chunked"] {
        for _ in 0..2 {
            let answer = edge.get(target).await;
            assert!(answer.whole && answer.body.len() == 2 << 20, "{target}");
            assert_eq!(pattern::first_difference(0, 0, &answer.body), None);
        }
        assert_eq!(origin.fetches(target), 2);
        assert_eq!(edge.explain(target).not_stored.expect("remembered").word, "too-large");
    }
}

/// A fast and a slow client read one body; the slow one's is returned, read only after the fast
/// one has everything.
async fn left_behind(origin: &Origin, edge: &Edge) -> Answer {
    let mut slow = edge.connect_slow().await;
    slow.request("GET", "/a", &[], "").await;
    origin.until_requests("/a", 1).await;
    let fast = edge.get_many("/a", 1);
    edge.until_waiting("/a", 2).await;
    origin.release("/a");
    for answer in fast.answers().await {
        assert!(answer.whole && answer.body.len() as u64 == LARGE);
        assert_eq!(pattern::first_difference(0, 0, &answer.body), None);
    }
    slow.answer("GET").await
}

#[tokio::test]
async fn a_reader_left_behind_goes_on_by_range_under_a_strong_validator() {
    let origin = Origin::start().await;
    let large = held("").body_bytes(LARGE).max_age(60).etag("\"v1\"").ranges(true);
    origin.route("/a", large);
    let edge = edge().origin(&origin).tables(SMALL_STORE).start();
    let slow = left_behind(&origin, &edge).await;
    assert!(slow.whole && slow.body.len() as u64 == LARGE);
    assert_eq!(pattern::first_difference(0, 0, &slow.body), None);
    let asked = origin.requests("/a");
    assert_eq!(asked.len(), 2);
    assert!(asked[1].header("Range").is_some_and(|range| range.ends_with('-')), "{:?}", asked[1]);
    assert_eq!(asked[1].header("If-Range"), Some("\"v1\""));
}

#[tokio::test]
async fn a_reader_left_behind_without_a_strong_validator_is_cut_visibly() {
    let origin = Origin::start().await;
    origin.route("/a", held("").body_bytes(LARGE).max_age(60).ranges(true));
    let edge = edge().origin(&origin).tables(SMALL_STORE).start();
    let slow = left_behind(&origin, &edge).await;
    assert!(!slow.whole, "a cut body looks whole");
    assert_eq!(pattern::first_difference(0, 0, &slow.body), None);
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn a_reader_left_behind_by_another_version_is_cut_visibly() {
    let origin = Origin::start().await;
    let version = |etag: &str| reply("").body_bytes(LARGE).etag(etag).max_age(60).ranges(true);
    origin.route("/a", version("\"v1\"").held().then(version("\"v2\"")));
    let edge = edge().origin(&origin).tables(SMALL_STORE).start();
    let slow = left_behind(&origin, &edge).await;
    assert!(!slow.whole, "two versions in one body");
    assert_eq!(pattern::first_difference(0, 0, &slow.body), None);
}

#[tokio::test]
async fn a_sole_slow_reader_slows_its_origin_and_nobody_else() {
    let origin = Origin::start().await;
    for target in ["/slow", "/other"] {
        origin.route(target, reply("").body_bytes(LARGE).max_age(60));
    }
    let edge = edge().origin(&origin).tables(SMALL_STORE).start();
    let mut slow = edge.connect_slow().await;
    slow.request("GET", "/slow", &[], "").await;
    slow.head().await;
    // As much again passes beside it: were it not held up, it would be through by then.
    assert!(edge.get("/other").await.whole);
    assert_eq!(origin.counts("/slow").running, 1);
    drop(slow);
    origin.until_aborted("/slow", 1).await;
    assert!(origin.counts("/slow").bytes < LARGE, "{:?}", origin.counts("/slow"));
}

#[tokio::test]
async fn a_body_that_nobody_reads_any_more_and_nobody_stores_is_given_up() {
    let origin = Origin::start().await;
    origin.route("/a", reply("").endless_body().header("Cache-Control", "no-store"));
    let edge = edge().origin(&origin).tables(SMALL_STORE).start();
    let mut client = edge.connect().await;
    client.request("GET", "/a", &[], "").await;
    client.head().await;
    drop(client);
    origin.until_aborted("/a", 1).await;
}

#[tokio::test]
async fn http_1_0_is_announced_no_keep_alive_where_the_connection_ends_the_body() {
    let origin = Origin::start().await;
    origin.route("/known", reply("hello"));
    origin.route("/unknown", reply("hello").chunked());
    let edge = edge().origin(&origin).start();
    for (target, keep_alive) in [("/known", Some("keep-alive")), ("/unknown", None)] {
        let request =
            format!("GET {target} HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n");
        let mut client = edge.connect().await;
        client.send(&request).await;
        let head = client.head().await;
        let announced = head.field("connection").filter(|value| *value == "keep-alive");
        assert_eq!((head.status, announced), (200, keep_alive), "{target}");
    }
}
