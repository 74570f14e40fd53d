//! Purges as the node applies them: what they take, and what they never let through (invariant I1).

mod support;
use support::*;

async fn stored(targets: &[&str]) -> (Origin, Edge) {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60).header("Surrogate-Key", "all-pages"));
    origin.route("/tagged", reply("hello").max_age(60).header("Cache-Tag", "red, blue"));
    let edge = edge().origin(&origin).start();
    for target in targets {
        edge.get(target).await;
    }
    (origin, edge)
}

#[tokio::test]
async fn each_kind_of_target_takes_what_it_names() {
    let all = ["/a", "/a?x=1", "/a?x=2", "/a/b", "/ab", "/img/1.png", "/tagged", "/caf%c3%a9"];
    let host = Target::parse_host;
    let url = |text| Target::parse_url(text).expect("a URL");
    for (target, taken) in [
        (path("/a"), &["/a", "/a?x=1", "/a?x=2"][..]),
        (path("/%61"), &["/a", "/a?x=1", "/a?x=2"]),
        (path("/a?x=1"), &["/a?x=1"]),
        (path("/caf%C3%A9"), &["/caf%c3%a9"]),
        (path("/nothing"), &[]),
        (path("/img/*"), &["/img/1.png"]),
        (path("/*.png"), &["/img/1.png"]),
        (path("/a*"), &["/a", "/a?x=1", "/a?x=2", "/a/b", "/ab"]),
        (Target::parse_prefix("/a").expect("a prefix"), &["/a", "/a?x=1", "/a?x=2", "/a/b"]),
        (Target::parse_prefix("example.com/img").expect("a prefix"), &["/img/1.png"]),
        (Target::parse_prefix("other.example/img").expect("a prefix"), &[]),
        (url("http://example.com/a?x=2"), &["/a?x=2"]),
        (url("https://example.com/a"), &["/a"]),
        (url("http://other.example/a"), &[]),
        (Target::parse_tag("blue").expect("a tag"), &["/tagged"]),
        (Target::parse_tag("green").expect("a tag"), &[]),
        (host("example.com").expect("a host"), &all),
        (host("other.example").expect("a host"), &[]),
        (Target::All, &all),
    ] {
        let (_origin, edge) = stored(&all).await;
        let seq = edge.purge(target.clone());
        for asked in all {
            let gone = edge.explain(asked).state != "fresh";
            assert_eq!(gone, taken.contains(&asked), "{target:?}: {asked}");
            let handled = edge.get(asked).await.handled();
            assert_eq!(handled != "hit", taken.contains(&asked), "{target:?}: {asked}");
        }
        assert_eq!(edge.node.applied(), seq);
    }
}

#[tokio::test]
async fn how_many_it_took_is_counted() {
    let (_origin, edge) = stored(&["/a", "/a?x=1", "/b", "/c"]).await;
    let first = edge.purge(path("/a"));
    assert_eq!(edge.matched(first).await, 2);
    let soft = edge.soft_purge(path("/b"));
    assert_eq!(edge.matched(soft).await, 1);
    let none = edge.purge(path("/nothing"));
    assert_eq!(edge.matched(none).await, 0);
    let rest = edge.purge(Target::All);
    assert_eq!(edge.matched(rest).await, 2, "what the first took is not counted again");
}

#[tokio::test]
async fn a_purge_is_confined_to_its_site() {
    let (_origin, edge) = stored(&["/a"]).await;
    let of = |site: &str| Purge {
        seq: 0,
        targets: vec![Target::All],
        site: Some(site.to_owned()),
        soft: false,
        versions: false,
    };
    edge.apply(of("another"));
    assert_eq!(edge.get("/a").await.handled(), "hit");
    edge.apply(of("site"));
    assert_eq!(edge.get("/a").await.handled(), "fwd=uri-miss; fwd-status=200; stored");
}

#[tokio::test]
async fn versions_go_with_their_name_when_asked() {
    let versions = ["/app.js", "/app.3f9a1c2b.js", "/app.v2.js", "/app.js?v=2"];
    let others = ["/app.css", "/other.3f9a1c2b.js"];
    let (_origin, edge) = stored(&versions).await;
    for other in others {
        edge.get(other).await;
    }
    let purge =
        Purge { seq: 0, targets: vec![path("/app.js")], site: None, soft: false, versions: true };
    edge.apply(purge);
    for target in versions {
        assert_ne!(edge.explain(target).state, "fresh", "{target}");
    }
    for target in others {
        assert_eq!(edge.explain(target).state, "fresh", "{target}");
    }
}

