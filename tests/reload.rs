//! A new configuration while requests run.

mod support;
use support::*;

#[tokio::test]
async fn origins_change_at_once_and_nothing_from_the_old_ones_is_served() {
    let (old, new) = (Origin::start().await, Origin::start().await);
    old.default_route(reply("old").max_age(60));
    new.default_route(reply("new").max_age(60));
    let edge = edge().origin(&old).start();
    edge.get("/stored").await;
    let next = support::edge().origin(&new).config();
    let restart = edge.node.reload(next).expect("a configuration");
    assert!(restart.is_empty(), "{restart:?}");
    assert_eq!(edge.get("/other").await.line(), "200 new");
    assert_eq!(edge.get("/stored").await.line(), "200 new");
}

#[tokio::test]
async fn a_running_fill_goes_on_under_its_old_configuration() {
    let (old, new) = (Origin::start().await, Origin::start().await);
    old.route("/a", held("old").max_age(60));
    let edge = edge().origin(&old).start();
    let crowd = edge.get_many("/a", 3);
    edge.until_waiting("/a", 3).await;
    edge.node.reload(support::edge().origin(&new).config()).expect("a configuration");
    old.release("/a");
    crowd.all("200 old").await;
}

#[tokio::test]
async fn rules_of_the_site_change() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    assert_ne!(edge.get("/a").await.handled(), "hit");
    let next = support::edge().origin(&origin).site("default_ttl = \"60s\"").config();
    edge.node.reload(next).expect("a configuration");
    edge.get("/b").await;
    assert_eq!(edge.get("/b").await.handled(), "hit");
}

#[tokio::test]
async fn limits_change_for_connections_to_come() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let edge = edge().origin(&origin).start();
    let body = "x".repeat(2000);
    assert_eq!(edge.send("POST", "/a", &[], &body).await.status, 200);
    let next = support::edge().origin(&origin).tables("[limits]\nbody_bytes = \"1KiB\"").config();
    edge.node.reload(next).expect("a configuration");
    // Workers take limits up at their next tick.
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = edge.send("POST", "/a", &[], &body).await;
        if answer.status == 413 {
            break;
        }
        assert!(std::time::Instant::now() < end, "the old limit stayed: {answer:?}");
    }
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_stays() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let next = support::edge().origin(&origin).tables("[memory]\nsize = \"16MiB\"").config();
    let before = capacity(&edge);
    assert_eq!(edge.node.reload(next.clone()).expect("a configuration"), ["memory"]);
    assert_eq!(edge.get("/a").await.status, 200);
    assert_eq!(capacity(&edge), before);
    // It is still to come.
    assert_eq!(edge.node.reload(next).expect("a configuration"), ["memory"]);
}

/// The metric of the bytes that the store may take.
fn capacity(edge: &Edge) -> String {
    let metrics = edge.node.metrics();
    let line = metrics.lines().find(|line| line.starts_with("weir_store_limit_bytes "));
    line.unwrap_or_else(|| panic!("no limit: {metrics}")).to_owned()
}
