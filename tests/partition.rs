//! A node that has no lease yet, or whose lease is over (invariant I5); and what a purge's answer says
//! about nodes that are cut off.

mod program;
mod support;
use program::{Spec, Topology};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::*;
use weir_edge::follow::InProcess;

/// A node of a topology whose control is not there.
fn lonely(origin: &Origin, on_partition: &str, lease: &str) -> Edge {
    let control = format!(
        "[control]\nurl = \"http://127.0.0.1:1\"\nlease = {lease:?}\non_partition = \
         {on_partition:?}"
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
    drop(Log::new("log").lead(&edge).await);
    until("control to be lost", || edge.node.followed(), |followed| followed.partitioned).await;
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

/// Purges are completed without a node that validates, so a fetch that was running when a request arrived
/// may have begun before a purge that the node has not heard of.
#[tokio::test]
async fn validating_answers_no_request_from_a_fetch_that_began_before_it_arrived() {
    let origin = Origin::start().await;
    let edge = lonely(&origin, "validate", "1s");
    let shared = reply("new").max_age(60).delay(Duration::from_secs(1));
    origin.route("/a", held("old").max_age(60).then(shared));
    let before = edge.get_many("/a", 1);
    origin.until_requests("/a", 1).await;
    // The page changes here, and a purge is completed without the node.
    let after = edge.get_many("/a", 20);
    edge.until_waiting("/a", 21).await;
    origin.release("/a");
    before.all("200 old").await;
    after.all("200 new").await;
    assert_eq!(origin.fetches("/a"), 2, "those who came after it share one of their own");
    // The same of a response whose body is on its way.
    let old = reply("").body_bytes(100_000).held_after(50_000).max_age(60);
    origin.route("/b", old.then(reply("new").max_age(60)));
    let mut begun = edge.connect().await;
    begun.request("GET", "/b", &[], "").await;
    assert_eq!(begun.head().await.status, 200);
    assert_eq!(edge.get("/b").await.line(), "200 new");
    origin.release("/b");
}

#[tokio::test]
async fn control_is_lost_until_it_is_heard_and_when_it_is_heard_no_more() {
    tokio::join!(
        heard_and_lost("serve", "hit; detail=control-lost"),
        heard_and_lost("validate", "fwd=stale; fwd-status=304; stored"),
    );
}

/// What is stored is answered with as `lost` says, except for the time in which control is heard.
async fn heard_and_lost(on_partition: &str, lost: &str) {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").etag("\"v1\"").conditional(true).max_age(60));
    let edge = lonely(&origin, on_partition, "5s");
    edge.get("/a").await;
    let before = "fwd=stale; fwd-status=304; stored";
    assert_eq!(edge.get("/a").await.handled(), before, "control has not let it in");
    let leash = Log::new("log").lead(&edge).await;
    let first = edge.get("/a").await.handled();
    assert_eq!(first, "fwd=uri-miss; fwd-status=200; stored", "nothing from before is trusted");
    assert_eq!(edge.get("/a").await.handled(), "hit");
    drop(leash);
    until("control to be lost", || edge.node.followed(), |followed| followed.partitioned).await;
    assert_eq!(edge.get("/a").await.handled(), lost);
}

#[tokio::test]
async fn a_node_that_never_joins_is_ready_when_the_lease_is_over() {
    let origin = Origin::start().await;
    let begun = std::time::Instant::now();
    let edge = lonely(&origin, "serve", "1s");
    let refusing = InProcess::new(drop);
    edge.node.follow(refusing, &tokio::runtime::Handle::current()).expect("a thread");
    until("the node to be ready", || edge.node.ready(), |ready| *ready).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(!edge.node.followed().connected);
    edge.node.drain().await;
    assert!(!edge.node.ready());
}

