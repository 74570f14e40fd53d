//! Edges, their parents and an origin: what crosses between tiers, and what never does (invariants
//! I2 and I3).

mod support;
use std::collections::BTreeSet;
use support::*;

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored";

#[tokio::test]
async fn what_one_edge_asked_for_its_parent_has_for_the_next() {
    let world = Tiers::start("").await;
    world.origin.route("/a", reply("hello").max_age(60).header("Age", "7"));
    let first = world.get(0, "/a").await;
    assert_eq!(first.line(), "200 hello");
    assert_eq!(handled(&first), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    let second = world.get(1, "/a").await;
    assert_eq!(second.line(), "200 hello");
    assert_eq!(handled(&second), ["parent; hit".to_owned(), format!("edge-2; {MISS}")]);
    assert!(second.number("age").is_some_and(|age| age >= 7), "{second:?}");
    assert_eq!(second.values("via").join(", "), "1.1 parent, 2.0 edge-2");
    assert_eq!(handled(&world.get(1, "/a").await).last().map(String::as_str), Some("edge-2; hit"));
    let [request] = &world.origin.requests("/a")[..] else { panic!("one fetch") };
    assert_eq!(request.header("X-Forwarded-Host"), Some(HOST));
    let named = |name: &str| {
        let lines = request.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(named("CDN-Loop"), "edge-1, parent");
    assert_eq!(named("Via"), "1.1 edge-1, 2.0 parent");
}

#[tokio::test]
async fn no_old_body_crosses_while_the_parent_does_not_know_of_the_purge() {
    let world = Tiers::start("catch_up = \"20ms\"").await;
    world.origin.route("/a", reply("old").max_age(60));
    for edge in 0..2 {
        assert_eq!(world.get(edge, "/a").await.line(), "200 old");
    }
    world.origin.route("/a", reply("new").max_age(60));
    let seq = world.log.purge(path("/a"));
    world.log.feed(&world.edges[0].1, seq).await;
    // Past what the parent has stored, which stays for those who know no better.
    let answer = world.get(0, "/a").await;
    assert_eq!(answer.line(), "200 new");
    assert_eq!(handled(&answer)[0], format!("parent; {MISS}"));
    assert_eq!(world.get(0, "/a").await.handled_by("edge-1"), "hit");
    world.log.feed(&world.parent.1, seq).await;
    world.log.feed(&world.edges[1].1, seq).await;
    assert_eq!(world.get(1, "/a").await.line(), "200 new");
    assert_eq!(world.get(0, "/a").await.line(), "200 new");
}

#[tokio::test]
async fn a_parent_that_catches_up_in_time_answers_from_its_store() {
    let world = Tiers::start("catch_up = \"10s\"").await;
    world.origin.route("/a", reply("hello").max_age(60));
    world.get(1, "/a").await;
    let seq = world.log.purge(path("/another"));
    let (edge, leash) = &world.edges[0];
    world.log.feed(leash, seq).await;
    let crowd = edge.get_many("/a", 1);
    edge.until_waiting("/a", 1).await;
    world.log.feed(&world.parent.1, seq).await;
    let answers = crowd.all("200 hello").await;
    assert_eq!(handled(&answers[0]), ["parent; hit".to_owned(), format!("edge-1; {MISS}")]);
    assert_eq!(world.origin.fetches("/a"), 1);
}

#[tokio::test]
async fn what_a_parent_sent_before_a_purge_that_came_meanwhile_is_asked_for_again() {
    let world = Tiers::start("catch_up = \"10s\"").await;
    world.origin.route("/a", reply("old").max_age(60));
    world.get(1, "/a").await;
    let another = world.log.purge(path("/another"));
    let seq = world.log.purge(path("/a"));
    let (edge, leash) = &world.edges[0];
    world.log.feed(leash, another).await;
    let crowd = edge.get_many("/a", 1);
    edge.until_waiting("/a", 1).await;
    // The parent waits for the first purge; the second comes to the edge meanwhile.
    let (parent, parents) = &world.parent;
    let both = |connections: &usize| *connections >= 2;
    until("both edges' connections to the parent", || connections(parent), both).await;
    world.origin.route("/a", reply("new").max_age(60));
    world.log.feed(leash, seq).await;
    world.log.feed(parents, another).await;
    world.log.feed(parents, seq).await;
    let answers = crowd.answers().await;
    assert_eq!(answers[0].line(), "200 new");
    assert_eq!(world.get(0, "/a").await.line(), "200 new");
}

/// Connections to a node that are open now.
fn connections(node: &Edge) -> usize {
    let text = node.node.metrics();
    let sample = text.lines().find_map(|line| line.strip_prefix("weir_connections_open"));
    let value = sample.and_then(|sample| sample.rsplit(' ').next());
    value.and_then(|value| value.parse().ok()).expect("a gauge")
}

#[tokio::test]
async fn a_parent_ahead_of_an_edge_is_no_reason_to_keep_what_a_purge_takes() {
    let world = Tiers::start("").await;
    world.origin.route("/a", reply("old").max_age(60));
    world.get(0, "/a").await;
    world.origin.route("/a", reply("new").max_age(60));
    let seq = world.log.purge(path("/a"));
    world.log.feed(&world.parent.1, seq).await;
    assert_eq!(world.get(0, "/a").await.handled_by("edge-1"), "hit");
    assert_eq!(world.get(1, "/a").await.line(), "200 new");
    for (_, leash) in &world.edges {
        world.log.feed(leash, seq).await;
    }
    for edge in 0..2 {
        assert_eq!(world.get(edge, "/a").await.line(), "200 new");
    }
    assert_eq!(world.origin.fetches("/a"), 2);
}

#[tokio::test]
async fn a_parent_of_another_log_is_passed() {
    for fallback in [true, false] {
        let origin = Origin::start().await;
        origin.route("/a", reply("hello").max_age(60));
        let parent = parent_of("parent", &origin, "").start();
        let toml = format!("origin_fallback = {fallback}");
        let edge = edge_of("edge", &origin, &[&parent], &toml).start();
        let (one, other) = (Log::new("one"), Log::new("other"));
        let _leashes = (one.lead(&edge).await, other.lead(&parent).await);
        let answer = edge.get("/a").await;
        let (line, told) = match fallback {
            true => ("200 hello", format!("edge; {MISS}")),
            false => ("504", "edge; fwd=uri-miss; detail=no-parent".to_owned()),
        };
        assert!(answer.line().starts_with(line), "{answer:?}");
        assert_eq!(handled(&answer), [told]);
        assert_eq!(origin.fetches("/a"), usize::from(fallback));
    }
}

#[tokio::test]
async fn a_parent_that_follows_no_log_is_passed_and_an_edge_without_one_asks_none() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let parent = parent_of("parent", &origin, "").start();
    let edge = edge_of("edge", &origin, &[&parent], "").start();
    assert_eq!(handled(&edge.get("/a").await), [format!("edge; {MISS}")]);
    let log = Log::new("one");
    let _leash = log.lead(&edge).await;
    assert_eq!(handled(&edge.get("/b").await), [format!("edge; {MISS}")]);
}

const FIELDS: [(&str, &str); 7] = [
    ("weir-seq", "one/0/0"),
    ("weir-tier-key", "key of two"),
    ("weir-past", "1"),
    ("weir-filled-at", "one/99/99"),
    ("weir-failure", "loop"),
    ("weir-tags", "too-many"),
    ("weir-release", "x"),
];

fn is_internal(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("weir-")
}

#[tokio::test]
async fn what_nodes_tell_each_other_reaches_no_client_and_no_origin_and_is_believed_of_nobody() {
    let world = Tiers::start("").await;
    let internal = FIELDS
        .iter()
        .fold(reply("hello").max_age(60), |reply, (name, value)| reply.header(*name, *value));
    world.origin.default_route(internal);
    let direct = edge().origin(&world.origin).start();
    let _leash = world.log.lead(&direct).await;
    for (edge, target) in [(&world.edges[0].0, "/a"), (&direct, "/b")] {
        for method in ["GET", "GET", "HEAD", "POST"] {
            let answer = edge.ask(method, target, &FIELDS).await;
            assert_eq!(answer.status, 200);
            let told: Vec<_> = answer.fields.iter().filter(|(name, _)| is_internal(name)).collect();
            assert!(told.is_empty(), "{method} {target}: {told:?}");
        }
        let requests = world.origin.requests(target);
        assert!(!requests.is_empty());
        for request in requests {
            let told: Vec<_> =
                request.headers.iter().filter(|(name, _)| is_internal(name)).collect();
            assert!(told.is_empty(), "{target}: {told:?}");
        }
        // "too-many" tags, by the origin's own word, keep nothing out of the store.
        assert_eq!(edge.explain(target).state, "not-stored", "POST took it");
        edge.get(target).await;
        assert_eq!(edge.explain(target).state, "fresh");
    }
}

#[tokio::test]
async fn a_parent_answers_no_stranger_who_passes_for_a_node() {
    let world = Tiers::start("").await;
    world.origin.route("/a", reply("hello").max_age(60));
    let (parent, _) = &world.parent;
    for (key, claim, detail) in [
        ("key of two", "one/0/0", "tier-key"),
        ("", "one/0/0", "tier-key"),
        ("key of one", "one", "weir-seq"),
        ("key of one", "two/0/0", "other-log"),
    ] {
        let fields = [("weir-tier-key", key), ("weir-seq", claim)];
        let answer = parent.get_with("/a", &fields).await;
        assert_eq!((answer.status, answer.field("weir-failure")), (503, Some(detail)));
        assert_eq!(handled(&answer), [format!("parent; detail={detail}")]);
    }
    assert_eq!(world.origin.fetches("/a"), 0);
    // Without a claim anybody is a client.
    let answer = parent.get("/a").await;
    assert_eq!((answer.status, answer.field("weir-filled-at")), (200, None));
}

#[tokio::test]
async fn tags_and_surrogate_control_travel_between_tiers_and_end_at_the_last_hop() {
    let world = Tiers::start("").await;
    let tagged = reply("hello")
        .header("Surrogate-Control", "max-age=60")
        .header("Surrogate-Key", "red a,b")
        .header("Cache-Tag", "light blue, green");
    world.origin.default_route(tagged);
    for (edge, target) in [(0, "/a"), (1, "/a"), (0, "/b")] {
        let answer = world.get(edge, target).await;
        for hidden in ["surrogate-control", "surrogate-key", "cache-tag"] {
            assert_eq!(answer.field(hidden), None);
        }
        let selected = world.edges[edge].0.explain(target).selected.expect("stored");
        let mut tags = selected.tags.clone();
        tags.sort();
        assert_eq!(tags, ["a,b", "green", "light blue", "red"], "from a {:?}", handled(&answer));
        assert_eq!(selected.lifetime, 60);
    }
    let seq = world.log.purge(Target::parse_tag("light blue").expect("a tag"));
    let leashes = [&world.edges[0].1, &world.edges[1].1, &world.parent.1];
    for leash in leashes {
        world.log.feed(leash, seq).await;
    }
    for (edge, target) in [(0, "/a"), (1, "/a"), (0, "/b")] {
        assert_ne!(world.edges[edge].0.explain(target).state, "fresh");
    }
    assert_eq!(world.get(0, "/a").await.line(), "200 hello");
    assert_eq!(world.origin.fetches("/a"), 2);
}

#[tokio::test]
async fn what_has_more_tags_than_the_parent_keeps_is_stored_nowhere() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).header("Cache-Tag", "one, two"));
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "[limits]\ntags = 1").start();
    let edge = edge_of("edge", &origin, &[&parent], "").start();
    let _leashes = (log.lead(&edge).await, log.lead(&parent).await);
    for _ in 0..2 {
        assert_eq!(edge.get("/a").await.line(), "200 hello");
        assert_eq!(edge.explain("/a").state, "not-stored");
    }
}

