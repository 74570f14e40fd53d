//! A node that has not heard of control for the lease (invariant I5).

mod support;
use std::time::Duration;
use support::*;
use weir_edge::follow::InProcess;

/// A node of a topology whose control is not there.
fn lonely(origin: &Origin, on_partition: &str) -> Edge {
    let control = format!(
        "[control]\nurl = \"http://127.0.0.1:1\"\nlease = \"1s\"\non_partition = \"{on_partition}\""
    );
    edge().origin(origin).tables(&control).start()
}

async fn until_lost(edge: &Edge) {
    edge.until("control to be lost", || edge.node.followed().partitioned).await;
}

#[tokio::test]
async fn serving_goes_on_and_says_that_control_is_lost() {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").max_age(60));
    let old = stale_with("b", "max-age=10, stale-while-revalidate=60");
    origin.route("/b", old.then(held("new")));
    let edge = lonely(&origin, "serve");
    edge.get("/a").await;
    edge.get("/b").await;
    assert_eq!(edge.get("/a").await.handled(), "hit");
    until_lost(&edge).await;
    let answer = edge.get("/a").await;
    assert_eq!(
        (answer.line(), answer.handled()),
        ("200 a".into(), "hit; detail=control-lost".into())
    );
    // Another detail says more, and what was just fetched misses nothing yet.
    let answer = edge.get("/b").await;
    assert_eq!(answer.handled(), "hit; detail=stale-while-revalidate");
    origin.route("/c", reply("c").max_age(60));
    assert_eq!(edge.get("/c").await.handled(), "fwd=uri-miss; fwd-status=200; stored");
    assert!(edge.node.metrics().contains("\nweir_control_partitioned 1\n"));
    assert!(edge.node.metrics().contains("\nweir_control_connected 0\n"));
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn validating_asks_the_origin_before_anything_stored_is_sent() {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").etag("\"v1\"").conditional(true).max_age(60));
    let stale = "max-age=10, stale-while-revalidate=60, stale-if-error=60";
    origin.route("/b", stale_with("b", stale).then(reply("down").status(503)));
    let edge = lonely(&origin, "validate");
    edge.get("/a").await;
    edge.get("/b").await;
    assert_eq!(edge.get("/a").await.handled(), "hit");
    until_lost(&edge).await;
    for asked in 2..=4 {
        let answer = edge.get("/a").await;
        assert_eq!(answer.line(), "200 a");
        assert_eq!(answer.handled(), "fwd=stale; fwd-status=304; stored");
        assert_eq!(origin.requests("/a").len(), asked);
        assert_eq!(origin.requests("/a")[asked - 1].header("If-None-Match"), Some("\"v1\""));
    }
    let answer = edge.get_with("/b", &[("Cache-Control", "max-stale=1000")]).await;
    assert_eq!(answer.line(), "503 down", "nothing is sent stale");
    assert_eq!(edge.explain("/a").state, "stale");
    assert!(edge.explain("/a").sentence.contains("control is lost"));
    out_of_reach(&origin).await;
    assert!(edge.get("/a").await.line().starts_with("502"));
}

#[tokio::test]
async fn a_node_that_never_joins_is_ready_when_the_lease_is_over() {
    let origin = Origin::start().await;
    let edge = lonely(&origin, "serve");
    let begun = std::time::Instant::now();
    let refusing = InProcess::new(drop);
    edge.node.follow(refusing, &tokio::runtime::Handle::current());
    assert!(!edge.node.ready());
    edge.until("the node to be ready", || edge.node.ready()).await;
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(!edge.node.followed().connected);
    edge.node.drain().await;
    assert!(!edge.node.ready());
}
