//! How long a stored response is used without asking (RFC 9111 §4.2).

mod support;
use support::*;

#[tokio::test]
async fn a_fresh_response_is_answered_without_the_origin() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let miss = edge.get("/a").await;
    assert_eq!(miss.line(), "200 hello");
    assert_eq!(miss.handled(), "fwd=uri-miss; fwd-status=200; stored");
    let hit = edge.get("/a").await;
    assert_eq!(hit.line(), "200 hello");
    assert_eq!(hit.handled(), "hit");
    assert!((55..=60).contains(&hit.ttl().expect("a ttl")), "{hit:?}");
    assert_eq!(origin.fetches("/a"), 1);
}

/// What is tried, the response's fields, and whether it is fresh.
type Case = (&'static str, &'static [(&'static str, &'static str)], bool);

#[tokio::test]
async fn freshness_comes_from_what_the_response_says() {
    const NEVER: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
    const LATER: &str = "Fri, 01 Jan 2100 00:00:00 GMT";
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let cases: &[Case] = &[
        ("max-age", &[("Cache-Control", "max-age=60")], true),
        ("s-maxage over max-age", &[("Cache-Control", "max-age=0, s-maxage=60")], true),
        ("s-maxage of 0", &[("Cache-Control", "max-age=60, s-maxage=0")], false),
        ("Expires", &[("Expires", LATER)], true),
        ("Expires over", &[("Expires", NEVER)], false),
        ("Expires that is no date", &[("Expires", "0")], false),
        ("max-age over Expires", &[("Cache-Control", "max-age=60"), ("Expires", NEVER)], true),
        ("a tenth since the last change", &[("Last-Modified", NEVER)], true),
        ("nothing", &[], false),
        ("no-store", &[("Cache-Control", "no-store, max-age=60")], false),
        ("private", &[("Cache-Control", "private, max-age=60")], false),
        (
            "CDN-Cache-Control over Cache-Control",
            &[("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=60")],
            true,
        ),
        (
            "CDN-Cache-Control forbids",
            &[("Cache-Control", "max-age=60"), ("CDN-Cache-Control", "no-store")],
            false,
        ),
        (
            "Surrogate-Control",
            &[("Cache-Control", "no-store"), ("Surrogate-Control", "max-age=60")],
            true,
        ),
        ("an Age beyond max-age", &[("Cache-Control", "max-age=60"), ("Age", "61")], false),
    ];
    for (number, (what, fields, stored)) in cases.iter().enumerate() {
        let target = format!("/{number}");
        let said =
            fields.iter().fold(reply("x"), |reply, (name, value)| reply.header(*name, *value));
        origin.route(&target, said);
        edge.get(&target).await;
        assert_eq!(edge.get(&target).await.handled() == "hit", *stored, "{what}");
        assert_eq!(origin.fetches(&target), if *stored { 1 } else { 2 }, "{what}");
    }
}

#[tokio::test]
async fn the_reason_for_not_storing_is_told() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (target, said, reason) in [
        ("/no-store", reply("x").header("Cache-Control", "no-store"), "no-store"),
        ("/private", reply("x").header("Cache-Control", "private"), "private"),
        ("/nothing", reply("x"), "nothing-to-go-by"),
        ("/over", reply("x").max_age(10).header("Age", "20"), "already-stale"),
        ("/status", reply("x").status(503), "status"),
    ] {
        origin.route(target, said);
        let handled = edge.get(target).await.handled();
        assert!(handled.ends_with(&format!("; detail={reason}")), "{target}: {handled}");
        assert_eq!(edge.explain(target).not_stored.expect("remembered").word, reason);
    }
}

#[tokio::test]
async fn age_adds_up_over_caches() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600).header("Age", "300"));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let hit = edge.get("/a").await;
    assert!((300..=310).contains(&hit.number("age").expect("Age")), "{hit:?}");
    assert!((290..=300).contains(&hit.ttl().expect("a ttl")), "{hit:?}");
}

#[tokio::test]
async fn the_site_bounds_and_gives_lifetimes() {
    let origin = Origin::start().await;
    origin.route("/long", reply("x").max_age(1_000_000));
    origin.route("/silent", reply("x"));
    origin.route("/gone", reply("x").status(404));
    // A heuristic would give 2 s to each of these.
    origin.route("/dated", reply("x").last_modified_secs_ago(20));
    origin.route("/dated-gone", reply("x").status(404).last_modified_secs_ago(20));
    let site = "max_ttl = \"100s\"\ndefault_ttl = \"50s\"\nnegative_ttl = \"5s\"";
    let edge = edge().origin(&origin).site(site).start();
    for (target, most) in
        [("/long", 100), ("/silent", 50), ("/dated", 50), ("/gone", 5), ("/dated-gone", 5)]
    {
        edge.get(target).await;
        let hit = edge.get(target).await;
        assert_eq!(hit.handled(), "hit", "{target}");
        let ttl = hit.ttl().expect("a ttl");
        assert!(most - 4 <= ttl && ttl <= most, "{target}: {ttl}");
    }
}

#[tokio::test]
async fn an_error_with_explicit_freshness_is_stored_and_without_is_not() {
    let origin = Origin::start().await;
    origin.route("/said", reply("down").status(503).max_age(60));
    origin.route("/silent", reply("down").status(404).then(reply("up").max_age(60)));
    let edge = edge().origin(&origin).start();
    edge.get("/said").await;
    assert_eq!(edge.get("/said").await.handled(), "hit");
    assert_eq!(edge.get("/silent").await.status, 404);
    assert_eq!(edge.get("/silent").await.line(), "200 up");
}