#[tokio::test]
async fn every_variant_goes() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").vary("X-Kind").max_age(60));
    let edge = edge().origin(&origin).start();
    for kind in ["1", "2", "3"] {
        edge.get_with("/a", &[("X-Kind", kind)]).await;
    }
    let seq = edge.purge(path("/a"));
    assert_eq!(edge.matched(seq).await, 3);
    for kind in ["1", "2", "3"] {
        let answer = edge.get_with("/a", &[("X-Kind", kind)]).await;
        assert_ne!(answer.handled(), "hit");
    }
}

/// When the fetch began before the purge, the origin holds it while the purge is applied.
#[tokio::test]
async fn a_fill_that_began_before_a_purge_is_for_nobody_after_it() {
    for (what, early, purge) in [
        ("before the head, by path", held("old"), path("/a")),
        ("before the head, by all", held("old"), Target::All),
        ("during the body", reply("old").held_after(1), path("/a")),
        ("before the head, by tag", held("old"), Target::parse_tag("page").expect("a tag")),
        (
            "during the body, by tag",
            reply("old").held_after(1),
            Target::parse_tag("page").expect("a tag"),
        ),
    ] {
        let origin = Origin::start().await;
        let tagged = |reply: Reply| reply.max_age(60).header("Surrogate-Key", "page");
        origin.route("/a", tagged(early).then(tagged(reply("new"))));
        let edge = edge().origin(&origin).start();
        let before = edge.get_many("/a", 5);
        edge.until_waiting("/a", 5).await;
        origin.until_requests("/a", 1).await;
        edge.purge(purge);
        // A request after the purge neither waits for that fetch nor gets what it brings. A tag is
        // known only with the head, so there it may wait, and is fetched again.
        let after = edge.get_many("/a", 1);
        if !what.contains("by tag") {
            after.all("200 new").await;
            origin.release("/a");
        } else {
            origin.release("/a");
            after.all("200 new").await;
        }
        // Who came before may have either, whole.
        for answer in before.answers().await {
            assert!(["200 old", "200 new"].contains(&answer.line().as_str()), "{what}: {answer:?}");
        }
        // The older does not take the place of what came later.
        assert_eq!(edge.get("/a").await.line(), "200 new", "{what}");
        assert_eq!(edge.get("/a").await.handled(), "hit", "{what}");
        assert_eq!(origin.fetches("/a"), 2, "{what}");
    }
}