#[tokio::test]
async fn all_keys_of_a_url_have_one_parent() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let log = Log::new("one");
    let (one, two) = (parent_of("one", &origin, ""), parent_of("two", &origin, ""));
    let key = "key = { cookies = [\"currency\"] }";
    let (one, two) = (one.site(key).start(), two.site(key).start());
    let edge = edge_of("edge", &origin, &[&one, &two], "").site(key).start();
    let _leashes = (log.lead(&edge).await, log.lead(&one).await, log.lead(&two).await);
    let mut parents = BTreeSet::new();
    for url in 0..20 {
        let mut of_url = BTreeSet::new();
        for currency in ["none", "EUR", "USD", "CHF", "JPY"] {
            let cookie = format!("currency={currency}");
            let answer = edge.get_with(&format!("/{url}"), &[("Cookie", &cookie)]).await;
            let told = handled(&answer);
            assert_eq!(told.len(), 2, "{told:?}");
            of_url.extend(told[0].split("; ").next().map(str::to_owned));
        }
        assert_eq!(of_url.len(), 1, "/{url}: {of_url:?}");
        parents.extend(of_url);
    }
    assert_eq!(parents.len(), 2, "URLs are spread over the parents");
}

#[tokio::test]
async fn a_parent_answers_an_edges_conditional_request_with_304() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).etag("\"v1\"").header("Cache-Tag", "red"));
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").start();
    let edge = edge_of("edge", &origin, &[&parent], "").site("client_cache_control = true").start();
    let leashes = [log.lead(&edge).await, log.lead(&parent).await];
    edge.get("/a").await;
    let again = edge.get_with("/a", &[("Cache-Control", "no-cache")]).await;
    assert_eq!(again.line(), "200 hello");
    assert_eq!(again.handled_by("edge"), "fwd=request; fwd-status=304; stored");
    assert_eq!(origin.fetches("/a"), 1, "the parent had it");
    // What it brought is as old as what the parent has.
    let seq = log.purge(Target::parse_tag("red").expect("a tag"));
    log.feed(&leashes[0], seq).await;
    assert_ne!(edge.explain("/a").state, "fresh");
}