#[tokio::test]
async fn a_node_with_a_backlog_has_no_lease_and_is_not_ready_before_it_has_applied_it() {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").etag("\"v1\"").conditional(true).max_age(60));
    let edge = lonely(&origin, "validate", "1s");
    let log = Log::new("log");
    for _ in 0..2 {
        log.purge(path("/b"));
    }
    let (begun, leash) = (Instant::now(), log.lead_to(&edge, 2).await);
    while begun.elapsed() < Duration::from_millis(1500) {
        leash.beat(2);
        let ready = edge.node.ready();
        assert!(!(ready && edge.node.followed().connected), "the lease since its start is over");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(leash);
    let edge = lonely(&origin, "validate", "20s");
    let leash = log.lead_to(&edge, 2).await;
    edge.get("/a").await;
    log.feed(&leash, 1).await;
    assert_eq!(edge.get("/a").await.handled(), "fwd=stale; fwd-status=304; stored");
    assert!(!edge.node.ready() && edge.node.followed().partitioned);
    log.feed(&leash, 2).await;
    assert_eq!(edge.get("/a").await.handled(), "hit");
    assert!(edge.node.ready() && !edge.node.followed().partitioned);
}

const LEASE: &str = "lease = \"3s\"\n";

/// An origin whose pages change when it is told to.
async fn origin() -> Origin {
    let origin = Origin::start().await;
    origin.default_route(reply("old").max_age(600));
    origin
}

/// Control and an edge, of which each page is known.
async fn one_node(name: &str, origin: &Origin, on_partition: &str) -> Topology {
    let mut topology = Topology::with(name, LEASE);
    let rule = format!("{LEASE}on_partition = {on_partition:?}");
    topology.add("edge", &Spec::edge(&origin.url()).tables(&rule));
    topology
}

async fn get(topology: &Topology, node: &str, target: &str) -> Answer {
    let mut client = Client::connect(topology.node(node).listen).await;
    client.request("GET", target, &[], "").await;
    client.answer("GET").await
}

/// Has a node store a page.
async fn store(topology: &Topology, node: &str, target: &str) {
    get(topology, node, target).await;
    let answer = get(topology, node, target).await;
    assert_eq!((answer.line(), answer.handled_by(node)), ("200 old".into(), "hit".into()));
}

/// Changes all pages and purges them, while nodes are away.
fn change(topology: &Topology, origin: &Origin) -> Value {
    origin.default_route(reply("new").max_age(600));
    let purge = topology.purge(&json!({"all": true, "wait_ms": 0})).json();
    assert_eq!(purge["status"], "in_progress", "{purge}");
    purge
}

/// Waits until a node's metrics have this line.
fn until_metric(topology: &Topology, node: &str, line: &str) {
    let node = topology.node(node);
    let metrics = || node.json("GET /metrics", "").body;
    program::until(line, metrics, |body| body.lines().any(|found| found == line));
}

fn until_lease_is_over(topology: &Topology, nodes: &[&str]) {
    for node in nodes {
        until_metric(topology, node, "weir_control_partitioned 1");
    }
}

/// Lets nodes reconnect; all that they get from control is its welcome.
fn welcome(topology: &Topology, nodes: &[&str]) {
    for node in nodes {
        topology.line(node).hold_after_welcome();
        topology.line(node).mend();
    }
    for node in nodes {
        until_metric(topology, node, "weir_control_connected 1");
    }
}

