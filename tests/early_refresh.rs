//! A popular response in the last tenth of its lifetime is refreshed ahead of its end.

mod support;
use support::*;

/// 500 of 10,000 seconds left.
fn ending(body: &str) -> Reply {
    reply(body.to_owned()).max_age(10_000).header("Age", "9500").etag("\"v1\"")
}

#[tokio::test]
async fn a_popular_response_is_refreshed_once_in_the_background() {
    let origin = Origin::start().await;
    origin.route("/a", ending("old").then(held("new").max_age(10_000).etag("\"v2\"")));
    let edge = edge().origin(&origin).start();
    for _ in 0..20 {
        let answer = edge.get("/a").await;
        assert_eq!(answer.line(), "200 old", "nobody waits for the refresh");
    }
    origin.until_requests("/a", 2).await;
    origin.release("/a");
    edge.until_fresh("/a", "\"v2\"").await;
    for _ in 0..20 {
        assert_eq!(edge.get("/a").await.line(), "200 new");
    }
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn one_with_time_left_or_without_readers_is_not() {
    let origin = Origin::start().await;
    origin.route("/young", reply("hello").max_age(10_000));
    origin.route("/rare", ending("hello"));
    let edge = edge().origin(&origin).start();
    for _ in 0..20 {
        edge.get("/young").await;
    }
    for _ in 0..3 {
        edge.get("/rare").await;
    }
    // A refresh would be on the list of running fills from the very request that starts it.
    assert_eq!(edge.explain("/rare").selected.expect("stored").hits, Some(2));
    assert_eq!((origin.fetches("/young"), origin.fetches("/rare")), (1, 1));
}

#[tokio::test]
async fn a_failed_refresh_leaves_what_is_stored() {
    let origin = Origin::start().await;
    origin.route("/a", ending("old").then(reply("down").status(503)));
    let edge = edge().origin(&origin).start();
    for _ in 0..10 {
        edge.get("/a").await;
    }
    origin.until_requests("/a", 2).await;
    origin.until_idle("/a").await;
    assert_eq!(edge.get("/a").await.line(), "200 old");
}
