//! A node that has not heard of control yet, or not for the lease (invariant I5).

mod support;
use std::time::Duration;
use support::*;
use weir_edge::follow::InProcess;

/// A node of a topology whose control is not there.
fn lonely(origin: &Origin, on_partition: &str, lease: &str) -> Edge {
    let control = format!(
        "[control]\nurl = \"http://127.0.0.1:1\"\nlease = {lease:?}\non_partition = {on_partition:?}"
    );
    edge().origin(origin).tables(&control).start()
}

#[tokio::test]
async fn serving_goes_on_and_says_that_control_is_lost() {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").max_age(60));
    let old = stale_with("b", "max-age=10, stale-while-revalidate=60");
    origin.route("/b", old.then(held("new")));
    let edge = lonely(&origin, "serve", "1s");
    edge.get("/a").await;
    edge.get("/b").await;
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
    let edge = lonely(&origin, "validate", "1s");
    edge.get("/a").await;
    edge.get("/b").await;
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
async fn control_is_lost_until_it_is_heard_and_when_it_is_heard_no_more() {
    tokio::join!(
        heard_and_lost("serve", "hit; detail=control-lost"),
        heard_and_lost("validate", "fwd=stale; fwd-status=304; stored"),
    );
}

/// What is stored is answered with as `lost` says, but for the time in which control is heard.
async fn heard_and_lost(on_partition: &str, lost: &str) {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").etag("\"v1\"").conditional(true).max_age(60));
    let edge = lonely(&origin, on_partition, "5s");
    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.handled(), lost, "it has not heard of control");
    let leash = Log::new("log").lead(&edge).await;
    let first = edge.get("/a").await.handled();
    assert_eq!(first, "fwd=uri-miss; fwd-status=200; stored", "nothing from before is trusted");
    assert_eq!(edge.get("/a").await.handled(), "hit");
    drop(leash);
    edge.until("control to be lost", || edge.node.followed().partitioned).await;
    assert_eq!(edge.get("/a").await.handled(), lost);
}

#[tokio::test]
async fn a_node_that_never_joins_is_ready_when_the_lease_is_over() {
    let origin = Origin::start().await;
    let begun = std::time::Instant::now();
    let edge = lonely(&origin, "serve", "1s");
    let refusing = InProcess::new(drop);
    edge.node.follow(refusing, &tokio::runtime::Handle::current()).expect("a thread");
    edge.until("the node to be ready", || edge.node.ready()).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(!edge.node.followed().connected);
    edge.node.drain().await;
    assert!(!edge.node.ready());
}