#[tokio::test]
async fn ranges_and_heads_are_answered_by_a_parent_that_has_the_whole() {
    const SIZE: u64 = 100_000;
    let world = Tiers::start("").await;
    world.origin.route("/a", reply("").body_bytes(SIZE).max_age(60).etag("\"v1\""));
    world.get(0, "/a").await;
    let head = world.edges[1].0.ask("HEAD", "/a", &[]).await;
    assert_eq!((head.status, head.number("content-length")), (200, Some(SIZE)));
    let part = world.edges[1].0.get_with("/a", &[("Range", "bytes=1000-1999")]).await;
    assert_eq!((part.status, part.body.len()), (206, 1000));
    assert_eq!(pattern::first_difference(0, 1000, &part.body), None);
    assert_eq!(handled(&part)[0], "parent; hit");
    let more = world.edges[1].0.get_with("/a", &[("Range", "bytes=2000-2999")]).await;
    assert_eq!(pattern::first_difference(0, 2000, &more.body), None);
    // Once the second part is stored, a moment after it was sent; a fill that still ends is joined before.
    let is_joined = |both: &Answer| {
        assert_eq!(pattern::first_difference(0, 1500, &both.body), None);
        let handled_by = both.handled_by("edge-2");
        assert!(handled_by == "hit" || handled_by.ends_with("; collapsed"), "{both:?}");
        handled_by == "hit"
    };
    let asked = [("Range", "bytes=1500-2499")];
    world.edges[1].0.until_answered("parts of one strong validator", "/a", &asked, is_joined).await;
    assert_eq!(world.origin.fetches("/a"), 1);
}

