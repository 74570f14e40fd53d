//! What clients' own Cache-Control may do (RFC 9111 §5.2.1): little by default, all where the site
//! honours it.

mod support;
use support::*;

const HONOURED: &str = "client_cache_control = true";

/// How a request with this Cache-Control is handled when the response, 30 of its 60 seconds old,
/// is stored.
async fn handled(site: &str, cache_control: &str) -> (u16, String) {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).header("Age", "30"));
    let edge = edge().origin(&origin).site(site).start();
    edge.get("/a").await;
    let answer = edge.get_with("/a", &[("Cache-Control", cache_control)]).await;
    (answer.status, answer.handled())
}

#[tokio::test]
async fn by_default_clients_do_not_reach_past_the_cache() {
    for directive in ["no-cache", "no-store", "max-age=0", "min-fresh=1000", "only-if-cached"] {
        assert_eq!(handled("", directive).await, (200, "hit".to_owned()), "{directive}");
    }
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    assert_eq!(edge.get_with("/a", &[("Pragma", "no-cache")]).await.handled(), "hit");
}

#[tokio::test]
async fn where_the_site_honours_them_they_do() {
    for (directive, hit) in [
        ("no-cache", false),
        ("no-store", false),
        ("max-age=0", false),
        ("max-age=10", false),
        ("max-age=50", true),
        ("min-fresh=40", false),
        ("min-fresh=10", true),
        ("only-if-cached", true),
    ] {
        let (status, handled) = handled(HONOURED, directive).await;
        assert_eq!((status, handled == "hit"), (200, hit), "{directive}: {handled}");
        assert!(hit || handled.starts_with("fwd=request; fwd-status=200"), "{handled}");
    }
}

#[tokio::test]
async fn only_if_cached_is_always_honoured() {
    for site in ["", HONOURED] {
        let origin = Origin::start().await;
        let edge = edge().origin(&origin).site(site).start();
        let answer = edge.get_with("/a", &[("Cache-Control", "only-if-cached")]).await;
        assert_eq!(answer.status, 504);
        assert!(answer.handled().ends_with("detail=only-if-cached"), "{answer:?}");
        assert_eq!(origin.fetches("/a"), 0);
    }
}

#[tokio::test]
async fn max_stale_takes_what_may_be_stale() {
    let origin = Origin::start().await;
    origin.route("/may", stale("old").etag("\"v1\""));
    origin.route("/must", stale_with("old", "max-age=10, must-revalidate").etag("\"v1\""));
    let edge = edge().origin(&origin).site(HONOURED).start();
    for (target, directive, hit) in [
        ("/may", "max-stale=60", true),
        ("/may", "max-stale", true),
        ("/may", "max-stale=1", false),
        ("/must", "max-stale=60", false),
    ] {
        edge.get(target).await;
        let answer = edge.get_with(target, &[("Cache-Control", directive)]).await;
        assert_eq!(answer.handled() == "hit", hit, "{target} {directive}");
    }
}

#[tokio::test]
async fn what_a_client_does_not_want_stored_is_not_where_that_is_honoured() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    for (site, stored) in [("", true), (HONOURED, false)] {
        let edge = edge().origin(&origin).site(site).start();
        edge.get_with("/a", &[("Cache-Control", "no-store")]).await;
        assert_eq!(edge.explain("/a").state == "fresh", stored, "{site}");
    }
}

#[tokio::test]
async fn the_origin_of_a_fill_does_not_see_them() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &[("Cache-Control", "no-cache"), ("Pragma", "no-cache")]).await;
    let asked = &origin.requests("/a")[0];
    assert_eq!((asked.header("Cache-Control"), asked.header("Pragma")), (None, None));
}