#[tokio::test]
async fn a_crowd_after_a_purge_by_tag_causes_one_fetch() {
    let origin = Origin::start().await;
    let tagged = |reply: Reply| reply.max_age(60).header("Surrogate-Key", "page");
    origin.route("/a", tagged(reply("old").held_after(1)).then(tagged(held("new"))));
    let edge = edge().origin(&origin).start();
    let mut before = edge.connect().await;
    before.request("GET", "/a", &[], "").await;
    before.head().await;
    edge.purge(Target::parse_tag("page").expect("a tag"));
    let after = edge.get_many("/a", 5);
    edge.until_waiting("/a", 6).await;
    origin.until_requests("/a", 2).await;
    origin.release("/a");
    after.all("200 new").await;
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn a_fill_that_began_before_a_hard_purge_is_not_stored() {
    let origin = Origin::start().await;
    origin.route("/a", held("old").max_age(60).then(reply("new").max_age(60)));
    let edge = edge().origin(&origin).start();
    let before = edge.get_many("/a", 1);
    origin.until_requests("/a", 1).await;
    edge.purge(path("/a"));
    origin.release("/a");
    before.all("200 old").await;
    assert_ne!(edge.explain("/a").state, "fresh");
    assert_eq!(edge.get("/a").await.line(), "200 new");
}

#[tokio::test]
async fn a_fill_that_began_before_a_soft_purge_is_stale_when_it_is_stored() {
    let origin = Origin::start().await;
    let page = |reply: Reply, etag: &str| reply.max_age(60).etag(etag.to_owned()).conditional(true);
    origin.route("/a", page(held("old"), "\"v1\"").then(page(reply("new"), "\"v2\"")));
    let edge = edge().origin(&origin).start();
    let before = edge.get_many("/a", 1);
    origin.until_requests("/a", 1).await;
    edge.soft_purge(path("/a"));
    origin.release("/a");
    before.all("200 old").await;
    assert_eq!(edge.get("/a").await.line(), "200 new", "never fresh");
}

#[tokio::test]
async fn a_validation_that_began_before_a_purge_does_not_bring_back_what_it_took() {
    let origin = Origin::start().await;
    let not_modified = held("").status(304).etag("\"v1\"").max_age(60);
    origin
        .route("/a", stale("old").etag("\"v1\"").then(not_modified).then(reply("new").max_age(60)));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let before = edge.get_many("/a", 1);
    origin.until_requests("/a", 2).await;
    edge.purge(path("/a"));
    origin.release("/a");
    before.answers().await;
    let after = edge.get("/a").await;
    assert_eq!(after.line(), "200 new");
    assert_eq!(origin.requests("/a")[2].header("If-None-Match"), None);
}

#[tokio::test]
async fn a_304_with_other_tags_is_held_against_purges_by_the_old_ones() {
    // The purge comes while the origin is asked, or when it has answered already: it may have been
    // ordered before and yet be later here.
    for early in [true, false] {
        let origin = Origin::start().await;
        let page = stale("old").etag("\"v1\"").header("Surrogate-Key", "red");
        let same = held("").status(304).etag("\"v1\"").max_age(60);
        let new = reply("new").etag("\"v2\"").max_age(60);
        origin.route("/a", page.then(same.header("Surrogate-Key", "blue")).then(new));
        let edge = edge().origin(&origin).start();
        edge.get("/a").await;
        let before = edge.get_many("/a", 1);
        origin.until_requests("/a", 2).await;
        assert_eq!(origin.requests("/a")[1].header("If-None-Match"), Some("\"v1\""));
        let red = || edge.purge(Target::parse_tag("red").expect("a tag"));
        if early {
            red();
        }
        origin.release("/a");
        before.all("200 old").await;
        if !early {
            assert_eq!(edge.get("/a").await.handled(), "hit");
            red();
        }
        let after = edge.get("/a").await;
        assert_eq!(after.line(), "200 new", "purged early: {early}");
        assert_eq!(origin.requests("/a")[2].header("If-None-Match"), None);
    }
}

#[tokio::test]
async fn what_is_completed_keeps_the_tags_of_its_beginning() {
    let origin = Origin::start().await;
    let digits = || reply("0123456789").max_age(60).etag("\"v1\"").ranges(true);
    let tagged = |tag: &str| digits().header("Cache-Tag", tag.to_owned());
    origin.route("/a", tagged("red").then(tagged("blue")).then(digits()));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &[("Range", "bytes=0-4")]).await;
    assert_eq!(edge.get("/a").await.line(), "200 0123456789");
    assert_eq!(origin.requests("/a")[1].header("Range"), Some("bytes=5-"));
    assert_eq!(edge.get("/a").await.handled(), "hit");
    edge.purge(Target::parse_tag("red").expect("a tag"));
    assert_ne!(edge.get("/a").await.handled(), "hit");
}

#[tokio::test]
async fn what_was_purged_is_no_candidate_for_validation() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).etag("\"v1\"").conditional(true));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    edge.purge(path("/a"));
    edge.get("/a").await;
    assert_eq!(origin.requests("/a")[1].header("If-None-Match"), None);
}

#[tokio::test]
async fn purges_and_requests_at_once_never_show_what_was_taken() {
    let origin = Origin::start().await;
    let version = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1));
    let shown = std::sync::Arc::clone(&version);
    let current = move |_: &weir_origin_sim::Recorded| {
        let version = shown.load(std::sync::atomic::Ordering::SeqCst);
        reply(version.to_string()).max_age(60)
    };
    origin.route("/a", answer_with(current));
    let edge = edge().origin(&origin).start();
    for round in 2..=100 {
        let readers = edge.get_many("/a", 4);
        version.store(round, std::sync::atomic::Ordering::SeqCst);
        edge.purge(path("/a"));
        let after: u64 = edge.get("/a").await.text().parse().expect("a version");
        assert_eq!(after, round, "an older one after its purge");
        readers.answers().await;
    }
}

#[tokio::test]
async fn a_response_with_more_tags_than_are_kept_is_not_stored() {
    let origin = Origin::start().await;
    let tags = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    origin.route("/fits", reply("hello").max_age(60).header("Surrogate-Key", tags(1024)));
    origin.route("/more", reply("hello").max_age(60).header("Surrogate-Key", tags(1025)));
    let edge = edge().origin(&origin).start();
    edge.get("/fits").await;
    assert_eq!(edge.get("/fits").await.handled(), "hit");
    let refused = edge.get("/more").await;
    assert_eq!(refused.handled(), "fwd=uri-miss; fwd-status=200; detail=too-many-tags");
}