#[tokio::test]
async fn a_crowd_at_three_edges_causes_one_fetch() {
    let origin = Origin::start().await;
    origin.route("/a", held("hello").max_age(60));
    let log = Log::new("one");
    let parents = ["parent-1", "parent-2"].map(|name| parent_of(name, &origin, "").start());
    let edges = ["edge-1", "edge-2", "edge-3"]
        .map(|name| edge_of(name, &origin, &[&parents[0], &parents[1]], "").start());
    let mut leashes = Vec::new();
    for node in parents.iter().chain(&edges) {
        leashes.push(log.lead(node).await);
    }
    let crowds: Vec<Crowd> = edges.iter().map(|edge| edge.get_many("/a", 30)).collect();
    for edge in &edges {
        edge.until_waiting("/a", 30).await;
    }
    let waiting =
        || parents.iter().map(|p| p.node.waiting(&format!("http://{HOST}/a"))).sum::<usize>();
    until("the edges' fills at the parent", waiting, |waiting| *waiting == 3).await;
    origin.release("/a");
    for crowd in crowds {
        crowd.all("200 hello").await;
    }
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn the_next_parent_answers_for_one_that_is_gone_and_at_last_the_origin() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let log = Log::new("one");
    let start = |name: &'static str| parent_of(name, &origin, "").start();
    let (first, second) = (start("parent-1"), start("parent-2"));
    let all = [&first, &second];
    let edges = ["edge-1", "edge-2"].map(|name| edge_of(name, &origin, &all, "").start());
    let strict = edge_of("strict", &origin, &all, "origin_fallback = false").start();
    let mut leashes = Vec::new();
    for node in [&first, &second, &strict].into_iter().chain(&edges) {
        leashes.push(log.lead(node).await);
    }
    let by = |answer: &Answer| handled(answer)[0].split(';').next().unwrap_or_default().to_owned();
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    for number in 0..40 {
        let target = format!("/{number}");
        match by(&edges[0].get(&target).await).as_str() {
            "parent-1" => of_first.push(target),
            "parent-2" => of_second.push(target),
            other => panic!("{other} answered"),
        }
    }
    assert!(of_first.len() > 3 && of_second.len() > 3, "{of_first:?} {of_second:?}");
    drop(first);
    for target in &of_first {
        let answer = edges[1].get(target).await;
        assert_eq!((answer.line().as_str(), by(&answer).as_str()), ("200 hello", "parent-2"));
    }
    for target in &of_second {
        let answer = edges[1].get(target).await;
        assert_eq!(handled(&answer)[0], "parent-2; hit", "its keys do not move");
    }
    drop(second);
    assert_eq!(by(&edges[1].get("/new").await), "edge-2");
    let refused = strict.get("/new").await;
    assert_eq!(refused.status, 504);
}