/// Waits until a node has a lease again.
async fn until_hit(topology: &Topology, node: &str, target: &str) {
    let end = Instant::now() + PATIENCE;
    while get(topology, node, target).await.handled_by(node) != "hit" {
        assert!(Instant::now() < end, "{node} has no lease");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_whose_backlog_does_not_come_makes_nothing_old_a_hit() {
    let origin = origin().await;
    let topology = one_node("welcomed", &origin, "validate").await;
    for target in ["/a", "/b"] {
        store(&topology, "edge", target).await;
    }
    topology.line("edge").cut();
    let purge = change(&topology, &origin);
    until_lease_is_over(&topology, &["edge"]);
    welcome(&topology, &["edge"]);
    assert_eq!(get(&topology, "edge", "/a").await.line(), "200 new");
    topology.line("edge").let_go();
    topology.until_completed(&purge["id"]);
    assert_eq!(get(&topology, "edge", "/b").await.line(), "200 new");
    until_hit(&topology, "edge", "/b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tier_has_a_lease_by_a_welcome_alone() {
    const NODES: [&str; 2] = ["parent", "edge"];
    let origin = origin().await;
    let rule = format!("{LEASE}on_partition = \"validate\"");
    let mut topology = Topology::with("welcomed-tiers", LEASE);
    topology.add("parent", &Spec::parent(&origin.url()).tables(&rule));
    let parents = format!("[parents]\nurls = [\"http://{}\"]", topology.node("parent").listen);
    topology.add("edge", &Spec::edge(&origin.url()).tables(&format!("{rule}\n{parents}")));
    store(&topology, "edge", "/both").await;
    for target in ["/parent", "/direct"] {
        store(&topology, "parent", target).await;
    }
    for node in NODES {
        topology.line(node).cut();
    }
    let purge = change(&topology, &origin);
    until_lease_is_over(&topology, &NODES);
    welcome(&topology, &NODES);
    for (node, target) in [("edge", "/both"), ("edge", "/parent"), ("parent", "/direct")] {
        assert_eq!(get(&topology, node, target).await.line(), "200 new", "{target} of {node}");
    }
    for node in NODES {
        topology.line(node).let_go();
    }
    topology.until_completed(&purge["id"]);
    for node in NODES {
        until_hit(&topology, node, "/both").await;
        assert_eq!(get(&topology, node, "/both").await.line(), "200 new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_stream_of_purges_costs_no_lease() {
    let origin = origin().await;
    let topology = one_node("stream", &origin, "validate").await;
    store(&topology, "edge", "/a").await;
    let end = Instant::now() + Duration::from_secs(7);
    let tags: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    while Instant::now() < end {
        let purge = topology.purge(&json!({"tags": tags, "wait_ms": 0}));
        assert!(purge.status < 300, "{}", purge.body);
        let answer = get(&topology, "edge", "/a").await;
        assert_eq!((answer.line(), answer.handled_by("edge")), ("200 old".into(), "hit".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_off_node_does_what_the_purges_answer_says() {
    let origin = origin().await;
    for on_partition in ["serve", "validate"] {
        origin.default_route(reply("old").max_age(600));
        let topology = one_node(&format!("said-{on_partition}"), &origin, on_partition).await;
        store(&topology, "edge", "/a").await;
        topology.line("edge").cut();
        topology.until_state("edge", "offline");
        let purge = change(&topology, &origin);
        assert_eq!(
            purge["note"],
            "a node is offline: until it reconnects and applies this, it may serve what it has \
             stored, up to its TTL; with on_partition = \"validate\", only until its lease ends"
        );
        let printed = topology.run(&["purge", "/b", "--wait", "0s"]);
        let note = purge["note"].as_str().expect("a note");
        assert!(printed.out.contains(note), "{}{}", printed.out, printed.err);
        until_lease_is_over(&topology, &["edge"]);
        let answer = get(&topology, "edge", "/a").await;
        let expected = match on_partition {
            "serve" => ("200 old", "hit; detail=control-lost"),
            _ => ("200 new", "fwd=stale; fwd-status=200; stored"),
        };
        assert_eq!((answer.line().as_str(), answer.handled_by("edge").as_str()), expected);
        topology.line("edge").mend();
        topology.until_completed(&purge["id"]);
        assert_eq!(get(&topology, "edge", "/a").await.line(), "200 new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_off_node_shows_the_release_from_before_as_the_answer_says() {
    let origin = Origin::start().await;
    for release in ["v1", "v2"] {
        origin.route(&format!("/r/{release}/page"), reply(release).max_age(600));
    }
    let mut topology = Topology::with("said-release", LEASE);
    let site = "release = { initial = \"v1\", path = \"/r/{release}\" }";
    let rule = format!("{LEASE}on_partition = \"validate\"");
    topology.add("edge", &Spec::edge(&origin.url()).tables(&rule).site(site));
    assert_eq!(get(&topology, "edge", "/page").await.line(), "200 v1");
    topology.line("edge").cut();
    topology.until_state("edge", "offline");
    let body = json!({"name": "v2", "wait_ms": 0}).to_string();
    let switch = topology.call("PUT /v1/sites/site/release", &body).json();
    assert_eq!(
        switch["note"],
        "a node is offline: it shows the previous release until it reconnects and applies this"
    );
    until_lease_is_over(&topology, &["edge"]);
    assert_eq!(get(&topology, "edge", "/page").await.line(), "200 v1");
    topology.line("edge").mend();
    let page = || topology.node("edge").get("/page").body;
    program::until("the release is switched", page, |body| body == "v2");
}