#[tokio::test]
async fn without_a_parent_and_the_origin_stale_is_served_as_allowed() {
    let origin = Origin::start().await;
    origin.route("/a", stale("hello").etag("\"v1\""));
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").start();
    let edge = edge_of("edge", &origin, &[&parent], "origin_fallback = false").start();
    let _leashes = (log.lead(&edge).await, log.lead(&parent).await);
    edge.get("/a").await;
    drop(parent);
    let answer = edge.get("/a").await;
    assert_eq!(answer.line(), "200 hello");
    assert!(answer.handled_by("edge").contains("detail=no-parent"), "{answer:?}");
}

#[tokio::test]
async fn a_parent_tells_which_failure_is_the_origins_and_serves_nodes_nothing_stale() {
    let world = Tiers::start("").await;
    world.origin.route("/a", stale("hello").etag("\"v1\""));
    world.get(0, "/a").await;
    let _port = out_of_reach(&world.origin).await;
    // The edge that has it serves it stale; the other is not sent the parent's.
    let stale = world.get(0, "/a").await;
    assert_eq!(stale.line(), "200 hello");
    assert!(stale.handled_by("edge-1").contains("detail=origin-connect"), "{stale:?}");
    let failed = world.get(1, "/a").await;
    assert_eq!(failed.status, 502);
    assert_eq!(failed.handled_by("edge-2"), "fwd=uri-miss; detail=origin-connect");
}

#[tokio::test]
async fn an_unsafe_request_goes_through_the_parent_and_takes_what_it_has() {
    let world = Tiers::start("").await;
    world.origin.route("/a", reply("old").max_age(60));
    world.get(0, "/a").await;
    let posted = world.edges[0].0.send("POST", "/a", &[], "body").await;
    assert_eq!(posted.status, 200);
    world.origin.route("/a", reply("new").max_age(60));
    for edge in 0..2 {
        assert_eq!(world.get(edge, "/a").await.line(), "200 new");
    }
    let requests = world.origin.requests("/a");
    let post = requests.iter().find(|request| request.method == "POST").expect("it arrived");
    assert_eq!(post.header("X-Forwarded-For"), Some("127.0.0.1, 127.0.0.1"));
    assert_eq!(post.header("X-Forwarded-Host"), Some(HOST));
}

#[tokio::test]
async fn a_loop_over_tiers_comes_to_a_clear_end() {
    let origin = Origin::start().await;
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").start();
    let edge = edge_of("edge", &origin, &[&parent], "").start();
    let back = format!("http://{}", edge.node.listen());
    let looped = node("name = \"parent\"\ntier = \"parent\"").origin_url(&back).config();
    parent.node.reload(looped).expect("a configuration");
    let _leashes = (log.lead(&edge).await, log.lead(&parent).await);
    assert_eq!(edge.get("/a").await.status, 508);
}
